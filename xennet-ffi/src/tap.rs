//! The emulated twins of vifs, and vifs of which nothing is written down.

#![allow(unsafe_code, reason = "#[unsafe(no_mangle)] alone; the test `rules` refuses anything else")]

use std::mem::MaybeUninit;

use xennet_core::{DevId, DomId, Error, TypeIf};

use crate::boundary::{fallible, given};
use crate::cast::Chars;
use crate::error::Failure;
use crate::host::Host;
use crate::settings::none_of;
use crate::text::Text;
use crate::vif;

/// Netback's link, `vif5.0`.
pub const XENNET_LINK_VIF: u32 = 0;
/// The emulated twin of an HVM guest, `vif5.0-emu`, made by the device model.
pub const XENNET_LINK_TAP: u32 = 1;

/// Attaches the emulated twin of a vif (`vif5.0-emu`) as `xennet_host_attach` does the vif.
///
/// \param host The host.
/// \param domid The domain's number, 0 to 32751.
/// \param vif As of `xennet_host_attach`.
/// \param vif_len Its length in bytes.
/// \param done Gets a JSON document, `{"steps": 3, "notes": []}`. May be NULL.
/// \return NULL on success; else an error as of `xennet_host_attach`, or `XENNET_KIND_INVALID` where the tap's name would be too long.
#[unsafe(no_mangle)]
pub extern "C" fn xennet_host_attach_tap(
    host: Option<&Host>,
    domid: u32,
    vif: Chars,
    vif_len: usize,
    done: Option<&mut MaybeUninit<Option<Box<Text>>>>,
) -> Option<Box<Failure>> {
    fallible("xennet_host_attach_tap", || {
        let host = given(host, "host")?;
        let (domid, (vif, notes)) = (DomId::new(domid)?, vif::spec(&vif, vif_len)?);
        host.change("xennet_host_attach_tap", done, |core| {
            let mut applied = core.attach_tap(domid, &vif)?;
            applied.notes.extend(notes);
            Ok(applied)
        })
    })
}

/// Detaches the emulated twin of a vif. Succeeds if it is gone already.
///
/// \param host The host.
/// \param domid The domain's number, 0 to 32751.
/// \param devid The vif's index in the domain, 0 to 65535.
/// \param done Gets a JSON document, `{"steps": 1, "notes": []}`. May be NULL.
/// \return NULL on success; else an error as of `xennet_host_detach`.
#[unsafe(no_mangle)]
pub extern "C" fn xennet_host_detach_tap(
    host: Option<&Host>,
    domid: u32,
    devid: u32,
    done: Option<&mut MaybeUninit<Option<Box<Text>>>>,
) -> Option<Box<Failure>> {
    fallible("xennet_host_detach_tap", || {
        let host = given(host, "host")?;
        let (domid, devid) = (DomId::new(domid)?, DevId::new(devid)?);
        host.change("xennet_host_detach_tap", done, |core| core.detach_tap(domid, devid))
    })
}

/// Detaches a link of a vif where the state directory cannot be written to, as on a full disk. Removes what xennet has made for the link, as far as
/// that can be known without a record.
///
/// \param host The host.
/// \param domid The domain's number, 0 to 32751.
/// \param devid The vif's index in the domain, 0 to 65535.
/// \param link `XENNET_LINK_VIF` or `XENNET_LINK_TAP`.
/// \param done Gets a JSON document, `{"steps": 1, "notes": []}`. May be NULL.
/// \return NULL on success; else an error as of `xennet_host_detach`.
#[unsafe(no_mangle)]
pub extern "C" fn xennet_host_detach_unwritten(
    host: Option<&Host>,
    domid: u32,
    devid: u32,
    link: u32,
    done: Option<&mut MaybeUninit<Option<Box<Text>>>>,
) -> Option<Box<Failure>> {
    fallible("xennet_host_detach_unwritten", || {
        let host = given(host, "host")?;
        let (domid, devid, link) = (DomId::new(domid)?, DevId::new(devid)?, type_if(link)?);
        host.change("xennet_host_detach_unwritten", done, |core| core.detach_unwritten(domid, devid, link))
    })
}

fn type_if(link: u32) -> Result<TypeIf, Error> {
    match link {
        XENNET_LINK_VIF => Ok(TypeIf::Vif),
        XENNET_LINK_TAP => Ok(TypeIf::Tap),
        other => Err(none_of("link", other, "XENNET_LINK_VIF and XENNET_LINK_TAP")),
    }
}
