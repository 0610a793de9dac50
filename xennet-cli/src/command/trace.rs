//! `trace`: what happens to a packet.

use std::path::Path;

use xennet_core::Result;
use xennet_core::snapshot::Family;
use xennet_core::trace::{Question, Telling, Traffic, Verdict, trace};

use super::record;
use crate::cli::{Global, TraceArgs};
use crate::output::Output;

pub(super) fn run(global: &Global, args: &TraceArgs, output: &mut Output) -> Result<()> {
    let traffic = Traffic::parse(args.protocol.as_deref(), args.port.as_deref())?;
    let recording = match &args.recording {
        Some(file) => record::recorded(file, output)?,
        None => record::whole(global, Path::new(xennet_core::config::networks::PATH))?,
    };
    let family = match (args.ipv4, args.ipv6) {
        (true, _) => Some(Family::Ipv4),
        (_, true) => Some(Family::Ipv6),
        _ => None,
    };
    let question = Question::new(&recording, &args.from, &args.to, traffic, family)?;
    let answer = trace(&recording, &question);
    output.answers_with(match answer.verdict {
        Verdict::Delivered => 0,
        Verdict::Dropped => 1,
        Verdict::Unknown => 2,
    });
    let telling = match (args.minimal, args.full) {
        (true, _) => Telling::Minimal,
        (_, true) => Telling::Full,
        _ => Telling::Usual,
    };
    output.answer(|| answer.text(telling), || &answer)
}
