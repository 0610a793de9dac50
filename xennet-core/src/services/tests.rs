use super::files::{in_the_way, without};
use super::text::host_line;
use super::*;
use crate::config::networks;
use crate::model::DnsDomain;
use crate::model::Started;

const DIR: &str = "/run/xennet-services/lan.d";

fn started(text: &str) -> Started {
    Started::new(networks::parse(&format!("[network.lan]\n{text}")).unwrap().get("lan").unwrap().clone())
}

fn place(account: Account) -> Place<'static> {
    Place { dir: Path::new(DIR), account }
}

fn configs(started: &Started) -> Vec<(Part, String)> {
    config(started, &place(Account::User("dnsmasq"))).unwrap()
}

fn client(mac: u8, addresses: &[&str], name: Option<&str>) -> Client {
    let addresses = addresses.iter().map(|a| a.parse().unwrap()).collect();
    Client { mac: MacAddr::new([0, 0x16, 0x3e, 0, 0, mac]), addresses, name: name.map(|n| n.parse().unwrap()) }
}

#[test]
fn a_private_bridge_has_one_dnsmasq_that_hears_it_alone() {
    let network = started(
        "mode = \"nat\"\nsubnets = [\"10.0.0.0/24\", \"fd00:1::/64\"]\nbridge = \"natbr0\"\ndhcp = true\ndns = true\n\
         range = [\"10.0.0.100-10.0.0.199\", \"fd00:1::100-fd00:1::1ff\"]\ndomain = \"guests.example\"\nmtu = 1400\n",
    );
    let text = "\
# Network lan: written by xennet, and written anew when it starts.
pid-file=/run/xennet-services/lan.d/bridge.pid
user=dnsmasq
bind-dynamic
interface=natbr0
except-interface=lo
no-hosts
domain-needed
hostsdir=/run/xennet-services/lan.d/names
local=/guests.example/
dhcp-authoritative
no-ping
dhcp-lease-max=65536
dhcp-leasefile=/run/xennet-services/lan.d/leases
dhcp-hostsdir=/run/xennet-services/lan.d/hosts
dhcp-ignore-names
domain=guests.example
dhcp-range=set:s0,10.0.0.100,10.0.0.199,255.255.255.0,12h
dhcp-option=tag:s0,option:router,10.0.0.254
dhcp-option=tag:s0,option:dns-server,10.0.0.254
dhcp-option=tag:s0,option:mtu,1400
dhcp-range=set:s1,fd00:1::100,fd00:1::1ff,64,12h
dhcp-option=tag:s1,option6:dns-server,[fd00:1::1]
dhcp-option=option6:domain-search,guests.example
enable-ra
ra-param=*,mtu:1400,600
";
    assert_eq!(configs(&network), [(Part::Bridge, text.to_owned())]);
}

#[test]
fn a_vif_a_guest_has_one_dnsmasq_for_dhcp_and_one_for_names() {
    let mut network = started(
        "mode = \"routed\"\nsubnets = [\"192.0.2.0/28\", \"2001:db8::/64\"]\nuplink = \"eth0\"\ndhcp = true\ndns = true\n",
    );
    network.outside = Some("eth0".parse().unwrap());
    network.source = vec!["192.168.0.3".parse().unwrap(), "fe80::1".parse().unwrap()];
    let dhcp = "\
# Network lan: written by xennet, and written anew when it starts.
pid-file=/run/xennet-services/lan.d/dhcp.pid
user=root
group=
bind-dynamic
port=0
interface=*
except-interface=lo
except-interface=eth0
dhcp-authoritative
no-ping
dhcp-lease-max=65536
dhcp-leasefile=/run/xennet-services/lan.d/leases
dhcp-hostsdir=/run/xennet-services/lan.d/hosts
dhcp-ignore-names
dhcp-ignore=tag:!known
dhcp-range=set:s0,192.0.2.0,static,255.255.255.240,12h
shared-network=192.168.0.3,192.0.2.0
dhcp-option=tag:s0,option:router,192.0.2.14
dhcp-option=tag:s0,option:dns-server,192.0.2.14
dhcp-range=set:s1,2001:db8::,static,off-link,64,12h
dhcp-option=tag:s1,option6:dns-server,[2001:db8::1]
enable-ra
ra-param=*,600,9000
";
    let dns = "\
# Network lan: written by xennet, and written anew when it starts.
pid-file=/run/xennet-services/lan.d/dns.pid
user=root
group=
bind-dynamic
listen-address=192.0.2.14
listen-address=2001:db8::1
no-hosts
domain-needed
hostsdir=/run/xennet-services/lan.d/names
";
    let all = config(&network, &place(Account::Root)).unwrap();
    assert_eq!(all, [(Part::Dhcp, dhcp.to_owned()), (Part::Dns, dns.to_owned())]);
}

#[test]
fn only_what_is_wanted_is_there() {
    let nat = "mode = \"nat\"\nsubnets = [\"10.0.0.0/24\"]\n";
    let parts =
        |more: &str| -> Vec<Part> { configs(&started(&format!("{nat}{more}"))).iter().map(|(p, _)| *p).collect() };
    assert_eq!(parts(""), []);
    assert_eq!(parts("dhcp = true\n"), [Part::Dhcp]);
    assert_eq!(parts("dns = true\n"), [Part::Dns]);
    assert_eq!(parts("dns = true\nbridge = \"b\"\n"), [Part::Bridge]);
    assert_eq!(configs(&started("mode = \"bridge\"\n")), []);
    let text = |more: &str| configs(&started(&format!("{nat}{more}"))).remove(0).1;
    // Without names no resolver, instead of dnsmasq itself.
    assert!(text("dhcp = true\n").contains("option:dns-server\n"));
    // A range is hotplug's to choose from where each guest needs a route.
    let range = "dhcp = true\nrange = [\"10.0.0.100-10.0.0.199\"]\n";
    assert!(text(range).contains("10.0.0.0,static,") && text(range).contains("tag:!known"));
    assert!(!text(&format!("{range}bridge = \"b\"\n")).contains("tag:!known"));
    assert!(!text("dns = true\nbridge = \"b\"\n").contains("dhcp"));
    assert!(!configs(&started(&format!("{nat}dhcp = true\n")))[0].1.contains("enable-ra"));
}

#[test]
fn what_dnsmasq_cannot_do_or_would_misread_is_refused_by_name() {
    let large = started("mode = \"nat\"\nsubnets = [\"fd00:1::/48\"]\ndhcp = true\n");
    let e = config(&large, &place(Account::Default)).unwrap_err();
    assert_eq!((e.kind(), e.object()), (ErrorKind::Unsupported, Some("fd00:1::/48")));
    assert_eq!(e.hint(), Some("give a part of it as the subnet, for example fd00:1::/64"));
    assert!(
        config(&started("mode = \"nat\"\nsubnets = [\"fd00:1::/48\"]\ndns = true\n"), &place(Account::Default)).is_ok()
    );

    let small = |mtu: u32| started(&format!("mode = \"nat\"\nsubnets = [\"fd00:1::/64\"]\ndhcp = true\nmtu = {mtu}\n"));
    assert!(config(&small(1280), &place(Account::Default)).unwrap()[0].1.contains("ra-param=*,mtu:1280,600,9000\n"));
    let e = config(&small(1279), &place(Account::Default)).unwrap_err();
    assert_eq!(
        (e.kind(), e.hint()),
        (ErrorKind::Invalid, Some("write mtu = 1280 or more, or leave the IPv6 subnets out"))
    );

    let mut network = started("mode = \"nat\"\nsubnets = [\"10.0.0.0/24\"]\ndhcp = true\ndns = true\n");
    for outside in ["eth*", "a,b", "x#y", "\"q\""] {
        network.outside = Some(outside.parse().unwrap());
        let e = config(&network, &place(Account::Default)).unwrap_err();
        assert_eq!(e.kind(), ErrorKind::Invalid, "{outside}");
        assert!(e.message().contains(&outside.escape_debug().to_string()), "{e}");
    }
    network.outside = None;
    for dir in ["/run/a b", "/run/a\nport=53", "run", "/run/x,y"] {
        let e = config(&network, &Place { dir: Path::new(dir), account: Account::Default }).unwrap_err();
        assert_eq!(e.kind(), ErrorKind::Invalid, "{dir}");
        assert!(e.hint().unwrap().contains("another state directory"));
    }
    let injected = "x\naddress=/example.org/10.0.0.1".parse::<DnsDomain>();
    assert_eq!(injected.unwrap_err().kind(), ErrorKind::Invalid);
}

#[test]
fn a_guest_is_a_line_for_dhcp_and_lines_for_names() {
    let both = "mode = \"nat\"\nsubnets = [\"10.0.0.0/24\", \"fd00:1::/64\"]\ndhcp = true\ndns = true\n";
    let network = started(&format!("{both}domain = \"guests.example\"\n"));
    let web = client(5, &["10.0.0.5", "192.0.2.1", "fd00:1::5", "10.0.0.6"], Some("WEB"));
    assert_eq!(host_line(&network, &web).unwrap(), "00:16:3e:00:00:05,10.0.0.5,[fd00:1::5],web\n");
    assert_eq!(
        names(&network, &web).unwrap(),
        "10.0.0.5 web.guests.example web\nfd00:1::5 web.guests.example web\n10.0.0.6 web.guests.example web\n"
    );
    assert_eq!(names(&started(both), &web).unwrap().lines().next(), Some("10.0.0.5 web"));
    let nameless = client(6, &["10.0.0.6"], None);
    assert_eq!(host_line(&network, &nameless).unwrap(), "00:16:3e:00:00:06,10.0.0.6\n");
    assert_eq!(names(&network, &nameless), None);
    // Nothing of it is here; but a name can go with an address of the range.
    assert_eq!(host_line(&network, &client(7, &["192.0.2.1"], None)), None);
    assert_eq!(host_line(&network, &client(7, &[], Some("db"))).unwrap(), "00:16:3e:00:00:07,db\n");
    let dns = started("mode = \"nat\"\nsubnets = [\"10.0.0.0/24\"]\ndns = true\n");
    assert_eq!((host_line(&dns, &web), names(&dns, &web).is_some()), (None, true));
    assert_eq!(host_line(&started("mode = \"bridge\"\n"), &web), None);
}

#[test]
fn a_name_is_one_word_that_means_nothing_else_to_dnsmasq() {
    for good in ["web", "WEB-1", "a", "1a", "x".repeat(63).as_str()] {
        assert_eq!(good.parse::<HostName>().unwrap().to_string(), good.to_ascii_lowercase());
    }
    for bad in
        ["", "-a", "a-", "a.b", "a,b", "a b", "ignore", "Infinite", "12", "a\n", "é", "x".repeat(64).as_str(), "*"]
    {
        let e = bad.parse::<HostName>().unwrap_err();
        assert_eq!(e.kind(), ErrorKind::Invalid, "{bad:?}");
        assert!(e.hint().is_some() && !e.message().contains('\n'), "{e}");
    }
    // "12h" and its like are times to dnsmasq.
    for time in ["12h", "5m", "1W", "30s", "7d"] {
        assert!(time.parse::<HostName>().is_err(), "{time}");
    }
}

#[test]
fn leases_of_others_are_found_and_taken_out() {
    let leases = "\
1795600000 00:16:3e:00:00:01 10.0.0.5 web 01:00:16:3e:00:00:01
1795600000 00:16:3e:00:00:02 10.0.0.6 * *
duid 00:01:00:01:32:99:20:c2:2e:5e:14:38:8f:00
1795600000 14680064 fd00:1::5 * 00:01:00:01:32:99:20:c2:00:16:3e:00:00:01
";
    let at = |mac: u8, address: &str| {
        let client = client(mac, &[address], None);
        in_the_way(leases, &client, &client.addresses)
    };
    assert!(!at(1, "10.0.0.5") && at(2, "10.0.0.5") && !at(2, "10.0.0.7"));
    assert!(at(1, "fd00:1::5") && at(2, "fd00:1:0::5") && !at(1, "fd00:1::6"));
    let rest = without(leases, &["10.0.0.5".parse().unwrap(), "fd00:1::5".parse().unwrap()]);
    let lines: Vec<&str> = leases.lines().collect();
    assert_eq!(rest, format!("{}\n{}\n", lines[1], lines[2]));
    assert_eq!(without(leases, &[]), leases);
}

#[test]
fn without_dnsmasq_the_package_is_named() {
    let e = program::find(vec!["/nonexistent".into(), "/proc".into()], &"lan".parse().unwrap()).unwrap_err();
    assert_eq!(e.kind(), ErrorKind::Unsupported);
    assert_eq!(e.message(), "network lan has dhcp or dns, and dnsmasq is not installed");
    assert!(e.hint().unwrap().starts_with("apt-get install dnsmasq-base "), "{e:?}");
    assert!(e.hint().unwrap().contains("[network.lan] in /etc/xennet/networks.toml"), "{e:?}");
}

/// One that ignores that it is asked to end: half of the budget is for that, the rest for killing it.
#[test]
fn who_does_not_end_is_killed_within_the_budget() {
    use std::io::Read as _;
    use std::time::{Duration, Instant};

    let mut shell = std::process::Command::new("/bin/sh");
    shell.args(["-c", "trap '' TERM; echo; exec sleep 100"]).stdout(std::process::Stdio::piped());
    let mut child = shell.spawn().unwrap();
    child.stdout.take().unwrap().read_exact(&mut [0]).unwrap();
    let process = super::process::Process::of(child.id()).unwrap();
    let start = Instant::now();
    let budget = crate::Budget::of(Duration::from_secs(2));
    assert!(super::process::end(&process, |_| true, Duration::from_secs(60), budget).unwrap());
    assert!(start.elapsed() < Duration::from_secs(20), "{:?}", start.elapsed());
    child.wait().unwrap();
}
