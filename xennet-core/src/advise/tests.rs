use super::*;
use crate::model::VifSpec;

/// A situation as it is answered, question by question.
fn answered(answers: &[(Question, &str)]) -> Situation {
    let mut situation = Situation::default();
    for (question, answer) in answers {
        situation.answer(*question, answer).unwrap_or_else(|e| panic!("{}", e.report()));
    }
    situation
}

fn advised(answers: &[(Question, &str)]) -> Advice {
    let situation = answered(answers);
    let advice = advise(&situation).unwrap_or_else(|e| panic!("{situation:?}\n{}", e.report()));
    let read: Vec<Network> = networks::parse(&advice.text).unwrap().iter().cloned().collect();
    assert_eq!(read, std::slice::from_ref(&advice.network), "{}", advice.text);
    // The vif spec is one, and fits the network.
    let vif: VifSpec = advice.vif.parse().unwrap();
    let name = vif.bridge().unwrap();
    assert!(name == advice.network.name() || advice.network.bridge().is_some_and(|b| b.name() == name));
    for address in vif.ip() {
        assert!(advice.network.subnets().is_empty() || advice.network.subnet_of(address.ip()).is_some());
    }
    advice
}

/// The last lines of the text: what is no comment.
fn toml(advice: &Advice) -> String {
    advice.text.lines().filter(|line| !line.starts_with('#')).map(|line| format!("{line}\n")).collect()
}

use Question::{Addresses as From, Dhcp, Dom0, Lan, Macs, Reachable, Route, Subnets, Uplink};

#[test]
fn the_five_scenarios() {
    // 1: guests appear in the network that is there, by DHCP or by hand; they reach it and are reached.
    let first = advised(&[(Lan, "yes"), (From, "lan"), (Reachable, "yes"), (Macs, "any")]);
    assert_eq!(toml(&first), "[network.lan]\nmode = \"bridge\"\nbridge = \"xenbr0\"\nuplink = \"eth0\"\n");
    assert_eq!(first.vif, "bridge=xenbr0");
    // 2: a provider gave out a range of public addresses in its network; guests serve the web and mail.
    let second = advised(&[(Lan, "yes"), (From, "lan"), (Reachable, "yes"), (Macs, "any"), (Uplink, "eth1")]);
    assert_eq!(toml(&second), "[network.lan]\nmode = \"bridge\"\nbridge = \"xenbr0\"\nuplink = \"eth1\"\n");
    // 3: a single computer at home, with or without a way to the internet; guests are private.
    let third = advised(&[(Lan, "no")]);
    assert_eq!(toml(&third), "[network.private]\nmode = \"nat\"\nsubnets = [\"10.0.0.0/24\"]\n");
    assert_eq!(third.vif, "bridge=private,ip=10.0.0.1");
    assert!(third.elsewhere.iter().any(|line| line.ends_with("the gateway 10.0.0.254")), "{:?}", third.elsewhere);
    // 4: a network is there; guests get one of their own, private and hidden, with a way out.
    let fourth = advised(&[(Lan, "yes"), (From, "own"), (Reachable, "no")]);
    assert_eq!((toml(&fourth), &fourth.vif), (toml(&third), &third.vif));
    // 5: the same, but visible from the network that is there.
    let fifth = advised(&[(Lan, "yes"), (From, "own"), (Reachable, "yes"), (Route, "yes"), (Dom0, "192.168.0.3/24")]);
    assert_eq!(toml(&fifth), "[network.guests]\nmode = \"routed\"\nsubnets = [\"10.0.0.0/24\"]\n");
    let route =
        "on the router of that network: ip route add 10.0.0.0/24 via 192.168.0.3; without it answers do not come back";
    assert_eq!(fifth.elsewhere[0], route);
    for advice in [first, second, third, fourth, fifth] {
        assert!(advice.reasons.len() >= 2, "{advice:?}");
    }
}

#[test]
fn what_a_network_does_not_let_through_changes_the_mode() {
    let wifi = advised(&[(Lan, "yes"), (From, "lan"), (Macs, "one"), (Uplink, "wlan0"), (Dom0, "192.168.0.3/24")]);
    assert_eq!(
        toml(&wifi),
        "[network.lan]\nmode = \"routed\"\nuplink = \"wlan0\"\nproxy_arp = true\nproxy_ndp = true\n"
    );
    assert!(wifi.vif == "bridge=lan" && wifi.elsewhere[0].ends_with("ip=ADDRESS"), "{wifi:?}");
    let unsaid = advised(&[(Lan, "yes"), (From, "lan"), (Uplink, "wlan0")]);
    assert!(unsaid.reasons.iter().any(|r| r.contains("the name of a Wi-Fi link")), "{:?}", unsaid.reasons);
    let ports = advised(&[(Lan, "yes"), (From, "own"), (Reachable, "yes"), (Route, "no")]);
    assert_eq!(ports.network.mode_name(), "nat");
    let line = ports.elsewhere.iter().find(|line| line.starts_with("for each service: ")).unwrap();
    // What is to be added is what the file takes.
    let more = ports.text.clone() + line.strip_prefix("for each service: ").unwrap() + "\n";
    assert_eq!(networks::parse(&more).unwrap_or_else(|e| panic!("{}", e.report())).names().len(), 1);
}

#[test]
fn details_come_into_the_file() {
    let all = advised(&[
        (Lan, "yes"),
        (From, "own"),
        (Reachable, "yes"),
        (Route, "yes"),
        (Dhcp, "yes"),
        (Uplink, "eth1"),
        (Subnets, "192.0.2.0/28"),
        (Subnets, "2001:db8:7::/64"),
    ]);
    assert_eq!(
        toml(&all),
        "[network.guests]\nmode = \"routed\"\nsubnets = [\"192.0.2.0/28\", \"2001:db8:7::/64\"]\nuplink = \"eth1\"\ndhcp = true\n"
    );
    assert_eq!(all.vif, "bridge=guests");
    assert!(
        all.elsewhere[0].contains("192.0.2.0/28 via DOM0, where DOM0 is this host's address there"),
        "{:?}",
        all.elsewhere
    );
    assert!(all.elsewhere[1].contains("ip -6 route add 2001:db8:7::/64"), "{:?}", all.elsewhere);
    // A subnet that dom0's network has is not chosen.
    for (dom0, subnet) in [
        ("10.0.0.7/8", "172.20.0.0/24"),
        ("10.0.0.7/24", "172.20.0.0/24"),
        ("172.20.0.9/16", "10.0.0.0/24"),
        ("2001:db8::1/64", "10.0.0.0/24"),
    ] {
        let advice = advised(&[(Lan, "yes"), (From, "own"), (Reachable, "no"), (Dom0, dom0)]);
        assert_eq!(advice.network.subnets()[0].network().to_string(), subnet, "{dom0}");
    }
    let own = advised(&[(Lan, "yes"), (From, "lan"), (Uplink, "xenbr0")]);
    assert_eq!(own.vif, "bridge=xenbr1");
}

#[test]
fn a_situation_that_cannot_be_is_refused_with_the_way_out() {
    for (answers, object, hint) in [
        (&[][..], "lan", "say it: --lan yes|no"),
        (&[(Lan, "yes")], "addresses", "say it: --addresses lan|own"),
        (&[(Lan, "yes"), (From, "own")], "reachable", "say it: --reachable yes|no"),
        (&[(Lan, "yes"), (From, "own"), (Reachable, "yes")], "route", "say it: --route yes|no"),
        (&[(Lan, "no"), (From, "lan")], "addresses", "--addresses own"),
        (&[(Lan, "yes"), (From, "lan"), (Reachable, "no")], "reachable", "--addresses own"),
        (&[(Lan, "yes"), (From, "lan"), (Subnets, "10.0.0.0/24")], "subnet", "--addresses own"),
        (&[(Lan, "no"), (Dom0, "10.0.0.1/8"), (Subnets, "10.0.7.0/24")], "subnet", "a free one is chosen"),
        (&[(Lan, "no"), (Dom0, "0.0.0.0/0")], "subnet", "--subnet"),
    ] {
        let error = advise(&answered(answers)).map(|a| panic!("{answers:?}: {}", a.text)).unwrap_err();
        assert_eq!((error.kind(), error.object()), (ErrorKind::Invalid, Some(object)), "{}", error.report());
        assert!(error.hint().unwrap().contains(hint), "{}", error.report());
    }
    let error = advise(&answered(&[(Lan, "no"), (Subnets, "224.0.0.0/8")])).unwrap_err();
    assert_eq!(error.object(), Some("subnet"), "{}", error.report());
    assert!(error.message().contains("224.0.0.0/8 cannot be a subnet: "), "{}", error.report());
}

#[test]
fn only_what_matters_is_asked() {
    for (answers, wanted) in [
        (&[(Lan, "no")][..], &[Dhcp, Subnets][..]),
        (&[(Lan, "yes"), (From, "lan")], &[Macs, Uplink, Dom0]),
        (&[(Lan, "yes"), (From, "own"), (Reachable, "no")], &[Dhcp, Uplink, Dom0, Subnets]),
        (&[(Lan, "yes"), (From, "own"), (Reachable, "yes")], &[Route, Dhcp, Uplink, Dom0, Subnets]),
    ] {
        let mut situation = answered(answers);
        let mut asked: Vec<Question> = answers.iter().map(|(question, _)| *question).collect();
        let mut then = Vec::new();
        while let Some(question) = situation.question(&asked) {
            asked.push(question);
            then.push(question);
            // Everything else may be left to us.
            situation.answer(question, question.answers().first().copied().unwrap_or_default()).unwrap();
        }
        assert_eq!(then, wanted);
        assert!(advise(&situation).is_ok());
    }
    assert_eq!(Situation::default().question(&[]), Some(Lan));
}

#[test]
fn an_answer_that_is_none_is_refused_with_those_that_are() {
    for (question, answer, hint) in [
        (Lan, "maybe", "answer yes or no"),
        (From, "", "answer lan or own"),
        (Macs, "two", "answer any or one"),
        (Uplink, "a/b", "a link's name"),
        (Dom0, "192.168.0.3", "a slash"),
        (Subnets, "10.0.0.1/24", "10.0.0.0/24"),
        (Subnets, "x/y", "a slash"),
    ] {
        let error = Situation::default().answer(question, answer).unwrap_err();
        assert_eq!((error.kind(), error.object()), (ErrorKind::Invalid, Some(question.name())));
        assert!(error.hint().unwrap().contains(hint), "{}", error.report());
    }
}

#[test]
fn every_situation_has_an_advice_that_reads_back_or_a_way_out() {
    const YES_NO: [Option<bool>; 3] = [None, Some(true), Some(false)];
    let (mut given, mut refused) = (0, 0);
    for bits in 0..3usize.pow(6) {
        let of = |n: u32| YES_NO[bits / 3usize.pow(n) % 3];
        let addresses = of(1).map(|lan| if lan { Addresses::Lan } else { Addresses::Own });
        let situation = Situation {
            lan: of(0),
            addresses,
            reachable: of(2),
            route: of(3),
            one_mac: of(4),
            dhcp: of(5),
            ..Situation::default()
        };
        match advise(&situation) {
            Ok(advice) => {
                given += 1;
                assert!(networks::parse(&advice.text).is_ok() && !advice.reasons.is_empty(), "{situation:?}");
            }
            Err(error) => {
                refused += 1;
                assert!(error.hint().is_some() && error.object().is_some(), "{situation:?}");
            }
        }
    }
    assert!(given > 100 && refused > 100, "{given} {refused}");
}
