//! What happened, as values: one enum that feeds the log, the audit trail and the counters. Never material.

use std::fmt;
use std::sync::Arc;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::document::{Change, Document, HistoryEntry};
use crate::name::{EnvironmentName, Generation, KeysetId, Kid, SignerName};
use crate::time::{Span, Timestamp};

/// Something that happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// A keyset's document changed, by this process.
    Changed {
        /// Which.
        keyset: KeysetId,
        /// How.
        entry: HistoryEntry,
    },
    /// A document was taken from the store that this process had not written itself, or did not know to have written.
    Seen {
        /// The document.
        document: Arc<Document>,
    },
    /// Another writer changed a keyset first; this process reloaded and decides again.
    Overtaken {
        /// Which.
        keyset: KeysetId,
    },
    /// A keyset cannot be read, changed or generated for; it is tried again.
    Trouble {
        /// Which.
        keyset: KeysetId,
        /// With what.
        part: Part,
        /// What is wrong, as a sentence.
        what: String,
    },
    /// The same trouble is over.
    TroubleOver {
        /// Which.
        keyset: KeysetId,
        /// With what.
        part: Part,
    },
    /// A target was written.
    TargetWritten {
        /// Which keyset.
        keyset: KeysetId,
        /// Which target.
        target: String,
        /// Whether it had been altered by somebody else.
        drift: bool,
    },
    /// A program that a target is handed to said something.
    TargetSaid {
        /// Which keyset.
        keyset: KeysetId,
        /// Which target.
        target: String,
        /// What, shortened.
        what: String,
    },
    /// A key left the key set although a signer still reports that it uses it: it was waited for as long as the policy allows.
    UptakeOverrun {
        /// Which keyset.
        keyset: KeysetId,
        /// Which key.
        kid: Kid,
        /// Which signer.
        signer: SignerName,
        /// What it reports.
        generation: Generation,
    },
    /// A step waits for a person: a vendor's key to be handed in, or an approval.
    OperatorNeeded {
        /// Which keyset.
        keyset: KeysetId,
        /// Which key it is about, if there is one yet.
        kid: Option<Kid>,
        /// What waits, and for what.
        waiting: String,
    },
    /// A change-over is late, or a key cannot leave, and from now on for this reason.
    Overdue {
        /// Which keyset.
        keyset: KeysetId,
        /// Since when.
        since: Timestamp,
        /// What it waits for.
        because: String,
    },
    /// What was late is late no more.
    InTime {
        /// Which keyset.
        keyset: KeysetId,
    },
    /// What was written to a place that is no target any more was taken away.
    TargetRemoved {
        /// Which keyset.
        keyset: KeysetId,
        /// Which target.
        target: String,
    },
    /// What was written to a place that is no target any more could not be taken away, and is keyrota's business no longer.
    TargetLeft {
        /// Which keyset.
        keyset: KeysetId,
        /// Which target.
        target: String,
        /// Why, as a sentence.
        what: String,
    },
    /// The store did not answer.
    StoreUnavailable {
        /// Whose.
        environment: EnvironmentName,
        /// What is wrong, as a sentence.
        what: String,
    },
    /// The store answers again.
    StoreBack {
        /// Whose.
        environment: EnvironmentName,
    },
    /// An operator took the store's content as it is, although this host had seen a document that is there no more.
    Accepted {
        /// Which keyset.
        keyset: KeysetId,
        /// Who.
        by: String,
    },
    /// An operator said that the wall clock is right as it is.
    ClockAccepted {
        /// In which environment.
        environment: EnvironmentName,
        /// Who.
        by: String,
    },
    /// An operator removed a keyset with everything it wrote.
    Removed {
        /// Which.
        keyset: KeysetId,
        /// Its last generation.
        generation: Generation,
        /// Who.
        by: String,
        /// Why.
        reason: String,
    },
    /// An operator took a keyset a part of its way to another store.
    Migrated {
        /// Which.
        keyset: KeysetId,
        /// The generation in force there.
        generation: Generation,
        /// Which part, as half a sentence.
        what: String,
        /// Who.
        by: String,
        /// Why.
        reason: String,
    },
    /// The embedded store is sealed under a new master key.
    MasterKeyChanged {
        /// Who asked for it.
        by: String,
        /// Why.
        reason: String,
    },
    /// A back-up was handed out.
    BackedUp {
        /// To whom.
        by: String,
        /// How many documents are in it.
        documents: usize,
        /// Who can open it.
        recipients: Vec<String>,
    },
    /// This state directory was made out of a back-up.
    RestoredFromBackup {
        /// Who did it.
        by: String,
        /// When the back-up was made.
        made_at: Timestamp,
        /// How many documents were in it.
        documents: usize,
        /// The number and the code of the last line of the trail of then.
        trail: Option<(u64, String)>,
    },
    /// The wall clock was set.
    ClockSet {
        /// By how much.
        by: Span,
    },
    /// The wall clock agrees with the boot clock again.
    ClockBack,
}

/// What kind of thing happened to a keyset, by the word that lines of the audit trail bear.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
#[allow(missing_docs, reason = "each is named as in the trail")]
pub enum EventKind {
    KeyMoved,
    PrivateErased,
    Forgotten,
    FactsAdopted,
    IntentNoted,
    RevocationConfirmed,
    TimesReset,
    Trouble,
    TroubleOver,
    TargetWritten,
    TargetRepaired,
    TargetRemoved,
    TargetLeft,
    UptakeOverrun,
    OperatorNeeded,
    Overdue,
    InTime,
    Accepted,
    Removed,
    Migrated,
}

impl EventKind {
    /// The word.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::KeyMoved => "key-moved",
            Self::PrivateErased => "private-erased",
            Self::Forgotten => "forgotten",
            Self::FactsAdopted => "facts-adopted",
            Self::IntentNoted => "intent-noted",
            Self::RevocationConfirmed => "revocation-confirmed",
            Self::TimesReset => "times-reset",
            Self::Trouble => "trouble",
            Self::TroubleOver => "trouble-over",
            Self::TargetWritten => "target-written",
            Self::TargetRepaired => "target-repaired",
            Self::TargetRemoved => "target-removed",
            Self::TargetLeft => "target-left",
            Self::UptakeOverrun => "uptake-overrun",
            Self::OperatorNeeded => "operator-needed",
            Self::Overdue => "overdue",
            Self::InTime => "in-time",
            Self::Accepted => "accepted",
            Self::Removed => "removed",
            Self::Migrated => "migrated",
        }
    }
}

/// What a trouble is with.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Part {
    /// Reading or changing the document.
    Store,
    /// What this host has seen before.
    Witness,
    /// Another replica decides under another policy.
    Policy,
    /// Making a key.
    Keygen,
    /// Writing the target of that name.
    Target(String),
    /// What is seen at that address.
    Probe(String),
}

impl fmt::Display for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Store => f.write_str("the store"),
            Self::Witness => f.write_str("the witness"),
            Self::Policy => f.write_str("one policy on all replicas"),
            Self::Keygen => f.write_str("the making of keys"),
            Self::Target(name) => write!(f, "target {name}"),
            Self::Probe(url) => write!(f, "probe {url}"),
        }
    }
}

impl Event {
    /// Whether somebody should look.
    pub const fn is_trouble(&self) -> bool {
        matches!(
            self,
            Self::Trouble { .. }
                | Self::TargetLeft { .. }
                | Self::UptakeOverrun { .. }
                | Self::Overdue { .. }
                | Self::StoreUnavailable { .. }
                | Self::ClockSet { .. }
        )
    }
}

impl fmt::Display for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Changed { keyset, entry } => write!(f, "{keyset}: {} ({})", Told(&entry.change), entry.reason),
            Self::Seen { document } => write!(f, "{}: generation {} was read", document.id, document.generation),
            Self::Overtaken { keyset } => write!(f, "{keyset}: another writer was first; deciding again"),
            Self::Trouble { keyset, what, .. } => write!(f, "{keyset}: {what}"),
            Self::TroubleOver { keyset, part } => write!(f, "{keyset}: {part} works again"),
            Self::TargetWritten { keyset, target, drift: false } => write!(f, "{keyset}: wrote {target}"),
            Self::TargetWritten { keyset, target, drift: true } => write!(f, "{keyset}: {target} had been altered; repaired"),
            Self::TargetSaid { keyset, target, what } => write!(f, "{keyset}: {target} said: {what}"),
            Self::UptakeOverrun { keyset, kid, signer, generation } => write!(
                f,
                "{keyset}: key {kid} left although signer {signer} still reports generation {generation}: its tokens are rejected; \
                 hint: restart that signer, or look why it does not read its document"
            ),
            Self::OperatorNeeded { keyset, waiting, .. } => write!(f, "{keyset}: {waiting}"),
            Self::Overdue { keyset, since, because } => write!(f, "{keyset}: overdue since {since}: {because}"),
            Self::InTime { keyset } => write!(f, "{keyset}: it is overdue no more"),
            Self::TargetRemoved { keyset, target } => write!(f, "{keyset}: {target} is no target any more; removed"),
            Self::TargetLeft { keyset, target, what } => {
                let hint = if what.contains("; hint: ") { "" } else { "; hint: remove it by hand" };
                write!(f, "{keyset}: {target} is no target any more and was left as it is: {what}{hint}")
            }
            Self::StoreUnavailable { environment, what } => write!(f, "{environment}: {what}"),
            Self::StoreBack { environment } => write!(f, "{environment}: the store answers again"),
            Self::Accepted { keyset, by } => write!(f, "{keyset}: {by} accepted that its document is gone"),
            Self::ClockAccepted { environment, by } => write!(f, "{environment}: {by} accepted the wall clock as it is"),
            Self::Removed { keyset, by, reason, .. } => write!(f, "{keyset}: {by} removed it with everything it wrote ({reason})"),
            Self::Migrated { keyset, what, by, reason, .. } => write!(f, "{keyset}: {what}, in the name of {by} ({reason})"),
            Self::MasterKeyChanged { by, .. } => write!(f, "{by} changed the master key: everything is sealed under the new one"),
            Self::BackedUp { by, documents, recipients } => {
                write!(f, "{by} took a back-up of {documents} documents, for {}", recipients.join(", "))
            }
            Self::RestoredFromBackup { by, made_at, documents, trail } => {
                write!(f, "{by} restored {documents} documents out of a back-up of {made_at}")?;
                match trail {
                    Some((number, code)) => write!(f, "; the trail of then reached line {number} with code {code}"),
                    None => Ok(()),
                }
            }
            Self::ClockSet { by } => write!(f, "the wall clock was set by {by} against the boot clock; nothing rotates until they agree"),
            Self::ClockBack => f.write_str("wall clock and boot clock agree again"),
        }
    }
}

/// A change of a document, told in a few words.
pub struct Told<'a>(pub &'a Change);

impl fmt::Display for Told<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Change::KeyMoved { kid, from: None, to } => write!(f, "new key {kid} is {to}"),
            Change::KeyMoved { kid, from: Some(from), to } => write!(f, "key {kid} went from {from} to {to}"),
            Change::PrivateErased { kid } => write!(f, "the private half of {kid} was erased"),
            Change::Forgotten { count } => write!(f, "{count} old tombstones were forgotten"),
            Change::FactsAdopted => f.write_str("the policy's facts were adopted"),
            Change::IntentNoted { intent } => write!(f, "an operator's intent was noted: {intent}"),
            Change::RevocationConfirmed { kid } => write!(f, "revoked key {kid} is gone everywhere"),
            Change::TimesReset => f.write_str("times in the future were set to now"),
        }
    }
}
