//! The rules about the change-over from one signing key to the next: when a successor is made, and when it takes over.

use super::{Because, Case, Chosen, Step, StepKind, Wait, chosen};
use crate::document::{Active, Trigger};
use crate::name::Kid;
use crate::observed::PlaceKind;
use crate::policy::{Mode, Source, VerifierShape};
use crate::time::Timestamp;

impl Case<'_> {
    /// The change-over: every verifier has had the chance to fetch the key, the window is open, nobody holds it back.
    pub(super) fn activate(&self, wait: &mut Wait) -> Chosen {
        let active = self.document.active.as_ref()?;
        if self.rules.is_orphaned() {
            return None;
        }
        let (incoming, published_at) = self.oldest_published()?;
        let kid = &incoming.key.kid;
        match self.activation(active, kid, published_at) {
            Ok(reason) => chosen(Step::Activate { kid: kid.clone() }, reason.0, reason.1),
            Err((at, because)) => {
                wait.pending.push(self.pending(StepKind::Activate, Some(kid), at, because));
                None
            }
        }
    }

    /// Whether the published key may take over now; if not, from when as far as is known, and what it waits for.
    fn activation(
        &self,
        active: &Active,
        kid: &Kid,
        published_at: Timestamp,
    ) -> Result<(Trigger, &'static str), (Option<Timestamp>, Because)> {
        let now = self.observed.now;
        if self.document.intents.rotate_now.is_some() {
            return Ok((Trigger::Emergency, "an operator asked for a rotation without its waits"));
        }
        let waited = self.everywhere_since(kid, published_at).map_err(|because| (None, because))? + self.waits.propagation;
        let caught_up = self.observed.serving_since + self.waits.facts.verifier_retry + self.skew();
        let (ready, because) = if waited >= caught_up { (waited, Because::Propagation) } else { (caught_up, Because::Serving) };
        if now < ready {
            // The window is part of the forecast: a key that is ready just after it closes waits for the next one.
            return Err((self.window_from(ready, active).map_or(Some(ready), |(at, _)| at), because));
        }
        if let Some(broken) = self.broken_policy() {
            return Err((None, broken));
        }
        if let Some(arriving) = self.arrival() {
            return Err((None, arriving));
        }
        if let Some(until) = self.document.intents.frozen_until(now) {
            return Err((Some(until), Because::Frozen));
        }
        let approved = self.document.intents.approves(kid);
        let asked = self.document.intents.rotate.is_some();
        match self.rules.mode {
            _ if self.rules.verifier == VerifierShape::SingleKey && !approved => return Err((None, Because::Approval)),
            Mode::Approve if !approved => return Err((None, Because::Approval)),
            Mode::Manual if !approved && !asked => return Err((None, Because::Manual)),
            _ if self.document.intents.hold.is_some() && !approved => return Err((None, Because::Approval)),
            _ => {}
        }
        if let Some((at, because)) = self.window_from(now, active).filter(|(at, _)| *at != Some(now)) {
            return Err((at, because));
        }
        let trigger = if approved || asked { Trigger::Operator } else { Trigger::Schedule };
        Ok((trigger, "every verifier has had the chance to fetch the key"))
    }

    /// The first moment from `from` on at which the window lets a change-over happen; `None` without a window.
    /// One window sees at most one scheduled change-over.
    fn window_from(&self, from: Timestamp, active: &Active) -> Option<(Option<Timestamp>, Because)> {
        let window = self.rules.window.as_ref()?;
        let open = window.opened_at(from).filter(|opened| active.since < *opened).map(|_| from);
        Some((open.or_else(|| window.next_open(from)), Because::Window))
    }

    /// Since when every place that verifiers read has carried the key without a break.
    fn everywhere_since(&self, kid: &Kid, published_at: Timestamp) -> Result<Timestamp, Because> {
        let late = self.observed.late_commits.get(kid).copied().unwrap_or(published_at);
        self.observed.verifier_places.iter().try_fold(published_at.max(late), |since, place| {
            let carried = place.carries.get(kid).ok_or_else(|| match place.kind {
                PlaceKind::Target => Because::Publish { place: place.name.clone() },
                PlaceKind::Probe => Because::Probe { place: place.name.clone(), since: published_at },
            })?;
            Ok(since.max(*carried))
        })
    }

    /// A successor is made when it is due, so that it will have waited by the time it is needed.
    pub(super) fn generate(&self, wait: &mut Wait) -> Chosen {
        let active = self.document.active.as_ref()?;
        if !self.document.incoming.is_empty() || self.rules.is_orphaned() {
            return None;
        }
        let now = self.observed.now;
        let spec = self.rules.spec.digest();
        let asked = self.document.intents.asks_for_rotation();
        let respecified = !self.rules.spec.fits(&active.key) && !self.document.started_specs.contains(&spec);
        let due = self.waits.generate_at(active, self.rules);
        let at = if asked || respecified { now } else { due };
        let held = match () {
            () if self.rules.source == Source::External => Some((Some(due), Because::External)),
            () if self.rules.mode == Mode::Manual && !asked => Some((None, Because::Manual)),
            () if self.is_full() => Some((None, Because::Full)),
            () if now < at => Some((Some(at), Because::Schedule)),
            () if self.document.intents.rotate_now.is_some() => self.vendor().map(|waiting| (None, waiting)),
            () if let Some(broken) = self.broken_policy() => Some((None, broken)),
            () if let Some(arriving) = self.arrival() => Some((None, arriving)),
            () if let Some(until) = self.document.intents.frozen_until(now) => Some((Some(until), Because::Frozen)),
            () => self.vendor().map(|waiting| (None, waiting)),
        };
        if let Some((at, because)) = held {
            wait.pending.push(self.pending(StepKind::Generate, None, at, because));
            return None;
        }
        match (asked, respecified) {
            (true, _) => self.generation(Trigger::Operator, "an operator asked for a rotation"),
            (_, true) => self.generation(Trigger::Schedule, "the policy asks for another algorithm or size"),
            _ => self.generation(Trigger::Schedule, "the next rotation is due"),
        }
    }
}
