//! Worlds of several networks, with guests on them, in which everything happens in random order: networks are started, changed and
//! stopped, guests come and go, somebody flushes or damages what he finds, dnsmasq dies, our own process is killed.
//!
//! After each step every guest has what its network promises, or `status` and `show` say what is missing: nothing is "started" and
//! dead. At the end of a world `recover` has put everything back that was lost, and stopping leaves the host as it was.
//!
//! `XENNET_WORLDS_SEED` names the first world (a failure prints its own), `XENNET_WORLDS_STEPS` how many steps are taken in all.

#![allow(clippy::unwrap_used, reason = "all of this is tests")]

mod deeds;
mod memory;
mod plan;
mod real;

use std::fmt;

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

    pub(crate) fn pick<'a, T>(&mut self, of: &'a [T]) -> &'a T {
        &of[self.below(of.len())]
    }

    pub(crate) fn one_in(&mut self, n: usize) -> bool {
        self.below(n) == 0
    }
}

/// What happened, for the line at the end.
#[derive(Default)]
pub(crate) struct Counts {
    pub(crate) worlds: usize,
    pub(crate) steps: usize,
    pub(crate) starts: usize,
    pub(crate) stops: usize,
    pub(crate) refused: usize,
    pub(crate) flushes: usize,
    pub(crate) damages: usize,
    pub(crate) deaths: usize,
    pub(crate) kills: usize,
    pub(crate) restored: usize,
    pub(crate) reached: usize,
    pub(crate) hidden: usize,
    pub(crate) forged: usize,
    pub(crate) told: usize,
}

impl fmt::Display for Counts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} worlds, {} steps: {} starts, {} stops, {} refused, {} flushes, {} damages, {} deaths of dnsmasq, {} kills, \
             {} restored; {} connections answered as promised, {} from outside dropped, {} forged datagrams dropped; \
             {} guests whose lack was told",
            self.worlds,
            self.steps,
            self.starts,
            self.stops,
            self.refused,
            self.flushes,
            self.damages,
            self.deaths,
            self.kills,
            self.restored,
            self.reached,
            self.hidden,
            self.forged,
            self.told
        )
    }
}

fn number(variable: &str, or: u64) -> u64 {
    std::env::var(variable).ok().map_or(or, |text| text.parse().unwrap())
}

/// Worlds until so many steps are taken; `world` takes the seed and how many steps it may take.
pub(crate) fn worlds(what: &str, steps: u64, mut world: impl FnMut(u64, usize, &mut Counts)) {
    let steps = usize::try_from(number("XENNET_WORLDS_STEPS", steps)).unwrap();
    let first = number("XENNET_WORLDS_SEED", 1);
    let mut counts = Counts::default();
    let mut seed = first;
    while counts.steps < steps {
        println!("{what}: XENNET_WORLDS_SEED={seed}");
        world(seed, (steps - counts.steps).min(30), &mut counts);
        counts.worlds += 1;
        seed += 1;
    }
    println!("{what}, seeds {first} to {}: {counts}", seed - 1);
}
