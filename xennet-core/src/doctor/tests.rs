use super::*;
use crate::DomId;
use crate::recording::Taken;

/// A host in memory whose guest was moved to no bridge.
fn recording() -> Recording {
    let mut host = Host::fake();
    host.attach(DomId::new(5).unwrap(), &"bridge=xenbr0".parse().unwrap()).unwrap();
    let mut recording = host.record(Taken::default(), None, Err("there is none here".into()));
    recording.store.insert("/local/domain/5/name".parse().unwrap(), "web\u{1b}01".into());
    let link = recording.snapshot.links.get_mut("vif5.0").unwrap();
    (link.master, link.port) = (None, None);
    recording
}

#[test]
fn a_finding_is_told_with_its_facts_and_its_plan() {
    let found = examine(&recording());
    let first = &found[0];
    assert_eq!((first.code, first.object.as_str(), worst(&found)), (Code::VifOutside, "vif5.0", Some(Level::Error)));
    let plan = first.fix.as_ref().unwrap().plan.as_ref().unwrap();
    assert!(!plan.is_empty());
    let document: serde_json::Value = serde_json::from_str(&document(&found)).unwrap();
    let told = &document["findings"][0];
    let members: Vec<&String> = told.as_object().unwrap().keys().collect();
    assert_eq!(members, ["cause", "code", "evidence", "fix", "level", "object", "title"]);
    assert_eq!((&document["version"], &told["code"], &told["level"]), (&1.into(), &"XN0506".into(), &"error".into()));
    assert_eq!(told["fix"]["plan"]["steps"].as_array().unwrap().len(), plan.steps().len());
    assert_eq!(told["fix"]["command"], "xennet recover");
}

#[test]
fn what_a_domain_is_called_cannot_move_a_terminal() {
    let text: String = examine(&recording()).iter().map(ToString::to_string).collect();
    assert!(text.contains("web\\u{1b}01 (vif5.0)") && !text.contains('\u{1b}'), "{text}");
}

#[test]
fn findings_about_one_thing_are_those_that_name_it() {
    let recording = recording();
    let found = examine(&recording);
    let codes =
        |what: &str| -> Option<Vec<Code>> { Some(about(&recording, &found, what)?.iter().map(|f| f.code).collect()) };
    assert_eq!(codes("vif5.0").and_then(|all| all.first().copied()), Some(Code::VifOutside));
    assert_eq!(codes("5"), codes("vif5.0"), "by the number of its domain");
    assert_eq!(codes("vif5"), None);
    assert!(codes("eth0").is_some_and(|all| all.is_empty()), "it is there, and nothing is wrong with it");
    assert!(codes("xenstore").is_some_and(|all| all.contains(&Code::NotSeen)));
}

#[test]
fn a_guest_is_told_of_the_bridge_that_it_stands_on() {
    let mut recording = recording();
    recording.snapshot.links.get_mut("xenbr0").unwrap().up = false;
    recording.store.insert("/local/domain/5/name".parse().unwrap(), "Windows 10".into());
    let found = examine(&recording);
    for what in ["vif5.0", "Windows 10", "5"] {
        let told = about(&recording, &found, what).unwrap();
        assert!(told.iter().any(|f| f.code == Code::BridgeDown), "{what}");
    }
}
