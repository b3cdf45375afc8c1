//! Tests: what YAML is refused, and where it stands.

use super::*;

fn faults(text: &str) -> Vec<String> {
    let mut report = Report::new("t.yaml".as_ref());
    read(text, &mut report);
    report.faults.iter().map(ToString::to_string).collect()
}

fn tree(text: &str) -> Node {
    let mut report = Report::new("t.yaml".as_ref());
    let root = read(text, &mut report);
    assert_eq!(report.faults, []);
    root.unwrap()
}

#[test]
fn every_field_knows_its_line_and_its_path() {
    let root = tree("a: 1\nb:\n  c: [x, {d: y}]\n  e: >-\n    folded\n    text\n");
    let c = root.get("b").unwrap().get("c").unwrap();
    assert_eq!((c.place.line, c.place.field.as_str()), (3, "b.c"));
    let Content::Sequence(items) = &c.content else { panic!("a list") };
    let d = items[1].get("d").unwrap();
    assert_eq!((d.place.line, d.place.field.as_str()), (3, "b.c[1].d"));
    let e = root.get("b").unwrap().get("e").unwrap();
    assert_eq!((e.place.line, e.value()), (4, Value::from("folded text")));
    assert_eq!(root.place_of("missing"), Place { line: 1, field: "missing".into() });
}

#[test]
fn duplicate_keys_are_found_at_every_level() {
    for (text, says) in [
        ("a: 1\nb: 2\na: 3\n", "t.yaml:3: a: stands twice, first on line 1; hint: "),
        ("a:\n  b: 1\n  c: 2\n  b: 3\n", "t.yaml:4: a.b: stands twice, first on line 2; hint: "),
        ("a: {b: 1, b: 2}\n", "t.yaml:1: a.b: stands twice, first on line 1; hint: "),
        ("a:\n  - {b: 1}\n  - {c: 1, c: 2}\n", "t.yaml:3: a[1].c: stands twice, first on line 3; hint: "),
        ("a: 1\n\"a\": 2\n", "t.yaml:2: a: stands twice, first on line 1; hint: "),
        ("a: 1\n'a': 2\n", "t.yaml:2: a: stands twice, first on line 1; hint: "),
    ] {
        let found = faults(text);
        assert!(found.len() == 1 && found[0].starts_with(says), "{text}: {found:?}");
    }
    assert_eq!(faults("a: 1\na: 2\na: 3\nb: {c: 1, c: 1}\n").len(), 3, "all of them");
}

#[test]
fn what_readers_might_take_differently_is_refused() {
    for (text, says) in [
        ("a: &x 1\nb: 2\n", "t.yaml:1: a: has a YAML anchor"),
        ("a: &x {b: 1}\n", "t.yaml:1: a: has a YAML anchor"),
        ("a: &x [1]\n", "t.yaml:1: a: has a YAML anchor"),
        ("&x a: 1\n", "has a YAML anchor"),
        ("a: &x 1\nb: *x\n", "t.yaml:2: b: is a YAML alias"),
        ("a: &x {c: 1}\nb:\n  <<: *x\n", "t.yaml:3: b.<<: is a YAML merge key"),
        ("a: {<<: {b: 1}}\n", "t.yaml:1: a.<<: is a YAML merge key"),
        ("a: !!str 1\n", "has a YAML tag"),
        ("a: !thing {b: 1}\n", "has a YAML tag"),
        ("a: !x [1]\n", "has a YAML tag"),
        ("a: 1\n---\nb: 2\n", "t.yaml:2: a second YAML document begins here"),
        ("", "t.yaml:1: the file is empty"),
        ("# nothing\n", "t.yaml:1: the file is empty"),
        ("---\n", "t.yaml:1: the file is empty"),
        ("~\n", "t.yaml:1: the file is empty"),
        ("1: a\n", "has a number for a field name"),
        ("[a]: b\n", "has a list for a field name"),
        ("true: b\n", "has true or false for a field name"),
        ("a: b: c\n", "is not YAML"),
        ("a: [1\n", "is not YAML"),
        ("a: \"x\n", "is not YAML"),
        ("a: *nowhere\n", "is not YAML"),
        ("a:\n\t- b\n", "is not YAML"),
    ] {
        let found = faults(text);
        assert!(found.iter().any(|f| f.contains(says)) && found.iter().all(|f| f.contains("; hint: ")), "{text:?}: {found:?}");
    }
}

#[test]
fn depth_is_bounded() {
    for deep in ["[".repeat(20), "[".repeat(5_000), "{a: ".repeat(5_000), "- ".repeat(5_000)] {
        let found = faults(&deep);
        assert!(found.len() == 1 && (found[0].contains("nested more than 16") || found[0].contains("is not YAML")), "{found:?}");
    }
    assert!(faults(&format!("{}1", "a: {".repeat(100))).iter().any(|f| f.contains("nested more than 16")));
}

#[test]
fn scalars_mean_what_serde_yaml_says() {
    let root = tree("a: 0640\nb: 0x10\nc: \"5\"\nd: true\ne: ~\nf: 1_000\ng: yes\nh: 2026-03-01\ni: |\n  5\nj:\n");
    let value = |name: &str| root.get(name).unwrap().value();
    assert_eq!(value("a"), Value::from("0640"));
    assert_eq!(value("b"), Value::from(16));
    assert_eq!(value("c"), Value::from("5"));
    assert_eq!(value("d"), Value::from(true));
    assert_eq!(value("e"), Value::Null);
    assert_eq!(value("f"), Value::from("1_000"));
    assert_eq!(value("g"), Value::from("yes"));
    assert_eq!(value("h"), Value::from("2026-03-01"));
    assert_eq!(value("i"), Value::from("5\n"));
    assert_eq!(value("j"), Value::Null);
}

proptest::proptest! {
    #[test]
    fn any_text_is_a_tree_or_faults(text in "[a-c:{}\\[\\],\"'&*!|>#%@~<\\- \n0-9]{0,60}") {
        let mut report = Report::new("t.yaml".as_ref());
        if read(&text, &mut report).is_none() {
            assert!(!report.faults.is_empty(), "{text:?}");
        }
    }

    #[test]
    fn any_bytes_at_all(bytes in proptest::collection::vec(proptest::num::u8::ANY, 0..200)) {
        let mut report = Report::new("t.yaml".as_ref());
        let _ = read(&String::from_utf8_lossy(&bytes), &mut report);
    }
}
