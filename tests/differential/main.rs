//! The fake against the kernel: the same random steps on both, valid and invalid, and after each the same answer and the
//! same state.
//!
//! A difference is made small by leaving steps out, and printed as JSON; kept under `cases/` it is replayed for ever.
//! `XENNET_WALK_SEED` repeats one walk, `XENNET_WALK_STEPS` walks further than usual, `XENNET_WALK_KEEP` names a folder that
//! takes what was found as cases.

mod pair;
mod walk;

use serde::{Deserialize, Serialize};
use xennet_core::step::Step;

use pair::{Difference, Pair};
use walk::Dice;

/// Steps of one walk: short, so that the world stays readable and a namespace's making is paid for.
const WALK: usize = 80;

/// Steps of a usual run.
const STEPS: usize = 20_000;

/// A difference that was found once.
#[derive(Serialize, Deserialize)]
struct Case {
    /// What it was about.
    note: String,
    /// The steps from an empty namespace.
    steps: Vec<Step>,
}

/// Takes the steps; where and in what the two first differ.
fn replay(steps: &[Step]) -> Option<(usize, Difference)> {
    Pair::run(|pair| steps.iter().enumerate().find_map(|(at, s)| pair.step(s).err().map(|d| (at, d))))
}

/// Leaves out every step without which the two still differ.
fn shrink(mut steps: Vec<Step>) -> Vec<Step> {
    let mut size = (steps.len() / 2).max(1);
    loop {
        let mut at = 0;
        while at < steps.len() {
            let mut fewer = steps.clone();
            fewer.drain(at..(at + size).min(steps.len()));
            match replay(&fewer) {
                Some((end, _)) => {
                    fewer.truncate(end + 1);
                    steps = fewer;
                }
                None => at += size,
            }
        }
        if size == 1 {
            return steps;
        }
        size /= 2;
    }
}

/// One walk; the steps up to a difference.
fn walk(seed: u64) -> Result<usize, (Vec<Step>, Difference)> {
    Pair::run(|pair| {
        let mut dice = Dice::new(seed);
        let mut taken = Vec::new();
        for _ in 0..WALK {
            let step = walk::step(&mut dice, pair.world());
            taken.push(step.clone());
            if let Err(difference) = pair.step(&step) {
                return Err((taken, difference));
            }
        }
        Ok(taken.len())
    })
}

fn number(variable: &str) -> Option<u64> {
    std::env::var(variable).ok().map(|text| text.parse().unwrap_or_else(|_| panic!("{variable} is a number")))
}

#[test]
fn random_walks_end_in_the_same_place() {
    xennet_tests::in_netns("random_walks_end_in_the_same_place", || {
        let steps = number("XENNET_WALK_STEPS").map_or(STEPS, |n| n as usize);
        let seeds = match number("XENNET_WALK_SEED") {
            Some(seed) => seed..seed + 1,
            None => 1..1 + steps.div_ceil(WALK) as u64,
        };
        let (mut taken, mut walks, mut failed) = (0, 0, Vec::new());
        for seed in seeds {
            walks += 1;
            match walk(seed) {
                Ok(n) => taken += n,
                Err((steps, first)) => {
                    let small = shrink(steps);
                    let why = match replay(&small) {
                        Some((_, difference)) => difference.to_string(),
                        None => format!("not every time: {first}"),
                    };
                    let json = serde_json::to_string_pretty(&small).expect("steps are data");
                    if let Some(folder) = std::env::var_os("XENNET_WALK_KEEP") {
                        let case = Case { note: why.clone(), steps: small.clone() };
                        let text = serde_json::to_string_pretty(&case).expect("steps are data");
                        let file = std::path::Path::new(&folder).join(format!("seed-{seed}.json"));
                        std::fs::write(file, text).expect("the folder can be written");
                    }
                    failed.push(format!("seed {seed}: {why}\n{json}"));
                }
            }
            if failed.len() == 6 {
                break;
            }
        }
        println!("{taken} steps in {walks} walks");
        assert!(failed.is_empty(), "{}", failed.join("\n\n"));
    });
}

#[test]
fn every_difference_that_was_found_stays_mended() {
    xennet_tests::in_netns("every_difference_that_was_found_stays_mended", || {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/differential/cases");
        let mut files: Vec<_> = std::fs::read_dir(folder)
            .expect("the cases lie beside the test")
            .map(|f| f.expect("a readable folder").path())
            .collect();
        files.sort();
        for file in files {
            let text = std::fs::read_to_string(&file).expect("a readable case");
            let case: Case = serde_json::from_str(&text).unwrap_or_else(|e| panic!("{}: {e}", file.display()));
            if let Some((at, difference)) = replay(&case.steps) {
                panic!("{} ({}), step {at}: {difference}", file.display(), case.note);
            }
        }
    });
}
