//! Guests come and go in random order, and the next one inherits nothing.
//!
//! A few domain numbers, names, MACs and addresses are used over and over, in bridge, NAT and routed mode. While a guest is there the kernel
//! learns of it: connections, neighbours, stations, groups. A guest ends by a call, without one, or in a call that is killed; its record may be
//! lost, its link renamed, its name taken by the next one.
//!
//! After each attach our tables allow what this guest may send and nothing else, and nothing that was learned of an earlier guest is left of
//! its addresses and its MAC. After each detach nothing of it is left. Every so often all go, and the host is as it was.
//!
//! `XENNET_CYCLES` says how many guests there are (10,000 take some minutes), `XENNET_CYCLES_SEED` which ones; a failure prints its own seed.

#![allow(clippy::unwrap_used, reason = "all of this is tests")]

mod learned;
mod lives;

use std::fmt;
use std::time::Instant;

use xennet_tests::chance::Chance;
use xennet_tests::{in_netns, setting};

/// What happened, for the line at the end.
#[derive(Default)]
pub(crate) struct Counts {
    pub(crate) cycles: usize,
    pub(crate) modes: [usize; 4],
    pub(crate) detached: usize,
    pub(crate) silent: usize,
    pub(crate) killed: usize,
    pub(crate) renamed: usize,
    pub(crate) lost: usize,
    pub(crate) recovered: usize,
    pub(crate) learned: usize,
    pub(crate) inherited: usize,
}

impl fmt::Display for Counts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [bridge, private, nat, routed] = self.modes;
        write!(
            f,
            "{} cycles ({bridge} on a bridge, {private} on the bridge of a NAT network, {nat} behind NAT, {routed} routed): {} detached, {} ended \
             without a call, {} calls killed, {} renamed while attached, {} records lost, {} recoveries; {} entries learned; {} addresses had an \
             earlier guest that nobody had detached; 0 leftovers, 0 inherited",
            self.cycles,
            self.detached,
            self.silent,
            self.killed,
            self.renamed,
            self.lost,
            self.recovered,
            self.learned,
            self.inherited,
        )
    }
}

/// How many guests come and go before all that is left is compared with the beginning.
const WORLD: usize = 50;

#[test]
fn the_next_guest_inherits_nothing() {
    if !learned::programs_are_here() {
        return;
    }
    let (cycles, first) = (setting("XENNET_CYCLES", 300), setting("XENNET_CYCLES_SEED", 1_u64));
    let (mut counts, mut seed, begun) = (Counts::default(), first, Instant::now());
    while counts.cycles < cycles {
        println!("XENNET_CYCLES_SEED={seed}");
        in_netns("the_next_guest_inherits_nothing", || {
            let mut chance = Chance::new(seed);
            let mut world = lives::World::new(seed);
            for _ in 0..WORLD.min(cycles - counts.cycles) {
                world.cycle(&mut chance, &mut counts);
                counts.cycles += 1;
            }
            world.end(&mut counts);
        });
        seed += 1;
    }
    println!("seeds {first} to {}, {:.0} s: {counts}", seed - 1, begun.elapsed().as_secs_f64());
}
