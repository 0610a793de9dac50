//! Every case of `tests/vectors/` that concerns texts, in every dialect, against what Xen's own programs did.
//!
//! Each file gives rows of the table that the test prints. A disagreement must be named in [`NAMED`] with its reason; an
//! unnamed one fails the test, and so does a named one that agrees.

#![allow(clippy::unwrap_used)] // helpers of tests are tests

use std::collections::BTreeMap;
use std::path::Path;

use serde_json::{Map, Value, json};
use xennet_core::config::document::Document;
use xennet_core::config::legacy::{Generation, LegacyCall, LegacyVerb, NetworkScript};
use xennet_core::config::{self, Dialect, Parsed};
use xennet_core::{DevId, DomId, IfName, MacAddr, VifId, macgen};

/// File, input, and why we do not do what the vector says.
const NAMED: &[(&str, &str, &str)] = &[(
    "mac.json",
    "xenopsd-hashchain seed-34 0",
    "xenopsd's replacement of fe by fd makes a multicast address; the chain's own address is given",
)];

struct Table {
    file: &'static str,
    rows: BTreeMap<&'static str, (usize, usize)>,
    disagree: Vec<(String, String)>,
}

impl Table {
    fn new(file: &'static str) -> Self {
        Table { file, rows: BTreeMap::new(), disagree: Vec::new() }
    }

    fn check(&mut self, column: &'static str, input: &str, outcome: Result<(), String>) {
        let row = self.rows.entry(column).or_default();
        row.1 += 1;
        match outcome {
            Ok(()) => row.0 += 1,
            Err(why) => self.disagree.push((input.to_owned(), format!("{column}: {why}"))),
        }
    }

    /// Prints the rows and compares the disagreements with the named ones.
    fn finish(self) {
        for (column, (agree, all)) in &self.rows {
            println!("{:<24} {column:<12} {agree} of {all} agree", self.file);
        }
        let named: Vec<_> = NAMED.iter().filter(|(file, ..)| *file == self.file).collect();
        for (_, input, why) in &named {
            println!("  named: {input}: {why}");
        }
        let unnamed: Vec<_> =
            self.disagree.iter().filter(|(input, _)| !named.iter().any(|(_, n, _)| n == input)).collect();
        assert!(unnamed.is_empty(), "{}: unnamed disagreements: {unnamed:#?}", self.file);
        for (_, input, _) in named {
            assert!(self.disagree.iter().any(|(i, _)| i == input), "{}: {input} is named but agrees", self.file);
        }
    }
}

fn cases(file: &str) -> Vec<Value> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/vectors").join(file);
    let text = std::fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    let document: Value = serde_json::from_str(&text).unwrap();
    document["cases"].as_array().unwrap().clone()
}

fn text<'a>(case: &'a Value, key: &str) -> &'a str {
    case[key].as_str().unwrap()
}

/// The outcome of a reader as the vectors write it: exit status, document, and how many things were said.
type Outcome = (u64, Value, u64);

/// A document without our version, which libxl's own does not have.
fn unversioned(document: &Document) -> Value {
    let mut value = json!(document);
    assert_eq!(value.as_object_mut().unwrap().remove("version"), Some(json!(1)));
    value
}

fn outcome(result: Result<Parsed<Document>, xennet_core::Error>) -> Outcome {
    match result {
        Ok(parsed) => (0, unversioned(&parsed.value), parsed.notes.len() as u64),
        Err(error) => {
            assert_eq!(error.kind(), xennet_core::ErrorKind::Invalid);
            assert!(error.diagnostic().is_some(), "an error about a text has a position: {error:?}");
            (1, Value::Null, 1)
        }
    }
}

/// Compares with a vector's `xl`: same exit, same document, and a note at least for each message of xl.
fn agrees_with_xl(xl: &Value, document: &str, (exit, value, notes): Outcome) -> Result<(), String> {
    if let Some(wanted) = xl["exit"].as_u64().filter(|wanted| *wanted != exit) {
        return Err(format!("exit {exit}, not {wanted}"));
    }
    let found = match document {
        "nics" => value["nics"].clone(),
        _ => value,
    };
    // A vector without exit status was worked out from the manual: it names the fields that it is about.
    let same = match (xl.get("exit"), &xl[document], &found) {
        (None, Value::Object(wanted), Value::Object(found)) => wanted.iter().all(|(k, v)| found.get(k) == Some(v)),
        (_, wanted, found) => wanted == found,
    };
    if !same {
        return Err(format!("{found}, not {}", xl[document]));
    }
    match xl["messages"].as_u64() {
        Some(messages) if exit == 0 && notes < messages => Err(format!("{notes} notes for {messages} messages")),
        _ => Ok(()),
    }
}

/// The same for a reader that may refuse more than xl does: what it takes, it must read as xl does.
fn agrees_where_taken(xl: &Value, document: &str, outcome: Outcome) -> Result<(), String> {
    let wanted = match xl.get("exit") {
        Some(exit) => json!({"exit": exit, document: xl[document]}),
        None => json!({document: xl[document]}),
    };
    if outcome.0 == 0 { agrees_with_xl(&wanted, document, outcome) } else { Ok(()) }
}

/// Compares with a vector's `strict`: accept (without a note), warn (with one), reject.
fn agrees_with_strict(strict: &str, (exit, _, notes): &Outcome) -> Result<(), String> {
    match (strict, exit, notes) {
        ("accept", 0, 0) | ("warn", 0, 1..) | ("reject", 1, _) => Ok(()),
        _ => Err(format!("{strict} wanted: exit {exit}, {notes} notes")),
    }
}

#[test]
fn vif_specs() {
    let mut table = Table::new("xl-vif-spec.json");
    for case in cases("xl-vif-spec.json") {
        let spec = text(&case, "spec");
        let read = |dialect| outcome(config::document::vif(spec, dialect));
        table.check("xl", spec, agrees_with_xl(&case["xl"], "nic", read(Dialect::Xl)));
        let strict = read(Dialect::Strict);
        let verdict = agrees_with_strict(text(&case, "strict"), &strict);
        table.check("strict", spec, verdict.and(agrees_where_taken(&case["xl"], "nic", strict)));
    }
    table.finish();
}

#[test]
fn vif_statements() {
    let mut table = Table::new("xl-vif-statement.json");
    for case in cases("xl-vif-statement.json") {
        let source = text(&case, "text");
        let read = |dialect| outcome(config::document::vif_list(source, dialect));
        table.check("xl", source, agrees_with_xl(&case["xl"], "nics", read(Dialect::Xl)));
        // The file has no column of ours.
        table.check("strict", source, agrees_where_taken(&case["xl"], "nics", read(Dialect::Strict)));
    }
    table.finish();
}

#[test]
fn attach_arguments() {
    let mut table = Table::new("xl-network-attach.json");
    for case in cases("xl-network-attach.json") {
        let argv: Vec<&str> = case["argv"].as_array().unwrap().iter().map(|a| a.as_str().unwrap()).collect();
        let input = argv.join(" ");
        let read = |dialect| outcome(config::document::attach(&argv, dialect));
        table.check("xl", &input, agrees_with_xl(&case["xl"], "nic", read(Dialect::Xl)));
        table.check("strict", &input, agrees_where_taken(&case["xl"], "nic", read(Dialect::Strict)));
    }
    table.finish();
}

#[test]
fn rates() {
    let mut table = Table::new("xl-rate.json");
    for case in cases("xl-rate.json") {
        let rate = text(&case, "rate");
        let xl = &case["xl"];
        let found = outcome(config::document::rate(rate, Dialect::Xl));
        let verdict = match (xl["ok"].as_bool().unwrap(), found.0) {
            (true, 0) => ["bytes_per_interval", "interval_usecs", "backend_rate"]
                .into_iter()
                .find(|k| found.1[k] != xl[k])
                .map_or(Ok(()), |k| Err(format!("{k} is {}, not {}", found.1[k], xl[k]))),
            (false, 1) => {
                let error = config::parse_rate_xl(rate).unwrap_err();
                let rule = &error.diagnostic().unwrap().rule;
                if rule.ends_with(text(xl, "reason")) { Ok(()) } else { Err(format!("{rule}, not {}", xl["reason"])) }
            }
            (wanted, exit) => Err(format!("ok {wanted} wanted, exit {exit}")),
        };
        table.check("xl", rate, verdict);
        let found = config::parse_rate_xend(rate).map_or("4294967295,0".to_owned(), |r| r.backend_rate());
        let wanted = text(&case["xend"], "backend_rate");
        table.check("xend", rate, if found == wanted { Ok(()) } else { Err(format!("{found}, not {wanted}")) });
        let strict = outcome(config::document::rate(rate, Dialect::Strict));
        let same = match strict.0 {
            0 if strict.1["backend_rate"] != xl["backend_rate"] => Err("reads another rate than xl".to_owned()),
            _ => Ok(()),
        };
        table.check("strict", rate, agrees_with_strict(text(&case, "strict"), &strict).and(same));
    }
    table.finish();
}

#[test]
fn mac_addresses() {
    let mut table = Table::new("mac.json");
    for case in cases("mac.json") {
        let (scheme, mac) = (text(&case, "scheme"), text(&case, "mac"));
        match scheme {
            "parse" => {
                let same = |found: bool, wanted: &Value| {
                    if Value::Bool(found) == *wanted { Ok(()) } else { Err(format!("{found}, not {wanted}")) }
                };
                table.check("libxl", mac, same(MacAddr::parse_as_libxl(mac).is_some(), &case["libxl_parse_mac"]));
                table.check("xapi", mac, same(mac.parse::<MacAddr>().is_ok(), &case["xapi_is_valid_mac"]));
            }
            _ => {
                let (seed, device) = (text(&case, "seed"), case["device"].as_u64().unwrap());
                let devid = DevId::new(u32::try_from(device).unwrap()).unwrap();
                let found = macgen::from_xapi_seed(seed, devid).unwrap().to_string();
                let verdict = if found == mac { Ok(()) } else { Err(format!("{found}, not {mac}")) };
                table.check("hash chain", &format!("{scheme} {seed} {device}"), verdict);
            }
        }
    }
    table.finish();
}

#[test]
fn interface_names() {
    let mut table = Table::new("interface-names.json");
    for case in cases("interface-names.json") {
        let number = |key: &str| u32::try_from(case[key].as_u64().unwrap()).unwrap();
        let mut found = Map::new();
        let input = match case.get("vifname").and_then(Value::as_str) {
            Some(vifname) => {
                let name = vifname.parse::<IfName>();
                found.insert("vif_ok".into(), name.is_ok().into());
                found.insert("tap_ok".into(), name.is_ok_and(|n| n.tap().is_ok()).into());
                // What a spec says of it: with a tap only names that leave room for -emu.
                for (kind, key) in [("vif", "vif_ok"), ("ioemu", "tap_ok")] {
                    let spec = config::parse_vif(&format!("type={kind},vifname={vifname}"), Dialect::Strict);
                    assert_eq!(Value::Bool(spec.is_ok()), case[key], "{vifname} {kind}");
                }
                vifname.to_owned()
            }
            None => {
                let (domid, devid) = (number("domid"), number("devid"));
                let id = VifId::new(DomId::new(domid).unwrap(), DevId::new(devid).unwrap());
                found.insert("vif".into(), id.vif_name().as_str().into());
                found.insert("vif_len".into(), id.vif_name().as_str().len().into());
                found.insert("tap_fits_15".into(), id.tap_name().is_ok().into());
                id.to_string()
            }
        };
        let wrong: Vec<String> =
            found.iter().filter(|(k, v)| case[*k] != **v).map(|(k, v)| format!("{k}={v}")).collect();
        table.check("names", &input, if wrong.is_empty() { Ok(()) } else { Err(wrong.join(" ")) });
    }
    table.finish();
}

#[test]
fn xend_configs() {
    let mut table = Table::new("xend-config-sxp.json");
    for case in cases("xend-config-sxp.json") {
        let source = text(&case, "text");
        let verdict = match (config::document::xend_config(source), case.get("error").and_then(Value::as_str)) {
            (Ok(parsed), None) => {
                let wanted = json!({ "network_argv": case["network_argv"], "vif_script": case["vif_script"] });
                if unversioned(&parsed.value) == wanted { Ok(()) } else { Err(parsed.value.to_string()) }
            }
            (Err(error), Some(wanted)) => {
                let told = error.diagnostic().is_some() && error.hint().is_some();
                if told && error.message().starts_with(wanted) { Ok(()) } else { Err(error.report()) }
            }
            (Ok(parsed), Some(_)) => Err(parsed.value.to_string()),
            (Err(error), None) => Err(error.report()),
        };
        table.check("xend", source, verdict);
    }
    table.finish();
}

/// The calls that a case of `legacy-network-scripts.json` is about, as a shell would be given them.
fn legacy_lines(case: &Value) -> Vec<String> {
    let script = case["script"].as_str().unwrap_or("network-bridge");
    let setup = case["setup"].as_str().unwrap_or_default();
    if let Some(calls) = setup.strip_prefix("wrapper: ") {
        return calls.split(", then ").map(|call| format!("{script} {call}")).collect();
    }
    let command = text(case, "command");
    let is_option = |w: &&str| w.split_once('=').is_some_and(|(_, value)| !value.is_empty());
    let options: Vec<&str> = setup.split([' ', ',']).chain(command.split(' ')).filter(is_option).collect();
    let mut verbs: Vec<&str> =
        command.split(|c: char| !c.is_alphabetic()).filter(|w| ["start", "stop", "status"].contains(w)).collect();
    if verbs.is_empty() {
        verbs = vec!["start", "stop", "status"];
    }
    verbs.iter().map(|verb| [&[script, verb], options.as_slice()].concat().join(" ")).collect()
}

#[test]
fn legacy_network_scripts() {
    let mut table = Table::new("legacy-network-scripts.json");
    for case in cases("legacy-network-scripts.json") {
        let lines = legacy_lines(&case);
        // As a wrapper would call them, and by themselves.
        let wrapped = config::parse_wrapper(&lines.join("\n")).unwrap().value;
        let starts = lines.iter().filter(|l| l.contains(" start")).count();
        assert_eq!(wrapped.len(), starts, "{lines:?}");
        let version = text(&case, "version").split([',', ' ']).next().unwrap();
        let generation = Generation::of_xen(version).unwrap_or_default();
        let after = case["after"].as_object().unwrap();
        let mut disagree = Vec::new();
        for line in &lines {
            let words: Vec<&str> = line.split(' ').collect();
            let script: NetworkScript = words[0].parse().unwrap();
            let Parsed { value: call, notes, .. } = LegacyCall::parse(script, &words[1..]).unwrap();
            let told = |piece: &str| notes.iter().any(|n| n.message.contains(piece) && n.hint.is_some());
            let mut wrong = Vec::new();
            if call.script != script || call.verb.name() != words[1] {
                wrong.push("script or verb".to_owned());
            }
            // What became of the names.
            let bridge = call.bridge(generation, None);
            let made = |name: &str| after.get(name).and_then(Value::as_str).is_some_and(|what| !what.contains("never"));
            if script == NetworkScript::Bridge && generation == Generation::Netloop && made("xenbr0") {
                assert_eq!(case.get("script"), None);
                if bridge.is_none_or(|b| b != "xenbr0") {
                    wrong.push(format!("bridge {bridge:?}"));
                }
            }
            if after.get("eth0").and_then(Value::as_str).is_some_and(|what| what.contains("a bridge"))
                && bridge.is_none_or(|b| b != "eth0")
            {
                wrong.push(format!("bridge {bridge:?}"));
            }
            if line.contains("bridge=null") && (bridge.is_some() || !told("does nothing")) {
                wrong.push("null".to_owned());
            }
            // What did harm, or did not what its name says, is told.
            if line.contains("antispoof=yes") && !told("FORWARD") {
                wrong.push("antispoof is not told".to_owned());
            }
            if script == NetworkScript::Route && call.verb != LegacyVerb::Start && !told("network-route") {
                wrong.push("the verb is not told".to_owned());
            }
            if call.netdev(generation, None).as_str()
                != if line.contains("eth9") {
                    "eth9"
                } else if line.contains("eth1") {
                    "eth1"
                } else {
                    "eth0"
                }
            {
                wrong.push(format!("netdev {}", call.netdev(generation, None)));
            }
            disagree.extend(wrong.iter().map(|what| format!("{line}: {what}")));
            table.check("calls", line, if wrong.is_empty() { Ok(()) } else { Err(wrong.join(", ")) });
        }
        let verdict = if disagree.is_empty() { Ok(()) } else { Err(disagree.join(", ")) };
        table.check("cases", &lines.join("; "), verdict);
    }
    assert_eq!(table.rows["cases"].1, 23);
    table.finish();
}
