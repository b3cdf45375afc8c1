//! The IAM policies in docs/aws.md: JSON that IAM reads, with the actions that keyrota calls and no others.
#![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

use std::collections::BTreeSet;

use serde_json::Value;

fn blocks(language: &str) -> Vec<String> {
    let text = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/aws.md")).unwrap();
    let fence = format!("```{language}\n");
    text.split(&fence).skip(1).map(|rest| rest.split("```").next().unwrap().to_owned()).collect()
}

fn texts(value: &Value) -> Vec<&str> {
    match value {
        Value::String(one) => vec![one],
        Value::Array(many) => many.iter().map(|each| each.as_str().unwrap()).collect(),
        other => panic!("neither a text nor a list of texts: {other}"),
    }
}

#[test]
fn iam_policies_are_what_iam_reads() {
    let policies = blocks("json");
    assert_eq!(policies.len(), 6);
    for policy in &policies {
        let policy: Value = serde_json::from_str(policy).unwrap();
        assert_eq!(policy["Version"], "2012-10-17");
        let mut sids = BTreeSet::new();
        for statement in policy["Statement"].as_array().unwrap() {
            let known = ["Sid", "Effect", "Principal", "Action", "Resource", "Condition"];
            assert!(statement.as_object().unwrap().keys().all(|key| known.contains(&key.as_str())), "{statement}");
            let sid = statement["Sid"].as_str().unwrap();
            assert!(sid.bytes().all(|b| b.is_ascii_alphanumeric()) && sids.insert(sid), "{sid}");
            assert!(["Allow", "Deny"].contains(&statement["Effect"].as_str().unwrap()));
            let action = |a: &str| a.split_once(':').is_some_and(|(service, _)| ["secretsmanager", "kms"].contains(&service));
            assert!(texts(&statement["Action"]).into_iter().all(action), "{statement}");
            assert!(texts(&statement["Resource"]).into_iter().all(|arn| arn == "*" || arn.split(':').count() >= 6), "{statement}");
            for operator in statement["Condition"].as_object().into_iter().flatten() {
                assert!(operator.1.as_object().unwrap().keys().all(|key| key.contains(':')), "{statement}");
            }
        }
    }
}

#[test]
fn the_daemon_is_allowed_what_it_calls_and_no_more() {
    let read = |n: usize| serde_json::from_str::<Value>(&blocks("json")[n]).unwrap();
    let (always, optional) = (read(0), read(1));
    let actions = |policy: &Value| -> BTreeSet<String> {
        policy["Statement"].as_array().unwrap().iter().flat_map(|s| texts(&s["Action"])).map(str::to_owned).collect()
    };
    let (mut allowed, deletes) = (actions(&always), actions(&optional));
    assert_eq!(deletes, BTreeSet::from(["secretsmanager:DeleteSecret".to_owned()]));
    assert!(allowed.is_disjoint(&deletes), "deleting is a statement of its own");
    allowed.extend(deletes);
    let source = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/src/metrics/aws.rs")).unwrap();
    let list = source.split("OPERATIONS: [&str; 8] = [").nth(1).unwrap().split(']').next().unwrap();
    let called = list.split('"').skip(1).step_by(2).map(|operation| format!("secretsmanager:{operation}"));
    let also = ["secretsmanager:TagResource", "kms:GenerateDataKey", "kms:Decrypt"].map(str::to_owned);
    let wanted: BTreeSet<String> = called.chain(also).collect();
    assert_eq!(allowed, wanted);
    let statement = &read(4)["Statement"][0];
    assert_eq!(statement["Action"], "secretsmanager:DeleteSecret");
    assert!(statement["Resource"].as_str().unwrap().ends_with("/*.jwks-??????"), "never a secret with private keys in it");
}

#[test]
fn the_target_in_the_docs_is_read() {
    let (store, publish) = (blocks("yaml").remove(0), blocks("yaml").remove(1));
    let facts = "algorithm: ES256\n    token_ttl: 1h\n    verifier_refresh: 15m\n    signer_refresh: 1h";
    let text = format!("version: 1\nenvironment: production\n{store}keysets:\n  user-sessions:\n    {facts}\n{publish}");
    let (policy, _) = keyrota::policy::parse("production.yaml".as_ref(), &text).unwrap();
    let names: Vec<_> = policy.keysets.values().flat_map(|keyset| &keyset.publish).map(keyrota::policy::Target::name).collect();
    assert_eq!(names, ["aws-secret:keyrota/production/user-sessions.jwks"]);
}

#[test]
fn the_store_in_the_docs_is_read() {
    let store = blocks("yaml").remove(0);
    let text = format!("version: 1\nenvironment: production\n{store}keysets: {{}}\n");
    let parsed = keyrota::policy::parse("production.yaml".as_ref(), &text);
    assert!(parsed.as_ref().is_ok_and(|(policy, _)| policy.store.is_shared()), "{parsed:?}");
}
