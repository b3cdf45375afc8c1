//! Minting and verifying tokens beside bare aws-lc-rs signatures over the same bytes, one thread, by turns, so that whatever else the
//! machine does meets both alike. The ratio is of processor time: how much of the bare speed is left.
//!
//! `cargo bench --bench tokens [-- NAME …]` measures all algorithms or those named.

#![allow(clippy::unwrap_used, clippy::panic, clippy::disallowed_methods, reason = "a bench stops at the first thing that is wrong")]
#![allow(clippy::cast_precision_loss, clippy::print_stdout, reason = "figures for people")]

use std::hint::black_box;
use std::time::Duration;

use aws_lc_rs::hmac;
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{self, EcdsaKeyPair, Ed25519KeyPair, ParsedPublicKey, RsaKeyPair};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use keyrota::document::{Active, Document, Facts};
use keyrota::jwk::PublicNumbers;
use keyrota::key::{Algorithm, Key, KeySpec, KidFormat, SecretEncoding};
use keyrota::keygen;
use keyrota::policy::{Profile, TokenPolicy};
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
    let median = |figures: &mut Vec<f64>| {
        figures.sort_by(f64::total_cmp);
        figures[figures.len() / 2]
    };
    (median(&mut bares), median(&mut own))
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

/// The private half as the back end takes it.
fn der(key: &Key) -> Vec<u8> {
    let pem = key.secret().unwrap().expose();
    STANDARD.decode(pem.lines().filter(|line| !line.starts_with('-')).collect::<String>()).unwrap()
}

/// Signs a message with the bare back end.
fn bare_signer(key: &Key, message: Vec<u8>) -> Box<dyn FnMut()> {
    let random = SystemRandom::new();
    match key.algorithm {
        Algorithm::HS256 => {
            let hmac_key = hmac::Key::new(hmac::HMAC_SHA256, key.secret().unwrap().expose().as_bytes());
            Box::new(move || {
                black_box(hmac::sign(&hmac_key, black_box(&message)));
            })
        }
        Algorithm::ES256 => {
            let pair = EcdsaKeyPair::from_pkcs8(&signature::ECDSA_P256_SHA256_FIXED_SIGNING, &der(key)).unwrap();
            Box::new(move || {
                black_box(pair.sign(&random, black_box(&message)).unwrap());
            })
        }
        Algorithm::EdDsa => {
            let pair = Ed25519KeyPair::from_pkcs8(&der(key)).unwrap();
            Box::new(move || {
                black_box(pair.sign(black_box(&message)));
            })
        }
        _ => {
            let pair = RsaKeyPair::from_pkcs8(&der(key)).unwrap();
            let mut signature = vec![0; pair.public_modulus_len()];
            Box::new(move || pair.sign(&signature::RSA_PKCS1_SHA256, &random, black_box(&message), &mut signature).unwrap())
        }
    }
}

/// Verifies a signature with the bare back end.
fn bare_verifier(key: &Key, message: Vec<u8>, tag: Vec<u8>) -> Box<dyn FnMut()> {
    let member = |text: &str| URL_SAFE_NO_PAD.decode(text).unwrap();
    let parsed = match key.public_jwk().map(|jwk| &jwk.numbers) {
        None => {
            let hmac_key = hmac::Key::new(hmac::HMAC_SHA256, key.secret().unwrap().expose().as_bytes());
            return Box::new(move || hmac::verify(&hmac_key, black_box(&message), black_box(&tag)).unwrap());
        }
        Some(PublicNumbers::Ec { x, y, .. }) => {
            let point = [vec![4], member(x), member(y)].concat();
            ParsedPublicKey::new(&signature::ECDSA_P256_SHA256_FIXED, point)
        }
        Some(PublicNumbers::Okp { x, .. }) => ParsedPublicKey::new(&signature::ED25519, member(x)),
        Some(rsa @ PublicNumbers::Rsa { .. }) => ParsedPublicKey::new(&signature::RSA_PKCS1_2048_8192_SHA256, rsa.to_spki_der().unwrap()),
    };
    let parsed = parsed.unwrap();
    Box::new(move || parsed.verify_sig(black_box(&message), black_box(&tag)).unwrap())
}

fn main() {
    let wanted: Vec<String> = std::env::args().skip(1).filter(|argument| !argument.starts_with('-')).collect();
    let now: Timestamp = "2026-03-01T12:00:00Z".parse().unwrap();
    println!("{:<8}{:<8}{:>12}{:>12}{:>8}", "", "", "bare µs", "keyrota µs", "ratio");
    for (algorithm, signatures, verifications) in KINDS {
        if !wanted.is_empty() && !wanted.iter().any(|name| name == algorithm.as_str()) {
            continue;
        }
        let document = document(algorithm, now);
        let key = &document.active.as_ref().unwrap().key;
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
        let request = MintRequest { subject: Some("user-0123456789".to_owned()), ..MintRequest::default() };
        let token = minter.mint(&request, now).unwrap().token;
        let (message, tag) = token.expose().rsplit_once('.').unwrap();
        let (message, tag) = (message.as_bytes().to_vec(), URL_SAFE_NO_PAD.decode(tag).unwrap());
        let (bare, ours) = compared(signatures, bare_signer(key, message.clone()), || {
            black_box(minter.mint(black_box(&request), now).unwrap());
        });
        println!("{:<8}{:<8}{:>12.2}{:>12.2}{:>8.2}", algorithm, "mint", bare * 1e6, ours * 1e6, bare / ours);
        let verifier = Verifier::of(&document, Expected::by(&policy));
        let (bare, ours) = compared(verifications, bare_verifier(key, message, tag), || {
            assert!(verifier.verify(black_box(token.expose()), now).is_valid());
        });
        println!("{:<8}{:<8}{:>12.2}{:>12.2}{:>8.2}", algorithm, "verify", bare * 1e6, ours * 1e6, bare / ours);
    }
}
