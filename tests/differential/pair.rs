//! A kernel and a fake that take the same steps.

use std::fmt;

use xennet_cli::sandbox::namespace::NetNs;
use xennet_core::backend::Backend;
use xennet_core::backend::fake::Fake;
use xennet_core::backend::netlink::Netlink;
use xennet_core::snapshot::{Change, Part, Scope, Snapshot, SysctlKey};
use xennet_core::step::{LinkChange, LinkStep, NewLink, Step, SysctlStep};
use xennet_core::{Errno, IfName, MacAddr};

/// What the two did not agree on.
pub(crate) enum Difference {
    /// The answers.
    Answer { kernel: Result<(), Errno>, fake: Result<(), Errno> },
    /// The state afterwards: what the fake's would have to become.
    State(Vec<Change>),
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = |r: &Result<(), Errno>| r.map_or_else(|e| e.to_string(), |()| "success".into());
        match self {
            Difference::Answer { kernel, fake } => {
                write!(f, "the kernel answers {}, the fake {}", text(kernel), text(fake))
            }
            Difference::State(changes) => {
                f.write_str("the fake's world would have to change:")?;
                changes.iter().try_for_each(|c| write!(f, "\n  {c}"))
            }
        }
    }
}

/// The two, in step.
pub(crate) struct Pair {
    kernel: Netlink,
    fake: Fake,
}

impl Pair {
    /// Runs `with` on a pair in a network namespace of its own.
    ///
    /// What the kernel does by itself later is switched off there: IPv6 makes no addresses (`addr_gen_mode`), asks no router
    /// (`accept_ra`) and does not test addresses (`accept_dad`; the walks add theirs with `nodad` besides); and a carrier that
    /// comes and goes a moment after its link does not take proxy neighbours along (`*_evict_nocarrier`).
    pub(crate) fn run<T: Send>(with: impl FnOnce(&mut Pair) -> T + Send) -> T {
        let namespace = NetNs::new().expect("a network namespace");
        namespace
            .run(|| {
                let mut pair = Pair { kernel: Netlink::open().expect("a netlink socket"), fake: Fake::empty() };
                pair.prepare();
                with(&mut pair)
            })
            .expect("the namespace can be entered")
    }

    fn prepare(&mut self) {
        for (key, value) in [
            ("net/ipv6/conf/default/addr_gen_mode", "1"),
            ("net/ipv6/conf/default/accept_ra", "0"),
            ("net/ipv6/conf/default/accept_dad", "0"),
            ("net/ipv4/ip_forward", "0"),
            ("net/ipv4/conf/all/arp_evict_nocarrier", "0"),
            ("net/ipv6/conf/all/ndisc_evict_nocarrier", "0"),
            ("net/ipv6/conf/default/ndisc_evict_nocarrier", "0"),
        ] {
            let step = Step::Sysctl(SysctlStep { key: key.parse().expect("a path"), value: value.into() });
            self.kernel.apply(&step).expect("a setting that every kernel has");
            self.fake.apply(&step).expect("a setting that the fake has");
        }
        // Whether this kernel's bridges know VLANs is a matter of how it was built.
        let probe = IfName::try_from("probe").expect("a name");
        let make = Step::Link(LinkStep::Create { name: probe, kind: NewLink::Bridge, change: LinkChange::default() });
        self.kernel.apply(&make).expect("a bridge");
        let seen = self.kernel.observe(&Scope::none().with(Part::Link(probe))).expect("an observation");
        let knows = seen.links[&probe].bridge.as_ref().is_some_and(|b| b.vlan_filtering.is_some());
        self.fake.world_mut().hidden.bridges_without_vlans = !knows;
        // Whether a link that is up can be renamed is a matter of the kernel's age.
        let link = xennet_core::step::LinkRef::named(probe);
        let up = LinkChange::default().with_up(true);
        self.kernel.apply(&Step::Link(LinkStep::Set { link, change: up })).expect("the bridge goes up");
        let again = IfName::try_from("probe2").expect("a name");
        let change = LinkChange::default().with_name(again);
        let renamed = self.kernel.apply(&Step::Link(LinkStep::Set { link, change }));
        self.fake.world_mut().hidden.names_held_while_up = renamed.is_err();
        let link = xennet_core::step::LinkRef::named(if renamed.is_ok() { again } else { probe });
        self.kernel.apply(&Step::Link(LinkStep::Delete { link })).expect("the bridge goes");
    }

    /// The fake's world: what the next step can be chosen from.
    pub(crate) fn world(&self) -> &Snapshot {
        self.fake.world()
    }

    /// Takes a step on both and compares.
    pub(crate) fn step(&mut self, step: &Step) -> Result<(), Difference> {
        let kernel = self.kernel.apply(step).map_err(|e| e.errno);
        let fake = self.fake.apply(step).map_err(|e| e.errno);
        if kernel != fake {
            return Err(Difference::Answer { kernel, fake });
        }
        if let Step::Link(LinkStep::Create { name, kind, change }) = step
            && kernel.is_ok()
        {
            self.agree_on_addresses(*name, kind, change);
        }
        let scope = self.scope(step);
        let real = self.kernel.observe(&scope).expect("the kernel can be observed");
        let modelled = self.fake.observe(&scope).expect("the fake can be observed");
        let changes = modelled.changes(&real);
        if changes.is_empty() { Ok(()) } else { Err(Difference::State(changes)) }
    }

    /// The kernel draws the addresses of new links at random; the fake takes them over.
    fn agree_on_addresses(&mut self, name: IfName, kind: &NewLink, change: &LinkChange) {
        let mut drawn = Vec::new();
        if change.mac.is_none() {
            drawn.push(name);
        }
        if let NewLink::Veth { peer } = kind {
            drawn.push(*peer);
        }
        for name in drawn {
            let seen = self.kernel.observe(&Scope::none().with(Part::Link(name))).expect("an observation");
            let mac: Option<MacAddr> = seen.links.get(&name).and_then(|l| l.mac);
            let world = self.fake.world_mut();
            if let Some((link, mac)) = world.links.get_mut(&name).zip(mac) {
                link.mac = Some(mac);
            }
            let own = world.fdb.iter().find(|e| e.link == name).cloned();
            if let Some((own, mac)) = own.zip(mac) {
                world.fdb.remove(&own);
                world.fdb.insert(own.with_mac(mac));
            }
        }
    }

    /// The network, and the settings where a step can have touched them.
    fn scope(&self, step: &Step) -> Scope {
        let mut scope = Scope::network();
        let touches = match step {
            Step::Sysctl(_) | Step::Link(LinkStep::Create { .. } | LinkStep::Delete { .. }) => true,
            Step::Link(LinkStep::Set { change, .. }) => {
                change.name.is_some() || change.mtu.is_some() || change.addr_gen_mode.is_some()
            }
            _ => false,
        };
        if !touches {
            return scope;
        }
        let links = self.world().links.keys().map(ToString::to_string);
        for link in links.chain(["all".into(), "default".into(), "gone".into()]) {
            for name in ["ipv4/conf/{}/forwarding", "ipv4/conf/{}/proxy_arp", "ipv4/conf/{}/promote_secondaries"]
                .into_iter()
                .chain(["ipv4/conf/{}/accept_redirects", "ipv6/conf/{}/forwarding", "ipv6/conf/{}/disable_ipv6"])
                .chain(["ipv6/conf/{}/addr_gen_mode", "ipv6/conf/{}/keep_addr_on_down"])
            {
                let key: SysctlKey = format!("net/{}", name.replace("{}", &link)).parse().expect("a path");
                scope.insert(Part::Sysctl(key));
            }
        }
        scope.insert(Part::Sysctl("net/ipv4/ip_forward".parse().expect("a path")));
        scope
    }
}
