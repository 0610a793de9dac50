//! Other programs' firewalls, as docker, firewalld and ufw make them, and rules of an administrator's own.

use crate::stage::{DMZ, LAN, PRIVATE, SHARED, Stage, command, nft};
use xennet_tests::chance::Chance;

/// Loads one or two; whether there is a rule in it that cannot be judged.
pub(crate) fn plant(chance: &mut Chance, stage: &mut Stage) -> bool {
    let mut planted = false;
    if chance.percent(20) {
        stage.story.push(iptables(chance, stage));
    }
    for _ in 0..=chance.below(2) {
        let (rules, blind) = match chance.below(6) {
            0 => (docker(chance, stage), false),
            1 => (firewalld(chance, stage), false),
            2 => (ufw(chance), false),
            3 => (at_bridge(chance), false),
            4 if chance.percent(30) => (blind(chance), true),
            _ => (own(chance, stage), false),
        };
        if stage.story.iter().any(|s| s.lines().next() == rules.lines().next()) {
            continue;
        }
        // Of stations outside no address is known.
        planted |= blind || rules.contains("ether saddr");
        nft(&rules);
        stage.story.push(rules);
    }
    planted
}

/// By the commands of iptables, which make rules of nft of them.
fn iptables(chance: &mut Chance, stage: &Stage) -> String {
    let (link, other) = (inner(stage, chance), inner(stage, chance));
    let to = guest(chance, stage);
    let bare = to.split(':').next().unwrap();
    let rules = [
        "-A FORWARD -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT".to_owned(),
        format!("-A FORWARD -i {link} ! -o {other} -j ACCEPT"),
        format!("-A FORWARD -o {other} -p udp -j DROP"),
        "-A FORWARD -p tcp -m multiport --dports 22,80,5000:6000 -j REJECT".to_owned(),
        "-A FORWARD -p udp -m udp --dport 50:60 -m comment --comment names -j DROP".to_owned(),
        "-A FORWARD -p tcp -m tcp ! --dport 443 -j DROP".to_owned(),
        "-A FORWARD -m conntrack --ctstate DNAT -j ACCEPT".to_owned(),
        "-A FORWARD -s 10.0.0.0/25 -d 192.168.0.0/24 -j DROP".to_owned(),
        "-A INPUT -m addrtype ! --dst-type LOCAL -j DROP".to_owned(),
        "-A INPUT -p icmp --icmp-type echo-request -j DROP".to_owned(),
        "-A INPUT -p udp -m mark ! --mark 0x1/0xff -m conntrack --ctstate NEW -j REJECT".to_owned(),
        "-A INPUT -p tcp -m conntrack --ctstate INVALID,NEW -m multiport --dports 443,8080 -j DROP".to_owned(),
        "-P FORWARD DROP".to_owned(),
        format!("-t nat -A PREROUTING -p tcp -m tcp --dport 5432 -j DNAT --to-destination {to}"),
        format!(
            "-t nat -A PREROUTING -p udp -m udp --dport 123 -m addrtype --dst-type LOCAL -j DNAT --to-destination {bare}"
        ),
        "-t nat -A PREROUTING -p tcp -m tcp --dport 22 -d 198.51.100.0/24 -j REDIRECT --to-ports 443".to_owned(),
        format!("-t nat -A POSTROUTING -o {link} -p udp -j MASQUERADE"),
        "-t nat -A POSTROUTING -s 10.2.0.0/24 -p tcp -j SNAT --to-source 192.168.0.3".to_owned(),
    ];
    let some: Vec<&String> = (0..=chance.below(4)).map(|_| chance.one(&rules)).collect();
    for rule in &some {
        command(&format!("iptables-nft {rule}"));
    }
    some.into_iter().map(|r| format!("iptables-nft {r}\n")).collect()
}

fn inner(stage: &Stage, chance: &mut Chance) -> String {
    chance.one(&stage.links).clone()
}

/// Somewhere that a connection can be handed on to.
fn guest(chance: &mut Chance, stage: &Stage) -> String {
    let all = [(PRIVATE, "10.0.0.2:80"), (SHARED, "10.1.0.1:443"), (DMZ, "10.2.0.1:22"), (LAN, "192.168.0.6:5432")];
    let here: Vec<&str> = all.iter().filter(|(network, _)| stage.has(network)).map(|(_, to)| *to).collect();
    (*chance.one(&here)).to_owned()
}

fn docker(chance: &mut Chance, stage: &Stage) -> String {
    let accepted: String = (0..chance.below(3))
        .map(|_| {
            let side = chance.one(&["iifname", "oifname"]);
            format!("        {side} \"{}\" counter accept\n", inner(stage, chance))
        })
        .collect();
    let user = chance.one(&[
        "return",
        "tcp dport { 22, 443 } drop; return",
        "ip saddr 10.0.0.0/8 ip daddr 192.168.0.0/24 udp dport 53 accept; return",
    ]);
    let to = guest(chance, stage);
    format!(
        "table ip filter {{
    chain DOCKER-USER {{ {user}; }}
    chain DOCKER {{ iifname != \"docker0\" oifname \"docker0\" ip daddr 172.17.0.2 tcp dport 80 counter accept; }}
    chain FORWARD {{
        type filter hook forward priority filter; policy drop;
        counter jump DOCKER-USER
        oifname \"docker0\" ct state related,established counter accept
        oifname \"docker0\" counter jump DOCKER
        ct state established,related accept
{accepted}    }}
}}
table ip nat {{
    chain DOCKER {{
        iifname \"docker0\" counter return
        tcp dport 5432 counter dnat to {to}
    }}
    chain PREROUTING {{ type nat hook prerouting priority dstnat; policy accept; fib daddr type local counter jump DOCKER; }}
    chain OUTPUT {{ type nat hook output priority -100; policy accept; ip daddr != 127.0.0.0/8 fib daddr type local counter jump DOCKER; }}
    chain POSTROUTING {{ type nat hook postrouting priority srcnat; policy accept; oifname != \"docker0\" ip saddr 172.17.0.0/16 counter masquerade; }}
}}
"
    )
}

fn firewalld(chance: &mut Chance, stage: &Stage) -> String {
    let zone = inner(stage, chance);
    let ports = chance.one(&["{ 22, 443 }", "{ 80, 8080, 20000-20010 }", "22"]);
    let forwards = chance.one(&["jump filter_FWD_zones", "oifname \"eth0\" accept", "ct status dnat accept"]);
    format!(
        "table inet firewalld {{
    chain raw_PREROUTING {{
        type filter hook prerouting priority raw + 10; policy accept;
        icmpv6 type {{ nd-router-advert, nd-neighbor-solicit }} accept
        meta nfproto ipv6 fib saddr . mark . iif oif missing drop
    }}
    chain filter_INPUT {{
        type filter hook input priority filter + 10; policy accept;
        ct state {{ established, related }} accept
        ct status dnat accept
        iifname \"lo\" accept
        ct state invalid drop
        jump filter_INPUT_ZONES
        reject with icmpx admin-prohibited
    }}
    chain filter_INPUT_ZONES {{
        iifname vmap {{ \"{zone}\" : goto filter_IN_internal, \"lo\" : accept }}
        goto filter_IN_public
    }}
    chain filter_IN_internal {{ meta l4proto {{ icmp, ipv6-icmp }} accept; udp dport {{ 53, 123 }} accept; }}
    chain filter_IN_public {{
        icmpv6 type {{ nd-neighbor-solicit, nd-neighbor-advert, nd-router-solicit, echo-request }} accept
        tcp dport {ports} accept
    }}
    chain filter_FORWARD {{
        type filter hook forward priority filter + 10; policy accept;
        ct state {{ established, related }} accept
        ct status dnat accept
        iifname \"lo\" accept
        {forwards}
        ct state invalid drop
        reject with icmpx admin-prohibited
    }}
    chain filter_FWD_zones {{
        iifname \"{zone}\" goto filter_FWD_open
        tcp dport {ports} accept
    }}
    chain filter_FWD_open {{ accept; }}
}}
"
    )
}

fn ufw(chance: &mut Chance) -> String {
    let policy = chance.one(&["drop", "accept"]);
    let open = chance.one(&[
        "tcp dport 22 accept",
        "udp dport { 53, 5353 } accept",
        "ip saddr 192.168.0.0/24 accept",
        "tcp dport 8080 accept",
    ]);
    format!(
        "table ip filter {{
    chain ufw-before-input {{
        iifname \"lo\" counter accept
        ct state related,established counter accept
        ct state invalid counter drop
        icmp type {{ destination-unreachable, time-exceeded, parameter-problem, echo-request }} accept
        udp sport 67 udp dport 68 accept
        counter jump ufw-not-local
        counter jump ufw-user-input
    }}
    chain ufw-not-local {{
        fib daddr type local counter return
        fib daddr type multicast counter return
        fib daddr type broadcast counter return
        limit rate 3/minute burst 10 packets counter log prefix \"[UFW BLOCK] \"
        counter drop
    }}
    chain ufw-user-input {{ {open}; }}
    chain ufw-before-forward {{
        ct state related,established counter accept
        icmp type {{ echo-request, time-exceeded }} counter accept
    }}
    chain INPUT {{ type filter hook input priority filter; policy {policy}; counter jump ufw-before-input; }}
    chain FORWARD {{ type filter hook forward priority filter; policy {policy}; counter jump ufw-before-forward; {open}; }}
}}
table ip6 filter {{
    chain INPUT {{
        type filter hook input priority filter; policy {policy};
        ct state related,established accept
        icmpv6 type {{ nd-neighbor-solicit, nd-neighbor-advert, nd-router-solicit, nd-router-advert }} ip6 hoplimit 255 accept
        icmpv6 type echo-request accept
        tcp dport 22 accept
    }}
}}
"
    )
}

fn at_bridge(chance: &mut Chance) -> String {
    let rules = [
        "ether type ip udp dport 53 drop",
        "ip protocol tcp tcp dport { 80, 443 } drop",
        "ip6 nexthdr udp udp dport 53-130 drop",
        "iifname \"vif*\" oifname \"vif*\" tcp dport 22 drop",
        "ether saddr 00:16:3e:00:00:0b ip daddr 192.168.0.0/25 drop",
        "ether saddr & ff:ff:ff:ff:ff:fc == 00:16:3e:00:00:0c icmp type echo-request drop",
    ];
    let hook = chance.one(&["forward", "input", "output", "prerouting", "postrouting"]);
    let some: String = (0..=chance.below(2))
        .map(|_| {
            format!(
                "        {}\n",
                chance.one(&rules).replace(
                    "iifname \"vif*\" oifname",
                    if *hook == "forward" {
                        "iifname \"vif*\" oifname"
                    } else {
                        "meta pkttype != 7 ether type != arp meta mark 7 oifname"
                    }
                )
            )
        })
        .collect();
    format!(
        "table bridge filter {{\n    chain {hook} {{\n        type filter hook {hook} priority 0; policy accept;\n{some}    }}\n}}\n"
    )
}

/// Whether a rule applies is not to be known.
fn blind(chance: &mut Chance) -> String {
    let rule = chance.one(&[
        "limit rate over 1/second drop",
        "numgen random mod 2 0 drop",
        "meta cpu 0 drop",
        "ip length > 40 drop",
        "meta time > 0 drop",
    ]);
    format!(
        "table inet blind {{\n    chain forward {{\n        type filter hook forward priority 5; policy accept;\n        {rule}\n    }}\n}}\n"
    )
}

fn own(chance: &mut Chance, stage: &Stage) -> String {
    let link = inner(stage, chance);
    let rules = [
        "tcp dport 80 drop".to_owned(),
        "udp dport { 53, 5353 } drop".to_owned(),
        "tcp dport 20000-20005 drop".to_owned(),
        "meta l4proto { tcp, udp } th dport 100-500 drop".to_owned(),
        "ip saddr 10.0.0.0/25 ip daddr 192.168.0.1 drop".to_owned(),
        "ip daddr { 10.0.0.2, 10.1.0.0/29, 192.168.0.6-192.168.0.9 } drop".to_owned(),
        "ip6 daddr fd00:1::/64 drop".to_owned(),
        "ip6 saddr { 2001:db8:7::11, fd00:2::/120 } udp dport 1-200 drop".to_owned(),
        "icmp type echo-request drop".to_owned(),
        "icmpv6 type echo-request drop".to_owned(),
        "icmpv6 type echo-reply drop".to_owned(),
        "icmp type echo-reply drop".to_owned(),
        format!("iifname \"{link}\" drop"),
        format!("oifname \"{link}\" tcp dport 443 drop"),
        format!("iif \"{link}\" meta l4proto udp drop"),
        "iifname \"vif1*\" udp dport 123 drop".to_owned(),
        "ct state new tcp dport 443 drop".to_owned(),
        "ct state established udp sport 53 drop".to_owned(),
        "ct status dnat drop".to_owned(),
        "ct status snat udp dport 80 drop".to_owned(),
        "ip saddr . tcp dport { 192.168.0.1 . 80, 198.51.100.7 . 8080, 10.0.0.0/24 . 440-450 } drop".to_owned(),
        "meta nfproto ipv4 meta l4proto . th dport vmap { tcp . 22 : drop, udp . 53 : drop, tcp . 80 : accept }"
            .to_owned(),
        "tcp dport vmap { 1-79 : drop, 80 : jump more, 443 : goto more }".to_owned(),
        "ip protocol tcp ip saddr & 255.255.255.253 == 192.168.0.1 drop".to_owned(),
        "fib saddr . iif oif 0 drop".to_owned(),
        "fib daddr type != local tcp dport 8080 drop".to_owned(),
        "tcp flags & (syn | ack) == syn tcp dport 5432 drop".to_owned(),
        "tcp flags & (fin | rst) == rst drop".to_owned(),
        "meta mark set 0x10 ct mark set 0x20".to_owned(),
        "ct mark 0x20 udp dport 80 drop".to_owned(),
        "meta mark & 0xf0 == 0x10 tcp dport 22 drop".to_owned(),
        "ether saddr 00:16:3e:00:00:0b drop".to_owned(),
        "meta pkttype host udp dport 20005 drop".to_owned(),
        "udp dport != { 53, 80, 123, 5353 } meta l4proto udp drop".to_owned(),
        "meta l4proto { tcp, udp } th dport @ports drop".to_owned(),
        "ip saddr @from4 ip daddr != @from4 drop".to_owned(),
        "iifname . oifname { \"eth0\" . \"natbr0\", \"natbr0\" . \"eth0\" } tcp dport 1-1000 drop".to_owned(),
        "ct direction reply meta l4proto icmp drop".to_owned(),
        "exthdr frag exists drop".to_owned(),
        "ct state invalid,untracked meta l4proto udp drop".to_owned(),
    ];
    let hook = *chance.one(&["prerouting", "input", "forward", "output", "postrouting", "forward"]);
    let priority = *chance.one(&["-310", "-150", "0", "10"]);
    let usable = |rule: &String| {
        let early = priority == "-310";
        let needs_connection = rule.contains("ct s") || rule.contains("ct m") || rule.contains("ct d");
        let is_input = matches!(hook, "prerouting" | "input" | "forward");
        let fib = !rule.contains("fib saddr . iif") || is_input;
        let ether = !rule.contains("ether") || is_input;
        let oif = !rule.starts_with("oif") || matches!(hook, "forward" | "output" | "postrouting");
        !(early && needs_connection) && fib && ether && oif
    };
    let rules: Vec<String> = rules.into_iter().filter(usable).collect();
    let some: String = (0..=chance.below(3)).map(|_| format!("        {}\n", chance.one(&rules))).collect();
    let more = chance.one(&["drop", "ip ttl 1 drop", "return", "udp dport 53 drop", "accept"]);
    let first = if chance.percent(10) && hook == "prerouting" { "        udp dport 123 notrack\n" } else { "" };
    let policy = if chance.percent(7) { "drop" } else { "accept" };
    let open = if policy == "drop" {
        "        meta l4proto ipv6-icmp icmpv6 type { nd-neighbor-solicit, nd-neighbor-advert } accept\n        ct state established accept\n        tcp dport { 22, 443 } accept\n"
    } else {
        ""
    };
    format!(
        "table inet mine {{
    set ports {{ type inet_service; flags interval; elements = {{ 20-25, 5000-6000 }}; }}
    set from4 {{ type ipv4_addr; flags interval; elements = {{ 10.0.0.0/8, 192.168.0.4/30 }}; }}
    chain more {{ {more}; }}
    chain {hook} {{
        type filter hook {hook} priority {priority}; policy {policy};
{first}{some}{open}    }}
}}
"
    )
}
