//! The target `exec`: a program that takes the content and brings it where it belongs.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::{Around, Audience, TargetFormat, misfit};
use crate::policy::fault::Report;
use crate::policy::raw::RawExec;
use crate::policy::tree::Node;
use crate::time::Span;

const DEFAULT_TIMEOUT: Span = Span::seconds(30);
const TIMEOUTS: std::ops::RangeInclusive<Span> = Span::seconds(1)..=Span::minutes(10);
const DEFAULT_READ_BACK: Span = Span::minutes(1);
const READ_BACKS: std::ops::RangeInclusive<Span> = Span::seconds(1)..=Span::hours(24);

/// The most words of a command, and the most bytes of all of them.
const MOST_WORDS: usize = 64;
const MOST_BYTES: usize = 4000;

/// A program that is run without a shell, with the content on its standard input.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExecTarget {
    /// The program's absolute path and its arguments.
    #[serde(rename = "exec")]
    pub argv: Vec<String>,
    /// What it is handed.
    pub format: TargetFormat,
    /// Who reads what it writes.
    pub audience: Audience,
    /// How long it may take, `read_back` too.
    pub timeout: Span,
    /// The program that prints what the first one brought there; `None`: that the first one ends well is all that is known.
    pub read_back: Option<Vec<String>>,
    /// How often that is asked while nothing changes.
    pub read_back_every: Span,
}

impl ExecTarget {
    /// Whether what it is handed includes something secret.
    pub const fn is_secret(&self) -> bool {
        !matches!(self.format, TargetFormat::Jwks)
    }
}

impl fmt::Display for ExecTarget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "exec:{}", self.argv.join(" "))
    }
}

/// Reads one; faults go into the report.
pub(super) fn resolve(raw: &RawExec, node: &Node, around: &Around<'_>, report: &mut Report) -> Option<ExecTarget> {
    let before = report.faults.len();
    for (field, argv) in [("argv", Some(&raw.argv)), ("read_back", raw.read_back.as_ref())] {
        if let Some(Err((what, hint))) = argv.map(|argv| lawful(argv)) {
            report.fault(&node.place_of(field), what, hint);
        }
    }
    let audience = raw.audience.unwrap_or_else(|| raw.format.usual_audience());
    misfit(raw.format, audience, around.class, node, report);
    if raw.format == TargetFormat::Pem {
        let what = "`pem` is two files, and a program has one standard input";
        report.fault(&node.place_of("format"), what, "use jwks, env or document");
    }
    let timeout = raw.timeout.unwrap_or(DEFAULT_TIMEOUT);
    let read_back_every = raw.read_back_every.unwrap_or(DEFAULT_READ_BACK);
    for (field, span, lawful) in [("timeout", timeout, TIMEOUTS), ("read_back_every", read_back_every, READ_BACKS)] {
        if !lawful.contains(&span) {
            let what = format!("{span} is not from {} to {}", lawful.start(), lawful.end());
            report.fault(&node.place_of(field), what, "leave it out for the default");
        }
    }
    if raw.read_back_every.is_some() && raw.read_back.is_none() {
        report.fault(&node.place_of("read_back_every"), "says how often `read_back` is run, and there is none", "add it, or remove this");
    }
    let (argv, read_back) = (raw.argv.clone(), raw.read_back.clone());
    (report.faults.len() == before).then_some(ExecTarget { argv, format: raw.format, audience, timeout, read_back, read_back_every })
}

fn lawful(argv: &[String]) -> Result<(), (String, &'static str)> {
    let hint = "write the program's absolute path and each argument as a word of its own: [/usr/local/bin/push, --to, edge]";
    let Some(program) = argv.first() else { return Err(("names no program".into(), hint)) };
    if !program.starts_with('/') || program.split('/').skip(1).any(|part| matches!(part, "" | "." | "..")) {
        return Err((format!("`{program}` is not an absolute path"), hint));
    }
    if argv.len() > MOST_WORDS || argv.iter().map(String::len).sum::<usize>() > MOST_BYTES {
        return Err((format!("has more than {MOST_WORDS} words or {MOST_BYTES} bytes"), "put it into a script"));
    }
    match argv.iter().find(|word| word.chars().any(char::is_control)) {
        Some(_) => Err(("has control characters in it".into(), hint)),
        None => Ok(()),
    }
}
