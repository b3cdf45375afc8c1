//! `keyrota doctor`: what the daemon found, line by line, the exit status being that of the worst.

use super::args::Output;
use super::args::verbs::DoctorArgs;
use super::client::ClientError;
use super::exit::Exit;
use super::style::{Look, Tone};
use super::table::{Cell, Table};
use super::{say, status};
use crate::clock::Reading;
use crate::status_report::doctor::{DoctorReport, Finding, Verdict};

/// Has everything examined.
///
/// # Errors
/// If the daemon cannot be asked for another reason than that there is none.
pub fn doctor(args: &DoctorArgs) -> anyhow::Result<Exit> {
    let query = args.environment.as_ref().map(|name| format!("?environment={name}")).unwrap_or_default();
    let report = match args.daemon.client().get(&format!("/v1/doctor{query}")) {
        Ok(answer) => {
            status::accepted(&answer)?;
            serde_json::from_slice(&answer.body)?
        }
        Err(error @ (ClientError::NoSocket(_) | ClientError::NobodyListens(_) | ClientError::TooSlow(..))) => {
            let finding = Finding::not_ok(Verdict::Broken, "daemon", "keyrota", &error.to_string(), "start it");
            DoctorReport { at: Reading::now().wall, findings: vec![finding] }
        }
        Err(error) => return Err(error.into()),
    };
    shown(&report, args.strict, args.output.output)
}

/// Prints an examination; the exit status is that of its worst line.
pub(super) fn shown(report: &DoctorReport, strict: bool, output: Output) -> anyhow::Result<Exit> {
    let exit = match report.worst() {
        Verdict::Broken => Exit::Broken,
        Verdict::Warning if strict => Exit::Broken,
        Verdict::Warning | Verdict::Ok => Exit::Done,
    };
    match output {
        Output::Table => say(&text(report, &Look::of_stdout()), exit),
        Output::Json => say(&format!("{}\n", serde_json::to_string_pretty(report)?), exit),
    }
}

/// The findings, for people.
pub fn text(report: &DoctorReport, look: &Look) -> String {
    let mut table = Table::default();
    for finding in &report.findings {
        let tone = match finding.verdict {
            Verdict::Ok => Tone::Good,
            Verdict::Warning => Tone::Warn,
            Verdict::Broken => Tone::Bad,
        };
        table.row([
            Cell::toned(tone, finding.verdict.as_str()),
            finding.what.as_str().into(),
            finding.whose.as_str().into(),
            finding.says.as_str().into(),
        ]);
        if !finding.hint.is_empty() {
            table.row(["".into(), "".into(), "".into(), Cell::from(format!("hint: {}", finding.hint))]);
        }
    }
    let count = |verdict| report.findings.iter().filter(|finding| finding.verdict == verdict).count();
    let (ok, warnings, broken) = (count(Verdict::Ok), count(Verdict::Warning), count(Verdict::Broken));
    format!("{}{ok} ok, {warnings} warnings, {broken} broken\n", table.render(look))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_line_says_how_it_is_and_what_to_do() {
        let findings = vec![
            Finding::ok("store", "demo", "it takes writes"),
            Finding::not_ok(Verdict::Broken, "targets", "demo/a /x", "it is a symbolic link; hint: name the file", "unused"),
        ];
        let report = DoctorReport { at: crate::time::Timestamp::EPOCH, findings };
        assert_eq!(report.worst(), Verdict::Broken);
        let text = text(&report, &Look::PLAIN);
        let expected = "ok      store    demo       it takes writes\nbroken  targets  demo/a /x  it is a symbolic link\n                            hint: name the file\n1 ok, 0 warnings, 1 broken\n";
        assert_eq!(text, expected);
    }
}
