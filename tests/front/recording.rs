//! A host that was recorded, looked into elsewhere.

use xennet_core::backend::fake::Fake;
use xennet_core::recording::{Described, Recording, Taken};
use xennet_core::snapshot::{
    Details, NftChain, NftExpr, NftFamily, NftField, NftHeader, NftRule, NftTable, NftTableId, NftValue,
};
use xennet_core::{ErrorKind, Guests, Host, Shown};

use super::ownership::both;
use super::{FIRST, domid, spec, whole};
use crate::apply::nat;

fn taken() -> Taken {
    Taken::default().with_at(1_795_953_600).with_host("a-host").with_kernel("6.1.0").with_xennet("0.1.0")
}

#[test]
fn a_recorded_host_answers_as_the_host_does() {
    both("recording::a_recorded_host_answers_as_the_host_does", |host, _| {
        let network = nat();
        host.start_network(&network).unwrap();
        host.attach(domid(1), &spec("mac=00:16:3e:00:00:01,ip=10.1.0.2,bridge=private")).unwrap();
        host.attach(domid(2), &spec("mac=00:16:3e:00:00:02,ip=192.0.2.9,bridge=xenbr0,vifname=web0")).unwrap();
        let described = Described::new("networks.toml", "# none\n");
        let recording = host.record(taken(), Some(described), Err("there is none here".into()));
        // The files of the legacy tables belong to the root of the host.
        let unseen: Vec<&str> =
            recording.unseen.iter().map(|u| u.what.as_str()).filter(|w| !w.contains("legacy")).collect();
        assert_eq!(unseen, ["xenstore"], "{:?}", recording.unseen);
        xennet_tests::documents::check_text("recording", &recording.to_json());
        let read = Recording::from_json(&recording.to_json()).unwrap();
        assert_eq!(read, recording);

        let mut elsewhere = Host::from_recording(&read);
        assert_eq!(elsewhere.show().unwrap(), host.show().unwrap());
        assert_eq!(elsewhere.network_status(&network).unwrap(), host.network_status(&network).unwrap());
        assert_eq!(elsewhere.started_networks().unwrap(), host.started_networks().unwrap());
        let plans = |host: &mut Host| {
            [
                host.plan_detach(domid(1), FIRST).unwrap().to_string(),
                host.plan_attach(domid(3), &spec("bridge=xenbr1")).unwrap().to_string(),
                host.plan_stop(&network.name(), Guests::AreCutOff).unwrap().unwrap().to_string(),
            ]
        };
        assert_eq!(plans(&mut elsewhere), plans(host));
        // What is done there is done to nothing.
        let before = host.show().unwrap();
        elsewhere.detach(domid(1), FIRST).unwrap();
        assert_eq!(host.show().unwrap(), before);
    });
}

#[test]
fn an_anonymous_recording_has_nothing_that_tells_whose_it_is_and_still_answers() {
    both("recording::an_anonymous_recording_has_nothing_that_tells_whose_it_is_and_still_answers", |host, _| {
        let ip = "mac=00:16:3e:12:34:56,ip=8.8.4.4 2a00:1450::44,bridge=xenbr0,vifname=web0";
        host.attach(domid(2), &spec(ip)).unwrap();
        let text = "# the customer's\n[network.lan]\nmode = \"routed\"\nsubnets = [\"8.8.4.0/24\"]\n";
        let described = Described::new("networks.toml", text);
        let recording = host.record(taken(), Some(described), Err("there is none here".into()));
        let anonymous = recording.anonymous([7; 16]).unwrap();
        let document = anonymous.to_json();
        xennet_tests::documents::check_text("recording", &document);
        for told in ["a-host", "customer", "12:34:56", "8.8.4.4", "8.8.4.0", "2a00:1450::44", "216:3eff:fe12:3456"] {
            assert!(recording.to_json().contains(told) && !document.contains(told), "{told}");
        }
        assert_eq!(recording.anonymous([7; 16]).unwrap(), anonymous);
        assert_ne!(recording.anonymous([8; 16]).unwrap(), anonymous);
        let shown = Host::from_recording(&anonymous).show().unwrap();
        assert_eq!(shown.vifs.len(), 1);
        assert_eq!(shown.vifs[0].missing, [""; 0], "all that belongs together is together still");
        let ports = |shown: &Shown| shown.bridges.iter().map(|b| (b.bridge, b.ports.clone())).collect::<Vec<_>>();
        assert_eq!(ports(&shown), ports(&host.show().unwrap()));
    });
}

#[test]
fn what_is_no_state_is_recorded_and_no_bytes_of_others_rules_are_given_away() {
    let filter = NftTableId::new(NftFamily::Ip, "filter");
    let opaque = NftExpr::Opaque { name: "match".into(), data: vec![8, 8, 4, 4] };
    let known = NftExpr::eq(NftField::IpSaddr, NftValue::Ipv4("8.8.4.4".parse().unwrap()));
    let field = NftField::Payload { header: NftHeader::Network, offset: 12, bytes: 2 };
    let raw = NftExpr::eq(field, NftValue::Bytes(vec![8, 8]));
    let rule = NftRule::new([opaque, raw.clone(), known]).with_comment("the customer's");
    let chain = NftChain::default().with_rules(vec![rule]);
    let table = NftTable::default().with_chains([("FORWARD".to_owned(), chain)].into());
    let details = Details::default().with_foreign([(filter.clone(), table)].into());
    let mut host = Host::with_backend(Box::new(Fake::example().with_details(details)));
    let recording = host.record(taken(), None, Err("there is none here".into()));
    assert!(recording.details.links["eth0"].carrier, "a link that is up has a carrier");
    let read = Recording::from_json(&recording.to_json()).unwrap();
    assert_eq!(read, recording);
    let again = Host::from_recording(&read).record(taken(), None, Err("there is none here".into()));
    assert_eq!(again.details, recording.details);

    let anonymous = recording.anonymous([7; 16]).unwrap();
    let rule = &anonymous.details.foreign[&filter].chains["FORWARD"].rules[0];
    assert_eq!(rule.comment, None);
    let [NftExpr::Opaque { data: first, .. }, NftExpr::Opaque { data: second, .. }, known] = &rule.exprs[..] else {
        panic!("{rule:?}")
    };
    assert!(first.is_empty() && second.is_empty(), "{rule:?}");
    let NftExpr::Match { value: NftValue::Ipv4(source), .. } = known else { panic!("{known:?}") };
    assert_eq!((source.octets()[0], *source == "8.8.4.4".parse::<std::net::Ipv4Addr>().unwrap()), (8, false));
}

#[test]
fn what_is_no_recording_is_refused_with_its_place() {
    let whole_text = Host::fake().record(taken(), None, Err("there is none here".into())).to_json();
    let cut = &whole_text[..whole_text.len() / 2];
    let other = whole_text.replacen("\"version\":1", "\"version\":2", 1);
    let edited = whole_text.replacen("\"mtu\":1500", "\"mtu\":\"large\"", 1);
    assert!(other != whole_text && edited != whole_text, "{}", &whole_text[..200]);
    for (text, words) in [
        (cut, "line"),
        (&other, "is of version 2, and this xennet reads version 1"),
        (&edited, "line"),
        ("{}", "it has no version"),
        ("", "line 1"),
    ] {
        let e = Recording::from_json(text).unwrap_err();
        assert_eq!(e.kind(), ErrorKind::Invalid);
        assert!(e.message().contains(words), "{}", e.report());
        whole(&e);
    }
}
