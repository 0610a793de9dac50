//! `demo`: the three modes of guests' networks from beginning to end, every claim checked while it is made.

mod claims;
mod stage;

use std::net::{Ipv4Addr, SocketAddrV4};

use xennet_core::document::DemoEvent;
use xennet_core::{Guests, Host, Result};

use self::claims::{Demo, Expected};
use self::stage::Stage;
use crate::cli::Global;
use crate::output::Output;
use crate::sandbox::Lan;

pub(super) fn run(global: &Global, output: &mut Output) -> Result<()> {
    let (mut host, stage) = Stage::open(global, output)?;
    let on_kernel = stage.lan().is_some();
    let mut demo = Demo::new(output, stage);
    demo.say(
        match on_kernel {
            true => {
                "This is the real kernel, in network namespaces made for this demo. Nothing outside of them is touched.\n\
                 The host has eth0 with 192.168.0.3; outside is 192.168.0.1, the gateway of its LAN."
            }
            false => {
                "This is a model of the kernel, in memory. Nothing real is touched, and nobody can be pinged.\n\
                 The host has eth0 with 192.168.0.3; its gateway is 192.168.0.1."
            }
        },
        DemoEvent::Stage { kernel: on_kernel },
    )?;
    bridge(&mut demo, &mut host)?;
    nat(&mut demo, &mut host)?;
    routed(&mut demo, &mut host)?;
    demo.end(on_kernel)
}

const OUTSIDE: (&str, Ipv4Addr) = ("the outside", Lan::OUTSIDE);
const HOST: (&str, Ipv4Addr) = ("the host", Lan::HOST);

fn bridge(demo: &mut Demo<'_>, host: &mut Host) -> Result<()> {
    const FILE: &str = "[network.lan]\nmode = \"bridge\"\nuplink = \"eth0\"\nbridge = \"xenbr0\"";
    let one = Ipv4Addr::new(192, 168, 0, 11);
    let two = Ipv4Addr::new(192, 168, 0, 12);
    let before = demo.begin("1 of 3: bridge", "guests are stations on the LAN, like any other computer there", host)?;
    let network = demo.network(host, FILE)?;
    demo.ping(None, HOST, Expected::Answer)?;
    for (domid, address) in [(1, one), (2, two)] {
        demo.guest(host, domid, address, Lan::OUTSIDE, &format!("bridge=xenbr0,ip={address}"))?;
    }
    demo.show(host)?;
    demo.heading("who reaches whom:")?;
    for target in [("guest 2", two), HOST, OUTSIDE] {
        demo.ping(Some(1), target, Expected::Answer)?;
    }
    demo.ping(None, ("guest 1", one), Expected::Answer)?;
    demo.seen_outside(1, one, "its own address")?;
    demo.forged(1, one, Ipv4Addr::new(192, 168, 0, 99))?;
    demo.detach(host, 1)?;
    demo.ping(Some(1), OUTSIDE, Expected::Silence)?;
    demo.detach(host, 2)?;
    demo.stop(host, &network, Guests::MustHaveGone)?;
    demo.nothing_left(&before, host)
}

fn nat(demo: &mut Demo<'_>, host: &mut Host) -> Result<()> {
    const FILE: &str = "[network.private]\nmode = \"nat\"\nsubnets = [\"10.0.0.0/24\"]\n\
                        forward = [{ protocol = \"tcp\", ports = \"8080\", to = \"10.0.0.1\", to_port = 80 }]";
    let (guest, gateway) = (Ipv4Addr::new(10, 0, 0, 1), Ipv4Addr::new(10, 0, 0, 254));
    let before = demo.begin("2 of 3: NAT", "guests are hidden behind the host's address", host)?;
    let network = demo.network(host, FILE)?;
    demo.guest(host, 3, guest, gateway, &format!("script=vif-nat,ip={guest}"))?;
    demo.heading("who reaches whom:")?;
    demo.ping(Some(3), ("its gateway, which is the host", gateway), Expected::Answer)?;
    demo.ping(Some(3), OUTSIDE, Expected::Answer)?;
    demo.seen_outside(3, Lan::HOST, "the host's address")?;
    demo.route_outside("who reaches guests from outside, even with a route to them:", "10.0.0.0/24")?;
    demo.ping(None, ("guest 3", guest), Expected::Silence)?;
    demo.handed_on(SocketAddrV4::new(Lan::HOST, 8080), 3, 80)?;
    demo.forged(3, guest, Ipv4Addr::new(10, 0, 0, 77))?;
    demo.detach(host, 3)?;
    demo.stop(host, &network, Guests::MustHaveGone)?;
    demo.nothing_left(&before, host)
}

fn routed(demo: &mut Demo<'_>, host: &mut Host) -> Result<()> {
    const FILE: &str = "[network.dmz]\nmode = \"routed\"\nsubnets = [\"10.1.0.0/24\"]\nuplink = \"eth0\"";
    let (guest, gateway) = (Ipv4Addr::new(10, 1, 0, 1), Ipv4Addr::new(10, 1, 0, 254));
    let before =
        demo.begin("3 of 3: routed", "guests have addresses of their own, and the host is their router", host)?;
    let network = demo.network(host, FILE)?;
    demo.guest(host, 4, guest, gateway, &format!("script=vif-route,ip={guest}"))?;
    demo.heading("who reaches whom, while the outside does not know the way to the guest:")?;
    demo.ping(Some(4), ("its gateway, which is the host", gateway), Expected::Answer)?;
    demo.ping(Some(4), OUTSIDE, Expected::Silence)?;
    demo.status(host, &network)?;
    demo.route_outside("who reaches whom, once the gateway outside has that route:", "10.1.0.0/24")?;
    demo.ping(Some(4), OUTSIDE, Expected::Answer)?;
    demo.ping(None, ("guest 4", guest), Expected::Answer)?;
    demo.seen_outside(4, guest, "its own address")?;
    demo.forged(4, guest, Ipv4Addr::new(10, 1, 0, 77))?;
    demo.detach(host, 4)?;
    demo.stop(host, &network, Guests::MustHaveGone)?;
    demo.nothing_left(&before, host)
}
