//! Making keys on all cores: keyrota's forge beside the bare back end with the same self-check, and `openssl genpkey` as a process.
//!
//! All have as many threads at the same (lowest) priority and take turns, so that whatever else the machine does meets all alike.
//! The time for an RSA key varies by a factor of ten with the primes that are hit upon, so the ratio comes with the error it has from
//! that. Processor time is told beside wall time: it is not disturbed by other programs.
//!
//! `cargo bench --bench keygen [-- FACTOR] [NAME …]` makes FACTOR times as many keys, of all kinds or those named.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::disallowed_methods,
    reason = "a bench stops at the first thing that is wrong, and measures time"
)]
#![allow(clippy::cast_precision_loss, clippy::cast_possible_truncation, clippy::print_stdout, reason = "figures for people")]

use std::num::NonZeroUsize;
use std::process::{Command, Stdio};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use aws_lc_rs::encoding::AsDer as _;
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::KeySize;
use aws_lc_rs::signature::{self, EcdsaKeyPair, KeyPair as _, RsaKeyPair, UnparsedPublicKey};
use keyrota::key::{Algorithm, KeySpec, KidFormat};
use keyrota::keygen::KeyForge;
use keyrota::time::Timestamp;
use rustix::time::{ClockId, clock_gettime};

/// As in the daemon itself.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const ROUNDS: usize = 5;
const PROBE: &[u8] = b"a message to be signed";

struct Kind {
    name: &'static str,
    algorithm: Algorithm,
    rsa_bits: u16,
    /// How many keys each maker makes in a round.
    keys: usize,
    /// How many of them for `openssl`, where starting the process is most of the work.
    processes: usize,
    bare: fn(),
    openssl: &'static [&'static str],
}

const KINDS: [Kind; 3] = [
    Kind {
        name: "RSA-2048",
        algorithm: Algorithm::RS256,
        rsa_bits: 2048,
        keys: 80,
        processes: 40,
        bare: || bare_rsa(KeySize::Rsa2048),
        openssl: &["-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:2048"],
    },
    Kind {
        name: "RSA-4096",
        algorithm: Algorithm::RS256,
        rsa_bits: 4096,
        keys: 12,
        processes: 6,
        bare: || bare_rsa(KeySize::Rsa4096),
        openssl: &["-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:4096"],
    },
    Kind {
        name: "P-256",
        algorithm: Algorithm::ES256,
        rsa_bits: 0,
        keys: 4000,
        processes: 100,
        bare: bare_p256,
        openssl: &["-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256"],
    },
];

/// Made, written as PKCS#8, parsed, signed, verified with the published half: the self-check without JWK and PEM around it.
fn bare_rsa(size: KeySize) {
    let made = RsaKeyPair::generate(size).unwrap();
    let stored = RsaKeyPair::from_pkcs8(made.as_der().unwrap().as_ref()).unwrap();
    let mut signed = vec![0; stored.public_modulus_len()];
    stored.sign(&signature::RSA_PKCS1_SHA256, &SystemRandom::new(), PROBE, &mut signed).unwrap();
    let published = UnparsedPublicKey::new(&signature::RSA_PKCS1_2048_8192_SHA256, made.public_key().as_ref());
    published.verify(PROBE, &signed).unwrap();
}

fn bare_p256() {
    let made = EcdsaKeyPair::generate(&signature::ECDSA_P256_SHA256_FIXED_SIGNING).unwrap();
    let der = made.to_pkcs8v1().unwrap();
    let stored = EcdsaKeyPair::from_pkcs8(&signature::ECDSA_P256_SHA256_FIXED_SIGNING, der.as_ref()).unwrap();
    let signed = stored.sign(&SystemRandom::new(), PROBE).unwrap();
    UnparsedPublicKey::new(&signature::ECDSA_P256_SHA256_FIXED, made.public_key().as_ref()).verify(PROBE, signed.as_ref()).unwrap();
}

/// Seconds per key, by the wall and by the processor, of every round.
#[derive(Default)]
struct Took {
    wall: Vec<f64>,
    processor: Vec<f64>,
}

impl Took {
    fn round(&mut self, keys: usize, work: impl FnOnce()) {
        let (began, spent) = (Instant::now(), processor_time());
        work();
        self.wall.push(began.elapsed().as_secs_f64() / keys as f64);
        self.processor.push(processor_time().saturating_sub(spent).as_secs_f64() / keys as f64);
    }
}

fn mean(figures: &[f64]) -> f64 {
    figures.iter().sum::<f64>() / figures.len() as f64
}

/// The standard error of the mean, as a part of it.
fn error(figures: &[f64]) -> f64 {
    let mean = mean(figures);
    let variance = figures.iter().map(|x| (x / mean - 1.0).powi(2)).sum::<f64>() / (figures.len() - 1) as f64;
    (variance / figures.len() as f64).sqrt()
}

fn processor_time() -> Duration {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    Duration::new(time.tv_sec.unsigned_abs(), u32::try_from(time.tv_nsec).unwrap())
}

/// `count` times `work`, on that many threads at the lowest priority.
fn on_threads(threads: usize, count: usize, work: impl Fn() + Sync) {
    let taken = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                let _ = rustix::process::setpriority_process(Some(rustix::thread::gettid()), 19);
                while taken.fetch_add(1, Ordering::Relaxed) < count {
                    work();
                }
            });
        }
    });
}

fn openssl(arguments: &[&str]) -> bool {
    let made = Command::new("openssl").arg("genpkey").args(arguments).stdout(Stdio::null()).stderr(Stdio::null()).status();
    made.is_ok_and(|status| status.success())
}

fn main() {
    let factor: usize = std::env::args().find_map(|argument| argument.parse().ok()).unwrap_or(1);
    let threads = std::thread::available_parallelism().map_or(1, NonZeroUsize::get);
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let forge = KeyForge::start().unwrap();
    println!("{threads} threads, {ROUNDS} rounds; keys per second, and keyrota's part of the bare rate (goal: at least 0.90)");
    println!("{:9} {:>6} {:>10} {:>10} {:>12} {:>8} {:>8} {:>8}", "", "keys", "keyrota/s", "bare/s", "openssl/s", "wall", "cpu", "±");
    let named = |name: &str| std::env::args().any(|argument| argument == name);
    let all = !KINDS.iter().any(|kind| named(kind.name));
    for kind in KINDS.iter().filter(|kind| all || named(kind.name)) {
        let keys = kind.keys * factor;
        let spec = KeySpec::Pair { algorithm: kind.algorithm, rsa_bits: kind.rsa_bits, kid: KidFormat::Thumbprint, certificate: None };
        let (mut own, mut bare, mut process) = (Took::default(), Took::default(), Took::default());
        let openssl_is_here = Mutex::new(true);
        for _ in 0..ROUNDS {
            own.round(keys, || {
                let made = runtime.block_on(forge.generate_many(&vec![spec.clone(); keys], Timestamp::EPOCH));
                assert!(made.iter().all(Result::is_ok), "a key could not be made");
            });
            bare.round(keys, || on_threads(threads, keys, kind.bare));
            process.round(kind.processes, || {
                on_threads(threads, kind.processes, || {
                    let made = openssl(kind.openssl);
                    *openssl_is_here.lock().unwrap() &= made;
                });
            });
        }
        let all_made = *openssl_is_here.lock().unwrap();
        let openssl_rate = if all_made { format!("{:.1}", 1.0 / mean(&process.wall)) } else { "not here".to_owned() };
        println!(
            "{:9} {:>6} {:>10.1} {:>10.1} {openssl_rate:>12} {:>8.2} {:>8.2} {:>8.2}",
            kind.name,
            keys * ROUNDS,
            1.0 / mean(&own.wall),
            1.0 / mean(&bare.wall),
            mean(&bare.wall) / mean(&own.wall),
            mean(&bare.processor) / mean(&own.processor),
            error(&own.processor).hypot(error(&bare.processor)),
        );
    }
}
