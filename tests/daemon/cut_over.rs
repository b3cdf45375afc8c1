//! A verifier that holds one key and no kid, as Inkeep's search and chat do: an operator hands it the next key and approves, as
//! docs/vendors.md says, and nothing that the backend presents is refused.

use std::fs;
use std::path::Path;

use jsonwebtoken::{Algorithm, DecodingKey, Validation};
use serde_json::{Value, json};

use crate::http;
use crate::process::{Daemon, ENVIRONMENT, Home, keyrota, until};
use crate::verbs::{done, said};

const KEYSET: &str = "fast/help";
const POLICY: &str = in_seconds!(
    "rotate_every: 30d, token_ttl: 1m, clock_skew: 100ms, rollback_window: 0s",
    r#"  help:
    algorithm: RS256
    rsa_bits: 2048
    verifier: single-key
    mode: approve
    token: { profile: inkeep, issuer: "https://www.example.com", integration_id: int_1, audience: inkeep }
"#
);

/// The vendor: one public key, pasted into its dashboard.
struct Dashboard {
    pem: String,
}

impl Dashboard {
    fn accepts(&self, token: &str) -> bool {
        let mut rules = Validation::new(Algorithm::RS256);
        rules.set_issuer(&["https://www.example.com"]);
        rules.set_audience(&["inkeep"]);
        let key = DecodingKey::from_rsa_pem(self.pem.as_bytes()).unwrap();
        jsonwebtoken::decode::<Value>(token, &key, &rules).is_ok_and(|judged| judged.claims["integrationId"] == "int_1")
    }
}

/// The backend gets a token for its user and presents it: its text and its kid.
fn minted(daemon: &Daemon) -> (String, String) {
    let asked = json!({ "sub": "ada" }).to_string();
    let answer = http::post(&daemon.runtime.join("signer.sock"), &format!("/v1/keysets/{ENVIRONMENT}/help/token"), &asked).unwrap();
    let told = answer.json();
    assert_eq!(answer.status, 200, "{told}");
    (told["token"].as_str().unwrap().to_owned(), told["kid"].as_str().unwrap().to_owned())
}

fn exported(daemon: &Daemon, args: &[&str]) -> String {
    let output = keyrota(&[&["export", KEYSET, "--format", "pem"], args].concat(), &daemon.runtime);
    assert_eq!(output.status.code(), Some(0), "{args:?}: {}", said(&output));
    String::from_utf8(output.stdout).unwrap()
}

/// What docs/vendors.md says to type, in its order, for this keyset and that key.
fn of_the_docs(daemon: &Daemon, number: usize, kid: &str) -> String {
    let page = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/vendors.md")).unwrap();
    let commands: Vec<_> = page.lines().filter(|line| line.starts_with("keyrota ") && line.contains(" KID")).collect();
    assert_eq!(commands.len(), 3, "{commands:?}");
    let line = commands[number].replace("support/help", KEYSET).replace("KID", kid);
    let output = keyrota(&line.split(' ').skip(1).chain(line.ends_with(kid).then_some("--yes")).collect::<Vec<_>>(), &daemon.runtime);
    assert_eq!(output.status.code(), Some(0), "{line}: {}", said(&output));
    String::from_utf8(output.stdout).unwrap()
}

/// The kid of the key that waits.
fn waiting(daemon: &Daemon) -> Option<String> {
    let document = daemon.document("help")?;
    let keys = document["keys"].as_array()?;
    keys.iter().find(|key| key["state"] == "published").map(|key| key["kid"].as_str().unwrap().to_owned())
}

#[test]
fn the_one_key_of_a_verifier_is_replaced_and_nothing_that_is_presented_is_refused() {
    let home = Home::with(POLICY);
    let mut daemon = Daemon::start(&home, &["help"]);
    let mut dashboard = Dashboard { pem: exported(&daemon, &["--public"]) };
    for _ in 0..2 {
        let (first, old) = minted(&daemon);
        assert!(dashboard.accepts(&first));
        let now = keyrota(&["rotate", KEYSET, "--now", "--reason", "a drill", "--yes"], &daemon.runtime);
        assert!(now.status.code() == Some(4) && said(&now).contains("holds a single key"), "{}", said(&now));
        done(&daemon, &["rotate", KEYSET]);
        until(&mut daemon, "the next key waits for somebody", |d| {
            assert!(dashboard.accepts(&minted(d).0), "before anybody was told, the old key signs on");
            waiting(d).is_some() && said(&keyrota(&["status", KEYSET], &d.runtime)).contains("keyrota approve")
        });
        let next = waiting(&daemon).unwrap();
        assert!(dashboard.accepts(&minted(&daemon).0), "however long it waits");
        let preview = of_the_docs(&daemon, 1, &next);
        assert!(preview.contains(&format!("every token of {old} that is alive at the cut-over dies with it")), "{preview}");

        // The backend mints nothing for this moment.
        dashboard.pem = of_the_docs(&daemon, 0, &next);
        assert!(dashboard.pem.starts_with("-----BEGIN PUBLIC KEY-----") && !dashboard.pem.contains("PRIVATE"));
        of_the_docs(&daemon, 2, &next);
        until(&mut daemon, "the new key signs", |d| d.document("help").is_some_and(|document| document["kid"] == *next));

        for _ in 0..5 {
            let (token, kid) = minted(&daemon);
            assert!(kid == next && dashboard.accepts(&token));
        }
        assert!(!dashboard.accepts(&first), "that is what the preview said");
        assert!(exported(&daemon, &[]).ends_with(&dashboard.pem), "the pair: PKCS#8, then SPKI");
    }
    for (args, says) in [(&["--public", "--kid", "nobody"][..], "no living key"), (&["--kid", "nobody"], "--public")] {
        let output = keyrota(&[&["export", KEYSET, "--format", "pem"], args].concat(), &daemon.runtime);
        assert!(output.status.code() != Some(0) && said(&output).contains(says), "{args:?}: {}", said(&output));
    }
}
