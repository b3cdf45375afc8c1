//! A server of somebody else's from which verifiers fetch a copy of the key set, and which the daemons look at from outside. It
//! can lag, lie, be out of the daemons' reach, and answer out of a cache.

use std::collections::BTreeSet;
use std::future::Future as _;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use http::HeaderValue;
use keyrota::document::{Document, End, Tombstone};
use keyrota::https::{Answer, Fetch, FetchError, Request};
use keyrota::name::Kid;
use keyrota::operator::Verb;
use keyrota::policy::Probe;
use keyrota::probe::{LastAnswer, Look, look};
use keyrota::time::Span;
use keyrota::url::Trust;

use crate::aws_fake::Chance;
use crate::mutants::Mutant;
use crate::named::{DAY, Named, done};
use crate::outside::{Shared, lock};
use crate::world::{Act, World, rules};

/// What it is doing.
#[derive(Default)]
pub struct Edge {
    /// What verifiers get.
    pub set: BTreeSet<Kid>,
    /// It takes nothing new from the daemons.
    pub stuck: bool,
    /// The daemons cannot reach it; verifiers can.
    pub away: bool,
    /// How old it says that its answer is.
    pub age: Span,
}

/// What becomes of it, seeing the document, if there is one: it also recovers while there is none.
pub type Doing = Box<dyn Fn(&mut Edge, Option<&Document>)>;

pub const URL: &str = "https://edge.example.com/keys";

/// Five minutes from look to look: days are long.
pub fn probe() -> Probe {
    Probe { jwks_url: URL.parse().unwrap(), every: Span::minutes(5), timeout: Span::seconds(5), trust: Trust::System }
}

struct EdgeFetch(Shared);

impl Fetch for EdgeFetch {
    async fn fetch(&self, _: Request<'_>) -> Result<Answer, FetchError> {
        let outside = lock(&self.0);
        let edge = outside.edge.as_ref().filter(|edge| !edge.away).ok_or_else(|| FetchError::Connect("away".into()))?;
        let x = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";
        let jwk = |kid: &Kid| format!(r#"{{"kty":"OKP","crv":"Ed25519","kid":"{kid}","x":"{x}"}}"#);
        let body = format!(r#"{{"keys":[{}]}}"#, edge.set.iter().map(jwk).collect::<Vec<_>>().join(","));
        let age = HeaderValue::from(edge.age.whole_seconds());
        Ok(Answer { status: 200, headers: std::iter::once((http::header::AGE, age)).collect(), body: body.into() })
    }
}

/// Whether a key is to be shown, or one that was revoked is not.
pub fn is_waited_for(document: &Document) -> bool {
    !document.incoming.is_empty() || document.tombstones.iter().any(is_unconfirmed)
}

fn is_unconfirmed(tombstone: &Tombstone) -> bool {
    matches!(tombstone.end, End::Revoked { confirmed_at: None, .. })
}

/// What a daemon on that host sees now.
pub fn seen(shared: &Shared, host: usize) -> Look {
    let fetch = EdgeFetch(shared.clone());
    let mut last = LastAnswer::default();
    let probe = probe();
    let mut looking = std::pin::pin!(look(&fetch, &probe, &mut last, || lock(shared).reading(host)));
    match looking.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(look) => look,
        Poll::Pending => panic!("the edge answers at once"),
    }
}

impl World {
    /// Verifiers fetch from a server of somebody else's too, and each daemon looks at it.
    pub fn with_edge(mut self) -> Self {
        lock(&self.shared).edge = Some(Edge::default());
        let probe = probe();
        for daemon in &mut self.daemons {
            let mut rules = (*daemon.wanted.rules).clone();
            rules.probed = keyrota::policy::Probed::by(std::slice::from_ref(&probe));
            daemon.wanted.rules = Arc::new(rules);
            daemon.wanted.probes = vec![probe.clone()].into();
            daemon.probe_at = Some(lock(&self.shared).now);
        }
        self
    }

    /// What the edge serves. It takes what the first ready daemon does, unless it is stuck.
    pub fn edge_set(&self, http: &[BTreeSet<Kid>]) -> Vec<BTreeSet<Kid>> {
        let mut outside = lock(&self.shared);
        let Some(edge) = &mut outside.edge else { return Vec::new() };
        if let Some(set) = http.first().filter(|_| !edge.stuck) {
            edge.set.clone_from(set);
        }
        vec![edge.set.clone()]
    }

    /// The edge does something, and the daemons look at once.
    pub fn edge_does(&mut self, doing: &dyn Fn(&mut Edge, Option<&Document>)) -> Result<(), String> {
        let now = {
            let mut outside = lock(&self.shared);
            let document = outside.current().0.cloned();
            if let Some(edge) = &mut outside.edge {
                doing(edge, document.as_ref());
            }
            outside.now
        };
        self.look()?;
        for daemon in self.daemons.iter_mut().filter(|d| d.probe_at.is_some()) {
            daemon.probe_at = Some(now);
        }
        Ok(())
    }
}

/// A day's rotation whose keys must be shown by the edge. They are made 25 minutes before, and sign within the last five.
fn world(seed: u64, mutant: Option<Mutant>) -> World {
    let mut rules = rules(DAY);
    rules.max_age = DAY * 2;
    World::new(seed, 1, rules, vec![], mutant).with_edge()
}

pub fn change(world: &mut World, at: Span, doing: impl Fn(&mut Edge, Option<&Document>) + 'static) {
    world.at(at, Act::Edge(Box::new(doing)));
}

/// It takes back what does not sign yet, and shows nothing new.
fn withdraw(edge: &mut Edge, document: Option<&Document>) {
    edge.stuck = true;
    for incoming in document.iter().flat_map(|document| &document.incoming) {
        edge.set.remove(&incoming.key.kid);
    }
}

pub fn catch_up(edge: &mut Edge, _: Option<&Document>) {
    *edge = Edge { set: std::mem::take(&mut edge.set), ..Edge::default() };
}

fn before_change_over(minutes: u64) -> Span {
    DAY.saturating_sub(Span::minutes(minutes))
}

/// The same for a random world: now and then it is out of the daemons' reach, takes nothing new, or answers out of a cache. What it has
/// shown it goes on showing: one that takes a key back in the very moment of the change-over cannot be seen doing it.
pub fn unreliable_now_and_then(world: World, chance: &mut Chance, length: Span) -> World {
    let mut world = world.with_edge();
    for _ in 0..chance.below(8) {
        let at = chance.span(length);
        let age = chance.span(Span::hours(3));
        // Before there is a document there is nothing that it could fail to show.
        match chance.below(3) {
            0 => change(&mut world, at, |edge, document| edge.away |= document.is_some()),
            1 => change(&mut world, at, |edge, document| edge.stuck |= document.is_some()),
            _ => change(&mut world, at, move |edge, document| edge.age = document.map_or(edge.age, |_| age)),
        }
        change(&mut world, at + chance.span(Span::hours(20)), catch_up);
    }
    world
}

/// It shows the key all the time, and takes it back for a minute just before it would sign.
fn lies_until_the_last_second(mutant: Option<Mutant>) -> Result<(), String> {
    for n in 0..6 {
        let mut world = world(80 + n, mutant);
        change(&mut world, before_change_over(8) + Span::seconds(n * 9), withdraw);
        change(&mut world, before_change_over(7) + Span::seconds(n * 9), catch_up);
        done(world, DAY * 4)?;
    }
    Ok(())
}

fn stuck_over_the_change_over(mutant: Option<Mutant>) -> Result<(), String> {
    let mut world = world(86, mutant);
    change(&mut world, before_change_over(60), |edge, _| edge.stuck = true);
    let still = |w: &World| match w.document().and_then(|d| d.active) {
        Some(active) if active.key.kid.as_str() == "k1" => Ok(()),
        _ => Err("a key signs that the edge has never shown".to_owned()),
    };
    world.at(DAY + Span::hours(5), Act::Check(Box::new(still)));
    change(&mut world, DAY + Span::hours(6), catch_up);
    done(world, DAY * 4)
}

/// What it does while nobody can look is nobody's agreement.
fn withdrawn_out_of_reach(mutant: Option<Mutant>) -> Result<(), String> {
    for n in 0..6 {
        let mut world = world(87 + n, mutant);
        change(&mut world, before_change_over(19) + Span::seconds(n * 7), |edge, _| edge.away = true);
        change(&mut world, before_change_over(17), withdraw);
        change(&mut world, before_change_over(7), catch_up);
        done(world, DAY * 4)?;
    }
    Ok(())
}

/// A revocation is confirmed neither while it still shows the key nor by an answer from before.
fn revoked_and_cached(mutant: Option<Mutant>) -> Result<(), String> {
    let mut world = world(93, mutant);
    let noon = Span::hours(12);
    let revoke = |d: &Document| d.active.as_ref().map(|a| Verb::Revoke { kid: a.key.kid.clone() });
    change(&mut world, noon, |edge, _| edge.stuck = true);
    world.at(noon + Span::minutes(1), Act::Operator(Box::new(revoke)));
    let confirmed = |wanted: bool| {
        let check = move |w: &World| {
            let document = w.document().ok_or("no document")?;
            let unconfirmed = document.tombstones.iter().any(is_unconfirmed);
            if unconfirmed == wanted { Err(format!("confirmed should be {wanted}: {document:?}")) } else { Ok(()) }
        };
        Act::Check(Box::new(check))
    };
    world.at(noon + Span::hours(2), confirmed(false));
    change(&mut world, noon + Span::hours(2), |edge, _| {
        edge.stuck = false;
        edge.age = Span::hours(20);
    });
    world.at(noon + Span::hours(4), confirmed(false));
    change(&mut world, noon + Span::hours(4), catch_up);
    world.at(noon + Span::hours(5), confirmed(true));
    done(world, DAY * 4)
}

pub fn named() -> Vec<(&'static str, Named)> {
    vec![
        ("a probe that lies until the last second", lies_until_the_last_second),
        ("a probe whose key set is stuck over the change-over", stuck_over_the_change_over),
        ("a key that is withdrawn while nobody can look", withdrawn_out_of_reach),
        ("a revocation, and a key set out of a cache", revoked_and_cached),
    ]
}

#[test]
fn every_world_with_an_edge_keeps_the_promise() {
    for (name, world) in named() {
        if let Err(why) = world(None) {
            panic!("{name}: {why}");
        }
    }
}
