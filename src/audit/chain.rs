//! The chain: how a line is bound to its place. Pure.
//!
//! `{"n":7,"prev":"<code of line 6>",…what happened…,"mac":"<code>"}`, where the code is HMAC-SHA256, in base64url, over everything in front
//! of `,"mac"`. So a line proves that it was written here (its own code), and which line stood before it (`prev`).

use aws_lc_rs::hmac;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize};

use super::Line;
use crate::name::{EnvironmentName, Generation, KeysetName};
use crate::time::Timestamp;

/// What stands in place of the code of the line before the first.
pub const GENESIS: &str = "begin";

const MAC: &str = ",\"mac\":\"";
/// 32 bytes in base64url without padding.
const CODE_LENGTH: usize = 43;

#[derive(Serialize)]
struct Placed<'a> {
    n: u64,
    prev: &'a str,
    #[serde(flatten)]
    line: &'a Line,
}

/// What is read of a line to check it and to go on from it.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Read {
    /// Its number.
    pub n: u64,
    /// The code of the line before.
    pub prev: String,
    /// When.
    pub at: Timestamp,
    /// Of which keyset.
    #[serde(default)]
    pub environment: Option<EnvironmentName>,
    #[serde(default)]
    pub keyset: Option<KeysetName>,
    #[serde(default)]
    pub generation: Option<Generation>,
    /// The id of the key that proves the lines from this one on, where that changes.
    #[serde(default)]
    pub trail_key: Option<String>,
    /// The key that proved the lines before, sealed under that one.
    #[serde(default)]
    pub key_before: Option<String>,
    /// Its own code.
    pub mac: String,
}

/// A line in its place, ended by a line feed, and its code.
pub fn placed(key: &hmac::Key, number: u64, prev: &str, line: &Line) -> Option<(String, String)> {
    let mut text = serde_json::to_string(&Placed { n: number, prev, line }).ok()?;
    text.pop();
    let code = URL_SAFE_NO_PAD.encode(hmac::sign(key, text.as_bytes()));
    text.push_str(MAC);
    text.push_str(&code);
    text.push_str("\"}\n");
    Some((text, code))
}

/// Reads a line (without its line feed), whoever wrote it.
pub fn read(text: &str) -> Option<Read> {
    serde_json::from_str(text).ok()
}

/// When a line says that it happened.
pub fn at(text: &str) -> Option<Timestamp> {
    #[derive(Deserialize)]
    struct When {
        at: Timestamp,
    }
    serde_json::from_str::<When>(text).ok().map(|when| when.at)
}

/// Whether the line was written with this key, exactly as it stands.
pub fn is_genuine(key: &hmac::Key, text: &str) -> bool {
    let Some(at) = text.len().checked_sub(MAC.len() + CODE_LENGTH + 2) else { return false };
    let (Some(body), Some(tail)) = (text.get(..at), text.get(at..)) else { return false };
    let code = tail.strip_prefix(MAC).and_then(|tail| tail.strip_suffix("\"}")).and_then(|code| URL_SAFE_NO_PAD.decode(code).ok());
    code.is_some_and(|code| hmac::verify(key, body.as_bytes(), &code).is_ok())
}
