use super::*;
use crate::config::Config;

fn environment(variables: &[(&str, &str)]) -> Environment {
    variables.iter().map(|(name, value)| (OsString::from(name), OsString::from(value))).collect()
}

#[test]
fn the_data_directory_in_its_order() {
    let all = [(ROOT_DIRECTORY, "/root-directory"), ("XDG_DATA_HOME", "/xdg"), ("HOME", "/home/ada")];
    let without = |count: usize| environment(&all[count..]);
    for (data, environment, may_use_system_directory, expected) in [
        (Some("data"), without(0), true, Some("data")),
        (None, without(0), true, Some("/root-directory")),
        (None, environment(&[(ROOT_DIRECTORY, "\"/with # sign\"")]), false, Some("/with # sign")),
        (None, environment(&[(ROOT_DIRECTORY, "@odd")]), false, Some("@odd")),
        (None, environment(&[(ROOT_DIRECTORY, "")]), true, Some("/var/lib/registry")),
        (None, without(1), true, Some("/var/lib/registry")),
        (None, without(1), false, Some("/xdg/larder")),
        (None, without(2), false, Some("/home/ada/.local/share/larder")),
        (
            None,
            environment(&[("XDG_DATA_HOME", "relative"), ("HOME", "/h")]),
            false,
            Some("/h/.local/share/larder"),
        ),
        (None, environment(&[("HOME", "relative")]), false, None),
        (None, without(3), false, None),
    ] {
        let found = data_directory(data.map(Path::new), &environment, may_use_system_directory);
        assert_eq!(
            found.ok(),
            expected.map(PathBuf::from),
            "{data:?} {environment:?} {may_use_system_directory}"
        );
    }
}

#[test]
fn the_source_in_its_order() {
    let named = environment(&[(CONFIGURATION_PATH, "/etc/named.yml"), ("HOME", "/h")]);
    let unnamed = environment(&[(CONFIGURATION_PATH, ""), ("HOME", "/h")]);
    let file = |path: &str| Source::File(path.into());
    let built_in = |path: &str| Source::BuiltIn(path.into());
    for (config, data, environment, expected) in [
        (Some("a.yml"), None, &named, file("a.yml")),
        (None, None, &named, file("/etc/named.yml")),
        (None, Some("d"), &named, built_in("d")),
        (None, Some("d"), &unnamed, built_in("d")),
        (None, None, &unnamed, built_in("/h/.local/share/larder")),
    ] {
        let found = Source::choose(config.map(Path::new), data.map(Path::new), environment, false);
        assert_eq!(found.as_ref(), Ok(&expected));
    }
    assert_eq!(Source::choose(None, None, &environment(&[]), false), Err(NoDataDirectory));
}

#[test]
fn a_configuration_where_the_image_looks_for_one() {
    let directory = tempfile::tempdir().unwrap();
    let there = directory.path().join("config.yml");
    let listed = format!("/nowhere/config.yml:{}", there.display());
    let variables = environment(&[(CONFIG_IF_PRESENT, &listed), ("HOME", "/h")]);
    let choose = |data: Option<&Path>| Source::choose(None, data, &variables, false).unwrap();
    assert_eq!(choose(None), Source::BuiltIn("/h/.local/share/larder".into()));
    larder_storage::replace_file(&there, b"version: 0.1", None).unwrap();
    assert_eq!(choose(None), Source::File(there));
    assert_eq!(choose(Some(Path::new("d"))), Source::BuiltIn("d".into()));
}

#[test]
fn only_registry_variables_may_set_keys_and_debug_shows_no_value() {
    let environment = environment(&[
        ("HOME", "/h"),
        ("REGISTRY", "x"),
        (CONFIGURATION_PATH, "c"),
        ("REGISTRY_HTTP_SECRET", "hush"),
    ]);
    let names: Vec<&str> = environment.overrides().map(|(name, _)| name).collect();
    assert_eq!(names, ["REGISTRY_HTTP_SECRET"]);
    assert!(!format!("{environment:?}").contains("hush"));
}

#[cfg(unix)]
#[test]
fn a_value_that_is_not_text_is_a_mistake() {
    use std::os::unix::ffi::OsStringExt;
    for name in ["REGISTRY_HTTP_ADDR", ROOT_DIRECTORY] {
        let environment: Environment = [(name.into(), OsString::from_vec(vec![0xff]))].into_iter().collect();
        assert_eq!(environment.overrides().collect::<Vec<_>>(), [(name, Err(Mistake::NotUtf8))]);
        let errors = Config::builtin(Path::new("/data"), &environment).unwrap_err().to_string();
        assert_eq!(errors, format!("{name}: the variable's value is not UTF-8"));
    }
}
