//! A keyset with round figures: propagation takes twenty minutes, retention an hour, a rotation ten days.

use std::collections::BTreeMap;

use keyrota::digest::Digest;
use keyrota::document::{Active, Document, Facts, HeldFacts, Incoming, Intent, Retiring, Stage};
use keyrota::jwk::{OkpCurve, PublicJwk, PublicNumbers};
use keyrota::key::{Algorithm, Key, KeyClass, KeySpec, KidFormat, Material, Origin};
use keyrota::name::{Generation, KeysetId, Kid};
use keyrota::observed::{Observed, PlaceKind, SignerPlace, VerifierPlace};
use keyrota::policy::{Mode, Source, Start, VerifierShape, Window};
use keyrota::rules::{Rules, Standing};
use keyrota::secret::SecretText;
use keyrota::time::{Span, Timestamp};

/// store 1m + cache 1m + verifier 15m + 2 x skew 1m + margin 1m.
pub const PROPAGATION: Span = Span::minutes(20);
/// store 1m + signer 10m + token 46m + 2 x skew 1m + margin 1m.
pub const RETENTION: Span = Span::minutes(60);
/// store 1m + signer 10m + token 46m + 2 x skew 1m: how long a lowered fact goes on counting.
pub const DRAIN: Span = Span::minutes(59);
pub const ROTATE_EVERY: Span = Span::days(10);
pub const MAX_AGE: Span = Span::days(12);
pub const ROLLBACK: Span = Span::minutes(30);

/// A midnight, UTC.
pub fn t0() -> Timestamp {
    "2026-03-01T00:00:00Z".parse().unwrap()
}

pub fn kid(name: &str) -> Kid {
    name.parse().unwrap()
}

/// A keyset at a moment: what a decision looks at.
#[derive(Debug, Clone)]
pub struct Scene {
    pub document: Document,
    pub rules: Rules,
    pub observed: Observed,
}

pub fn facts() -> Facts {
    let minutes = Span::minutes;
    Facts {
        token_ttl: minutes(46),
        verifier_refresh: minutes(15),
        signer_refresh: minutes(10),
        verifier_retry: minutes(2),
        clock_skew: minutes(1),
        cache_max_age: minutes(1),
        store_refresh: minutes(1),
        margin: minutes(1),
    }
}

pub fn pair_spec(algorithm: Algorithm) -> KeySpec {
    KeySpec::Pair { algorithm, rsa_bits: 2048, kid: KidFormat::Thumbprint, certificate: None }
}

pub fn rules() -> Rules {
    Rules {
        spec: pair_spec(Algorithm::EdDsa),
        source: Source::Generated,
        start: Start::Generate,
        facts: facts(),
        rotate_every: ROTATE_EVERY,
        max_age: MAX_AGE,
        rollback_window: ROLLBACK,
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

/// A key that a specification asks for. Its numbers are those of RFC 8037, appendix A, whatever its algorithm.
pub fn made(spec: &KeySpec, name: &str, created_at: Timestamp) -> Key {
    let algorithm = spec.algorithm();
    let secret = || SecretText::new(format!("(the secret of {name})"));
    let material = match spec.class() {
        KeyClass::Asymmetric => {
            let x = "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo".into();
            let numbers = PublicNumbers::Okp { crv: OkpCurve::Ed25519, x };
            Material::Pair { public: PublicJwk::new(kid(name), algorithm, numbers), private: Some(secret()) }
        }
        KeyClass::Hmac => Material::Hmac { secret: secret() },
        KeyClass::ApiKey => Material::ApiKey { secret: Some(secret()), digest: Digest::of(secret().expose().as_bytes()) },
    };
    let bits = spec.bits().unwrap_or(256);
    Key { kid: kid(name), algorithm, bits, created_at, origin: Origin::Generated, expires_at: None, material }
}

fn key(name: &str, created_at: Timestamp) -> Key {
    made(&pair_spec(Algorithm::EdDsa), name, created_at)
}

/// A keyset that was never stored, at [`t0`].
pub fn unstored() -> Scene {
    let id = KeysetId { environment: "test".parse().unwrap(), keyset: "sessions".parse().unwrap() };
    Scene { document: Document::empty(id, KeyClass::Asymmetric), rules: rules(), observed: Observed::quiet(t0()) }
}

/// A stored keyset without any key that holds the facts that the rules state.
pub fn keyless() -> Scene {
    let mut scene = unstored();
    scene.document.generation = Generation(7);
    scene.document.updated_at = t0();
    scene.document.facts = HeldFacts::default().adopting(&facts(), t0()).unwrap();
    scene.document.started_specs = vec![scene.rules.spec.digest()];
    scene
}

/// `k1` signs since [`t0`], and was generated an hour before.
pub fn signing() -> Scene {
    let mut scene = keyless();
    let created_at = t0().minus(Span::hours(1));
    scene.document.active = Some(Active { key: key("k1", created_at), since: t0(), published_at: created_at });
    scene
}

impl Scene {
    #[must_use]
    pub fn with(mut self, change: impl FnOnce(&mut Self)) -> Self {
        change(&mut self);
        self
    }

    #[must_use]
    pub fn at(self, now: Timestamp) -> Self {
        self.with(|s| s.observed.now = now)
    }

    /// A key is being announced since [`t0`].
    #[must_use]
    pub fn staged(self, name: &str) -> Self {
        self.with(|s| s.document.incoming.push(Incoming { key: key(name, t0()), stage: Stage::Staged { since: t0() } }))
    }

    /// A key is announced everywhere since [`t0`].
    #[must_use]
    pub fn published(self, name: &str) -> Self {
        let stage = Stage::Published { since: t0(), not_before_active: t0() + PROPAGATION };
        self.with(|s| s.document.incoming.push(Incoming { key: key(name, t0()), stage }))
    }

    /// A key signs no more since [`t0`].
    #[must_use]
    pub fn retiring(self, name: &str) -> Self {
        let long_ago = t0().minus(Span::days(9));
        self.with(|s| {
            s.document.retiring.push(Retiring {
                key: key(name, long_ago),
                since: t0(),
                published_at: long_ago,
                activated_at: Some(long_ago),
                verify_until: t0() + RETENTION,
            });
        })
    }

    /// As [`Scene::retiring`], with the private half gone.
    #[must_use]
    pub fn erased(self, name: &str) -> Self {
        self.retiring(name).with(|s| {
            let last = s.document.retiring.pop().unwrap();
            s.document.retiring.push(Retiring { key: last.key.erased(), ..last });
        })
    }

    /// Verifiers read a place, which has carried these kids since those moments.
    #[must_use]
    pub fn verifiers_read(self, kind: PlaceKind, name: &str, carries: &[(&str, Timestamp)]) -> Self {
        let carries = carries.iter().map(|(k, since)| (kid(k), *since)).collect();
        self.with(|s| s.observed.verifier_places.push(VerifierPlace { name: name.into(), kind, carries, as_of: Some(s.observed.now) }))
    }

    /// Signers read a place, which has not named these kids since those moments.
    #[must_use]
    pub fn signers_read(self, name: &str, left: &[(&str, Timestamp)]) -> Self {
        let left: BTreeMap<Kid, Timestamp> = left.iter().map(|(k, since)| (kid(k), *since)).collect();
        self.with(|s| s.observed.signer_places.push(SignerPlace { name: name.into(), left }))
    }

    /// The swap of the change that `name` went through was seen to be done only at that moment.
    #[must_use]
    pub fn late(self, name: &str, at: Timestamp) -> Self {
        self.with(|s| s.observed.late_commits.extend([(kid(name), at)]))
    }

    /// Change-overs may happen from three to five in the morning, UTC.
    #[must_use]
    pub fn windowed(self) -> Self {
        self.with(|s| s.rules.window = Some(Window::parse("0 0 3 * * *", Span::hours(2), "UTC").unwrap()))
    }
}

pub fn by_ada(at: Timestamp) -> Intent {
    Intent::new("ada (1000)", at, "because")
}
