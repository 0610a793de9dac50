use super::*;

fn call(script: NetworkScript, line: &str) -> Parsed<LegacyCall> {
    let words: Vec<&str> = line.split(' ').collect();
    LegacyCall::parse(script, &words).unwrap_or_else(|e| panic!("{line}: {}", e.report()))
}

fn name(text: &str) -> IfName {
    text.parse().unwrap()
}

#[test]
fn the_verb_and_the_options_come_in_any_order() {
    let wanted = call(NetworkScript::Bridge, "start bridge=xenbr1 netdev=eth1 antispoof=no").value;
    assert_eq!((wanted.verb, wanted.antispoof), (LegacyVerb::Start, Some(false)));
    assert_eq!((wanted.netdev, wanted.bridge), (Some(name("eth1")), Some(LegacyBridge::Named(name("xenbr1")))));
    for line in ["netdev=eth1 start antispoof=no bridge=xenbr1", "antispoof=no bridge=xenbr1 netdev=eth1 start"] {
        let found = call(NetworkScript::Bridge, line);
        assert_eq!((found.value, found.notes), (wanted, Vec::new()), "{line}");
    }
    for verb in LegacyVerb::ALL {
        assert_eq!(call(NetworkScript::Nat, &format!("netdev=eth0 {}", verb.name())).value.verb, *verb);
    }
}

#[test]
fn what_is_left_out_is_as_in_its_generation() {
    use Generation::{Netloop, Renaming};
    let (eth0, eth1, bond) = (Some(name("eth0")), Some(name("eth1")), Some(name("enp0s31f6")));
    for (line, generation, default_route, netdev, bridge) in [
        ("start", Netloop, None, "eth0", "xenbr0"),
        ("start", Netloop, eth1, "eth1", "xenbr1"),
        ("start", Netloop, bond, "enp0s31f6", "xenbr0"),
        ("start vifnum=2", Netloop, eth0, "eth2", "xenbr2"),
        ("start netdev=eth1", Netloop, eth0, "eth1", "xenbr0"),
        ("start netdev=eth1 vifnum=1", Netloop, eth0, "eth1", "xenbr1"),
        ("start", Renaming, None, "eth0", "eth0"),
        ("start", Renaming, eth1, "eth1", "eth1"),
        ("start vifnum=2", Renaming, eth0, "eth0", "eth0"),
        ("start netdev=eth1 bridge=xenbr1", Renaming, eth0, "eth1", "xenbr1"),
        ("start netdev= bridge=", Renaming, eth0, "eth0", "eth0"),
    ] {
        let call = call(NetworkScript::Bridge, line).value;
        assert_eq!(call.netdev(generation, default_route), netdev, "{line} {generation:?}");
        assert_eq!(call.bridge(generation, default_route), Some(name(bridge)), "{line} {generation:?}");
    }
    assert_eq!(call(NetworkScript::Bridge, "start bridge=null").value.bridge(Netloop, eth0), None);
    for (version, generation) in [("3.0", Netloop), ("3.1.4", Netloop), ("3.2", Renaming), ("4.4", Renaming)] {
        assert_eq!(Generation::of_xen(version).unwrap(), generation);
    }
    for version in ["", "2.0", "3", "3.5", "4.5", "4.x", "xen"] {
        assert!(Generation::of_xen(version).unwrap_err().hint().is_some(), "{version}");
    }
}

#[test]
fn every_mistake_is_told_with_its_place_its_value_and_the_way_out() {
    use NetworkScript::Bridge;
    for (script, line, column, message, hint) in [
        (Bridge, "netdev=eth0", 12, "not told what to do", "write start"),
        (Bridge, "begin", 1, "\"begin\" is no verb", "write start"),
        (Bridge, "netdev = eth0", 1, "\"netdev\" is no verb", "write netdev=VALUE without blanks"),
        (Bridge, "start brigde=x", 7, "\"brigde\"", "did you mean bridge? The options are netdev, bridge"),
        (Bridge, "start netdev=a/b", 14, "netdev cannot be \"a/b\"", "name a link"),
        (Bridge, "start bridge=a-name-that-is-long", 14, "bridge cannot be", "name a link"),
        (Bridge, "start vifnum=one", 14, "vifnum cannot be \"one\"", "write vifnum=0"),
        (Bridge, "start vifnum=4294967296", 14, "vifnum cannot be", "write vifnum=0"),
    ] {
        let words: Vec<&str> = line.split(' ').collect();
        let error = LegacyCall::parse(script, &words).unwrap_err();
        assert_eq!(error.diagnostic().unwrap().position(), (1, column), "{line}: {}", error.report());
        assert!(error.message().contains(message), "{line}: {}", error.message());
        assert!(error.hint().unwrap().contains(hint), "{line}: {:?}", error.hint());
    }
}

#[test]
fn what_an_option_did_is_told_with_what_xennet_does_instead() {
    use NetworkScript::{Bridge, Nat, Route};
    for (script, line, message, hint) in [
        (Bridge, "start antispoof=yes", "emptied the FORWARD chain", "xennet leaves FORWARD alone"),
        (Bridge, "start vifnum=0", "a loopback pair", "netdev= and bridge="),
        (Bridge, "start bridge=null", "does nothing", "name a bridge"),
        (Bridge, "start  netdev=eth0", "an empty argument", "one blank"),
        (Bridge, "start netdev=", "netdev= has no value", "remove it"),
        (Bridge, "start netdev=eth0 netdev=eth1", "given twice", "remove one"),
        (Bridge, "start stop", "\"stop\" is a second word", "NAME=VALUE"),
        (Bridge, "start -x", "\"-x\" is a second word", "NAME=VALUE"),
        (Bridge, "start netdev", "\"netdev\" is a second word", "write netdev=VALUE without blanks"),
        (Bridge, "start dhcp=yes", "\"dhcp\"", "one of network-nat's; here the options are netdev, bridge"),
        (Route, "start antispoof=yes", "\"antispoof\"", "network-bridge's; here the options are netdev"),
        (Nat, "start x=y", "\"x\"", "the options are netdev, antispoof, dhcp"),
        (Bridge, "start =y", "\"\"", "the options are"),
        (Bridge, "start antispoof=true", "antispoof has the value \"true\"", "antispoof=no"),
        (Nat, "start dhcp=1", "dhcp has the value \"1\"", "dhcp=no"),
        (Nat, "start antispoof=yes", "did nothing", "ip= in each vif spec"),
        (Nat, "start dhcp=yes", "dhcpd.conf", "dhcp = true"),
        (Route, "stop", "stop of network-route", "puts back"),
    ] {
        let notes = call(script, line).notes;
        assert_eq!(notes.len(), 1, "{line}: {notes:?}");
        assert!(notes[0].message.contains(message), "{line}: {}", notes[0]);
        assert!(notes[0].hint.as_deref().unwrap().contains(hint), "{line}: {:?}", notes[0].hint);
    }
    for (script, line) in [(Bridge, "start antispoof=no"), (Nat, "start dhcp=no antispoof=no"), (Route, "start")] {
        assert_eq!(call(script, line).notes, [], "{line}");
    }
}

#[test]
fn a_script_is_known_by_its_name() {
    for script in NetworkScript::ALL {
        assert_eq!(format!("/etc/xen/scripts/{script}").parse::<NetworkScript>().unwrap(), *script);
    }
    for (name, hint) in [
        ("/etc/xen/scripts/network-bridgebridge=x", "a blank is missing: network-bridge bridge=x"),
        ("network-brigde", "did you mean network-bridge?"),
        ("my-network", "a wrapper"),
    ] {
        let error = name.parse::<NetworkScript>().unwrap_err();
        assert!(error.hint().unwrap().contains(hint), "{name}: {:?}", error.hint());
    }
}
