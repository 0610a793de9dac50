//! The same worlds in memory: many more of them, and killed after any step.

use xennet_core::backend::Backend as _;
use xennet_core::backend::fake::{Fake, Fault, Netback};
use xennet_core::snapshot::{Address, NftData, NftExpr, NftTableId, NftValue, NftVerdict, Route, Scope};
use xennet_core::step::{AddrStep, RouteStep, Step};
use xennet_core::{DevId, Guests, Host, MacAddr, exec};
use xennet_tests::steps::{card, name, run, set, up};
use xennet_tests::{Shared, StateDir};

use super::plan::{KINDS, Who};
use super::{Counts, Dice, deeds, plan, worlds};

fn host_of(on: &Shared, state: &StateDir) -> Host {
    Host::with_backend(Box::new(on.clone())).with_state_dir(exec::StateDir::at(state.path()))
}

fn dom0() -> Fake {
    let mut fake = Fake::empty().with_netback(Netback::Plays);
    set(&mut fake, "lo", up());
    fake.add_hardware(name("eth0"), card(MacAddr::new([2, 0, 0, 0, 0x53, 1])));
    set(&mut fake, "eth0", up());
    run(&mut fake, Step::Addr(AddrStep::Add(Address::new(name("eth0"), "192.0.2.1/24".parse().unwrap()))));
    let gateway = Some("192.0.2.254".parse().unwrap());
    let way = Route::to("0.0.0.0/0".parse().unwrap(), name("eth0")).with_gateway(gateway);
    run(&mut fake, Step::Route(RouteStep::Add(way)));
    fake
}

/// All of the host's own.
fn all(on: &Shared) -> Vec<String> {
    let text = on.clone().observe(&Scope::network()).unwrap().normalised().render();
    let is_host =
        |l: &&str| !l.contains("vif") && !l.contains("web") && !l.contains("xennet") && !l.starts_with("bridge fdb");
    text.lines().filter(is_host).filter(|l| !l.contains(" fe80::")).map(str::to_owned).collect()
}

/// What a guest needs to be safe, by another list than ours: a table that is awake and drops, and the guest in it.
fn is_safe(on: &Shared, who: Who) -> Result<(), String> {
    let fake = on.fake();
    let world = fake.world();
    let (id, chain, set) = match (who.kind().name, who.kind().is_bridge()) {
        (_, true) => (NftTableId::guard(), "declared", "declared"),
        ("shared", _) => (NftTableId::guard(), "declared", "declared"),
        _ => (NftTableId::gate(), "from-guest", "links"),
    };
    let table = world.nft.get(&id).ok_or(format!("no table {id}"))?;
    if table.flags != 0 {
        return Err(format!("{id} is dormant"));
    }
    // What no rule lets pass is counted, and dropped.
    let ends = |chain: &str| table.chains[chain].rules.last().and_then(|rule| rule.exprs.last());
    let counted = NftExpr::Verdict(NftVerdict::Goto("violation".into()));
    if ends(chain) != Some(&counted) || ends("violation") != Some(&NftExpr::Verdict(NftVerdict::Drop)) {
        return Err(format!("{id} {chain} does not drop"));
    }
    let link = world.links.get(&name(&who.link())).ok_or(format!("no link {}", who.link()))?;
    let own = |set: &str| {
        let is_own = |k: &xennet_core::snapshot::NftKey| k.first.first() == Some(&NftValue::Name(name(&who.link())));
        table.sets.get(set).is_some_and(|s| s.elements.keys().any(is_own))
    };
    if !own(set) {
        return Err(format!("not in {id} {set}"));
    }
    if !link.up {
        return Err("down".into());
    }
    if who.kind().seen.is_some() {
        let gate = world.nft.get(&NftTableId::gate()).ok_or("no gate")?;
        let mut hidden =
            ["masq4", "masqnet4"].iter().filter_map(|set| gate.sets.get(*set)).flat_map(|s| s.elements.iter());
        let of_guest = |first: &NftValue, last: &NftValue| {
            let address: std::net::Ipv4Addr = who.address().into();
            matches!((first, last), (NftValue::Ipv4(a), NftValue::Ipv4(b)) if *a <= address && address <= *b)
        };
        let is_hidden = hidden.any(|(k, e)| {
            let last = k.last.as_ref().unwrap_or(&k.first);
            !matches!(e.data, Some(NftData::Verdict(_))) && of_guest(k.first.last().unwrap(), last.last().unwrap())
        });
        if !is_hidden {
            return Err("not hidden".into());
        }
    }
    Ok(())
}

fn check(on: &Shared, state: &StateDir, guests: &[Who], history: &[String], counts: &mut Counts) {
    let mut host = host_of(on, state);
    let shown = host.show().unwrap_or_else(|e| panic!("{}", e.report()));
    let started = host.started_networks().unwrap();
    for who in guests {
        let Some(vif) = shown.vifs.iter().find(|v| v.domid == who.domid()) else { continue };
        let Some(network) = started.iter().find(|s| s.network.name() == name(who.kind().name)) else { continue };
        let status = host.network_status(&network.network).unwrap();
        if !vif.missing.is_empty() || !status.missing.is_empty() {
            counts.told += 1;
            continue;
        }
        if let Err(e) = is_safe(on, *who) {
            panic!("started, and {e}: {who:?} {vif:?} {status:?}\n  {}", history.join("\n  "));
        }
        counts.reached += 1;
    }
}

#[test]
fn nothing_is_started_and_unsafe() {
    worlds("in memory", 600, |seed, steps, counts| {
        let mut dice = Dice::new(seed);
        let (kinds, guests) = plan::world(&mut dice);
        let (on, state) = (Shared::new(dom0()), StateDir::new());
        let before = all(&on);
        let mut history = vec![format!("seed {seed}: {:?}", kinds.iter().map(|k| KINDS[*k].name).collect::<Vec<_>>())];
        let recover = |on: &Shared, history: &[String], counts: &mut Counts| {
            let done = host_of(on, &state).recover();
            let done = done.unwrap_or_else(|e| panic!("{}\n  {}", e.report(), history.join("\n  ")));
            counts.restored += done.len();
            format!("recover: {done:?}")
        };
        for kind in kinds.iter().filter(|_| !dice.one_in(3)) {
            let network = KINDS[*kind].network(false);
            history.push(format!(
                "start {}: {:?}",
                network.name(),
                host_of(&on, &state).start_network(&network).is_ok()
            ));
        }
        for _ in 0..steps {
            counts.steps += 1;
            let (kind, who) = (*dice.pick(&kinds), *dice.pick(&guests));
            let network = KINDS[kind].network(dice.one_in(3));
            let killed = dice.one_in(6).then(|| dice.below(12));
            if let Some(step) = killed {
                on.change(|fake| fake.set_faults([Fault::CrashAfter { step }]));
            }
            let mut host = host_of(&on, &state);
            let others = host.started_networks().unwrap().len();
            let (what, done) = match dice.below(12) {
                0..=3 => (format!("start {}", network.name()), host.start_network(&network).map(|a| a.steps)),
                4 if !(KINDS[kind].is_bridge() && others > 1) => {
                    let guests = if dice.one_in(2) { Guests::AreCutOff } else { Guests::MustHaveGone };
                    (
                        format!("stop {} {guests:?}", network.name()),
                        host.stop_network(&network.name(), guests).map(|a| a.steps),
                    )
                }
                5..=8 => (format!("attach {who:?}"), host.attach(who.domid(), &who.vif()).map(|a| a.steps)),
                9 => (format!("detach {who:?}"), host.detach(who.domid(), DevId::FIRST).map(|a| a.steps)),
                _ => ("nothing".into(), Ok(0)),
            };
            on.change(|fake| fake.set_faults([]));
            counts.refused += usize::from(done.is_err());
            history.push(format!(
                "{what}{}: {:?}",
                killed.map(|s| format!(" (killed after step {s})")).unwrap_or_default(),
                done.as_ref().map_err(ToString::to_string)
            ));
            if killed.is_some() {
                counts.kills += 1;
                history.push(recover(&on, &history, counts));
            }
            match dice.below(8) {
                0 | 1 => {
                    counts.flushes += 1;
                    history.push(deeds::flush(&mut on.clone(), &mut dice));
                }
                2 => {
                    counts.damages += 1;
                    history.push(deeds::damage(&mut on.clone(), &mut dice, &who.link()));
                }
                3 => history.push(recover(&on, &history, counts)),
                _ => {}
            }
            check(&on, &state, &guests, &history, counts);
        }
        history.push(recover(&on, &history, counts));
        check(&on, &state, &guests, &history, counts);
        let mut host = host_of(&on, &state);
        for started in host.started_networks().unwrap() {
            let status = host.network_status(&started.network).unwrap();
            assert!(status.missing.is_empty(), "{status:?}\n  {}", history.join("\n  "));
        }
        for who in &guests {
            host.detach(who.domid(), DevId::FIRST)
                .unwrap_or_else(|e| panic!("{}\n  {}", e.report(), history.join("\n  ")));
        }
        let (bridges, others): (Vec<_>, Vec<_>) =
            host.started_networks().unwrap().into_iter().map(|s| s.network.name()).partition(|n| *n == "lan");
        for network in others.iter().chain(&bridges) {
            let done = host.stop_network(network, Guests::MustHaveGone);
            done.unwrap_or_else(|e| panic!("{}\n  {}", e.report(), history.join("\n  ")));
        }
        assert_eq!(all(&on), before, "seed {seed}\n  {}", history.join("\n  "));
    });
}
