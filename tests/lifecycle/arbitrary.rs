//! Any legal document, any rules, anything observed: not only what a keyset can come to by itself.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use keyrota::digest::Digest;
use keyrota::document::facts::{Draining, HeldFact};
use keyrota::document::{
    Active, Change, Document, End, Facts, Freeze, HeldFacts, HistoryEntry, Incoming, Intents, MOST_LIVE_KEYS, Retiring, Stage, StateName,
    Tombstone, Trigger,
};
use keyrota::key::{Algorithm, Key, KeyClass, KeySpec, KidFormat, Origin, SecretEncoding};
use keyrota::name::{Generation, KeysetId, Kid};
use keyrota::observed::{Fault, Observed, PlaceKind, SignerPlace, SignerReport, VerifierPlace};
use keyrota::policy::{Mode, Source, Start, VerifierShape, Window};
use keyrota::rules::{Rules, Standing};
use keyrota::time::{Span, Timestamp};
use proptest::collection::{btree_map, btree_set, vec};
use proptest::option;
use proptest::prelude::*;
use proptest::sample::select;
use proptest::test_runner::RngSeed;

use crate::fixture::{Scene, by_ada, kid, made, t0};

/// The same cases in every run, more of them on request (`PROPTEST_CASES=100000 PROPTEST_RNG_SEED=7`).
pub fn config() -> ProptestConfig {
    let asked = ProptestConfig::default();
    let rng_seed = if matches!(asked.rng_seed, RngSeed::Random) { RngSeed::Fixed(20_260_301) } else { asked.rng_seed };
    let cases = if std::env::var_os("PROPTEST_CASES").is_some() { asked.cases } else { 1000 };
    ProptestConfig { failure_persistence: None, rng_seed, cases, max_shrink_iters: 2000, ..asked }
}

fn span() -> impl Strategy<Value = Span> {
    let day = 86_400_000u64;
    prop_oneof![Just(0), 0..60_000u64, 0..day, 0..60 * day].prop_map(Span::millis)
}

/// Up to four hundred days before [`t0`].
fn past() -> impl Strategy<Value = Timestamp> {
    let day = 86_400_000u64;
    prop_oneof![Just(0), 0..60_000u64, 0..day, 0..400 * day].prop_map(|ago| t0().minus(Span::millis(ago)))
}

fn moment() -> impl Strategy<Value = Timestamp> {
    prop_oneof![past(), span().prop_map(|ahead| t0() + ahead)]
}

/// The kids that are not in use as well.
fn any_kid() -> impl Strategy<Value = Kid> {
    (0..40usize).prop_map(|n| kid(&format!("k{n}")))
}

pub fn class() -> impl Strategy<Value = KeyClass> {
    select(vec![KeyClass::Asymmetric, KeyClass::Hmac, KeyClass::ApiKey])
}

fn spec(class: KeyClass) -> impl Strategy<Value = KeySpec> {
    let algorithms: Vec<_> = Algorithm::ALL.into_iter().filter(|a| a.class() == class).collect();
    (select(algorithms), select(vec![2048, 3072, 4096]), select(vec![32, 64])).prop_map(move |(algorithm, rsa_bits, bytes)| match class {
        KeyClass::Asymmetric => KeySpec::Pair { algorithm, rsa_bits, kid: KidFormat::Thumbprint, certificate: None },
        KeyClass::Hmac => {
            KeySpec::Hmac { algorithm, bytes, prefix: String::new(), encoding: SecretEncoding::Base64url, kid: KidFormat::Uuid }
        }
        KeyClass::ApiKey => KeySpec::ApiKey { prefix: "p_".into(), kid: KidFormat::Uuid },
    })
}

/// A key and what its slot needs: two times, whether it was published, whether it can still sign.
type Slot = (Key, Timestamp, Timestamp, bool, bool);

fn slots(class: KeyClass) -> BoxedStrategy<Vec<Slot>> {
    let slot = (spec(class), past(), option::weighted(0.2, moment()), any::<bool>(), past(), past(), any::<bool>(), any::<bool>());
    vec(slot, 0..=MOST_LIVE_KEYS)
        .prop_map(|slots| {
            let numbered = slots.into_iter().enumerate();
            let slot = numbered.map(|(n, (spec, created_at, expires_at, imported, since, published_at, published, signs))| {
                let origin = if imported { Origin::Imported } else { Origin::Generated };
                let key = Key { expires_at, origin, ..made(&spec, &format!("k{n}"), created_at) };
                (key, since, published_at, published, signs)
            });
            slot.collect()
        })
        .boxed()
}

fn held_fact() -> impl Strategy<Value = HeldFact> {
    let draining = (span(), moment()).prop_map(|(value, until)| Draining { value, until });
    (span(), option::of(past()), 0..6u32, vec(draining, 0..3)).prop_map(|(value, raised_at, overturned, draining)| HeldFact {
        value,
        raised_at,
        overturned,
        draining,
    })
}

fn held_facts() -> BoxedStrategy<HeldFacts> {
    proptest::array::uniform8(held_fact())
        .prop_map(|[token_ttl, verifier_refresh, signer_refresh, verifier_retry, clock_skew, cache_max_age, store_refresh, margin]| {
            HeldFacts { token_ttl, verifier_refresh, signer_refresh, verifier_retry, clock_skew, cache_max_age, store_refresh, margin }
        })
        .boxed()
}

/// A store always lags a little: the adapter computes that fact, and never as zero.
fn facts() -> BoxedStrategy<Facts> {
    proptest::array::uniform8(span())
        .prop_map(|[token_ttl, verifier_refresh, signer_refresh, verifier_retry, skew, cache, store, margin]| Facts {
            token_ttl,
            verifier_refresh,
            signer_refresh,
            verifier_retry,
            clock_skew: skew,
            cache_max_age: cache,
            store_refresh: store + Span::millis(1),
            margin,
        })
        .boxed()
}

fn intents() -> BoxedStrategy<Intents> {
    let said = |share| option::weighted(share, past().prop_map(by_ada));
    let about = || btree_map(any_kid(), past().prop_map(by_ada), 0..3).prop_map(|map| map.into_iter().collect::<Vec<_>>());
    let freeze = option::weighted(0.2, (moment(), past()).prop_map(|(until, at)| Freeze { until, intent: by_ada(at) }));
    (said(0.2), said(0.1), freeze, said(0.2), about(), about())
        .prop_map(|(rotate, rotate_now, freeze, hold, approved, tainted)| Intents {
            rotate,
            rotate_now,
            freeze,
            hold,
            approved,
            tainted,
            moved: None,
        })
        .boxed()
}

fn tombstone() -> BoxedStrategy<Tombstone> {
    let end = prop_oneof![
        Just(End::Retired),
        Just(End::Discarded { why: "not wanted".into() }),
        option::of(past()).prop_map(|confirmed_at| End::Revoked { reason: "leaked".into(), confirmed_at }),
    ];
    (past(), option::of(past()), option::of(past()), option::of(past()), past(), end)
        .prop_map(|(created_at, published_at, activated_at, retiring_at, ended_at, end)| Tombstone {
            kid: kid("renamed"),
            algorithm: Algorithm::ES256,
            created_at,
            published_at,
            activated_at,
            retiring_at,
            ended_at,
            end,
        })
        .boxed()
}

fn entry() -> BoxedStrategy<HistoryEntry> {
    let change = prop_oneof![
        any_kid().prop_map(|kid| Change::KeyMoved { kid, from: Some(StateName::Active), to: StateName::Retiring }),
        any_kid().prop_map(|kid| Change::KeyMoved { kid, from: None, to: StateName::Staged }),
        any_kid().prop_map(|kid| Change::PrivateErased { kid }),
        any_kid().prop_map(|kid| Change::RevocationConfirmed { kid }),
        (0..99usize).prop_map(|count| Change::Forgotten { count }),
        Just(Change::FactsAdopted),
        Just(Change::IntentNoted { intent: "freeze".into() }),
        Just(Change::TimesReset),
    ];
    let trigger = select(vec![Trigger::Schedule, Trigger::Operator, Trigger::Emergency, Trigger::Import]);
    (any::<u32>(), past(), trigger, option::of(Just("ada (1000)".to_owned())), change)
        .prop_map(|(generation, at, trigger, by, change)| HistoryEntry {
            generation: Generation(generation.into()),
            at,
            trigger,
            reason: "because \"so\"\n".into(),
            by,
            change,
        })
        .boxed()
}

fn digest() -> impl Strategy<Value = Digest> {
    any::<u8>().prop_map(|n| Digest::of(&[n]))
}

/// Puts keys into their slots: the first may be active, then so many incoming ones, the rest retiring.
fn placed(document: &mut Document, slots: Vec<Slot>, signing: bool, incoming: usize) {
    let mut slots = slots.into_iter();
    let active = slots.next_if(signing);
    document.active = active.map(|(key, since, published_at, _, _)| Active { key, since, published_at });
    document.incoming = slots
        .by_ref()
        .take(incoming)
        .map(|(key, since, not_before_active, published, _)| {
            let stage = if published { Stage::Published { since, not_before_active } } else { Stage::Staged { since } };
            Incoming { key, stage }
        })
        .collect();
    document.retiring = slots
        .map(|(key, since, published_at, activated, signs)| Retiring {
            key: if signs { key } else { key.erased() },
            since,
            published_at,
            activated_at: activated.then_some(published_at),
            verify_until: since,
        })
        .collect();
}

trait NextIf: Iterator {
    fn next_if(&mut self, wanted: bool) -> Option<Self::Item> {
        if wanted { self.next() } else { None }
    }
}
impl<I: Iterator> NextIf for I {}

pub fn document(class: KeyClass) -> BoxedStrategy<Document> {
    let keys = (slots(class), any::<bool>(), 0..MOST_LIVE_KEYS);
    let record = (vec(tombstone(), 0..20), btree_set(digest(), 0..4), vec(entry(), 0..4), vec((any::<u32>(), digest()), 0..4));
    let specs = btree_set(prop_oneof![spec(class).prop_map(|s| s.digest()), digest()], 0..4);
    (keys, record, held_facts(), intents(), specs, option::of(past()), any::<u32>())
        .prop_map(
            move |(
                (slots, signing, incoming),
                (tombstones, spent_kids, history, lineage),
                facts,
                intents,
                specs,
                rotated_at,
                generation,
            )| {
                let id = KeysetId { environment: "test".parse().unwrap(), keyset: "sessions".parse().unwrap() };
                let mut document = Document::empty(id, class);
                document.generation = Generation(u64::from(generation) + 1);
                placed(&mut document, slots, signing, incoming);
                let named = tombstones.into_iter().enumerate();
                document.tombstones = named.map(|(n, t)| Tombstone { kid: kid(&format!("gone-{n}")), ..t }).collect();
                document.spent_kids = spent_kids;
                document.history = history;
                document.lineage = lineage.into_iter().map(|(generation, digest)| (Generation(generation.into()), digest)).collect();
                document.facts = facts;
                document.intents = intents;
                document.started_specs = specs.into_iter().collect();
                document.rotated_at = rotated_at;
                document.updated_at = document.latest_record();
                document
            },
        )
        .boxed()
}

/// Reading a window takes its time: the calendar of 28 years is gone through.
static WINDOWS: LazyLock<Vec<Window>> = LazyLock::new(|| {
    let window = |cron, hours, zone| Window::parse(cron, Span::hours(hours), zone).unwrap();
    vec![window("0 0 3 * * *", 2, "UTC"), window("0 30 2 * * Tue", 4, "Europe/Paris"), window("0 0 0 1 * *", 12, "Asia/Kolkata")]
});

fn rules(document: &Document) -> BoxedStrategy<Rules> {
    let orphan = Rules::orphan(document);
    let choices = (
        select(vec![Mode::Auto, Mode::Auto, Mode::Approve, Mode::Manual]),
        select(vec![Source::Generated, Source::Generated, Source::External]),
        select(vec![Start::Generate, Start::Import]),
        option::weighted(0.4, select(WINDOWS.clone())),
        any::<bool>(),
        prop_oneof![8 => Just(Standing::InForce), 1 => Just(Standing::Broken), 1 => Just(Standing::Orphaned)],
    );
    let spans = (span(), span(), span(), span());
    let bound = option::weighted(0.3, span());
    (spec(document.class), facts(), spans, choices, bound)
        .prop_map(
            move |(
                spec,
                facts,
                (rotate_every, max_age, rollback_window, jitter),
                (mode, source, start, window, shared_store, standing),
                uptake_bound,
            )| {
                if standing == Standing::Orphaned {
                    return orphan.clone();
                }
                let max_age = max_age + Span::millis(1);
                let verifier = VerifierShape::Overlapping;
                Rules {
                    spec,
                    source,
                    start,
                    facts,
                    rotate_every,
                    max_age,
                    rollback_window,
                    jitter,
                    window,
                    mode,
                    verifier,
                    uptake_bound,
                    // Whatever it holds: verbs look at nothing else.
                    seals: true,
                    shared_store,
                    probed: keyrota::policy::Probed::default(),
                    standing,
                }
            },
        )
        .boxed()
}

fn observed() -> BoxedStrategy<Observed> {
    let times = || btree_map(any_kid(), moment(), 0..40);
    let verifier_place = (any::<bool>(), times(), option::of(moment())).prop_map(|(target, carries, as_of)| VerifierPlace {
        name: "place".into(),
        kind: if target { PlaceKind::Target } else { PlaceKind::Probe },
        carries,
        as_of,
    });
    let signer_place = times().prop_map(|left| SignerPlace { name: "place".into(), left });
    let fault = option::weighted(
        0.05,
        prop_oneof![span().prop_map(|by| Fault::ClocksParted { by }), Just(Fault::Witness { what: "it went back".into() })],
    );
    let moves = vec((any::<u8>().prop_map(|n| Generation(n.into())), moment()), 1..4);
    let report = (moment(), moves).prop_map(|(heard_at, moves)| SignerReport { name: "web-1".parse().unwrap(), heard_at, moves });
    let late = prop_oneof![3 => Just(BTreeMap::new()), 1 => btree_map(any_kid(), moment(), 0..6)];
    (moment(), moment(), fault, any::<bool>(), vec(verifier_place, 0..3), vec(signer_place, 0..3), late, vec(report, 0..3))
        .prop_map(|(now, serving_since, fault, may_create, verifier_places, signer_places, late_commits, uptake)| Observed {
            no_key: None,
            now,
            serving_since,
            fault,
            may_create,
            verifier_places,
            signer_places,
            late_commits,
            uptake,
        })
        .boxed()
}

/// A legal document, rules of its class, and what is seen.
pub fn scene() -> BoxedStrategy<Scene> {
    class()
        .prop_flat_map(document)
        .prop_flat_map(|document| {
            let rules = rules(&document);
            (Just(document), rules, observed()).prop_map(|(document, rules, observed)| Scene { document, rules, observed })
        })
        .boxed()
}
