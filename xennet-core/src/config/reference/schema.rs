//! The tables as JSON schemas: of the file's values, as a program that converts TOML to JSON has them.

use serde_json::{Map, Value, json};
use toml::de::{DeTable, DeValue};

use super::{Absent, FORWARD, HOTPLUG, Key, Kind, MODES, of_mode};

/// The schema of `networks.toml`.
pub(crate) fn networks_file() -> Value {
    let mut defs: Map<String, Value> = MODES
        .iter()
        .map(|mode| {
            let mut table = table(of_mode(mode));
            table["properties"]["mode"]["const"] = json!(mode);
            table["properties"]["mode"].as_object_mut().map(|m| m.remove("enum"));
            table["properties"]["mode"]["examples"] = json!([mode]);
            ((*mode).to_owned(), table)
        })
        .collect();
    defs.insert("forward".into(), table(FORWARD));
    let modes: Vec<Value> = MODES.iter().map(|mode| json!({ "$ref": format!("#/$defs/{mode}") })).collect();
    json!({
        "type": "object",
        "properties": {
            "network": {
                "description": "The networks by their names: [network.NAME].",
                "type": "object",
                "propertyNames": { "minLength": 1, "maxLength": 15 },
                "additionalProperties": { "oneOf": modes },
            },
        },
        "additionalProperties": false,
        "$defs": defs,
    })
}

/// The schema of `hotplug.toml`.
pub(crate) fn hotplug_file() -> Value {
    table(HOTPLUG)
}

/// Keys as the members of an object. What JSON Schema has no word for is in members that begin with `x-`.
fn table<'a>(keys: impl IntoIterator<Item = &'a Key>) -> Value {
    let (mut properties, mut required) = (Map::new(), Vec::new());
    for key in keys {
        properties.insert(key.name.to_owned(), member(key));
        if matches!(key.absent, Absent::Refused) {
            required.push(key.name);
        }
    }
    let mut table = json!({ "type": "object", "properties": properties, "additionalProperties": false });
    if !required.is_empty() {
        table["required"] = json!(required);
    }
    table
}

fn member(key: &Key) -> Value {
    let mut member = match key.kind {
        Kind::Flag => json!({ "type": "boolean" }),
        Kind::Number(least, most) => json!({ "type": "integer", "minimum": least, "maximum": most }),
        Kind::Text(what) => json!({ "type": "string", "x-is": what }),
        Kind::Words(words) => json!({ "type": "string", "enum": words }),
        Kind::Texts(what) => json!({ "type": "array", "items": { "type": "string", "x-is": what } }),
        Kind::TextOrNumber(what) => json!({ "type": ["string", "integer"], "x-is": what }),
        Kind::Tables => json!({ "type": "array", "items": { "$ref": "#/$defs/forward" } }),
    };
    member["description"] = json!(key.what);
    match key.absent {
        Absent::Value(value) => member["default"] = of_toml(value),
        Absent::Means(words) => member["x-default"] = json!(words),
        Absent::Refused => {}
    }
    member["examples"] = json!([of_toml(key.example)]);
    if !key.modes.is_empty() {
        member["x-while-started"] = json!(key.changes);
    }
    member
}

/// A value of the tables as JSON.
fn of_toml(text: &str) -> Value {
    let text = format!("value = {text}");
    let table = DeTable::parse(&text).map(toml::Spanned::into_inner).unwrap_or_default();
    table.into_iter().next().map_or(Value::Null, |(_, value)| json_of(value.get_ref()))
}

fn json_of(value: &DeValue<'_>) -> Value {
    match value {
        DeValue::String(text) => json!(text),
        DeValue::Integer(number) => json!(i64::from_str_radix(number.as_str(), number.radix()).unwrap_or_default()),
        DeValue::Boolean(flag) => json!(flag),
        DeValue::Array(items) => items.iter().map(|item| json_of(item.get_ref())).collect(),
        DeValue::Table(members) => {
            members.iter().map(|(key, value)| (key.get_ref().to_string(), json_of(value.get_ref()))).collect()
        }
        // No key of ours has one.
        DeValue::Float(_) | DeValue::Datetime(_) => Value::Null,
    }
}
