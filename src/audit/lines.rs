//! What a line says: an event as flat JSON members. Pure.

use serde::Serialize;

use super::Kind;
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
    pub kind: Kind,
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
            Change::KeyMoved { kid, from, to } => (Kind::KeyMoved, Some(kid), *from, Some(*to)),
            Change::PrivateErased { kid } => (Kind::PrivateErased, Some(kid), None, None),
            Change::Forgotten { .. } => (Kind::Forgotten, None, None, None),
            Change::FactsAdopted => (Kind::FactsAdopted, None, None, None),
            Change::IntentNoted { .. } => (Kind::IntentNoted, None, None, None),
            Change::RevocationConfirmed { kid } => (Kind::RevocationConfirmed, Some(kid), None, None),
            Change::TimesReset => (Kind::TimesReset, None, None, None),
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
            Event::Changed { .. } | Event::Seen { .. } | Event::Overtaken { .. } | Event::TargetSaid { .. } => None,
            Event::Trouble { keyset, .. } => plain(Kind::Trouble, Some(keyset)),
            Event::TroubleOver { keyset, .. } => plain(Kind::TroubleOver, Some(keyset)),
            Event::TargetWritten { keyset, drift: false, .. } => plain(Kind::TargetWritten, Some(keyset)),
            Event::TargetWritten { keyset, drift: true, .. } => plain(Kind::TargetRepaired, Some(keyset)),
            Event::TargetRemoved { keyset, .. } => plain(Kind::TargetRemoved, Some(keyset)),
            Event::TargetLeft { keyset, .. } => plain(Kind::TargetLeft, Some(keyset)),
            Event::UptakeOverrun { keyset, kid, generation, .. } => {
                Some(Self { kid: Some(kid.clone()), generation: Some(*generation), ..plain(Kind::UptakeOverrun, Some(keyset))? })
            }
            Event::OperatorNeeded { keyset, kid, .. } => Some(Self { kid: kid.clone(), ..plain(Kind::OperatorNeeded, Some(keyset))? }),
            Event::Overdue { keyset, because, .. } => Some(Self { reason: Some(because.clone()), ..plain(Kind::Overdue, Some(keyset))? }),
            Event::InTime { keyset } => plain(Kind::InTime, Some(keyset)),
            Event::StoreUnavailable { environment, .. } => of(Kind::StoreUnavailable, environment),
            Event::StoreBack { environment } => of(Kind::StoreBack, environment),
            Event::Accepted { keyset, by } => Some(Self { actor: Some(by.clone()), ..plain(Kind::Accepted, Some(keyset))? }),
            Event::ClockAccepted { environment, by } => Some(Self { actor: Some(by.clone()), ..of(Kind::ClockAccepted, environment)? }),
            Event::Removed { keyset, generation, by, reason } => Some(Self {
                generation: Some(*generation),
                actor: Some(by.clone()),
                reason: Some(reason.clone()),
                ..plain(Kind::Removed, Some(keyset))?
            }),
            Event::Migrated { keyset, generation, by, reason, .. } => Some(Self {
                generation: Some(*generation),
                actor: Some(by.clone()),
                reason: Some(reason.clone()),
                ..plain(Kind::Migrated, Some(keyset))?
            }),
            Event::MasterKeyChanged { by, reason } => {
                Some(Self { actor: Some(by.clone()), reason: Some(reason.clone()), ..plain(Kind::MasterKeyChanged, None)? })
            }
            Event::BackedUp { by, .. } => Some(Self { actor: Some(by.clone()), ..plain(Kind::BackedUp, None)? }),
            Event::RestoredFromBackup { by, .. } => Some(Self { actor: Some(by.clone()), ..plain(Kind::RestoredFromBackup, None)? }),
            Event::ClockSet { .. } => plain(Kind::ClockSet, None),
            Event::ClockBack => plain(Kind::ClockBack, None),
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
            ..Self::plain(at, Kind::TrailKeyChanged, None, says)
        }
    }

    /// Something that happened to the trail itself.
    pub fn of_trail(at: Timestamp, kind: Kind, says: String) -> Self {
        Self::plain(at, kind, None, says)
    }

    fn plain(at: Timestamp, kind: Kind, keyset: Option<&KeysetId>, says: String) -> Self {
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
