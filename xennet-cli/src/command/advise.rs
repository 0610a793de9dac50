//! `advise`: which mode fits, from options or from answers to questions.

use std::io::{BufRead as _, IsTerminal as _, Write as _};

use xennet_core::advise::{Question, Situation, advise};
use xennet_core::{Errno, Error, ErrorKind, Result};

use crate::cli::AdviseArgs;
use crate::output::Output;

pub(super) fn run(args: &AdviseArgs, output: &mut Output) -> Result<()> {
    let mut situation = Situation::default();
    let given = given(args);
    for (question, answer) in &given {
        situation.answer(*question, answer)?;
    }
    if given.is_empty() && std::io::stdin().is_terminal() {
        ask(&mut situation)?;
    }
    let advice = advise(&situation)?;
    output.answer(|| advice.text.clone(), || &advice)
}

/// What the options say.
fn given(args: &AdviseArgs) -> Vec<(Question, &str)> {
    let one = |question: Question| match question {
        Question::Lan => args.lan.as_deref(),
        Question::Addresses => args.addresses.as_deref(),
        Question::Reachable => args.reachable.as_deref(),
        Question::Route => args.route.as_deref(),
        Question::Macs => args.macs.as_deref(),
        Question::Dhcp => args.dhcp.as_deref(),
        Question::Uplink => args.uplink.as_deref(),
        Question::Dom0 => args.dom0.as_deref(),
        _ => None,
    };
    let single = Question::ALL.iter().filter_map(|question| one(*question).map(|answer| (*question, answer)));
    single.chain(args.subnet.iter().map(|subnet| (Question::Subnets, subnet.as_str()))).collect()
}

/// Asks for what matters, on standard error: standard output is for the answer.
fn ask(situation: &mut Situation) -> Result<()> {
    let mut asked = Vec::new();
    while let Some(question) = situation.question(&asked) {
        let answers = match question.answers() {
            [] => String::new(),
            answers => format!(" [{}]", answers.join("/")),
        };
        let mut line = String::new();
        // A terminal that cannot be written to is noticed when it is read from.
        let _ = write!(std::io::stderr(), "{}{answers} ", question.text());
        let read = std::io::stdin().lock().read_line(&mut line).map_err(|e| {
            Error::new(ErrorKind::Io, "standard input cannot be read")
                .with_object("standard input")
                .with_errno(Errno::from_io(&e))
        })?;
        if read == 0 {
            return Err(Error::new(ErrorKind::Invalid, format!("there is no answer to: {}", question.text()))
                .with_object(question.name())
                .with_hint(format!("answer it, or give it as an option: --{}", question.name())));
        }
        match situation.answer(question, line.trim()) {
            Ok(()) => asked.push(question),
            // Asked again.
            Err(e) => {
                let _ = writeln!(std::io::stderr(), "{}: {}", e.message(), e.hint().unwrap_or_default());
            }
        }
    }
    Ok(())
}
