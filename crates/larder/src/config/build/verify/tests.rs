use super::super::super::Config;
use crate::config::Environment;

pub(in crate::config::build) const ROWS: &[(&str, &str, &str)] = &[
    (
        "storage.maintenance.verify.every",
        "storage: filesystem",
        "storage: {filesystem: , maintenance: {verify: {every: 1h}}}",
    ),
    (
        "storage.maintenance.verify.bytespersecond",
        "storage: filesystem",
        "storage: {filesystem: , maintenance: {verify: {bytespersecond: 1}}}",
    ),
    (
        "storage.maintenance.readonly.enabled",
        "storage: filesystem",
        "storage: {filesystem: , maintenance: {readonly: {enabled: true}}}",
    ),
];

#[test]
fn a_rate_of_nothing_is_refused() {
    let text = "version: 0.1\nstorage: {filesystem: , maintenance: {verify: {bytespersecond: 0}}}";
    let errors = Config::from_yaml(text, "config.yml", &Environment::default()).unwrap_err().to_string();
    assert!(errors.contains("must be more than nothing"), "{errors}");
}
