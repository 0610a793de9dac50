//! Pictures of hosts in memory: what is in them, that nothing lies on anything else, and that no name can break out of a text.

use std::collections::BTreeSet;

use super::draw::{Paint, Scene, scene};
use super::svg::{DARK, LIGHT, Scheme};
use super::*;
use crate::backend::Backend as _;
use crate::backend::fake::Fake;
use crate::config::networks;
use crate::model::{DevId, DomId, IfName};
use crate::plan::ShownPlan;
use crate::recording::{Recording, Taken};
use crate::snapshot::Snapshot;
use crate::step::{LinkChange, LinkRef, LinkStep, NewMaster, Step};
use crate::{Guests, Host};

const ALL_MODES: &str = r#"
[network.private]
mode = "nat"
subnets = ["10.1.0.0/16", "fd00:1::/64"]
dhcp = true
forward = [{ protocol = "tcp", ports = "8080", to = "10.1.0.2", to_port = 80 }]

[network.dmz]
mode = "routed"
subnets = ["198.18.0.0/16"]
uplink = "xenbr0"
"#;

fn name(text: &str) -> IfName {
    text.parse().unwrap()
}

fn domid(number: u32) -> DomId {
    DomId::new(number).unwrap()
}

/// The example, whose guests are on its bridge, and networks of the other two modes, with so many guests each.
fn recorded(text: &str, guests: u32) -> Recording {
    let mut host = Host::fake();
    for network in networks::parse(text).unwrap_or_else(|e| panic!("{}", e.report())).iter() {
        host.start_network(network).unwrap_or_else(|e| panic!("{}", e.report()));
    }
    let mut attach = |number: u32, line: String| {
        let line = line.parse().unwrap();
        host.attach(domid(number), &line).unwrap_or_else(|e| panic!("{number}: {}", e.report()));
    };
    for n in 1..=guests {
        let (high, low) = (n / 200, n % 200 + 2);
        let mac = |net: u32| format!("mac=00:16:3e:{net:02x}:{high:02x}:{low:02x}");
        attach(n, format!("bridge=xenbr0,{},ip=192.0.{}.{low}", mac(0), 3 + high));
        if text == ALL_MODES {
            attach(1000 + n, format!("bridge=private,{},ip=10.1.{high}.{low} fd00:1::1:{n:x}", mac(1)));
            attach(2000 + n, format!("bridge=dmz,{},ip=198.18.{high}.{low}", mac(2)));
        }
    }
    let taken = Taken { at: 1_795_600_800, host: "xen1".into(), xennet: "0.1.0".into(), ..Taken::default() };
    let mut recording = host.record(taken, None, Err("there is none here".into()));
    recording.unseen.clear();
    recording
}

fn named(mut recording: Recording, domid: u32, name: &str) -> Recording {
    recording.store.insert(format!("/local/domain/{domid}/name").parse().unwrap(), name.to_owned());
    recording
}

fn picture(recording: &Recording) -> Picture {
    Host::picture(recording).unwrap_or_else(|e| panic!("{}", e.report()))
}

/// Nothing lies on anything else, and all text has room.
#[track_caller]
fn is_tidy(scene: &Scene) {
    let inside =
        |a: (i32, i32, i32, i32), b: (i32, i32, i32, i32)| a.0 >= b.0 && a.1 >= b.1 && a.2 <= b.2 && a.3 <= b.3;
    let page = (0, 0, scene.width, scene.height);
    let of = |at: usize| {
        let area = &scene.areas[at];
        (area.x, area.y, area.x + area.w, area.y + area.h)
    };
    for (n, a) in scene.areas.iter().enumerate() {
        let outer = a.inside.map_or(page, of);
        assert!(a.w > 0 && a.h > 0 && inside(of(n), outer), "{a:?} is not within {outer:?}");
        for (m, b) in scene.areas.iter().enumerate().skip(n + 1) {
            let apart = a.x + a.w <= b.x || b.x + b.w <= a.x || a.y + a.h <= b.y || b.y + b.h <= a.y;
            assert!(apart || a.inside == Some(m) || b.inside == Some(n), "{a:?} lies on {b:?}");
        }
    }
    let place = |n: usize| {
        let label = &scene.labels[n];
        let (begin, end) = label.span();
        // Ascenders and descenders of the usual fonts.
        (begin, label.y - label.size * 3 / 4, end, label.y + label.size / 4)
    };
    for (n, label) in scene.labels.iter().enumerate() {
        let outer = label.inside.map_or(page, of);
        assert!(inside(place(n), outer), "{label:?} at {:?} is not within {outer:?}", place(n));
        for (m, other) in scene.labels.iter().enumerate().skip(n + 1) {
            let (a, b) = (place(n), place(m));
            let apart = a.2 <= b.0 || b.2 <= a.0 || a.3 <= b.1 || b.3 <= a.1;
            assert!(apart, "{label:?} lies on {other:?}");
        }
        let in_area = |at: usize| label.inside != Some(at) && scene.areas[at].paint != Paint::Dom0;
        for at in (0..scene.areas.len()).filter(|at| in_area(*at)) {
            let (a, b) = (place(n), of(at));
            let apart = a.2 <= b.0 || b.2 <= a.0 || a.3 <= b.1 || b.3 <= a.1;
            assert!(apart, "{label:?} lies on {:?}", scene.areas[at]);
        }
    }
    for wire in &scene.wires {
        for ends in wire.points.windows(2) {
            let ((ax, ay), (bx, by)) = (ends[0], ends[1]);
            assert!(ax == bx || ay == by, "{wire:?} is slanted");
            let (left, right, top, bottom) = (ax.min(bx), ax.max(bx), ay.min(by), ay.max(by));
            for (n, area) in scene.areas.iter().enumerate() {
                // The marks on a wire lie on it.
                let on_wire = matches!(area.paint, Paint::Dom0 | Paint::Filter | Paint::Flaw)
                    || (area.paint == Paint::Nat && area.h == 18);
                if on_wire || n == wire.ends.0 || n == wire.ends.1 {
                    continue;
                }
                let crosses = right > area.x && left < area.x + area.w && bottom > area.y && top < area.y + area.h;
                assert!(!crosses, "{wire:?} crosses {area:?}");
            }
        }
        let touches = |(x, y): (i32, i32), at: usize| {
            let (l, t, r, b) = of(at);
            (l..=r).contains(&x) && (t..=b).contains(&y)
        };
        let (first, last) = (wire.points[0], *wire.points.last().unwrap());
        assert!(touches(first, wire.ends.0) && touches(last, wire.ends.1), "{wire:?} ends elsewhere");
    }
}

/// All views of a picture are right by the rules of their languages.
#[track_caller]
fn check(picture: &Picture) {
    for view in [View::new(), View::new().with_counters(), View::new().with_every_guest()] {
        is_tidy(&scene(picture, &view));
        let svg = picture.to_svg(&view);
        let document = roxmltree::Document::parse(&svg).unwrap_or_else(|e| panic!("{e}\n{svg}"));
        let root = document.root_element();
        assert_eq!((root.tag_name().name(), root.attribute("role")), ("svg", Some("img")));
        let told = |tag: &str| root.children().find(|c| c.has_tag_name(("http://www.w3.org/2000/svg", tag))).unwrap();
        assert!(
            told("title").text().is_some_and(|t| !t.is_empty()) && told("desc").text().is_some_and(|t| !t.is_empty())
        );
        let known: BTreeSet<&str> = ["svg", "title", "desc", "style", "rect", "path", "text"].into_iter().collect();
        for node in document.descendants().filter(roxmltree::Node::is_element) {
            assert!(known.contains(node.tag_name().name()), "{:?}", node.tag_name());
            assert!(node.attributes().all(|a| !a.name().starts_with("on") && a.name() != "href"), "{node:?}");
        }
        for width in [60, 80, 100] {
            let text = picture.to_text(&view, width);
            for line in text.lines() {
                assert!(super::tree::columns(line) <= width, "{width}: {line}");
                assert!(!line.chars().any(char::is_control), "{line:?}");
            }
        }
        is_dot(&picture.to_dot(&view));
        is_mermaid(&picture.to_mermaid(&view));
    }
}

/// By the grammar of the language, as far as it is used: each statement in a line, each text between quotes.
#[track_caller]
fn is_dot(text: &str) {
    let mut depth = 0_i32;
    let mut quoted = false;
    let mut escaped = false;
    for c in text.chars() {
        match c {
            _ if escaped => escaped = false,
            '\\' if quoted => escaped = true,
            '"' => quoted = !quoted,
            '\n' => assert!(!quoted, "{text}"),
            '{' | '[' if !quoted => depth += 1,
            '}' | ']' if !quoted => depth -= 1,
            _ => {}
        }
        assert!(depth >= 0, "{text}");
    }
    assert!(depth == 0 && !quoted && text.starts_with("graph xennet {\n") && text.ends_with("}\n"), "{text}");
    for line in
        text.lines().map(str::trim).filter(|l| !matches!(*l, "graph xennet {" | "subgraph cluster_dom0 {" | "}"))
    {
        assert!(line.ends_with(';'), "{line}");
    }
}

/// By the rules of flow charts: each line is a node, an edge, a style or a frame, and texts have no sign with a meaning.
#[track_caller]
fn is_mermaid(text: &str) {
    let mut lines = text.lines();
    assert_eq!(lines.next(), Some("---"));
    assert!(
        lines.next().is_some_and(|l| l.starts_with("title: \"") && l.ends_with('"') && l.matches('"').count() == 2)
    );
    assert_eq!((lines.next(), lines.next()), (Some("---"), Some("flowchart LR")));
    let is_name = |name: &str| !name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
    for line in lines.map(str::trim) {
        let parts: Vec<&str> = line.split('"').collect();
        assert!(matches!(parts.len(), 1 | 3), "{line}");
        if let [before, label, _] = parts[..] {
            let label = label.replace("<br/>", " ");
            assert!(!label.contains(['<', '>', '[', ']', '`', '(', ')', '{', '}', '|', '&', '*']), "{line}");
            assert!(is_name(before.split(['[', '(', ' ']).next().unwrap()), "{line}");
            assert!(
                parts[1].split("<br/>").all(|line| !line.starts_with(['-', '+', '*']) && !line.contains(". ")),
                "{line}"
            );
            continue;
        }
        let words: Vec<&str> = line.split(' ').collect();
        let right = match words[..] {
            ["subgraph", "dom0"] | ["end"] => true,
            ["classDef", class, style] => is_name(class) && style.starts_with("fill:#"),
            ["style", node, style] => is_name(node) && style.starts_with("stroke:#"),
            ["style", node, style, _] => is_name(node) && style.starts_with("stroke:#"),
            [from, "---" | "-.-", to] => is_name(from) && is_name(to),
            _ => false,
        };
        assert!(right, "{line}");
    }
}

#[test]
fn each_mode_is_drawn_tidily_with_few_and_with_many_guests() {
    for guests in [0, 1, 3, 12] {
        let picture = picture(&recorded(ALL_MODES, guests));
        assert_eq!(picture.guests(), 3 * guests as usize);
        let kinds: Vec<HubKind> = picture.hubs.iter().map(|hub| hub.kind).collect();
        assert_eq!(kinds, [HubKind::Bridge, HubKind::Routed, HubKind::Nat]);
        assert!(matches!(picture.hubs[1].outside, Some(Outside::Hub(0))), "{:?}", picture.hubs[1].outside);
        assert_eq!(picture.uplinks.len(), 1, "{:?}", picture.uplinks);
        check(&picture);
    }
}

#[test]
fn a_picture_says_who_is_where() {
    let recording = named(recorded(ALL_MODES, 1), 1, "web1");
    let text = picture(&recording).to_text(&View::new(), 100);
    let line = |begin: &str| text.lines().find(|l| l.contains(begin)).unwrap_or_else(|| panic!("{begin}: {text}"));
    assert!(line("gateway").contains("192.0.2.1"), "{text}");
    assert!(line("xenbr0: bridge").contains("dom0 192.0.2.2/24"), "{text}");
    let web1: Vec<&str> = line("vif1.0").split_whitespace().skip_while(|w| *w != "vif1.0").collect();
    assert_eq!(web1, ["vif1.0", "web1", "192.0.3.3", "00:16:3e:00:00:03", "guard"]);
    assert!(line("vif1001.0").contains("10.1.0.3") && line("vif1001.0").contains("gate"), "{text}");
    assert!(line("private: NAT").contains("subnet 10.1.0.0/16"), "{text}");
    assert!(text.contains("tcp 8080 → 10.1.0.2:80") && text.contains("2026-11-25 10:00:00Z"), "{text}");
}

#[test]
fn many_alike_guests_become_one() {
    let recording = named(recorded("", 200), 7, "the one with a name");
    let picture = picture(&recording);
    check(&picture);
    let text = picture.to_text(&View::new(), 100);
    assert!(text.contains("200 × guest"), "{text}");
    assert!(text.contains("192.0.3.3 … 192.0.4.2"), "{text}");
    assert!(text.lines().count() < 20, "{text}");
    let svg = picture.to_svg(&View::new());
    assert!(svg.contains("200 × guest") && svg.len() < 20_000, "{}", svg.len());
    let every = picture.to_text(&View::new().with_every_guest(), 100);
    assert!(every.contains("the one with a name") && every.lines().count() > 200, "{every}");
}

#[test]
fn what_is_damaged_is_no_part_of_a_group() {
    let mut recording = recorded("", 60);
    let Snapshot { nft, .. } = &mut recording.snapshot;
    nft.clear();
    let picture = picture(&recording);
    check(&picture);
    assert!(picture.hubs[0].ports.iter().all(|port| !port.missing.is_empty() && port.filter == Filter::None));
    let text = picture.to_text(&View::new(), 100);
    assert!(text.contains("damaged: ") && !text.contains("guard  "), "{text}");
}

#[test]
fn hostile_names_stay_text() {
    let names = [
        "</text><script>alert(1)</script>",
        "\"];\n evil [label=\"x\"]; //",
        "a\"]:::x\n  click a href \"javascript:alert(1)\"",
        "\u{1b}[2J\u{1b}]0;title\u{7}\r\n\u{202e}gpj.exe\u{0}\u{85}\u{2028}",
        "&amp;<!--]]>%s\\n\\\"`$(reboot)`*_#{};|",
        "名前が長い仮想マシンの名前が長い仮想マシンの名前が長い仮想マシン",
        &"x".repeat(2000),
        "🦀🦀🦀",
        "1. one",
        "- two",
        "",
    ];
    // In several lines each, and in one.
    for guests in [1, 6] {
        let plain = recorded(ALL_MODES, guests);
        for hostile in names {
            let mut recording = named(named(plain.clone(), 1, hostile), 1001, hostile);
            recording.taken.host = hostile.to_owned();
            recording.taken.xennet = hostile.to_owned();
            let picture = picture(&recording);
            check(&picture);
            let svg = picture.to_svg(&View::new());
            assert!(!svg.contains("<script") && !svg.contains('\u{1b}') && !svg.contains('\u{202e}'), "{svg}");
        }
    }
}

#[test]
fn names_of_any_length_and_many_addresses_have_room() {
    let mut host = Host::fake();
    let long = "2001:db8:1111:2222:3333:4444:5555:6666";
    let many: Vec<String> = (1..=9).map(|n| format!("2001:db8:aaaa:bbbb:cccc:dddd:eeee:{n}")).collect();
    let lines = [
        format!("bridge=xenbr0,mac=00:16:3e:00:00:01,vifname=a-long-vif-name,ip={long}"),
        format!("bridge=xenbr0,mac=00:16:3e:00:00:02,isolated,ip={}", many.join(" ")),
        "bridge=xenbr0".to_owned(),
        "bridge=xenbr0,mac=00:16:3e:00:00:04".to_owned(),
    ];
    for (n, line) in (1_u32..).zip(&lines) {
        host.attach(domid(n), &line.parse().unwrap()).unwrap_or_else(|e| panic!("{}", e.report()));
    }
    let mut recording = host.record(Taken::default(), None, Err(String::new()));
    recording.unseen.clear();
    for n in 1..=4 {
        recording = named(recording, n, &"long-name-".repeat(usize::try_from(n).unwrap() * 5));
    }
    let picture = picture(&recording);
    check(&picture);
    let text = picture.to_text(&View::new(), 100);
    assert!(text.contains(long) && many.iter().all(|address| text.contains(address.as_str())), "{text}");
}

#[test]
fn described_networks_are_drawn_before_they_are_there() {
    let all = networks::parse(ALL_MODES).unwrap();
    let picture = Picture::of_networks(all.iter(), "xen1", 0);
    check(&picture);
    let text = picture.to_text(&View::new(), 100);
    assert!(text.contains("guests with bridge=private") && text.contains("guest with ip=10.1.0.2"), "{text}");
    assert!(text.contains("default route: found at start"), "{text}");
    // One network leads outside through the bridge of another.
    let both = "[network.lan]\nmode = \"bridge\"\nbridge = \"xenbr0\"\nuplink = \"eth0\"\n".to_owned() + ALL_MODES;
    let picture = Picture::of_networks(networks::parse(&both).unwrap().iter(), "", 0);
    check(&picture);
    let dmz = picture.hubs.iter().find(|hub| hub.networks == [name("dmz")]).unwrap();
    let lan = picture.hubs.iter().position(|hub| hub.networks == [name("lan")]).unwrap();
    assert_eq!(dmz.outside, Some(Outside::Hub(lan)));
}

/// A name with its mark.
type Marked = (String, Mark);

fn marks(picture: &Picture) -> Vec<(String, Mark, Vec<Marked>)> {
    fn of(port: &Port) -> Marked {
        (port.link.map_or(String::new(), |link| link.to_string()), port.mark)
    }
    picture.hubs.iter().map(|hub| (hub.title(), hub.mark, hub.ports.iter().map(of).collect())).collect()
}

#[test]
fn a_plan_is_drawn_by_what_it_changes() {
    let mut fake = Fake::example();
    fake.add_vif(crate::model::VifId::new(domid(9), DevId::FIRST));
    let mut host = Host::with_backend(Box::new(fake));
    host.attach(domid(1), &"bridge=xenbr0,mac=00:16:3e:00:00:01,ip=192.0.2.9".parse().unwrap()).unwrap();
    let recording = host.record(Taken::default(), None, Err(String::new()));
    let drawn = |plan: &crate::plan::Plan| {
        let shown = ShownPlan::try_from(plan).unwrap();
        let picture = Picture::of_plans(&recording, &[shown]).unwrap_or_else(|e| panic!("{}", e.report()));
        check(&picture);
        picture
    };
    let plan =
        host.plan_attach(domid(9), &"bridge=xenbr0,mac=00:16:3e:00:00:09,ip=192.0.2.10".parse().unwrap()).unwrap();
    let picture = drawn(&plan);
    let ports = vec![("vif1.0".to_owned(), Mark::Same), ("vif9.0".to_owned(), Mark::Added)];
    assert_eq!(marks(&picture), [("xenbr0".to_owned(), Mark::Same, ports)]);
    let new = picture.hubs[0].ports.last().unwrap();
    assert_eq!((new.filter, new.guest.as_ref().unwrap().addresses.len()), (Filter::Guard, 1));
    assert!(picture.to_text(&View::new(), 100).contains("+ vif9.0"));

    let picture = drawn(&host.plan_detach(domid(1), DevId::FIRST).unwrap());
    let ports = vec![("vif1.0".to_owned(), Mark::Removed)];
    assert_eq!(marks(&picture)[0], ("xenbr0".to_owned(), Mark::Same, ports));

    let networks = networks::parse(ALL_MODES).unwrap();
    let plan = host.plan_start(networks.get("private").unwrap()).unwrap();
    let added = drawn(&plan);
    let private = added.hubs.iter().find(|hub| hub.title() == "private").unwrap();
    assert_eq!((private.mark, private.outside), (Mark::Added, Some(Outside::Hub(0))));

    host.start_network(networks.get("private").unwrap()).unwrap();
    let after = host.record(Taken::default(), None, Err(String::new()));
    let plan = host.plan_stop(&name("private"), Guests::MustHaveGone).unwrap().unwrap();
    let removed = Picture::of_plans(&after, &[ShownPlan::try_from(&plan).unwrap()]).unwrap();
    check(&removed);
    let private = removed.hubs.iter().find(|hub| hub.title() == "private").unwrap();
    assert_eq!((private.mark, private.outside), (Mark::Removed, Some(Outside::Hub(0))));

    // A plan of another host is refused, and not drawn as if it fitted.
    let elsewhere = Host::with_backend(Box::new(Fake::empty())).record(Taken::default(), None, Err(String::new()));
    let plan = host.plan_detach(domid(1), DevId::FIRST).unwrap();
    let e = Picture::of_plans(&elsewhere, &[ShownPlan::try_from(&plan).unwrap()]).unwrap_err();
    assert_eq!(e.kind(), crate::ErrorKind::Stale);
}

#[test]
fn a_vif_on_no_bridge_and_links_of_others_are_drawn_as_what_they_are() {
    let mut fake = Fake::example();
    fake.add_vif(crate::model::VifId::new(domid(3), DevId::FIRST));
    let kind = crate::step::NewLink::Veth { peer: name("c-eth0") };
    fake.apply(&Step::Link(LinkStep::Create { name: name("c-veth"), kind, change: LinkChange::default() })).unwrap();
    let master = Some(NewMaster::Bridge(LinkRef::named(name("xenbr0"))));
    let change = LinkChange { master, ..LinkChange::default() };
    fake.apply(&Step::Link(LinkStep::Set { link: LinkRef::named(name("c-veth")), change })).unwrap();
    let recording = Host::with_backend(Box::new(fake)).record(Taken::default(), None, Err(String::new()));
    let picture = picture(&recording);
    check(&picture);
    let of = |link: &str| {
        let has = |hub: &&Hub| hub.ports.iter().any(|port| port.link == Some(name(link)));
        picture.hubs.iter().find(has).map(|hub| hub.kind)
    };
    assert_eq!((of("vif3.0"), of("c-veth"), of("eth0")), (Some(HubKind::Nothing), Some(HubKind::Bridge), None));
    assert!(picture.to_text(&View::new(), 100).contains("not a guest's"));
}

#[test]
fn the_same_host_gives_the_same_picture_from_a_file() {
    let recording = named(recorded(ALL_MODES, 5), 1, "web1");
    let read = Recording::from_json(&recording.to_json()).unwrap();
    assert_eq!(picture(&read).to_svg(&View::new()), picture(&recording).to_svg(&View::new()));
    check(&picture(&read));
    check(&picture(&Host::with_backend(Box::new(Fake::empty())).record(Taken::default(), None, Err(String::new()))));
}

/// The contrast of two colours by WCAG 2, 1.4.3.
fn contrast(a: &str, b: &str) -> f64 {
    let luminance = |colour: &str| {
        let part = |at: usize| {
            let c = f64::from(u8::from_str_radix(&colour[at..at + 2], 16).unwrap()) / 255.0;
            if c <= 0.03928 { c / 12.92 } else { ((c + 0.055) / 1.055).powf(2.4) }
        };
        0.2126 * part(1) + 0.7152 * part(3) + 0.0722 * part(5)
    };
    let (a, b) = (luminance(a), luminance(b));
    (a.max(b) + 0.05) / (a.min(b) + 0.05)
}

#[test]
fn all_text_can_be_read_in_both_schemes() {
    for scheme in [LIGHT, DARK] {
        let Scheme { page, ink, faint, wire, areas, added, changed, removed, bad } = scheme;
        for fill in areas.iter().map(|(_, fill, _)| *fill).chain([page]) {
            for text in [ink, faint, added, changed, removed, bad] {
                assert!(contrast(text, fill) >= 4.5, "{text} on {fill}: {}", contrast(text, fill));
            }
        }
        // Lines are seen, too (1.4.11).
        for (class, _, line) in areas.iter().filter(|(class, ..)| *class != "dom0") {
            assert!(contrast(line, page) >= 3.0, "{class}: {line}: {}", contrast(line, page));
        }
        assert!(contrast(wire, page) >= 3.0);
    }
}

#[test]
fn numbers_of_bytes_are_read_by_people() {
    for (count, text) in [
        (0, "0 B"),
        (999, "999 B"),
        (1000, "1.0 kB"),
        (999_999, "999.9 kB"),
        (1_250_000_000, "1.2 GB"),
        (u64::MAX, "18.4 EB"),
    ] {
        assert_eq!(words::bytes(count), text);
    }
    assert_eq!(words::shortened("abcdefgh", 5), "ab…gh");
    assert_eq!(words::shortened("abcde", 5), "abcde");
}
