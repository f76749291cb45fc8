//! The little of YAML that `registries.yaml` is written in: maps, lists and text, as a JSON tree.

use saphyr_parser::{Event, Parser};
use serde_json::{Map, Value};

/// Nothing that a person writes there is deeper than 6.
const DEEPEST: usize = 32;

enum Open {
    List(Vec<Value>),
    /// The map, and the key whose value is awaited.
    Map(Map<String, Value>, Option<String>),
}

/// Reads a document; why it can't be read otherwise. Aliases are taken for null: nobody needs them there.
pub(super) fn read(text: &str) -> Result<Value, String> {
    let mut open: Vec<Open> = Vec::new();
    let mut document = Value::Null;
    for event in Parser::new_from_str(text) {
        let (event, span) =
            event.map_err(|error| format!("line {}: {}", error.marker().line(), error.info()))?;
        let done = match event {
            Event::MappingStart(..) => {
                open.push(Open::Map(Map::new(), None));
                None
            }
            Event::SequenceStart(..) => {
                open.push(Open::List(Vec::new()));
                None
            }
            Event::Scalar(text, ..) => Some(Value::String(text.into_owned())),
            Event::Alias(..) => Some(Value::Null),
            Event::MappingEnd | Event::SequenceEnd => match open.pop() {
                Some(Open::Map(map, _)) => Some(Value::Object(map)),
                Some(Open::List(list)) => Some(Value::Array(list)),
                None => None,
            },
            _ => None,
        };
        if open.len() > DEEPEST {
            return Err(format!("line {}: deeper than {DEEPEST}", span.start.line()));
        }
        let Some(value) = done else { continue };
        match open.last_mut() {
            None => document = value,
            Some(Open::List(list)) => list.push(value),
            Some(Open::Map(map, key)) => match key.take() {
                Some(key) => {
                    map.insert(key, value);
                }
                None => *key = Some(value.as_str().unwrap_or_default().to_owned()),
            },
        }
    }
    Ok(document)
}
