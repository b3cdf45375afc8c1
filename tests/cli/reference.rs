//! The policy reference, docs/policy.md: written from the schema's own descriptions, so that it cannot say anything else.
//! `UPDATE_GOLDEN=1 cargo test --test cli` writes it anew.

use std::fmt::Write as _;
use std::path::Path;

use serde_json::{Map, Value};

use crate::{code, keyrota, stdout};

const HEAD: &str = "# Policy reference

One YAML file per environment, `<environment>.yaml`. `keyrota check` judges it without a network and names every fault with its line;
`keyrota plan --policies DIR` says what an edit does to the live keys; `keyrota schema` prints the JSON Schema from whose descriptions
this page is written. Anchors, aliases, tags and `<<` are refused. Durations are written `90s`, `15m`, `1h30m`, `30d` (units: ms s m h d w).

The waits are computed from the facts, never typed in:
`propagation = store_refresh + cache_max_age + verifier_refresh + 2 × clock_skew + margin`, and
`retention = store_refresh + signer_refresh + token_ttl + 2 × clock_skew + margin`, where `store_refresh` is the store's own.
";

/// `RawKeyset` is called `Keyset` on the page.
fn title(definition: &str) -> &str {
    definition.strip_prefix("Raw").unwrap_or(definition)
}

fn text<'a>(value: &'a Value, name: &str) -> &'a str {
    value[name].as_str().unwrap_or_default()
}

/// The definition that a value refers to.
fn referred(value: &Value) -> Option<&str> {
    let reference = value.get("$ref").or_else(|| value["allOf"][0].get("$ref"))?;
    reference.as_str()?.strip_prefix("#/definitions/")
}

/// What may be written there.
fn form(value: &Value) -> String {
    if let Some(name) = referred(value) {
        return format!("[{0}](#{1})", title(name), title(name).to_lowercase());
    }
    if let Some(only) = value.get("const") {
        return format!("`{only}`").replace('"', "");
    }
    if let Some(values) = value["enum"].as_array() {
        return values.iter().map(|v| format!("`{v}`").replace('"', "")).collect::<Vec<_>>().join(", ");
    }
    let example = value["examples"][0].as_str().map(|e| format!(", such as `{e}`")).unwrap_or_default();
    match (text(value, "type"), text(value, "format")) {
        ("array", _) => format!("list of {}", form(&value["items"])),
        ("object", _) => format!("map of {}", form(&value["additionalProperties"])),
        (_, "keyrota-span") => format!("duration{example}"),
        ("integer", _) => "number".to_owned(),
        ("boolean", _) => "`true`, `false`".to_owned(),
        ("", "") => "any value".to_owned(),
        _ => format!("text{example}"),
    }
}

fn cell(text: &str) -> String {
    text.replace('|', "\\|").replace('\n', " ")
}

fn fields(out: &mut String, definition: &Value) {
    let Some(properties) = definition["properties"].as_object() else { return };
    let required: Vec<&str> = definition["required"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    out.push_str("\n| field | value | meaning |\n| --- | --- | --- |\n");
    for (name, value) in properties {
        let must = if required.contains(&name.as_str()) { " **Required.**" } else { "" };
        writeln!(out, "| `{name}` | {} | {}{must} |", form(value), cell(text(value, "description"))).unwrap();
    }
}

fn section(out: &mut String, name: &str, definition: &Value) {
    write!(out, "\n## {}\n\n{}\n", title(name), text(definition, "description")).unwrap();
    fields(out, definition);
    if definition.get("enum").is_some() {
        writeln!(out, "\n{}", form(definition)).unwrap();
    }
    let variants = definition["oneOf"].as_array().map(Vec::as_slice).unwrap_or_default();
    if !variants.is_empty() {
        out.push_str("\n| value | meaning |\n| --- | --- |\n");
    }
    for variant in variants {
        let written = match variant["properties"].as_object() {
            Some(properties) => properties.iter().map(|(n, v)| format!("`{n}:` {}", form(v))).collect::<Vec<_>>().join(", "),
            None => form(variant),
        };
        writeln!(out, "| {written} | {} |", cell(text(variant, "description"))).unwrap();
    }
}

/// Definitions in the order in which somebody who reads from the top meets them.
fn order(value: &Value, definitions: &Map<String, Value>, met: &mut Vec<String>) {
    if let Some(name) = value.get("$ref").and_then(Value::as_str).and_then(|r| r.strip_prefix("#/definitions/"))
        && !met.iter().any(|known| known == name)
    {
        met.push(name.to_owned());
        order(&definitions[name], definitions, met);
    }
    match value {
        Value::Array(items) => items.iter().for_each(|item| order(item, definitions, met)),
        Value::Object(members) => members.iter().filter(|(name, _)| *name != "definitions").for_each(|(_, v)| order(v, definitions, met)),
        _ => {}
    }
}

#[test]
fn the_policy_reference_is_written_from_the_schema() {
    let output = keyrota(Path::new("/"), &["schema"]);
    assert_eq!(code(&output), 0);
    let schema: Value = serde_json::from_str(&stdout(&output)).unwrap();
    let definitions = schema["definitions"].as_object().unwrap();
    let mut page = HEAD.to_owned();
    page.push_str("\n## The file\n");
    fields(&mut page, &schema);
    let mut met = Vec::new();
    order(&schema["properties"]["keysets"], definitions, &mut met);
    order(&schema["properties"], definitions, &mut met);
    for name in &met {
        section(&mut page, name, &definitions[name]);
    }
    assert_eq!(met.len(), definitions.len(), "every definition is on the page");
    let nameless: Vec<&str> = page.lines().filter(|line| line.contains("|  |")).collect();
    assert!(nameless.is_empty(), "fields without a description: {nameless:#?}");
    crate::golden::held("docs/policy.md", &page);
}
