use super::*;

/// What registry:2 prints of the same, without its lines of what stays.
#[test]
fn a_plan_is_told_in_the_lines_of_registry_2() {
    let plan = serde_json::json!({
        "needed": 7,
        "manifests": [["a/b", "sha256:1"], ["a/b", "sha256:2"], ["foo", "sha256:3"]],
        "blobs": [["foo", "sha256:4"]],
        "contents": [["sha256:3", 10], ["sha256:4", 20]],
    });
    let mut out = Vec::new();
    print_plan(&plan, &mut out).unwrap();
    assert_eq!(
        String::from_utf8(out).unwrap(),
        "a/b\nmanifest eligible for deletion: sha256:1\nmanifest eligible for deletion: sha256:2\n\
         foo\nmanifest eligible for deletion: sha256:3\n\n\
         7 blobs marked, 2 blobs and 3 manifests eligible for deletion\n\
         foo: layer link eligible for deletion: sha256:4\n\
         blob eligible for deletion: sha256:3\nblob eligible for deletion: sha256:4\n"
    );
}
