//! Random vifs in random networks.

use xennet_core::config::networks;
use xennet_core::guest::{GuestConfig, GuestWish};
use xennet_core::{Started, VifSpec};

/// How many there are.
const SPECS: u64 = 200;

/// A vif, and what its guest has to know.
pub(crate) struct Case {
    /// The vif line, the network, and the wish, to make it again by hand.
    pub(crate) what: String,
    pub(crate) config: GuestConfig,
}

/// Xorshift: the same numbers everywhere.
struct Dice(u64);

impl Dice {
    fn below(&mut self, n: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 % n as u64).unwrap()
    }

    fn one_of<T: Copy>(&mut self, items: &[T]) -> T {
        items[self.below(items.len())]
    }
}

/// The same ones at every run.
pub(crate) fn cases() -> Vec<Case> {
    (1..=SPECS).map(|number| case(&mut Dice(number.wrapping_mul(0x9e37_79b9_7f4a_7c15)))).collect()
}

fn case(dice: &mut Dice) -> Case {
    let mode = dice.one_of(&["lan", "served", "nat", "private", "routed", "whole", "script", "beside"]);
    let (four, six) = dice.one_of(&[(true, false), (true, true), (true, true), (false, true)]);
    let four = four || matches!(mode, "script" | "whole" | "beside");
    let length = dice.one_of(&[16, 20, 24, 28]);
    let mtu = dice.one_of(&[None, Some(1280), Some(1400), Some(1500), Some(9000)]);

    let mut lines = match mode {
        "lan" | "served" | "beside" => "mode = \"bridge\"\nbridge = \"xenbr0\"\nuplink = \"eth0\"\n".to_owned(),
        "private" => "mode = \"nat\"\nbridge = \"natbr0\"\n".to_owned(),
        "nat" | "script" => "mode = \"nat\"\n".to_owned(),
        _ => "mode = \"routed\"\nuplink = \"eth0\"\n".to_owned(),
    };
    if matches!(mode, "nat" | "private" | "routed" | "whole") {
        lines += &format!("subnets = [\"10.20.0.0/{length}\", \"2001:db8:7::/48\"]\n");
    }
    if mode == "whole" {
        lines += "whole_subnets = true\nsource = [\"192.168.0.3\"]\n";
    }
    if matches!(mode, "nat" | "private" | "routed") && dice.below(2) == 0 {
        lines += "dns = true\ndomain = \"guests.example\"\n";
    }
    let in_network = mtu.filter(|_| matches!(mode, "nat" | "routed" | "private") && dice.below(2) == 0);
    lines += &in_network.map(|mtu| format!("mtu = {mtu}\n")).unwrap_or_default();

    let mut wish = GuestWish::default();
    let mut ip: Vec<String> = Vec::new();
    let hosts = [3, 7, 9, 12];
    for host in &hosts[..1 + dice.below(3)] {
        let form = dice.one_of(&["", "/24"]);
        match mode {
            "lan" if four => ip.push(format!("192.168.0.{host}{form}")),
            "beside" => ip.push(format!("203.0.113.{host}")),
            "served" => {}
            _ if four => ip.push(format!("10.20.0.{host}")),
            _ => {}
        }
        if six && mode != "served" {
            ip.push(format!("2001:db8:7::{host:x}"));
        }
    }
    match mode {
        "lan" => {
            wish.prefix = vec!["192.168.0.0/24".parse().unwrap(), "2001:db8:7::/64".parse().unwrap()];
            wish.prefix.retain(|p| if p.is_ipv4() { four } else { six });
            let router = dice.one_of(&["2001:db8:7::1", "fe80::1", "2001:db8:ff::1"]);
            wish.gateway = vec!["192.168.0.1".parse().unwrap(), router.parse().unwrap()];
            wish.gateway.retain(|g| if g.is_ipv4() { four } else { six });
            if dice.below(5) == 0 {
                (wish.gateway, wish.no_gateway) = (Vec::new(), true);
            }
        }
        "beside" => {
            wish.prefix = vec!["203.0.113.0/24".parse().unwrap()];
            wish.prefix.extend(six.then(|| "2001:db8:7::/128".parse::<xennet_core::ipnetwork::IpNetwork>().unwrap()));
            wish.prefix.truncate(1);
            // Provider's form: the gateway is in another network.
            wish.gateway = vec!["192.0.2.1".parse().unwrap()];
            if six {
                wish.prefix.push("2001:db8:7::/48".parse().unwrap());
                wish.gateway.push("fe80::1".parse().unwrap());
            }
        }
        "served" => wish.dhcp = true,
        _ => {}
    }
    let servers = ["192.0.2.53", "198.51.100.53", "2001:db8::53"];
    wish.dns = servers[..dice.below(4)].iter().map(|s| s.parse().unwrap()).collect();
    wish.dns.retain(|s| mode == "served" || if s.is_ipv4() { four } else { six });
    let domains = ["a.example", "b-2.example"];
    wish.search = domains[..dice.below(3)].iter().map(|s| s.parse().unwrap()).collect();
    if dice.below(4) == 0 {
        wish.interface = Some(dice.one_of(&["eth0", "enX0", "net_1"]).parse().unwrap());
    }

    let mut vif = format!("mac=00:16:3e:00:{:02x}:{:02x}", dice.below(256), dice.below(256));
    if dice.below(3) == 0 {
        vif = format!("devid={}", dice.below(3));
    }
    vif += if mode == "script" { ",script=vif-nat" } else { ",bridge=net" };
    vif += &mtu.filter(|_| in_network.is_none()).map(|mtu| format!(",mtu={mtu}")).unwrap_or_default();
    if !ip.is_empty() {
        vif += &format!(",ip={}", ip.join(" "));
    }
    let text = format!("[network.net]\n{lines}");
    let what = format!("{vif}\n{text}{}", serde_json::to_string(&wish).unwrap());
    let all = networks::parse(&text).unwrap_or_else(|e| panic!("{what}\n{}", e.report()));
    let network = Started::new(all.get("net").unwrap().clone());
    let spec: VifSpec = vif.parse().unwrap_or_else(|e: xennet_core::Error| panic!("{what}\n{}", e.report()));
    let network = (mode != "script").then_some(network);
    let config = GuestConfig::new(&spec, network.as_ref(), &wish).unwrap_or_else(|e| panic!("{what}\n{}", e.report()));
    Case { what, config }
}
