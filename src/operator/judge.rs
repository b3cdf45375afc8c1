//! Whether a verb may be granted at all: every wrong use gets a sentence that says what is the matter and what to do instead.

use super::{ImportRole, Refusal, Verb, may_sign, successor};
use crate::document::{Document, End};
use crate::lifecycle::moved_to;
use crate::name::Kid;
use crate::policy::{Mode, Source, Start, VerifierShape};
use crate::rules::{Rules, Standing};
use crate::time::Timestamp;

/// Whether `verb` may be granted on `document` at `now`.
///
/// # Errors
/// Why not, with a hint.
pub fn judge(document: &Document, verb: &Verb, rules: &Rules, now: Timestamp) -> Result<(), Refusal> {
    let case = Case { document, rules, now, id: document.id.to_string() };
    if let Some(journey) = document.intents.moved_to() {
        let sentence = format!("{}: {}", case.id, moved_to(&document.id, journey));
        let (what, hint) = sentence.split_once("; hint: ").unwrap_or((&sentence, ""));
        return Err(harmful(what.to_owned(), hint));
    }
    match verb {
        Verb::Init => case.init(),
        Verb::Import { role, key } => case.import(*role, key),
        _ if !document.is_stored() => {
            Err(pointless(format!("{} has no key yet", case.id), format!("`keyrota status {}` says what it waits for", case.id)))
        }
        Verb::Rotate => case.rotate(),
        Verb::RotateNow => case.rotate_now(),
        Verb::Revoke { kid } => case.revoke(kid),
        Verb::Compromise => case.compromise(),
        Verb::RollBack => roll_back_to(document, rules, now).and_then(|_| case.has_arrived()),
        Verb::Freeze { until } => case.freeze(*until),
        Verb::Unfreeze => case.unfreeze(),
        Verb::Approve { kid } => case.approve(kid),
        Verb::RevokeGrants { before, .. } => case.revoke_grants(*before),
        Verb::AcceptClock if document.latest_record() <= now => Err(pointless(
            format!("no time in {} lies in the future", case.id),
            format!("`keyrota status {}` says what it waits for", case.id),
        )),
        Verb::AcceptClock | Verb::AcceptDocument { .. } => Ok(()),
        Verb::Restored { .. } => case.can_generate("be rotated"),
    }
}

/// Whether the keyset may be removed with all its keys: nobody asks for it any more.
///
/// # Errors
/// If a policy does.
pub fn removable(document: &Document, rules: &Rules, in_policy: bool) -> Result<(), Refusal> {
    let id = &document.id;
    if let Some(journey) = document.intents.moved_to() {
        let what = format!("{id} moved to the {}", journey.store);
        return Err(harmful(what, format!("`keyrota migrate {} --erase-source` removes what is left of it here", id.environment)));
    }
    if in_policy || !rules.is_orphaned() {
        let hint = "take it out of the policy, then `keyrota reload --wait`, then remove it".to_owned();
        return Err(Refusal::Unsafe { what: format!("{id} is in the policy of its environment, and its signers rely on it"), hint });
    }
    Ok(())
}

/// The key that a rollback would make active.
pub(super) fn roll_back_to(document: &Document, rules: &Rules, now: Timestamp) -> Result<Kid, Refusal> {
    let too_late = |why: String| Refusal::TooLate { keyset: document.id.to_string(), why };
    let previous = document.retiring.first().ok_or_else(|| too_late("no key signed before this one".into()))?;
    if previous.activated_at.is_none() {
        return Err(too_late(format!("{} was imported to be verified only", previous.key.kid)));
    }
    let until = previous.since + rules.rollback_window;
    if now >= until {
        return Err(too_late(format!("the rollback window of {} was over at {until}", rules.rollback_window)));
    }
    if !previous.key.can_sign() {
        return Err(too_late(format!("the private half of {} has been erased", previous.key.kid)));
    }
    Ok(previous.key.kid.clone())
}

fn pointless(what: String, hint: impl Into<String>) -> Refusal {
    Refusal::Pointless { what, hint: hint.into() }
}

fn harmful(what: String, hint: impl Into<String>) -> Refusal {
    Refusal::Unsafe { what, hint: hint.into() }
}

struct Case<'a> {
    document: &'a Document,
    rules: &'a Rules,
    now: Timestamp,
    id: String,
}

impl Case<'_> {
    /// keyrota can make a key for it.
    fn can_generate(&self, doing: &str) -> Result<(), Refusal> {
        let id = &self.id;
        if self.rules.is_orphaned() {
            let what = format!("{id} cannot {doing}: it is in no policy that is in force, so no key is made for it");
            return Err(harmful(what, format!("put it back into the policy and `keyrota reload --wait`; or `keyrota remove {id}`")));
        }
        if self.rules.source == Source::External {
            let what = format!("{id} cannot {doing}: its keys come from elsewhere and keyrota makes none");
            return Err(harmful(
                what,
                format!("hand in the vendor's new key with `keyrota import {id} --kid ID`, then revoke the old ones"),
            ));
        }
        Ok(())
    }

    /// Nothing that can wait begins on the word of a policy that is broken, or against that of another operator.
    fn may_begin(&self) -> Result<(), Refusal> {
        if self.rules.standing == Standing::Broken {
            let what = format!("the policy file of {} is broken, so nothing begins that can wait", self.id);
            return Err(harmful(what, "`keyrota check` says where; mend it, then `keyrota reload --wait`"));
        }
        self.has_arrived()?;
        match self.document.intents.freeze.as_ref().filter(|freeze| self.now < freeze.until) {
            None => Ok(()),
            Some(freeze) => {
                let (by, why) = (&freeze.intent.by, &freeze.intent.reason);
                let what = format!("{} is frozen until {} by {by} ({why})", self.id, freeze.until);
                Err(harmful(what, format!("`keyrota unfreeze {}` first, if that no longer counts", self.id)))
            }
        }
    }

    /// Nobody reads the store any more that it came from, where a change-over would not be seen.
    fn has_arrived(&self) -> Result<(), Refusal> {
        match self.document.intents.moved_from() {
            None => Ok(()),
            Some(journey) => {
                let what = format!("{} came from the {}, which replicas, signers or verifiers may still read", self.id, journey.store);
                let hint = format!("when nobody does, `keyrota migrate {} --erase-source`", self.document.id.environment);
                Err(harmful(what, hint))
            }
        }
    }

    fn rotate(&self) -> Result<(), Refusal> {
        let (id, intents) = (&self.id, &self.document.intents);
        self.can_generate("be rotated")?;
        self.may_begin()?;
        if self.document.active.is_none() {
            return Err(pointless(format!("{id} has no active key, and its next one is on its way"), format!("`keyrota status {id}`")));
        }
        match intents.rotate.as_ref().or(intents.rotate_now.as_ref()) {
            Some(before) => {
                let what = format!("a rotation of {id} was asked for already, at {} by {}", before.at, before.by);
                Err(pointless(what, format!("`keyrota status {id}` says what it waits for; `--now` goes without the waits")))
            }
            None => Ok(()),
        }
    }

    fn rotate_now(&self) -> Result<(), Refusal> {
        let id = &self.id;
        self.can_generate("be rotated")?;
        self.may_begin()?;
        if self.rules.verifier == VerifierShape::SingleKey {
            let what = format!("the verifier of {id} holds a single key, so a change-over must follow its own");
            return Err(harmful(what, format!("`keyrota rotate {id}`, give the verifier the new key, then `keyrota approve`")));
        }
        if self.document.active.is_none() {
            return Err(pointless(format!("{id} has no active key, and its next one is on its way"), format!("`keyrota status {id}`")));
        }
        match &self.document.intents.rotate_now {
            Some(before) => {
                let what = format!("a rotation of {id} without waits was asked for already, at {} by {}", before.at, before.by);
                Err(pointless(what, format!("`keyrota status {id}` says what it waits for")))
            }
            None => Ok(()),
        }
    }

    fn revoke(&self, kid: &Kid) -> Result<(), Refusal> {
        let (id, document) = (&self.id, self.document);
        if let Some(gone) = document.tombstones.iter().find(|t| t.kid == *kid) {
            let how = if matches!(gone.end, End::Revoked { .. }) { "was revoked" } else { "left the key set" };
            let what = format!("key {kid} of {id} {how} already, at {}", gone.ended_at);
            return Err(pointless(what, format!("`keyrota status {id}` lists the keys that live")));
        }
        let signs = document.active.as_ref().is_none_or(|active| active.key.kid == *kid);
        let mut others = document.incoming.iter().filter(|i| i.key.kid != *kid);
        if document.live_key(kid).is_none() || !signs {
            return Ok(()); // whoever does not exist is refused by the document itself
        }
        let taken_over = document.active.is_some() && successor(document, self.now).is_some();
        let on_its_way = others.any(|i| may_sign(document, i, self.now)) && !self.rules.is_orphaned();
        if taken_over || on_its_way { Ok(()) } else { self.can_generate(&format!("lose {kid}, its last key that signs")) }
    }

    fn compromise(&self) -> Result<(), Refusal> {
        let id = &self.id;
        if self.document.live().next().is_none() {
            return Err(pointless(format!("{id} has no live key that could be replaced"), format!("`keyrota status {id}`")));
        }
        self.can_generate("lose all its keys")
    }

    fn freeze(&self, until: Timestamp) -> Result<(), Refusal> {
        let id = &self.id;
        if until <= self.now {
            return Err(pointless(format!("{until} is over, and a freeze lasts until a moment to come"), "`--until 24h`, or a later time"));
        }
        if self.rules.is_orphaned() {
            let what = format!("nothing is scheduled for {id}: no policy in force asks for it");
            return Err(pointless(what, format!("`keyrota status {id}` says what happens to it")));
        }
        Ok(())
    }

    fn unfreeze(&self) -> Result<(), Refusal> {
        match self.document.intents.freeze {
            Some(_) => Ok(()),
            None => Err(pointless(format!("{} is not frozen", self.id), format!("`keyrota status {}` says what it waits for", self.id))),
        }
    }

    fn approve(&self, kid: &Kid) -> Result<(), Refusal> {
        let (id, intents) = (&self.id, &self.document.intents);
        if let Some((_, before)) = intents.approved.iter().find(|(approved, _)| approved == kid) {
            let what = format!("key {kid} of {id} was approved already, at {} by {}", before.at, before.by);
            return Err(pointless(what, format!("`keyrota status {id}` says what it waits for")));
        }
        let incoming = self.document.incoming.iter().any(|i| i.key.kid == *kid);
        if incoming && self.rules.mode == Mode::Auto && intents.hold.is_none() {
            let what = format!("key {kid} of {id} needs no approval: its policy says `mode: auto`");
            return Err(pointless(what, format!("`keyrota status {id}` says what it waits for")));
        }
        Ok(())
    }

    fn revoke_grants(&self, before: Option<Timestamp>) -> Result<(), Refusal> {
        let id = &self.id;
        if !self.rules.seals {
            let what = format!("no refresh tokens are sealed with {id}");
            return Err(pointless(what, "name the keyset that `token.refresh.sealed_by` names"));
        }
        let before = before.unwrap_or(self.now);
        if before > self.now {
            let what = format!("{before} is still to come, and what is not given yet cannot be taken back");
            return Err(pointless(what, "leave --before away, which means now"));
        }
        let facts = self.document.facts.promised(self.now);
        if before + facts.token_ttl + facts.clock_skew * 2 <= self.now {
            let what = format!(
                "every refresh token that was given up to {before} has expired: none of {id} lives longer than {}",
                facts.token_ttl
            );
            return Err(pointless(what, "leave --before away, which means now"));
        }
        Ok(())
    }

    fn init(&self) -> Result<(), Refusal> {
        let id = &self.id;
        if self.document.is_stored() {
            let what = format!("{id} exists already, at generation {}", self.document.generation);
            return Err(pointless(what, format!("`keyrota status {id}` shows its keys")));
        }
        if !self.rules.in_force() {
            return Err(pointless(
                format!("there is no {id} in a policy that is in force"),
                "`keyrota check`, then `keyrota reload --wait`",
            ));
        }
        if self.rules.source == Source::External || self.rules.start == Start::Import {
            let hint = format!("hand it in with `keyrota import {id} --kid ID --as active`");
            return Err(pointless(format!("the first key of {id} is handed in, not made"), hint));
        }
        Ok(())
    }

    fn import(&self, role: ImportRole, key: &crate::key::Key) -> Result<(), Refusal> {
        let (id, rules) = (&self.id, self.rules);
        if !rules.in_force() {
            let what = format!("nothing can be handed in for {id}: no policy in force asks for it");
            return Err(pointless(what, "`keyrota check`, mend the policy, then `keyrota reload --wait`"));
        }
        let wanted = rules.spec.algorithm();
        if key.algorithm != wanted && role != ImportRole::VerifyOnly {
            let what = format!("the policy of {id} asks for {wanted}, and this key is for {}", key.algorithm);
            return Err(pointless(what, "hand in another key, or change the policy's algorithm first"));
        }
        if let (ImportRole::Active, Some(active)) = (role, &self.document.active) {
            let what = format!("{id} signs with {} already, and its verifiers may not know another", active.key.kid);
            return Err(harmful(what, "import it as `next`: it is announced first and takes over when every verifier has it"));
        }
        if role != ImportRole::VerifyOnly && key.expires_at.is_some_and(|at| at <= self.now) {
            return Err(pointless(format!("the key {} has expired already", key.kid), "hand in one that is alive"));
        }
        if role != ImportRole::VerifyOnly && !key.can_sign() {
            let what = format!("this is only the public half of {}, and whoever signs needs the private one", key.kid);
            return Err(pointless(what, "hand in the private key, or import it `--as verify-only`"));
        }
        Ok(())
    }
}
