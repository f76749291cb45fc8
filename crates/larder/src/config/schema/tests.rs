use super::*;
use crate::config::{keys, value::Content};

/// As much of draft-07 as the schema uses: whether a document fits, and where it doesn't.
fn misfit(document: &Value, schema: &Value, place: &str) -> Option<String> {
    let Value::Object(rules) = schema else { return None };
    if let Some(choices) = rules.get("anyOf").and_then(Value::as_array) {
        let misfits: Vec<_> = choices.iter().map(|choice| misfit(document, choice, place)).collect();
        return if misfits.iter().any(Option::is_none) { None } else { misfits.into_iter().flatten().next() };
    }
    if let Some(words) = rules.get("enum").and_then(Value::as_array) {
        return (!words.contains(document)).then(|| format!("{place}: {document} is none of the words"));
    }
    let kind = match document {
        Value::Null => "null",
        Value::Bool(_) => "boolean",
        Value::Number(number) if number.is_i64() => "integer",
        Value::Number(_) => "number",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    };
    if let Some(types) = rules.get("type") {
        let fits = |name: &Value| name == kind || kind == "integer" && name == "number";
        let fits = types.as_array().map_or_else(|| fits(types), |types| types.iter().any(fits));
        if !fits {
            return Some(format!("{place}: {kind} is not {types}"));
        }
    }
    match document {
        Value::Array(items) => {
            items.iter().find_map(|item| misfit(item, rules.get("items")?, &format!("{place}[]")))
        }
        Value::Object(entries) => entries.iter().find_map(|(name, value)| {
            let place = format!("{place}.{name}");
            if rules.contains_key("patternProperties") && name.starts_with("x-") {
                return None;
            }
            match rules.get("properties").and_then(|properties| properties.get(name)) {
                Some(schema) => misfit(value, schema, &place),
                None => match rules.get("additionalProperties") {
                    Some(Value::Bool(false)) => Some(format!("{place} is unknown")),
                    Some(schema) => misfit(value, schema, &place),
                    None => None,
                },
            }
        }),
        _ => None,
    }
}

/// The document as an editor sees it: plain words are what they look like.
fn document(value: &super::super::Value) -> Value {
    match &value.content {
        Content::Null => Value::Null,
        Content::List(items) => items.iter().map(document).collect(),
        Content::Map(entries) => {
            entries.iter().map(|entry| (entry.key.clone(), document(&entry.value))).collect()
        }
        Content::Scalar { text, plain } => match serde_json::from_str(text) {
            Ok(value @ (Value::Bool(_) | Value::Number(_))) if *plain => value,
            _ => Value::String(text.clone()),
        },
    }
}

fn marked(text: &str) -> Option<String> {
    let root = yaml::parse(text, &yaml::Source::File("config.yml".into())).value.unwrap();
    misfit(&document(&root), &schema(), "")
}

#[test]
fn files_that_start_are_not_marked() {
    for text in [
        "version: 0.1\nstorage: filesystem\nauth: none\n",
        "version: '0.1'\nx-a: {b: [c]}\nstorage: {filesystem: , delete: {enabled: true}}\nlog: {level: debug, fields: {a: {b: c}}}\n",
        "version: 0.1\nhttp: {addr: :5000, draintimeout: 60s, headers: {X-A: [b, 5]}, tls: {clientcas: [/a]}}\n",
        "version: 0.1\nhttp: {draintimeout: 60000000000, limits: {connections: 5}}\nproxy: {password: {file: /p}}\n",
        "version: 0.1\naccess: {groups: {a: [b]}, rules: [{who: a, may: [pull, push]}, {who: b, may: all}]}\n",
        "version: 0.1\nnotifications: {endpoints: [{name: a, url: 'http://a', headers: {A: [b]}, timeout: 1s}]}\n",
        "version: 0.1\nauth: {htpasswd: {realm: r, path: /p}}\nredis: {addr: a, db: 0}\nhealth: {tcp: [{addr: 'a:1'}]}\n",
    ] {
        assert_eq!(marked(text), None, "{text}");
    }
}

#[test]
fn mistakes_are_marked() {
    for (text, expected) in [
        ("version: 0.2", ".version: 0.2 is none of the words"),
        ("htpp: {}", ".htpp is unknown"),
        ("http: {adr: x}", ".http.adr is unknown"),
        ("http: [x]", ".http: array is not [\"object\",\"null\"]"),
        (
            "storage: {delete: {enabled: 'true'}}",
            ".storage.delete.enabled: string is not [\"boolean\",\"null\"]",
        ),
        ("log: {level: loud}", ".log.level: \"loud\" is none of the words"),
        ("http: {headers: {X-A: b}}", ".http.headers.X-A: string is not [\"array\",\"null\"]"),
        ("notifications: {endpoints: [{nam: a}]}", ".notifications.endpoints[].nam is unknown"),
        ("catalog: {maxentries: many}", ".catalog.maxentries: string is not [\"integer\",\"null\"]"),
    ] {
        assert_eq!(marked(text).as_deref(), Some(expected), "{text}");
    }
    assert!(marked("storage: {filesytem: }").is_some());
    assert!(marked("proxy: {password: {fiel: x}}").is_some());
}

#[test]
fn every_key_is_in_the_schema_with_its_meaning_and_default() {
    let schema = schema();
    for key in keys::all() {
        let mut place = &schema;
        for name in key.path.split('.') {
            let (name, is_list) = name.strip_suffix("[]").map_or((name, false), |name| (name, true));
            let section = place.get("anyOf").map_or(place, |choices| &choices[0]);
            place = &section["properties"][name];
            if is_list {
                place = &place["items"];
            }
        }
        let description = place["description"].as_str().unwrap_or_else(|| panic!("{}", key.path));
        assert!(description.starts_with(key.meaning), "{}", key.path);
        assert_eq!(place.get("default").is_some(), !key.default.is_empty(), "{}", key.path);
        if let Some(default) = place.get("default") {
            assert_eq!(misfit(default, place, key.path), None);
        }
    }
}
