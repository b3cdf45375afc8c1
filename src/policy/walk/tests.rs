//! Tests: a policy is walked with all its faults found at once.

use proptest::prelude::*;

use super::super::fault::Fault;
use super::super::raw::RawPolicy;
use super::super::tree;
use super::*;

const DEVELOPMENT: &str = include_str!("../../../policies/development.yaml");
const DEMO: &str = include_str!("../../../policies/demo.yaml");
const FAULTY: &str = include_str!("../../../tests/golden/faulty.yaml");

/// The tree as it was read, the faults of form, and whether it may be turned into types.
fn walked(text: &str) -> Option<(Yaml, Vec<Fault>, Node)> {
    let mut report = Report::new("t.yaml".as_ref());
    let mut root = tree::read(text, &mut report).filter(|_| report.faults.is_empty())?;
    let whole = root.value();
    check(&mut root, &mut report);
    Some((whole, report.faults, root))
}

fn typed(value: Yaml) -> Result<RawPolicy, serde_yaml::Error> {
    serde_yaml::with::singleton_map_recursive::deserialize(value)
}

/// What the walk refuses and a type alone cannot see: forms of texts, lists of numbers, fields without a value.
fn finer_than_types(fault: &Fault) -> bool {
    [
        "has no value",
        "` is none of ",
        ", must be 1",
        "must have 6",
        "is not a cron expression",
        "never comes",
        "is not a time zone",
        "is not a file mode",
        "setuid",
        "is not a name",
        "is not a date",
    ]
    .iter()
    .any(|what| fault.what.contains(what))
}

/// The walk and the types agree about `text`.
fn agree(text: &str) {
    let Some((whole, faults, root)) = walked(text) else { return };
    let verdict = typed(whole);
    if faults.is_empty() {
        assert!(root.sound);
        assert!(verdict.is_ok(), "the walk passed what the types refuse: {}\n{text}", verdict.unwrap_err());
    } else if verdict.is_ok() {
        assert!(faults.iter().all(finer_than_types), "the types pass what the walk refused: {faults:#?}\n{text}");
    }
}

#[test]
fn the_shipped_policies_are_agreed_upon() {
    for text in [DEVELOPMENT, DEMO] {
        let (_, faults, root) = walked(text).unwrap();
        assert_eq!(faults, []);
        assert!(typed(root.value()).is_ok());
    }
    agree(FAULTY);
}

#[test]
fn every_kind_of_wrong_value_is_agreed_upon() {
    let wrong = [
        "",
        "~",
        "5",
        "-5",
        "5.5",
        "70000",
        "true",
        "text",
        "[]",
        "[a]",
        "{}",
        "{a: b}",
        "{prefix: x}",
        "{user: x, group: y}",
        "[{user: 5}]",
    ];
    let fields = [
        "algorithm",
        "token_ttl",
        "rsa_bits",
        "hmac_bytes",
        "secret_format",
        "kid",
        "mode",
        "source",
        "certificate",
        "publish",
        "signers",
        "rotation_window",
        "unsafe",
        "stale",
        "start",
        "verifier",
        "inception",
        "verifier_profile",
        "signer_profile",
        "nonsense",
    ];
    for (field, value) in fields.iter().flat_map(|field| wrong.iter().map(move |value| (field, value))) {
        let own = if *field == "algorithm" { String::new() } else { "    algorithm: ES256\n".to_owned() };
        agree(&format!("version: 1\nenvironment: t\nkeysets:\n  k:\n{own}    {field}: {value}\n"));
    }
    for top in ["version", "environment", "reconcile", "store", "defaults", "keysets"] {
        for value in wrong {
            agree(&format!("{top}: {value}\n"));
        }
    }
}

#[test]
fn what_lies_below_a_refused_mapping_is_judged_too() {
    let text = "&a\nversion: 1\nenvironment: t\nkeysets: !x\n  k: &b\n    algorithm: ES265\n    signers: [{user}]\n";
    let found: Vec<_> = super::super::parse("t.yaml".as_ref(), text).unwrap_err().iter().map(ToString::to_string).collect();
    assert_eq!(found.len(), 5, "{found:#?}");
    assert!(found.iter().all(|f| !f.contains("cannot be read")), "{found:#?}");
}

fn mutated() -> impl Strategy<Value = String> {
    let source = prop_oneof![Just(DEVELOPMENT), Just(DEMO), Just(FAULTY)];
    let piece = prop_oneof![
        "[a-z0-9:{}\\[\\], \n\"'#&*!|>-]{0,4}",
        Just("15".to_owned()),
        Just("null".to_owned()),
        Just("[]".to_owned()),
        Just("{}".to_owned()),
        Just("\n".to_owned()),
        Just("  ".to_owned()),
        Just("token_ttl: 1h".to_owned()),
    ];
    let edit = (any::<prop::sample::Index>(), 0..12usize, piece);
    (source, proptest::collection::vec(edit, 1..4)).prop_map(|(source, edits)| {
        let mut text: Vec<char> = source.chars().collect();
        for (at, gone, piece) in edits {
            let at = at.index(text.len() + 1);
            let end = (at + gone).min(text.len());
            text.splice(at..end, piece.chars());
        }
        text.into_iter().collect()
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn mutated_policies_are_agreed_upon_and_never_panic(text in mutated()) {
        agree(&text);
        for name in ["development.yaml", "demo.yaml"] {
            match super::super::parse(name.as_ref(), &text) {
                Ok((policy, _)) => assert!(policy.keysets.values().all(|k| k.most_live_keys() <= 16)),
                Err(faults) => {
                    assert!(!faults.is_empty());
                    for fault in faults {
                        assert!(!fault.what.starts_with("cannot be read"), "{fault}\n{text}");
                        assert!(fault.line >= 1 && fault.line <= text.lines().count().max(1) + 1, "{fault}\n{text}");
                    }
                }
            }
        }
    }
}
