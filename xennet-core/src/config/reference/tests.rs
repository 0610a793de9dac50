use std::collections::BTreeSet;

use serde_json::{Value, json};
use toml::de::DeTable;

use super::*;
use crate::config::hotplug::Settings;
use crate::config::{Dialect, networks, parse_vif};
use crate::model::{ColoKey, HostAccess, LanAccess, PacketLog, Policy};

/// A network of this mode with these lines.
fn network(mode: &str, lines: &str) -> String {
    let subnets =
        if mode == "bridge" || lines.starts_with("\nsubnets = ") { "" } else { "subnets = [\"10.0.0.0/24\"]\n" };
    format!("[network.x]\nmode = \"{mode}\"\n{subnets}{lines}\n")
}

#[track_caller]
fn read(text: &str) -> crate::Network {
    let found = networks::parse(text).unwrap_or_else(|e| panic!("{text}\n{}", e.report()));
    found.iter().next().cloned().unwrap()
}

#[test]
fn the_example_of_each_key_of_a_network_is_taken_and_means_something() {
    for mode in MODES {
        for key in of_mode(mode).filter(|key| key.name != "mode") {
            let without = read(&network(mode, key.beside));
            let line = format!("{}\n{} = {}", key.beside, key.name, key.example);
            let with = read(&network(mode, &line));
            assert_ne!(with, without, "{mode}: {line}: no reader takes it");
            let needs_stop = networks::changed(&without, &with).needs_stop.contains(&key.name.to_owned());
            assert_eq!(key.changes, !needs_stop, "{mode}: {}", key.name);
        }
        assert!(read(&network(mode, "")).mode_name() == *mode);
    }
}

#[test]
fn a_default_of_a_network_is_what_holds_without_the_key() {
    for mode in MODES {
        for key in of_mode(mode) {
            if let Absent::Value(value) = key.absent {
                let line = format!("{}\n{} = {value}", key.beside, key.name);
                assert_eq!(read(&network(mode, &line)), read(&network(mode, key.beside)), "{mode}: {line}");
            }
        }
    }
}

#[test]
fn a_key_that_has_to_be_there_is_missed() {
    let forward = |without: &str| {
        let keys = FORWARD.iter().filter(|key| key.name != without);
        let keys: Vec<String> = keys.map(|key| format!("{} = {}", key.name, key.example)).collect();
        networks::parse(&network("nat", &format!("forward = [{{ {} }}]", keys.join(", "))))
    };
    for key in FORWARD {
        assert_eq!(forward(key.name).is_err(), matches!(key.absent, Absent::Refused), "{}", key.name);
    }
    forward("").unwrap();
    assert!(networks::parse("[network.x]\n").is_err());
}

#[test]
fn numbers_have_the_bounds_of_the_table() {
    for mode in MODES {
        for key in of_mode(mode) {
            let Kind::Number(least, most) = key.kind else { continue };
            let taken = |n: i64| networks::parse(&network(mode, &format!("{} = {n}", key.name))).is_ok();
            assert!(taken(least.into()) && taken(most.into()), "{mode}: {}", key.name);
            assert!(!taken(i64::from(least) - 1) && !taken(i64::from(most) + 1), "{mode}: {}", key.name);
        }
    }
    for key in HOTPLUG {
        let Kind::Number(least, most) = key.kind else { continue };
        let taken = |n: u32| {
            let other = if key.name == "deadline" { "hook_deadline = 1" } else { "deadline = 1" };
            Settings::parse(&format!("{} = {n}\n{other}\n", key.name)).is_ok()
        };
        assert!(taken(least) && taken(most) && !taken(least - 1) && !taken(most + 1), "{}", key.name);
    }
}

#[test]
fn words_are_those_of_the_types() {
    let words = |name: &str| match find(NETWORK, name).unwrap().kind {
        Kind::Words(words) => words.to_vec(),
        other => panic!("{name}: {other:?}"),
    };
    assert_eq!(words("log"), PacketLog::ALL.map(PacketLog::name));
    assert_eq!(words("policy"), Policy::ALL.map(Policy::name));
    assert_eq!(words("host"), HostAccess::ALL.map(HostAccess::name));
    assert_eq!(words("lan"), LanAccess::ALL.map(LanAccess::name));
}

#[test]
fn each_key_of_hotplug_is_taken_and_has_the_default_of_the_settings() {
    for key in HOTPLUG {
        let Absent::Value(value) = key.absent else { panic!("{}", key.name) };
        assert_eq!(Settings::parse(&format!("{} = {value}", key.name)).unwrap(), Settings::default(), "{}", key.name);
        let with = Settings::parse(&format!("{} = {}", key.name, key.example)).unwrap();
        assert_ne!(with, Settings::default(), "{}: no reader takes it", key.name);
    }
}

/// `hint` and the reader of vif lines go by this table, too; a key that the reader lacks is refused here.
#[test]
fn each_key_of_a_vif_line_is_taken() {
    let mut names = BTreeSet::new();
    for key in VIF_KEYS {
        assert!(names.insert(key.name), "{} is listed twice", key.name);
        assert_eq!(key.example.contains('='), key.has_value, "{}", key.name);
        assert!(key.example.split('=').next() == Some(key.name), "{}", key.name);
        let parsed = parse_vif(key.example, Dialect::Strict).unwrap_or_else(|e| panic!("{}", e.report()));
        // What has no effect at all is told.
        assert!(parsed.value != crate::VifSpec::default() || !parsed.notes.is_empty(), "{}", key.name);
        assert!(ColoKey::from_name(key.name).is_none());
    }
}

/// What the reader takes is in the table: a name of the reader's own source that the table lacks.
#[test]
fn the_reader_of_vif_lines_takes_no_other_key() {
    let source = include_str!("../spec.rs");
    let set = source.split("let known = match key.as_bytes()").nth(1).unwrap().split("_ => return").next().unwrap();
    let flags = source.split("match item {").nth(1).unwrap().split("_ =>").next().unwrap();
    let patterns = set.lines().chain(flags.lines()).filter_map(|line| line.split_once("=>")).map(|(names, _)| names);
    let taken: BTreeSet<&str> = patterns.flat_map(|names| names.split('"').skip(1).step_by(2)).collect();
    assert_eq!(taken, VIF_KEYS.iter().map(|key| key.name).collect());
}

#[test]
fn the_schemas_have_every_key_with_a_value_of_its_type() {
    let whole = networks_file();
    for mode in MODES {
        let members = whole["$defs"][mode]["properties"].as_object().unwrap();
        assert_eq!(members.keys().collect::<BTreeSet<_>>().len(), of_mode(mode).count(), "{mode}");
        assert_eq!(members["mode"]["const"], *mode);
    }
    assert_eq!(whole["$defs"]["forward"]["required"], json!(["protocol", "ports", "to"]));
    assert_eq!(whole["$defs"]["nat"]["properties"]["forward"]["examples"][0][0]["to_port"], 80);
    let settings = hotplug_file();
    assert_eq!(
        (&settings["properties"]["hooks"]["type"], &settings["properties"]["deadline"]["default"]),
        (&json!("string"), &json!(10))
    );
    for table in [&whole["$defs"]["routed"], &whole["$defs"]["forward"], &settings] {
        for (name, member) in table["properties"].as_object().unwrap() {
            assert!(!member["examples"][0].is_null() && member["description"].is_string(), "{name}");
            assert!(member.get("default") != Some(&Value::Null), "{name}");
        }
    }
    let keys = NETWORK.iter().chain(FORWARD).chain(HOTPLUG);
    for key in keys {
        for text in [key.what].into_iter().chain(match key.absent {
            Absent::Means(words) => Some(words),
            _ => None,
        }) {
            assert!(!text.is_empty() && !text.contains('\n'), "{}", key.name);
        }
        assert!(key.what.ends_with('.'), "{}", key.name);
        DeTable::parse(&format!("x = {}", key.example)).unwrap();
    }
}
