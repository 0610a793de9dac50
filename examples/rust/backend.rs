//! A backend of one's own: it hands everything on to another one, and keeps an account of each step, for an auditor.
//!
//! `backend` attaches a vif in memory and prints the account; `backend certify` runs the suite that every backend has to pass.

use std::process::ExitCode;
use std::sync::{Arc, Mutex, PoisonError};

use xennet_core::backend::{Backend, BackendError, Capabilities};
use xennet_core::snapshot::{Scope, Snapshot};
use xennet_core::step::Step;
use xennet_core::testing::{Fake, cases, conformance};
use xennet_core::{DomId, Host, Result};

/// What was done, and how it ended; a line a step.
type Account = Arc<Mutex<Vec<String>>>;

struct Audited<B> {
    inner: B,
    account: Account,
}

impl<B: Backend> Backend for Audited<B> {
    fn capabilities(&self) -> Capabilities {
        self.inner.capabilities()
    }

    fn observe(&mut self, scope: &Scope) -> std::result::Result<Snapshot, BackendError> {
        self.inner.observe(scope)
    }

    fn apply(&mut self, step: &Step) -> std::result::Result<(), BackendError> {
        let done = self.inner.apply(step);
        let end = done.as_ref().map_or_else(ToString::to_string, |()| "done".to_owned());
        self.account.lock().unwrap_or_else(PoisonError::into_inner).push(format!("{step}: {end}"));
        done
    }

    // What a host's MACs are made of.
    fn machine_id(&self) -> std::result::Result<Vec<u8>, BackendError> {
        self.inner.machine_id()
    }
}

fn main() -> ExitCode {
    if std::env::args().nth(1).is_some_and(|word| word == "certify") {
        // Of the kernel: `Netlink::open()`, in a network namespace that was made for it.
        return match conformance(&mut Audited { inner: Fake::empty(), account: Account::default() }) {
            Ok(passed) => {
                println!("certified: {passed} of {} cases pass", cases().len());
                ExitCode::SUCCESS
            }
            Err(e) => {
                eprintln!("{e}");
                ExitCode::FAILURE
            }
        };
    }
    match life_of_a_vif() {
        Ok(()) => ExitCode::SUCCESS,
        Err(e) => {
            eprintln!("{}", e.report());
            ExitCode::from(e.kind().number())
        }
    }
}

fn life_of_a_vif() -> Result<()> {
    let account = Account::default();
    let backend = Audited { inner: Fake::example(), account: Arc::clone(&account) };
    let mut host = Host::with_backend(Box::new(backend));
    host.attach(DomId::new(5)?, &"mac=00:16:3e:01:02:03,bridge=xenbr0".parse()?)?;
    for line in account.lock().unwrap_or_else(PoisonError::into_inner).iter() {
        println!("{line}");
    }
    Ok(())
}
