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

use xennet_tests::in_netns;

/// Numbers that are no pattern, and the same for the same seed.
pub(crate) struct Dice(u64);

impl Dice {
    pub(crate) fn new(seed: u64) -> Self {
        Dice(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ 0x5555_5555)
    }

    pub(crate) fn below(&mut self, end: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from((self.0 >> 33) % u64::try_from(end).unwrap()).unwrap()
    }

    pub(crate) fn pick<T: Copy>(&mut self, of: &[T]) -> T {
        of[self.below(of.len())]
    }

    pub(crate) fn one_in(&mut self, n: usize) -> bool {
        self.below(n) == 0
    }
}

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

fn number(variable: &str, or: u64) -> u64 {
    std::env::var(variable).ok().map_or(or, |text| text.parse().unwrap())
}

/// How many guests come and go before all that is left is compared with the beginning.
const WORLD: usize = 50;

#[test]
fn the_next_guest_inherits_nothing() {
    if !learned::programs_are_here() {
        return;
    }
    let (cycles, first) = (number("XENNET_CYCLES", 300), number("XENNET_CYCLES_SEED", 1));
    let cycles = usize::try_from(cycles).unwrap();
    let (mut counts, mut seed, begun) = (Counts::default(), first, Instant::now());
    while counts.cycles < cycles {
        println!("XENNET_CYCLES_SEED={seed}");
        in_netns("the_next_guest_inherits_nothing", || {
            let mut dice = Dice::new(seed);
            let mut world = lives::World::new(seed);
            for _ in 0..WORLD.min(cycles - counts.cycles) {
                world.cycle(&mut dice, &mut counts);
                counts.cycles += 1;
            }
            world.end(&mut counts);
        });
        seed += 1;
    }
    println!("seeds {first} to {}, {:.0} s: {counts}", seed - 1, begun.elapsed().as_secs_f64());
}
