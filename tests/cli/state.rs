//! A daemon's state at a fixed moment: grown by the daemon's own decision, with keys that are the same in every run.

use aws_lc_rs::agreement::{Algorithm, ECDH_P256, PrivateKey};
use keyrota::digest::Digest;
use keyrota::document::Document;
use keyrota::jwk::{EcCurve, PublicJwk, PublicNumbers};
use keyrota::key::{Key, KeySpec, Material, Origin};
use keyrota::lifecycle::overdue::overdue;
use keyrota::lifecycle::{Decision, Step, apply, next};
use keyrota::name::{KeysetId, Kid};
use keyrota::observed::Observed;
use keyrota::policy::Policy;
use keyrota::rules::Rules;
use keyrota::secret::SecretText;
use keyrota::status_report::{
    EnvironmentReport, KeysetReport, OverdueReport, PendingReport, PolicyReport, RulesReport, StatusReport, TroubleReport,
};
use keyrota::time::{Span, Timestamp};
use keyrota::waits::Waits;

/// What a private half must never be seen as.
pub const SECRET: &str = "never-to-be-seen";

/// The public point of the private number `seed`.
fn public_half(curve: &'static Algorithm, seed: Digest) -> Vec<u8> {
    PrivateKey::from_private_key(curve, seed.as_bytes()).unwrap().compute_public_key().unwrap().as_ref().to_vec()
}

/// A key that is the same in every run.
fn key(id: &KeysetId, spec: &KeySpec, number: usize, now: Timestamp) -> Key {
    let seed = Digest::of(format!("{id} {number}").as_bytes());
    let secret = || SecretText::new(SECRET.to_owned());
    let numbers = match spec.algorithm().as_str() {
        "ES256" => Some(PublicNumbers::ec(EcCurve::P256, &public_half(&ECDH_P256, seed)).unwrap()),
        "EdDSA" => Some(PublicNumbers::ed25519(seed.as_bytes())),
        _ => None,
    };
    let kid: Kid = numbers.as_ref().map_or(seed, PublicNumbers::thumbprint).to_string().parse().unwrap();
    let material = match numbers {
        Some(numbers) => Material::Pair { public: PublicJwk::new(kid.clone(), spec.algorithm(), numbers), private: Some(secret()) },
        None => Material::Hmac { secret: secret() },
    };
    Key { kid, algorithm: spec.algorithm(), bits: 256, created_at: now, origin: Origin::Generated, expires_at: None, material }
}

/// The keyset as it stands at `until`, after it began at `from` and nothing came between.
pub fn grown(id: &KeysetId, rules: &Rules, from: Timestamp, until: Timestamp) -> Document {
    let mut document = Document::empty(id.clone(), rules.spec.class());
    let mut observed = Observed::quiet(from);
    for number in 0..10_000 {
        match next(&document, rules, &observed) {
            Decision::Do(step, reason) => {
                let made = matches!(step, Step::Generate { .. }).then(|| key(id, &rules.spec, number, observed.now));
                document = apply(&document, Some(document.digest()), (&step, &reason), rules, observed.now, made).unwrap();
            }
            Decision::Wait(wait) => match wait.until.filter(|at| *at <= until) {
                Some(at) => observed.now = at,
                None => return document,
            },
        }
    }
    panic!("{id} never comes to rest");
}

/// What the daemon would answer at `now`, had it begun at `began`.
pub fn report(policy: &Policy, began: Timestamp, now: Timestamp) -> StatusReport {
    let keysets = policy.keysets.iter().map(|(name, keyset)| {
        let id = KeysetId { environment: policy.environment.clone(), keyset: name.clone() };
        let rules = Rules::of(keyset, &policy.store);
        keyset_report(&id, rules, began, now)
    });
    let environment = EnvironmentReport {
        name: policy.environment.clone(),
        policy: PolicyReport { digest: policy.digest, taken_at: began, faults: Vec::new() },
        fresh: true,
        loaded: true,
        serving_since: Some(began),
        confirmed_at: Some(now.minus(Span::seconds(2))),
        last_pass: Some(now.minus(Span::seconds(2))),
        store_trouble: None,
        keysets: keysets.collect(),
    };
    StatusReport { version: "0.1.0".to_owned(), at: now, tls: None, environments: vec![environment] }
}

fn keyset_report(id: &KeysetId, rules: Rules, began: Timestamp, now: Timestamp) -> KeysetReport {
    let document = grown(id, &rules, began, now);
    let observed = Observed::quiet(now);
    let Decision::Wait(wait) = next(&document, &rules, &observed) else { panic!("{id} has something to do") };
    let waits = Waits::at(&document, &rules, now);
    let late = overdue(&document, &rules, &observed);
    let shown = document.without_secrets().to_stored();
    let shown = String::from_utf8(shown.expose().to_vec()).unwrap();
    KeysetReport {
        name: id.keyset.clone(),
        looked_at: Some(now),
        document: document.is_stored().then(|| serde_json::value::RawValue::from_string(shown).unwrap()),
        pending: wait.pending.iter().map(PendingReport::from).collect(),
        overdue: late.map(|o| OverdueReport { since: o.since, label: o.because.label().to_owned(), because: o.because.to_string() }),
        probes: Vec::new(),
        troubles: Vec::new(),
        signers: Vec::new(),
        rules: Some(RulesReport {
            algorithm: rules.spec.algorithm(),
            rotate_every: rules.rotate_every,
            max_age: rules.max_age,
            rollback_window: rules.rollback_window,
            propagation: waits.propagation,
            retention: waits.retention,
            orphaned: rules.is_orphaned(),
            stated: Some(rules),
        }),
    }
}

/// The same with something wrong everywhere.
pub fn troubled(mut report: StatusReport) -> StatusReport {
    let at = report.at;
    for environment in &mut report.environments {
        environment.policy.faults = vec!["shop.yaml:7: keysets.user-sessions.token_ttl: `15` has no unit; hint: write 15m".to_owned()];
        environment.fresh = false;
        let what = "the store is unavailable: /var/lib/keyrota/keysets.db is locked by another process; hint: it is tried again".to_owned();
        environment.store_trouble = Some(TroubleReport { part: "store".to_owned(), what, since: Some(at.minus(Span::seconds(7))) });
        if let Some(keyset) = environment.keysets.first_mut() {
            let what = "/srv/jwks.json cannot be written: no space left".to_owned();
            keyset.troubles = vec![TroubleReport { part: "target".to_owned(), what, since: Some(at.minus(Span::minutes(200))) }];
            keyset.overdue = Some(OverdueReport {
                since: at.minus(Span::minutes(192)),
                label: "publish".to_owned(),
                because: "/srv/jwks.json has not been read back with it".to_owned(),
            });
        }
    }
    report
}
