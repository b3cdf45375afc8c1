//! `kill -9` at random moments of fast rotation: nothing is lost, nothing dangles, one key signs.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;
use std::time::Duration;

use keyrota::lifecycle::TOMBSTONES_KEPT;
use serde_json::Value;

use crate::chance::Chance;
use crate::process::{Daemon, ENVIRONMENT, Home, rest, until};
use crate::token::{self, Token};

/// As fast as the embedded store lets keys change over. A new key every 7 s, announced 6.6 s, accepted for 9.6 s after.
pub const POLICY: &str = in_seconds!(
    "rotate_every: 7s, token_ttl: 3s, clock_skew: 500ms",
    r#"  sessions:
    algorithm: ES256
    publish:
      - file: { path: "{state_dir}/out/sessions.jwks.json", format: jwks }
  calls:
    algorithm: EdDSA
    publish:
      - file: { path: "{state_dir}/out/calls.json", format: document, for: signers }
  hooks:
    algorithm: HS256
  partner:
    algorithm: api-key
"#
);
pub const KEYSETS: [&str; 4] = ["sessions", "calls", "hooks", "partner"];
const PAIRS: [&str; 2] = ["sessions", "calls"];
const TTL: u64 = 3;
/// What belongs into the state directory when nobody is at work.
const LAWFUL: [&str; 7] =
    ["audit.log", "keysets.db", "master.key", "out/calls.json", "out/sessions.jwks.json", "policies/fast.yaml", "witness.db"];

/// A moment to die at.
fn linger(chance: &mut Chance, milliseconds: u64) {
    std::thread::sleep(Duration::from_millis(chance.below(milliseconds)));
}

/// What an outside observer of one keyset remembers over all lives.
#[derive(Default)]
struct Memory {
    generation: u64,
    /// Every kid that ever signed, in order.
    active: Vec<String>,
    /// Every kid that was ever seen, and its secret where it has one.
    kids: BTreeMap<String, Option<String>>,
    gone: BTreeSet<String>,
}

impl Memory {
    /// Holds a document against all that was seen before.
    fn look(&mut self, name: &str, document: &Value) {
        let generation = document["generation"].as_u64().unwrap();
        assert!(generation >= self.generation, "{name} went back from generation {} to {generation}", self.generation);
        self.generation = generation;
        let list = |member: &str| document[member].as_array().cloned().unwrap_or_default();
        let kid_of = |key: &Value| key["kid"].as_str().unwrap().to_owned();
        let (keys, tombstones) = (list("keys"), list("tombstones"));
        let alive: BTreeSet<String> = keys.iter().map(kid_of).collect();
        let buried: BTreeSet<String> = tombstones.iter().map(kid_of).collect();
        assert_eq!(alive.len(), keys.len(), "{name}: a kid twice: {alive:?}");
        assert!(alive.is_disjoint(&buried) && alive.is_disjoint(&self.gone), "{name}: a kid came back: {alive:?}");
        let active: Vec<String> = keys.iter().filter(|key| key["state"] == "active").map(kid_of).collect();
        assert_eq!(active, [document["kid"].as_str().unwrap()], "{name}: one key signs, and it is the one at the top");
        for (kid, secret) in &self.kids {
            let known = alive.contains(kid) || buried.contains(kid) || tombstones.len() >= TOMBSTONES_KEPT;
            assert!(known, "{name}: key {kid} is lost without a trace in generation {generation}");
            let Some(key) = keys.iter().find(|key| key["kid"] == **kid) else {
                self.gone.insert(kid.clone());
                continue;
            };
            let now = key["secret"].as_str();
            assert!(now.is_none() || now == secret.as_deref(), "{name}: the secret of {kid} became another");
        }
        for key in &keys {
            self.kids.entry(kid_of(key)).or_insert_with(|| key["secret"].as_str().map(str::to_owned));
        }
        if self.active.last() != active.last() {
            assert!(!self.active.contains(&active[0]), "{name}: {} signs again after it was relieved", active[0]);
            self.active.extend(active);
        }
    }
}

/// The observer.
#[derive(Default)]
struct Observer {
    keysets: BTreeMap<&'static str, Memory>,
    tokens: Vec<Token>,
    verified: u64,
    /// Tokens of an earlier life that a later one accepted.
    survived: u64,
}

impl Observer {
    /// Reads every document, mints with it, and verifies every token that has not expired.
    fn look(&mut self, daemon: &Daemon, new_life: bool) {
        let documents: BTreeMap<&str, Value> = KEYSETS.iter().filter_map(|name| Some((*name, daemon.document(name)?))).collect();
        for (name, document) in &documents {
            self.keysets.entry(KEYSETS[KEYSETS.iter().position(|k| k == name).unwrap()]).or_default().look(name, document);
        }
        self.tokens.retain(|token| token.expires > token::now());
        for pair in PAIRS {
            let answer = daemon.verifiers(pair).unwrap();
            assert_eq!(answer.status, 200, "{pair}: {}", answer.text());
            self.verify(pair, |token| token::refused_by_set(token, &answer.json()), new_life);
        }
        if let Some(document) = documents.get("hooks") {
            self.verify("hooks", |token| token::refused_by_secrets(token, document), new_life);
        }
        let minting = documents.iter().filter(|(name, _)| **name != "partner");
        self.tokens.extend(minting.map(|(_, document)| token::mint(document, TTL)));
    }

    fn verify(&mut self, keyset: &str, refused: impl Fn(&Token) -> Option<String>, new_life: bool) {
        for token in self.tokens.iter().filter(|token| token.keyset == keyset) {
            let why = refused(token);
            // Looked at again after the verdict: a slow machine is no rejection.
            assert!(why.is_none() || token.expires <= token::now(), "{keyset}: a token of {} is refused: {}", token.kid, why.unwrap());
            self.verified += u64::from(why.is_none());
            self.survived += u64::from(new_life && why.is_none());
        }
    }

    fn change_overs(&self) -> usize {
        self.keysets.values().map(|memory| memory.active.len() - 1).sum()
    }
}

#[test]
fn kill_9_at_random_moments_loses_nothing() {
    let rounds: u64 = number("KEYROTA_CRASH_ROUNDS").unwrap_or(20);
    let seed = number("KEYROTA_CRASH_SEED").unwrap_or_else(token::now);
    println!("{rounds} rounds, KEYROTA_CRASH_SEED={seed}");
    let mut chance = Chance::new(seed);
    let home = Home::with(POLICY);
    let mut observer = Observer::default();
    for round in 0..rounds {
        let mut daemon = Daemon::spawn(&home);
        if round % 4 == 1 {
            // Dies while it starts.
            linger(&mut chance, 250);
        } else {
            daemon.wait_for(&KEYSETS);
            observer.look(&daemon, true);
            if round % 4 == 3 {
                // Lives long enough for a change-over, and dies about when it happens.
                let before = daemon.document("sessions").unwrap()["kid"].clone();
                until(&mut daemon, "a change-over", |daemon| daemon.document("sessions").is_some_and(|d| d["kid"] != before));
                linger(&mut chance, 100);
            } else {
                linger(&mut chance, 900);
            }
            observer.look(&daemon, false);
        }
        daemon.kill();
        no_half_file(&home.folder("state"));
    }
    let mut daemon = Daemon::start(&home, &KEYSETS);
    observer.look(&daemon, true);
    let before = daemon.document("sessions").unwrap()["kid"].clone();
    until(&mut daemon, "a change-over after all crashes", |daemon| daemon.document("sessions").is_some_and(|d| d["kid"] != before));
    until(&mut daemon, "nothing is wrong any more", settled);
    observer.look(&daemon, false);
    assert_eq!(daemon.terminate().code(), Some(0), "{}", daemon.said());
    no_leftovers(&home);
    let (overs, survived) = (observer.change_overs(), observer.survived);
    println!("{overs} change-overs, {} verifications, {survived} of them of tokens from before a crash", observer.verified);
    assert!(overs as u64 >= rounds / 4, "the lives were too short for change-overs");
    assert!(survived > 0, "no token was there to survive a crash");
}

#[test]
fn kill_9_during_the_very_first_start_leaves_a_state_that_starts() {
    let rounds = number("KEYROTA_CRASH_ROUNDS").unwrap_or(20) / 4;
    let seed = number("KEYROTA_CRASH_SEED").unwrap_or_else(token::now);
    println!("{rounds} rounds, KEYROTA_CRASH_SEED={seed}");
    let mut chance = Chance::new(seed ^ 1);
    for _ in 0..rounds {
        let home = Home::with(POLICY);
        for _ in 0..3 {
            let mut daemon = Daemon::spawn(&home);
            linger(&mut chance, 60);
            daemon.kill();
        }
        let mut daemon = Daemon::start(&home, &KEYSETS);
        Observer::default().look(&daemon, true);
        assert_eq!(daemon.terminate().code(), Some(0), "{}", daemon.said());
        no_leftovers(&home);
    }
}

fn number(variable: &str) -> Option<u64> {
    std::env::var(variable).ok().map(|text| text.parse().unwrap_or_else(|e| panic!("{variable}={text}: {e}")))
}

/// Nothing is overdue or broken, and the targets hold what the listeners serve.
fn settled(daemon: &Daemon) -> bool {
    let status = daemon.status();
    let keysets = status["environments"][0]["keysets"].as_array().unwrap();
    keysets.iter().all(|keyset| keyset["overdue"].is_null() && keyset["troubles"].as_array().is_none_or(Vec::is_empty))
}

/// A reader of the published files sees the old content or the new one.
fn no_half_file(state: &Path) {
    for name in ["out/sessions.jwks.json", "out/calls.json"] {
        if let Ok(content) = fs::read(state.join(name)) {
            assert!(serde_json::from_slice::<Value>(&content).is_ok(), "{name} is half written");
        }
    }
}

fn no_leftovers(home: &Home) {
    rest();
    let mut found = BTreeSet::new();
    walk(&home.folder("state"), &home.folder("state"), &mut found);
    let leftovers: Vec<&String> = found.iter().filter(|name| !LAWFUL.contains(&name.as_str())).collect();
    let sqlite = |name: &str| ["-wal", "-shm"].iter().any(|end| name.strip_suffix(end).is_some_and(|base| LAWFUL.contains(&base)));
    let leftovers: Vec<_> = leftovers.into_iter().filter(|name| !sqlite(name)).collect();
    assert!(leftovers.is_empty(), "{ENVIRONMENT}: left in the state directory: {leftovers:?}");
    let mut sockets = BTreeSet::new();
    walk(&home.folder("runtime"), &home.folder("runtime"), &mut sockets);
    assert!(sockets.is_empty(), "left in the runtime directory: {sockets:?}");
}

fn walk(base: &Path, folder: &Path, found: &mut BTreeSet<String>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            walk(base, &path, found);
        } else {
            found.insert(path.strip_prefix(base).unwrap().to_string_lossy().into_owned());
        }
    }
}
