//! Domains that come and go.

use super::{Caller, Tree};
use crate::error::Errno;

impl Tree {
    /// A domain is made known, as dom0 does after building it. Who watches `@introduceDomain` is told.
    ///
    /// # Errors
    /// `EACCES`: the caller is not dom0; `EINVAL`: dom0 needs no introduction.
    pub(crate) fn introduce(&mut self, at: Caller, domid: u16) -> Result<(), Errno> {
        self.only_dom0(at, domid)?;
        if self.domains.insert(domid) {
            self.fire_special("@introduceDomain");
        }
        Ok(())
    }

    /// A domain is gone. Who watches `@releaseDomain` is told.
    ///
    /// # Errors
    /// `EACCES`: the caller is not dom0; `EINVAL`: dom0 cannot be released; `ENOENT`: it is not known.
    pub fn release(&mut self, at: Caller, domid: u16) -> Result<(), Errno> {
        self.only_dom0(at, domid)?;
        if !self.domains.remove(&domid) {
            return Err(Errno::ENOENT);
        }
        self.targets.retain(|by, of| *by != domid && *of != domid);
        self.fire_special("@releaseDomain");
        Ok(())
    }

    /// Whether a domain is known.
    pub(crate) fn is_introduced(&self, domid: u16) -> bool {
        self.domains.contains(&domid)
    }

    /// One domain may from now on do what another may: a device model for its guest.
    ///
    /// # Errors
    /// `EACCES`: the caller is not dom0; `EINVAL`: dom0; `ENOENT`: one of the two is not known.
    pub(crate) fn set_target(&mut self, at: Caller, domid: u16, target: u16) -> Result<(), Errno> {
        self.only_dom0(at, domid)?;
        if !self.domains.contains(&domid) || !self.domains.contains(&target) {
            return Err(Errno::ENOENT);
        }
        self.targets.insert(domid, target);
        Ok(())
    }

    /// A domain that was suspended goes on.
    ///
    /// # Errors
    /// `EACCES`: the caller is not dom0; `EINVAL`: dom0; `ENOENT`: it is not known.
    pub(crate) fn resume(&mut self, at: Caller, domid: u16) -> Result<(), Errno> {
        self.only_dom0(at, domid)?;
        if self.domains.contains(&domid) { Ok(()) } else { Err(Errno::ENOENT) }
    }

    fn only_dom0(&self, at: Caller, domid: u16) -> Result<(), Errno> {
        match (self.privileged(at), domid) {
            (false, _) => Err(Errno::EACCES),
            (true, 0) => Err(Errno::EINVAL),
            (true, _) => Ok(()),
        }
    }
}
