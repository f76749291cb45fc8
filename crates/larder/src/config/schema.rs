//! The table of keys as a JSON Schema (draft-07, which editors' YAML support speaks): what `larder config schema` prints.
//!
//! It is stricter than Larder where that helps whoever writes: a truth value in quotes, which registry:2 takes for false,
//! and words in capitals are marked.

use super::{
    keys::{Key, Kind, SECRET_FILE, Slot, Status},
    scalar, yaml,
};
use serde_json::{Map, Value, json};

/// The schema of a whole `config.yml`.
pub(crate) fn schema() -> Value {
    let mut schema = section(&Slot::root());
    extend(
        &mut schema,
        json!({
            "$schema": "http://json-schema.org/draft-07/schema#",
            "title": "Larder's config.yml",
            "required": ["version"],
            "patternProperties": { "^x-": true },
        }),
    );
    schema
}

fn section(slot: &Slot) -> Value {
    let properties: Map<String, Value> =
        slot.keys().map(|key| (key.name().to_owned(), described(key))).collect();
    json!({ "type": ["object", "null"], "properties": properties, "additionalProperties": false })
}

fn described(key: &Key) -> Value {
    let mut schema =
        if key.path == "version" { json!({ "enum": [0.1, "0.1"] }) } else { shape(&Slot::from(key)) };
    let mut description = key.meaning.to_owned();
    if let Some(sentence) = key.status.sentence() {
        description.push(' ');
        description.push_str(sentence);
    }
    extend(&mut schema, json!({ "description": description }));
    match key.status {
        Status::Works => {}
        // What editors strike through.
        Status::Unneeded(_) | Status::Ignored(_) | Status::NotYet(_) => {
            extend(&mut schema, json!({ "deprecated": true }));
        }
    }
    if let Some(default) = default(key) {
        extend(&mut schema, json!({ "default": default }));
    }
    schema
}

fn shape(slot: &Slot) -> Value {
    let text = json!({ "type": ["string", "number", "boolean", "null"] });
    match slot.kind {
        Kind::Section => section(slot),
        Kind::Choice => {
            let names: Vec<&str> = slot.keys().map(Key::name).collect();
            json!({ "anyOf": [section(slot), { "enum": names }] })
        }
        Kind::Sections => match slot.item() {
            Some(item) => json!({ "type": ["array", "null"], "items": section(&item) }),
            None => json!({ "type": ["array", "null"] }),
        },
        Kind::Boolean => json!({ "type": ["boolean", "null"] }),
        Kind::Integer => json!({ "type": ["integer", "null"] }),
        Kind::Size => {
            json!({ "type": ["string", "integer", "null"], "examples": ["500MB", "10GiB", "1.5TB"] })
        }
        Kind::Duration => {
            json!({ "type": ["string", "integer", "null"], "examples": ["30s", "15m", "168h"] })
        }
        Kind::Text => text,
        Kind::Secret | Kind::Url => {
            let file = json!({
                "type": "object",
                "properties": { SECRET_FILE: { "type": "string", "description": "A file that holds it." } },
                "required": [SECRET_FILE],
                "additionalProperties": false,
            });
            json!({ "anyOf": [text, file] })
        }
        Kind::Words(words) => json!({ "enum": words }),
        Kind::Texts => json!({ "type": ["array", "null"], "items": text }),
        Kind::OneOrMore => {
            json!({ "type": ["string", "number", "boolean", "array", "null"], "items": text })
        }
        Kind::Headers | Kind::SecretHeaders => {
            let texts = json!({ "type": ["array", "null"], "items": text });
            json!({ "type": ["object", "null"], "additionalProperties": texts })
        }
        Kind::Anything => json!({}),
    }
}

/// The default as JSON has it: the table has it in YAML.
fn default(key: &Key) -> Option<Value> {
    if key.default.is_empty() {
        return None;
    }
    let parsed = yaml::parse(key.default, &yaml::Source::Variable(key.path.into())).value?;
    let text = parsed.scalar().unwrap_or_default();
    Some(match key.kind {
        Kind::Boolean => scalar::boolean(text)?.into(),
        Kind::Integer => scalar::integer(text)?.into(),
        Kind::Texts => parsed.items().iter().filter_map(super::Value::scalar).collect(),
        _ => text.into(),
    })
}

fn extend(schema: &mut Value, with: Value) {
    if let (Value::Object(schema), Value::Object(with)) = (schema, with) {
        schema.extend(with);
    }
}

#[cfg(test)]
mod tests;
