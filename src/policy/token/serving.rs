//! `token.serve` and what belongs to it: which API keys may ask for tokens over the network, for whom, and how often.

use std::fmt;
use std::str::FromStr;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::super::fault::{Place, Report, nearest};
use super::super::leaf::NameText;
use super::super::tree::{Content, Node};
use super::{ProfileName, RawToken};
use crate::name::KeysetName;
use crate::time::Span;

/// The longest pattern of subjects, in bytes.
const LONGEST_PATTERN: usize = 256;

/// How tokens are served on the verifiers' listener.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Serving {
    /// Who may ask.
    pub callers: Vec<Caller>,
    /// How often each API key may ask.
    pub rate: Rate,
}

/// Whoever presents a key of one keyset.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Caller {
    /// The keyset of API keys, in the same environment.
    pub keyset: KeysetName,
    /// For whom it may ask.
    pub subjects: Vec<Subjects>,
}

/// Subjects by their whole name, or by its beginning and end around one `*`.
///
/// ```
/// use keyrota::policy::Subjects;
/// let users: Subjects = "user-*".parse().unwrap();
/// assert!(users.names("user-7") && users.names("user-") && !users.names("a-user-7"));
/// assert!("*-*".parse::<Subjects>().is_err());
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Subjects {
    front: String,
    /// What follows the `*`; `None`: there is none, and `front` is the whole name.
    back: Option<String>,
}

impl Subjects {
    /// Whether it names this subject, letter by letter from beginning to end.
    pub fn names(&self, subject: &str) -> bool {
        let Some(back) = &self.back else { return subject == self.front };
        subject.strip_prefix(self.front.as_str()).is_some_and(|rest| rest.ends_with(back.as_str()))
    }

    /// Whether it names everybody, and so a token about nobody too.
    pub fn is_everybody(&self) -> bool {
        self.front.is_empty() && self.back.as_deref() == Some("")
    }
}

impl FromStr for Subjects {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        if text.trim().is_empty() || text.len() > LONGEST_PATTERN || text.chars().any(char::is_control) {
            let wrong = format!("is blank, longer than {LONGEST_PATTERN} bytes or has control characters");
            return Err(format!("{wrong}; hint: write a subject, or its beginning and `*`: user-*"));
        }
        let (front, back) = text.split_once('*').map_or((text, None), |(front, back)| (front, Some(back)));
        if back.is_some_and(|back| back.contains('*')) {
            return Err(format!("`{text}` has more than one `*`; hint: write several patterns"));
        }
        Ok(Self { front: front.to_owned(), back: back.map(str::to_owned) })
    }
}

impl TryFrom<String> for Subjects {
    type Error = String;
    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl From<Subjects> for String {
    fn from(subjects: Subjects) -> Self {
        subjects.to_string()
    }
}

impl fmt::Display for Subjects {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.front)?;
        self.back.as_ref().map_or(Ok(()), |back| write!(f, "*{back}"))
    }
}

/// So many requests in so long: `600/1m`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Rate {
    /// How many; at least one.
    pub requests: u32,
    /// In which time; more than none.
    pub per: Span,
}

impl Default for Rate {
    fn default() -> Self {
        Self { requests: 600, per: Span::minutes(1) }
    }
}

impl FromStr for Rate {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("`{text}` is not a rate; hint: write requests and a length of time: 600/1m, 20/1s");
        let (requests, per) = text.split_once('/').ok_or_else(wrong)?;
        let per: Span = per.parse().map_err(|_| wrong())?;
        let requests = requests.parse().ok().filter(|_| requests.bytes().all(|b| b.is_ascii_digit())).ok_or_else(wrong)?;
        if requests == 0 || per == Span::ZERO || per > Span::days(1) {
            return Err(format!("`{text}` lets nobody ask, or counts over more than a day; hint: for example 600/1m"));
        }
        Ok(Self { requests, per })
    }
}

impl TryFrom<String> for Rate {
    type Error = String;
    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl From<Rate> for String {
    fn from(rate: Rate) -> Self {
        rate.to_string()
    }
}

impl fmt::Display for Rate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.requests, self.per)
    }
}

/// Who may ask for tokens over the network: whoever presents a key of a keyset of API keys.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(in super::super) struct RawCaller {
    /// The keyset of API keys that callers present, of this environment. Old and new keys count for as long as they live.
    #[schemars(with = "NameText")]
    keyset: String,
    /// For whom they may ask: subjects as they are, or with one `*` for any characters, such as `user-*`.
    subjects: Vec<String>,
    /// The profiles that they may be given. Default: whichever this keyset mints.
    profiles: Option<Vec<ProfileName>>,
}

/// Reads what belongs to `serve`; faults go into the report.
pub(super) fn resolve(raw: &RawToken, node: &Node, report: &mut Report) -> Option<Serving> {
    if raw.serve != Some(true) {
        for field in ["callers", "rate"].into_iter().filter(|field| node.get(field).is_some()) {
            report.fault(&node.place_of(field), "says how tokens are served, and they are not", "add `serve: true`, or remove it");
        }
        return None;
    }
    let stated = raw.callers.as_deref().unwrap_or_default();
    let list = node.get("callers");
    if stated.is_empty() && list.is_none_or(|list| items(list).is_empty()) {
        let what = "names nobody, so tokens would be served to nobody";
        report.fault(
            &node.place_of("callers"),
            what,
            "add `callers: [{ keyset: partner-api, subjects: [\"user-*\"] }]`, or remove `serve`",
        );
    }
    let sound = list.map(items).unwrap_or_default().iter().filter(|item| item.sound);
    let callers = stated.iter().zip(sound).filter_map(|(caller, node)| caller.resolve(raw.profile, node, report)).collect();
    let rate = raw.rate.as_deref().and_then(|text| text.parse().ok()).unwrap_or_default();
    Some(Serving { callers, rate })
}

impl RawCaller {
    fn resolve(&self, minted: ProfileName, node: &Node, report: &mut Report) -> Option<Caller> {
        if self.profiles.as_ref().is_some_and(|profiles| !profiles.contains(&minted)) {
            let what = format!("does not name `{minted}`, which is all that this keyset mints, so nobody would be let in");
            report.fault(&node.place_of("profiles"), what, format!("add {minted}, or remove the caller"));
        }
        if self.subjects.is_empty() {
            report.fault(&node.place_of("subjects"), "names nobody", "for example [\"user-*\"], or [\"*\"] for everybody");
        }
        let mut subjects = Vec::new();
        for text in &self.subjects {
            match text.parse::<Subjects>() {
                Ok(pattern) => subjects.push(pattern),
                Err(error) => report.fault_from(&node.place_of("subjects"), &error),
            }
        }
        Some(Caller { keyset: self.keyset.parse().ok()?, subjects })
    }
}

/// Holds the callers of every keyset against the keysets that there are: each must be one of API keys.
pub(in super::super) fn check_callers(keysets: &[(String, Node)], report: &mut Report) {
    let mut seen: Vec<(&Place, &str)> = Vec::new();
    for (_, keyset) in keysets {
        let callers = keyset.get("token").and_then(|token| token.get("callers")).map(items).unwrap_or_default();
        for named in callers.iter().filter_map(|caller| caller.get("keyset")).filter(|named| named.sound) {
            seen.extend(text(named).map(|name| (&named.place, name)));
        }
    }
    for (place, name) in seen {
        let algorithm = keysets.iter().find(|(known, _)| known == name).map(|(_, keyset)| keyset.get("algorithm").and_then(text));
        match algorithm {
            Some(Some("api-key")) => {}
            Some(other) => {
                let is = other.unwrap_or("no keyset of API keys");
                report.fault(place, format!("`{name}` is {is}, and callers present API keys"), "name a keyset with `algorithm: api-key`");
            }
            None => {
                let names = keysets.iter().map(|(name, _)| name.as_str());
                let hint = nearest(name, names).map_or_else(
                    || "name a keyset of this environment with `algorithm: api-key`".to_owned(),
                    |near| format!("did you mean {near}?"),
                );
                report.fault(place, format!("there is no keyset `{name}` in this environment"), hint);
            }
        }
    }
}

fn items(node: &Node) -> &[Node] {
    if let Content::Sequence(items) = &node.content { items } else { &[] }
}

fn text(node: &Node) -> Option<&str> {
    if let Content::Scalar { text, .. } = &node.content { Some(text) } else { None }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_hold_both_ends() {
        let names = |pattern: &str, subject: &str| pattern.parse::<Subjects>().unwrap().names(subject);
        for (pattern, subject) in
            [("ada", "ada"), ("user-*", "user-1"), ("*@a.example", "x@a.example"), ("a*z", "az"), ("*", ""), ("*", "x")]
        {
            assert!(names(pattern, subject), "{pattern} {subject}");
        }
        // The two ends may not share a character.
        for (pattern, subject) in
            [("ada", "adam"), ("user-*", "xuser-1"), ("*@a.example", "x@a.example.org"), ("ab*ba", "aba"), ("u.*", "ux")]
        {
            assert!(!names(pattern, subject), "{pattern} {subject}");
        }
        for bad in ["", " ", "**", "a*b*c", "a\nb", &"x".repeat(257)] {
            assert!(bad.parse::<Subjects>().is_err(), "{bad}");
        }
        assert!("*".parse::<Subjects>().unwrap().is_everybody() && !"a*".parse::<Subjects>().unwrap().is_everybody());
    }

    #[test]
    fn a_rate_is_requests_in_a_length_of_time() {
        assert_eq!("600/1m".parse(), Ok(Rate::default()));
        assert_eq!("20/1s".parse::<Rate>().unwrap().to_string(), "20/1s");
        for bad in ["", "600", "600/m", "0/1m", "1/0s", "-1/1m", "+1/1m", "1/2d", "1.5/1s", "4294967296/1s"] {
            assert!(bad.parse::<Rate>().is_err(), "{bad}");
        }
    }
}
