use super::*;
use crate::config::{Config, ConfigErrors, Environment, Loaded};

const HEAD: &str = "\
version: 0.1
storage: {filesystem: {rootdirectory: /data}}
auth: {htpasswd: {realm: Registry, path: /users}}
";

fn load(access: &str) -> Result<Loaded, ConfigErrors> {
    Config::from_yaml(&format!("{HEAD}{access}"), "/etc/larder/config.yml", &Environment::default())
}

fn rules(access: &str) -> Vec<String> {
    let config = load(access).unwrap_or_else(|errors| panic!("{errors}")).config;
    config.access.unwrap().rules.iter().map(Rule::to_string).collect()
}

fn mistakes(access: &str) -> String {
    load(access).unwrap_err().to_string()
}

#[test]
fn three_lines_of_rules() {
    let found = rules(
        "\
access:
  groups:
    team: [alice, bob]
    ci: {htpasswd: /etc/larder/ci}
  rules:
    - {who: anonymous, may: pull}
    - {who: [team, carol], may: [pull, push], in: \"team/**\"}
    - {who: bob, may_not: delete, in: [\"team/prod/**\", base]}
    - who: ci
      may: all
",
    );
    let expected = [
        "config.yml:9, rule 1: anonymous may pull in **",
        "config.yml:10, rule 2: team, carol may pull, push in team/**",
        "config.yml:11, rule 3: bob may not delete in team/prod/**, base",
        "config.yml:12, rule 4: ci may pull, push, delete, list, admin in **",
    ];
    assert_eq!(found, expected);
}

#[test]
fn a_name_that_is_a_groups_is_the_group() {
    let text = "access: {groups: {team: [bob]}, rules: [{who: [team, bob], may: pull}]}\n";
    let access = load(text).unwrap().config.access.unwrap();
    assert_eq!(access.rules[0].who, [Who::Group("team".into()), Who::User("bob".into())]);
    assert_eq!(access.groups["team"], Group::Listed(BTreeSet::from(["bob".into()])));
}

#[test]
fn what_is_wrong_is_said_with_its_place_and_its_fix() {
    let cases = [
        ("access:\n", "config.yml:4:1: \"access.rules\" is missing: without a rule nobody may do anything"),
        ("access: {rules: [{may: pull}]}", "\"access.rules[0]\" says nobody; add who: anonymous"),
        ("access: {rules: [{who: bob}]}", "\"access.rules[0]\" allows nothing and forbids nothing"),
        ("access: {rules: [{who: bob, may: pull, may_not: push}]}", "both allows and forbids; make two"),
        (
            "access: {rules: [{who: bob, may: [pull, psuh]}]}",
            "config.yml:4:41: \"access.rules[0].may\" has the unknown action \"psuh\"; did you mean \"push\"?",
        ),
        ("access: {rules: [{who: bob, may: fly}]}", "there is pull, push, delete, list, admin, all"),
        (
            "access: {rules: [{who: bob, may: pull, in: \"Team/**\"}]}",
            "config.yml:4:44: \"access.rules[0].in\" is \"Team/**\": the repository pattern can't match any name: ",
        ),
        ("access: {rules: [{who: bob, may: pull, in: \"a**\"}]}", "`**` stands alone between slashes"),
        (
            "access: {rules: [{who: bob, may: pull, inn: a}]}",
            "unknown key \"inn\" below \"access.rules[]\"; did you mean \"in\"?",
        ),
        ("access: {rules: [{who: {a: b}, may: pull}]}", "must be a word, or a list such as [one, two]"),
        ("access: {rules: {who: bob}}", "\"access.rules\" must be a list of maps"),
        (
            "access: {groups: {anonymous: [bob]}, rules: [{who: bob, may: pull}]}",
            "\"access.groups.anonymous\" has a name that rules already use",
        ),
        (
            "access: {groups: {ci: {htpaswd: /x}}, rules: [{who: ci, may: pull}]}",
            "unknown key \"htpaswd\" below \"access.groups.ci\"; did you mean \"htpasswd\"?",
        ),
        ("access: {groups: {ci: []}, rules: [{who: ci, may: pull}]}", "\"access.groups.ci\" has no members"),
        ("access: {groups: {ci: {htpasswd: }}, rules: [{who: ci, may: pull}]}", "must name a file"),
        ("access: {groups: [ci], rules: [{who: ci, may: pull}]}", "\"access.groups\" must be a map"),
    ];
    for (text, words) in cases {
        let found = mistakes(text);
        assert!(found.contains(words), "{text}\n{found}");
    }
}

#[test]
fn all_mistakes_are_reported_together() {
    let found = mistakes("access:\n  rules:\n    - {who: bob, may: fly, in: A}\n    - {may: pull}\n");
    assert_eq!(found.lines().count(), 3, "{found}");
}

#[test]
fn rules_need_users() {
    let rules = "access: {rules: [{who: anonymous, may: pull}]}\n";
    for auth in ["", "auth: none\n"] {
        let text = format!("version: 0.1\nstorage: {{filesystem: }}\n{auth}{rules}");
        let errors = Config::from_yaml(&text, "config.yml", &Environment::default()).unwrap_err().to_string();
        assert!(errors.contains("\"auth\" is missing: rules are about users"), "{errors}");
    }
}

#[test]
fn variables_set_rules_of_the_built_in_configuration() {
    let variables = [
        ("REGISTRY_ACCESS_RULES_0_WHO", "authenticated"),
        ("REGISTRY_ACCESS_RULES_0_MAY", "[pull, push]"),
        ("REGISTRY_ACCESS_RULES_1_WHO", "bob"),
        ("REGISTRY_ACCESS_RULES_1_MAYNOT", "push"),
        ("REGISTRY_ACCESS_RULES_1_IN", "prod/**"),
    ];
    let environment = variables.into_iter().map(|(name, value)| (name.into(), value.into())).collect();
    let loaded = Config::builtin(Path::new("/data"), &environment).unwrap();
    let rules: Vec<_> = loaded.config.access.unwrap().rules.iter().map(Rule::to_string).collect();
    let expected = ["rule 1: authenticated may pull, push in **", "rule 2: bob may not push in prod/**"];
    assert_eq!(rules, expected);
    assert_eq!(loaded.warnings, [""; 0]);
}

#[test]
fn a_slip_in_a_word_for_everybody_is_said_and_not_taken_for_a_user_in_silence() {
    let warnings =
        |who: &str| load(&format!("access: {{rules: [{{who: {who}, may: pull}}]}}\n")).unwrap().warnings;
    let [said] = &*warnings("anonymos") else { panic!("one warning") };
    assert!(said.ends_with("means a user \"anonymos\"; did you mean \"anonymous\"?"), "{said}");
    assert!(warnings("[alice, Authenticated]")[0].contains("did you mean \"authenticated\"?"));
    assert_eq!(warnings("[alice, anonymous, authenticated]"), Vec::<String>::new());
}

#[test]
fn a_directory_of_users_that_larder_does_not_ask_is_answered_with_what_it_has() {
    let error = Config::from_yaml(
        "version: 0.1\nstorage: filesystem\nauth: {ldap: {url: x}}\n",
        "config.yml",
        &Environment::default(),
    );
    let said = error.unwrap_err().to_string();
    assert!(said.contains("unknown key \"ldap\" below \"auth\"; users stand in htpasswd files"), "{said}");
}
