//! What a line says: an event as flat JSON members. Pure.

use serde::Serialize;

use crate::document::{Change, HistoryEntry, StateName, Trigger};
use crate::event::{Event, Told};
use crate::name::{EnvironmentName, Generation, KeysetId, KeysetName, Kid};
use crate::time::Timestamp;

/// One line, before it is chained. Members are only ever added.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Line {
    /// When it happened; for recovered lines when it was decided.
    pub at: Timestamp,
    /// What kind of thing, the same words for ever.
    pub kind: &'static str,
    /// In which environment.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub environment: Option<EnvironmentName>,
    /// To which keyset.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub keyset: Option<KeysetName>,
    /// To which key.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kid: Option<Kid>,
    /// The state it left.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub from: Option<StateName>,
    /// The state it entered.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub to: Option<StateName>,
    /// The generation that the change made.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub generation: Option<Generation>,
    /// What set it off.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub trigger: Option<Trigger>,
    /// Who asked for it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub actor: Option<String>,
    /// Why.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// As a sentence.
    pub says: String,
    /// The id of the key that proves the lines from this one on, where that changes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub trail_key: Option<String>,
    /// The key that proved the lines before, sealed under that one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub key_before: Option<String>,
    /// Written later than it happened, from what the document remembers: by this host after a crash, or of another replica's doing.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub recovered: bool,
}

impl Line {
    /// A change of a document.
    pub fn of_change(at: Timestamp, keyset: &KeysetId, entry: &HistoryEntry, recovered: bool) -> Self {
        let (kind, key, from, to) = match &entry.change {
            Change::KeyMoved { kid, from, to } => ("key-moved", Some(kid), *from, Some(*to)),
            Change::PrivateErased { kid } => ("private-erased", Some(kid), None, None),
            Change::Forgotten { .. } => ("forgotten", None, None, None),
            Change::FactsAdopted => ("facts-adopted", None, None, None),
            Change::IntentNoted { .. } => ("intent-noted", None, None, None),
            Change::RevocationConfirmed { kid } => ("revocation-confirmed", Some(kid), None, None),
            Change::TimesReset => ("times-reset", None, None, None),
        };
        Self {
            at: if recovered { entry.at } else { at },
            kid: key.cloned(),
            from,
            to,
            generation: Some(entry.generation),
            trigger: Some(entry.trigger),
            actor: entry.by.clone(),
            reason: Some(entry.reason.to_string()),
            recovered,
            ..Self::plain(at, kind, Some(keyset), Told(&entry.change).to_string())
        }
    }

    /// Anything else that happened; `None` for what is no business of the trail's.
    pub fn of_event(at: Timestamp, event: &Event) -> Option<Self> {
        let plain = |kind, keyset| Some(Self::plain(at, kind, keyset, event.to_string()));
        let of = |kind, environment: &EnvironmentName| {
            Some(Self { environment: Some(environment.clone()), ..Self::plain(at, kind, None, event.to_string()) })
        };
        match event {
            Event::Changed { .. } | Event::Seen { .. } | Event::Overtaken { .. } => None,
            Event::Trouble { keyset, .. } => plain("trouble", Some(keyset)),
            Event::TroubleOver { keyset, .. } => plain("trouble-over", Some(keyset)),
            Event::TargetWritten { keyset, drift: false, .. } => plain("target-written", Some(keyset)),
            Event::TargetWritten { keyset, drift: true, .. } => plain("target-repaired", Some(keyset)),
            Event::TargetRemoved { keyset, .. } => plain("target-removed", Some(keyset)),
            Event::TargetLeft { keyset, .. } => plain("target-left", Some(keyset)),
            Event::StoreUnavailable { environment, .. } => of("store-unavailable", environment),
            Event::StoreBack { environment } => of("store-back", environment),
            Event::Accepted { keyset, by } => Some(Self { actor: Some(by.clone()), ..plain("accepted", Some(keyset))? }),
            Event::ClockAccepted { environment, by } => Some(Self { actor: Some(by.clone()), ..of("clock-accepted", environment)? }),
            Event::Removed { keyset, generation, by, reason } => Some(Self {
                generation: Some(*generation),
                actor: Some(by.clone()),
                reason: Some(reason.clone()),
                ..plain("removed", Some(keyset))?
            }),
            Event::MasterKeyChanged { by, reason } => {
                Some(Self { actor: Some(by.clone()), reason: Some(reason.clone()), ..plain("master-key-changed", None)? })
            }
            Event::BackedUp { by, .. } => Some(Self { actor: Some(by.clone()), ..plain("backed-up", None)? }),
            Event::RestoredFromBackup { by, .. } => Some(Self { actor: Some(by.clone()), ..plain("restored-from-back-up", None)? }),
            Event::ClockSet { .. } => plain("clock-set", None),
            Event::ClockBack => plain("clock-back", None),
        }
    }

    /// From here on another key proves the trail; `key_before` is the one before, sealed.
    pub fn of_key_change(at: Timestamp, (trail_key, key_before): (String, String), by: &str, reason: &str) -> Self {
        let says = "the master key is changed: from here on the trail is proven by the new one".to_owned();
        Self {
            trail_key: Some(trail_key),
            key_before: Some(key_before),
            actor: Some(by.to_owned()),
            reason: Some(reason.to_owned()),
            ..Self::plain(at, "trail-key-changed", None, says)
        }
    }

    /// Something that happened to the trail itself.
    pub fn of_trail(at: Timestamp, kind: &'static str, says: String) -> Self {
        Self::plain(at, kind, None, says)
    }

    fn plain(at: Timestamp, kind: &'static str, keyset: Option<&KeysetId>, says: String) -> Self {
        Self {
            at,
            kind,
            environment: keyset.map(|id| id.environment.clone()),
            keyset: keyset.map(|id| id.keyset.clone()),
            kid: None,
            from: None,
            to: None,
            generation: None,
            trigger: None,
            actor: None,
            reason: None,
            says,
            trail_key: None,
            key_before: None,
            recovered: false,
        }
    }
}
