//! One network without a file: from its document, and from and to the keys that it has in the file.

use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::Value;

use super::{parse, render};
use crate::config::document::Document;
use crate::error::{Error, ErrorKind};
use crate::model::flaw::quoted;
use crate::model::{Network, together};

/// The network of this name with these keys and values, as they would stand in the file: a map, or a struct that serde writes as one.
/// A `null` is a key that is left out.
///
/// # Errors
/// [`ErrorKind::Invalid`] as [`parse`], but without a place: there is no text that the caller gave. The same for keys that are no map.
///
/// ```
/// use xennet_core::config::networks;
///
/// let keys = serde_json::json!({ "mode": "nat", "subnets": ["10.0.0.0/24"], "dhcp": true });
/// let network = networks::from_keys("private", &keys)?;
/// assert_eq!(network.subnets()[0].gateway().to_string(), "10.0.0.254");
/// assert_eq!(networks::to_keys(&network).to_string(), keys.to_string());
/// # Ok::<(), xennet_core::Error>(())
/// ```
pub fn from_keys(name: &str, keys: &impl Serialize) -> Result<Network, Error> {
    let no_keys = |why: String| {
        Error::new(ErrorKind::Invalid, format!("network {}: {why}", quoted(name)))
            .with_object(name)
            .with_hint("give a map of the keys that a network has in networks.toml")
    };
    let keys = match serde_json::to_value(keys) {
        Ok(Value::Object(keys)) => keys,
        Ok(_) => return Err(no_keys("its keys are no map".to_owned())),
        Err(e) => return Err(no_keys(format!("its keys cannot be read: {e}"))),
    };
    let mut text = format!("[network.{}]\n", toml(&Value::from(name)));
    for (key, value) in keys.iter().filter(|(_, value)| !value.is_null()) {
        text.push_str(&format!("{} = {}\n", toml(&Value::from(key.as_str())), toml(value)));
    }
    only(&text).map_err(|e| without_place(&e, name))
}

/// The keys and values that make this network with [`from_keys`]: those that differ from what is taken where a key is left out.
pub fn to_keys(network: &Network) -> Document {
    Document::part(render::keys(network).into_iter().collect::<BTreeMap<_, _>>())
}

/// The first of the other networks that contradicts this one, and how, by the rules of a file that has them both.
///
/// ```
/// use xennet_core::config::networks::{contradicts, parse};
/// let of = |text: &str| parse(text).map(|found| found.iter().next().cloned().unwrap());
/// let a = of("[network.a]\nmode = \"nat\"\nsubnets = [\"10.0.0.0/16\"]\n")?;
/// let b = of("[network.b]\nmode = \"nat\"\nsubnets = [\"10.0.7.0/24\"]\n")?;
/// let (other, why) = contradicts(&b, [&a]).unwrap();
/// assert_eq!((other, why.message()), (&a, "10.0.7.0/24 of network b overlaps with 10.0.0.0/16 of network a: every address is in one network"));
/// # Ok::<(), xennet_core::Error>(())
/// ```
pub fn contradicts<'a>(
    network: &Network,
    others: impl IntoIterator<Item = &'a Network>,
) -> Option<(&'a Network, Error)> {
    others.into_iter().find_map(|other| {
        let flaw = together(&[other, network]).err()?;
        Some((other, flaw.without_place(network.name().as_str())))
    })
}

/// The one network of a text.
fn only(text: &str) -> Result<Network, Error> {
    let mut found = parse(text)?.0;
    match (found.pop(), found.is_empty()) {
        (Some(network), true) => Ok(network),
        _ => Err(Error::new(ErrorKind::Internal, "one network was written, and another number of them was read")),
    }
}

/// The same finding where the text is none that the caller knows.
fn without_place(error: &Error, name: &str) -> Error {
    let told = match error.diagnostic() {
        Some(d) => Error::new(error.kind(), format!("{}: {}", d.message, d.rule)),
        None => Error::new(error.kind(), error.message()),
    };
    let told = told.with_object(name);
    match error.hint() {
        Some(hint) => told.with_hint(hint),
        None => told,
    }
}

/// A value as TOML has it. Texts are escaped as in JSON, which are TOML texts but for DEL.
fn toml(value: &Value) -> String {
    match value {
        Value::Array(items) => format!("[{}]", items.iter().map(toml).collect::<Vec<_>>().join(", ")),
        Value::Object(members) => {
            let one =
                |(key, value): (&String, &Value)| format!("{} = {}", toml(&Value::from(key.as_str())), toml(value));
            format!("{{ {} }}", members.iter().filter(|(_, v)| !v.is_null()).map(one).collect::<Vec<_>>().join(", "))
        }
        other => other.to_string().replace('\u{7f}', "\\u007f"),
    }
}
