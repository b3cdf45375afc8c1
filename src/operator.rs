//! What operators can ask of a keyset, as pure functions from one document to the next. Each is one swap.
//!
//! [`judge`] says whether a verb may be granted at all and why not, [`apply`] grants it, [`preview()`] says beforehand what would come of
//! it, by the same function and by the daemon's own decision. Nothing here knows a store, a socket or a terminal.

mod judge;
pub mod preview;

pub use judge::{judge, removable};
pub use preview::{Preview, preview};

use crate::digest::Digest;
use crate::document::change::{Cause, Draft, IllegalChange, Promise};
use crate::document::{Document, Freeze, Grants, Incoming, Intent, Trigger};
use crate::key::Key;
use crate::name::{Generation, Kid};
use crate::rules::Rules;
use crate::time::Timestamp;
use crate::waits::Waits;

/// An operator's wish.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verb {
    /// The next rotation is to begin now; its waits hold.
    Rotate,
    /// The next rotation is to happen now, without its waits: verifiers may not know the new key for a while.
    RotateNow,
    /// A key is compromised: out of every key set now. If it was active, a published successor takes over in the same swap.
    Revoke {
        /// Which.
        kid: Kid,
    },
    /// The whole document may have leaked: every key is replaced, those that have not signed yet too.
    Compromise,
    /// The key that signed before becomes active again.
    RollBack,
    /// No scheduled generation or activation.
    Freeze {
        /// Until when.
        until: Timestamp,
    },
    /// Scheduled steps go on.
    Unfreeze,
    /// An incoming key may become active.
    Approve {
        /// Which.
        kid: Kid,
    },
    /// Refresh tokens that were given up to a moment are accepted no more.
    RevokeGrants {
        /// Which.
        whom: Grants,
        /// Given up to when; `None`: now.
        before: Option<Timestamp>,
    },
    /// The clock is right: times in the future are set to now.
    AcceptClock,
    /// The document is taken as it is, although this host had seen another. Only revocations outlive that.
    AcceptDocument {
        /// The kids (as digests) that this host has seen revoked.
        revoked: Vec<Digest>,
        /// The latest generation that this host has seen: none of it is used again.
        seen: Generation,
    },
    /// A back-up was put back: what it revived goes, and everything is rotated.
    Restored {
        /// The kids (as digests) that this host has seen revoked.
        revoked: Vec<Digest>,
        /// The latest generation that this host has seen: none of it is used again.
        seen: Generation,
    },
    /// A keyset is created although its policy's inception is another day.
    Init,
    /// A key that somebody else made is taken in.
    Import {
        /// The key, inspected.
        key: Box<Key>,
        /// What it is to be.
        role: ImportRole,
    },
}

/// What an imported key is to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ImportRole {
    /// The successor: announced, waited for, then signing.
    Next,
    /// The key that signs already and that every verifier holds: for a keyset that has none yet.
    Active,
    /// A key whose tokens are alive and which signs no more.
    VerifyOnly,
}

/// Why a wish is not granted. Every text ends with a hint.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// The document does not allow it.
    #[error(transparent)]
    Illegal(#[from] IllegalChange),
    /// There is nothing to do, or it is not for this keyset.
    #[error("{what}; hint: {hint}")]
    Pointless {
        /// What is the matter, as a sentence.
        what: String,
        /// What to do instead.
        hint: String,
    },
    /// It would break a promise to signers or verifiers, or go against what another operator said.
    #[error("{what}; hint: {hint}")]
    Unsafe {
        /// What would break, as a sentence.
        what: String,
        /// What to do instead.
        hint: String,
    },
    /// There is nothing to roll back to, or it is too late.
    #[error("{keyset} cannot be rolled back: {why}; hint: go forward with `keyrota rotate {keyset}`")]
    TooLate {
        /// Which keyset.
        keyset: String,
        /// Why.
        why: String,
    },
}

impl Refusal {
    /// Whether it is refused because it would do harm, not because it was asked wrongly.
    pub const fn is_unsafe(&self) -> bool {
        matches!(self, Self::Unsafe { .. } | Self::TooLate { .. })
    }
}

impl Verb {
    /// Its name on the command line and in records.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Rotate | Self::RotateNow => "rotate",
            Self::Revoke { .. } => "revoke",
            Self::Compromise => "compromise",
            Self::RollBack => "rollback",
            Self::Freeze { .. } => "freeze",
            Self::Unfreeze => "unfreeze",
            Self::Approve { .. } => "approve",
            Self::RevokeGrants { .. } => "token revoke",
            Self::AcceptClock | Self::AcceptDocument { .. } => "accept",
            Self::Restored { .. } => "restored",
            Self::Init => "init",
            Self::Import { .. } => "import",
        }
    }

    const fn trigger(&self) -> Trigger {
        match self {
            Self::Revoke { .. } | Self::RevokeGrants { .. } | Self::Compromise | Self::RotateNow | Self::Restored { .. } => {
                Trigger::Emergency
            }
            Self::Import { .. } => Trigger::Import,
            _ => Trigger::Operator,
        }
    }
}

/// Whether granting the verb takes a new key, which enters in the same swap: so that no emergency leaves a keyset without one on
/// its way.
pub fn wants_key(document: &Document, verb: &Verb, rules: &Rules, now: Timestamp) -> bool {
    if rules.is_orphaned() || rules.source == crate::policy::Source::External {
        return false;
    }
    let on_its_way = |except: Option<&Kid>| document.incoming.iter().any(|i| Some(&i.key.kid) != except && may_sign(document, i, now));
    match verb {
        Verb::Compromise | Verb::Init | Verb::Restored { .. } => true,
        Verb::RotateNow => !on_its_way(None),
        // Whoever revokes another key waits for nothing; if none is left that could sign, the daemon makes one as soon as it looks.
        Verb::Revoke { kid } => document.active.as_ref().is_some_and(|a| a.key.kid == *kid) && !on_its_way(Some(kid)),
        _ => false,
    }
}

/// Whether the verb is carried out without the key that [`wants_key`] asks for, if that is not there at once: what leaked is out of
/// every key set now, and its successor follows in a swap of its own, whatever window, mode or freeze say.
pub const fn goes_ahead(verb: &Verb) -> bool {
    matches!(verb, Verb::Revoke { .. } | Verb::Compromise)
}

/// The document after `verb`, asked for by `intent.by` at `intent.at` because of `intent.reason`. `new_key` is the one that
/// [`wants_key`] asks for; without it the daemon makes one as soon as it looks.
///
/// # Errors
/// If the document's state does not allow it; nothing is half done.
pub fn apply(document: &Document, verb: &Verb, rules: &Rules, intent: Intent, new_key: Option<Key>) -> Result<Document, Refusal> {
    let now = intent.at;
    judge(document, verb, rules, now)?;
    let waits = Waits::at(document, rules, now);
    let cause = Cause { now, trigger: verb.trigger(), reason: intent.reason.clone(), by: Some(intent.by.clone()) };
    let promise = Promise { propagation: waits.propagation, retention: waits.retention };
    let mut draft = Draft::of(document, Some(document.digest()), cause, promise);
    // Where the clock was set back, what was revoked before may lie ahead.
    let up_to_now = || document.revoked_grants.iter().map(|entry| entry.before).fold(now, Timestamp::max);
    if rules.in_force() {
        draft.note_stated(rules.stated());
    }
    match verb {
        Verb::Rotate => draft.request_rotation(Some(intent)),
        Verb::RotateNow => match successor(document, now) {
            Some(successor) => draft.activate(&successor)?,
            None => draft.request_rotation_now(intent),
        },
        Verb::Revoke { kid } => {
            let signs = document.active.as_ref().is_some_and(|active| active.key.kid == *kid);
            draft.revoke(kid, &intent.reason)?;
            // A first key that waits until every replica has seen it goes on waiting: no signer is without a key because of this.
            if let Some(successor) = successor(draft.document(), now).filter(|_| signs) {
                draft.activate(&successor)?;
            }
        }
        Verb::Compromise => revoke_all(&mut draft, &intent.reason, |_| true)?,
        Verb::RollBack => {
            let kid = judge::roll_back_to(document, rules, now)?;
            draft.roll_back(&kid)?;
            if !draft.document().incoming.is_empty() {
                draft.hold_incoming(intent);
            }
        }
        Verb::Freeze { until } => draft.freeze(Some(Freeze { until: *until, intent })),
        Verb::Unfreeze => draft.freeze(None),
        Verb::Approve { kid } => draft.approve(kid, intent)?,
        Verb::RevokeGrants { whom, before } => draft.revoke_grants(whom.clone(), before.unwrap_or_else(up_to_now))?,
        Verb::AcceptClock => draft.reset_future_times(),
        Verb::AcceptDocument { revoked, seen } => {
            draft.accept(*seen);
            revoke_all(&mut draft, &intent.reason, among(revoked))?;
        }
        Verb::Restored { revoked, seen } => restore(&mut draft, revoked, *seen, intent)?,
        Verb::Init => {}
        Verb::Import { key, role } => import(&mut draft, key, *role)?,
    }
    if let Some(key) = new_key {
        draft.stage(key)?;
        draft.note_spec(rules.spec.digest());
    }
    // What was taken back may not stand in a document from elsewhere or from earlier: everything counts as taken back.
    if rules.seals && document.is_stored() && matches!(verb, Verb::AcceptDocument { .. } | Verb::Restored { .. }) {
        draft.revoke_grants(Grants::All, up_to_now())?;
    }
    // The first document holds the facts from its first moment.
    if !document.is_stored()
        && let Some(facts) = draft.document().facts.adopting(&rules.facts, now)
    {
        draft.adopt_facts(facts);
    }
    Ok(draft.finish())
}

fn revoke_all(draft: &mut Draft, reason: &str, which: impl Fn(&Kid) -> bool) -> Result<(), IllegalChange> {
    let kids: Vec<Kid> = draft.document().live().map(|live| live.key.kid.clone()).filter(|kid| which(kid)).collect();
    kids.iter().try_for_each(|kid| draft.revoke(kid, reason))
}

/// Whether a kid is one of those that were revoked.
fn among(revoked: &[Digest]) -> impl Fn(&Kid) -> bool {
    |kid| revoked.contains(&Digest::of(kid.as_str().as_bytes()))
}

/// What this host has seen revoked is revoked again. Keys that had not signed when the copy was made may have signed and been
/// revoked since, unseen: none of them is used. Those whose tokens may be alive go on being accepted until a successor has waited.
fn restore(draft: &mut Draft, revoked: &[Digest], seen: Generation, intent: Intent) -> Result<(), IllegalChange> {
    draft.put_back(seen);
    revoke_all(draft, &intent.reason, among(revoked))?;
    let incoming: Vec<Kid> = draft.document().incoming.iter().map(|i| i.key.kid.clone()).collect();
    incoming.iter().try_for_each(|kid| draft.discard(kid, "a back-up revived it"))?;
    if draft.document().active.is_some() {
        draft.request_rotation(Some(intent));
    }
    Ok(())
}

fn import(draft: &mut Draft, key: &Key, role: ImportRole) -> Result<(), IllegalChange> {
    match role {
        ImportRole::Next => draft.stage(key.clone()),
        ImportRole::Active => draft.adopt_active(key.clone()),
        ImportRole::VerifyOnly => draft.adopt_verified(key.clone()),
    }
}

/// The key that can take over at once: published, and not one that must not or cannot sign.
fn successor(document: &Document, now: Timestamp) -> Option<Kid> {
    let published = document.incoming.iter().filter(|i| i.stage.published_at().is_some());
    published.filter(|i| may_sign(document, i, now)).map(|i| i.key.kid.clone()).next()
}

/// Whether nothing but time stands between this incoming key and signing.
fn may_sign(document: &Document, incoming: &Incoming, now: Timestamp) -> bool {
    !document.intents.taints(&incoming.key.kid) && incoming.key.expires_at.is_none_or(|at| now < at)
}
