//! Beside libraries that others wrote: the same key, the same claims, tokens minted and verified for half a second by each, one after the
//! other. Processor time, of all threads of each process.

use std::hint::black_box;
use std::io::Write as _;
use std::process::{Command, Stdio};

use keyrota::key::Algorithm;
use serde_json::{Value, json};

use crate::{Work, each};

const ALGORITHMS: [Algorithm; 3] = [Algorithm::ES256, Algorithm::RS256, Algorithm::HS256];

/// Who they are, and how they are started from the top of the repository.
const PEERS: [(&str, [&str; 2]); 2] =
    [("PyJWT", [".venv/bin/python", "benches/tokens/pyjwt.py"]), ("jose", ["node", "tests/node/speed.mjs"])];

/// Seconds for minting one token, and for verifying one and reading its claims.
struct Speed {
    mint: f64,
    verify: f64,
}

fn ours(work: &Work) -> Speed {
    let token = work.mint();
    let mint = || drop(black_box(work.mint()));
    let verify = || drop(black_box(work.verifier.verify(black_box(token.expose()), work.now).claims().unwrap()));
    let times = |work: &dyn Fn()| (0.5 / each(20, work).max(1e-7)) as usize + 1;
    Speed { mint: each(times(&mint), mint), verify: each(times(&verify), verify) }
}

/// What a peer says of itself, once one of its tokens was verified.
fn asked([program, script]: [&str; 2], work: &Work) -> Speed {
    let key = work.key();
    let at = work.now.as_millis() / 1000;
    let question = json!({
        "algorithm": key.algorithm,
        "kid": key.kid,
        "private": key.secret().unwrap().expose(),
        "public": key.public_jwk().map(|jwk| jwk.numbers.to_spki_pem().unwrap()),
        "claims": { "iss": work.policy.issuer, "sub": work.request.subject, "aud": work.policy.audience[0], "iat": at, "exp": at + 900 },
        "now": at,
    });
    let mut command = Command::new(program);
    let mut child =
        command.arg(script).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap_or_else(|why| panic!("{program}: {why}"));
    child.stdin.take().unwrap().write_all(question.to_string().as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "{script}: {}", output.status);
    let answer: Value = serde_json::from_slice(&output.stdout).unwrap();
    let verdict = work.verifier.verify(answer["token"].as_str().unwrap(), work.now);
    assert_eq!(verdict.rejection(), None, "{script} mints another token");
    Speed { mint: answer["mint"].as_f64().unwrap(), verify: answer["verify"].as_f64().unwrap() }
}

pub fn measure() {
    println!("{:<8}{:<8}{:>12}{:>12}{:>12}{:>16}{:>16}", "", "", "keyrota µs", "PyJWT µs", "jose µs", "PyJWT/keyrota", "jose/keyrota");
    for algorithm in ALGORITHMS {
        let work = Work::of(algorithm);
        let before = ours(&work);
        let [python, node] = PEERS.map(|(_, command)| asked(command, &work));
        // Before and after: whatever else the machine does meets all alike.
        let after = ours(&work);
        let print = |what: &str, of: fn(&Speed) -> f64| {
            let own = f64::midpoint(of(&before), of(&after));
            let (python, node) = (of(&python), of(&node));
            let [a, b, c] = [own, python, node].map(|seconds| seconds * 1e6);
            println!("{:<8}{what:<8}{a:>12.2}{b:>12.2}{c:>12.2}{:>16.1}{:>16.1}", algorithm.as_str(), python / own, node / own);
        };
        print("mint", |speed| speed.mint);
        print("verify", |speed| speed.verify);
    }
}
