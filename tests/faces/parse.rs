//! `parse` and `mac generate`: every recorded case goes through the command, in both dialects.

use std::collections::BTreeSet;

use serde_json::{Value, json};
use xennet_core::Result;
use xennet_core::config::document::{self, Document};
use xennet_core::config::{Dialect, Parsed, networks};
use xennet_core::macgen::Scheme;

use crate::command::{Run, run, run_as_nobody, run_with_input};

/// The cases of one file of recorded behaviour.
fn cases(file: &str) -> Vec<Value> {
    let path = format!("{}/../tests/vectors/{file}", env!("CARGO_MANIFEST_DIR"));
    let text = std::fs::read_to_string(&path).unwrap_or_else(|e| panic!("{path}: {e}"));
    let file: Value = serde_json::from_str(&text).unwrap();
    file["cases"].as_array().unwrap().clone()
}

/// The command says what the library says: the document on standard output and 0, or the error on standard error and 2;
/// and one line on standard error for every note.
fn agrees(got: &Run, expected: &Result<Parsed<Document>>, case: &str) {
    match expected {
        Ok(parsed) => {
            assert_eq!(got.code, 0, "{case}: {got:?}");
            assert_eq!(got.json(), json!(parsed.value), "{case}");
            let notes: Vec<Value> = got.json_lines().iter().map(|n| n["note"].clone()).collect();
            let wanted: Vec<&str> = parsed.notes.iter().map(|n| n.message.as_str()).collect();
            assert_eq!(notes, wanted, "{case}");
        }
        Err(e) => {
            assert_eq!((got.code, got.stdout.as_str()), (2, ""), "{case}: {got:?}");
            assert_eq!(got.json_lines(), [json!(e)], "{case}");
        }
    }
}

fn through(what: &str, dialect: Dialect, texts: &[&str]) -> Run {
    let mut arguments = vec!["parse", what, "--dialect", dialect.name(), "--json", "--"];
    arguments.extend(texts);
    run(arguments)
}

const DIALECTS: [Dialect; 2] = [Dialect::Strict, Dialect::Xl];

#[test]
fn every_recorded_spec() {
    let cases = cases("xl-vif-spec.json");
    assert!(cases.len() >= 70);
    for case in cases {
        let text = case["spec"].as_str().unwrap();
        for dialect in DIALECTS {
            // A lone - is standard input, by the command's own rule.
            assert_ne!(text, "-");
            agrees(&through("vif", dialect, &[text]), &document::vif(text, dialect), text);
        }
    }
}

#[test]
fn every_recorded_statement() {
    let cases = cases("xl-vif-statement.json");
    assert!(cases.len() >= 20);
    for case in cases {
        let text = case["text"].as_str().unwrap();
        for dialect in DIALECTS {
            let expected = document::vif_list(text, dialect);
            agrees(&through("vif-list", dialect, &[text]), &expected, text);
            let arguments = ["parse", "vif-list", "--json", "--dialect", dialect.name(), "-"];
            agrees(&run_with_input(&arguments, text.as_bytes()), &expected, text);
        }
    }
}

#[test]
fn every_recorded_network_attach() {
    let cases = cases("xl-network-attach.json");
    assert!(cases.len() >= 16);
    for case in cases {
        let texts: Vec<&str> = case["argv"].as_array().unwrap().iter().map(|a| a.as_str().unwrap()).collect();
        for dialect in DIALECTS {
            let name = format!("{texts:?}");
            agrees(&through("attach", dialect, &texts), &document::attach(&texts, dialect), &name);
        }
    }
}

#[test]
fn every_recorded_rate() {
    let cases = cases("xl-rate.json");
    assert!(cases.len() >= 70);
    for case in cases {
        let text = case["rate"].as_str().unwrap();
        for dialect in DIALECTS {
            agrees(&through("rate", dialect, &[text]), &document::rate(text, dialect), text);
        }
    }
}

#[test]
fn every_recorded_xend_config() {
    let cases = cases("xend-config-sxp.json");
    assert!(cases.len() >= 21);
    let place = xennet_tests::StateDir::new();
    let file = place.path().join("xend-config.sxp");
    for case in cases {
        let text = case["text"].as_str().unwrap();
        let expected = document::xend_config(text);
        agrees(&run_with_input(&["parse", "xend-config", "--json", "-"], text.as_bytes()), &expected, text);
        std::fs::write(&file, text).unwrap();
        let expected = expected.map_err(|e| e.in_file(file.to_str().unwrap()));
        agrees(&run(["parse", "xend-config", "--json", file.to_str().unwrap()]), &expected, text);
    }
    let got = run_with_input(&["parse", "xend-config", "-"], b"(network-script network-nat dhcp=yes)");
    let lines = "network_argv = [\"/etc/xen/scripts/network-nat\",\"start\"]\n\
                 vif_script = \"/etc/xen/scripts/vif-bridge\"\n";
    assert_eq!((got.code, got.stdout.as_str()), (0, lines));
    assert!(got.stderr.starts_with("note: \"dhcp=yes\" is dropped\n"), "{got:?}");
    assert!(got.stderr.ends_with("hint: write (network-script 'network-nat dhcp=yes')\n"), "{got:?}");
    let missing = run(["--json", "parse", "xend-config", "/nonexistent/xend-config.sxp"]);
    let error = &missing.json_lines()[0];
    assert_eq!((missing.code, error["object"].as_str()), (2, Some("/nonexistent/xend-config.sxp")), "{missing:?}");
    assert_eq!(error["hint"], "name the file, or - for standard input");
}

#[test]
fn networks_are_the_documents_that_the_library_reads_back() {
    let text = "[network.lan]\nmode = \"bridge\"\nuplink = \"eth0\"\nbridge = \"xenbr0\"\n\n\
                [network.private]\nmode = \"nat\"\nsubnets = [\"10.0.0.0/24\"]\negress = \"xenbr0\"\n";
    let got = run_with_input(&["parse", "networks", "--json", "-"], text.as_bytes());
    let expected = document::networks(text).map(|value| Parsed::new(value, Vec::new()));
    agrees(&got, &expected, text);
    for network in got.json()["networks"].as_array().unwrap() {
        let read = document::read_network(&network.to_string()).unwrap();
        assert_eq!(networks::parse(text).unwrap().get(read.name().as_str()), Some(&read));
    }
    let got = run_with_input(&["parse", "networks", "-"], text.as_bytes());
    assert!(
        got.stdout.starts_with("[0]\nbridge = {") && got.stdout.contains("\n[1]\negress = {\"link\":\"xenbr0\"}\n"),
        "{got:?}"
    );
    let wrong = run_with_input(&["--json", "parse", "networks", "-"], text.replace("uplink", "upling").as_bytes());
    let error = &wrong.json_lines()[0];
    assert_eq!((wrong.code, error["line"].as_u64(), error["column"].as_u64()), (2, Some(3), Some(1)), "{wrong:?}");
    assert!(error["message"].as_str().unwrap().contains("\"upling\" is no key"), "{wrong:?}");
    assert_eq!(run(["parse", "networks", "/nonexistent/networks.toml"]).code, 2);
}

#[test]
fn the_settings_of_hotplug_are_shown_with_what_they_lack_and_checked() {
    let got = run_with_input(&["parse", "hotplug", "--json", "-"], b"deadline = 5\nisolated = [\"br-dmz\"]\n# end");
    let document = got.json();
    assert_eq!((&document["deadline"], &document["isolated"]), (&5.into(), &serde_json::json!(["br-dmz"])));
    assert_eq!((&document["hooks"], &document["syslog"]), (&"/etc/xen/scripts/vif-post.d".into(), &true.into()));
    let wrong = run_with_input(&["parse", "hotplug", "-"], b"syslog = true\ndeadlin = 5\n");
    assert!(wrong.code == 2 && wrong.stderr.contains("did you mean deadline?"), "{wrong:?}");
    let place = xennet_tests::StateDir::new();
    let file = place.path().join("hotplug.toml");
    std::fs::write(&file, "deadline = 99\n").unwrap();
    let wrong = run(["parse", "hotplug", file.to_str().unwrap()]);
    assert!(wrong.stderr.starts_with(&format!("error: {}: deadline cannot be 99", file.display())), "{wrong:?}");
}

#[test]
fn the_schemas_of_the_files_are_printed() {
    for (what, name) in [("networks", "networks-file"), ("hotplug", "hotplug-file")] {
        let got = run(["parse", what, "--schema"]);
        assert_eq!((got.code, got.stdout.as_str()), (0, run(["schema", name]).stdout.as_str()), "{got:?}");
        assert_eq!(run(["parse", what, "--schema", "x.toml"]).code, 2);
    }
    assert_eq!(run(["parse", "networks"]).code, 2);
    let whole = run(["parse", "networks", "--schema"]).json();
    assert_eq!(whole["$defs"]["bridge"]["properties"]["uplink"]["examples"][0], "eth0");
    // What it says of a file is so.
    let check = |lines: &str| {
        let network = format!("[network.x]\nmode = \"nat\"\n{lines}\n");
        let taken = run_with_input(&["parse", "networks", "-"], network.as_bytes()).code == 0;
        let mut values = json!({ "mode": "nat" });
        for line in lines.lines() {
            let (key, value) = line.split_once(" = ").unwrap();
            values[key] = serde_json::from_str(value).unwrap();
        }
        let flaws = xennet_tests::documents::flaws("networks-file", &json!({ "network": { "x": values } }));
        assert_eq!(flaws.is_empty(), taken, "{lines}: {flaws:?}");
        taken
    };
    assert!(check("subnets = [\"10.0.0.0/24\"]\ndhcp = true\nmtu = 1400"));
    for wrong in ["dhcp = 1", "mtu = 67", "uplink = \"eth0\"", "host = \"shut\"", "subnets = \"10.0.0.0/24\""] {
        assert!(!check(wrong), "{wrong}");
    }
}

#[test]
fn every_recorded_mac_and_every_chain() {
    let mut chains = 0;
    for case in cases("mac.json") {
        let mac = case["mac"].as_str().unwrap();
        match case["scheme"].as_str().unwrap() {
            "parse" => {
                for dialect in DIALECTS {
                    agrees(&through("mac", dialect, &[mac]), &document::mac(mac, dialect), mac);
                }
            }
            "xapi-hashchain" => {
                let (seed, devid) = (case["seed"].as_str().unwrap(), case["device"].to_string());
                let got = run(["mac", "generate", "--scheme", "xapi", "--seed", seed, "--devid", &devid]);
                let made = Scheme::Xapi.generate(Some(seed), devid.parse().unwrap(), [0; 6]);
                match made {
                    Ok(_) => assert_eq!((got.code, got.stdout), (0, format!("{mac}\n")), "{seed} {devid}"),
                    Err(e) => assert_eq!((got.code, got.stderr), (2, format!("{}\n", e.report())), "{seed} {devid}"),
                }
                chains += 1;
            }
            // xenopsd's variant gives a multicast address and is not imitated.
            other => assert_eq!(other, "xenopsd-hashchain"),
        }
    }
    assert!(chains >= 16);
}

#[test]
fn drawn_addresses_differ_and_have_the_form_of_their_scheme() {
    for (scheme, xen) in [("libxl", true), ("xen24", true), ("local", false)] {
        let drawn: BTreeSet<String> = (0..8).map(|_| run(["mac", "generate", "--scheme", scheme]).stdout).collect();
        // 23 bits at least: eight equal draws do not happen, two equal ones hardly.
        assert!(drawn.len() > 5, "{drawn:?}");
        for mac in drawn {
            let document = run(["parse", "mac", "--json", mac.trim_end()]).json();
            assert_eq!((document["xen_oui"].as_bool(), document["local"].as_bool()), (Some(xen), Some(!xen)), "{mac}");
        }
    }
    let got = run(["mac", "generate", "--scheme", "libxl", "--seed", "x"]);
    assert!(got.code == 0 && got.stderr.starts_with("note: --seed has no effect"), "{got:?}");
    assert_eq!(run(["mac", "generate", "--scheme", "uuid"]).code, 2);
    assert_eq!(run(["mac", "generate", "--scheme", "uuid", "--seed", "x", "--devid", "-1"]).code, 2);
    assert_eq!(run(["mac", "generate", "--scheme", "dice"]).code, 2);
}

#[test]
fn an_error_shows_the_line_and_a_caret() {
    let got = run(["parse", "vif", "mac=00:16:3e:01:02,bridge=xenbr0"]);
    assert_eq!((got.code, got.stdout.as_str()), (2, ""));
    let lines: Vec<&str> = got.stderr.lines().collect();
    assert!(lines[0].starts_with("error: "), "{got:?}");
    assert!(lines.contains(&"  1 | mac=00:16:3e:01:02,bridge=xenbr0"), "{got:?}");
    assert!(lines.iter().any(|l| l.starts_with("    |     ^^^")), "{got:?}");
    assert!(!got.stderr.contains('\x1b'), "no colour where there is no terminal");
}

#[test]
fn text_comes_from_standard_input_for_a_dash() {
    let rate = run_with_input(&["parse", "rate", "--json", "-"], b"10Mb/s\n");
    assert_eq!(rate.json()["backend_rate"], "62500,50000");
    let attach = run_with_input(&["parse", "attach", "--json", "-"], b"bridge=br0\nmac=00:16:3e:01:02:03\n");
    assert_eq!((&attach.json()["bridge"], &attach.json()["mac"]), (&"br0".into(), &"00:16:3e:01:02:03".into()));
    let broken = run_with_input(&["parse", "vif-list", "-"], b"vif = [ '\xff' ]");
    assert_eq!((broken.code, broken.stdout.as_str()), (2, ""));
    assert!(broken.stderr.contains("not UTF-8 from byte 9 on"), "{broken:?}");
    // A comment as the last line, ended or not, on standard input and as an argument.
    for text in ["vif = [ \"bridge=a\" ]\n# the end\n", "vif = [ \"bridge=a\" ]\n# the end", "vif = ['bridge=a'] # end"]
    {
        for dialect in DIALECTS {
            let arguments = ["parse", "vif-list", "--json", "--dialect", dialect.name()];
            let piped = run_with_input(&[&arguments[..], &["-"]].concat(), text.as_bytes());
            assert_eq!(piped.json()["nics"][0]["bridge"], "a", "{text:?}: {piped:?}");
            assert_eq!(through("vif-list", dialect, &[text]).json()["nics"][0]["bridge"], "a", "{text:?}");
        }
        let noted = run_with_input(&["parse", "vif-list", "--dialect", "xl", "-"], text.as_bytes());
        assert_eq!(noted.stderr.contains("a comment without an end of line"), !text.ends_with('\n'), "{noted:?}");
    }
    let networks = run_with_input(&["parse", "networks", "--json", "-"], b"[network.a]\nmode = \"nat\"\n# the end");
    assert_eq!(networks.json()["networks"][0]["name"], "a");
    let endless = run_with_input(&["parse", "vif", "-"], &vec![b'x'; (16 << 20) + 1]);
    assert_eq!((endless.code, endless.stdout.as_str()), (2, ""));
}

#[test]
fn the_text_form_has_one_field_a_line() {
    let got = run(["parse", "rate", "10Mb/s"]);
    assert_eq!(got.stdout, "backend_rate = \"62500,50000\"\nbytes_per_interval = 62500\ninterval_usecs = 50000\n");
    let got = run(["parse", "vif-list", "vif = [ 'bridge=a', 'bridge=b' ]"]);
    let headings: Vec<&str> = got.stdout.lines().filter(|l| l.starts_with('[')).collect();
    assert_eq!(headings, ["[0]", "[1]"], "{got:?}");
}

#[test]
fn reading_needs_no_rights() {
    let got = run_as_nobody(&["parse", "mac", "00:16:3e:01:02:03"]);
    assert_eq!((got.code, got.stderr.as_str()), (0, ""));
}
