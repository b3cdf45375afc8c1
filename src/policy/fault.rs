//! Faults and warnings: one sentence each, with the place in the file and what to do about it.

use std::fmt;
use std::path::{Path, PathBuf};

/// Something in a policy file that makes the whole file unusable.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Fault {
    /// The file, as it was named to us.
    pub file: PathBuf,
    /// The line, counted from 1.
    pub line: usize,
    /// The field as a dotted path, `keysets.user-sessions.token_ttl`; empty where the file itself is meant.
    pub field: String,
    /// What is wrong, with the numbers in it.
    pub what: String,
    /// What to do about it.
    pub hint: String,
}

/// Something in a policy file that is lawful, and that its author should know.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Warning {
    /// The file, as it was named to us.
    pub file: PathBuf,
    /// The line, counted from 1.
    pub line: usize,
    /// The field as a dotted path; empty where the file itself is meant.
    pub field: String,
    /// What is worth knowing, with the numbers in it.
    pub what: String,
    /// What to do about it.
    pub hint: String,
}

macro_rules! sentence {
    ($type:ty) => {
        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{}:{}: ", self.file.display(), self.line)?;
                if !self.field.is_empty() {
                    write!(f, "{}: ", self.field)?;
                }
                f.write_str(&self.what)?;
                if self.hint.is_empty() { Ok(()) } else { write!(f, "; hint: {}", self.hint) }
            }
        }
    };
}
sentence!(Fault);
sentence!(Warning);

impl std::error::Error for Fault {}

impl Fault {
    /// A fault of a whole file or folder.
    pub(super) fn of_file(file: &Path, what: impl Into<String>, hint: impl Into<String>) -> Self {
        Self { file: file.to_owned(), line: 1, field: String::new(), what: what.into(), hint: hint.into() }
    }
}

/// Where something stands in a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Place {
    /// The line, counted from 1.
    pub line: usize,
    /// The dotted path.
    pub field: String,
}

impl Place {
    /// The place of the field `name` within this one, as far as only its owner's line is known.
    pub(super) fn child(&self, name: &str) -> Self {
        Self { line: self.line, field: dotted(&self.field, name) }
    }
}

/// `name` appended to a dotted path.
pub(super) fn dotted(path: &str, name: &str) -> String {
    if path.is_empty() { name.to_owned() } else { format!("{path}.{name}") }
}

/// All that was found in one file so far.
#[derive(Debug)]
pub(super) struct Report {
    file: PathBuf,
    /// What makes the file unusable.
    pub faults: Vec<Fault>,
    /// What its author should know.
    pub warnings: Vec<Warning>,
}

impl Report {
    pub(super) fn new(file: &Path) -> Self {
        Self { file: file.to_owned(), faults: Vec::new(), warnings: Vec::new() }
    }

    pub(super) fn fault(&mut self, at: &Place, what: impl Into<String>, hint: impl Into<String>) {
        self.faults.push(Fault { file: self.file.clone(), line: at.line, field: at.field.clone(), what: what.into(), hint: hint.into() });
    }

    /// A fault from an error text that may carry its hint behind `; hint: `.
    pub(super) fn fault_from(&mut self, at: &Place, error: &str) {
        let (what, hint) = error.split_once("; hint: ").unwrap_or((error, ""));
        self.fault(at, what, hint);
    }

    pub(super) fn warning(&mut self, at: &Place, what: impl Into<String>, hint: impl Into<String>) {
        self.warnings.push(Warning {
            file: self.file.clone(),
            line: at.line,
            field: at.field.clone(),
            what: what.into(),
            hint: hint.into(),
        });
    }

    /// Everything in the order of the file.
    pub(super) fn sorted(mut self) -> Self {
        self.faults.sort_by(|a, b| (a.line, &a.field).cmp(&(b.line, &b.field)));
        self.warnings.sort_by(|a, b| (a.line, &a.field).cmp(&(b.line, &b.field)));
        self
    }
}

/// The candidate that `text` was probably meant to be.
pub(super) fn nearest<'c>(text: &str, candidates: impl Iterator<Item = &'c str>) -> Option<&'c str> {
    let wanted = text.to_lowercase();
    let farthest = 2.max(wanted.len() / 4);
    candidates
        .map(|candidate| (strsim::damerau_levenshtein(&wanted, &candidate.to_lowercase()), candidate))
        .filter(|(distance, _)| *distance <= farthest)
        .min()
        .map(|(_, candidate)| candidate)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fault_is_one_sentence() {
        let mut report = Report::new(Path::new("policies/x.yaml"));
        report.fault(&Place { line: 12, field: "keysets.a.token_ttl".into() }, "`15` has no unit", "write 15m");
        report.fault_from(&Place { line: 1, field: String::new() }, "bad; hint: do better");
        assert_eq!(report.faults[0].to_string(), "policies/x.yaml:12: keysets.a.token_ttl: `15` has no unit; hint: write 15m");
        assert_eq!(report.faults[1].to_string(), "policies/x.yaml:1: bad; hint: do better");
    }

    #[test]
    fn the_nearest_name_is_near() {
        let names = ["token_ttl", "rotate_every", "mode"];
        assert_eq!(nearest("tokn_ttl", names.into_iter()), Some("token_ttl"));
        assert_eq!(nearest("rotate_evrey", names.into_iter()), Some("rotate_every"));
        assert_eq!(nearest("colour", names.into_iter()), None);
    }
}
