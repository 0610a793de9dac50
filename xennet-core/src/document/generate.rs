//! Makes the schemas of the types.

use std::collections::BTreeSet;

use schemars::JsonSchema;
use schemars::generate::SchemaSettings;
use serde_json::{Map, Value, json};

use super::{Document, answer, library};
use crate::config::document as parsed;
use crate::{advise, config, exec, guest, host, hotplug, model, picture, plan, recording, snapshot, trace};

/// The schema of a document, made of its type, as it is in `schemas/`.
pub fn generated(document: &Document) -> String {
    // What describes a file of TOML is made of the table of its keys.
    let of_table = match document.name {
        "networks-file" => Some(config::reference::networks_file()),
        "hotplug-file" => Some(config::reference::hotplug_file()),
        _ => None,
    };
    if let Some(mut schema) = of_table {
        named(&mut schema, document);
        return lines(&schema);
    }
    let mut schema = finished(of_type(document), document);
    if let Some(defs) = schema.get("$defs").cloned() {
        elsewhere(&mut schema, &defs, document);
    }
    forget_unused(&mut schema);
    lines(&schema)
}

/// Replaces definitions that other schemas have by references to these.
fn elsewhere(schema: &mut Value, defs: &Value, document: &Document) {
    /// The types that are documents, and those that hold the most.
    const DOCUMENTS: &[(&str, &str)] = &[
        ("CallRecord", "call"),
        ("Entry", "record"),
        ("Error", "error"),
        ("NetworkStatus", "network-status"),
        ("Picture", "picture"),
        ("Plan", "plan"),
        ("Rendered", "guest"),
        ("Snapshot", "snapshot"),
    ];
    let Some(there) = schema.get_mut("$defs").and_then(Value::as_object_mut) else { return };
    let id = |name: &str| super::named(name).map(Document::id).unwrap_or_default();
    let snapshot = match document.member {
        Some(_) => super::named("snapshot").map(|d| finished(of_type(d), d)).unwrap_or_default(),
        None => Value::Null,
    };
    for (name, definition) in defs.as_object().into_iter().flatten() {
        let target = match DOCUMENTS.iter().find(|(of, _)| of == name) {
            Some((_, other)) => Some(id(other)).filter(|_| *other != document.name),
            // Short definitions are repeated, so the reader of a schema sees them at once.
            None if snapshot["$defs"].get(name) == Some(definition) && definition.to_string().len() > 400 => {
                Some(format!("{}#/$defs/{name}", id("snapshot")))
            }
            None => None,
        };
        if let Some(target) = target {
            there.insert(name.clone(), json!({ "$ref": target }));
        }
    }
}

fn of_type(document: &Document) -> Value {
    match document.name {
        "advice" => written::<advise::Advice>(),
        "asked" => written::<library::Asked>(),
        "awaited" => written::<library::Awaited<'_>>(),
        "bridge" => read::<parsed::Root<model::BridgeSpec>>(),
        "call" => written::<hotplug::log::CallRecord>(),
        "calls" => written::<answer::Calls<'_>>(),
        "checked-managers" => written::<answer::CheckedManagers<'_>>(),
        "children" => written::<library::Children>(),
        "codes" => written::<crate::doctor::Codes>(),
        "confirmed" => written::<answer::Confirmed<'_>>(),
        "demo" => written::<answer::Demo>(),
        "done" => written::<answer::Done<'_>>(),
        "done-networks" => written::<answer::DoneNetworks>(),
        "error" => written::<crate::Error>(),
        "findings" => written::<crate::doctor::Findings<'_>>(),
        "formats" => written::<answer::Formats>(),
        "generated-mac" => written::<answer::GeneratedMac>(),
        "guest" => written::<guest::Rendered>(),
        "guest-wish" => read::<parsed::Root<guest::GuestWish>>(),
        "guest-written" => written::<answer::GuestWritten<'_>>(),
        "hotplug-settings" => written::<parsed::Root<parsed::HotplugSettings>>(),
        #[cfg(feature = "import")]
        "import" => written::<config::import::Imported>(),
        "installed" => written::<answer::Installed>(),
        #[cfg(feature = "netlink")]
        "link-event" => written::<crate::backend::netlink::LinkEvent>(),
        "log-event" => written::<library::LogEvent<'_>>(),
        "mac" => written::<parsed::Root<parsed::Mac>>(),
        "network" => read::<parsed::Root<model::Network>>(),
        "network-status" => written::<host::NetworkStatus>(),
        "networks" => written::<parsed::Root<parsed::NetworkList<'_>>>(),
        "note" => written::<answer::Note>(),
        "overview" => written::<host::Overview>(),
        "parsed-value" => written::<library::ParsedValue>(),
        "parsed-vif" => written::<answer::ParsedVif>(),
        "permissions" => written::<library::Permissions>(),
        "picture" => written::<picture::Picture>(),
        "plan" => written::<plan::Plan>(),
        "planned-recovery" => written::<answer::PlannedRecovery<'_>>(),
        "rate" => written::<parsed::Root<parsed::Rate>>(),
        "record" => written::<exec::Entry>(),
        "recorded" => written::<answer::Recorded>(),
        "recording" => written::<recording::Recording>(),
        "recovered" => written::<answer::Recovered<'_>>(),
        "schemas" => written::<answer::Schemas>(),
        "show" => written::<host::Shown>(),
        "snapshot" => written::<snapshot::Snapshot>(),
        "snippet-files" => written::<answer::SnippetFiles>(),
        "snippets" => written::<answer::Snippets<'_>>(),
        "started-network" => written::<exec::StartedFile<'_>>(),
        "status" => written::<answer::Status<'_>>(),
        "store-event" => written::<library::StoreEvent>(),
        "trace" => written::<trace::Trace>(),
        "vif" => read::<parsed::Root<model::VifSpec>>(),
        "vifs" => written::<parsed::Root<parsed::Nics<model::VifSpec>>>(),
        "violations" => written::<library::Violations>(),
        "vlan" => written::<parsed::Root<parsed::Vlan>>(),
        #[cfg(feature = "import")]
        "xend-config" => written::<parsed::Root<config::XendConfig>>(),
        "xl-vif" => written::<parsed::Root<config::XlNic>>(),
        "xl-vifs" => written::<parsed::Root<parsed::Nics<config::XlNic>>>(),
        other => unreachable!("no type is known for the document {other}"),
    }
}

/// What serde writes of a type.
fn written<T: JsonSchema>() -> Value {
    SchemaSettings::draft2020_12().for_serialize().into_generator().into_root_schema_for::<T>().into()
}

/// What serde reads as a type.
fn read<T: JsonSchema>() -> Value {
    SchemaSettings::draft2020_12().for_deserialize().into_generator().into_root_schema_for::<T>().into()
}

fn finished(mut schema: Value, document: &Document) -> Value {
    texts(&mut schema);
    usual(&mut schema, document);
    let defs = schema.get("$defs").cloned().unwrap_or(json!({}));
    merge_all(&mut schema, &defs);
    forget_unused(&mut schema);
    close(&mut schema);
    let root = schema.as_object_mut().expect("a type of a document is an object");
    match root.get_mut("oneOf").and_then(Value::as_array_mut) {
        Some(cases) => cases.iter_mut().filter_map(Value::as_object_mut).for_each(|case| versioned(case, document)),
        None => versioned(root, document),
    }
    named(&mut schema, document);
    schema
}

fn named(schema: &mut Value, document: &Document) {
    schema["$schema"] = "https://json-schema.org/draft/2020-12/schema".into();
    schema["$id"] = document.id().into();
    schema["title"] = format!("xennet {}", document.name).into();
    schema["description"] = document.what.into();
}

/// Says the version of a document.
fn versioned(root: &mut Map<String, Value>, document: &Document) {
    let Some(member) = document.member else { return };
    let version =
        json!({ "description": "The version of this document.", "type": "integer", "const": document.version });
    if let Some(members) = root.get_mut("properties").and_then(Value::as_object_mut) {
        if let Some(of_type) = members.get(member).and_then(|member| member.get("const")) {
            assert_eq!(*of_type, document.version, "the type of {} and the table differ", document.name);
        }
        members.insert(member.into(), version);
    }
    if document.is_taken
        && !document.always_versioned
        && let Some(required) = root.get_mut("required").and_then(Value::as_array_mut)
    {
        required.retain(|name| name != member);
        if required.is_empty() {
            root.remove("required");
        }
    }
}

/// A member that is left out when empty is never null; a default of null is dropped.
fn usual(value: &mut Value, document: &Document) {
    if let Value::Object(all) = value {
        let required = all.get("required").cloned().unwrap_or_default();
        let has_to_be = |name: &String| required.as_array().is_some_and(|names| names.iter().any(|n| n == name));
        for (name, member) in all.get_mut("properties").and_then(Value::as_object_mut).into_iter().flatten() {
            if member["default"].is_null()
                && let Some(member) = member.as_object_mut()
            {
                member.remove("default");
            }
            if !has_to_be(name) && !document.by_callers {
                never_null(member);
            }
        }
        if required.as_array().is_some_and(Vec::is_empty) {
            all.remove("required");
        }
    }
    children(value).for_each(|value| usual(value, document));
}

/// What an array or an object holds.
fn children(value: &mut Value) -> Box<dyn Iterator<Item = &mut Value> + '_> {
    match value {
        Value::Object(all) => Box::new(all.values_mut()),
        Value::Array(all) => Box::new(all.iter_mut()),
        _ => Box::new(std::iter::empty()),
    }
}

fn never_null(member: &mut Value) {
    if let Some(Value::Array(kinds)) = member.get_mut("type") {
        kinds.retain(|kind| kind != "null");
        if let [one] = kinds.as_slice() {
            member["type"] = one.clone();
        }
    }
    let Some(Value::Array(cases)) = member.get_mut("anyOf") else { return };
    cases.retain(|case| *case != json!({ "type": "null" }));
    if let [Value::Object(one)] = cases.as_slice() {
        let one = one.clone();
        if let Some(all) = member.as_object_mut() {
            all.remove("anyOf");
            all.extend(one);
        }
    }
}

fn forget_unused(schema: &mut Value) {
    let used = used(schema);
    if let Some(defs) = schema.get_mut("$defs").and_then(Value::as_object_mut) {
        defs.retain(|name, _| used.contains(name));
        if defs.is_empty() {
            schema.as_object_mut().map(|all| all.remove("$defs"));
        }
    }
}

/// The definitions that something refers to, from the root on.
fn used(schema: &Value) -> BTreeSet<String> {
    fn look(value: &Value, defs: &Value, found: &mut BTreeSet<String>) {
        match value {
            Value::Object(all) => {
                if let Some(name) = all.get("$ref").and_then(Value::as_str).and_then(|r| r.strip_prefix("#/$defs/"))
                    && found.insert(name.to_owned())
                {
                    look(&defs[name], defs, found);
                }
                all.iter().filter(|(key, _)| *key != "$defs").for_each(|(_, value)| look(value, defs, found));
            }
            Value::Array(all) => all.iter().for_each(|value| look(value, defs, found)),
            _ => {}
        }
    }
    let mut found = BTreeSet::new();
    look(schema, &schema["$defs"], &mut found);
    found
}

/// Descriptions are doc comments: their first paragraph, without links.
fn texts(value: &mut Value) {
    if let Some(Value::String(text)) = value.get_mut("description") {
        *text = plain(text);
    }
    children(value).for_each(texts);
}

fn plain(text: &str) -> String {
    let paragraph = text.split("\n\n").next().unwrap_or_default().replace('\n', " ");
    let mut out = String::new();
    let mut rest = paragraph.as_str();
    while let Some(start) = rest.find('[') {
        let Some(len) = rest[start..].find(']') else { break };
        let (inside, behind) = (&rest[start + 1..start + len], &rest[start + len + 1..]);
        out.push_str(&rest[..start]);
        let target = behind.strip_prefix('(').and_then(|behind| behind.find(')').map(|end| &behind[end + 1..]));
        match target {
            Some(behind) => {
                out.push_str(inside);
                rest = behind;
            }
            None if inside.starts_with('`') => {
                out.push_str(inside);
                rest = behind;
            }
            None => {
                out.push_str(&rest[start..start + len + 1]);
                rest = behind;
            }
        }
    }
    out.push_str(rest);
    out
}

/// Merges composed objects into one, or into one for each case: `additionalProperties` works on a single object only.
fn merge_all(value: &mut Value, defs: &Value) {
    if let Value::Object(all) = value
        && let Some(cases) = cases(all, defs)
    {
        *all = match <[Map<String, Value>; 1]>::try_from(cases) {
            Ok([one]) => one,
            Err(several) => {
                let mut rest = Map::new();
                for key in ["$schema", "title", "description", "$defs"] {
                    if let Some(value) = all.remove(key) {
                        rest.insert(key.into(), value);
                    }
                }
                rest.insert("oneOf".into(), several.into_iter().map(Value::Object).collect());
                rest
            }
        };
    }
    children(value).for_each(|value| merge_all(value, defs));
}

/// The cases of an object with members of its own and those of other objects besides; `None` for anything else.
fn cases(all: &Map<String, Value>, defs: &Value) -> Option<Vec<Map<String, Value>>> {
    let parts = ["$ref", "oneOf", "anyOf", "allOf"].iter().filter(|key| all.contains_key(**key)).count();
    if parts == 0 || !all.contains_key("properties") {
        return None;
    }
    let mut own = all.clone();
    for key in ["$schema", "title", "$defs"] {
        own.remove(key);
    }
    let mut found = vec![Map::new()];
    if let Some(Value::String(target)) = own.remove("$ref") {
        let part = defs[target.trim_start_matches("#/$defs/")].as_object()?.clone();
        found = product(&found, &flat(&part, defs)?);
    }
    if let Some(Value::Array(every)) = own.remove("allOf") {
        for part in every {
            found = product(&found, &flat(part.as_object()?, defs)?);
        }
    }
    for key in ["oneOf", "anyOf"] {
        if let Some(Value::Array(one_of)) = own.remove(key) {
            let each: Option<Vec<_>> = one_of.iter().map(|part| flat(part.as_object()?, defs)).collect();
            found = product(&found, &each?.concat());
        }
    }
    Some(product(&[own], &found))
}

/// The cases of an object, be it one or put together.
fn flat(part: &Map<String, Value>, defs: &Value) -> Option<Vec<Map<String, Value>>> {
    if let Some(cases) = cases(part, defs) {
        return Some(cases);
    }
    match part.get("$ref").and_then(Value::as_str) {
        Some(target) => flat(defs[target.trim_start_matches("#/$defs/")].as_object()?, defs),
        None => match part.get("oneOf").or(part.get("anyOf")) {
            Some(Value::Array(each)) => {
                let each: Option<Vec<_>> = each.iter().map(|part| flat(part.as_object()?, defs)).collect();
                Some(each?.concat())
            }
            _ => Some(vec![part.clone()]),
        },
    }
}

fn product(these: &[Map<String, Value>], those: &[Map<String, Value>]) -> Vec<Map<String, Value>> {
    let one = |a: &Map<String, Value>, b: &Map<String, Value>| {
        let mut whole = a.clone();
        for (key, value) in b {
            match (whole.get_mut(key), value) {
                (Some(Value::Object(there)), Value::Object(more)) if key == "properties" => {
                    there.extend(more.clone());
                }
                (Some(Value::Array(there)), Value::Array(more)) if key == "required" => there.extend(more.clone()),
                // The outer description is about the whole.
                (Some(_), _) => {}
                (None, value) => drop(whole.insert(key.clone(), value.clone())),
            }
        }
        whole
    };
    these.iter().flat_map(|a| those.iter().map(move |b| one(a, b))).collect()
}

/// Objects have no other members than those that are named.
fn close(value: &mut Value) {
    if let Value::Object(all) = value {
        let is_object = all.get("type").is_some_and(|kind| kind == "object") && all.contains_key("properties");
        if is_object && !all.contains_key("additionalProperties") && !all.contains_key("patternProperties") {
            all.insert("additionalProperties".into(), false.into());
        }
    }
    children(value).for_each(close);
}

/// The text of a schema: a line for each member and each definition, so that it is short and its changes can be read.
fn lines(schema: &Value) -> String {
    let Value::Object(root) = schema else { return schema.to_string() };
    let first = ["$schema", "$id", "title", "description", "type"];
    let rank = |key: &str| first.iter().position(|k| *k == key).unwrap_or(first.len());
    let mut keys: Vec<&String> = root.keys().collect();
    keys.sort_by_key(|key| (rank(key), *key == "$defs", (*key).clone()));
    let member = |key: &String| {
        let name = Value::from(key.as_str());
        match (key.as_str(), &root[key]) {
            ("$defs" | "properties", Value::Object(all)) => {
                let all: Vec<String> =
                    all.iter().map(|(name, v)| format!("    {}: {v}", Value::from(name.as_str()))).collect();
                format!("  {name}: {{\n{}\n  }}", all.join(",\n"))
            }
            (_, value) => format!("  {name}: {value}"),
        }
    };
    format!("{{\n{}\n}}\n", keys.into_iter().map(member).collect::<Vec<_>>().join(",\n"))
}

/// What a program that knows the schema `old` of a document cannot rely on any more by the schema `new`: members that have gone, that may
/// be missing now, or that have another type. For a document that is read also members that have to be there now. Both are
/// [bundled](Document::bundled).
///
/// A change without any of this keeps the version of the document.
///
/// # Errors
/// A text that is no JSON document, in words.
pub fn broken(old: &str, new: &str, is_taken: bool) -> Result<Vec<String>, String> {
    let read = |text: &str| serde_json::from_str::<Value>(text).map_err(|e| e.to_string());
    let (old, new) = (read(old)?, read(new)?);
    let mut compared = Compared { bundles: (&old, &new), is_taken, seen: BTreeSet::new(), found: Vec::new() };
    compared.compare(Place::root(&old), Place::root(&new), "the document");
    Ok(compared.found)
}

/// A part of a schema, the whole that its references are within, and the name by which it was found.
#[derive(Clone, Copy)]
struct Place<'a> {
    value: &'a Value,
    root: &'a Value,
    name: &'a str,
}

impl<'a> Place<'a> {
    fn root(root: &'a Value) -> Self {
        Place { value: root, root, name: "" }
    }

    fn at(self, value: &'a Value) -> Self {
        Place { value, name: "", ..self }
    }

    /// What it refers to, if that is all it does.
    fn resolved(self, bundle: &'a Value) -> Self {
        let Some(target) = self.value["$ref"].as_str() else { return self };
        let (id, within) = target.split_once('#').unwrap_or((target, ""));
        let root = if id.is_empty() { self.root } else { &bundle["$defs"][id] };
        let value = match within.strip_prefix("/$defs/") {
            Some(name) => &root["$defs"][name],
            None => root,
        };
        Place { value, root, name: target }.resolved(bundle)
    }

    fn list(self, key: &str) -> &'a [Value] {
        self.value.get(key).and_then(Value::as_array).map_or(&[], Vec::as_slice)
    }

    fn words(self, key: &str) -> BTreeSet<&'a str> {
        match &self.value[key] {
            Value::String(one) => [one.as_str()].into(),
            Value::Array(all) => all.iter().filter_map(Value::as_str).collect(),
            _ => BTreeSet::new(),
        }
    }
}

struct Compared<'a> {
    bundles: (&'a Value, &'a Value),
    is_taken: bool,
    seen: BTreeSet<(&'a str, &'a str)>,
    found: Vec<String>,
}

impl<'a> Compared<'a> {
    fn compare(&mut self, old: Place<'a>, new: Place<'a>, at: &str) {
        let (old, new) = (old.resolved(self.bundles.0), new.resolved(self.bundles.1));
        let is_named = !(old.name.is_empty() && new.name.is_empty());
        if is_named && !self.seen.insert((old.name, new.name)) {
            return;
        }
        if [".version", ".xennet"].iter().any(|member| at.ends_with(member)) {
            return;
        }
        if old.words("type") != new.words("type") {
            self.found.push(format!("{at}: type {} is {} now", old.value["type"], new.value["type"]));
            return;
        }
        if old.value["pattern"] != new.value["pattern"] {
            self.found.push(format!("{at}: pattern {} is {} now", old.value["pattern"], new.value["pattern"]));
        }
        self.members(old, new, at);
        for key in ["items", "additionalProperties"] {
            match (old.value.get(key), new.value.get(key)) {
                (Some(before), Some(now)) if before.is_object() && now.is_object() => {
                    self.compare(old.at(before), new.at(now), &format!("{at}[]"));
                }
                (before, now) if key == "items" && before.is_some() != now.is_some() => {
                    self.found.push(format!("{at}: its items are something else now"));
                }
                _ => {}
            }
        }
        // Words and cases may come; those that were there stay.
        for key in ["enum", "oneOf", "anyOf", "prefixItems"] {
            for (index, case) in old.list(key).iter().enumerate() {
                let name = case_name(case);
                let same = match key {
                    "prefixItems" => new.list(key).get(index),
                    _ => new.list(key).iter().find(|other| case_name(other) == name),
                };
                match same {
                    Some(same) => self.compare(old.at(case), new.at(same), &format!("{at}<{name}>")),
                    None => self.found.push(format!("{at}: {name} has gone")),
                }
            }
        }
    }

    fn members(&mut self, old: Place<'a>, new: Place<'a>, at: &str) {
        let (had_to, has_to) = (old.words("required"), new.words("required"));
        for (name, before) in old.value["properties"].as_object().into_iter().flatten() {
            let at = format!("{at}.{name}");
            let Some(now) = new.value["properties"].get(name) else {
                self.found.push(format!("{at} has gone"));
                continue;
            };
            if had_to.contains(name.as_str()) && !has_to.contains(name.as_str()) && !self.is_taken {
                self.found.push(format!("{at} may be missing now"));
            }
            self.compare(old.at(before), new.at(now), &at);
        }
        if self.is_taken {
            self.found.extend(has_to.difference(&had_to).map(|name| format!("{at}.{name} has to be there now")));
        }
    }
}

/// What tells one case of several from the others.
fn case_name(case: &Value) -> String {
    if let Some(target) = case["$ref"].as_str() {
        return target.rsplit(['/', ':']).find(|part| part.parse::<u32>().is_err()).unwrap_or(target).to_lowercase();
    }
    if let Some(word) = case.get("const") {
        return word.to_string();
    }
    if case["type"] == "object" {
        let members = || case["properties"].as_object().into_iter().flatten();
        let tag =
            members().find_map(|(name, v)| v.get("const").filter(|c| c.is_string()).map(|c| format!("{name}={c}")));
        let required: Vec<&str> = case["required"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
        return tag.unwrap_or_else(|| format!("{{{}}}", required.join(", ")));
    }
    case.get("type").unwrap_or(case).to_string()
}
