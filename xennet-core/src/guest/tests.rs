//! The texts of each format, what each mode gives, and what is refused.

use super::{Format, GuestConfig, GuestWish};
use crate::config::networks;
use crate::model::{Attachment, Started, VifSpec};

const MAC: &str = "mac=00:16:3e:00:00:01";

fn network(text: &str) -> Started {
    let all = networks::parse(&format!("[network.net]\n{text}")).unwrap_or_else(|e| panic!("{}", e.report()));
    Started::new(all.get("net").unwrap().clone())
}

fn nat() -> Started {
    network(
        "mode = \"nat\"\nsubnets = [\"10.0.0.0/24\", \"fd00:1::/64\"]\ndns = true\ndomain = \"guests.example\"\nmtu = 1400\n",
    )
}

fn vif(rest: &str) -> VifSpec {
    format!("{MAC},{rest}").parse().unwrap()
}

fn wish(document: &str) -> GuestWish {
    serde_json::from_str(document).unwrap()
}

fn config(rest: &str, network: Option<&Started>, document: &str) -> Result<GuestConfig, String> {
    GuestConfig::new(&vif(rest), network, &wish(document)).map_err(|e| {
        assert!(e.object().is_some() && e.hint().is_some(), "{e:?}");
        e.message().to_owned()
    })
}

/// Both families, two addresses of one, everything that can be said.
fn whole() -> GuestConfig {
    config("bridge=net,ip=10.0.0.1 10.0.0.2 fd00:1::5", Some(&nat()), "{}").unwrap()
}

/// A provider's form: the gateway is in no prefix of the guest's.
fn beside() -> GuestConfig {
    let routed = network("mode = \"routed\"\nuplink = \"eth0\"\nsource = [\"192.168.0.3\"]\n");
    config("bridge=net,ip=203.0.113.5", Some(&routed), "{\"dns\": [\"192.0.2.53\"]}").unwrap()
}

fn served() -> GuestConfig {
    config("bridge=xenbr0,mtu=1400", None, "{\"dhcp\": true}").unwrap()
}

#[track_caller]
fn golden(format: Format, config: &GuestConfig, wanted: &str) {
    let rendered = format.render(config).unwrap_or_else(|e| panic!("{}", e.report()));
    let head = "# vif 0 (00:16:3e:00:00:01) of this guest, as xennet connects it\n";
    assert_eq!(rendered.files[0].text.replace("\r\n", "\n").replace(head, ""), wanted);
}

#[test]
fn ifupdown() {
    golden(
        Format::Ifupdown,
        &whole(),
        "auto lo\niface lo inet loopback\n\nauto eth0\niface eth0 inet static\n    address 10.0.0.1\n    netmask 255.255.255.0\n    \
         gateway 10.0.0.254\n    up ip addr add 10.0.0.2/24 dev eth0\n    mtu 1400\n    dns-nameservers 10.0.0.254 fd00:1::1\n    \
         dns-search guests.example\niface eth0 inet6 static\n    address fd00:1::5\n    netmask 128\n    gateway fe80::1\n\n\
         source /etc/network/interfaces.d/*\n",
    );
    golden(
        Format::Ifupdown,
        &beside(),
        "auto lo\niface lo inet loopback\n\nauto eth0\niface eth0 inet static\n    address 203.0.113.5\n    netmask 255.255.255.255\n    \
         up ip route add 192.168.0.3 dev eth0\n    up ip route add default via 192.168.0.3 dev eth0\n    dns-nameservers 192.0.2.53\n\n\
         source /etc/network/interfaces.d/*\n",
    );
    let second = config("devid=1,bridge=xenbr0", None, "{\"dhcp\": true}").unwrap();
    let rendered = Format::Ifupdown.render(&second).unwrap();
    assert_eq!(rendered.files[0].path.as_deref(), Some("/etc/network/interfaces.d/eth1"));
    assert!(rendered.files[0].text.ends_with("auto eth1\niface eth1 inet dhcp\niface eth1 inet6 auto\n"));
}

#[test]
fn alpine() {
    let rendered = Format::Alpine.render(&whole()).unwrap();
    let [interfaces, resolv] = &rendered.files[..] else { panic!("two files") };
    assert!(!interfaces.text.contains("dns-") && !interfaces.text.contains("source"));
    assert_eq!(resolv.path.as_deref(), Some("/etc/resolv.conf"));
    assert_eq!(resolv.text, "search guests.example\nnameserver 10.0.0.254\nnameserver fd00:1::1\n");
}

#[test]
fn netplan_and_cloud_init() {
    let same = "network:\n  version: 2\n  ethernets:\n    \"eth0\":\n      match:\n        macaddress: \"00:16:3e:00:00:01\"\n      \
                dhcp4: false\n      dhcp6: false\n      accept-ra: false\n      addresses:\n";
    let servers = "      nameservers:\n        addresses: [\"10.0.0.254\", \"fd00:1::1\"]\n        search: [\"guests.example\"]\n      mtu: 1400\n";
    let addresses = "        - \"10.0.0.1/24\"\n        - \"10.0.0.2/24\"\n        - \"fd00:1::5/128\"\n";
    let routes = "      routes:\n        - to: \"0.0.0.0/0\"\n          via: \"10.0.0.254\"\n        - to: \"::/0\"\n          via: \"fe80::1\"\n";
    golden(Format::Netplan, &whole(), &format!("{same}{addresses}{routes}{servers}"));
    let gateways = "      gateway4: \"10.0.0.254\"\n      gateway6: \"fe80::1\"\n";
    golden(Format::CloudInitV2, &whole(), &format!("{same}{addresses}{gateways}{servers}"));
    let beside_text = "        - \"203.0.113.5/32\"\n      routes:\n        - to: \"0.0.0.0/0\"\n          via: \"192.168.0.3\"\n          \
                       on-link: true\n      nameservers:\n        addresses: [\"192.0.2.53\"]\n";
    golden(Format::Netplan, &beside(), &format!("{same}{beside_text}"));
    golden(Format::CloudInitV2, &beside(), &format!("{same}{beside_text}"));
    assert_eq!(Format::Netplan.render(&whole()).unwrap().files[0].mode, 0o600);

    golden(
        Format::CloudInitV1,
        &whole(),
        "network:\n  version: 1\n  config:\n    - type: \"physical\"\n      name: \"eth0\"\n      mac_address: \"00:16:3e:00:00:01\"\n      \
         mtu: 1400\n      accept-ra: false\n      subnets:\n        - type: \"static\"\n          address: \"10.0.0.1/24\"\n          \
         gateway: \"10.0.0.254\"\n        - type: \"static\"\n          address: \"10.0.0.2/24\"\n        - type: \"static6\"\n          \
         address: \"fd00:1::5/128\"\n          gateway: \"fe80::1\"\n    - type: \"nameserver\"\n      \
         address: [\"10.0.0.254\", \"fd00:1::1\"]\n      search: [\"guests.example\"]\n",
    );
    let e = Format::CloudInitV1.render(&beside()).unwrap_err();
    assert_eq!(
        e.message(),
        "cloud-init-v1 cannot say a gateway outside of the guest's prefix: version 1 has no word for it"
    );
}

#[test]
fn networkd() {
    golden(
        Format::Networkd,
        &whole(),
        "[Match]\nMACAddress=00:16:3e:00:00:01\n\n[Link]\nMTUBytes=1400\n\n[Network]\nDHCP=no\nIPv6AcceptRA=no\nAddress=10.0.0.1/24\n\
         Address=10.0.0.2/24\nAddress=fd00:1::5/128\nDNS=10.0.0.254\nDNS=fd00:1::1\nDomains=guests.example\n\n[Route]\n\
         Gateway=10.0.0.254\n\n[Route]\nGateway=fe80::1\n",
    );
    golden(
        Format::Networkd,
        &beside(),
        "[Match]\nMACAddress=00:16:3e:00:00:01\n\n[Network]\nDHCP=no\nIPv6AcceptRA=no\nAddress=203.0.113.5/32\nDNS=192.0.2.53\n\n\
         [Route]\nGateway=192.168.0.3\nGatewayOnLink=yes\n",
    );
    golden(
        Format::Networkd,
        &served(),
        "[Match]\nMACAddress=00:16:3e:00:00:01\n\n[Link]\nMTUBytes=1400\n\n[Network]\nDHCP=ipv4\nIPv6AcceptRA=yes\n",
    );
}

#[test]
fn networkmanager() {
    golden(
        Format::NetworkManager,
        &whole(),
        "[connection]\nid=xennet-eth0\ntype=ethernet\n\n[ethernet]\nmac-address=00:16:3E:00:00:01\nmtu=1400\n\n[ipv4]\nmethod=manual\n\
         address1=10.0.0.1/24\naddress2=10.0.0.2/24\ngateway=10.0.0.254\ndns=10.0.0.254;\ndns-search=guests.example;\n\n[ipv6]\n\
         method=manual\naddress1=fd00:1::5/128\ngateway=fe80::1\ndns=fd00:1::1;\n",
    );
    assert_eq!(Format::NetworkManager.render(&whole()).unwrap().files[0].mode, 0o600, "NetworkManager reads no other");
}

#[test]
fn kernel() {
    let rendered = Format::Kernel.render(&whole()).unwrap();
    assert_eq!(rendered.files[0].text, "ip=10.0.0.1::10.0.0.254:255.255.255.0::eth0:off:10.0.0.254\n");
    assert_eq!(rendered.files[0].path, None);
    assert_eq!(
        rendered.notes[0],
        "ip= cannot say: the address 10.0.0.2/24, the name server fd00:1::1, all of IPv6, search guests.example, the MTU of 1400 bytes; \
         the guest's own system has to"
    );
    golden(Format::Kernel, &served(), "ip=:::::eth0:dhcp\n");
    let e = Format::Kernel.render(&beside()).unwrap_err();
    assert!(e.message().contains("a gateway outside of the guest's prefix"), "{}", e.message());
}

#[test]
fn freebsd() {
    golden(
        Format::FreeBsd,
        &whole(),
        "ifconfig_xn0=\"inet 10.0.0.1 netmask 255.255.255.0 mtu 1400\"\nifconfig_xn0_alias0=\"inet 10.0.0.2 netmask 255.255.255.0\"\n\
         ifconfig_xn0_ipv6=\"inet6 fd00:1::5 prefixlen 128\"\ndefaultrouter=\"10.0.0.254\"\nipv6_defaultrouter=\"fe80::1%xn0\"\n",
    );
    golden(
        Format::FreeBsd,
        &beside(),
        "ifconfig_xn0=\"inet 203.0.113.5 netmask 255.255.255.255\"\nstatic_routes=\"xennetgw xennetall\"\n\
         route_xennetgw=\"-host 192.168.0.3 -interface xn0\"\nroute_xennetall=\"default 192.168.0.3\"\n",
    );
}

#[test]
fn netsh() {
    golden(
        Format::Netsh,
        &beside(),
        "@echo off\nrem vif 0 (00:16:3e:00:00:01) of this guest, as xennet connects it\n\
         netsh interface ipv4 set address name=\"Ethernet\" source=static address=203.0.113.5 mask=255.255.255.255\n\
         netsh interface ipv4 add route 192.168.0.3/32 \"Ethernet\" store=persistent\n\
         netsh interface ipv4 add route 0.0.0.0/0 \"Ethernet\" 192.168.0.3 store=persistent\n\
         netsh interface ipv4 set dnsservers name=\"Ethernet\" source=static address=192.0.2.53 validate=no\n",
    );
    let named = config("bridge=xenbr0", None, "{\"dhcp\": true, \"interface\": \"LAN %1\"}").unwrap();
    let rendered = Format::Netsh.render(&named).unwrap();
    assert!(rendered.files[0].text.contains("name=\"LAN %%1\" source=dhcp"), "{}", rendered.files[0].text);
    for format in [Format::Netplan, Format::FreeBsd, Format::Ifupdown] {
        let e = format.render(&named).unwrap_err();
        assert!(e.message().starts_with("interface \"LAN %1\" cannot stand in"), "{}", e.message());
    }
}

/// What a guest has, a family a text.
fn said(config: &GuestConfig) -> String {
    let family = |method: &super::Method| {
        let addresses: Vec<String> = method.addresses().iter().map(ToString::to_string).collect();
        let gateway =
            method.gateway().map(|g| format!(" via {}{}", g.address, if g.on_link { " on-link" } else { "" }));
        let auto = if method.is_auto() { "auto" } else { "" };
        format!("{auto}{}{}", addresses.join(" "), gateway.unwrap_or_default())
    };
    format!("{} | {}", family(config.ipv4()), family(config.ipv6()))
}

#[test]
fn each_mode_has_its_prefixes_and_gateways() {
    let subnets = "subnets = [\"10.0.0.0/24\", \"fd00:1::/64\"]\n";
    let routed = network(&format!("mode = \"routed\"\nuplink = \"eth0\"\n{subnets}"));
    let all = network(&format!("mode = \"routed\"\n{subnets}whole_subnets = true\nsource = [\"192.168.0.3\"]\n"));
    let private = network(&format!("mode = \"nat\"\nbridge = \"natbr0\"\n{subnets}"));
    let lan = network("mode = \"bridge\"\nbridge = \"xenbr0\"\nuplink = \"eth0\"\n");
    let both = "ip=10.0.0.1 fd00:1::5";
    for (network, vif, document, wanted) in [
        (Some(&nat()), both, "{}", "10.0.0.1/24 via 10.0.0.254 | fd00:1::5/128 via fe80::1"),
        (Some(&private), both, "{}", "10.0.0.1/24 via 10.0.0.254 | fd00:1::5/64 via fd00:1::1"),
        (Some(&routed), both, "{}", "10.0.0.1/24 via 10.0.0.254 | fd00:1::5/128 via fe80::1"),
        (Some(&all), both, "{}", "10.0.0.1/32 via 192.168.0.3 on-link | fd00:1::5/128 via fe80::1"),
        // As Xen's vif-nat has it, without any network.
        (None, "script=vif-nat,ip=10.9.8.1", "{}", "10.9.8.1/24 via 10.9.8.128 | "),
        (None, "script=vif-route,ip=fd00:9::1", "{}", "| fd00:9::1/128 via fe80::1"),
        (Some(&lan), "ip=192.168.0.6/24", "{\"gateway\": [\"192.168.0.1\"]}", "192.168.0.6/24 via 192.168.0.1 | "),
        (Some(&lan), "ip=192.168.0.6/24", "{\"no_gateway\": true}", "192.168.0.6/24 | "),
        (
            None,
            "ip=192.168.0.6 2001:db8::6",
            "{\"prefix\": [\"192.168.0.0/26\", \"2001:db8::/64\"], \"gateway\": [\"fe80::1\", \"192.168.9.1\"]}",
            "192.168.0.6/26 via 192.168.9.1 on-link | 2001:db8::6/64 via fe80::1",
        ),
        (Some(&lan), "mtu=1400", "{\"dhcp\": true}", "auto | auto"),
        // Declared addresses are the only ones that the guard lets pass.
        (Some(&lan), "ip=192.168.0.6", "{\"dhcp\": true}", "auto | "),
        (Some(&nat()), "ip=10.0.0.1 10.0.0.128/25", "{}", "10.0.0.1/24 via 10.0.0.254 | "),
    ] {
        let config = config(vif, network, document).unwrap_or_else(|e| panic!("{vif}: {e}"));
        assert_eq!(said(&config).trim(), wanted.trim(), "{vif} {document}");
    }
    let served = network(
        "mode = \"nat\"\nbridge = \"natbr0\"\nsubnets = [\"10.0.0.0/24\"]\ndhcp = true\nrange = [\"10.0.0.100-10.0.0.200\"]\n",
    );
    assert_eq!(said(&config("mtu=1400", Some(&served), "{}").unwrap()), "auto | ");
    assert_eq!(said(&config("ip=10.0.0.1", Some(&served), "{}").unwrap()), "10.0.0.1/24 via 10.0.0.254 | ");
    assert_eq!(said(&config("ip=10.0.0.1", Some(&served), "{\"dhcp\": true}").unwrap()), "auto | ");
}

#[test]
fn an_attachment_goes_before_what_is_guessed() {
    let guest = vec!["10.0.5.1/32".parse().unwrap()];
    let gateway = vec!["10.0.5.77/32".parse().unwrap()];
    let attached = Attachment::Nat {
        network: None,
        guest,
        gateway,
        egress: None,
        open: false,
        host: None,
        log: crate::PacketLog::Off,
        metric: 2,
    };
    let config = GuestConfig::attached(&vif("script=vif-nat"), &attached, None, &GuestWish::default()).unwrap();
    assert_eq!(said(&config), "10.0.5.1/24 via 10.0.5.77 | ");
    let guest = vec!["203.0.113.5/32".parse().unwrap()];
    let source = vec!["192.168.0.3/32".parse().unwrap()];
    let attached = Attachment::Routed {
        network: None,
        guest,
        elsewhere: Box::default(),
        source,
        answer_arp: true,
        answer_ndp: None,
        host: None,
        log: crate::PacketLog::Off,
        metric: 2,
    };
    let config = GuestConfig::attached(&vif("script=vif-route"), &attached, None, &GuestWish::default()).unwrap();
    assert_eq!(said(&config), "203.0.113.5/32 via 192.168.0.3 on-link | ");
}

#[test]
fn what_is_not_known_or_contradicts_itself_is_named() {
    let routed = network("mode = \"routed\"\nuplink = \"eth0\"\n");
    for (network, vif, document, wanted) in [
        (None, "bridge=xenbr0", "{}", "the vif line names no address of the guest, and no DHCP tells it one"),
        (None, "ip=192.0.2.0/28", "{}", "ip=192.0.2.0/28: a network, and no address of the guest"),
        (
            None,
            "ip=192.168.0.6",
            "{}",
            "the prefix length of 192.168.0.6 is not known: xennet has no description of the guest's LAN",
        ),
        (None, "ip=192.168.0.6/24", "{}", "the IPv4 gateway of 192.168.0.6 is not known"),
        (Some(&routed), "ip=192.168.0.6", "{}", "the IPv4 gateway of 192.168.0.6 is not known"),
        (Some(&nat()), "ip=10.0.1.6", "{}", "10.0.1.6 is in no subnet of network net"),
        (Some(&nat()), "ip=10.0.0.254", "{}", "10.0.0.254 is the guest's own address, and its IPv4 gateway"),
        (Some(&nat()), "ip=10.0.0.255", "{}", "10.0.0.255/24 cannot be the guest's: it is the broadcast address"),
        (Some(&nat()), "ip=10.0.0.1", "{\"dhcp\": true}", "the guest cannot ask by DHCP: network net has no DHCP"),
        (None, "ip=10.0.0.1/24", "{\"gateway\": [\"10.0.0.2\", \"10.0.0.3\"]}", "10.0.0.3 is a second IPv4 gateway"),
        (
            None,
            "ip=10.0.0.1/24",
            "{\"gateway\": [\"fe80::1\"]}",
            "fe80::1 cannot be the gateway: the guest has no IPv6 address",
        ),
        (
            None,
            "ip=10.0.0.1/24",
            "{\"gateway\": [\"224.0.0.1\"]}",
            "224.0.0.1 cannot be a gateway: no single host has this address",
        ),
        (
            None,
            "mtu=1400",
            "{\"dhcp\": true, \"gateway\": [\"10.0.0.2\"]}",
            "10.0.0.2 cannot be the gateway: the guest is told its IPv4 gateway by the network",
        ),
        (
            None,
            "ip=10.0.0.1/24",
            "{\"no_gateway\": true, \"prefix\": [\"10.1.0.0/16\"]}",
            "prefix 10.1.0.0/16 has none of the guest's addresses in it",
        ),
        (
            None,
            "ip=10.0.0.1/24",
            "{\"no_gateway\": true, \"dns\": [\"2001:db8::53\"]}",
            "2001:db8::53 cannot be the guest's name server: the guest has no IPv6 address",
        ),
        (
            None,
            "ip=fd00::1/64,mtu=1000",
            "{\"no_gateway\": true}",
            "mtu=1000 is too small for the guest's IPv6: links with IPv6 have 1280 bytes",
        ),
    ] {
        assert_eq!(config(vif, network, document).map(|c| said(&c)).unwrap_err(), wanted, "{vif}");
    }
    assert!(serde_json::from_str::<GuestWish>("{\"interface\": \"a\\\"b\"}").is_err());
    assert_eq!("yaml".parse::<Format>().unwrap_err().message(), "\"yaml\" is not a format");
    for format in Format::ALL {
        assert_eq!(format.name().parse::<Format>().unwrap(), *format);
    }
}
