//! `import`: old files in, `networks.toml` out, which reads back.

use std::fs;

use serde_json::Value;
use xennet_core::Network;
use xennet_core::config::networks;
use xennet_tests::StateDir;

use crate::command::{Run, run, run_with_input};

/// The text on standard output reads back as the networks of the document.
fn reads_back(text: &Run, document: &Run) -> Vec<Network> {
    assert_eq!((text.code, document.code), (0, 0), "{text:?} {document:?}");
    let read: Vec<Network> = networks::parse(&text.stdout).unwrap().iter().cloned().collect();
    let document = document.json();
    assert_eq!(serde_json::from_value::<Vec<Network>>(document["networks"].clone()).unwrap(), read);
    assert_eq!(document["text"], text.stdout.as_str());
    let notes: Vec<String> =
        document["notes"].as_array().unwrap().iter().map(|n| format!("note: {}", n.as_str().unwrap())).collect();
    assert_eq!(text.stderr.lines().collect::<Vec<_>>(), notes);
    read
}

#[test]
fn the_config_comes_from_a_file_or_from_standard_input() {
    let place = StateDir::new();
    let file = place.path().join("xend-config.sxp");
    let text = "(network-script 'network-bridge bridge=xenbr0 netdev=eth1')\n(vif-script vif-bridge)\n";
    fs::write(&file, text).unwrap();
    let path = file.to_str().unwrap();
    let read = reads_back(&run(["import", path]), &run(["--json", "import", path]));
    assert_eq!(read.len(), 1);
    let piped = run_with_input(&["import", "-"], text.as_bytes());
    assert!(piped.stdout.ends_with("[network.xenbr0]\nmode = \"bridge\"\nuplink = \"eth1\"\n"), "{piped:?}");
    assert!(
        piped.stdout.starts_with("# network-bridge start netdev=eth1 bridge=xenbr0 (standard input, network-script)\n")
    );
    let missing = run(["import", "/nonexistent/xend-config.sxp"]);
    assert_eq!((missing.code, missing.stdout.as_str()), (2, ""), "{missing:?}");
}

#[test]
fn a_wrapper_is_read_where_the_config_says_or_where_it_is_named() {
    let place = StateDir::new();
    let path = |name: &str| place.path().join(name).to_str().unwrap().to_owned();
    let (config, wrapper) = (path("xend-config.sxp"), path("network-wrapper"));
    fs::write(
        &wrapper,
        "#!/bin/sh\ndir=$(dirname \"$0\")\n$dir/network-bridge \"$1\" netdev=eth0 bridge=xenbr0\n\
                         $dir/network-bridge \"$1\" netdev=eth1 bridge=xenbr1\ntouch \"$0.was-run\"\n",
    )
    .unwrap();
    fs::write(&config, format!("(network-script {wrapper})\n")).unwrap();
    let found = reads_back(&run(["import", &config]), &run(["--json", "import", &config]));
    assert_eq!(found.iter().map(|n| n.name().to_string()).collect::<Vec<_>>(), ["xenbr0", "xenbr1"]);
    let alone = ["import", "--wrapper", &wrapper];
    // Where this machine has a config of xend's it is read, too.
    if !std::path::Path::new("/etc/xen/xend-config.sxp").exists() {
        assert_eq!(reads_back(&run(alone), &run([&["--json"], &alone[..]].concat())), found);
    }
    assert_eq!(fs::read_dir(place.path()).unwrap().count(), 2, "the wrapper was run");

    // The recipe that configures another name than the file has.
    fs::write(&config, "(network-script network-bridge-wrapper)\n").unwrap();
    let nowhere = run(["import", &config]);
    assert_eq!((nowhere.code, nowhere.stdout.as_str()), (2, ""));
    assert!(
        nowhere.stderr.contains("hint: if network-bridge-wrapper is a wrapper, name its file: --wrapper "),
        "{nowhere:?}"
    );
    let named = run(["import", &config, "--wrapper", &wrapper]);
    assert!(named.code == 0 && named.stderr.contains("xend never ran that one"), "{named:?}");
}

#[test]
fn the_version_and_the_uplink_fill_in_what_is_left_out() {
    let import = |more: &[&str]| {
        let words = [&["--json", "import", "-"], more].concat();
        run_with_input(&words, b"(network-script network-bridge)\n")
    };
    let found = import(&["--xen", "4.1", "--uplink", "eth1"]).json();
    assert_eq!(
        (&found["networks"][0]["name"], &found["networks"][0]["uplink_name"]),
        (&"eth1".into(), &"peth1".into())
    );
    assert_eq!(found["notes"], Value::Array(Vec::new()));
    let guessed = import(&[]).json();
    assert_eq!((&guessed["networks"][0]["name"], guessed["notes"].as_array().unwrap().len()), (&"xenbr0".into(), 2));
    for wrong in [&["--xen", "4.5"][..], &["--uplink", "a/b"]] {
        let got = import(wrong);
        assert_eq!((got.code, got.stdout.as_str()), (2, ""), "{got:?}");
    }
}

#[test]
fn what_was_imported_or_advised_starts() {
    let fake = |state: &StateDir, words: &[&str]| {
        let state = state.path().to_str().unwrap().to_owned();
        run([&["--backend", "fake", "--state-dir", &state], words].concat())
    };
    let recipe = |network: &str, vif: &str| {
        let text = format!("(network-script {network})\n(vif-script {vif})\n");
        run_with_input(&["import", "-"], text.as_bytes()).stdout
    };
    let advise = |words: &[&str]| run([&["advise"], words].concat()).stdout;
    for (text, name) in [
        (recipe("'network-bridge netdev=eth0 bridge=xenbr0'", "vif-bridge"), "xenbr0"),
        (recipe("network-nat", "vif-nat"), "nat"),
        (recipe("'network-route netdev=xenbr0'", "vif-route"), "routed"),
        (advise(&["--lan=yes", "--addresses=lan", "--uplink=eth0"]), "lan"),
        (advise(&["--lan=no"]), "private"),
        (advise(&["--lan=yes", "--addresses=own", "--reachable=yes", "--route=yes", "--uplink=xenbr0"]), "guests"),
    ] {
        let state = StateDir::new();
        let file = state.path().join("networks.toml");
        fs::write(&file, &text).unwrap();
        let started = fake(&state, &["network", "start", "--all", "--file", file.to_str().unwrap()]);
        assert_eq!(started.code, 0, "{text}\n{started:?}");
        assert!(started.stdout.starts_with(&format!("network {name}: ")), "{started:?}");
        let again = fake(&state, &["network", "start", "--all", "--file", file.to_str().unwrap()]);
        assert_eq!(again.code, 0, "{text}\n{again:?}");
    }
}

#[test]
fn every_recorded_config_is_imported_or_refused_with_a_way_out() {
    let path = format!("{}/../tests/vectors/xend-config-sxp.json", env!("CARGO_MANIFEST_DIR"));
    let Ok(file) = fs::read_to_string(&path) else {
        assert!(std::env::var_os("XENNET_BIN").is_some(), "{path} cannot be read");
        eprintln!("skipped: the recorded cases are not here");
        return;
    };
    let file: Value = serde_json::from_str(&file).unwrap();
    let (mut made, mut refused) = (0, 0);
    for case in file["cases"].as_array().unwrap() {
        let text = case["text"].as_str().unwrap().as_bytes();
        let got = run_with_input(&["--json", "import", "-"], text);
        let argv = &case["network_argv"];
        let program = argv[0].as_str().and_then(|path| path.rsplit('/').next()).unwrap_or_default();
        let known = ["network-bridge", "network-nat", "network-route"].contains(&program);
        if got.code == 0 {
            made += 1;
            let networks = got.json()["networks"].as_array().unwrap().len();
            assert_eq!(networks, usize::from(known), "{case}");
            reads_back(&run_with_input(&["import", "-"], text), &got);
        } else {
            refused += 1;
            assert!(got.code == 2 && !known && !got.json_lines()[0]["hint"].is_null(), "{case}: {got:?}");
        }
    }
    assert_eq!((made, refused), (13, 8), "of 21 cases");
}
