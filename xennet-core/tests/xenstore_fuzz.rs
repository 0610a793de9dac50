//! xenstore against anything, bounded: the functions of the fuzz targets on generated input.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "helpers of tests are tests")]

use std::sync::atomic::{AtomicU32, Ordering};

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;
use proptest::test_runner::TestRunner;

#[path = "../fuzz/xenstore.rs"]
#[allow(unreachable_pub)] // public for the fuzz targets
mod xenstore;

fn runner(cases: u32) -> TestRunner {
    TestRunner::new(ProptestConfig { cases, failure_persistence: None, ..ProptestConfig::default() })
}

/// Pieces of bodies that come near to being right.
fn body() -> impl Strategy<Value = Vec<u8>> {
    let pieces = [
        "/",
        "a",
        "b",
        "\0",
        "\0",
        "\0",
        "OK\0",
        "n0\0",
        "r5\0",
        "T\0",
        "1\0",
        "ENOENT\0",
        "E2BIG\0",
        "@introduceDomain",
    ];
    prop_oneof![vec(select(pieces.to_vec()), 0..8).prop_map(|p| p.concat().into_bytes()), vec(any::<u8>(), 0..40),]
}

#[test]
fn no_answer_makes_the_client_panic_or_wait() {
    let count = AtomicU32::new(0);
    runner(1500)
        .run(&vec(any::<u8>(), 0..200), |bytes| {
            xenstore::answers(&bytes);
            count.fetch_add(1, Ordering::Relaxed);
            Ok(())
        })
        .unwrap();
    runner(3000)
        .run(&(any::<u8>(), vec((any::<u8>(), body()), 0..8)), |(choice, kinds)| {
            xenstore::framed_answers(choice, &kinds);
            count.fetch_add(1, Ordering::Relaxed);
            Ok(())
        })
        .unwrap();
    // Answers of the right kind, in the order in which they are expected.
    let right =
        select(vec![(0_u8, 2_u8), (1, 2), (2, 1), (2, 20), (3, 3), (4, 6), (4, 11), (5, 4), (6, 15), (7, 10), (8, 13)]);
    runner(3000)
        .run(&(right, vec(body(), 1..6)), |((choice, kind), bodies)| {
            let kinds: Vec<(u8, Vec<u8>)> = bodies.into_iter().map(|body| (kind, body)).collect();
            xenstore::framed_answers(choice, &kinds);
            count.fetch_add(1, Ordering::Relaxed);
            Ok(())
        })
        .unwrap();
    println!("{} streams of answers", count.into_inner());
}

#[test]
fn no_request_makes_the_server_panic_or_forget_an_answer() {
    let count = AtomicU32::new(0);
    runner(2000)
        .run(&vec(any::<u8>(), 0..300), |bytes| {
            xenstore::requests(&bytes);
            count.fetch_add(1, Ordering::Relaxed);
            Ok(())
        })
        .unwrap();
    runner(4000)
        .run(&(any::<u8>(), vec((any::<u8>(), any::<u8>(), body()), 0..16)), |(domid, messages)| {
            xenstore::framed_requests(domid, &messages);
            count.fetch_add(1, Ordering::Relaxed);
            Ok(())
        })
        .unwrap();
    println!("{} streams of requests", count.into_inner());
}

#[test]
fn the_tree_does_what_the_model_does() {
    let (well, failed, count) = (AtomicU32::new(0), AtomicU32::new(0), AtomicU32::new(0));
    runner(4000)
        .run(&vec(any::<u8>(), 0..240), |bytes| {
            let (w, f) = xenstore::walk(&bytes);
            well.fetch_add(w, Ordering::Relaxed);
            failed.fetch_add(f, Ordering::Relaxed);
            count.fetch_add(1, Ordering::Relaxed);
            Ok(())
        })
        .unwrap();
    let (well, failed) = (well.into_inner(), failed.into_inner());
    println!("{} walks; {well} transactions ended well, {failed} had a conflict", count.into_inner());
    assert!(well > 500 && failed > 500, "the walks meet: {well}, {failed}");
}
