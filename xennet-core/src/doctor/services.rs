//! DHCP and names, and what was not looked at.

use super::finding::{Finding, sh};
use super::seen::Seen;
use super::table::Code;
use crate::model::{Request, Subject};

/// So many wrong checksums are no accident.
const MANY: u64 = 10;

pub(super) fn check(seen: &Seen<'_>, out: &mut Vec<Finding>) {
    for s in &seen.recording.services {
        let network = s.network;
        let part = if s.part.is_empty() { String::new() } else { format!(" ({})", s.part) };
        let mend = |f: Finding| {
            f.by_request(sh!("xennet network start {}", network), Request::Recover(Subject::Network(network)))
        };
        if !s.runs {
            let cause = format!("the dnsmasq{part} of network {network} does not run");
            out.push(mend(Finding::new(Code::DnsmasqDead, format!("network {network}"), cause)));
        } else if let Some(why) = &s.unheard {
            let cause = format!("the dnsmasq{part} of network {network} runs, and guests are not heard");
            out.push(mend(Finding::new(Code::DnsmasqUnheard, format!("network {network}"), cause).seen(why)));
        }
    }
    let udp: u64 = ["udp", "udp6"].iter().filter_map(|p| seen.details().checksum_errors.get(*p)).sum();
    if udp >= MANY && !seen.vifs.is_empty() {
        out.push(
            Finding::new(Code::ChecksumErrors, "UDP", format!("{udp} UDP packets with a wrong checksum were dropped"))
                .seen("InCsumErrors of /proc/net/snmp counts them")
                .seen("ethtool -K eth0 tx off in the guest makes it send whole checksums"),
        );
    }
    let modules = &seen.recording.surroundings.modules;
    if !modules.is_empty() {
        let names: Vec<&str> = modules.iter().map(String::as_str).collect();
        out.push(Finding::new(
            Code::ModulesMissing,
            names.join(", "),
            format!("this kernel has no {}, and calls of started networks ask for it", names.join(", ")),
        ));
    }
    for unseen in &seen.recording.unseen {
        out.push(Finding::new(Code::NotSeen, &unseen.what, &unseen.why));
    }
}
