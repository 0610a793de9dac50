//! The JSON schema of the document of findings.

use serde_json::{Value, json};

use super::VERSION;
use super::table::{Code, Level};

/// The schema of [`document`](super::document) (JSON Schema, draft 2020-12), as text. The codes are those of the table.
pub fn schema() -> String {
    let texts = |what: &str| json!({ "type": "array", "items": { "type": "string" }, "description": what });
    let codes: Vec<&str> = Code::ALL.iter().map(|code| code.code()).collect();
    let levels = [Level::Error, Level::Warning, Level::Note].map(Level::name);
    let step = object(
        &json!({
            "sign": { "type": "string" },
            "text": { "type": "string", "description": "what the step does" },
            "why": { "type": "string" },
            "effects": texts("what the kernel does besides"),
            "step": { "description": "the change as a value" },
        }),
        "one step of a plan",
    );
    let plan = object(
        &json!({
            "request": { "description": "what a host was asked for" },
            "steps": { "type": "array", "items": step },
            "notes": texts("what to know besides"),
        }),
        "what xennet would do: xennet apply reads it",
    );
    let fix = object(
        &json!({
            "command": { "type": "string", "description": "for a shell" },
            "plan": { "anyOf": [plan, { "type": "null" }] },
        }),
        "what mends it",
    );
    let finding = object(
        &json!({
            "code": { "enum": codes, "description": "its row of the table" },
            "level": { "enum": levels },
            "object": { "type": "string", "description": "a link, a vif, a network, a table, a file" },
            "title": { "type": "string", "description": "what it is, in a few words" },
            "cause": { "type": "string", "description": "what is so, in a sentence" },
            "evidence": texts("what was observed, a fact each"),
            "fix": { "anyOf": [fix, { "type": "null" }] },
        }),
        "something that keeps guests from the network that they were promised, or will",
    );
    let mut document = object(
        &json!({
            "version": { "const": VERSION },
            "findings": { "type": "array", "items": finding, "description": "the worst first" },
        }),
        "what xennet doctor --json prints",
    );
    document["$schema"] = "https://json-schema.org/draft/2020-12/schema".into();
    document["title"] = "xennet doctor".into();
    document.to_string()
}

/// An object with these members, all of them, and no others.
fn object(members: &Value, what: &str) -> Value {
    let names: Vec<&String> = members.as_object().map(|all| all.keys().collect()).unwrap_or_default();
    json!({ "type": "object", "description": what, "properties": members, "required": names, "additionalProperties": false })
}
