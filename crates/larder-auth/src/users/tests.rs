use super::*;
use crate::secret::Password;
use crate::testing::write;

const CAROL: &str = "carol:$2y$04$VMVseOXacx7aBW7FmNcUSeoEQczfRUS/8nxWLBLrlPccMmOjKy1My\n";
const BOB_A: &str = "bob:$2a$06$m0CrhHm10qJ3lXRY.5zDGO3rS2KdeeWLuGmsfGlMfOxih58VYVfxe\n";
const BOB_S3CRET: &str = "bob:$2y$04$VMVseOXacx7aBW7FmNcUSeoEQczfRUS/8nxWLBLrlPccMmOjKy1My\n";

struct Files {
    directory: tempfile::TempDir,
}

impl Files {
    fn new(files: &[(&str, &str)]) -> Files {
        let home = Files { directory: tempfile::tempdir().unwrap() };
        for (name, content) in files {
            write(&home.path(name), content.as_bytes());
        }
        home
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn users(&self) -> Users {
        Users::open([self.path("main"), self.path("ci")]).unwrap()
    }
}

fn admits(users: &Users, user: &str, password: &str) -> bool {
    let tables = users.current();
    let (_, _, hash) = tables.find(user).unwrap();
    hash.matches(&Password::from(password)).unwrap()
}

#[test]
fn of_two_files_with_a_user_the_first_counts() {
    let files = Files::new(&[("main", BOB_A), ("ci", &format!("{CAROL}{BOB_S3CRET}"))]);
    let users = files.users();
    assert!(admits(&users, "bob", "a") && !admits(&users, "bob", "s3cret"));
    assert_eq!(users.file_of("bob"), Some(files.path("main").as_path()));
    assert_eq!(users.file_of("carol"), Some(files.path("ci").as_path()));
    assert_eq!(users.file_of("dave"), None);
    // Gone from the first, he is the second's.
    write(&files.path("main"), b"");
    assert!(admits(&users, "bob", "s3cret"));
    assert_eq!(users.file_of("bob"), Some(files.path("ci").as_path()));
}

#[test]
fn each_change_of_any_file_is_a_generation() {
    let files = Files::new(&[("main", BOB_A), ("ci", CAROL)]);
    let users = files.users();
    let mut generations = vec![users.current().generation()];
    assert_eq!(users.current().generation(), generations[0], "nothing has changed");
    for (name, content) in [("main", ""), ("ci", ""), ("ci", CAROL), ("main", BOB_A)] {
        write(&files.path(name), content.as_bytes());
        generations.push(users.current().generation());
    }
    assert!(generations.is_sorted_by(|one, other| one < other), "{generations:?}");
    // Other files in their place are another generation as well.
    let others = files.users();
    others.begin_after(&users);
    assert!(others.current().generation() > users.current().generation());
}

#[test]
fn a_broken_file_among_several_stops_the_start() {
    let files = Files::new(&[("main", BOB_A), ("ci", "robot:hunter2\n")]);
    let error = Users::open([files.path("main"), files.path("ci")]).unwrap_err();
    assert!(error.to_string().contains("ci line 1, user \"robot\""), "{error}");
}
