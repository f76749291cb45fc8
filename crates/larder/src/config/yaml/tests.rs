use super::*;
use proptest::prelude::*;

/// The tree of a text without a mistake, or all of its mistakes.
fn parse(text: &str, source: &Source) -> Result<Value, Vec<ConfigError>> {
    let Parsed { value, errors } = super::parse(text, source);
    if errors.is_empty() { Ok(value.unwrap()) } else { Err(errors) }
}

fn file() -> Source {
    Source::File("config.yml".into())
}

/// The tree in one line: scalars bare when plain, quoted when not.
fn show(value: &Value) -> String {
    match &value.content {
        Content::Null => "~".to_owned(),
        Content::Scalar { text, plain: true } => text.clone(),
        Content::Scalar { text, plain: false } => format!("{text:?}"),
        Content::List(items) => format!("[{}]", items.iter().map(show).collect::<Vec<_>>().join(" ")),
        Content::Map(entries) => {
            let pairs = entries.iter().map(|entry| format!("{}={}", entry.key, show(&entry.value)));
            format!("{{{}}}", pairs.collect::<Vec<_>>().join(" "))
        }
    }
}

#[test]
fn texts_and_their_trees() {
    for (text, expected) in [
        ("", "~"),
        ("---\n", "~"),
        ("# only a comment\n", "~"),
        ("\u{feff}a: 1", "{a=1}"),
        ("version: 0.1", "{version=0.1}"),
        ("storage: inmemory", "{storage=inmemory}"),
        ("storage:\n  inmemory:\n  delete:", "{storage={inmemory=~ delete=~}}"),
        ("a: null\nb: ~\nc: 'null'\nd: ''", "{a=~ b=~ c=\"null\" d=\"\"}"),
        ("a: !!str null", "{a=\"null\"}"),
        ("a: [x, 'y']", "{a=[x \"y\"]}"),
        ("a:\n- x\n- y: 1\n  z: 2", "{a=[x {y=1 z=2}]}"),
        ("a: |\n  one\n  two\n", "{a=\"one\\ntwo\\n\"}"),
        ("addr: :5000", "{addr=:5000}"),
        ("a: &x {k: 1}\nb: *x", "{a={k=1} b={k=1}}"),
        ("a: &x {k: 1, l: 2}\nb:\n  <<: *x\n  k: 3", "{a={k=1 l=2} b={k=3 l=2}}"),
        ("b:\n  <<: [{k: 1}, {k: 2, l: 3}]", "{b={k=1 l=3}}"),
        ("a: 1\n...\n", "{a=1}"),
    ] {
        let value = parse(text, &file()).unwrap_or_else(|errors| panic!("{text:?}: {errors:?}"));
        assert_eq!(show(&value), expected, "{text:?}");
    }
}

#[test]
fn keys_and_values_know_their_place() {
    let value = parse("log:\n  fields:\n    service: registry\nhttp: {addr: :5000}\n", &file()).unwrap();
    for (path, key_at, value_at) in [
        ("log", "config.yml:1:1", "config.yml:2:3"),
        ("log.fields.service", "config.yml:3:5", "config.yml:3:14"),
        ("http", "config.yml:4:1", "config.yml:4:7"),
        ("http.addr", "config.yml:4:8", "config.yml:4:14"),
    ] {
        let entry = value.entry_at(path).unwrap();
        assert_eq!(entry.origin.to_string(), key_at, "{path}");
        assert_eq!(entry.value.origin.to_string(), value_at, "{path}");
    }
    let value = parse("{addr: :5000}", &Source::Variable("REGISTRY_HTTP".into())).unwrap();
    assert_eq!(value.entry_at("addr").unwrap().origin.to_string(), "REGISTRY_HTTP");
}

#[test]
fn mistakes_and_where_they_are() {
    let deep = "[".repeat(DEPTH_LIMIT + 1);
    let laughs = "a: &a [x,x,x,x,x,x,x,x,x,x]\nb: &b [*a,*a,*a,*a,*a,*a,*a,*a,*a,*a]\n\
                  c: &c [*b,*b,*b,*b,*b,*b,*b,*b,*b,*b]\nd: &d [*c,*c,*c,*c,*c,*c,*c,*c,*c,*c]\n";
    for (text, expected) in [
        ("a: 1\na: 2\n", vec!["config.yml:2:1: \"a\" was already written in line 1"]),
        (
            "a: 1\na: 2\nb:\n  c: 1\n  c: 2\n",
            vec![
                "config.yml:2:1: \"a\" was already written in line 1",
                "config.yml:5:3: \"c\" was already written in line 4",
            ],
        ),
        ("[a]: 1", vec!["config.yml:1:1: a key must be a plain word"]),
        ("a: {<<: 1}", vec!["config.yml:1:5: the value of << must be a map or a list of maps"]),
        ("a: &x [*x]", vec!["config.yml:1:8: the alias stands inside of what it refers to"]),
        (
            "a: 1\n---\nb: 2\n",
            vec!["config.yml:2:1: a second YAML document starts here; a configuration is one document"],
        ),
        (&deep, vec!["config.yml:1:33: nested deeper than 32 levels"]),
        (laughs, vec!["config.yml:4:29: aliases make more than 10000 values of this text"]),
    ] {
        let errors = parse(text, &file()).map(|value| show(&value)).expect_err(text);
        let lines: Vec<String> = errors.iter().map(ToString::to_string).collect();
        assert_eq!(lines, expected, "{text:?}");
    }
    for (text, place) in [("a: [1", "config.yml:"), ("a: b: c", "config.yml:1:")] {
        let errors = parse(text, &file()).map(|value| show(&value)).expect_err(text);
        let message = errors.last().unwrap().to_string();
        assert!(message.starts_with(place) && message.contains("not YAML"), "{text:?}: {message}");
    }
}

#[test]
fn a_refused_key_leaves_the_rest_readable() {
    let parsed = super::parse("a: 1\na: 2\n[x]: {y: 1}\nb: 3\n", &file());
    assert_eq!((show(&parsed.value.unwrap()).as_str(), parsed.errors.len()), ("{a=1 b=3}", 2));
}

#[test]
fn values_are_masked_in_debug_output() {
    let value = parse("http: {secret: hunter2}", &file()).unwrap();
    let debug = format!("{value:?}");
    assert!(!debug.contains("hunter2") && debug.contains("secret"), "{debug}");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn no_text_panics(text in "\\PC*|[-a-c:,\\[\\]{}&*!|>#%@`'\"?<~ \\t\\n\\\\]{0,60}") {
        let _ = parse(&text, &file());
    }
}
