//! The guest's network configuration, for C.

#![allow(unsafe_code, reason = "#[unsafe(no_mangle)] alone; the test `rules` refuses anything else")]

use std::mem::MaybeUninit;

use xennet_core::guest::{Format, GuestConfig, GuestWish};
use xennet_core::{Error, Started, VifId};

use crate::boundary::{fallible, given};
use crate::cast::{self, Chars};
use crate::error::Failure;
use crate::host::Host;
use crate::text::{Text, read_json};
use crate::{network, vif};

/// Makes the network configuration of a guest in the format of its own system. Uses its arguments alone; nothing on the host is read.
///
/// \param vif A vif line in the strict dialect, or a JSON document with libxl's field names (`xennet_vif_parse`).
/// \param vif_len Its length in bytes.
/// \param network The JSON document of the network that the vif is in, an item of what `xennet_networks_parse` gives; NULL for a bridge
///   that belongs to no network.
/// \param network_len Its length in bytes.
/// \param wish A JSON document of facts about the guest's LAN and the guest, all of them optional: `{"prefix": ["192.168.0.0/24"],
///   "gateway": ["192.168.0.1"], "no_gateway": false, "dns": [], "search": [], "dhcp": false, "interface": "eth0"}`; NULL for nothing.
/// \param wish_len Its length in bytes.
/// \param format The format's name: "ifupdown", "netplan", "cloud-init-v1", "cloud-init-v2", "networkd", "networkmanager", "kernel",
///   "alpine", "freebsd", "netsh".
/// \param format_len Its length in bytes.
/// \param document Gets a JSON document: `{"format", "files": [{"path", "mode", "text"}], "notes": [], "config": {...}}`. `path` is absolute
///   in the guest, or null if the text is no file there; `notes` say what the format cannot express, and what the guest needs.
/// \return NULL on success; else `XENNET_KIND_INVALID` if something that the guest needs is not known or contradicts something else,
///   `XENNET_KIND_UNSUPPORTED` if the format cannot say it.
#[unsafe(no_mangle)]
pub extern "C" fn xennet_guest_config(
    vif: Chars,
    vif_len: usize,
    network: Chars,
    network_len: usize,
    wish: Chars,
    wish_len: usize,
    format: Chars,
    format_len: usize,
    document: Option<&mut MaybeUninit<Option<Box<Text>>>>,
) -> Option<Box<Failure>> {
    fallible("xennet_guest_config", || {
        let document = given(document, "document")?;
        let (vif, remarks) = vif::spec(&vif, vif_len)?;
        let network = match network.is_null() {
            true => None,
            false => Some(Started::new(network::read(&network, network_len)?)),
        };
        let wish = read_wish(&wish, wish_len)?;
        let config = GuestConfig::new(&vif, network.as_ref(), &wish)?;
        document.write(Some(Box::new(rendered(&config, remarks, cast::text(&format, format_len, "format")?)?)));
        Ok(())
    })
}

/// The same for a vif that this host has attached or will attach; its network is the started one that it belongs to.
///
/// \param host The host.
/// \param vif `vif5.0` for an attached vif, else as of `xennet_guest_config`.
/// \param vif_len Its length in bytes.
/// \param wish As of `xennet_guest_config`.
/// \param wish_len Its length in bytes.
/// \param format As of `xennet_guest_config`.
/// \param format_len Its length in bytes.
/// \param document As of `xennet_guest_config`.
/// \return NULL on success; else as of `xennet_guest_config`, and `XENNET_KIND_INVALID` if there is no record of the vif.
#[unsafe(no_mangle)]
pub extern "C" fn xennet_host_guest_config(
    host: Option<&Host>,
    vif: Chars,
    vif_len: usize,
    wish: Chars,
    wish_len: usize,
    format: Chars,
    format_len: usize,
    document: Option<&mut MaybeUninit<Option<Box<Text>>>>,
) -> Option<Box<Failure>> {
    fallible("xennet_host_guest_config", || {
        let (host, document) = (given(host, "host")?, given(document, "document")?);
        let wish = read_wish(&wish, wish_len)?;
        let format = cast::text(&format, format_len, "format")?;
        let made = match VifId::from_vif_name(cast::text(&vif, vif_len, "vif")?) {
            Some(id) => rendered(
                &host.work("xennet_host_guest_config", |core| core.guest_config(id, &wish))?,
                Vec::new(),
                format,
            )?,
            None => {
                let (spec, remarks) = vif::spec(&vif, vif_len)?;
                rendered(
                    &host.work("xennet_host_guest_config", |core| core.guest_config_of(&spec, &[], &wish))?,
                    remarks,
                    format,
                )?
            }
        };
        document.write(Some(Box::new(made)));
        Ok(())
    })
}

fn read_wish(wish: &Chars, len: usize) -> Result<GuestWish, Error> {
    match wish.is_null() {
        true => Ok(GuestWish::default()),
        false => read_json(cast::text(wish, len, "wish")?, "wish"),
    }
}

fn rendered(config: &GuestConfig, remarks: Vec<String>, format: &str) -> Result<Text, Error> {
    Ok(Text::json(&format.parse::<Format>()?.render(config)?.with_remarks(remarks)))
}
