//! Back-ups: everything that is needed to come back on a new host, as one file that only its recipients can open (age-encryption.org/v1).
//!
//! In it are the documents of all environments in the embedded store, with their private halves; what this host has seen of every
//! keyset; the last good policies; how far the audit trail was written. Not in it: the master key, because a restored store gets its own;
//! documents that live in AWS; the trail itself.
//!
//! Invariant: what is in a back-up leaves this room encrypted. There is no way to write one without a recipient.
//!
//! What comes back is held: since the copy was made keys may have been revoked or have changed over, and nobody here has seen it. So
//! nothing of it is served or decided on until an operator says `keyrota restored ENV` (rotate everything) or `keyrota accept` (nothing
//! has changed since).

mod contents;
mod envelope;
pub mod restore;

pub use contents::{Contents, FORMAT, Seen};
pub use envelope::{Identities, Recipient, RecipientError, open, seal};

/// Why a back-up cannot be made or opened. Every text ends with a hint.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BackupError {
    /// Nobody could open it.
    #[error("a back-up needs a recipient, since it is never written in the clear; hint: --to age1…, made with `age-keygen`")]
    NoRecipient,
    /// It was made for others.
    #[error("none of these identities opens the back-up; hint: give the one whose recipient stood behind --to when it was made")]
    OtherRecipient,
    /// It is no age file.
    #[error("it is no back-up of keyrota's: {0}; hint: is it the file that `keyrota backup` wrote, whole and not armored?")]
    NotAnEnvelope(String),
    /// It was cut off or changed.
    #[error("the back-up was cut off or changed after it was made: {0}; hint: take another copy; nothing was written")]
    Damaged(String),
    /// It was made by another version.
    #[error("the back-up is of format `{found}`, and this keyrota reads `{FORMAT}`; hint: restore it with the keyrota that made it")]
    OtherFormat {
        /// What it says it is.
        found: String,
    },
    /// What is in it contradicts itself.
    #[error("the back-up holds something that cannot be right: {0}; hint: take another back-up; nothing was written")]
    Unsound(String),
    /// The identity is not one that can be used.
    #[error("{0}")]
    Identity(String),
    /// The encryption failed.
    #[error("the back-up could not be encrypted: {0}; hint: the daemon's log says more")]
    Encryption(String),
}
