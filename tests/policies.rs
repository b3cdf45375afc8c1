//! Policies as their authors meet them: the shipped ones, all faults at once, and every law at its boundary.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use keyrota::key::{Algorithm, KeySpec, SecretEncoding};
use keyrota::policy::{
    Audience, Fault, KeysetPolicy, Mode, Policy, Source, StoreConfig, Target, TargetFormat, Warning, load_folder, parse, schema,
};
use keyrota::time::Span;

type Parsed = Result<(Policy, Vec<Warning>), Vec<Fault>>;

fn shipped(name: &str) -> (Policy, Vec<Warning>) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("policies").join(name);
    parse(&path, &fs::read_to_string(&path).unwrap()).unwrap()
}

fn keyset<'p>(policy: &'p Policy, name: &str) -> &'p KeysetPolicy {
    &policy.keysets[name]
}

/// A policy with one keyset, `k`; `store` and `fields` are lines of YAML in flow style.
fn one(store: &str, fields: &str) -> Parsed {
    parse("t.yaml".as_ref(), &format!("version: 1\nenvironment: t\nstore: {{ {store} }}\nkeysets:\n  k: {{ {fields} }}\n"))
}

fn sentences(parsed: Parsed) -> Vec<String> {
    parsed.map_or_else(|faults| faults.iter().map(ToString::to_string).collect(), |_| Vec::new())
}

#[test]
fn the_demo_rotates_in_seconds() {
    let (demo, warnings) = shipped("demo.yaml");
    assert_eq!(warnings, []);
    assert_eq!(demo.keysets.len(), 5);
    for keyset in demo.keysets.values() {
        assert_eq!(keyset.facts.propagation(), Span::seconds(15));
        assert!(keyset.facts.retention() <= Span::seconds(21));
        assert_eq!(keyset.rotate_every, Span::seconds(40));
        assert!(keyset.most_live_keys() <= 3);
        assert!(keyset.unsafe_reason.is_some());
    }
    let Target::File(target) = &keyset(&demo, "user-sessions").publish[0] else { panic!("a file") };
    assert_eq!((target.format, target.audience, target.mode), (TargetFormat::Jwks, Audience::Verifiers, 0o644));
    assert_eq!(target.beside("/s".as_ref()).path, Path::new("/s/demo/user-sessions.jwks.json"));
}

#[test]
fn the_development_policy_says_what_it_says() {
    let (development, warnings) = shipped("development.yaml");
    assert_eq!(warnings, []);
    let names: Vec<_> = development.keysets.keys().map(keyrota::name::KeysetName::as_str).collect();
    assert_eq!(names, ["algolia-agent-studio", "inkeep-agents", "partner-api", "service-calls", "user-sessions", "webhooks"]);
    let sessions = keyset(&development, "user-sessions");
    assert_eq!(sessions.max_window_wait(), Span::days(7) + Span::hours(1));
    assert_eq!(sessions.max_age, sessions.rotate_every + sessions.facts.propagation() + sessions.max_window_wait());
    assert_eq!(sessions.facts.propagation(), Span::seconds(5 + 60 + 900 + 120 + 60));
    assert_eq!(sessions.facts.retention(), Span::seconds(5 + 300 + 3600 + 120 + 60));
    assert_eq!(
        keyset(&development, "service-calls").facts.verifier_refresh,
        Span::hours(1),
        "a profile of its own beats an inherited figure"
    );
    assert_eq!(keyset(&development, "algolia-agent-studio").source, Source::External);
    let Target::File(pem) = &keyset(&development, "inkeep-agents").publish[0] else { panic!("a file") };
    assert_eq!(pem.mode, 0o600);
    assert_eq!(keyset(&development, "partner-api").mode, Mode::Approve);
    assert_eq!(keyset(&development, "partner-api").facts.token_ttl, Span::ZERO);
    let KeySpec::Hmac { bytes, prefix, encoding, .. } = &keyset(&development, "webhooks").spec else { panic!("an HMAC secret") };
    assert_eq!((*bytes, prefix.as_str(), *encoding), (32, "whsec_", SecretEncoding::Base64url));
}

#[test]
fn staging_and_production_are_on_aws_and_excuse_nothing() {
    let mut names = Vec::new();
    for file in ["staging.yaml", "production.yaml"] {
        let (policy, warnings) = shipped(file);
        assert_eq!(warnings, [], "{file}");
        let StoreConfig::AwsSecretsManager(aws) = &policy.store else { panic!("{file} is on AWS") };
        assert_eq!(aws.prefix, format!("keyrota/{}/", policy.environment));
        for keyset in policy.keysets.values() {
            assert!(keyset.inception.is_some() && keyset.unsafe_reason.is_none(), "{file}");
            assert_eq!(keyset.facts.store_refresh, Span::seconds(425));
        }
        names.push(policy.keysets.keys().cloned().collect::<Vec<_>>());
    }
    assert!(names[0].iter().all(|name| names[1].contains(name)), "staging rehearses production");
}

#[test]
fn the_schema_file_is_the_schema() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("policies/policy.schema.json");
    let kept: serde_json::Value = serde_json::from_str(&fs::read_to_string(path).unwrap()).unwrap();
    assert_eq!(kept, schema(), "run: keyrota schema > policies/policy.schema.json");
}

#[test]
fn all_faults_at_once() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden");
    let text = fs::read_to_string(folder.join("faulty.yaml")).unwrap();
    let found = sentences(parse("faulty.yaml".as_ref(), &text)).join("\n") + "\n";
    let kept = folder.join("faulty.faults.txt");
    if std::env::var_os("KEYROTA_BLESS").is_some() {
        fs::write(&kept, &found).unwrap();
    }
    assert_eq!(found, fs::read_to_string(kept).unwrap(), "if that is better, run again with KEYROTA_BLESS=1");
}

const PAIR: &str = "algorithm: ES256, token_ttl: 1h, verifier_refresh: 15m, signer_refresh: 5m";
// The waits of a pair and of a secret with these facts: propagation 1145s = 19m5s, retention 4085s = 1h8m5s.
const SECRET: &str = "algorithm: HS256, token_ttl: 1h, verifier_refresh: 15m, signer_refresh: 5m";
const NIGHTLY: &str = "rotation_window: {cron: 0 0 3 * * *, duration: 1h}";

/// The store, fields that are just accepted, fields that are just refused, and what the refusal says.
#[rustfmt::skip]
const LAWS: &[(&str, &str, &str, &str)] = &[
    ("kind: embedded", "rotate_every: 19m5s", "rotate_every: 19m4s999ms", "19m4s999ms is less than 19m5s: announcing a key takes 19m5s"),
    ("kind: embedded", "rotate_every: 2d, rotation_window: {cron: 0 0 3 * * *, duration: 24h}", "rotate_every: 1d, rotation_window: {cron: 0 0 3 * * *, duration: 1h}", "1d is less than 1d19m5s: announcing a key takes 19m5s and waiting for its window up to 1d"),
    ("kind: embedded", "rotate_every: 10d, max_age: 10d19m5s", "rotate_every: 10d, max_age: 10d19m4s", "10d19m4s is less than 10d19m5s"),
    ("kind: embedded", "rollback_window: 1h8m5s", "rollback_window: 1h8m6s", "1h8m6s is more than 1h8m5s"),
    ("kind: embedded", "rotate_every: 1d, jitter: 23h40m55s", "rotate_every: 1d, jitter: 23h40m56s", "23h40m56s is more than the 23h40m55s that 1d leaves"),
    // (1145s + token_ttl + 485s) / 1145s, rounded up, and two: 16 keys up to a token_ttl of 14400s.
    ("kind: embedded", "rotate_every: 19m5s, token_ttl: 4h", "rotate_every: 19m5s, token_ttl: 4h1s", "up to 17 keys would be alive at once, more than 16"),
    ("kind: embedded", "verifier_refresh: 10m", "verifier_refresh: 9m59s", "9m59s is less than the 10m that common verifiers cache"),
    ("kind: embedded", "algorithm: HS512, hmac_bytes: 64", "algorithm: HS512, hmac_bytes: 63", "63 bytes are fewer than the 64 of the hash of HS512"),
    ("kind: embedded", "algorithm: HS256, hmac_bytes: 512", "algorithm: HS256, hmac_bytes: 513", "513 bytes are more than 512"),
    ("kind: embedded", "algorithm: PS256, rsa_bits: 4096", "algorithm: PS256, rsa_bits: 1024", "`1024` is none of 2048, 3072, 4096"),
    ("kind: embedded", "algorithm: PS256, rsa_bits: 2048", "algorithm: ES256, rsa_bits: 2048", "belongs to RSA keys, and this keyset is ES256"),
    ("kind: embedded", "certificate: {common_name: a, validity: 99d}", "algorithm: HS256, certificate: {common_name: a, validity: 99d}", "belongs to key pairs, and this keyset is HS256"),
    ("kind: embedded", "algorithm: HS256, secret_format: {encoding: hex}", "algorithm: ES256, secret_format: {encoding: hex}", "belongs to HMAC secrets and API keys"),
    ("kind: embedded", "kid: thumbprint", "algorithm: HS256, kid: thumbprint", "the thumbprint of a secret"),
    ("kind: embedded", "kid: {prefix: a.}", "kid: {prefix: a b}", "`a b` cannot begin a kid"),
    ("kind: embedded", "source: external, start: import", "source: external", "`external` key pairs must be handed in"),
    ("kind: embedded", "verifier: single-key, mode: approve", "verifier: single-key, mode: manual", "must be approved"),
    ("kind: embedded", "rotation_window: {cron: 0 0 3 * * *, duration: 24h}", "rotation_window: {cron: 0 0 3 * * *, duration: 24h1s}", "is 1d1s, longer than the 1d between two openings"),
    ("kind: embedded", "rotation_window: {cron: 0 0 3 * * *, duration: 1ms}", "rotation_window: {cron: 0 0 3 * * *, duration: 0s}", "is 0s, so the window never opens"),
    ("kind: embedded", "publish: [file: {path: /a, format: pem}]", "algorithm: HS256, publish: [file: {path: /a, format: pem}]", "`pem` holds key pairs"),
    ("kind: embedded", "publish: [file: {path: /a, format: jwks}]", "algorithm: HS256, publish: [file: {path: /a, format: jwks}]", "`jwks` holds public keys"),
    ("kind: embedded", "algorithm: HS256, publish: [file: {path: /a, format: env}]", "publish: [file: {path: /a, format: env}]", "`env` holds one-line secrets"),
    ("kind: embedded", "algorithm: HS256, publish: [file: {path: /a, format: document, for: verifiers}]", "publish: [file: {path: /a, format: document, for: verifiers}]", "which verifiers must not have"),
    ("kind: embedded", "publish: [file: {path: /a/b, format: jwks}]", "publish: [file: {path: /a/../b, format: jwks}]", "has an empty part, `.` or `..`"),
    ("kind: embedded", "publish: [file: {path: '{state_dir}/b', format: jwks}]", "publish: [file: {path: '{state_dirs}/b', format: jwks}]", "is not absolute"),
    ("kind: embedded", "publish: [file: {path: /a, format: jwks}, file: {path: /b, format: jwks}]", "publish: [file: {path: /a, format: jwks}, file: {path: /a, format: jwks}]", "are in each other's way"),
    ("kind: embedded", "publish: [file: {path: /a/x, format: pem}, file: {path: /a/y, format: pem}]", "publish: [file: {path: /a/x, format: jwks}, file: {path: /a, format: pem}]", "are in each other's way"),
    ("kind: embedded", "publish: [file: {path: /a, format: document, mode: '0640'}]", "publish: [file: {path: /a, format: document, mode: '0644'}]", "lets everybody on the machine at a secret"),
    ("kind: embedded", "token: {profile: generic}", "token: {profile: at+jwt, audience: b}", "is missing, and `at+jwt` tokens name their issuer"),
    ("kind: embedded", "token: {profile: at+jwt, issuer: a, audience: b}", "token: {profile: at+jwt, issuer: a}", "is missing, and `at+jwt` tokens name their audience"),
    ("kind: embedded", "token: {profile: generic, audience: [a, b]}", "token: {profile: generic, audience: []}", "names nobody"),
    ("kind: embedded", "token: {profile: generic, audience: [a, b]}", "token: {profile: generic, audience: {a: b}}", "is a mapping, must be text or a list of texts"),
    ("kind: embedded", "token: {profile: generic, audience: [a, 'true']}", "token: {profile: generic, audience: [a, true]}", "must be text"),
    ("kind: embedded", "token: {profile: generic, issuer: a}", "token: {profile: generic, issuer: ' '}", "is blank"),
    ("kind: embedded", "algorithm: HS256, token: {profile: algolia}", "token: {profile: algolia}", "`algolia` tokens are signed with HS256, and this keyset is ES256"),
    ("kind: embedded", "algorithm: HS256, token: {profile: hyperspell}", "algorithm: HS512, token: {profile: hyperspell}", "`hyperspell` tokens are signed with HS256, and this keyset is HS512"),
    ("kind: embedded", "algorithm: RS256, verifier: single-key, mode: approve, token: {profile: inkeep, issuer: a, integration_id: b}", "token: {profile: inkeep, issuer: a, integration_id: b}", "`inkeep` tokens are signed with RS256"),
    ("kind: embedded", "algorithm: RS256, verifier: single-key, mode: approve, token: {profile: inkeep, issuer: a, integration_id: b}", "algorithm: RS256, verifier: single-key, mode: approve, token: {profile: inkeep, issuer: a}", "is missing, and inkeep tokens name their integration"),
    ("kind: embedded", "token: {profile: generic}", "token: {profile: generic, integration_id: b}", "belongs to inkeep, and this profile is generic"),
    ("kind: embedded", "algorithm: RS512, token: {profile: inkeep-agents}", "algorithm: PS256, token: {profile: inkeep-agents}", "and this keyset is PS256"),
    ("kind: embedded", "algorithm: EdDSA, token: {profile: inkeep-agents}", "algorithm: HS256, token: {profile: inkeep-agents}", "and this keyset is HS256"),
    ("kind: embedded", "token: {profile: generic, default_ttl: 1h}", "token: {profile: generic, default_ttl: 1h1s}", "1h1s is more than 1h, the `token_ttl` from which the waits are computed"),
    ("kind: embedded", "token_ttl: 3d, token: {profile: inkeep-agents, default_ttl: 1d}", "token_ttl: 3d, token: {profile: inkeep-agents, default_ttl: 1d1s}", "1d1s is more than the 1d that verifiers of `inkeep-agents` accept"),
    ("kind: embedded", "token: {profile: generic, default_ttl: 1s}", "token: {profile: generic, default_ttl: 999ms}", "999ms is less than 1s"),
    ("kind: embedded", "token: {profile: generic, claims: {plan: {a: [1, null]}}}", "token: {profile: generic, claims: {exp: 5}}", "is set by the profile `generic`, not by a template"),
    ("kind: embedded", "token: {profile: generic, claims: {a: 1.5}}", "token: {profile: generic, claims: {a: [.inf]}}", "has a number that JSON cannot write"),
    ("kind: embedded", "token: {profile: at+jwt, issuer: a, audience: b, claims: {scope: a b}}", "token: {profile: at+jwt, issuer: a, audience: b, claims: {scope: a  b}}", "claim `scope` must be scopes with single spaces between them"),
    ("kind: embedded", "algorithm: HS256, token: {profile: algolia}", "algorithm: HS256, token: {profile: algolia, claims: {a: b}}", "`algolia` tokens have exactly sub and exp"),
    ("kind: embedded", "algorithm: HS256, token: {profile: algolia}", "algorithm: HS256, token: {profile: algolia, issuer: a}", "`algolia` tokens have exactly sub and exp"),
    ("kind: embedded", "algorithm: HS256, token: {profile: algolia}", "algorithm: HS256, token: {profile: algolia, audience: a}", "`algolia` tokens have exactly sub and exp"),
    ("kind: embedded", "publish: [exec: {argv: [/bin/x], format: jwks}]", "publish: [exec: {argv: [bin/x], format: jwks}]", "`bin/x` is not an absolute path"),
    ("kind: embedded", "publish: [exec: {argv: [/bin/x], format: jwks}]", "publish: [exec: {argv: [], format: jwks}]", "names no program"),
    ("kind: embedded", "publish: [exec: {argv: [/bin/x, ''], format: jwks}]", "publish: [exec: {argv: [/bin/../x], format: jwks}]", "is not an absolute path"),
    ("kind: embedded", "publish: [exec: {argv: [/bin/x], format: document}]", "publish: [exec: {argv: [/bin/x], format: pem}]", "`pem` is two files"),
    ("kind: embedded", "algorithm: HS256, publish: [exec: {argv: [/bin/x], format: env}]", "publish: [exec: {argv: [/bin/x], format: env}]", "`env` holds one-line secrets"),
    ("kind: embedded", "publish: [exec: {argv: [/bin/x], format: document}]", "publish: [exec: {argv: [/bin/x], format: document, for: verifiers}]", "which verifiers must not have"),
    ("kind: embedded", "publish: [exec: {argv: [/bin/x], format: jwks, timeout: 10m}]", "publish: [exec: {argv: [/bin/x], format: jwks, timeout: 10m1s}]", "10m1s is not from 1s to 10m"),
    ("kind: embedded", "publish: [exec: {argv: [/bin/x], format: jwks, read_back: [/bin/y], read_back_every: 1s}]", "publish: [exec: {argv: [/bin/x], format: jwks, read_back: [/bin/y], read_back_every: 999ms}]", "999ms is not from 1s to 1d"),
    ("kind: embedded", "publish: [exec: {argv: [/bin/x], format: jwks, read_back: [/bin/y]}]", "publish: [exec: {argv: [/bin/x], format: jwks, read_back: [y]}]", "`y` is not an absolute path"),
    ("kind: embedded", "publish: [exec: {argv: [/bin/x], format: jwks}]", "publish: [exec: {argv: [/bin/x], format: jwks, read_back_every: 1m}]", "says how often `read_back` is run, and there is none"),
    ("kind: embedded", "publish: [exec: {argv: [/bin/x, a], format: jwks}, exec: {argv: [/bin/x, b], format: jwks}]", "publish: [exec: {argv: [/bin/x], format: jwks}, exec: {argv: [/bin/x], format: jwks}]", "is the same as keysets.k.publish[0] (line 5)"),
    ("kind: aws-secrets-manager", "signer_refresh: 1h, publish: [aws_secret: {format: jwks}]", "signer_refresh: 1h, publish: [aws_secret: {format: document}]", "holds the public key set and nothing else"),
    ("kind: aws-secrets-manager", "signer_refresh: 1h, publish: [aws_secret: {format: jwks, name: keyrota/t/x.y}]", "signer_refresh: 1h, publish: [aws_secret: {format: jwks, name: other/x.y}]", "does not begin with the store's prefix `keyrota/t/`"),
    ("kind: aws-secrets-manager", "signer_refresh: 1h, publish: [aws_secret: {format: jwks, name: keyrota/t/x.y}]", "signer_refresh: 1h, publish: [aws_secret: {format: jwks, name: keyrota/t/x}]", "is the name that the secret of a keyset `x` would have"),
    ("kind: aws-secrets-manager", "signer_refresh: 1h, publish: [aws_secret: {format: jwks, name: keyrota/t/x.y}]", "signer_refresh: 1h, publish: [aws_secret: {format: jwks, name: 'keyrota/t/x y'}]", "cannot be a secret's name"),
    ("kind: aws-secrets-manager", "signer_refresh: 1h, publish: [aws_secret: {format: jwks}]", "signer_refresh: 1h, publish: [aws_secret: {format: jwks}, aws_secret: {format: jwks}]", "is the target of keysets.k.publish[0].aws_secret.name (line 5) already"),
    ("kind: aws-secrets-manager", "signer_refresh: 1h, publish: [aws_secret: {format: jwks}]", "algorithm: HS256, signer_refresh: 1h, publish: [aws_secret: {format: jwks}]", "`aws_secret` holds public keys"),
    ("kind: embedded", "algorithm: RS512, publish: [inkeep_agents: {url: 'https://a/keys', api_key: {file: /s}}]", "algorithm: PS256, publish: [inkeep_agents: {url: 'https://a/keys', api_key: {file: /s}}]", "Inkeep's agents take no PS256 keys"),
    ("kind: embedded", "algorithm: ES512, publish: [inkeep_agents: {url: 'https://a/keys', api_key: {file: /s}}]", "algorithm: PS256, publish: [inkeep_agents: {url: 'https://a/keys', api_key: {file: /s}}]", "Inkeep's agents take no PS256 keys"),
    ("kind: embedded", "algorithm: EdDSA, publish: [inkeep_agents: {url: 'https://a/keys', api_key: {file: /s}}]", "algorithm: HS256, publish: [inkeep_agents: {url: 'https://a/keys', api_key: {file: /s}}]", "`inkeep_agents` holds public keys, and this keyset has none"),
    ("kind: embedded", "token_ttl: 1d, publish: [inkeep_agents: {url: 'https://a/keys', api_key: {file: /s}}]", "token_ttl: 24h1s, publish: [inkeep_agents: {url: 'https://a/keys', api_key: {file: /s}}]", "refuse tokens that live longer than 1d, and `token_ttl` is 1d1s"),
    ("kind: embedded", "publish: [inkeep_agents: {url: 'http://127.0.0.1:1/keys', api_key: {file: /s}}]", "publish: [inkeep_agents: {url: 'http://a/keys', api_key: {file: /s}}]", "is plain http, and the API key would be read on the way"),
    ("kind: embedded", "publish: [inkeep_agents: {url: 'https://a/keys', api_key: {credential: inkeep}}]", "publish: [inkeep_agents: {url: 'https://a/keys', api_key: {credential: ../s}}]", "is not the name of a credential"),
    ("kind: embedded", "publish: [inkeep_agents: {url: 'https://a/keys', api_key: {file: /s}}]", "publish: [inkeep_agents: {url: 'https://a/keys', api_key: {file: s}}]", "`s` is not absolute"),
    ("kind: embedded", "publish: [inkeep_agents: {url: 'https://a/keys', api_key: {file: /s}}]", "publish: [inkeep_agents: {url: 'https://a/keys?x=y', api_key: {file: /s}}]", "has a query"),
    ("kind: embedded", "publish: [inkeep_agents: {url: 'https://a/keys', api_key: {file: /s}, every: 1s, timeout: 1s}]", "publish: [inkeep_agents: {url: 'https://a/keys', api_key: {file: /s}, every: 999ms}]", "999ms is not from 1s to 1d"),
    ("kind: embedded", "publish: [inkeep_agents: {url: 'https://a/keys', api_key: {file: /s}, timeout: 1m}]", "publish: [inkeep_agents: {url: 'https://a/keys', api_key: {file: /s}, timeout: 61s}]", "1m1s is not from 1s to 1m"),
    ("kind: embedded", "publish: [inkeep_agents: {url: 'https://a/keys', api_key: {file: /s}, ca_file: /a.pem}]", "publish: [inkeep_agents: {url: 'https://a/keys', api_key: {file: /s}, ca_file: a.pem}]", "`a.pem` is not absolute"),
    ("kind: embedded", "publish: [inkeep_agents: {url: 'https://a/k', api_key: {file: /s}}, inkeep_agents: {url: 'https://a/l', api_key: {file: /s}}]", "publish: [inkeep_agents: {url: 'https://a/k', api_key: {file: /s}}, inkeep_agents: {url: 'https://a/k', api_key: {file: /s}}]", "is the target of keysets.k.publish[0].inkeep_agents.url (line 5) already"),
    ("kind: embedded", "algorithm: HS256, source: {algolia: {application_id: APP1, admin_key: {file: /s}, agents: [a]}}", "algorithm: HS512, source: {algolia: {application_id: APP1, admin_key: {file: /s}, agents: [a]}}", "Algolia makes secrets for HS256, and this keyset is HS512"),
    ("kind: embedded", "algorithm: HS256, source: {algolia: {application_id: APP1, admin_key: {file: /s}, agents: [a]}}", "source: {algolia: {application_id: APP1, admin_key: {file: /s}, agents: [a]}}", "Algolia makes secrets for HS256, and this keyset is ES256"),
    ("kind: embedded", "algorithm: HS256, source: {algolia: {application_id: APP1, admin_key: {file: /s}, agents: [a]}}", "algorithm: HS256, source: {algolia: {application_id: APP1, admin_key: {file: /s}, agents: [a]}}, hmac_bytes: 64", "is the vendor's to choose"),
    ("kind: embedded", "algorithm: HS256, source: {algolia: {application_id: APP1, admin_key: {file: /s}, agents: [a]}}", "algorithm: HS256, source: {algolia: {application_id: APP1, admin_key: {file: /s}, agents: [a]}}, secret_format: {prefix: sk-}", "is the vendor's to choose"),
    ("kind: embedded", "algorithm: HS256, source: {algolia: {application_id: APP1, admin_key: {file: /s}, agents: [a]}}", "algorithm: HS256, source: {algolia: {application_id: APP1, admin_key: {file: /s}, agents: [a]}}, kid: {prefix: a.}", "is the vendor's to choose"),
    ("kind: embedded", "algorithm: HS256, source: {algolia: {application_id: APP1, admin_key: {file: /s}, agents: [a]}}", "algorithm: HS256, source: {algolia: {application_id: 'A.B', admin_key: {file: /s}, agents: [a]}}", "`A.B` is not the id of an application"),
    ("kind: embedded", "algorithm: HS256, source: {algolia: {application_id: APP1, admin_key: {file: /s}, agents: [a]}}", "algorithm: HS256, source: {algolia: {application_id: APP1, admin_key: {file: /s}, agents: []}}", "names 0 agents, and a key is for 1 to 64"),
    ("kind: embedded", "algorithm: HS256, source: {algolia: {application_id: APP1, admin_key: {file: /s}, agents: [a]}}", "algorithm: HS256, source: {algolia: {application_id: APP1, admin_key: {file: /s}, agents: [a b]}}", "`a b` is not the id of an agent"),
    ("kind: embedded", "algorithm: HS256, source: {algolia: {application_id: APP1, admin_key: {file: /s}, agents: [a]}}", "algorithm: HS256, source: {algolia: {application_id: APP1, admin_key: {file: /s}, agents: [a, b, a]}}", "names the agent `a` twice"),
    ("kind: embedded", "algorithm: HS256, source: {algolia: {application_id: APP1, admin_key: {file: /s}, agents: [a], url: 'http://127.0.0.1:1/'}}", "algorithm: HS256, source: {algolia: {application_id: APP1, admin_key: {file: /s}, agents: [a], url: 'http://a'}}", "is plain http, and the API key would be read on the way"),
    ("kind: embedded", "algorithm: HS256, source: {algolia: {application_id: APP1, admin_key: {file: /s}, agents: [a], url: 'https://a'}}", "algorithm: HS256, source: {algolia: {application_id: APP1, admin_key: {file: /s}, agents: [a], url: 'https://a/agent-studio'}}", "has a path, and keyrota knows those of Algolia's API"),
    ("kind: embedded", "algorithm: HS256, source: {algolia: {application_id: APP1, admin_key: {file: /s}, agents: [a], every: 1s, timeout: 1m}}", "algorithm: HS256, source: {algolia: {application_id: APP1, admin_key: {file: /s}, agents: [a], every: 25h}}", "1d1h is not from 1s to 1d"),
    ("kind: embedded", "unsafe: {reason: x}, verifier_refresh: 1m", "unsafe: {reason: ''}, verifier_refresh: 1m", "is blank"),
    ("kind: embedded", "signers: [user: a]", "signers: [user: 'a b']", "is not a user or group"),
    ("kind: embedded", "probe: [{jwks_url: 'https://a/k'}]", "probe: [{jwks_url: 'http://a/k'}]", "is plain http"),
    ("kind: embedded", "probe: [{jwks_url: 'http://a/k', allow_http: true}]", "probe: [{jwks_url: 'ftp://a/k', allow_http: true}]", "neither https nor http"),
    ("kind: embedded", "probe: [{jwks_url: 'http://[::1]:8480/k'}]", "probe: [{jwks_url: 'https://u:p@a/k'}]", "has a user name or password"),
    ("kind: embedded", "probe: [{jwks_url: 'https://a/k'}, {jwks_url: 'https://a/l'}]", "probe: [{jwks_url: 'https://a/k'}, {jwks_url: 'https://a/k'}]", "is looked at already"),
    ("kind: embedded", "probe: [{jwks_url: 'https://a/k', every: 1s}]", "probe: [{jwks_url: 'https://a/k', every: 999ms, timeout: 1s}, {jwks_url: 'https://b/k', every: 1d}]", "999ms is not from 1s to 1d"),
    ("kind: embedded", "probe: [{jwks_url: 'https://a/k', every: 10s, timeout: 10s}]", "probe: [{jwks_url: 'https://a/k', every: 10s, timeout: 11s}]", "is longer than `every`, 10s"),
    ("kind: embedded", "probe: [{jwks_url: 'https://a/k', ca_file: /a.pem}]", "probe: [{jwks_url: 'https://a/k', ca_file: a.pem}]", "`a.pem` is not absolute"),
    ("kind: embedded", "probe: []", "algorithm: HS256, probe: [{jwks_url: 'https://a/k'}]", "this keyset has none"),
    ("kind: embedded", "rotate_every: 19m40s, probe: [{jwks_url: 'https://a/k'}]", "rotate_every: 19m39s, probe: [{jwks_url: 'https://a/k'}]", "announcing a key takes 19m5s and being seen by its probes up to 35s"),
    ("kind: embedded", "publish: [webhook: {url: 'https://a/h', secret: {file: /s}}]", "publish: [webhook: {url: 'http://a/h', secret: {file: /s}}]", "is plain http"),
    ("kind: embedded", "publish: [webhook: {url: 'https://a/h', secret: {credential: hook}, events: [key-moved], timeout: 1m}]", "publish: [webhook: {url: 'https://a/h', secret: {credential: ../s}}]", "is not the name of a credential"),
    ("kind: embedded", "publish: [file: {path: /a, format: jwks}, webhook: {url: 'https://a/h', secret: {file: /s}}]", "publish: [webhook: {url: 'https://a/h', secret: {file: s}}]", "`s` is not absolute"),
    ("kind: embedded", "publish: [webhook: {url: 'https://a/h', secret: {file: /s}}, webhook: {url: 'https://a/i', secret: {file: /s}}]", "publish: [webhook: {url: 'https://a/h', secret: {file: /s}}, webhook: {url: 'https://a/h', secret: {file: /s}}]", "is told already"),
    ("kind: aws-secrets-manager", "signer_refresh: 1h", "signer_refresh: 59m59s", "59m59s is less than the 1h that AWS's caching clients"),
    ("kind: aws-secrets-manager", "signer_refresh: 1h, rotate_every: 90m", "signer_refresh: 1h, rotate_every: 89m59s", "1h29m59s is less than 1h30m: a rotation makes 6 versions"),
];

#[test]
fn every_law_at_its_boundary() {
    for (store, accepted, refused, says) in LAWS {
        let with = |fields: &str| {
            // The fields of a case replace those of the pair that they are added to.
            let base = PAIR.split(", ").filter(|f| !fields.contains(f.split_once(':').unwrap().0));
            one(store, &base.chain([fields]).collect::<Vec<_>>().join(", "))
        };
        let faults = sentences(with(accepted));
        assert!(faults.is_empty(), "{accepted}: {faults:#?}");
        let faults = sentences(with(refused));
        assert_eq!(faults.len(), 1, "{refused}: {faults:#?}");
        assert!(faults[0].contains(says) && faults[0].contains("; hint: "), "{refused}: {}", faults[0]);
    }
}

#[test]
fn unsafe_excuses_facts_and_no_law() {
    let excuse = "unsafe: {reason: a test}";
    let short = "algorithm: ES256, token_ttl: 1h, verifier_refresh: 1m, signer_refresh: 5m";
    let (policy, warnings) = one("kind: embedded", &format!("{short}, {excuse}")).unwrap();
    assert_eq!(warnings, []);
    assert_eq!(policy.keysets.values().next().unwrap().unsafe_reason.as_deref(), Some("a test"));
    assert_eq!(sentences(one("kind: embedded", &format!("{short}, {excuse}, rotate_every: 1m"))).len(), 1);
    assert!(sentences(one("kind: aws-secrets-manager", &format!("{SECRET}, {excuse}"))).is_empty(), "an excused signer_refresh on AWS");
    let (_, warnings) = one("kind: embedded", &format!("{PAIR}, {excuse}")).unwrap();
    assert!(warnings[0].to_string().contains("keysets.k.unsafe: excuses nothing"), "{warnings:?}");
    let shared = |keyset: &str| {
        let text = format!("version: 1\nenvironment: t\ndefaults: {{ {excuse} }}\nkeysets:\n  a: {{ {PAIR} }}\n  b: {{ {keyset} }}\n");
        parse("t.yaml".as_ref(), &text).unwrap().1
    };
    assert_eq!(shared(short), [], "it excuses one of the two");
    assert!(shared(PAIR)[0].to_string().starts_with("t.yaml:3: defaults.unsafe: excuses nothing"));
}

#[test]
fn signers_reports_can_be_required_on_one_host_alone() {
    let bound = |fields: &str| {
        let (policy, warnings) = one("kind: embedded", fields).unwrap_or_else(|faults| panic!("{faults:?}"));
        assert!(warnings.is_empty(), "{warnings:?}");
        policy.keysets.values().next().unwrap().uptake_bound
    };
    let facts = "algorithm: ES256, token_ttl: 1h, verifier_refresh: 15m, signer_refresh: 1h";
    assert_eq!(bound(facts), None);
    assert_eq!(bound(&format!("{facts}, uptake: reported")), None);
    let retention = bound(&format!("{facts}, uptake: required")).unwrap();
    assert!(retention > Span::hours(2), "as long again as its retention: {retention}");
    assert_eq!(bound(&format!("{facts}, uptake: required, uptake_bound: 6h")), Some(Span::hours(6)));
    let refused = |store: &str, fields: &str| sentences(one(store, &format!("{facts}, {fields}"))).join("\n");
    assert!(refused("kind: embedded", "uptake_bound: 6h").contains("bounds nothing without `uptake: required`"));
    assert!(refused("kind: embedded", "uptake: required, uptake_bound: 0s").contains("is 0s"));
    assert!(refused("kind: embedded", "uptake: always").contains("uptake"));
    let crowded = refused("kind: embedded", "rotate_every: 5h, uptake: required, uptake_bound: 70h");
    assert!(crowded.contains("keys would be alive at once, more than 16"), "{crowded}");
    let shared = "kind: aws-secrets-manager";
    let refusal = refused(shared, "uptake: required");
    assert!(refusal.contains("known only to the replica that got it"), "{refusal}");
    assert!(one(shared, &format!("{facts}, uptake: required, unsafe: {{reason: one replica}}")).is_ok());
}

#[test]
fn the_three_facts_have_no_default() {
    let faults = sentences(one("kind: embedded", "algorithm: ES256"));
    for field in ["token_ttl", "verifier_refresh", "signer_refresh"] {
        assert!(faults.iter().any(|f| f.contains(&format!("t.yaml:5: keysets.k.{field}: is missing; hint: ")) && f.contains("no default")));
    }
    assert_eq!(faults.len(), 3);
    let api_key = sentences(one("kind: embedded", "algorithm: api-key, signer_refresh: 5m"));
    assert!(api_key.len() == 1 && api_key[0].contains("verifier_refresh"), "{api_key:?}");
    let told = sentences(one("kind: embedded", "algorithm: api-key, signer_refresh: 5m, verifier_refresh: 15m, token_ttl: 1h"));
    assert!(told.len() == 1 && told[0].contains("presented, not minted"), "{told:?}");
    assert!(one("kind: embedded", "algorithm: ES256, token_ttl: 1h, verifier_profile: pyjwt, signer_profile: socket").is_ok());
}

#[test]
fn a_fault_under_defaults_is_told_once_and_where_it_stands() {
    let text = "version: 1\nenvironment: t\ndefaults:\n  token_ttl: 15\n  verifier_refresh: 15m\n  signer_refresh: 5m\nkeysets:\n  a: {algorithm: ES256}\n  b: {algorithm: ES256}\n";
    let faults = sentences(parse("t.yaml".as_ref(), text));
    assert!(faults.len() == 1 && faults[0].starts_with("t.yaml:4: defaults.token_ttl: `15` has no unit; hint: "), "{faults:#?}");
    let text = text.replace("15\n", "15m\n  rollback_window: 99d\n");
    let faults = sentences(parse("t.yaml".as_ref(), &text));
    assert!(faults.iter().all(|f| f.starts_with("t.yaml:5: defaults.rollback_window: 99d is more than ")), "{faults:#?}");
}

#[test]
fn warnings_tell_what_is_lawful_and_odd() {
    let warns = |store: &str, fields: &str| {
        let (_, warnings) = one(store, &format!("{PAIR}, {fields}")).unwrap();
        warnings.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
    };
    assert_eq!(warns("kind: embedded", "rotate_every: 29m4s"), "", "5230s over 1744s: three keys and two");
    assert!(warns("kind: embedded", "rotate_every: 29m3s").contains("up to 6 keys would be alive at once, more than the 5"));
    assert!(
        warns("kind: embedded", "certificate: {common_name: a, validity: 30d}").contains("certificates end after 30d, before their keys")
    );
    let text = format!("version: 1\nenvironment: t\nstore: {{kind: aws-secrets-manager}}\nkeysets:\n  inkeep-agents: {{ {SECRET} }}\n");
    let (policy, warnings) = parse("t.yaml".as_ref(), &text.replace("signer_refresh: 5m", "signer_refresh: 1h")).unwrap();
    assert!(warnings[0].to_string().contains("`keyrota/t/inkeep-agents` ends in `-` and six characters"), "{warnings:?}");
    assert!(policy.store.is_shared() && policy.store.store_refresh() == Span::minutes(7) + Span::seconds(5));
}

#[test]
fn targets_of_every_kind_are_read() {
    let exec = "exec: {argv: [/usr/local/bin/push, --to, edge], format: jwks, timeout: 5s, read_back: [/usr/local/bin/show]}";
    let inkeep = "inkeep_agents: {url: 'https://a/keys', api_key: {credential: inkeep}, ca_file: /ca.pem}";
    let fields =
        format!("{}, publish: [aws_secret: {{format: jwks}}, {exec}, {inkeep}]", PAIR.replace("signer_refresh: 5m", "signer_refresh: 1h"));
    let (policy, _) = one("kind: aws-secrets-manager, prefix: a/", &fields).unwrap();
    let publish = &keyset(&policy, "k").publish;
    let names: Vec<_> = publish.iter().map(Target::name).collect();
    assert_eq!(names, ["aws-secret:a/k.jwks", "exec:/usr/local/bin/push --to edge", "inkeep-agents:https://a/keys"]);
    assert!(publish.iter().all(|target| target.audience() == Audience::Verifiers));
    let Target::Exec(exec) = &publish[1] else { panic!() };
    assert_eq!(
        (exec.timeout, exec.read_back_every, exec.read_back.as_deref()),
        (Span::seconds(5), Span::minutes(1), Some(&["/usr/local/bin/show".to_owned()][..]))
    );
    // A vendor that is given what keyrota makes may be named as a source too: it is the same target.
    let as_source = format!("{}, source: {{ {inkeep} }}", PAIR.replace("signer_refresh: 5m", "signer_refresh: 1h"));
    let (policy, _) = one("kind: aws-secrets-manager", &as_source).unwrap();
    assert_eq!((&keyset(&policy, "k").source, &keyset(&policy, "k").publish[..]), (&Source::Generated, &publish[2..]));
    let twice = as_source.replace("source:", "publish: [inkeep_agents: {url: 'https://a/keys', api_key: {file: /s}}], source:");
    let faults = sentences(one("kind: aws-secrets-manager", &twice));
    assert!(faults.len() == 1 && faults[0].contains("is the target of keysets.k.publish[0].inkeep_agents.url"), "{faults:?}");
    // A vendor that makes the keys is a place too: what it has no use for any more is deleted there.
    let made_there =
        SECRET.replace("HS256", "HS256, source: {algolia: {application_id: APP1, admin_key: {credential: k}, agents: [b, a]}}");
    let (made_there, _) = one("kind: embedded", &made_there).unwrap();
    let made_there = keyset(&made_there, "k");
    let [Target::Algolia(application)] = &made_there.publish[..] else { panic!("{:?}", made_there.publish) };
    assert_eq!((&made_there.source, &made_there.spec), (&Source::Algolia, &KeySpec::Vendor { algorithm: Algorithm::HS256 }));
    assert_eq!((application.to_string().as_str(), application.url.as_str()), ("algolia:APP1", "https://APP1.algolia.net"));
    // What the witness remembers of them is read as what it was.
    for target in publish.iter().chain(&made_there.publish) {
        let line = serde_json::to_string(target).unwrap();
        assert_eq!(serde_json::from_str::<Target>(&line).unwrap(), *target, "{line}");
    }
    let faults = sentences(one("kind: embedded", &fields));
    assert!(faults.len() == 1 && faults[0].contains("needs this environment's documents to be in AWS Secrets Manager"), "{faults:?}");
}

#[test]
fn tokens_that_the_shipped_policies_show_in_comments_are_sound() {
    for (name, shown) in [("development", 3), ("production", 2)] {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("policies/{name}.yaml"));
        let text = fs::read_to_string(&path).unwrap();
        assert_eq!(text.matches("    # token: ").count(), shown);
        let (policy, warnings) = parse(&path, &text.replace("    # token: ", "    token: ")).unwrap_or_else(|faults| panic!("{faults:#?}"));
        assert_eq!(warnings, [], "{name}");
        assert_eq!(policy.keysets.values().filter(|keyset| keyset.token.is_some()).count(), shown);
    }
}

#[test]
fn the_aws_store_is_read_and_judged() {
    let keyset = SECRET.replace("signer_refresh: 5m", "signer_refresh: 1h");
    let all = "kind: aws-secrets-manager, prefix: a/b+, region: eu-west-3, endpoint_url: 'http://127.0.0.1:1', kms_key_id: alias/k, tags: {team: x}, replica_regions: [eu-west-1], profile: p";
    let (policy, _) = one(all, &keyset).unwrap();
    let StoreConfig::AwsSecretsManager(aws) = &policy.store else { panic!("AWS") };
    assert_eq!((aws.prefix.as_str(), aws.region.as_deref(), aws.tags["team"].as_str()), ("a/b+", Some("eu-west-3"), "x"));
    for (store, says) in [
        ("prefix: 'a b'", "cannot begin a secret's name"),
        ("region: 'eu west'", "is not a region"),
        ("replica_regions: ['']", "is not a region"),
        ("endpoint_url: 'ftp://x'", "is not an address"),
        ("profile: ' '", "is blank"),
        ("tags: {'aws:x': y}", "AWS refuses the tag"),
        ("tags: {keyset: y}", "`keyset` is set by keyrota itself"),
        ("sweep_every: 999ms", "999ms is not from 1s to 15m"),
        ("sweep_every: 15m1s", "15m1s is not from 1s to 15m"),
    ] {
        let faults = sentences(one(&format!("kind: aws-secrets-manager, {store}"), &keyset));
        assert!(faults.len() == 1 && faults[0].starts_with("t.yaml:3: store.") && faults[0].contains(says), "{store}: {faults:?}");
    }
    let bounds = |store: &str| {
        let store = one(&format!("kind: aws-secrets-manager, {store}"), &keyset).unwrap().0.store;
        (store.fresh_for(), store.store_refresh())
    };
    assert_eq!(bounds("sweep: read, sweep_every: 1s"), (Span::seconds(7), Span::seconds(17)));
    assert_eq!(bounds("sweep_every: 5m"), (Span::seconds(605), Span::seconds(905)));
    let long = format!("kind: aws-secrets-manager, prefix: {}", "p".repeat(512));
    assert!(sentences(one(&long, &keyset))[0].contains("would have 513 characters, AWS takes 512"));
    assert!(one(&long[..long.len() - 1], &keyset).is_ok());
    let big = keyset.replace("algorithm: HS256", "algorithm: RS512, rsa_bits: 4096, rotate_every: 96m");
    let faults = sentences(one("kind: aws-secrets-manager", &big.replace("token_ttl: 1h", "token_ttl: 15h")));
    assert!(faults.iter().any(|f| f.contains("keys has about") && f.contains("4096 are kept free for a revocation")), "{faults:#?}");
}

#[test]
fn two_keysets_cannot_share_a_path() {
    let text = |second: &str| {
        let target = |path: &str| format!("{PAIR}, publish: [file: {{path: {path}, format: jwks}}]");
        format!("version: 1\nenvironment: t\nkeysets:\n  a: {{ {} }}\n  b: {{ {} }}\n", target("/a"), target(second))
    };
    assert!(parse("t.yaml".as_ref(), &text("/b")).is_ok());
    let faults = sentences(parse("t.yaml".as_ref(), &text("/a")));
    assert_eq!(faults.len(), 1);
    assert!(faults[0].contains("keysets.b.publish[0].file.path: `/a` and `/a` of keysets.a.publish[0].file.path (line 4)"), "{faults:?}");
}

#[test]
fn a_digest_names_the_meaning() {
    let digest = |text: &str| parse("t.yaml".as_ref(), text).unwrap().0.digest;
    let plain = format!("version: 1\nenvironment: t\nkeysets:\n  k: {{ {PAIR} }}\n");
    let spelled = format!(
        "# a comment\nenvironment: t\nversion: 1\nstore: {{kind: embedded}}\nreconcile: '*/5 * * * * *'\nkeysets:\n  k: {{ {PAIR}, rotate_every: 720h, mode: auto }}\n"
    );
    assert_eq!(digest(&plain), digest(&spelled));
    assert_ne!(digest(&plain), digest(&plain.replace("token_ttl: 1h", "token_ttl: 2h")));
    assert_ne!(digest(&plain), digest(&plain.replace("k: {", "l: {")));
}

#[test]
fn every_algorithm_has_a_policy() {
    for algorithm in Algorithm::ALL {
        let fields = PAIR.replace("ES256", algorithm.as_str());
        let fields = if algorithm == Algorithm::ApiKey { fields.replace("token_ttl: 1h, ", "") } else { fields };
        let (policy, warnings) = one("kind: embedded", &fields).unwrap();
        assert_eq!((policy.keysets.values().next().unwrap().spec.algorithm(), warnings), (algorithm, Vec::new()));
    }
}

#[test]
fn a_name_is_the_files() {
    let text = format!("version: 1\nenvironment: t\nkeysets:\n  k: {{ {PAIR}, {NIGHTLY} }}\n");
    assert!(parse("/etc/keyrota/policies/t.yaml".as_ref(), &text).is_ok());
    assert!(sentences(parse("u.yaml".as_ref(), &text))[0].contains("is `t`, the file is called `u`"));
    assert!(
        sentences(parse("v1.yaml".as_ref(), &text.replace("environment: t", "environment: v1")))[0].contains("a path of keyrota's own")
    );
}

#[test]
fn a_folder_is_read_whole() {
    let folder = tempfile::tempdir().unwrap();
    let dir = folder.path();
    let chmod = |path: &Path, mode| fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    chmod(dir, 0o755);
    let write = |name: &str, text: &str| {
        fs::write(dir.join(name), text).unwrap();
        chmod(&dir.join(name), 0o644);
    };
    let says = |only: &[&str]| {
        let only: Vec<_> = only.iter().map(|name| name.parse().unwrap()).collect();
        load_folder(dir, &only).all_faults().map(ToString::to_string).collect::<Vec<_>>().join("\n")
    };
    write("policy.schema.json", "{}");
    assert!(says(&[]).contains("holds no policy (*.yaml); hint: "));
    let text = |name: &str| format!("version: 1\nenvironment: {name}\nkeysets:\n  k: {{ {PAIR} }}\n");
    write("a.yaml", &text("a"));
    write("b.yaml", "nonsense");
    write(".b.yaml.swp", "");
    assert!(says(&[]).contains("b.yaml:1: is text, must be a mapping"), "{}", says(&[]));
    assert_eq!(says(&["a"]), "", "the other one was not asked for");
    assert!(says(&["a", "c"]).contains("holds no c.yaml"));
    write("b.yaml", &text("b"));
    let both = load_folder(dir, &[]);
    assert!(both.is_sound() && both.environments.len() == 2 && both.warnings.is_empty());
    write("c.yml", &text("c"));
    assert!(says(&[]).contains("c.yml:1: ends in .yml and is not read; hint: call it c.yaml"));
    fs::remove_file(dir.join("c.yml")).unwrap();
    write("Big Name.yaml", &text("c"));
    assert!(says(&[]).contains("the file's name is no environment"));
    fs::remove_file(dir.join("Big Name.yaml")).unwrap();
    chmod(&dir.join("a.yaml"), 0o666);
    assert!(says(&[]).contains("a.yaml:1: the file may be written by everybody (mode 0666)"));
    chmod(&dir.join("a.yaml"), 0o664);
    let loaded = load_folder(dir, &[]);
    let (_, warnings) = loaded.environments["a"].as_ref().unwrap();
    assert!(warnings[0].to_string().contains("may be written by its group (mode 0664)"));
    chmod(dir, 0o777);
    let refused = load_folder(dir, &[]);
    assert!(refused.environments.is_empty() && refused.faults[0].what.contains("the folder may be written by everybody"));
    chmod(dir, 0o775);
    assert!(load_folder(dir, &[]).warnings[0].what.contains("the folder may be written by its group"));
    chmod(dir, 0o755);
    fs::write(dir.join("a.yaml"), b"version: 1\n\xff").unwrap();
    assert!(says(&[]).contains("a.yaml:2: is not UTF-8 text"));
    assert!(load_folder(&dir.join("nowhere"), &[]).faults[0].what.contains("cannot be read"));
    assert!(load_folder(&dir.join("b.yaml"), &[]).faults[0].what.contains("is not a folder"));
}

/// Who may ask for tokens over the network is settled before anybody asks.
/// What seals refresh tokens is a keyset for that alone, whose keys are kept for as long as the tokens live.
#[test]
fn refresh_tokens_are_sealed_by_a_keyset_of_their_own() {
    let parsed = |refresh: &str, sealing: &str| {
        let keyset =
            format!("algorithm: ES256, token: {{ profile: generic, serve: true, callers: [{{ keyset: p, subjects: ['*'] }}], {refresh} }}");
        let text = format!(
            "version: 1\nenvironment: t\ndefaults: {{ token_ttl: 1h, verifier_refresh: 15m, signer_refresh: 5m }}\nkeysets:\n  p: {{ algorithm: api-key }}\n  k: {{ {keyset} }}\n  s: {{ {sealing} }}\n"
        );
        parse(Path::new("t.yaml"), &text)
    };
    let (refresh, sealing) = ("refresh: { ttl: 20d, sealed_by: s }", "algorithm: HS256, token_ttl: 20d");
    let (policy, _) = parsed(refresh, sealing).unwrap();
    assert!(keyset(&policy, "s").seals && !keyset(&policy, "k").seals);
    let stated = keyset(&policy, "k").token.as_ref().unwrap().refresh.as_ref().unwrap();
    assert_eq!((stated.ttl, stated.sealed_by.as_str()), (Span::days(20), "s"));
    assert_ne!(keyset(&policy, "s").digest, keyset(&parsed("rate: 1/1s", sealing).unwrap().0, "s").digest);
    for (refresh, sealing, fault) in [
        (refresh, "algorithm: ES256, token_ttl: 20d", "t.yaml:6: keysets.k.token.refresh.sealed_by: `s` is ES256"),
        (refresh, "algorithm: api-key", "sealed_by: `s` is api-key"),
        (
            refresh,
            "algorithm: HS256, token_ttl: 479h",
            "t.yaml:6: keysets.k.token.refresh.ttl: 20d is more than 19d23h, the `token_ttl` of `s`",
        ),
        (refresh, "algorithm: HS256, token_ttl: 20d, signers: [{ user: app }]", "`s` has signers"),
        (refresh, "algorithm: HS256, token_ttl: 20d, publish: [{ file: { path: /srv/s.json, format: document } }]", "`s` is published"),
        (refresh, "algorithm: HS256, token_ttl: 20d, token: { profile: generic }", "`s` mints tokens"),
        (refresh, "algorithm: HS256, token_ttl: 20d, source: external", "`s` gets its keys from elsewhere"),
        ("refresh: { ttl: 20d, sealed_by: ss }", sealing, "there is no keyset `ss` in this environment; hint: did you mean s?"),
        ("refresh: { ttl: 0s, sealed_by: s }", sealing, "refresh.ttl: 0s is less than 1s"),
        ("refresh: { ttl: 20d }", sealing, "refresh.sealed_by: is missing"),
    ] {
        let faults = parsed(refresh, sealing).unwrap_err();
        assert!(faults.len() == 1 && faults[0].to_string().contains(fault), "{refresh} {sealing}: {faults:?}");
    }
    for (token, fault) in [
        ("{ profile: generic, refresh: { ttl: 1h, sealed_by: s } }", "says how tokens are served, and they are not"),
        (
            "{ profile: amigo, serve: true, callers: [{ keyset: p, subjects: ['*'] }], refresh: { ttl: 1h, sealed_by: s } }",
            "clients of `amigo` know no refresh tokens",
        ),
    ] {
        let text = format!(
            "version: 1\nenvironment: t\ndefaults: {{ token_ttl: 1h, verifier_refresh: 15m, signer_refresh: 5m }}\nkeysets: {{ p: {{ algorithm: api-key }}, s: {{ algorithm: HS256 }}, k: {{ algorithm: ES256, token: {token} }} }}\n"
        );
        let faults = parse(Path::new("t.yaml"), &text).unwrap_err();
        assert!(faults.len() == 1 && faults[0].to_string().contains(fault), "{token}: {faults:?}");
    }
}

#[test]
fn callers_present_api_keys_of_the_same_environment() {
    let served = |token: &str| {
        let keysets = format!(
            "  k: {{ {PAIR}, token: {{ profile: generic, {token} }} }}\n  partner-api: {{ algorithm: api-key, verifier_refresh: 15m, signer_refresh: 5m }}\n"
        );
        parse("t.yaml".as_ref(), &format!("version: 1\nenvironment: t\nkeysets:\n{keysets}"))
    };
    let good = "serve: true, rate: 20/1s, callers: [{ keyset: partner-api, subjects: [\"user-*\", root], profiles: [generic] }]";
    let (policy, _) = served(good).unwrap();
    let serving = keyset(&policy, "k").token.as_ref().unwrap().serving.as_ref().unwrap();
    assert_eq!((serving.rate.to_string(), serving.callers[0].keyset.as_str()), ("20/1s".to_owned(), "partner-api"));
    assert!(serving.callers[0].subjects.iter().any(|subjects| subjects.names("user-7")));
    let one = |caller: &str| format!("serve: true, callers: [{{ {caller} }}]");
    for (token, says) in [
        ("serve: true".to_owned(), "t.yaml:4: keysets.k.token.callers: names nobody"),
        ("callers: [{ keyset: partner-api, subjects: [\"*\"] }]".to_owned(), "callers: says how tokens are served, and they are not"),
        ("rate: 5/1s".to_owned(), "rate: says how tokens are served, and they are not"),
        (good.replace("20/1s", "20"), "rate: `20` is not a rate"),
        (
            one("keyset: partner-apj, subjects: [a]"),
            "there is no keyset `partner-apj` in this environment; hint: did you mean partner-api?",
        ),
        (one("keyset: k, subjects: [a]"), "callers[0].keyset: `k` is ES256, and callers present API keys"),
        (one("keyset: partner-api, subjects: []"), "subjects: names nobody"),
        (one("keyset: partner-api, subjects: [\"a*b*\"]"), "`a*b*` has more than one `*`"),
        (one("keyset: partner-api"), "subjects: is missing"),
        (one("keyset: partner-api, subjects: [a], profiles: [algolia]"), "does not name `generic`, which is all that this keyset mints"),
    ] {
        let found = sentences(served(&token));
        assert!(
            found.iter().any(|fault| fault.contains(says)) && found.iter().all(|fault| fault.contains("; hint: ")),
            "{token}: {found:?}"
        );
    }
}
