use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use super::{ALL, Document, broken, generated, named, schema};
use crate::config::{Dialect, document};
use crate::error::{Error, ErrorKind};
use crate::plan::ShownPlan;
use crate::{DomId, Host};

fn dir() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("schemas")
}

fn file(document: &Document) -> PathBuf {
    dir().join(format!("{}.json", document.name))
}

/// `XENNET_BLESS=1` writes them, but for changes that need a new version.
#[test]
fn the_schemas_are_those_of_the_types() {
    let bless = std::env::var_os("XENNET_BLESS").is_some_and(|v| v == "1");
    let mut wrong = Vec::new();
    let news: BTreeMap<&str, String> = ALL.iter().map(|document| (document.name, generated(document))).collect();
    for document in ALL {
        let new = &news[document.name];
        let old = std::fs::read_to_string(file(document)).unwrap_or_default();
        let was: Value = serde_json::from_str(&old).unwrap_or_default();
        let version = was["$id"].as_str().and_then(|id| id.rsplit(':').next()?.parse().ok());
        if version == Some(document.version) {
            // Also where only a schema that it refers to is another one. What the state directory has is read back, too.
            let is_read = document.is_taken || document.member == Some("xennet");
            let bundled = document.bundled_of(&|other| news[other.name].clone());
            let broken = broken(&document.bundled(), &bundled, is_read).unwrap();
            assert!(
                broken.is_empty(),
                "the document {} needs a new version, or must stay as it is:\n{}",
                document.name,
                broken.join("\n")
            );
        }
        if old == *new {
            continue;
        }
        match bless {
            true => std::fs::write(file(document), new).unwrap(),
            false => wrong.push(document.name),
        }
    }
    assert!(wrong.is_empty(), "XENNET_BLESS=1 writes the schemas of {wrong:?}");
}

#[test]
fn every_document_has_a_name_a_version_and_a_schema_of_both() {
    assert!(ALL.windows(2).all(|pair| pair[0].name < pair[1].name));
    for document in ALL {
        let schema: Value = serde_json::from_str(document.schema).unwrap();
        assert_eq!(schema["$schema"], "https://json-schema.org/draft/2020-12/schema");
        assert_eq!(schema["$id"], document.id());
        assert_eq!(schema["description"], document.what);
        let roots = schema["oneOf"].as_array().map_or_else(|| vec![&schema], |cases| cases.iter().collect());
        for root in roots {
            if let Some(member) = document.member {
                assert_eq!(root["properties"][member]["const"], document.version, "{}", document.name);
            }
        }
    }
    let there: BTreeSet<PathBuf> = std::fs::read_dir(dir()).unwrap().map(|entry| entry.unwrap().path()).collect();
    assert_eq!(there, ALL.iter().map(file).collect(), "a schema that is nobody's, or that is missing");
}

#[test]
fn a_name_that_no_document_has_is_refused() {
    let e = named("plna\n").unwrap_err();
    assert_eq!((e.kind(), e.object()), (ErrorKind::Invalid, Some("plna\n")));
    assert_eq!(e.message(), "\"plna\\n\" is not the name of a document");
    assert!(e.hint().unwrap().contains("parsed-value, parsed-vif"), "{e}");
    assert!(schema("plan").unwrap().contains("urn:xennet:plan:1"));
}

#[test]
fn a_schema_comes_with_those_that_it_refers_to() {
    for document in ALL {
        let bundle: Value = serde_json::from_str(&document.bundled()).unwrap();
        let mut text = bundle.to_string();
        for (id, part) in bundle["$defs"].as_object().into_iter().flatten().filter(|(id, _)| id.starts_with("urn:")) {
            assert_eq!(part["$id"], *id, "{}", document.name);
            text = text.replace(&format!("\"$ref\":\"{id}\""), "").replace(&format!("\"$ref\":\"{id}#"), "");
        }
        assert!(!text.contains("\"$ref\":\"urn:"), "{}", document.name);
    }
}

/// What is kept is read again with its version, without it (as the first xennet wrote it), and not with a later one.
#[test]
fn kept_documents_of_a_later_version_are_refused() {
    let mut host = Host::fake();
    let plan = host.plan_attach(DomId::new(5).unwrap(), &"bridge=xenbr0".parse().unwrap()).unwrap().to_json();
    let network =
        document::network("[network.lan]\nmode = \"bridge\"\nbridge = \"xenbr0\"", "lan").unwrap().to_string();
    let vif = document::vif("bridge=xenbr0", Dialect::Strict).unwrap().value.to_string();
    let bridge = r#"{"name":"xenbr0","version":1}"#.to_owned();
    type Read = fn(&str) -> Result<(), Error>;
    let readers: [(&str, &str, Read); 4] = [
        ("plan", &plan, |text| ShownPlan::from_json(text).map(drop)),
        ("network", &network, |text| document::read_network(text).map(drop)),
        ("vif", &vif, |text| document::read_vif(text).map(drop)),
        ("bridge", &bridge, |text| document::read_bridge(text).map(drop)),
    ];
    for (name, text, read) in readers {
        assert!(text.contains("\"version\":1"), "{text}");
        read(text).unwrap();
        read(&text.replace(",\"version\":1", "")).unwrap();
        let e = read(&text.replace("\"version\":1", "\"version\":2")).unwrap_err();
        assert_eq!(e.message(), format!("{name} is of version 2, and this xennet reads version 1"));
        assert_eq!((e.kind(), e.object()), (ErrorKind::Invalid, Some(name)));
        assert!(e.hint().unwrap().contains("a newer one"), "{e}");
    }
    // Several plans, of which one is newer.
    let newer = plan.replace("\"version\":1", "\"version\":2");
    assert_eq!(ShownPlan::all_from_json(&format!("{plan}\n{plan}")).unwrap().len(), 2);
    assert!(ShownPlan::all_from_json(&format!("{plan}\n{newer}")).is_err());
}

#[test]
fn what_a_reader_relied_on_and_is_no_more_breaks_a_document() {
    let old = json!({
        "type": "object",
        "properties": { "a": { "$ref": "#/$defs/A" }, "b": { "type": ["string", "null"] }, "c": { "type": "array", "items": { "type": "integer" } } },
        "required": ["a", "b"],
        "$defs": { "A": { "oneOf": [{ "const": "x" }, { "type": "object", "properties": { "y": { "type": "integer" }, "z": { "$ref": "#/$defs/A" } }, "required": ["y"] }] } },
    });
    let compare = |change: &dyn Fn(&mut Value), is_taken: bool| {
        let mut new = old.clone();
        change(&mut new);
        broken(&old.to_string(), &new.to_string(), is_taken).unwrap()
    };
    let properties = |v: &mut Value| v["properties"].as_object_mut().unwrap().clone();
    assert!(compare(&|_| {}, false).is_empty());
    // What may come.
    assert!(compare(&|v| v["properties"]["d"] = json!({ "type": "string" }), false).is_empty());
    assert!(
        compare(&|v| v["$defs"]["A"]["oneOf"].as_array_mut().unwrap().push(json!({ "const": "w" })), false).is_empty()
    );
    assert!(compare(&|v| v["required"] = json!(["a", "b", "c"]), false).is_empty());
    // What breaks it.
    let removed = |v: &mut Value| {
        let mut all = properties(v);
        all.remove("b");
        v["properties"] = all.into();
    };
    assert_eq!(compare(&removed, false), ["the document.b has gone"]);
    assert_eq!(compare(&|v| v["required"] = json!(["a"]), false), ["the document.b may be missing now"]);
    assert_eq!(compare(&|v| v["properties"]["b"]["type"] = json!("string"), false).len(), 1);
    assert_eq!(compare(&|v| v["properties"]["c"]["items"]["type"] = json!("string"), false).len(), 1);
    assert_eq!(compare(&|v| v["$defs"]["A"]["oneOf"][1]["properties"]["y"]["type"] = json!("number"), false).len(), 1);
    assert_eq!(compare(&|v| v["$defs"]["A"]["oneOf"] = json!([{ "const": "x" }]), false).len(), 1);
    // What is read: a caller's document may lack what has to be there now.
    assert_eq!(compare(&|v| v["required"] = json!(["a", "b", "c"]), true), ["the document.c has to be there now"]);
    assert!(compare(&|v| v["required"] = json!(["a"]), true).is_empty());
}
