//! What `trace` says is what arrives: random hosts in network namespaces, random questions, and the very packets.
//!
//! For each world the real kernel is recorded, each question is put to the recording, and its packet is sent from where it would come.
//! What arrives, from which source address, and whether the answer comes back has to be what `trace` said.
//!
//! `XENNET_TRACE_SEED` (a number) runs one world again, `XENNET_TRACE_PAIRS` (a number) runs more of them.

#![allow(clippy::unwrap_used, reason = "all of this is tests")]

mod ask;
mod cases;
mod deeds;
mod fire;
mod firewalls;
mod stage;

use xennet_tests::chance::Chance;
use xennet_tests::in_netns;

/// How many pairs of a world and a packet a run compares.
const PAIRS: usize = 2000;

#[test]
fn what_trace_says_is_what_arrives() {
    in_netns("what_trace_says_is_what_arrives", || {
        let number = |name: &str| std::env::var(name).ok().and_then(|n| n.parse::<u64>().ok());
        let one = number("XENNET_TRACE_SEED");
        let wanted = number("XENNET_TRACE_PAIRS").map_or(PAIRS, |n| usize::try_from(n).unwrap());
        let (mut pairs, mut unknown, mut worlds, mut arrived, mut answered) = (0, 0, 0, 0, 0);
        let mut wrong = Vec::new();
        let begin = std::time::Instant::now();
        let mut seed = one.or(number("XENNET_TRACE_FIRST")).unwrap_or(1);
        while pairs < wanted && wrong.len() < 150 {
            let told = ask::world(&mut Chance::new(seed), seed);
            pairs += told.pairs;
            unknown += told.unknown;
            arrived += told.arrived;
            answered += told.answered;
            worlds += 1;
            wrong.extend(told.wrong);
            if one.is_some() {
                break;
            }
            seed += 1;
        }
        let took = begin.elapsed();
        println!(
            "{pairs} pairs in {worlds} worlds: {arrived} arrived, {answered} answered, {unknown} not judged; {took:?}"
        );
        assert!(wrong.is_empty(), "{} of {pairs} pairs differ:\n{}", wrong.len(), wrong.join("\n"));
    });
}
