//! What a step waits for, in words: for `status`, `plan`, logs. Labels for alerts are in [`super::overdue`].

use std::fmt;

use super::{Because, Pending};

impl Because {
    /// Its name in output: a word or two, the same for ever.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Schedule => "schedule",
            Self::Propagation => "propagation",
            Self::Serving => "serving",
            Self::Retention => "retention",
            Self::RollbackWindow => "rollback-window",
            Self::Window => "window",
            Self::Frozen => "frozen",
            Self::Approval => "approval",
            Self::Manual => "manual",
            Self::Publish { .. } | Self::StillHeld { .. } => "publish",
            Self::Probe { .. } | Self::StillShown { .. } => "probe",
            Self::StoreRefresh => "store-refresh",
            Self::External => "external",
            Self::Vendor { .. } => "vendor",
            Self::Inception => "inception",
            Self::Clock { .. } => "clock",
            Self::Policy { .. } => "policy",
            Self::Store { .. } => "store",
            Self::Making => "making",
            Self::Keygen { .. } => "keygen",
            Self::Witness { .. } => "witness",
            Self::Uptake { .. } | Self::Unheard => "uptake",
            Self::MovedTo { .. } => "moved-to",
            Self::MovedFrom { .. } => "moved-from",
            Self::Full => "full",
        }
    }
}

/// What it waits for, as half a sentence.
impl fmt::Display for Because {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Schedule => "its time has not come",
            Self::Propagation => "verifiers may still use a key set they fetched before",
            Self::Serving => "verifiers may have missed a refresh while this process did not serve",
            Self::Retention => "tokens that it signed may still be alive",
            Self::RollbackWindow => "the change-over can still be undone",
            Self::Window => "the rotation window is closed",
            Self::Frozen => "an operator froze it; hint: `keyrota unfreeze` lets it go on",
            Self::Approval => "it needs an operator's word; hint: `keyrota approve`",
            Self::Manual => "the policy rotates by hand; hint: `keyrota rotate`",
            Self::Publish { place } => return write!(f, "{place} has not been read back with it"),
            Self::StillHeld { place } => return write!(f, "{place} still holds it, or cannot be read"),
            Self::StillShown { place } => return write!(f, "{place} still shows it, or has not shown its key set since the revocation"),
            Self::Probe { place, since } => {
                return write!(f, "{place} does not show it, and it has been published since {since}");
            }
            Self::Uptake { signer, generation, needed } => {
                return write!(f, "signer {signer} still reports generation {generation}, and another key signs since {needed}");
            }
            Self::Unheard => "signers have had no time to report what they use since this process began to serve",
            Self::StoreRefresh => "other replicas may not have seen it yet",
            Self::External => "a key must be handed in; hint: `keyrota import`",
            Self::Inception => "the policy's inception is another day; hint: `keyrota init` creates it now",
            Self::Vendor { what }
            | Self::Store { what }
            | Self::Keygen { what }
            | Self::Clock { what }
            | Self::Policy { what }
            | Self::Witness { what }
            | Self::MovedTo { what } => what,
            Self::MovedFrom { store } => {
                return write!(f, "somebody may still read the {store} it came from; hint: `keyrota migrate` with --erase-source");
            }
            Self::Making => "the key is being made",
            Self::Full => "the keyset holds as many live keys as it may",
        })
    }
}

/// One line: what, on which key, until when and why.
///
/// ```
/// use keyrota::lifecycle::{Because, Pending, StepKind};
/// use keyrota::time::{Span, Timestamp};
/// let at = Some(Timestamp::EPOCH + Span::hours(1));
/// let pending = Pending { step: StepKind::Generate, kid: None, at, because: Because::Schedule };
/// assert_eq!(pending.to_string(), "generate waits until 1970-01-01T01:00:00.000Z (schedule): its time has not come");
/// ```
impl fmt::Display for Pending {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.step)?;
        if let Some(kid) = &self.kid {
            write!(f, " {kid}")?;
        }
        match self.at {
            Some(at) => write!(f, " waits until {at} ({}): {}", self.because.name(), self.because),
            None => write!(f, " waits ({}): {}", self.because.name(), self.because),
        }
    }
}
