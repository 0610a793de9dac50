//! The keys of our files in words: what the manual pages and the book say of a key's type and of its values.

use serde_json::Value;

/// The type of a key in words.
pub fn kind(key: &Value) -> String {
    let is = |value: &Value| value["x-is"].as_str().map(|is| format!(": {is}")).unwrap_or_default();
    match key["type"].as_str() {
        Some("boolean") => "true or false".to_owned(),
        Some("integer") => format!("a whole number, {} to {}", key["minimum"], key["maximum"]),
        Some("array") if key["items"]["$ref"].is_string() => "a list of port forwards".to_owned(),
        Some("array") => format!("a list of texts{}", is(&key["items"])),
        Some(_) if key["enum"].is_array() => {
            let words = key["enum"].as_array().into_iter().flatten().filter_map(Value::as_str);
            format!("one of {}", words.map(|word| format!("`\"{word}\"`")).collect::<Vec<_>>().join(", "))
        }
        Some(_) => match key["const"].as_str() {
            Some(word) => format!("`\"{word}\"`"),
            None => format!("a text{}", is(key)),
        },
        None => format!("a text, or a whole number{}", is(key)),
    }
}

/// A value as TOML has it.
pub fn toml(value: &Value) -> String {
    match value {
        Value::Array(items) => format!("[{}]", items.iter().map(toml).collect::<Vec<_>>().join(", ")),
        Value::Object(members) => {
            format!(
                "{{ {} }}",
                members.iter().map(|(k, v)| format!("{k} = {}", toml(v))).collect::<Vec<_>>().join(", ")
            )
        }
        other => other.to_string(),
    }
}
