//! JSON of others, of which nothing can be taken for granted.

use serde_json::Value;

use super::ImagesError;

/// JSON out of a file that is called `what`.
pub(super) fn parsed(what: &str, bytes: &[u8]) -> Result<Value, ImagesError> {
    serde_json::from_slice(bytes)
        .map_err(|error| ImagesError::Content { what: what.to_owned(), problem: error.to_string() })
}

/// What stands there; null if nothing does.
pub(super) fn at<'v>(value: &'v Value, path: &[&str]) -> &'v Value {
    path.iter().try_fold(value, |value, part| value.get(part)).unwrap_or(&Value::Null)
}

/// Sets a field, if it is an object.
pub(super) fn set(value: &mut Value, name: &str, field: impl Into<Value>) {
    if let Some(fields) = value.as_object_mut() {
        fields.insert(name.to_owned(), field.into());
    }
}
