use larder_core::QuotaRule;

use super::super::super::Config;
use crate::config::Environment;

const ONE: &str = "storage: filesystem\nquotas: [{maxtags: 1, maxbytes: 1}]";

pub(in crate::config::build) const ROWS: &[(&str, &str, &str)] = &[
    ("quotas", "storage: filesystem", ONE),
    ("quotas[].in", ONE, "storage: filesystem\nquotas: [{in: a, maxtags: 1, maxbytes: 1}]"),
    ("quotas[].maxbytes", ONE, "storage: filesystem\nquotas: [{maxtags: 1, maxbytes: 2}]"),
    ("quotas[].maxtags", ONE, "storage: filesystem\nquotas: [{maxtags: 2, maxbytes: 1}]"),
    ("quotas[].cached", ONE, "storage: filesystem\nquotas: [{maxtags: 1, maxbytes: 1, cached: true}]"),
];

fn read(quotas: &str) -> Result<Vec<QuotaRule>, String> {
    let text = format!("version: 0.1\nstorage: filesystem\nquotas:\n{quotas}");
    match Config::from_yaml(&text, "config.yml", &Environment::default()) {
        Ok(loaded) => Ok(loaded.config.quotas),
        Err(error) => Err(error.to_string()),
    }
}

#[test]
fn a_quota_says_whom_it_means_and_how_much() {
    let quotas = read(
        "  - {in: [team/**, shared], maxbytes: 50GiB}\n  - maxtags: 1000\n    in: tmp/*\n    cached: true\n",
    )
    .unwrap();
    let [first, second] = <[QuotaRule; 2]>::try_from(quotas).unwrap();
    assert_eq!(&*first.place, "config.yml:4, quota 1");
    assert_eq!((first.bytes, first.tags, first.copies), (Some(50 << 30), None, false));
    assert!(first.is_about(&"team/a/b".parse().unwrap()) && first.is_about(&"shared".parse().unwrap()));
    assert!(!first.is_about(&"shared/app".parse().unwrap()));
    assert_eq!((second.bytes, second.tags, second.copies), (None, Some(1000), true));
}

#[test]
fn a_quota_that_limits_nothing_or_everything_is_refused_at_its_place() {
    for (quotas, words) in [
        ("  - in: team/**\n", "config.yml:4:5: "),
        ("  - in: team/**\n", "a quota says how much there may be"),
        ("  - {maxbytes: 0}\n", "config.yml:4:16: "),
        ("  - {maxbytes: -5}\n", "must be 1 or more"),
        ("  - {maxtags: many}\n", "config.yml:4:15: "),
        (
            "  - {maxbytes: 50GX}\n",
            "config.yml:4:16: \"quotas[].maxbytes\" is \"50GX\", which has the unit \"GX\"",
        ),
        ("  - {maxbytes: 50Gb}\n", "is \"50Gb\", which may mean bits by \"Gb\"; write GB for bytes"),
        ("  - {maxbytes: 0.5B}\n", "must be 1 or more"),
        ("  - {maxtags: 1k}\n", "\"quotas[].maxtags\" must be a whole number"),
        ("  - {in: Team, maxtags: 1}\n", "is no pattern"),
        ("  - {maxbyte: 1}\n", "maxbytes"),
    ] {
        let errors = read(quotas).unwrap_err();
        assert!(errors.contains(words), "{quotas}: {errors}");
    }
}

#[test]
fn one_mistake_is_told_once() {
    for quotas in ["  - {maxbytes: 50GX}\n", "  - {maxtags: many}\n"] {
        let errors = read(quotas).unwrap_err();
        assert_eq!(errors.lines().count(), 1, "{errors}");
    }
}
