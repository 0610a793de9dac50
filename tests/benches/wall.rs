//! What the wall costs a packet, and a hotplug call, with 1, 10, 100 and 1,000 filtered guests on a bridge.
//!
//! `cargo bench -p xennet-tests --bench wall` (as root, or where one may make namespaces), with `-- --svg FILE` for the curve as a picture, and
//! `--guests 10,1000` for other numbers of guests.
//! It is not for CI: times are measured on a quiet machine. A sender at one guest's end of its cable, whose packets end at the entry of
//! another guest's: all of the way runs on the sender's processor, whose time is what is printed.

#![allow(clippy::unwrap_used, missing_docs, reason = "all of this is measuring")]

use std::fmt::Write as _;
use std::io::Write as _;
use std::net::Ipv4Addr;
use std::process::{Command, Stdio};
use std::time::Instant;

use xennet_core::backend::Backend as _;
use xennet_core::backend::netlink::Netlink;
use xennet_core::snapshot::{NftElement, NftKey, NftTableId, NftValue};
use xennet_core::step::{BridgeChange, LinkChange, LinkStep, NewLink, NftOp, NftTransaction, Step};
use xennet_core::{DomId, Host, MacAddr, VifSpec, exec};
use xennet_tests::frame::{BROADCAST, ipv4_udp, join};
use xennet_tests::station::{Program, Station};
use xennet_tests::steps::{into, name, run, set, up};
use xennet_tests::{NetNs, StateDir};

const GUESTS: [u32; 4] = [1, 10, 100, 1000];
const BURSTS: usize = 30;
const PACKETS: u32 = 5000;

fn mac(guest: u32) -> [u8; 6] {
    let [_, _, high, low] = guest.to_be_bytes();
    [0, 0x16, 0x3e, 0, high, low]
}

fn address(guest: u32) -> Ipv4Addr {
    Ipv4Addr::from(0x0a00_0000 + guest)
}

/// What was measured with so many guests, in nanoseconds and microseconds.
struct Row {
    guests: u32,
    /// Without a filter, and with one: the best burst, and the median.
    plain: [u64; 2],
    filtered: [u64; 2],
    broadcast: [u64; 2],
    broadcast_filtered: [u64; 2],
    /// A transaction of eight elements, and its way back.
    transaction: u64,
    /// An attach with a filter.
    attach: u64,
}

fn batch(program: &str, args: &[&str], text: &str) {
    let mut child = Command::new(program).args(args).stdin(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
    assert!(child.wait().unwrap().success(), "{program} {args:?}");
}

/// The best and the median of many bursts, in nanoseconds a packet.
fn bursts(from: &mut Station, frame: &[u8], packets: u32) -> [u64; 2] {
    let mut all: Vec<u64> = (0..BURSTS).map(|_| from.burst(packets, frame) / u64::from(packets)).collect();
    all.sort_unstable();
    [all[0], all[BURSTS / 2]]
}

fn median(mut all: Vec<u64>) -> u64 {
    all.sort_unstable();
    all[all.len() / 2]
}

fn measure(guests: u32, program: &Program) -> Row {
    let mut on = Netlink::open().unwrap();
    set(&mut on, "lo", up());
    let quick = BridgeChange::default().with_forward_delay_cs(0).with_multicast_snooping(false);
    run(
        &mut on,
        Step::Link(LinkStep::Create {
            name: name("xenbr0"),
            kind: NewLink::Bridge,
            change: LinkChange::default().with_mac(MacAddr::new([2, 0, 0, 0, 0, 1])).with_bridge(quick),
        }),
    );
    set(&mut on, "xenbr0", up());
    // The other ends are in one namespace, where nothing answers and what is for the second guest ends at once.
    let ends = NetNs::new().unwrap();
    let all = guests.max(2);
    for guest in 1..=all {
        let change = LinkChange::default().with_mac(MacAddr::BACKEND);
        let kind = NewLink::Veth { peer: name(&format!("g{guest}")) };
        run(&mut on, Step::Link(LinkStep::Create { name: name(&format!("vif{guest}.0")), kind, change }));
    }
    // `ip` knows a namespace by a process that is in it.
    let mut holder = ends.run(|| Command::new("sleep").arg("1000").spawn().unwrap()).unwrap();
    let pid = holder.id();
    let moves: String = (1..=all).map(|guest| format!("link set g{guest} netns {pid}\n")).collect();
    batch("ip", &["-batch", "-"], &moves);
    let ups: String = (1..=all)
        .map(|guest| {
            let mac = MacAddr::new(mac(guest));
            format!("link set g{guest} addrgenmode none\nlink set g{guest} address {mac} up\n")
        })
        .collect();
    let sink = "table netdev sink { chain entry { type filter hook ingress device \"g2\" priority 0; policy drop; }\n}";
    ends.run(|| {
        batch("ip", &["-batch", "-"], &ups);
        batch("nft", &["-f", "-"], sink);
    })
    .unwrap();
    for guest in 1..=all {
        set(&mut on, &format!("vif{guest}.0"), into("xenbr0").with_up(true));
    }
    std::thread::sleep(std::time::Duration::from_millis(500));
    let mut from = Station::start(program, &ends, "g1");
    let mut other = Station::start(program, &ends, "g2");
    // The bridge learns where the second one is.
    other.send(1, &join(&[&BROADCAST, &mac(2), &ipv4_udp((address(2), [255; 4].into()), (9, 9))]));
    drop(other);
    let one = join(&[&mac(2), &mac(1), &ipv4_udp((address(1), address(2)), (1000, 2000))]);
    let every = join(&[&BROADCAST, &mac(1), &ipv4_udp((address(1), [255; 4].into()), (1000, 2000))]);
    let few = (PACKETS / all).max(20);
    let plain = bursts(&mut from, &one, PACKETS);
    let broadcast = bursts(&mut from, &every, few);

    let state = StateDir::new();
    let mut host = Host::netlink().unwrap().with_state_dir(exec::StateDir::at(state.path()));
    let mut attaching = Vec::new();
    for guest in 1..=all {
        let line = format!("mac={},bridge=xenbr0,ip={}", MacAddr::new(mac(guest)), address(guest));
        let vif: VifSpec = line.parse().unwrap();
        let begun = Instant::now();
        host.attach(DomId::new(guest).unwrap(), &vif).unwrap_or_else(|e| panic!("{}", e.report()));
        attaching.push(u64::try_from(begun.elapsed().as_micros()).unwrap());
    }
    from.send(1, &one);
    let filtered = bursts(&mut from, &one, PACKETS);
    let broadcast_filtered = bursts(&mut from, &every, few);

    let keys: Vec<NftKey> = (0..8)
        .map(|n| {
            let key =
                [NftValue::Name(name("vif9999.0")), NftValue::Mac(MacAddr::new(mac(9))), NftValue::Ipv4(address(n))];
            NftKey::exact(key)
        })
        .collect();
    let elements = keys.iter().cloned().map(|key| (key, NftElement::default())).collect();
    let add = NftTransaction::new(NftTableId::guard(), vec![NftOp::AddElements { set: "host4".into(), elements }]);
    let del = NftTransaction::new(NftTableId::guard(), vec![NftOp::DelElements { set: "host4".into(), keys }]);
    let (add, del) = (Step::Nft(add), Step::Nft(del));
    let mut transactions = Vec::new();
    for _ in 0..300 {
        let begun = Instant::now();
        on.apply(&add).unwrap();
        transactions.push(u64::try_from(begun.elapsed().as_nanos()).unwrap() / 100);
        on.apply(&del).unwrap();
    }
    holder.kill().unwrap();
    holder.wait().unwrap();
    let tail = attaching.split_off(attaching.len().saturating_sub(100));
    Row {
        guests,
        plain,
        filtered,
        broadcast,
        broadcast_filtered,
        transaction: median(transactions),
        attach: median(tail),
    }
}

#[allow(clippy::cast_precision_loss, reason = "nanoseconds")]
fn times(with: u64, without: u64) -> f64 {
    with as f64 / without as f64
}

fn bar(ns: u64, most: u64) -> String {
    "#".repeat(usize::try_from(ns * 50 / most.max(1)).unwrap())
}

/// The curve: nanoseconds a packet over the number of guests, both in the order of magnitude of guests.
fn svg(rows: &[Row]) -> String {
    let most = rows.iter().map(|r| r.filtered[1].max(r.plain[1])).max().unwrap_or(1) * 5 / 4;
    let x = |at: usize| 80 + 160 * at;
    let y = |ns: u64| 300 - ns * 260 / most;
    let mut out = String::from(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 680 360\" font-family=\"sans-serif\" font-size=\"13\">\n\
         <title>What the wall costs a packet</title>\n<rect width=\"680\" height=\"360\" fill=\"#fff\"/>\n\
         <path d=\"M60 20V300H640\" fill=\"none\" stroke=\"#333\"/>\n",
    );
    for (at, row) in rows.iter().enumerate() {
        writeln!(out, "<text x=\"{}\" y=\"320\" text-anchor=\"middle\">{}</text>", x(at), row.guests).unwrap();
    }
    out.push_str("<text x=\"350\" y=\"345\" text-anchor=\"middle\">filtered guests on the bridge</text>\n");
    for step in 0..5 {
        let ns = most * step / 4;
        writeln!(out, "<text x=\"54\" y=\"{}\" text-anchor=\"end\">{ns}</text>", y(ns) + 4).unwrap();
    }
    let line = |values: Vec<u64>, colour: &str, what: &str| {
        let points: Vec<String> = values.iter().enumerate().map(|(at, ns)| format!("{},{}", x(at), y(*ns))).collect();
        let last = values.last().copied().unwrap_or_default();
        format!(
            "<polyline points=\"{}\" fill=\"none\" stroke=\"{colour}\" stroke-width=\"2\"/>\n\
             <text x=\"{}\" y=\"{}\" fill=\"{colour}\">{what}</text>\n",
            points.join(" "),
            x(values.len() - 1) + 6,
            y(last) + 4
        )
    };
    out += &line(rows.iter().map(|r| r.plain[1]).collect(), "#777", "no filter");
    out += &line(rows.iter().map(|r| r.filtered[1]).collect(), "#06c", "ip=");
    out + "</svg>\n"
}

fn main() {
    if !Command::new("nft").arg("--version").output().is_ok_and(|o| o.status.success()) {
        eprintln!("nft is missing (apt-get install nftables)");
        return;
    }
    let program = Program::compile();
    println!("CPU time of a packet from guest to guest through a bridge, ns: best burst / median of {BURSTS}");
    println!(
        "{:>7} {:>15} {:>15} {:>13} {:>21} {:>21} {:>13} {:>12} {:>10}",
        "guests",
        "no filter",
        "ip=",
        "times",
        "broadcast, no filter",
        "broadcast, ip=",
        "times",
        "8 elements us",
        "attach us"
    );
    let mut rows = Vec::new();
    let args: Vec<String> = std::env::args().collect();
    let given = |key: &str| args.iter().position(|a| a == key).and_then(|at| args.get(at + 1));
    let guests: Vec<u32> =
        given("--guests").map_or(GUESTS.into(), |g| g.split(',').map(|n| n.parse().unwrap()).collect());
    for guests in guests {
        let row = NetNs::new().unwrap().run(|| measure(guests, &program)).unwrap();
        let two = |[best, median]: [u64; 2]| format!("{best} / {median}");
        let ratio = |a: [u64; 2], b: [u64; 2]| format!("{:.2} / {:.2}", times(a[0], b[0]), times(a[1], b[1]));
        println!(
            "{:>7} {:>15} {:>15} {:>13} {:>21} {:>21} {:>13} {:>10}.{} {:>12}",
            row.guests,
            two(row.plain),
            two(row.filtered),
            ratio(row.filtered, row.plain),
            two(row.broadcast),
            two(row.broadcast_filtered),
            ratio(row.broadcast_filtered, row.broadcast),
            row.transaction / 10,
            row.transaction % 10,
            row.attach
        );
        rows.push(row);
    }
    let most = rows.iter().map(|r| r.filtered[1].max(r.plain[1])).max().unwrap_or(1);
    println!("\nmedians:");
    for row in &rows {
        println!("{:>6} no filter {:>6} {}", row.guests, row.plain[1], bar(row.plain[1], most));
        println!("{:>6} ip=       {:>6} {}", "", row.filtered[1], bar(row.filtered[1], most));
    }
    if let Some(file) = given("--svg") {
        std::fs::write(file, svg(&rows)).unwrap();
    }
}
