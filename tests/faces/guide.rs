//! The guide `examples/hotplug/README.md` and the files beside it.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use xennet_core::hotplug::hooks::Hooks;
use xennet_core::hotplug::settings::Settings;
use xennet_tests::StateDir;

use crate::command::run;

/// A file of the guide, where the sources are.
fn file(name: &str) -> Option<PathBuf> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples/hotplug").join(name);
    if std::fs::metadata(&path).is_err() {
        assert!(std::env::var_os("XENNET_BIN").is_some(), "{} cannot be read", path.display());
        eprintln!("skipped: the sources are not here");
        return None;
    }
    Some(path)
}

#[test]
fn the_sample_of_the_settings_has_every_key_with_its_default() {
    let Some(path) = file("hotplug.toml") else { return };
    assert_eq!(Settings::load(&path).unwrap(), Settings::default());
    let text = std::fs::read_to_string(path).unwrap();
    let error = Settings::parse("nonsense = 1").unwrap_err();
    let keys: Vec<&str> = error.hint().unwrap().strip_prefix("the keys are ").unwrap().split(", ").collect();
    assert!(keys.len() >= 8);
    for key in keys {
        assert!(text.contains(&format!("\n{key} = ")), "{key}");
    }
}

#[test]
fn the_sample_of_a_hook_is_one_that_is_run() {
    let Some(sample) = file("50-quiet.hook") else { return };
    let place = StateDir::new();
    std::fs::copy(sample, place.path().join("50-quiet.hook")).unwrap();
    // Stands in for the program that the hook calls.
    let bridge = place.path().join("bridge");
    std::fs::write(&bridge, "#!/bin/sh\necho bridge \"$@\"\n").unwrap();
    std::fs::set_permissions(&bridge, PermissionsExt::from_mode(0o755)).unwrap();
    let path = format!("{}:{}", place.path().display(), std::env::var("PATH").unwrap());
    let printed = |verb, on| {
        let environment = [("PATH", path.as_str()), ("vif", "vif1.0"), ("dev", "web0"), ("bridge", on)];
        let deadline = std::time::Duration::from_secs(20);
        let mut ran = Vec::new();
        Hooks::new(place.path(), verb, &environment, deadline).run(&mut ran).unwrap();
        assert_eq!(ran.len(), 1);
        ran.remove(0).output
    };
    assert_eq!(printed("online", "br-dmz"), "bridge link set dev web0 mcast_flood off\n");
    assert_eq!((printed("online", "xenbr0").as_str(), printed("offline", "br-dmz").as_str()), ("", ""));
}

#[test]
fn the_commands_of_the_guide_are_commands() {
    let Some(path) = file("README.md") else { return };
    let guide = std::fs::read_to_string(path).unwrap();
    let typed: Vec<&str> = guide.lines().filter_map(|line| line.trim().strip_prefix("xennet ")).collect();
    assert!(typed.len() >= 6, "{typed:?}");
    for line in typed {
        let words: Vec<&str> = line.split_whitespace().chain(["--help"]).collect();
        assert_eq!(run(&words).code, 0, "xennet {line}");
    }
    for name in ["hotplug.toml", "50-quiet.hook"] {
        assert!(guide.contains(&format!("]({name})")), "{name}");
    }
}
