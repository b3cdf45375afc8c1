//! The envelope of a back-up: age-encryption.org/v1 for X25519 recipients, so that any age tool opens it.
//!
//! Whoever reads one gets all of it, proven to be whole and as it was written, or an error.

use std::fmt;
use std::io::{self, Read as _};
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use super::{BackupError, Contents};

/// The most that is read of a back-up: a hundred thousand of the largest keysets.
const LARGEST: u64 = 4 << 30;

/// Somebody who can open a back-up: an age X25519 recipient (`age1…`).
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Recipient(age::x25519::Recipient);

/// Why a text is no recipient.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is no recipient; hint: one looks like age1…; `age-keygen -y IDENTITY_FILE` prints it")]
pub struct RecipientError(String);

/// What opens back-ups: age X25519 identities (`AGE-SECRET-KEY-1…`).
pub struct Identities(Vec<age::x25519::Identity>);

impl FromStr for Recipient {
    type Err = RecipientError;
    fn from_str(text: &str) -> Result<Self, RecipientError> {
        // A secret key in this place is not repeated in an error.
        let shown = || if text.to_ascii_uppercase().starts_with("AGE-SECRET-KEY") { "(a secret key)".to_owned() } else { text.to_owned() };
        text.parse().map(Self).map_err(|_| RecipientError(shown()))
    }
}

impl TryFrom<String> for Recipient {
    type Error = RecipientError;
    fn try_from(text: String) -> Result<Self, RecipientError> {
        text.parse()
    }
}

impl From<Recipient> for String {
    fn from(recipient: Recipient) -> Self {
        recipient.to_string()
    }
}

impl fmt::Display for Recipient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

impl fmt::Debug for Recipient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

impl Identities {
    /// Out of an identity file, as `age-keygen` writes it: one to a line, comments behind `#`.
    ///
    /// # Errors
    /// If there is none, or one that keyrota cannot use. The text is never quoted.
    pub fn read(text: &[u8]) -> Result<Self, BackupError> {
        let refused = |what: &str, hint: &str| BackupError::Identity(format!("the identity file {what}; hint: {hint}"));
        if text.starts_with(b"age-encryption.org/") || text.starts_with(b"-----BEGIN AGE ENCRYPTED FILE-----") {
            let hint = "open it first: `age -d IDENTITY_FILE | keyrota restore FILE --identity -`";
            return Err(refused("is protected by a passphrase", hint));
        }
        let text = std::str::from_utf8(text).map_err(|_| refused("is no text", "`age-keygen` writes one"))?;
        let mut identities = Vec::new();
        for (n, line) in text.lines().enumerate().map(|(n, line)| (n + 1, line.trim())) {
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let identity = line.parse().map_err(|_| {
                let hint =
                    "keyrota takes age's own identities (AGE-SECRET-KEY-1…), not SSH keys or plugins: decrypt with `age -d` elsewhere";
                refused(&format!("holds in line {n} something that is no age identity"), hint)
            })?;
            identities.push(identity);
        }
        if identities.is_empty() { Err(refused("holds no identity", "`age-keygen` writes one")) } else { Ok(Self(identities)) }
    }
}

/// Never shows material.
impl fmt::Debug for Identities {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} identities", self.0.len())
    }
}

/// The back-up as it is written to a file.
///
/// # Errors
/// If there is no recipient, or the encryption fails.
pub fn seal(contents: &Contents, recipients: &[Recipient]) -> Result<Vec<u8>, BackupError> {
    if recipients.is_empty() {
        return Err(BackupError::NoRecipient);
    }
    let failed = |e: io::Error| BackupError::Encryption(e.to_string());
    let to = recipients.iter().map(|recipient| &recipient.0 as &dyn age::Recipient);
    let encryptor = age::Encryptor::with_recipients(to).map_err(|e| BackupError::Encryption(e.to_string()))?;
    let mut sealed = Vec::new();
    let mut inside = encryptor.wrap_output(&mut sealed).map_err(failed)?;
    contents.write(&mut inside).map_err(failed)?;
    inside.finish().map_err(failed)?;
    Ok(sealed)
}

/// What is in a back-up, if one of the identities opens it.
///
/// # Errors
/// If none does, or it was cut off, changed, or is of another format.
pub fn open(sealed: &[u8], identities: &Identities) -> Result<Contents, BackupError> {
    let decryptor = age::Decryptor::new(sealed).map_err(|e| BackupError::NotAnEnvelope(one_line(&e.to_string())))?;
    let with = identities.0.iter().map(|identity| identity as &dyn age::Identity);
    let reader = decryptor.decrypt(with).map_err(|e| match e {
        age::DecryptError::NoMatchingKeys | age::DecryptError::DecryptionFailed => BackupError::OtherRecipient,
        other => BackupError::Damaged(one_line(&other.to_string())),
    })?;
    // Room for all of it at once, so that no copy is left behind by a growing buffer.
    let mut plain = Zeroizing::new(Vec::with_capacity(sealed.len()));
    reader.take(LARGEST).read_to_end(&mut plain).map_err(|e| BackupError::Damaged(one_line(&e.to_string())))?;
    Contents::read(&plain)
}

fn one_line(text: &str) -> String {
    text.lines().next().unwrap_or_default().trim_end_matches('.').to_owned()
}
