use super::super::super::Config;
use crate::config::Environment;

pub(in crate::config::build) const ROWS: &[(&str, &str, &str)] = &[(
    "tokenservice.services",
    "storage: filesystem",
    "storage: filesystem\ntokenservice: {services: [a.lab]}",
)];

#[test]
fn a_registry_is_named_once() {
    let errors = |services: &str| {
        let text = format!("version: 0.1\nstorage: filesystem\ntokenservice: {{services: {services}}}");
        Config::from_yaml(&text, "config.yml", &Environment::default()).unwrap_err().to_string()
    };
    assert!(errors("[a.lab, a.lab]").contains("names a.lab twice"));
    assert!(errors("[\"\"]").contains("holds an empty name"));
}
