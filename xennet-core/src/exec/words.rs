//! What a failed operation says to people: which kind of error a refusal is, and what can be done about it.

use super::{ApplyError, Recovery};
use crate::backend::BackendError;
use crate::error::{Errno, Error, ErrorKind};
use crate::snapshot::SysctlKey;
use crate::step::Step;

/// What a refusal means to the caller.
fn kind_of(cause: &BackendError) -> ErrorKind {
    match cause.errno {
        Errno::EPERM | Errno::EACCES => ErrorKind::Denied,
        Errno::EROFS => ErrorKind::ReadOnly,
        Errno::ENODEV => ErrorKind::LinkNotFound,
        _ if cause.too_old || lacks_nftables(cause) => ErrorKind::Unsupported,
        // The settings of a link go with it.
        Errno::ENOENT if link_of_setting(cause).is_some() => ErrorKind::LinkNotFound,
        _ => ErrorKind::Kernel,
    }
}

/// The error of a single step outside of any plan: what was tried, and the kernel's refusal.
pub(crate) fn refused(cause: &BackendError, what: &str, step: &Step) -> Error {
    let recovery = Recovery::Incomplete { left: Vec::new(), errors: Vec::new() };
    let cause = Box::new(cause.clone());
    ApplyError::Failed { step: 0, of: 1, what: step.to_string(), cause, recovery }.into_error(what)
}

/// Whether the kernel has no nftables for bridges.
fn lacks_nftables(cause: &BackendError) -> bool {
    let words = [Errno::EOPNOTSUPP, Errno::EAFNOSUPPORT, Errno::EPROTONOSUPPORT];
    cause.object.starts_with("nft ") && words.contains(&cause.errno)
}

/// The link whose setting was refused.
fn link_of_setting(cause: &BackendError) -> Option<String> {
    let key: SysctlKey = cause.object.parse().ok()?;
    key.as_conf().map(|(_, link, _)| link.to_owned()).filter(|link| link != "all" && link != "default")
}

fn hint_for(kind: ErrorKind, cause: &BackendError) -> Option<String> {
    match (kind, cause.errno) {
        (ErrorKind::Denied, _) => {
            Some("run it as root, or with the capability CAP_NET_ADMIN in this network namespace".into())
        }
        (ErrorKind::ReadOnly, _) => Some(
            "/proc/sys is mounted read-only here (a container?): remount it writable, or run xennet on the host".into(),
        ),
        (ErrorKind::LinkNotFound, _) => {
            let link = link_of_setting(cause).unwrap_or_else(|| cause.object.clone());
            Some(format!("{link} went away meanwhile; is the domain still running?"))
        }
        (ErrorKind::Unsupported, _) if cause.too_old => Some(
            "boot a newer kernel; README.md, \"Which kernel\", says what needs which version, and what does without".into(),
        ),
        (ErrorKind::Unsupported, _) => Some(
            "what guests send is filtered by nftables: the kernel needs nf_tables with CONFIG_NF_TABLES_BRIDGE; without ip= \
             nothing is filtered"
                .into(),
        ),
        (_, Errno::EXFULL) => Some("a bridge of the Linux kernel holds 1023 ports: use a second bridge".into()),
        _ => None,
    }
}

impl BackendError {
    /// The error of looking at the system.
    pub(crate) fn into_observe_error(self) -> Error {
        let kind = match kind_of(&self) {
            ErrorKind::Kernel => ErrorKind::Io,
            kind => kind,
        };
        let mut e = Error::new(kind, format!("{}: the kernel's state cannot be read", self.object))
            .with_object(self.object.clone())
            .with_errno(self.errno)
            .unchanged();
        if let Some(hint) = hint_for(kind, &self) {
            e = e.with_hint(hint);
        }
        match self.message {
            Some(m) => e.with_kernel_message(m),
            None => e,
        }
    }
}

impl ApplyError {
    /// The error in the words of the whole library: `what` says what was tried, for example
    /// `"cannot attach vif5.0 to bridge xenbr0"`.
    pub fn into_error(self, what: &str) -> Error {
        match self {
            ApplyError::Stale(changes) => {
                let list: Vec<String> = changes.iter().map(ToString::to_string).collect();
                Error::new(
                    ErrorKind::Stale,
                    format!("{what}: the system has changed since the plan was made: {}", list.join(", ")),
                )
                .unchanged()
                .with_hint("make a new plan")
            }
            ApplyError::Unsupported { step, what: words } => {
                Error::new(ErrorKind::Unsupported, format!("{what}: this system cannot do step {}: {words}", step + 1))
                    .unchanged()
                    .with_hint("filtering needs the kernel's nftables and the right to use them (CAP_NET_ADMIN)")
            }
            ApplyError::Journal(e) => e,
            ApplyError::Observe(cause) => cause.into_observe_error(),
            ApplyError::Failed { step, of, what: words, cause, recovery } => {
                let kind = kind_of(&cause);
                let mut e = Error::new(kind, what.to_owned())
                    .with_object(cause.object.clone())
                    .with_step(format!("step {} of {of}: {words}", step + 1))
                    .with_errno(cause.errno)
                    .with_outcome(recovery.outcome(), recovery.to_string());
                if let Some(hint) = hint_for(kind, &cause) {
                    e = e.with_hint(hint);
                }
                match cause.message {
                    Some(m) => e.with_kernel_message(m),
                    None => e,
                }
            }
            // The system has become one on which the wish cannot be fulfilled.
            ApplyError::NotVerified { cause: Some(cause), recovery, .. } => {
                let mut e = Error::new(cause.kind(), format!("{what}: {}", cause.message()))
                    .with_outcome(recovery.outcome(), recovery.to_string());
                if let Some(object) = cause.object() {
                    e = e.with_object(object);
                }
                match cause.hint() {
                    Some(hint) => e.with_hint(hint),
                    None => e,
                }
            }
            ApplyError::NotVerified { missing, recovery, .. } => Error::new(
                ErrorKind::NotVerified,
                format!("{what}: every step was accepted, but what was read back still needs: {}", missing.join("; ")),
            )
            .with_outcome(recovery.outcome(), recovery.to_string())
            .with_hint("somebody else changes the same link (NetworkManager, systemd-networkd?): keep them off vifs"),
        }
    }
}
