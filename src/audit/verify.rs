//! Whether the trail is as it was written: no line changed, removed, moved, added or cut off; and if it is not, where.

use std::fs;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::key::TrailKey;
use super::{chain, files};
use crate::time::Timestamp;
use crate::witness::book::TrailHead;

/// The most flaws that are told one by one.
const MOST_FLAWS: usize = 100;

/// What an examination of the trail found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Verified {
    /// How many lines there are.
    pub lines: u64,
    /// The number of the first.
    pub first: u64,
    /// The number of the last.
    pub last: u64,
    /// When the first and the last happened.
    pub span: Option<(Timestamp, Timestamp)>,
    /// What is wrong, in order; at most a hundred.
    pub flaws: Vec<Flaw>,
}

/// Something that is not as it was written.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Flaw {
    /// In which file; empty if none of them has it.
    pub file: String,
    /// In which line of it, from one; zero if none.
    pub line: u64,
    /// What, as a sentence.
    pub what: String,
}

/// Examines the trail of a state directory. `keys` are those in use, of which the trail is proven by one; `head` is what the witness
/// noted.
///
/// # Errors
/// If a file cannot be read.
pub fn verify(directory: &Path, keys: &[TrailKey], head: Option<&TrailHead>) -> Result<Verified, String> {
    let reigns = reigns(directory, keys)?;
    let mut examined =
        Examined { reigns, expected: None, verified: Verified { lines: 0, first: 0, last: 0, span: None, flaws: Vec::new() }, noted: head };
    for path in files::existing(directory)? {
        let bytes = fs::read(&path).map_err(|e| format!("cannot read {}: {e}; hint: look at its owner", path.display()))?;
        let text = String::from_utf8_lossy(&bytes);
        let whole = text.strip_suffix('\n');
        let mut count = 0;
        for (at, line) in whole.unwrap_or(&text).split('\n').enumerate().filter(|_| !text.is_empty()) {
            count = at as u64 + 1;
            examined.line(&path, count, line);
        }
        if whole.is_none() && !text.is_empty() {
            examined.flaw(&path, count, "the line does not end: the file was cut off in it".to_owned());
        }
    }
    examined.end();
    Ok(examined.verified)
}

/// From which line on a key proves the trail.
struct Reign {
    from: u64,
    key: TrailKey,
}

/// The keys that proved the trail, the latest first: from the one of today, which opens the one before it, and so on. A line that only
/// says that it changes the key is not believed: it must be proven by the key that is known already.
fn reigns(directory: &Path, keys: &[TrailKey]) -> Result<Vec<Reign>, String> {
    let mut changes = Vec::new();
    for path in files::existing(directory)? {
        let bytes = fs::read(&path).map_err(|e| format!("cannot read {}: {e}; hint: look at its owner", path.display()))?;
        let text = String::from_utf8_lossy(&bytes);
        let changing = text.lines().filter(|line| line.contains("\"key_before\":"));
        changes.extend(changing.filter_map(|line| Some((chain::read(line)?, line.to_owned()))));
    }
    let latest = changes.iter().rev().find_map(|(read, line)| {
        let key = keys.iter().find(|key| Some(key.id()) == read.trail_key.as_deref())?;
        chain::is_genuine(key.mac(), line).then(|| key.clone())
    });
    let Some(mut key) = latest.or_else(|| keys.first().cloned()) else { return Ok(Vec::new()) };
    let mut reigns = Vec::new();
    for (read, line) in changes.iter().rev() {
        let handed_on = read.trail_key.as_deref() == Some(key.id()) && chain::is_genuine(key.mac(), line);
        let before = read.key_before.as_deref().filter(|_| handed_on).and_then(|sealed| key.open(sealed, read.n));
        if let Some(before) = before {
            reigns.push(Reign { from: read.n, key: std::mem::replace(&mut key, before) });
        }
    }
    reigns.push(Reign { from: 0, key });
    Ok(reigns)
}

/// How far the examination has come.
struct Examined<'a> {
    reigns: Vec<Reign>,
    /// The number and the code of the line before.
    expected: Option<(u64, String)>,
    noted: Option<&'a TrailHead>,
    verified: Verified,
}

impl Examined<'_> {
    fn flaw(&mut self, file: &Path, line: u64, what: String) {
        if self.verified.flaws.len() < MOST_FLAWS {
            let file = file.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
            self.verified.flaws.push(Flaw { file, line, what });
        }
    }

    fn line(&mut self, path: &Path, at: u64, text: &str) {
        self.verified.lines += 1;
        let Some(read) = chain::read(text) else {
            self.flaw(path, at, "this is no line of the trail: it was damaged or put there".to_owned());
            return;
        };
        let reign = self.reigns.iter().find(|reign| read.n >= reign.from);
        if !reign.is_some_and(|reign| chain::is_genuine(reign.key.mac(), text)) {
            self.flaw(path, at, format!("line {} was changed: its authentication code does not fit", read.n));
        }
        match self.expected.take() {
            None => self.beginning(path, at, &read),
            Some((before, _)) if read.n > before + 1 => {
                self.flaw(path, at, format!("lines {} to {} are missing before this one", before + 1, read.n - 1));
            }
            Some((before, _)) if read.n <= before => {
                self.flaw(path, at, format!("line {} follows line {before}: they were moved, or one was put in again", read.n));
            }
            Some((before, code)) if read.prev != code => {
                self.flaw(path, at, format!("line {} does not continue line {before} as it stands here", read.n));
            }
            Some(_) => {}
        }
        if let Some(noted) = self.noted.filter(|noted| noted.number == read.n && noted.code != read.mac) {
            self.flaw(path, at, format!("line {} is not the one that the witness noted", noted.number));
        }
        self.verified.first = if self.verified.first == 0 { read.n } else { self.verified.first };
        self.verified.last = read.n;
        self.verified.span = Some((self.verified.span.map_or(read.at, |(first, _)| first), read.at));
        self.expected = Some((read.n, read.mac));
    }

    /// The first line of all that are kept.
    fn beginning(&mut self, path: &Path, at: u64, read: &chain::Read) {
        let oldest = self.noted.map_or(1, |noted| noted.oldest);
        if read.n > oldest {
            self.flaw(path, at, format!("lines {oldest} to {} are missing before this one", read.n - 1));
        } else if read.n == 1 && read.prev != chain::GENESIS {
            self.flaw(path, at, "line 1 says that another stood before it".to_owned());
        }
    }

    fn end(&mut self) {
        let last = self.expected.as_ref().map_or(0, |(number, _)| *number);
        if let Some(noted) = self.noted.filter(|noted| noted.number > last) {
            let what = format!("lines {} to {} are missing at the end: the trail was cut off", last + 1, noted.number);
            let nowhere = PathBuf::new();
            self.flaw(&nowhere, 0, what);
        }
    }
}
