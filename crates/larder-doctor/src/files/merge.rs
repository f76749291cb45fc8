//! Adding to a file without taking anything from it.

use serde_json::Value;
use toml_edit::{DocumentMut, Item, TableLike};

/// Why a file can't be merged.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MergeError {
    /// What is there isn't what it should be.
    #[error("what is there can't be read: {0}")]
    Unreadable(String),
    /// Something else stands where this has to.
    #[error("{key} is there already, with another value: change it by hand")]
    Conflict {
        /// The key, with those that it lies in.
        key: String,
    },
    /// This kind of file is left to a person.
    #[error("there is a file already, and it isn't changed: add by hand what is printed")]
    ByHand,
}

/// Objects are merged, lists get what they lack, and anything else must be the same.
pub(super) fn json(present: &str, wanted: &str) -> Result<String, MergeError> {
    let read = |text: &str| -> Result<Value, MergeError> {
        serde_json::from_str(text).map_err(|error| MergeError::Unreadable(error.to_string()))
    };
    let mut merged = read(present)?;
    add_json(&mut merged, &read(wanted)?, "")?;
    Ok(format!("{merged:#}\n"))
}

fn add_json(present: &mut Value, wanted: &Value, key: &str) -> Result<(), MergeError> {
    match (present, wanted) {
        (Value::Object(present), Value::Object(wanted)) => {
            for (name, value) in wanted {
                match present.get_mut(name) {
                    Some(there) => add_json(there, value, &join(key, name))?,
                    None => {
                        present.insert(name.clone(), value.clone());
                    }
                }
            }
            Ok(())
        }
        (Value::Array(present), Value::Array(wanted)) => {
            for value in wanted {
                if !present.contains(value) {
                    present.push(value.clone());
                }
            }
            Ok(())
        }
        (present, wanted) if present == wanted => Ok(()),
        _ => Err(MergeError::Conflict { key: key.to_owned() }),
    }
}

/// The same for TOML, with comments and order kept.
pub(super) fn toml(present: &str, wanted: &str) -> Result<String, MergeError> {
    let read = |text: &str| -> Result<DocumentMut, MergeError> {
        text.parse().map_err(|error: toml_edit::TomlError| {
            MergeError::Unreadable(error.to_string().lines().next().unwrap_or_default().to_owned())
        })
    };
    let mut merged = read(present)?;
    let wanted = read(wanted)?;
    // containerd's two versions of the file have the same settings under different names.
    let wanted = for_version(&merged, wanted);
    add_table(merged.as_table_mut(), wanted.as_table(), "")?;
    Ok(merged.to_string())
}

/// containerd 2's file (version 3) has the registry's settings in another plugin.
fn for_version(present: &DocumentMut, mut wanted: DocumentMut) -> DocumentMut {
    const OLD: &str = "io.containerd.grpc.v1.cri";
    const NEW: &str = "io.containerd.cri.v1.images";
    let is_new = present.get("version").and_then(Item::as_integer).is_some_and(|version| version >= 3);
    let plugins = wanted.get_mut("plugins").and_then(Item::as_table_like_mut);
    if let Some(plugins) = plugins.filter(|_| is_new)
        && let Some(settings) = plugins.remove(OLD)
    {
        plugins.insert(NEW, settings);
        wanted.remove("version");
    }
    wanted
}

fn add_table(present: &mut dyn TableLike, wanted: &dyn TableLike, key: &str) -> Result<(), MergeError> {
    for (name, item) in wanted.iter() {
        let key = join(key, name);
        let Some(there) = present.get_mut(name) else {
            present.insert(name, item.clone());
            continue;
        };
        if let (Some(there), Some(item)) = (there.as_table_like_mut(), item.as_table_like()) {
            add_table(there, item, &key)?;
        } else if let (Some(there), Some(item)) = (there.as_array_mut(), item.as_array()) {
            for value in item {
                let text = value.to_string();
                if !there.iter().any(|known| known.to_string().trim() == text.trim()) {
                    there.push(value.clone());
                }
            }
        } else if there.to_string().trim() != item.to_string().trim() {
            return Err(MergeError::Conflict { key });
        }
    }
    Ok(())
}

fn join(key: &str, name: &str) -> String {
    if key.is_empty() { name.to_owned() } else { format!("{key}.{name}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn daemon_json_keeps_what_it_says() {
        let merged = json(
            r#"{"log-driver":"journald","registry-mirrors":["https://other"]}"#,
            r#"{"registry-mirrors":["https://reg:5000"]}"#,
        )
        .expect("merged");
        let merged: Value = serde_json::from_str(&merged).expect("JSON");
        assert_eq!(
            merged,
            serde_json::json!({"log-driver": "journald", "registry-mirrors": ["https://other", "https://reg:5000"]})
        );
        let again =
            json(&merged.to_string(), r#"{"registry-mirrors":["https://reg:5000"]}"#).expect("merged");
        assert_eq!(
            serde_json::from_str::<Value>(&again).expect("JSON"),
            merged,
            "a second time changes nothing"
        );
    }

    #[test]
    fn what_stands_there_otherwise_is_left_to_a_person() {
        assert_eq!(
            json(r#"{"a":{"b":1}}"#, r#"{"a":{"b":2}}"#),
            Err(MergeError::Conflict { key: "a.b".to_owned() })
        );
        assert_eq!(
            toml("server = \"x\"\n", "server = \"y\"\n"),
            Err(MergeError::Conflict { key: "server".to_owned() })
        );
        assert!(matches!(json("{", "{}"), Err(MergeError::Unreadable(_))));
    }

    #[test]
    fn toml_keeps_comments_and_other_tables() {
        let present =
            "# mine\nserver = \"https://ghcr.io\"\n\n[host.\"https://other\"]\n  # theirs\n  ca = \"x\"\n";
        let wanted = "server = \"https://ghcr.io\"\n\n[host.\"https://reg:5000/v2/ghcr.io\"]\n  override_path = true\n";
        let merged = toml(present, wanted).expect("merged");
        for part in [
            "# mine",
            "# theirs",
            "[host.\"https://other\"]",
            "[host.\"https://reg:5000/v2/ghcr.io\"]",
            "override_path = true",
        ] {
            assert!(merged.contains(part), "{part} is not in {merged}");
        }
    }

    #[test]
    fn containerd_2_gets_the_setting_under_its_own_name() {
        let wanted = "version = 2\n\n[plugins.\"io.containerd.grpc.v1.cri\".registry]\nconfig_path = \"/etc/containerd/certs.d\"\n";
        let merged = toml("version = 3\nroot = \"/data\"\n", wanted).expect("merged");
        assert!(merged.contains("io.containerd.cri.v1.images") && merged.contains("version = 3"), "{merged}");
        assert!(!merged.contains("grpc.v1.cri"), "{merged}");
    }
}
