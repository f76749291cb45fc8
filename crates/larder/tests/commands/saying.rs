//! What commands say, and where they are not heard.

use std::process::{Command, Stdio};

use crate::support::{World, larder, ok, refused};

/// How a command ends whose output nobody reads.
fn unheard(mut command: Command) -> (Option<i32>, String) {
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let output = command.stdout(Stdio::from(writer)).output().unwrap();
    (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
}

#[test]
fn a_command_whose_reader_has_left_ends_without_a_word() {
    let world = World::new();
    let server = world.serve();
    ok(larder(&["import", world.archive("app", 1, 1000).to_str().unwrap(), "--to", &server.host]));
    let data = world.data.to_str().unwrap();
    for arguments in [
        &["completions", "bash"] as &[&str],
        &["man"],
        &["config", "schema"],
        &["history", "app:0", "--data", data],
        &["undo", "--data", data],
        &["gc", "--dry-run", "--data", data],
        &["cache", "status", "--data", data],
        &["status", "--data", data],
        &["du", "--data", data],
        &["problems", "--data", data],
    ] {
        assert_eq!(unheard(larder(arguments)), (Some(141), String::new()), "{arguments:?}");
    }
}

#[test]
fn the_problems_of_this_machines_registry_are_told_without_a_password() {
    let world = World::new();
    let server = world.serve();
    let data = world.data.to_str().unwrap();
    assert_eq!(ok(larder(&["problems", "--data", data])), "no problems\n");
    let answer: serde_json::Value =
        serde_json::from_str(&ok(larder(&["problems", "--clients", "--json", "--data", data]))).unwrap();
    assert!(answer["clients"].is_array(), "{answer}");
    drop(server);
    let said = refused(larder(&["problems", "--data", data]));
    assert!(said.contains(&format!("no Larder runs on {data}")), "{said}");
}

#[test]
fn what_is_no_data_directory_is_named() {
    let world = World::new();
    let file = world.path("a-file");
    std::fs::write(&file, "x").unwrap();
    let file = file.to_str().unwrap();
    for arguments in [["serve", "--data", file], ["status", "--data", file], ["gc", "--data", file]] {
        let said = refused(larder(&arguments));
        assert!(said.contains(file) && said.contains("Not a directory"), "{arguments:?}: {said}");
    }
}
