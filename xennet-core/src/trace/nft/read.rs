//! What rules read of a packet, and write into it.

use super::value;
use super::{Next, Place, address_of, judged, xt};
use crate::model::IfName;
use crate::snapshot::{Family, NftFamily, NftHeader, NftHook, NftSource};
use crate::trace::packet::{ANY, Byte, Content, Gap, Packet, known};

/// Bytes of a packet, of its connection, or of what the kernel knows beside. `None` ends the rule.
pub(super) fn load(place: &Place<'_>, packet: &Packet, source: NftSource, bytes: usize) -> Option<Vec<Byte>> {
    match source {
        NftSource::Payload(header, offset, _) => {
            let all = match header {
                NftHeader::Link => packet.link_header()?,
                NftHeader::Network => packet.network_header(),
                NftHeader::Transport => packet.transport_header()?,
            };
            // The kernel reads beyond a header into what follows it; what lies beyond the packet ends the rule.
            let from = usize::from(offset);
            match all.get(from..from + bytes) {
                Some(read) => Some(read.to_vec()),
                // Of a frame all is known.
                None if matches!(packet.content, Content::Frame(_)) => None,
                None if from < all.len() => {
                    let mut read = all.get(from..).unwrap_or(&[]).to_vec();
                    read.resize(bytes, ANY);
                    Some(read)
                }
                None => Some(vec![ANY; bytes]),
            }
        }
        NftSource::Ct(key) => connection(place, packet, key),
        NftSource::Meta(key) => meta(place, packet, key),
        NftSource::Fib(result, flags) => fib(place, packet, result, flags),
    }
}

fn connection(place: &Place<'_>, packet: &Packet, key: u32) -> Option<Vec<Byte>> {
    if place.family == NftFamily::Bridge {
        // Whether bridges track connections depends on a module.
        return Some(vec![ANY; 4]);
    }
    let tracked = &packet.tracked;
    match key {
        // Before connection tracking, and for what belongs to no connection, there is a state and nothing else.
        0 => Some(known(&tracked.state.unwrap_or(1).to_ne_bytes())),
        _ if tracked.state.is_none_or(|s| s == 64 || s == 1) => None,
        1 => Some(vec![Ok(u8::from(tracked.reply))]),
        2 => Some(known(&tracked.status.to_ne_bytes())),
        3 => Some(tracked.mark.map_or(vec![ANY; 4], |m| known(&m.to_ne_bytes()))),
        _ => Some(vec![ANY; 4]),
    }
}

fn meta(place: &Place<'_>, packet: &Packet, key: u32) -> Option<Vec<Byte>> {
    let Place { world, iif, oif, .. } = *place;
    let index = |link: Option<IfName>| known(&link.and_then(|l| world.link(&l)).map_or(0, |l| l.index).to_ne_bytes());
    let name = |link: Option<IfName>| {
        let mut bytes = link.map_or_else(Vec::new, |l| l.as_str().as_bytes().to_vec());
        bytes.resize(16, 0);
        known(&bytes)
    };
    let master = |link: Option<IfName>| link.and_then(|l| world.link(&l)).and_then(|l| l.master);
    match key {
        1 => Some(known(&packet.ethertype().to_be_bytes())),
        3 => Some(packet.mark.map_or(vec![ANY; 4], |m| known(&m.to_ne_bytes()))),
        4 => Some(index(iif)),
        5 => Some(index(oif)),
        6 => Some(name(iif)),
        7 => Some(name(oif)),
        // ARPHRD_ETHER, ARPHRD_LOOPBACK.
        8 | 9 => {
            let link = if key == 8 { iif } else { oif }?;
            let kind: u16 = if link.as_str() == "lo" { 772 } else { 1 };
            Some(known(&kind.to_ne_bytes()))
        }
        15 => Some(vec![Ok(match (place.family, packet.family()) {
            (NftFamily::Bridge, _) => 7,
            (_, Family::Ipv4) => 2,
            (_, Family::Ipv6) => 10,
        })]),
        16 => packet.protocol().map(|p| vec![Ok(p)]),
        17 => Some(name(Some(master(iif)?))),
        18 => Some(name(Some(master(oif)?))),
        19 => Some(vec![Ok(packet.kind)]),
        _ => Some(vec![ANY; 16]),
    }
}

/// Writes into a header. Only addresses matter to what is modelled.
pub(super) fn write(packet: &mut Packet, header: NftHeader, offset: u8, bytes: &[Byte]) -> Next {
    let address = value::all_known(bytes);
    if let (Content::Frame(frame), Ok(bytes)) = (&mut packet.content, &address) {
        let written = header == NftHeader::Network && frame.write(usize::from(offset), bytes);
        return if written { Next::On } else { Next::Break };
    }
    let place = match (header, packet.family(), offset, bytes.len()) {
        (NftHeader::Network, Family::Ipv6, 8, 16) | (NftHeader::Network, Family::Ipv4, 12, 4) => 0,
        (NftHeader::Network, Family::Ipv6, 24, 16) | (NftHeader::Network, Family::Ipv4, 16, 4) => 1,
        _ => return Next::Lost("a header is written".into()),
    };
    match (address, &packet.content) {
        (Ok(bytes), Content::Ip { .. }) => {
            let address = address_of(&bytes);
            if place == 0 {
                packet.set_addresses(address, None)
            } else {
                packet.set_addresses(None, address)
            }
            Next::On
        }
        (Err(_), _) => Next::Lost("an address is written that is not known".into()),
        _ => Next::Break,
    }
}

/// What the routing tables say (`nft_fib`). `None` ends the rule.
pub(super) fn fib(place: &Place<'_>, packet: &Packet, result: u32, flags: u32) -> Option<Vec<Byte>> {
    const SADDR: u32 = 1;
    const IIF: u32 = 8;
    const OIF: u32 = 16;
    const PRESENT: u32 = 32;
    let (source, target) = packet.addresses()?;
    let address = if flags & SADDR != 0 { source } else { target };
    let on = if flags & IIF != 0 {
        place.iif
    } else if flags & OIF != 0 {
        place.oif
    } else {
        None
    };
    if result == 3 {
        return Some(known(&place.world.address_type(address, on).to_ne_bytes()));
    }
    // What this domain says to itself is where it should be (`nft_fib_is_loopback`).
    let to_itself = place.iif.filter(|l| place.hook == NftHook::Prerouting && l.as_str() == "lo");
    let found = to_itself.or_else(|| place.world.leads_to(address, on));
    if flags & PRESENT != 0 {
        return Some(vec![Ok(u8::from(found.is_some()))]);
    }
    if result == 1 {
        let index = found.and_then(|l| place.world.link(&l)).map_or(0, |l| l.index);
        return Some(known(&index.to_ne_bytes()));
    }
    let mut name = found.map_or_else(Vec::new, |l| l.as_str().as_bytes().to_vec());
    name.resize(16, 0);
    Some(known(&name))
}

pub(super) fn xt_match(place: &Place<'_>, packet: &Packet, matched: &xt::Match) -> Next {
    let told = |holds: bool, inverted: bool| if holds == inverted { Next::Break } else { Next::On };
    match matched {
        xt::Match::State { states, source_nat, target_nat, inverted } => {
            let t = &packet.tracked;
            let status = t.state.is_some_and(|s| s != 1 && s != 64);
            let holds = states & t.state.unwrap_or(1) != 0
                || (*source_nat && status && t.status & 16 != 0)
                || (*target_nat && status && t.status & 32 != 0);
            told(holds, *inverted)
        }
        xt::Match::Mark { mark, mask, inverted } => match packet.mark {
            Some(own) => told(own & mask == *mark, *inverted),
            None => Next::Perhaps(Gap::Unseen, "xt match \"mark\"".into()),
        },
        xt::Match::Icmp { protocol, kind, codes, inverted } => {
            let Some(header) = packet.transport_header().filter(|_| packet.protocol() == Some(*protocol)) else {
                return Next::Break;
            };
            // 255 stands for any in IPv4.
            let any = *kind == 255 && *protocol == 1;
            let within =
                |at: usize, first: u8, last: u8| value::within(header.get(at..=at).unwrap_or(&[]), &[first], &[last]);
            match (within(0, *kind, *kind), within(1, codes.0, codes.1)) {
                (Ok(same), Ok(code)) => told(any || (same && code), *inverted),
                (Err(gap), _) | (_, Err(gap)) => Next::Perhaps(gap, "xt match \"icmp\"".into()),
            }
        }
        xt::Match::AddressType { source, target, inverted } => {
            let Some((from, to)) = packet.addresses() else { return Next::Break };
            let is =
                |address, mask: u16| mask & 1u16.checked_shl(place.world.address_type(address, None)).unwrap_or(0) != 0;
            let holds =
                (*source == 0 || is(from, *source) != inverted.0) && (*target == 0 || is(to, *target) != inverted.1);
            told(holds, false)
        }
        xt::Match::Ports { protocol, source, target, either, inverted } => {
            if *protocol != 0 && packet.protocol() != Some(*protocol) {
                return Next::Break;
            }
            let Some(header) = packet.transport_header() else { return Next::Break };
            let among = |at: usize, ranges: &[(u16, u16)], inverted: bool| {
                let port = header.get(at..at + 2).unwrap_or(&[]);
                let mut gap = None;
                for (first, last) in ranges {
                    match value::within(port, &first.to_be_bytes(), &last.to_be_bytes()) {
                        Ok(true) => return Ok(!inverted),
                        Ok(false) => {}
                        Err(why) => gap = Some(why),
                    }
                }
                gap.map_or(Ok(inverted), Err)
            };
            let holds = match (among(0, source, inverted.0), among(2, target, inverted.1)) {
                (Ok(true), _) | (_, Ok(true)) if *either => Ok(true),
                (Ok(false), _) | (_, Ok(false)) if !*either => Ok(false),
                (Err(gap), _) | (_, Err(gap)) => Err(gap),
                (Ok(a), Ok(_)) => Ok(a),
            };
            judged(holds, "ports")
        }
    }
}
