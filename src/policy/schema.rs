//! The JSON Schema of policies, for editors and for the walk: one table of fields, so that the two cannot disagree.

use std::sync::LazyLock;

use schemars::generate::SchemaSettings;
use schemars::transform::transform_subschemas;
use schemars::{JsonSchema, Schema};
use serde_json::{Map, Value};

use super::raw::RawPolicy;

static SCHEMA: LazyLock<Value> = LazyLock::new(|| {
    let mut schema = SchemaSettings::draft07().into_generator().into_root_schema_for::<RawPolicy>();
    refuse_null(&mut schema);
    name_keysets(&mut schema);
    schema.to_value()
});

/// The JSON Schema (draft 7) of a policy file, as `keyrota schema` prints it and editors use it.
pub fn schema() -> Value {
    SCHEMA.clone()
}

/// A part of the schema, with what its `$ref`s point to.
#[derive(Debug, Clone, Copy)]
pub(super) struct Shape<'s>(pub &'s Map<String, Value>);

impl Shape<'static> {
    /// The shape of a whole file.
    pub(super) fn root() -> Self {
        static NOTHING: LazyLock<Map<String, Value>> = LazyLock::new(Map::new);
        Self(SCHEMA.as_object().unwrap_or(&NOTHING))
    }

    /// The shape that `value` describes, with references followed.
    pub(super) fn of(value: &'static Value) -> Option<Self> {
        let own = value.as_object()?;
        // schemars writes `{"allOf": [{"$ref": …}], "description": …}` or a bare `$ref`.
        let target = own.get("$ref").or_else(|| own.get("allOf")?.get(0)?.get("$ref"));
        match target.and_then(Value::as_str) {
            Some(path) => SCHEMA.pointer(path.strip_prefix('#')?).and_then(Value::as_object).map(Self),
            None => Some(Self(own)),
        }
    }

    pub(super) fn text(self, keyword: &str) -> Option<&'static str> {
        self.0.get(keyword).and_then(Value::as_str)
    }

    pub(super) fn list(self, keyword: &str) -> &'static [Value] {
        self.0.get(keyword).and_then(Value::as_array).map_or(&[], Vec::as_slice)
    }

    /// The names and shapes of its fields.
    pub(super) fn fields(self) -> impl Iterator<Item = (&'static str, &'static Value)> {
        self.0.get("properties").and_then(Value::as_object).into_iter().flatten().map(|(name, shape)| (name.as_str(), shape))
    }

    /// The alternatives of a choice.
    pub(super) fn choices(self) -> &'static [Value] {
        let one_of = self.list("oneOf");
        if one_of.is_empty() { self.list("anyOf") } else { one_of }
    }
}

/// An absent field is lawful, a field without a value is not.
fn refuse_null(schema: &mut Schema) {
    if let Some(Value::Array(types)) = schema.get_mut("type") {
        types.retain(|t| t != "null");
        if let [only] = types.as_slice() {
            let only = only.clone();
            schema.insert("type".to_owned(), only);
        }
    }
    if let Some(Value::Array(choices)) = schema.get_mut("anyOf") {
        choices.retain(|c| c.get("type").is_none_or(|t| t != "null"));
        if let [Value::Object(only)] = choices.as_mut_slice() {
            let only = std::mem::take(only);
            schema.remove("anyOf");
            // Draft 7 ignores what stands beside `$ref`, so a description needs `allOf` around it.
            schema.insert("allOf".to_owned(), Value::Array(vec![Value::Object(only)]));
        }
    }
    transform_subschemas(&mut refuse_null, schema);
}

/// Keyset names have a form, which a map of `String` cannot say.
fn name_keysets(schema: &mut Schema) {
    let form = super::leaf::NameText::json_schema(&mut SchemaSettings::draft07().into_generator()).to_value();
    if let Some(keysets) = schema.pointer_mut("/properties/keysets").and_then(Value::as_object_mut) {
        keysets.insert("propertyNames".to_owned(), form);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What the walk understands, or may lawfully ignore.
    const KEYWORDS: [&str; 24] = [
        "$schema",
        "$ref",
        "title",
        "description",
        "type",
        "properties",
        "required",
        "additionalProperties",
        "propertyNames",
        "items",
        "oneOf",
        "anyOf",
        "allOf",
        "enum",
        "const",
        "format",
        "pattern",
        "examples",
        "minimum",
        "maximum",
        "definitions",
        "default",
        "minItems",
        "uniqueItems",
    ];

    fn keywords(schema: &Value) {
        let Some(object) = schema.as_object() else { return };
        for (keyword, value) in object {
            assert!(KEYWORDS.contains(&keyword.as_str()), "the walk does not know `{keyword}`");
            match keyword.as_str() {
                "properties" | "definitions" => value.as_object().unwrap().values().for_each(keywords),
                "oneOf" | "anyOf" | "allOf" => value.as_array().unwrap().iter().for_each(keywords),
                "items" | "additionalProperties" | "propertyNames" => keywords(value),
                _ => {}
            }
        }
    }

    #[test]
    fn the_walk_knows_every_keyword_of_the_schema() {
        keywords(&schema());
    }

    #[test]
    fn no_field_may_be_null_and_every_field_is_described() {
        let text = schema().to_string();
        assert!(!text.contains("null"), "{text}");
        let all = schema();
        for (name, shape) in all["definitions"]["RawKeyset"]["properties"].as_object().unwrap() {
            assert!(shape["description"].as_str().is_some_and(|d| d.ends_with('.')), "{name}");
        }
    }
}
