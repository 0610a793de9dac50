//! One network without a file: from its document, and from and to the keys that it has in the file.

use serde_json::{Map, Value};
use toml::de::DeValue;

use super::{parse, render};
use crate::config::tables;
use crate::error::{Error, ErrorKind};
use crate::model::Network;

/// The network of this name with these keys and values, as they would stand in the file. A `null` is a key that is left out.
///
/// # Errors
/// [`ErrorKind::Invalid`] as [`parse`], but without a place: there is no text that the caller gave.
///
/// ```
/// use xennet_core::config::networks;
/// let keys = serde_json::json!({ "mode": "nat", "subnets": ["10.0.0.0/24"], "dhcp": true });
/// let network = networks::from_keys("private", keys.as_object().unwrap())?;
/// assert_eq!(network.subnets()[0].gateway.to_string(), "10.0.0.254");
/// assert_eq!(&networks::to_keys(&network)?, keys.as_object().unwrap());
/// # Ok::<(), xennet_core::Error>(())
/// ```
pub fn from_keys(name: &str, keys: &Map<String, Value>) -> Result<Network, Error> {
    let mut text = format!("[network.{}]\n", toml(&Value::from(name)));
    for (key, value) in keys.iter().filter(|(_, value)| !value.is_null()) {
        text.push_str(&format!("{} = {}\n", toml(&Value::from(key.as_str())), toml(value)));
    }
    only(&text).map_err(|e| without_place(&e, name))
}

/// The keys and values that make this network with [`from_keys`]: those that differ from what is taken where a key is left out.
///
/// # Errors
/// [`ErrorKind::Internal`] if the network cannot be written as a file has it, which no network of [`parse`] is.
pub fn to_keys(network: &Network) -> Result<Map<String, Value>, Error> {
    let text = render([network]);
    let unwritten = || {
        Error::new(ErrorKind::Internal, format!("network {} cannot be written as networks.toml has it", network.name))
            .with_object(network.name.as_str())
    };
    let mut file = tables::parse(&text).map_err(|_| unwritten())?;
    let table = file.remove("network").and_then(|t| match t.into_inner() {
        DeValue::Table(mut networks) => networks.remove(network.name.as_str()),
        _ => None,
    });
    match table.map(|t| json(t.get_ref())) {
        Some(Some(Value::Object(keys))) => Ok(keys),
        _ => Err(unwritten()),
    }
}

/// Checks a network that was not read from a file by the rules of the file.
///
/// # Errors
/// [`ErrorKind::Invalid`] as [`parse`], but without a place; and for what the file has no words for.
pub fn check(network: &Network) -> Result<(), Error> {
    let name = network.name.as_str();
    let read = only(&render([network])).map_err(|e| without_place(&e, name))?;
    if read == *network {
        return Ok(());
    }
    // What is lost or changed on the way, to be found in the two documents.
    let (given, written) = (serde_json::json!(network), serde_json::json!(read));
    let differing = |(key, value): &(&String, &Value)| written.get(*key) != Some(*value);
    let keys: Vec<&str> =
        given.as_object().into_iter().flatten().filter(differing).map(|(key, _)| key.as_str()).collect();
    Err(Error::new(
        ErrorKind::Invalid,
        format!("network {name} is nothing that networks.toml can say: its {} cannot be so", keys.join(", its ")),
    )
    .with_object(name)
    .with_hint("take the document that the reading of a networks.toml gives"))
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
    let others: Vec<&Network> = others.into_iter().collect();
    // Mostly nothing does, and once is enough to know.
    let together = |networks: &[&Network]| parse(&render(networks.iter().copied())).map(|_| ());
    together(&[&others[..], &[network]].concat()).err()?;
    let is_one = |network: &Network| together(&[network]).is_ok();
    others.into_iter().filter(|other| is_one(other) && is_one(network)).find_map(|other| {
        let e = together(&[other, network]).err()?;
        Some((other, without_place(&e, network.name.as_str())))
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

/// A value of a rendered file as a document has it; the file has texts, whole numbers, truths, lists and tables.
fn json(value: &DeValue<'_>) -> Option<Value> {
    match value {
        DeValue::String(text) => Some(Value::from(text.as_ref())),
        DeValue::Boolean(truth) => Some(Value::from(*truth)),
        DeValue::Integer(number) => u64::from_str_radix(number.as_str(), number.radix()).ok().map(Value::from),
        DeValue::Array(items) => {
            items.iter().map(|item| json(item.get_ref())).collect::<Option<Vec<_>>>().map(Value::from)
        }
        DeValue::Table(table) => {
            let member = |(key, value): (&toml::Spanned<toml::de::DeString<'_>>, &toml::Spanned<DeValue<'_>>)| {
                Some((key.get_ref().to_string(), json(value.get_ref())?))
            };
            table.iter().map(member).collect::<Option<Map<_, _>>>().map(Value::Object)
        }
        DeValue::Float(_) | DeValue::Datetime(_) => None,
    }
}
