//! From any wanted state to any other: random walks of what an administrator may ask for, checked against a model of what
//! was asked, on the fake, and on the kernel and the fake side by side.

use std::collections::BTreeMap;

use xennet_core::backend::Backend;
use xennet_core::backend::netlink::Netlink;
use xennet_core::exec::{Applied, Subject};
use xennet_core::plan::ShownPlan;
use xennet_core::snapshot::{NftKey, NftTableId, Snapshot};
use xennet_core::step::{Step, SysctlStep};
use xennet_core::{BridgeSpec, Error, ErrorKind, Host, IfName, Mtu, VifId, VifSpec, exec};
use xennet_tests::{NetNs, Shared, StateDir, in_netns};

use super::{FIRST, build, domid, fake, look, name, on_kernel};

/// xorshift64*: the same numbers from the same seed, everywhere.
struct Random(u64);

impl Random {
    fn below(&mut self, n: u64) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33) % n
    }

    fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        from[usize::try_from(self.below(from.len() as u64)).unwrap()]
    }
}

#[derive(Clone, Debug)]
enum Op {
    Attach(u32, String),
    Detach(u32),
    Undo(Subject),
    Bridge(BridgeSpec),
    Recover,
}

fn draw(r: &mut Random) -> Op {
    let vif = u32::try_from(r.below(4)).unwrap() + 1;
    match r.below(20) {
        0..11 => {
            let bridge = r.pick(&["xenbr0", "xenbr0", "xenbr1", "xenbr2", "guest1", "nowhere0"]);
            let mut text = format!("bridge={bridge}");
            match r.below(8) {
                // Another one's name among them.
                0..4 => {}
                n => text.push_str(&format!(
                    ",vifname={}",
                    ["web0", "db0", "vif2.0", "lan0"][usize::try_from(n - 4).unwrap()]
                )),
            }
            match r.below(6) {
                0..3 => {}
                n => text.push_str(&format!(",mtu={}", [1400, 1300, 1000][usize::try_from(n - 3).unwrap()])),
            }
            if r.below(4) == 0 {
                text.push_str(",isolated");
            }
            match r.below(6) {
                0..3 => {}
                n => {
                    let ip = ["10.0.0.2", "10.0.0.0/24 10.0.0.2 10.9.0.1", "10.0.0.0/25 2001:db8::5"];
                    text.push_str(&format!(",mac=00:16:3e:00:00:0{vif},ip={}", ip[usize::try_from(n - 3).unwrap()]));
                }
            }
            Op::Attach(vif, text)
        }
        11..15 => Op::Detach(vif),
        15..18 => Op::Undo(match r.below(6) {
            0 => Subject::Bridge(name(r.pick(&["xenbr0", "xenbr1", "xenbr2"]))),
            _ => Subject::Vif(VifId::new(domid(vif), FIRST)),
        }),
        18 => {
            let spec = BridgeSpec::new(name(r.pick(&["xenbr0", "xenbr1", "xenbr2"])));
            let delay = std::time::Duration::from_secs(r.below(2) * 2);
            let mtu = r.pick(&[None, Mtu::try_from(1500_u32).ok(), Mtu::try_from(1400_u32).ok()]);
            Op::Bridge(spec.with_mtu(mtu).with_forward_delay(delay).unwrap())
        }
        _ => Op::Recover,
    }
}

/// What came of an operation: the number of steps, or the kind of error.
type Outcome = Result<usize, ErrorKind>;

/// An operation as it would be carried out after somebody has looked at its plan, which was kept as a document meanwhile.
fn by_plan(host: &mut Host, op: &Op) -> Result<Applied, Error> {
    let plan = match op {
        Op::Attach(vif, text) => host.plan_attach(domid(*vif), &text.parse().unwrap()),
        Op::Detach(vif) => host.plan_detach(domid(*vif), FIRST),
        Op::Undo(subject) => host.plan_undo(*subject),
        Op::Bridge(spec) => host.plan_bridge(spec),
        Op::Recover => panic!("it has a plan for each"),
    }?;
    xennet_tests::documents::check_text("plan", &plan.to_json());
    let shown = ShownPlan::from_json(&plan.to_json()).unwrap();
    assert_eq!(shown, ShownPlan::try_from(&plan).unwrap());
    let applied = host.apply_shown(&shown)?;
    assert_eq!(applied.steps, plan.steps().len(), "what was shown is what was done\n{plan}");
    Ok(applied)
}

fn carry_out(host: &mut Host, op: &Op, planned: bool) -> Outcome {
    let done = match op {
        op if planned && !matches!(op, Op::Recover) => by_plan(host, op),
        Op::Attach(vif, text) => host.attach(domid(*vif), &text.parse().unwrap()),
        Op::Detach(vif) => host.detach(domid(*vif), FIRST),
        Op::Undo(subject) => host.undo(*subject),
        Op::Bridge(spec) => host.ensure_bridge(spec),
        Op::Recover => {
            let plans = host.plan_recover().unwrap();
            assert!(plans.is_empty(), "nothing is left open: {plans:#?}");
            assert_eq!(host.recover().unwrap(), [], "nothing is left open");
            return Ok(0);
        }
    };
    done.map(|applied| applied.steps).map_err(|e| {
        let told = e.report();
        assert!(
            e.state().is_none_or(|s| s.starts_with("unchanged")),
            "refused before anything was done: {op:?}: {told}"
        );
        let unforeseen = [ErrorKind::Internal, ErrorKind::Kernel, ErrorKind::Stale];
        assert!(!unforeseen.contains(&e.kind()), "foreseen: {told}");
        e.kind()
    })
}

/// What is known of one vif: how it is, and how it was before the operations that can be undone.
#[derive(Clone, Debug, PartialEq)]
struct State {
    name: IfName,
    mtu: u32,
    up: bool,
    bridge: Option<IfName>,
    isolated: bool,
    /// What the guard lets it send from; `None`: anything.
    sources: Option<Vec<String>>,
}

/// The sources that the guard has of a link, beside the one that every guest has.
fn sources(now: &Snapshot, link: &str) -> Option<Vec<String>> {
    let table = now.nft.get(&NftTableId::guard())?;
    let of = |key: &NftKey| key.first.first().is_some_and(|n| n.to_string().trim_matches('"') == link);
    let keys = |set: &str| table.sets[set].elements.keys().filter(|k| of(k)).cloned().collect::<Vec<_>>();
    let member = !keys("declared").is_empty();
    assert_eq!(keys("macs").len(), usize::from(member), "{link}: a MAC for each");
    let mut all: Vec<String> = Vec::new();
    for set in ["host4", "host6", "net4", "net6"] {
        all.extend(keys(set).iter().map(|k| match &k.last {
            None => k.first[2].to_string(),
            Some(last) => format!("{}-{}", k.first[2], last[2]),
        }));
    }
    assert_eq!(all.iter().filter(|a| a.starts_with("fe80:")).count(), usize::from(member), "{link}: its own");
    all.retain(|a| !a.starts_with("fe80:"));
    member.then_some(all)
}

#[derive(Clone, Debug)]
struct Known {
    state: State,
    /// Before the last operation, and before the one before it.
    undo: Vec<State>,
    attached: bool,
}

struct Model(BTreeMap<u32, Known>);

impl Model {
    fn new() -> Self {
        let fresh = |n: u32| State {
            name: name(&format!("vif{n}.0")),
            mtu: 1500,
            up: false,
            bridge: None,
            isolated: false,
            sources: None,
        };
        Model((1..=4).map(|n| (n, Known { state: fresh(n), undo: Vec::new(), attached: false })).collect())
    }

    /// What the operation must lead to; `None`: no vif is concerned.
    fn expect(&mut self, op: &Op, outcome: &Outcome, before: &Snapshot) {
        match op {
            Op::Attach(vif, text) => {
                let spec: VifSpec = text.parse().unwrap();
                let bridge = spec.bridge().unwrap();
                let wanted = spec.vifname().unwrap_or(name(&format!("vif{vif}.0")));
                let taken = before.links.contains_key(&wanted) && self.0[vif].state.name != wanted;
                let allowed: &[ErrorKind] = match (bridge.as_str(), taken) {
                    (_, true) => &[ErrorKind::NameTaken],
                    ("nowhere0", false) => &[ErrorKind::BridgeNotFound],
                    ("guest1", false) => &[ErrorKind::NotABridge],
                    _ => &[],
                };
                match outcome {
                    Err(kind) => assert!(allowed.contains(kind), "{op:?}: {kind:?}"),
                    Ok(steps) => {
                        assert_eq!(allowed, [], "{op:?} must be refused");
                        let mtu = spec.mtu().map_or(before.links[&bridge].mtu, |m| m.get());
                        let state = State {
                            name: wanted,
                            mtu,
                            up: true,
                            bridge: Some(bridge),
                            isolated: spec.isolated(),
                            sources: declared(&spec),
                        };
                        let known = self.0.get_mut(vif).unwrap();
                        assert_eq!(*steps == 0, known.state == state, "{op:?}: steps only where something changes");
                        if *steps > 0 {
                            known.push();
                        }
                        known.state = state;
                        known.attached = true;
                    }
                }
            }
            Op::Detach(vif) => {
                assert!(outcome.is_ok(), "{op:?}: {outcome:?}");
                let known = self.0.get_mut(vif).unwrap();
                let state = State { up: false, bridge: None, isolated: false, sources: None, ..known.state.clone() };
                assert_eq!(*outcome == Ok(0), known.state == state);
                if known.state != state || known.attached {
                    known.push();
                }
                known.state = state;
                known.attached = false;
            }
            Op::Undo(Subject::Vif(id)) => {
                let known = self.0.get_mut(&u32::from(id.domid)).unwrap();
                match outcome {
                    Ok(_) => {
                        known.state = known
                            .undo
                            .pop()
                            .unwrap_or_else(|| panic!("{op:?}: there was nothing to undo: {outcome:?}"));
                        known.attached = known.state.bridge.is_some();
                    }
                    Err(ErrorKind::NothingToUndo) => assert!(known.undo.is_empty(), "{op:?}"),
                    // Its earlier name is another vif's now.
                    Err(ErrorKind::NameTaken) => {
                        assert!(before.links.contains_key(&known.undo.last().unwrap().name), "{op:?}");
                    }
                    Err(kind) => panic!("{op:?}: {kind:?}"),
                }
            }
            Op::Undo(_) => assert!(matches!(outcome, Ok(_) | Err(ErrorKind::NothingToUndo)), "{op:?}: {outcome:?}"),
            Op::Bridge(_) | Op::Recover => assert!(outcome.is_ok(), "{op:?}: {outcome:?}"),
        }
    }

    fn check(&self, now: &Snapshot) {
        for (n, known) in &self.0 {
            let link = now.links.get(&known.state.name).unwrap_or_else(|| panic!("{} is there", known.state.name));
            let is = State {
                name: known.state.name,
                mtu: link.mtu,
                up: link.up,
                bridge: link.master,
                isolated: link.port.as_ref().is_some_and(|p| p.isolated),
                sources: sources(now, known.state.name.as_str()),
            };
            assert_eq!(known.state, is, "vif{n}.0");
        }
    }
}

/// What a spec of this test's declares, as the guard has it.
fn declared(spec: &VifSpec) -> Option<Vec<String>> {
    let words: &[&str] = match spec.ip_text().as_str() {
        "" => return None,
        "10.0.0.2" => &["10.0.0.2"],
        "10.0.0.0/24 10.0.0.2 10.9.0.1" => &["10.9.0.1", "10.0.0.0-10.0.0.255"],
        "10.0.0.0/25 2001:db8::5" => &["2001:db8::5", "10.0.0.0-10.0.0.127"],
        other => panic!("{other}"),
    };
    Some(words.iter().map(|w| (*w).to_owned()).collect())
}

impl Known {
    fn push(&mut self) {
        self.undo.push(self.state.clone());
        // One operation and the one before it are kept.
        if self.undo.len() > 2 {
            self.undo.remove(0);
        }
    }
}

/// The foreign bridge with its port and addresses.
fn foreign(now: &Snapshot) -> String {
    let ours = |line: &str| ["lan0", "other0", "other1"].iter().any(|n| line.contains(n));
    now.render().lines().filter(|l| ours(l)).collect::<Vec<_>>().join("\n")
}

/// Without the entries that bridges make for the addresses of their own ports: all vifs have the same, and which port has
/// the entry depends on an order that nobody can see. And without the VLANs that bridges are in themselves, which the fake
/// does not give them and no operation touches.
fn comparable(mut now: Snapshot) -> Snapshot {
    now.fdb.clear();
    let links = &now.links;
    now.port_vlans.retain(|link, _| links.get(link).is_none_or(|l| l.bridge.is_none()));
    now
}

struct Side {
    host: Host,
    look: Box<dyn FnMut() -> Snapshot>,
}

/// A bridge on which IPv6 begins anew makes an address if it has a carrier. A carrier goes up to a second after its last reason
/// (`linkwatch_event`), so whether it is still there is a matter of how fast the machine is.
fn quiet(on: &mut dyn Backend) {
    let key = "net/ipv6/conf/default/addr_gen_mode".parse().unwrap();
    super::run(on, Step::Sysctl(SysctlStep { key, value: "1".into() }));
}

fn fake_side(shared: Shared, state: &StateDir) -> Side {
    let host = Host::with_backend(Box::new(shared.clone())).with_state_dir(exec::StateDir::at(state.path()));
    Side { host, look: Box::new(move || comparable(look(&mut shared.clone()))) }
}

/// Walks on all sides alike; how many operations changed something, were refused, changed nothing.
fn walk(seed: u64, ops: usize, mut sides: Vec<Side>) -> [usize; 3] {
    let mut r = Random(seed);
    let mut model = Model::new();
    let mut counts = [0; 3];
    let mut seen: Vec<Snapshot> = sides.iter_mut().map(|s| (s.look)()).collect();
    let untouched: Vec<String> = seen.iter().map(foreign).collect();
    assert_eq!(seen[0].changes(seen.last().unwrap()), [], "the sides start alike");
    for at in 0..ops {
        let op = draw(&mut r);
        let planned = r.below(2) == 0;
        let what = format!("seed {seed}, operation {at}: {op:?}{}", if planned { " by its plan" } else { "" });
        let outcomes: Vec<Outcome> = sides.iter_mut().map(|s| carry_out(&mut s.host, &op, planned)).collect();
        assert_eq!(outcomes.first(), outcomes.last(), "{what}: the same on every side");
        let outcome = &outcomes[0];
        model.expect(&op, outcome, &seen[0]);
        for (side, (before, untouched)) in sides.iter_mut().zip(seen.iter_mut().zip(&untouched)) {
            let now = (side.look)();
            model.check(&now);
            assert_eq!(foreign(&now), *untouched, "{what}: what is not ours is as it was");
            if !matches!(outcome, Ok(1..)) {
                assert_eq!(before.changes(&now), [], "{what}: nothing was to change");
            }
            *before = now;
            if let (Op::Attach(vif, text), Ok(_)) = (&op, outcome) {
                let again = side.host.plan_attach(domid(*vif), &text.parse().unwrap()).unwrap();
                assert!(again.is_empty(), "{what}: a second plan\n{again}");
            }
        }
        assert_eq!(seen[0].changes(seen.last().unwrap()), [], "{what}: the sides are alike");
        counts[match outcome {
            Ok(0) => 2,
            Ok(_) => 0,
            Err(_) => 1,
        }] += 1;
    }
    counts
}

#[test]
fn any_state_from_any_other_in_memory() {
    let mut total = [0; 3];
    for seed in 1..=10 {
        let state = StateDir::new();
        let counts = walk(seed, 300, vec![fake_side(Shared::new(fake(true)), &state)]);
        total.iter_mut().zip(counts).for_each(|(t, c)| *t += c);
    }
    println!(
        "in memory: {} operations changed something, {} were refused, {} had nothing to do",
        total[0], total[1], total[2]
    );
    assert!(total.iter().all(|t| *t > 200));
}

#[test]
fn any_state_from_any_other_on_the_kernel() {
    in_netns("walk::any_state_from_any_other_on_the_kernel", || {
        let mut total = [0; 3];
        for seed in 1..=4 {
            let walk = || {
                build(&mut Netlink::open().unwrap());
                quiet(&mut Netlink::open().unwrap());
                let knows_vlans = super::kernel().links["lan0"].bridge.as_ref().unwrap().vlan_filtering.is_some();
                let (one, two) = (StateDir::new(), StateDir::new());
                let kernel = Side { host: on_kernel(&two), look: Box::new(|| comparable(super::kernel())) };
                let mut shared = Shared::new(fake(knows_vlans));
                quiet(&mut shared);
                walk(seed, 100, vec![fake_side(shared, &one), kernel])
            };
            let counts = NetNs::new().unwrap().run(walk).unwrap();
            total.iter_mut().zip(counts).for_each(|(t, c)| *t += c);
        }
        let [changed, refused, nothing] = total;
        println!(
            "on the kernel: {changed} operations changed something, {refused} were refused, {nothing} had nothing to do"
        );
        assert!(total.iter().all(|t| *t > 40));
    });
}

/// IPv6 leaves a link with a small MTU, and comes back with what the system's default says, not with what the link had.
#[test]
fn ipv6_comes_back_as_it_was_before_a_small_mtu() {
    super::ownership::both("walk::ipv6_comes_back_as_it_was_before_a_small_mtu", |host, world| {
        world(&mut |on| quiet(on));
        let mode = |on: &mut dyn Backend| look(on).links[&name("vif1.0")].addr_gen_mode;
        let mut before = None;
        world(&mut |on| before = mode(on));
        host.attach(domid(1), &"bridge=xenbr0,mtu=1000".parse().unwrap()).unwrap();
        world(&mut |on| assert_eq!(mode(on), None));
        host.undo(Subject::Vif(VifId::new(domid(1), FIRST))).unwrap_or_else(|e| panic!("{}", e.report()));
        world(&mut |on| assert_eq!(mode(on), before));
    });
}
