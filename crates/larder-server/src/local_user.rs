//! Who runs a command of this machine: the kernel tells it of whoever connects to a socket file.

use std::fs::File;
use std::io::{self, Read as _};
use std::path::Path;

/// What stands before his name in the audit log: no user of the registry can be called so.
const PREFIX: &str = "unix:";

const USERS: &str = "/etc/passwd";

/// As much of that file as is looked at, in bytes.
const LONGEST: u64 = 1 << 20;

/// The machine's user with this number, by his name where the machine's own list of users tells it.
pub(crate) async fn named(uid: u32) -> String {
    let named = tokio::task::spawn_blocking(move || {
        read(Path::new(USERS)).ok().and_then(|users| name_in(&users, uid))
    });
    match named.await {
        Ok(Some(name)) => format!("{PREFIX}{name}"),
        Ok(None) | Err(_) => format!("{PREFIX}{uid}"),
    }
}

fn read(path: &Path) -> io::Result<String> {
    let mut users = Vec::new();
    File::open(path)?.take(LONGEST).read_to_end(&mut users)?;
    Ok(String::from_utf8_lossy(&users).into_owned())
}

/// passwd(5): name, password and number, with colons between them.
fn name_in(users: &str, uid: u32) -> Option<String> {
    users.lines().find_map(|line| {
        let mut fields = line.split(':');
        let name = fields.next().filter(|name| !name.is_empty())?;
        let number: u32 = fields.nth(1)?.parse().ok()?;
        (number == uid).then(|| name.to_owned())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_has_the_first_name_that_the_list_gives_it() {
        let users = "root:x:0:0:root:/root:/bin/sh\nbroken\n:x:7:7::/:\nanna:x:1000:1000::/home/anna:\ntoo:x:1000:1::/:\n";
        assert_eq!(name_in(users, 0).as_deref(), Some("root"));
        assert_eq!(name_in(users, 1000).as_deref(), Some("anna"));
        assert_eq!(name_in(users, 7), None);
        assert_eq!(name_in("", 0), None);
    }

    #[tokio::test]
    async fn a_user_whom_no_list_names_is_a_number() {
        assert_eq!(named(4_000_000_001).await, "unix:4000000001");
    }
}
