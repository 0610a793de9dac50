//! What is told to `tracing`: each operation with its outcome, each step, and what fails.

#![allow(clippy::unwrap_used, reason = "all of this is tests")]

use std::fmt::{self, Write as _};
use std::sync::{Arc, Mutex};

use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Metadata, Subscriber};
use xennet_core::backend::fake::{Fake, Fault};
use xennet_core::{DomId, Errno, Host};

/// Every event in a line: level, message, fields.
#[derive(Clone, Default)]
struct Lines(Arc<Mutex<Vec<String>>>);

struct Line(String);

impl Visit for Line {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        match field.name() {
            "message" => write!(self.0, "{value:?};"),
            name => write!(self.0, " {name}={value:?}"),
        }
        .unwrap();
    }
}

impl Subscriber for Lines {
    fn enabled(&self, _: &Metadata<'_>) -> bool {
        true
    }

    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }

    fn record(&self, _: &Id, _: &Record<'_>) {}
    fn record_follows_from(&self, _: &Id, _: &Id) {}

    fn event(&self, event: &Event<'_>) {
        let mut line = Line(format!("{} ", event.metadata().level()));
        event.record(&mut line);
        self.0.lock().unwrap().push(line.0);
    }

    fn enter(&self, _: &Id) {}
    fn exit(&self, _: &Id) {}
}

fn told(fake: Fake) -> Vec<String> {
    let lines = Lines::default();
    tracing::subscriber::with_default(lines.clone(), || {
        let mut host = Host::with_backend(Box::new(fake));
        let _ = host.attach(DomId::new(5).unwrap(), &"bridge=xenbr0".parse().unwrap());
    });
    std::mem::take(&mut lines.0.lock().unwrap())
}

#[test]
fn an_operation_is_told_with_its_steps() {
    let lines = told(Fake::example());
    let steps: Vec<&String> = lines.iter().filter(|line| line.starts_with("DEBUG a step is done; ")).collect();
    assert_eq!(steps.len(), 2, "{lines:?}");
    assert!(steps[0].contains("step=vif5.0: ") && steps[0].ends_with(" number=1 of=2"), "{lines:?}");
    assert!(lines.contains(&"DEBUG the wanted state is read back; steps=2".to_owned()), "{lines:?}");
    assert_eq!(lines.last().unwrap(), "INFO done; subject=vif5.0 steps=2");
}

#[test]
fn what_fails_is_a_warning_with_the_state() {
    let lines = told(Fake::example().with_faults([Fault::FailAt { step: 1, errno: Errno::ENOMEM }]));
    let warnings: Vec<&String> = lines.iter().filter(|line| line.starts_with("WARN ")).collect();
    let [refused, back, failed] = warnings[..] else { panic!("{lines:?}") };
    assert!(refused.starts_with("WARN a step is refused; ") && refused.contains("ENOMEM"), "{refused}");
    assert_eq!(back, "WARN undo ended; state=restored, 1 step undone");
    assert!(
        failed.starts_with("WARN failed; subject=vif5.0 kind=\"kernel\" state=\"restored, 1 step undone\""),
        "{failed}"
    );
}
