//! The alerts, their runbook and their cases belong together: each alert says how bad it is and where help stands, each has a section
//! with commands that this very keyrota understands, and each is seen to fire and to be silent by a case. (The cases are run by
//! `promtool`, and the alerts by a real Prometheus: stage `alerts` of tests/run.)
#![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use clap::Parser as _;
use keyrota::cli::args::Cli;
use serde_yaml::Value;

const RUNBOOK: &str = "docs/runbook.md";

fn read(path: &str) -> String {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(path)).unwrap()
}

/// Every rule, in its order.
fn rules() -> Vec<Value> {
    let file: Value = serde_yaml::from_str(&read("systemd/prometheus/keyrota.rules.yaml")).unwrap();
    let groups = file["groups"].as_sequence().unwrap();
    groups.iter().flat_map(|group| group["rules"].as_sequence().unwrap().clone()).collect()
}

fn alerts() -> BTreeSet<String> {
    rules().iter().map(|rule| text(&rule["alert"])).collect()
}

#[track_caller]
fn text(value: &Value) -> String {
    value.as_str().unwrap_or_else(|| panic!("{value:?} is no text")).to_owned()
}

/// The runbook's sections by their headings.
fn sections() -> BTreeMap<String, String> {
    let book = read(RUNBOOK);
    let sections = book.split("\n## ").skip(1);
    sections.map(|section| section.split_once('\n').unwrap()).map(|(heading, rest)| (heading.to_owned(), rest.to_owned())).collect()
}

#[test]
fn every_alert_says_how_bad_it_is_and_where_help_stands() {
    let rules = rules();
    assert!(rules.len() > 15);
    for rule in rules {
        let name = text(&rule["alert"]);
        assert!(name.starts_with("Keyrota"), "{name}: alerts of many systems meet in one list");
        assert!(["critical", "warning"].contains(&text(&rule["labels"]["severity"]).as_str()), "{name}");
        let notes = &rule["annotations"];
        assert!(!text(&notes["summary"]).ends_with('.'), "{name}: a summary is a headline");
        assert!(
            text(&notes["description"]).trim_end_matches("{{ end }}").ends_with(['.', '?']),
            "{name}: a description is made of sentences"
        );
        assert_eq!(text(&notes["runbook_url"]), format!("{RUNBOOK}#{}", name.to_lowercase()), "{name}");
    }
}

#[test]
fn every_alert_has_a_section_and_every_section_an_alert() {
    let sections = sections();
    assert_eq!(sections.keys().cloned().collect::<BTreeSet<_>>(), alerts());
    for (name, section) in &sections {
        let parts = ["**Means:**", "**Breaks:**", "**Type:**"].map(|part| section.find(part));
        assert!(parts.iter().all(Option::is_some) && parts.is_sorted(), "{name} says what it means, what breaks, what to type: {parts:?}");
        let links = section.split("](#").skip(1).map(|rest| rest.split(')').next().unwrap());
        let dead: Vec<_> = links.filter(|to| !sections.keys().any(|heading| heading.to_lowercase() == *to)).collect();
        assert!(dead.is_empty(), "{name} points to {dead:?}");
        assert!(commands(section).count() >= 2, "{name} says what to type");
    }
}

/// The commands of a section: lines of its `sh` blocks, and what stands in the text as code.
fn commands(section: &str) -> impl Iterator<Item = String> {
    let blocks = section.split("```sh\n").skip(1).flat_map(|rest| rest.split("```").next().unwrap().lines());
    let prose = section.split("```").step_by(2).flat_map(|outside| outside.split('`').skip(1).step_by(2));
    blocks.chain(prose).map(str::trim).filter(|command| command.starts_with("keyrota ")).map(str::to_owned)
}

/// The words of a command as a shell makes them, without what it redirects.
fn words(command: &str) -> Vec<String> {
    let mut words = Vec::new();
    for (n, part) in command.split(" < ").next().unwrap().split('"').enumerate() {
        if n % 2 == 1 {
            words.push(part.to_owned());
        } else {
            words.extend(part.split_whitespace().map(str::to_owned));
        }
    }
    words
}

#[test]
fn every_command_of_the_runbook_is_one() {
    let filled_in = |word: String| match word.as_str() {
        "ENV" => "production".to_owned(),
        "ENV/KEYSET" => "production/user-sessions".to_owned(),
        "KID" => "SK-1".to_owned(),
        _ => word,
    };
    let mut tried = BTreeSet::new();
    for (name, section) in sections() {
        for command in commands(&section) {
            let words: Vec<_> = words(&command).into_iter().map(filled_in).collect();
            // The name alone of a command is no command line.
            if words.len() > 2 || ["check", "doctor", "status"].contains(&words[1].as_str()) {
                assert!(Cli::try_parse_from(&words).is_ok(), "{name}: {command}: {}", Cli::try_parse_from(&words).unwrap_err());
                tried.insert(words[1].clone());
            } else {
                panic!("{name}: {command} is not whole");
            }
        }
    }
    for verb in ["status", "plan", "doctor", "import", "freeze", "unfreeze", "accept", "restored", "audit", "reload", "check"] {
        assert!(tried.contains(verb), "{verb} was tried: {tried:?}");
    }
}

#[test]
fn every_alert_is_seen_to_fire_and_to_be_silent() {
    let mut cases: BTreeMap<(String, bool), usize> = BTreeMap::new();
    for entry in fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/alerts")).unwrap() {
        let file: Value = serde_yaml::from_str(&fs::read_to_string(entry.unwrap().path()).unwrap()).unwrap();
        assert_eq!(text(&file["rule_files"][0]), "../../systemd/prometheus/keyrota.rules.yaml", "what is tested is what is shipped");
        for test in file["tests"].as_sequence().unwrap() {
            for case in test["alert_rule_test"].as_sequence().into_iter().flatten() {
                let fires = !case["exp_alerts"].as_sequence().unwrap().is_empty();
                *cases.entry((text(&case["alertname"]), fires)).or_default() += 1;
            }
        }
    }
    for alert in alerts() {
        for fires in [true, false] {
            assert!(cases.contains_key(&(alert.clone(), fires)), "no case of tests/alerts in which {alert} fires: {fires}");
        }
    }
    let unknown: Vec<_> = cases.keys().filter(|(alert, _)| !alerts().contains(alert)).collect();
    assert!(unknown.is_empty(), "cases of alerts that do not exist: {unknown:?}");
}
