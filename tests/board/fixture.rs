//! A board with keysets in every situation, built from real documents and the real decision.

use std::sync::Arc;

use keyrota::board::{Board, EnvironmentBoard, Manner, PolicyStanding};
use keyrota::clock::Reading;
use keyrota::digest::Digest;
use keyrota::document::change::{Cause, Draft, Promise};
use keyrota::document::{Document, Facts, Trigger};
use keyrota::freshness::Freshness;
use keyrota::jwk::{EcCurve, PublicJwk, PublicNumbers};
use keyrota::key::{Algorithm, Key, KeyClass, KeySpec, KidFormat, Material, Origin, SecretEncoding};
use keyrota::lifecycle::{Decision, next, overdue};
use keyrota::observed::Observed;
use keyrota::policy::{Mode, Source, Stale, Start, VerifierShape};
use keyrota::reconcile::Status;
use keyrota::rules::{Rules, Standing};
use keyrota::secret::SecretText;
use keyrota::time::{Span, Timestamp};
use keyrota::waits::Waits;

/// What no answer but a signer's may ever contain.
pub const SECRET: &str = "THE-SECRET-ITSELF";

/// 2026-03-01T12:00:00Z, ten hours after boot.
pub fn noon() -> Reading {
    Reading { wall: "2026-03-01T12:00:00Z".parse().unwrap(), boot: Span::hours(10) }
}

pub fn rules(algorithm: Algorithm) -> Rules {
    let spec = match algorithm.class() {
        KeyClass::Asymmetric => KeySpec::Pair { algorithm, rsa_bits: 3072, kid: KidFormat::Uuid, certificate: None },
        KeyClass::Hmac => {
            let encoding = SecretEncoding::Base64url;
            KeySpec::Hmac { algorithm, bytes: 32, prefix: String::new(), encoding, kid: KidFormat::Uuid }
        }
        KeyClass::ApiKey => KeySpec::ApiKey { prefix: "kr_".into(), kid: KidFormat::Uuid },
    };
    Rules {
        spec,
        source: Source::Generated,
        start: Start::Generate,
        facts: Facts {
            token_ttl: Span::hours(1),
            verifier_refresh: Span::minutes(15),
            signer_refresh: Span::minutes(5),
            verifier_retry: Span::minutes(2),
            clock_skew: Span::minutes(1),
            cache_max_age: Span::minutes(1),
            store_refresh: Span::seconds(10),
            margin: Span::ZERO,
        },
        rotate_every: Span::days(30),
        max_age: Span::days(31),
        rollback_window: Span::hours(1),
        jitter: Span::ZERO,
        window: None,
        mode: Mode::Auto,
        verifier: VerifierShape::Overlapping,
        uptake_bound: None,
        seals: false,
        shared_store: false,
        probed: keyrota::policy::Probed::default(),
        standing: Standing::InForce,
    }
}

pub fn key(kid: &str, algorithm: Algorithm, created_at: Timestamp) -> Key {
    let kid: keyrota::name::Kid = kid.parse().unwrap();
    let secret = SecretText::new(format!("{SECRET} of {kid}"));
    let material = match algorithm.class() {
        KeyClass::Asymmetric => {
            let numbers = PublicNumbers::Ec {
                crv: EcCurve::P256,
                x: "MKBCTNIcKUSDii11ySs3526iDZ8AiTo7Tu6KPAqv7D4".into(),
                y: "4Etl6SRW2YiLUrN5vfvVHuhp7x8PxltmWWlbbM4IFyM".into(),
            };
            Material::Pair { public: PublicJwk::new(kid.clone(), algorithm, numbers), private: Some(secret) }
        }
        KeyClass::Hmac => Material::Hmac { secret },
        KeyClass::ApiKey => Material::ApiKey { digest: Digest::of(b"x"), secret: Some(secret) },
    };
    Key { kid, algorithm, bits: 256, created_at, origin: Origin::Generated, expires_at: None, material }
}

/// One change of a document at one moment.
pub fn changed(document: &Document, rules: &Rules, now: Timestamp, change: impl FnOnce(&mut Draft)) -> Document {
    let waits = Waits::at(document, rules, now);
    let cause = Cause { now, trigger: Trigger::Schedule, reason: "a test".into(), by: None };
    let mut draft =
        Draft::of(document, Some(document.digest()), cause, Promise { propagation: waits.propagation, retention: waits.retention });
    if let Some(facts) = document.facts.adopting(&rules.facts, now) {
        draft.adopt_facts(facts);
    }
    change(&mut draft);
    draft.finish()
}

/// A document with `keys` keys in the order retiring, active, published, of which the youngest was published ten minutes before noon.
pub fn document(id: &str, algorithm: Algorithm, keys: usize) -> Document {
    let rules = rules(algorithm);
    let id: keyrota::name::KeysetId = id.parse().unwrap();
    let mut document = Document::empty(id, algorithm.class());
    let noon = noon().wall;
    let moments = [noon.minus(Span::days(30)), noon.minus(Span::minutes(40)), noon.minus(Span::minutes(10))];
    for (n, at) in moments.into_iter().take(keys).enumerate() {
        let kid: keyrota::name::Kid = format!("kid-{n}").parse().unwrap();
        document = changed(&document, &rules, at, |d| d.stage(key(kid.as_str(), algorithm, at)).unwrap());
        document = changed(&document, &rules, at, |d| d.confirm_published(&kid).unwrap());
        if n < 2 {
            document = changed(&document, &rules, at, |d| d.activate(&kid).unwrap());
        }
    }
    document
}

/// How the keyset stands at noon by the real decision.
pub fn status(document: Option<Document>, rules: Rules) -> Status {
    let now = noon().wall;
    let observed = Observed::quiet(now);
    let empty = || Document::empty("demo/none".parse().unwrap(), rules.spec.class());
    let looked_at = document.clone().unwrap_or_else(empty);
    let wait = match next(&looked_at, &rules, &observed) {
        Decision::Wait(wait) => wait,
        Decision::Do(..) => keyrota::lifecycle::Wait::default(),
    };
    let overdue = overdue::overdue(&looked_at, &rules, &observed);
    Status { document: document.map(Arc::new), rules: Arc::new(rules), wait, overdue, troubles: Vec::new(), probes: Vec::new(), at: now }
}

/// Puts a keyset on the board.
pub fn put(environment: &EnvironmentBoard, name: &str, status: Status, manner: Manner) {
    environment.ensure([&name.parse().unwrap()].into_iter());
    let cell = environment.keyset(name).unwrap();
    cell.serve(status.document.as_ref());
    cell.report(Some(status));
    cell.set_manner(manner);
}

/// Environment `demo`, not yet confirmed nor loaded: `users` (three ES256 keys), `hooks` (an HMAC secret), `vendor` (an external
/// keyset without a key), `strict` (refuses while stale), `new` (not looked at yet).
pub fn board() -> (Arc<Board>, Arc<EnvironmentBoard>) {
    let freshness = Arc::new(Freshness::new(Span::seconds(10)));
    let policy = PolicyStanding { digest: Digest::of(b"policy"), taken_at: noon().wall.minus(Span::hours(2)), faults: Vec::new() };
    let environment = Arc::new(EnvironmentBoard::new("demo".parse().unwrap(), freshness, policy));
    let users = document("demo/users", Algorithm::ES256, 3);
    put(&environment, "users", status(Some(users), rules(Algorithm::ES256)), Manner::default());
    let hooks = document("demo/hooks", Algorithm::HS256, 1);
    put(&environment, "hooks", status(Some(hooks), rules(Algorithm::HS256)), Manner::default());
    let external = Rules { source: Source::External, ..rules(Algorithm::HS256) };
    put(&environment, "vendor", status(None, external), Manner::default());
    let strict = document("demo/strict", Algorithm::ES256, 2);
    let manner = Manner { cache_max_age: Span::minutes(5), stale: Stale::Refuse, ..Manner::default() };
    put(&environment, "strict", status(Some(strict), rules(Algorithm::ES256)), manner);
    environment.ensure([&"new".parse().unwrap()].into_iter());
    let board = Arc::new(Board::default());
    board.put(Arc::clone(&environment));
    (board, environment)
}

/// Every keyset was looked at, and the store confirmed, at noon.
pub fn confirm(environment: &EnvironmentBoard) {
    environment.freshness.confirm(noon(), noon());
    let _ = environment.loaded.set(());
    environment.last_pass.store(Some(Arc::new(noon().wall)));
}
