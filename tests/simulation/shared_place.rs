//! A place that replicas share: the public key set in a secret of its own, written by the real adapter over the strict imitation of the
//! service. Verifiers read the secret. A replica may be frozen in the middle of its write and go on a day later.

use std::collections::BTreeSet;

use keyrota::digest::Digest;
use keyrota::document::Document;
use keyrota::name::Kid;
use keyrota::policy::{AwsSecretTarget, Target};
use keyrota::publish::{Brought, Places, Programs, PublishError, Vendors};
use keyrota::time::Span;
use tokio::sync::mpsc;

use crate::aws::{self, SimAws, SimCalls, SimTime};
use crate::mutants::Mutant;
use crate::named::Named;
use crate::outside::{GiveWay, NAME, Outside, Shared, lock};
use crate::world::{World, rules};

/// The secret with the public keys.
pub fn secret() -> String {
    format!("keyrota/production/{NAME}.jwks")
}

pub fn target() -> Target {
    Target::AwsSecret(AwsSecretTarget { name: secret() })
}

/// One host's way to the places beside its store.
pub fn places(store: &SimAws) -> Places<SimCalls, SimTime> {
    let (done, _) = mpsc::unbounded_channel();
    Places::new(Programs::new(done.clone()), Vendors::new(std::sync::Arc::default(), done), Some(store.clone()))
}

impl Outside {
    /// What verifiers of the secret find there.
    pub fn shared_key_set(&self) -> Option<BTreeSet<Kid>> {
        let (_, text) = self.account.as_ref()?.calls.service().truth(&secret())?;
        let set: serde_json::Value = serde_json::from_str(&text).unwrap();
        Some(set["keys"].as_array().unwrap().iter().map(|key| key["kid"].as_str().unwrap().parse().unwrap()).collect())
    }

    /// The write of a shared place is on its way.
    pub fn writes_shared_place(&mut self, host: usize, secret_or_arn: &str) {
        // One of the replicas is unlucky; the others go on.
        self.in_swap |= host == 0 && secret_or_arn.contains(&secret());
    }
}

/// The mutant's way: whoever finds another key set there than its own writes its own.
pub async fn overwrite(shared: &Shared, host: usize, document: &Document) -> Result<Brought, PublishError> {
    GiveWay(false).await;
    let text = serde_json::to_string(&document.jwks()).unwrap();
    let content = Digest::of(text.as_bytes());
    let agreed = |wrote| Ok(Brought::Agreed { content, changed_at: None, wrote, drift: false, said: None, amiss: None });
    {
        let mut outside = lock(shared);
        if outside.hosts[host].store_away {
            return Err(PublishError::away());
        }
        let truth = outside.account.as_ref().and_then(|account| account.calls.service().truth(&secret()));
        if truth.is_some_and(|(_, found)| found == text) {
            return agreed(false);
        }
        outside.writes_shared_place(host, &secret());
    }
    GiveWay(false).await;
    let mut outside = lock(shared);
    let token = format!("{:032}{:032}", document.generation.0, outside.chance.below(u64::MAX));
    if let Some(account) = &outside.account {
        let mut service = account.calls.service();
        if service.put_raw(&secret(), &token, &text, &[]).is_err() {
            service.create_foreign(&secret(), &text);
        }
    }
    agreed(true)
}

pub fn named() -> Vec<(&'static str, Named)> {
    vec![("a replica frozen for two days while it writes the shared key set", frozen_while_writing)]
}

fn frozen_while_writing(mutant: Option<Mutant>) -> Result<(), String> {
    for seed in 0..4 {
        let mut rules = rules(Span::days(1));
        rules.facts.store_refresh = Span::minutes(2) + Span::seconds(5) + Span::minutes(5);
        rules.max_age = rules.rotate_every + rules.facts.propagation();
        let mut world = World::new(2000 + seed, 2, rules, vec![target()], mutant);
        world.fresh_for = Span::minutes(2) + Span::seconds(5);
        aws::on_account(&world, seed);
        world.freeze_in_swap = Some(Span::days(2));
        world.live(Span::days(16))?;
        if world.exposure.kids_seen_active.len() < 10 {
            return Err(format!("only {} keys signed", world.exposure.kids_seen_active.len()));
        }
    }
    Ok(())
}

#[test]
fn a_write_that_was_frozen_changes_nothing() {
    frozen_while_writing(None).unwrap_or_else(|why| panic!("{why}"));
}

#[test]
fn a_write_that_is_bound_to_nothing_is_caught() {
    let why = frozen_while_writing(Some(Mutant::LaggingOverwrites)).expect_err("these worlds have no teeth");
    assert!(why.contains("a file has only") || why.contains("cache of a file"), "{why}");
}
