//! The walk: holds the marked tree against the schema and finds every fault of form at once.
//!
//! Unknown and missing fields, wrong types, values outside their list, texts that are not what they should be. What is wrong is
//! marked unsound and thus left out of the value that `serde_yaml` turns into types, so that the rest can still be judged.
//! It knows the few schema keywords that our own types produce, and nothing of what policies mean.

use serde_json::Value;
use serde_yaml::Value as Yaml;

use super::fault::{Report, nearest};
use super::leaf;
use super::schema::Shape;
use super::tree::{Content, Node};

/// Checks a whole file.
pub(super) fn check(root: &mut Node, report: &mut Report) {
    examine(root, Shape::root(), report);
}

/// Checks `node` against `shape`; on a fault it is marked unsound.
fn examine(node: &mut Node, shape: Shape<'static>, report: &mut Report) {
    // A value that was refused already has nothing to say; the fields below a refused mapping do.
    if !node.sound && matches!(node.content, Content::Scalar { .. }) {
        return;
    }
    if let Content::Scalar { value: Yaml::Null, .. } = node.content {
        refuse(node, report, "has no value", "give it one, or remove the field");
        return;
    }
    if !shape.choices().is_empty() {
        choose(node, shape, report);
        return;
    }
    match shape.text("type") {
        Some("object") => mapping(node, shape, report),
        Some("array") => sequence(node, shape, report),
        Some(kind) => scalar(node, shape, kind, report),
        None if shape.0.contains_key("const") || shape.0.contains_key("enum") => {
            one_of(node, shape.list("enum"), shape.0.get("const"), report);
        }
        None => {}
    }
}

fn refuse(node: &mut Node, report: &mut Report, what: impl Into<String>, hint: impl Into<String>) {
    report.fault(&node.place, what, hint);
    node.sound = false;
}

fn mapping(node: &mut Node, shape: Shape<'static>, report: &mut Report) {
    let kind = node.kind();
    let Content::Mapping(entries) = &mut node.content else {
        let names: Vec<_> = shape.fields().map(|(name, _)| name).collect();
        let hint =
            if names.is_empty() { "write `name: value` lines below it".to_owned() } else { format!("its fields are {}", names.join(", ")) };
        return refuse(node, report, format!("is {kind}, must be a mapping"), hint);
    };
    let form = shape.0.get("propertyNames").and_then(Shape::of).and_then(|s| s.text("format"));
    let others = shape.0.get("additionalProperties");
    for (name, entry) in entries.iter_mut() {
        if let Some(Err(error)) = form.map(|form| leaf::check(form, name)) {
            report.fault_from(&entry.place, &error);
            entry.sound = false;
        }
        match (shape.fields().find(|(known, _)| known == name), others) {
            (Some((_, known)), _) | (None, Some(known @ Value::Object(_))) => {
                if let Some(inner) = Shape::of(known) {
                    examine(entry, inner, report);
                }
            }
            _ => {
                let names = || shape.fields().map(|(name, _)| name);
                let hint = nearest(name, names()).map_or_else(
                    || format!("the fields here are {}", names().collect::<Vec<_>>().join(", ")),
                    |near| format!("did you mean `{near}`?"),
                );
                report.fault(&entry.place, "is no field of a policy here", hint);
                entry.sound = false;
            }
        }
    }
    for name in shape.list("required").iter().filter_map(Value::as_str) {
        match node.get(name).map(|field| field.sound) {
            Some(true) => {}
            Some(false) => node.sound = false,
            None => {
                let about = shape.fields().find(|(known, _)| *known == name).and_then(|(_, s)| s.get("description")?.as_str());
                report.fault(&node.place.child(name), "is missing", about.unwrap_or_default());
                node.sound = false;
            }
        }
    }
}

fn sequence(node: &mut Node, shape: Shape<'static>, report: &mut Report) {
    let kind = node.kind();
    let Content::Sequence(items) = &mut node.content else {
        return refuse(node, report, format!("is {kind}, must be a list"), "write it as [one, two] or as lines that begin with `-`");
    };
    if let Some(inner) = shape.0.get("items").and_then(Shape::of) {
        for item in items {
            examine(item, inner, report);
        }
    }
}

fn scalar(node: &mut Node, shape: Shape<'static>, kind: &str, report: &mut Report) {
    let is = node.kind();
    let Content::Scalar { text, value } = &node.content else {
        let must = if kind == "string" { "text" } else { kind };
        return refuse(node, report, format!("is {is}, must be {must}"), "write a single value");
    };
    let form = shape.text("format").map_or(Ok(()), |format| leaf::check(format, text));
    let error = match (kind, value) {
        ("string", Yaml::String(_)) => form.err(),
        // `15` where a duration belongs is a number to YAML; what the reader wants to hear is that the unit is missing.
        ("string", _) => Some(form.err().unwrap_or_else(|| format!("is {is}, must be text; hint: write it in quotes: \"{text}\""))),
        ("boolean", Yaml::Bool(_)) => None,
        ("boolean", _) => Some(format!("`{text}` is {is}, must be true or false; hint: write true or false without quotes")),
        ("integer", Yaml::Number(number)) => integer(number.as_i64(), text, shape).err(),
        ("integer", _) => Some(format!("`{text}` is {is}, must be a whole number; hint: write digits only, without quotes")),
        _ => None,
    };
    if let Some(error) = error {
        report.fault_from(&node.place, &error);
        node.sound = false;
    } else if shape.0.contains_key("const") || shape.0.contains_key("enum") {
        one_of(node, shape.list("enum"), shape.0.get("const"), report);
    }
}

fn integer(number: Option<i64>, text: &str, shape: Shape<'static>) -> Result<(), String> {
    let least = shape.0.get("minimum").and_then(Value::as_i64).unwrap_or(i64::MIN);
    let most = shape.0.get("maximum").and_then(Value::as_i64).unwrap_or(i64::MAX);
    match number {
        Some(n) if (least..=most).contains(&n) => Ok(()),
        Some(n) => Err(format!("{n} is out of range; hint: {least} to {most}")),
        None => Err(format!("`{text}` is not a whole number; hint: {least} to {most}")),
    }
}

/// A value out of a list.
fn one_of(node: &mut Node, list: &'static [Value], constant: Option<&'static Value>, report: &mut Report) {
    let lawful: Vec<&Value> = list.iter().chain(constant).collect();
    let Content::Scalar { text, value } = &node.content else {
        let is = node.kind();
        return refuse(node, report, format!("is {is}, must be one of {}", spelled(&lawful)), "write a single value");
    };
    let same = |candidate: &&Value| match (candidate, value) {
        (Value::String(a), Yaml::String(b)) => a == b,
        (Value::Number(a), Yaml::Number(b)) => a.as_i64().is_some() && a.as_i64() == b.as_i64(),
        _ => false,
    };
    if lawful.iter().any(same) {
        return;
    }
    let near = nearest(text, lawful.iter().filter_map(|v| v.as_str()));
    let what = match lawful.as_slice() {
        [only] => format!("is `{text}`, must be {}", spelled(&[only])),
        _ => format!("`{text}` is none of {}", spelled(&lawful)),
    };
    let hint = near.map_or_else(
        || format!("write {}", if lawful.len() == 1 { spelled(&lawful) } else { "one of these".to_owned() }),
        |near| format!("did you mean {near}?"),
    );
    refuse(node, report, what, hint);
}

fn spelled(values: &[&Value]) -> String {
    values.iter().map(|v| v.as_str().map_or_else(|| v.to_string(), str::to_owned)).collect::<Vec<_>>().join(", ")
}

/// A choice between words and mappings of one field, as Rust enums are written.
fn choose(node: &mut Node, shape: Shape<'static>, report: &mut Report) {
    let shapes: Vec<Shape<'static>> = shape.choices().iter().filter_map(Shape::of).collect();
    if shapes.iter().any(|s| s.text("type") == Some("array")) {
        return one_or_several(node, &shapes, report);
    }
    let words: Vec<&'static Value> = shapes.iter().flat_map(|s| s.list("enum").iter().chain(s.0.get("const"))).collect();
    let fields: Vec<&'static str> = shapes.iter().flat_map(|s| s.fields().map(|(name, _)| name)).collect();
    let hint = || {
        let mut all: Vec<String> = words.iter().filter_map(|w| w.as_str().map(str::to_owned)).collect();
        all.extend(fields.iter().map(|field| format!("{{{field}: …}}")));
        format!("write one of {}", all.join(", "))
    };
    match &node.content {
        Content::Scalar { text, value } => {
            if !words.iter().any(|w| w.as_str().is_some() && w.as_str() == value.as_str()) {
                let near = nearest(text, words.iter().filter_map(|w| w.as_str()));
                let hint = near.map_or_else(hint, |near| format!("did you mean {near}?"));
                let what = format!("`{text}` is not known here");
                refuse(node, report, what, hint);
            }
        }
        Content::Mapping(entries) if entries.len() == 1 => {
            let name = entries[0].0.clone();
            if let Some(chosen) = shapes.iter().find(|s| s.fields().any(|(field, _)| field == name)) {
                mapping(node, *chosen, report);
            } else {
                let hint = nearest(&name, fields.iter().copied()).map_or_else(hint, |near| format!("did you mean `{near}`?"));
                refuse(node, report, format!("`{name}` is not known here"), hint);
            }
        }
        Content::Mapping(entries) => {
            let what = format!("has {} fields, must have one", entries.len());
            refuse(node, report, what, hint());
        }
        Content::Sequence(_) => refuse(node, report, "is a list, must be a single choice", hint()),
    }
    // A choice whose only field is unsound is unsound as a whole.
    if node.entries().iter().any(|(_, field)| !field.sound) {
        node.sound = false;
    }
}

/// A single text or a list of them.
fn one_or_several(node: &mut Node, shapes: &[Shape<'static>], report: &mut Report) {
    let kind = match node.content {
        Content::Scalar { .. } => "string",
        Content::Sequence(_) => "array",
        Content::Mapping(_) => return refuse(node, report, "is a mapping, must be text or a list of texts", "write a text, or [one, two]"),
    };
    if let Some(shape) = shapes.iter().find(|shape| shape.text("type") == Some(kind)) {
        examine(node, *shape, report);
    }
    // Half a list would mean something else than what was written.
    if let Content::Sequence(items) = &node.content {
        node.sound &= items.iter().all(|item| item.sound);
    }
}

#[cfg(test)]
mod tests;
