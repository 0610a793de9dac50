//! A picture of this host.

use super::Host;
use crate::error::Error;
use crate::picture::Picture;
use crate::recording::Recording;

impl Host {
    /// The picture of a host as it was recorded, with what is not as it was made: of networks and of vifs. The picture of this host is in
    /// its [overview](Host::overview).
    ///
    /// # Errors
    /// As [`overview`](Host::overview).
    pub fn picture(recording: &Recording) -> Result<Picture, Error> {
        Ok(Host::overview_of(recording)?.picture)
    }
}
