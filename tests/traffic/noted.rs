//! What guests may not send is noted where their lines or their networks say so: a line for each packet, with the class and the link, and
//! no flood of lines. The kernel writes nothing into its own log from another namespace than the first, so that one is seen by its rules
//! alone here; the two differ in the place only.

use std::collections::BTreeMap;
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use rustix::net::netdevice::name_to_index;
use rustix::net::netlink::{NETFILTER, SocketAddrNetlink};
use rustix::net::{
    AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, bind, recv, send, socket_with, sockopt,
};
use xennet_core::backend::Backend as _;
use xennet_core::backend::netlink::Netlink;
use xennet_core::snapshot::{NftTableId, Part, Scope};
use xennet_core::{DevId, GuestLinks, NetworkMode, PacketLog};
use xennet_tests::frame::{BROADCAST, ipv4_udp, join, number};
use xennet_tests::in_netns;
use xennet_tests::station::{Program, Station};

use super::corpus::{Rig, SENDER};
use super::lab::{LONG, domid, vif};
use super::nat::{Lab, SHORT, network};

/// `NFNL_SUBSYS_ULOG`, and its messages.
const ULOG: u16 = 4 << 8;
const PACKET: u16 = ULOG;
const CONFIG: u16 = ULOG | 1;

/// Listens to the group of a namespace.
struct Listener(OwnedFd);

/// A packet that was noted.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Noted {
    prefix: String,
    /// The link that it came in by: of a bridge, the port.
    link: u32,
}

fn attribute(kind: u16, value: &[u8]) -> Vec<u8> {
    let length = u16::try_from(4 + value.len()).unwrap();
    let mut out = [&length.to_ne_bytes()[..], &kind.to_ne_bytes(), value].concat();
    out.resize(out.len().next_multiple_of(4), 0);
    out
}

impl Listener {
    fn here() -> Listener {
        let socket =
            socket_with(AddressFamily::NETLINK, SocketType::RAW, SocketFlags::CLOEXEC, Some(NETFILTER)).unwrap();
        bind(&socket, &SocketAddrNetlink::new(0, 0)).unwrap();
        let listener = Listener(socket);
        // Bind to the group; of each packet this many bytes; each at once.
        let parts = [attribute(1, &[1]), attribute(2, &[0, 0, 0, 64, 2, 0]), attribute(5, &1_u32.to_be_bytes())];
        for part in parts {
            let family = [&[0, 0][..], &PacketLog::GROUP.to_be_bytes(), &part].concat();
            let length = u32::try_from(16 + family.len()).unwrap();
            // NLM_F_REQUEST | NLM_F_ACK.
            let header = [&length.to_ne_bytes()[..], &CONFIG.to_ne_bytes(), &5_u16.to_ne_bytes(), &[0; 8]].concat();
            send(&listener.0, &[header, family].concat(), SendFlags::empty()).unwrap();
            let answer = listener.one(LONG).expect("the kernel answers");
            let errno = i32::from_ne_bytes(answer[16..20].try_into().unwrap());
            assert_eq!(errno, 0, "nfnetlink_log listens to its group");
        }
        listener
    }

    /// The next message, if one comes within this time.
    fn one(&self, patience: Duration) -> Option<Vec<u8>> {
        sockopt::set_socket_timeout(&self.0, sockopt::Timeout::Recv, Some(patience)).unwrap();
        let mut buffer = vec![0; 1 << 16];
        let (read, _) = recv(&self.0, &mut buffer, RecvFlags::empty()).ok()?;
        buffer.truncate(read);
        Some(buffer)
    }

    /// What is noted until nothing more comes for a while.
    fn all(&self) -> Vec<Noted> {
        let mut out = Vec::new();
        while let Some(message) = self.one(SHORT) {
            if u16::from_ne_bytes([message[4], message[5]]) != PACKET {
                continue;
            }
            let (mut prefix, mut links) = (String::new(), BTreeMap::new());
            let mut rest = &message[20..];
            while rest.len() >= 4 {
                let length = usize::from(u16::from_ne_bytes([rest[0], rest[1]]));
                let kind = u16::from_ne_bytes([rest[2], rest[3]]) & 0x3fff;
                let value = &rest[4..length];
                match kind {
                    // NFULA_IFINDEX_INDEV, NFULA_IFINDEX_PHYSINDEV, NFULA_PREFIX
                    4 | 6 => drop(links.insert(kind, u32::from_be_bytes(value.try_into().unwrap()))),
                    10 => prefix = String::from_utf8(value[..value.len() - 1].to_vec()).unwrap(),
                    _ => {}
                }
                rest = rest.get(length.next_multiple_of(4)..).unwrap_or_default();
            }
            out.push(Noted { prefix, link: links.pop_last().unwrap().1 });
        }
        out
    }
}

fn index(link: &str) -> u32 {
    let socket = socket_with(AddressFamily::INET, SocketType::DGRAM, SocketFlags::CLOEXEC, None).unwrap();
    name_to_index(&socket, link).unwrap()
}

/// What the two tables have of links whose packets are noted.
fn noting() -> Vec<String> {
    let scope = Scope::none().with(Part::Nft(NftTableId::guard())).with(Part::Nft(NftTableId::gate()));
    let text = Netlink::open().unwrap().observe(&scope).unwrap().render();
    text.lines().filter(|line| line.contains(" loggers ") && line.contains("element")).map(str::to_owned).collect()
}

fn forged(turn: u16) -> Vec<u8> {
    let mut frame =
        join(&[&BROADCAST, &[2, 0, 0, 0, 0, 9], &ipv4_udp(([192, 0, 2, 33].into(), [255; 4].into()), (9, 9))]);
    number(&mut frame, u32::from(turn));
    frame
}

#[test]
fn what_a_bridge_drops_is_noted_and_does_not_flood() {
    in_netns("noted::what_a_bridge_drops_is_noted_and_does_not_flood", || {
        let listener = Listener::here();
        let rig = Rig::build();
        let mut host = rig.attach(",log=nflog,vifname=web0");
        rig.watch().forwarding();
        assert_eq!(listener.all(), [], "what passes is not noted");
        let mut from = rig.lab.station(SENDER);
        let begun = Instant::now();
        from.send_all(&[forged(1), forged(2), forged(3)]);
        let wanted = Noted { prefix: "xennet mac: ".into(), link: index("web0") };
        assert_eq!(listener.all(), vec![wanted.clone(); 3]);
        // 20 at once, and 5 a second.
        from.send_all(&(10..410).map(forged).collect::<Vec<_>>());
        let more = listener.all();
        let most = 20 + 5 * (begun.elapsed().as_secs() + 1);
        assert!(more.len() as u64 <= most, "{} of at most {most}", more.len());
        assert!(more.len() >= 17 && more.iter().all(|one| *one == wanted), "{more:?}");
        let counted: u64 = host.violations().unwrap().iter().map(|one| one.packets).sum();
        assert_eq!(counted, 403, "each is counted");

        // Elsewhere, nowhere, and here again: the guest stays connected.
        let lines = [(",log=kernel", "logging"), (",log=off", ""), ("", ""), (",log=nflog", "reporting")];
        for (log, chain) in lines {
            let line = format!(",vifname=web0,ip=192.0.2.33{log}");
            host.attach(domid(SENDER), &vif(SENDER, &line)).unwrap_or_else(|e| panic!("{}", e.report()));
            let there = noting();
            assert_eq!(there.len(), usize::from(!chain.is_empty()), "{log}: {there:?}");
            assert!(there.iter().all(|line| line.contains(&format!("jump {chain}"))), "{there:?}");
        }
        host.attach(domid(SENDER), &vif(SENDER, ",vifname=web0,policy=disabled,log=nflog")).unwrap();
        std::thread::sleep(Duration::from_secs(1));
        listener.all();
        from.send_all(&[forged(500)]);
        let closed = Noted { prefix: "xennet closed: ".into(), link: wanted.link };
        assert_eq!(listener.all(), [closed]);
        let note = host.attach(domid(1), &vif(1, ",log=kernel")).unwrap();
        assert!(note.notes.iter().any(|n| n.contains("log=kernel has no effect")), "{:?}", note.notes);
        host.detach(domid(SENDER), DevId::FIRST).unwrap_or_else(|e| panic!("{}", e.report()));
        assert_eq!(noting(), Vec::<String>::new());
    });
}

#[test]
fn what_the_gate_drops_is_noted() {
    for shared in [false, true] {
        let test = "noted::what_the_gate_drops_is_noted";
        in_netns(test, move || {
            let listener = Listener::here();
            let guests = if shared {
                GuestLinks::Bridge(xennet_core::BridgeSpec::new(super::lab::name("natbr0")))
            } else {
                GuestLinks::PerVif
            };
            let lab = Lab::of(NetworkMode::Nat(network(guests).with_log(PacketLog::Nflog)));
            let (link, bridged) = if shared { ("natbr0", 1) } else { ("vif1.0", 0) };
            assert_eq!(noting().len(), 2 + bridged, "{:?}", noting());
            listener.all();
            let mut station = Station::start(&Program::compile(), lab.guests[0].namespace(), xennet_tests::Guest::LINK);
            let mac = [0, 0x16, 0x3e, 0, 0, 1];
            // From an address of another network; by a bridge the guard looks first.
            let frame = join(&[&BROADCAST, &mac, &ipv4_udp(([10, 77, 0, 9].into(), [192, 0, 2, 254].into()), (9, 9))]);
            station.send_all(&[frame]);
            let link = index(if shared { "vif1.0" } else { link });
            assert_eq!(listener.all(), [Noted { prefix: "xennet address: ".into(), link }]);
            drop(station);
            lab.end();
            assert_eq!(noting(), Vec::<String>::new());
        });
    }
}
