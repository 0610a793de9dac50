//! Parts of the system: what is looked at, what is not, and what happens when it changes meanwhile.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use xennet_cli::sandbox::{Guest, GuestSpec};
use xennet_core::backend::Backend;
use xennet_core::snapshot::{LinkKind, NftFamily, NftSet, NftTableId, NftType, Part, Scope, VethPeer};
use xennet_core::step::{LinkChange, LinkRef, LinkStep, NftOp, NftTransaction, Step};
use xennet_core::{DevId, Errno, MacAddr, VifId};
use xennet_tests::in_netns;

use crate::{Kernel, mac, name};

#[test]
fn an_empty_namespace() {
    in_netns("scopes::an_empty_namespace", || {
        let mut kernel = Kernel::open();
        let all = kernel.look(Part::Network);
        assert_eq!(all.links.len(), 1);
        let lo = &all.links[&name("lo")];
        assert_eq!((lo.index, &lo.kind, lo.up, lo.mtu), (1, &LinkKind::Loopback, false, 65536));
        assert!(all.addresses.is_empty() && all.routes.is_empty() && all.neighbours.is_empty() && all.fdb.is_empty());
        assert_eq!(all.scope, Scope::network());
        // The same but for nft tables, of which there is none.
        assert_eq!(kernel.look(Part::Routing).links, all.links);
    });
}

#[test]
fn a_missing_object_is_absent_whatever_is_asked() {
    in_netns("scopes::a_missing_object_is_absent_whatever_is_asked", || {
        let mut kernel = Kernel::open();
        let none = name("vif9.0");
        let parts = [
            Part::Link(none),
            Part::LinkIndex(4711),
            Part::LinkIndex(0),
            Part::LinkIndex(u32::MAX),
            Part::Addresses(none),
            Part::Routes(none),
            Part::Route("203.0.113.0/24".parse().unwrap()),
            Part::Route("2001:db8::/32".parse().unwrap()),
            Part::RouteThrough(none, "203.0.113.0/24".parse().unwrap()),
            Part::RouteThrough(none, "2001:db8::/32".parse().unwrap()),
            Part::Way("203.0.113.1".parse().unwrap()),
            Part::Way("2001:db8::1".parse().unwrap()),
            Part::Via(none, "203.0.113.0/24".parse().unwrap()),
            Part::Via(none, "2001:db8::/32".parse().unwrap()),
            Part::Neighbours(none),
            Part::Fdb(none),
            Part::PortVlans(none),
        ];
        let scope = Scope::from_iter(parts);
        let seen = kernel.0.observe(&scope).unwrap();
        let mut nothing = xennet_core::snapshot::Snapshot::empty(scope);
        // How old the kernel is, each look tells.
        nothing.hidden.names_held_while_up = seen.hidden.names_held_while_up;
        assert_eq!(seen, nothing);
    });
}

#[test]
fn a_link_names_its_master_and_brings_nothing_else() {
    in_netns("scopes::a_link_names_its_master_and_brings_nothing_else", || {
        let mut kernel = Kernel::open();
        kernel.bridge("br0");
        kernel.veth("vif1.0", "p0");
        kernel.veth("vif2.0", "p1");
        kernel.enslave("vif1.0", "br0");
        kernel.enslave("vif2.0", "br0");
        let seen = kernel.look(Part::Link(name("vif1.0")));
        assert_eq!(seen.links.keys().map(ToString::to_string).collect::<Vec<_>>(), ["vif1.0"]);
        assert_eq!(seen.links[&name("vif1.0")].master, Some(name("br0")));
        assert_eq!(seen.links[&name("vif1.0")].peer, Some(VethPeer::Here(name("p0"))));
        let index = seen.links[&name("vif1.0")].index;
        assert_eq!(kernel.look(Part::LinkIndex(index)).links, seen.links);
        let all = kernel.look(Part::Links);
        assert_eq!(all.links.len(), 6);
        assert_eq!(all.links[&name("vif1.0")], seen.links[&name("vif1.0")], "listed and single are the same");
        assert_eq!(all.ports(&name("br0")).count(), 2);
    });
}

#[test]
fn the_other_end_in_another_namespace() {
    in_netns("scopes::the_other_end_in_another_namespace", || {
        let id = VifId { domid: 5.try_into().unwrap(), devid: DevId::FIRST };
        let guest = Guest::new(&GuestSpec { id, mac: mac(1), addresses: Vec::new() }).unwrap();
        let near = Kernel::open().link("vif5.0");
        assert_eq!((near.kind, near.mac), (LinkKind::Veth, Some(MacAddr::BACKEND)));
        assert_eq!(near.peer, Some(VethPeer::Elsewhere));
        let far = guest.namespace().run(|| Kernel::open().link(Guest::LINK)).unwrap();
        assert_eq!((far.up, far.peer), (true, Some(VethPeer::Elsewhere)));
    });
}

/// A listing of a thousand links while others come and go: complete, or refused in words, and never without end.
#[test]
fn interrupted_listings_are_repeated() {
    in_netns("scopes::interrupted_listings_are_repeated", || {
        let mut kernel = Kernel::open();
        for i in 0..500 {
            kernel.veth(&format!("a{i}"), &format!("b{i}"));
        }
        let (stop, mut other) = (AtomicBool::new(false), Kernel::open());
        std::thread::scope(|scope| {
            let churn = scope.spawn(|| {
                while !stop.load(Ordering::Relaxed) {
                    let change = LinkChange::default().with_name(name("x1"));
                    other.bridge("x0");
                    let link = LinkRef::new(name("x0"), other.link("x0").index);
                    other.apply(Step::Link(LinkStep::Set { link, change }));
                    other.apply(Step::Link(LinkStep::Delete { link }));
                }
            });
            let mut complete = 0;
            for _ in 0..10 {
                match kernel.0.observe(&Scope::from_iter([Part::Links])) {
                    Ok(seen) => {
                        complete += 1;
                        let fixed = seen.links.keys().filter(|n| n.as_str().starts_with(['a', 'b'])).count();
                        assert_eq!(fixed, 1000, "nothing is missing from a listing that counts");
                    }
                    Err(e) => {
                        assert_eq!(e.errno, Errno::EINTR);
                        assert!(e.message.unwrap().contains("changed meanwhile"));
                    }
                }
                // Single objects need no luck.
                assert!(kernel.exists("a7"));
            }
            stop.store(true, Ordering::Relaxed);
            churn.join().unwrap();
            eprintln!("{complete} of 10 listings were complete");
        });
        assert_eq!(kernel.look(Part::Links).links.len(), 1001);
    });
}

/// Ends what others do meanwhile, also when the test has failed.
struct Ends<'a>(&'a AtomicBool);

impl Drop for Ends<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// The frame of a table that others remove and make in the same moment: there as a whole, or not at all.
#[test]
fn a_table_is_removed_while_its_frame_is_read() {
    in_netns("scopes::a_table_is_removed_while_its_frame_is_read", || {
        let (mut kernel, mut other) = (Kernel::open(), Kernel::open());
        if !kernel.0.capabilities().nft {
            eprintln!("skipped: this kernel has no nftables");
            return;
        }
        let table = NftTableId { family: NftFamily::Bridge, name: "foreign".into() };
        let set = NftSet::default().with_key(vec![NftType::IfName]);
        let make = [NftOp::AddTable, NftOp::AddSet { set: "names".into(), def: set }];
        let change = |ops: &[NftOp]| Step::Nft(NftTransaction::new(table.clone(), ops.to_vec()));
        let pause = || std::thread::sleep(Duration::from_micros(100));
        let stop = AtomicBool::new(false);
        let (mut there, mut absent) = (0, 0);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                while !stop.load(Ordering::Relaxed) {
                    other.apply(change(&make));
                    pause();
                    other.apply(change(&[NftOp::DelTable]));
                    pause();
                }
            });
            let _end = Ends(&stop);
            for _ in 0..5000 {
                match kernel.0.observe(&Scope::from_iter([Part::NftFrame(table.clone())])) {
                    Ok(seen) => match seen.nft.get(&table) {
                        Some(seen) => {
                            assert!(seen.sets.contains_key("names"), "{seen:?}");
                            there += 1;
                        }
                        None => absent += 1,
                    },
                    Err(e) => panic!("{e:?}"),
                }
            }
        });
        eprintln!("there {there} times, absent {absent} times");
    });
}
