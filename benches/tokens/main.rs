//! Minting and verifying tokens beside bare aws-lc-rs signatures over the same bytes, by turns, so that whatever else the machine does
//! meets both alike. The ratio is of processor time: how much of the bare speed is left.
//!
//! `cargo bench --bench tokens`: in process, every algorithm, one thread; `-- NAME …`: those named. `-- route`: through
//! `POST /<environment>/<keyset>/token` of the real binary. `-- peers`: beside `PyJWT` and npm `jose`, which do the same work with the
//! same key (needs `.venv` and `tests/node` as `tests/run --only peers` makes them).

#![allow(clippy::unwrap_used, clippy::panic, clippy::disallowed_methods, reason = "a bench stops at the first thing that is wrong")]
#![allow(
    clippy::cast_possible_truncation,
    clippy::cast_precision_loss,
    clippy::cast_sign_loss,
    clippy::print_stdout,
    reason = "figures for people"
)]

mod bare;
mod peers;
mod route;

use std::hint::black_box;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use keyrota::document::{Active, Document, Facts};
use keyrota::key::{Algorithm, Key, KeySpec, KidFormat, SecretEncoding};
use keyrota::keygen;
use keyrota::policy::{Profile, TokenPolicy};
use keyrota::secret::LoneSecret;
use keyrota::time::{Span, Timestamp};
use keyrota::tokens::mint::{MintRequest, Minter};
use keyrota::tokens::verify::{Expected, Verifier};
use rustix::time::{ClockId, clock_gettime};

/// As in the daemon itself.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const ROUNDS: usize = 9;

/// The algorithm, and how often each side works in a round: about a tenth of a second.
const KINDS: [(Algorithm, usize, usize); 4] = [
    (Algorithm::HS256, 100_000, 100_000),
    (Algorithm::ES256, 4_000, 2_000),
    (Algorithm::EdDsa, 4_000, 2_000),
    (Algorithm::RS256, 150, 4_000),
];

fn processor_time() -> Duration {
    let now = clock_gettime(ClockId::ProcessCPUTime);
    Duration::new(now.tv_sec.unsigned_abs(), u32::try_from(now.tv_nsec).unwrap())
}

/// Seconds for one piece of work.
fn each(times: usize, mut work: impl FnMut()) -> f64 {
    let began = processor_time();
    (0..times).for_each(|_| work());
    processor_time().saturating_sub(began).as_secs_f64() / times as f64
}

/// The median of both by turns.
fn compared(times: usize, mut bare: impl FnMut(), mut ours: impl FnMut()) -> (f64, f64) {
    let (mut bares, mut own) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        bares.push(each(times, &mut bare));
        own.push(each(times, &mut ours));
    }
    (median(bares), median(own))
}

fn median(mut figures: Vec<f64>) -> f64 {
    figures.sort_by(f64::total_cmp);
    figures[figures.len() / 2]
}

fn document(algorithm: Algorithm, now: Timestamp) -> Document {
    let spec = match algorithm {
        Algorithm::HS256 => {
            let encoding = SecretEncoding::Base64url;
            KeySpec::Hmac { algorithm, bytes: 32, prefix: String::new(), encoding, kid: KidFormat::Uuid }
        }
        _ => KeySpec::Pair { algorithm, rsa_bits: 2048, kid: KidFormat::Thumbprint, certificate: None },
    };
    let mut document = Document::empty("bench/tokens".parse().unwrap(), spec.class());
    let facts = Facts { token_ttl: Span::hours(1), ..Facts::default() };
    document.facts = document.facts.adopting(&facts, now).unwrap();
    let key = keygen::generate(&spec, now).unwrap();
    document.active = Some(Active { key, since: now, published_at: now });
    document
}

/// What is minted and verified.
struct Work {
    document: Document,
    policy: TokenPolicy,
    minter: Minter,
    verifier: Verifier,
    request: MintRequest,
    now: Timestamp,
}

impl Work {
    fn of(algorithm: Algorithm) -> Self {
        let now: Timestamp = "2026-03-01T12:00:00Z".parse().unwrap();
        let document = document(algorithm, now);
        let policy = TokenPolicy {
            profile: Profile::Generic,
            issuer: Some("https://auth.example.com".to_owned()),
            audience: vec!["api".to_owned()],
            default_ttl: Span::minutes(15),
            claims: std::collections::BTreeMap::default(),
            serving: None,
            refresh: None,
        };
        let minter = Minter::new(&document, Some(&policy), Span::hours(1)).unwrap();
        let verifier = Verifier::of(&document, Expected::by(&policy));
        let request = MintRequest { subject: Some("user-0123456789".to_owned()), ..MintRequest::default() };
        Self { document, policy, minter, verifier, request, now }
    }

    fn key(&self) -> &Key {
        &self.document.active.as_ref().unwrap().key
    }

    fn mint(&self) -> LoneSecret {
        self.minter.mint(black_box(&self.request), self.now).unwrap().token
    }
}

fn row(name: &str, what: &str, (bare, ours): (f64, f64)) {
    println!("{name:<8}{what:<16}{:>12.2}{:>12.2}{:>8.2}", bare * 1e6, ours * 1e6, bare / ours);
}

fn in_process(wanted: &[String]) {
    println!("{:<24}{:>12}{:>12}{:>8}", "", "bare µs", "keyrota µs", "ratio");
    for (algorithm, signatures, verifications) in KINDS {
        if !wanted.is_empty() && !wanted.iter().any(|name| name == algorithm.as_str()) {
            continue;
        }
        let work = Work::of(algorithm);
        let token = work.mint();
        let (message, tag) = token.expose().rsplit_once('.').unwrap();
        let (message, tag) = (message.as_bytes().to_vec(), URL_SAFE_NO_PAD.decode(tag).unwrap());
        let minting = compared(signatures, bare::signer(work.key(), message.clone()), || {
            black_box(work.mint());
        });
        row(algorithm.as_str(), "mint", minting);
        let judged = || work.verifier.verify(black_box(token.expose()), work.now);
        let verifying = compared(verifications, bare::verifier(work.key(), message.clone(), tag.clone()), || assert!(judged().is_valid()));
        row(algorithm.as_str(), "verify", verifying);
        let reading = compared(verifications, bare::verifier(work.key(), message, tag), || {
            black_box(judged().claims().unwrap());
        });
        row(algorithm.as_str(), "verify, claims", reading);
    }
}

fn main() {
    let wanted: Vec<String> = std::env::args().skip(1).filter(|argument| !argument.starts_with('-')).collect();
    match wanted.first().map(String::as_str) {
        Some("route") => route::measure(),
        Some("peers") => peers::measure(),
        _ => in_process(&wanted),
    }
}
