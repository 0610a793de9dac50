//! Reading JSON documents, with or without a version.

use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::error::{Error, ErrorKind};

/// Reads a JSON document with or without a version, `what` in words (`bridge`, `plan`).
///
/// The version is looked at first: what else a document of a later one holds may be unreadable for that very reason.
///
/// # Errors
/// [`ErrorKind::Invalid`] for a document of a version other than `version`, and for a text that is no such document.
pub fn read<T: DeserializeOwned>(text: &str, what: &str, version: u32) -> Result<T, Error> {
    read_with(text, what, version, |e| {
        Error::new(ErrorKind::Invalid, format!("{what} is not a document that is understood: {e}"))
            .with_object(what)
            .with_hint("`xennet schema` lists the documents, and shows what is in each")
    })
}

/// The same, where a text that is no such document has an error of its own.
pub(crate) fn read_with<T: DeserializeOwned>(
    text: &str,
    what: &str,
    version: u32,
    unreadable: impl Fn(&serde_json::Error) -> Error,
) -> Result<T, Error> {
    // Where there is no version the text itself is read, so that errors have their line and column.
    if let Ok(Value::Object(mut members)) = json(text)
        && let Some(found) = members.remove("version")
    {
        check(&found, what, version)?;
        return serde_json::from_value(Value::Object(members)).map_err(|e| unreadable(&e));
    }
    json(text).map_err(|e| unreadable(&e))
}

/// Reads JSON. From bytes, as journals are read: with a reader of texts besides, the library would have two readers of every type.
pub(crate) fn json<T: DeserializeOwned>(text: &str) -> serde_json::Result<T> {
    serde_json::from_slice(text.as_bytes())
}

/// Refuses a version other than the one that is read.
pub(crate) fn check(found: &Value, what: &str, version: u32) -> Result<(), Error> {
    if found.as_u64() == Some(u64::from(version)) {
        return Ok(());
    }
    let message = match found.as_u64() {
        Some(_) => format!("{what} is of version {found}, and this xennet reads version {version}"),
        None => format!("the version of {what} cannot be {found}: it is a whole number, here {version}"),
    };
    let hint = match found.as_u64().is_some_and(|found| found > u64::from(version)) {
        true => "read it with the xennet that made it, or a newer one".to_owned(),
        false => format!("write \"version\": {version}, or leave it out"),
    };
    Err(Error::new(ErrorKind::Invalid, message).with_object(what).with_hint(hint).unchanged())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::BridgeSpec;

    fn bridge(text: &str) -> Result<BridgeSpec, Error> {
        read(text, "bridge", 1)
    }

    #[test]
    fn a_document_is_read_with_its_version_and_without() {
        let plain = bridge(r#"{"name": "xenbr0"}"#).unwrap();
        assert_eq!(bridge(r#"{"version": 1, "name": "xenbr0"}"#).unwrap(), plain);
    }

    #[test]
    fn a_document_of_another_version_is_refused() {
        for (version, message, hint) in [
            ("2", "bridge is of version 2, and this xennet reads version 1", "newer one"),
            ("0", "bridge is of version 0, and this xennet reads version 1", "leave it out"),
            ("\"1\"", "the version of bridge cannot be \"1\"", "leave it out"),
            ("1.5", "the version of bridge cannot be 1.5", "leave it out"),
            ("null", "the version of bridge cannot be null", "leave it out"),
            ("18446744073709551616", "the version of bridge cannot be 1.8446744073709552e+19", "leave it out"),
        ] {
            // What the rest means is unknown then, and not asked for.
            let e = bridge(&format!(r#"{{"version": {version}, "unheard": "of"}}"#)).unwrap_err();
            assert!(e.message().starts_with(message), "{e}");
            assert!(e.hint().unwrap().contains(hint), "{e}");
            assert_eq!((e.kind(), e.object()), (ErrorKind::Invalid, Some("bridge")));
        }
    }

    #[test]
    fn what_is_no_document_is_refused_with_its_place() {
        for text in ["", "null", "7", "[]", "{", r#"{"name": 7}"#, "{\n\"name\": \"xenbr0\",\n\"nmae\": 1}"] {
            let e = bridge(text).unwrap_err();
            assert!(e.message().starts_with("bridge is not a document that is understood: "), "{e}");
            assert!(e.message().contains("line "), "{e}");
        }
    }
}
