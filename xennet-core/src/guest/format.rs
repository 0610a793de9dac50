//! The formats, and what each writes.

use std::fmt;
use std::str::FromStr;

use serde::Serialize;

use super::{GuestConfig, cloud_init, freebsd, ifupdown, kernel, keyfile, netplan, netsh, networkd};
use crate::error::{Error, ErrorKind};
use crate::model::flaw::{beginning, quoted};
use crate::version::Version;

/// A format in which a guest's system reads its network configuration.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Format {
    /// `interfaces(5)` of Debian's ifupdown.
    Ifupdown,
    /// `netplan(5)`, version 2.
    Netplan,
    /// cloud-init's network-config, version 1.
    CloudInitV1,
    /// cloud-init's network-config, version 2.
    CloudInitV2,
    /// `systemd.network(5)`.
    Networkd,
    /// A keyfile of NetworkManager.
    NetworkManager,
    /// The parameter `ip=` of the Linux kernel.
    Kernel,
    /// The interfaces file of Alpine: busybox or ifupdown-ng.
    Alpine,
    /// `rc.conf(5)` of FreeBSD.
    FreeBsd,
    /// Commands of Windows.
    Netsh,
}

/// One file of a guest.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct GuestFile {
    /// Where it belongs in the guest, absolute; `None` for what is no file of the guest's system: a kernel parameter, a batch of
    /// commands.
    pub path: Option<String>,
    /// Its access rights.
    pub mode: u32,
    /// Its text.
    pub text: String,
}

impl GuestFile {
    /// A file that everybody may read.
    pub(super) fn readable(path: impl Into<String>, text: String) -> Self {
        GuestFile { path: Some(path.into()), mode: 0o644, text }
    }

    /// A file that root alone may read, as its reader asks for.
    pub(super) fn private(path: impl Into<String>, text: String) -> Self {
        GuestFile { path: Some(path.into()), mode: 0o600, text }
    }
}

/// A [`GuestConfig`] in a format. Serde writes the document that every face of the library gives.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[non_exhaustive]
pub struct Rendered {
    pub(super) version: Version<1>,
    /// The format.
    pub format: Format,
    /// The files: the format's own first; at least one.
    pub files: Vec<GuestFile>,
    /// Notes for the reader, one sentence each: what the format cannot express, and what the guest needs for it.
    pub notes: Vec<String>,
    /// The configuration that was written.
    pub config: GuestConfig,
}

impl Rendered {
    /// The same, with the remarks of the vif line's parser before its own notes.
    #[must_use]
    pub fn with_remarks(mut self, remarks: Vec<String>) -> Self {
        self.notes.splice(0..0, remarks);
        self
    }
}

/// What one format writes.
pub(super) struct Texts {
    pub(super) files: Vec<GuestFile>,
    pub(super) notes: Vec<String>,
}

impl Texts {
    pub(super) fn of(file: GuestFile) -> Self {
        Texts { files: vec![file], notes: Vec::new() }
    }

    /// The same with the name servers in the file that every C library reads, where the format has no place for them.
    pub(super) fn with_resolv_conf(mut self, config: &GuestConfig) -> Self {
        let mut text = String::new();
        if !config.search().is_empty() {
            text.push_str(&format!("search {}\n", joined(config.search(), " ")));
        }
        for server in config.dns() {
            text.push_str(&format!("nameserver {server}\n"));
        }
        if !text.is_empty() {
            if config.dns().len() > 3 {
                self.notes.push("/etc/resolv.conf: the C library asks the first three name servers only".to_owned());
            }
            self.files.push(GuestFile::readable("/etc/resolv.conf", text));
        }
        self
    }
}

impl Format {
    /// All formats.
    pub const ALL: &[Format] = &[
        Format::Ifupdown,
        Format::Netplan,
        Format::CloudInitV1,
        Format::CloudInitV2,
        Format::Networkd,
        Format::NetworkManager,
        Format::Kernel,
        Format::Alpine,
        Format::FreeBsd,
        Format::Netsh,
    ];

    /// Its name, as `--format` takes it.
    pub const fn name(self) -> &'static str {
        match self {
            Format::Ifupdown => "ifupdown",
            Format::Netplan => "netplan",
            Format::CloudInitV1 => "cloud-init-v1",
            Format::CloudInitV2 => "cloud-init-v2",
            Format::Networkd => "networkd",
            Format::NetworkManager => "networkmanager",
            Format::Kernel => "kernel",
            Format::Alpine => "alpine",
            Format::FreeBsd => "freebsd",
            Format::Netsh => "netsh",
        }
    }

    /// What reads it.
    pub const fn title(self) -> &'static str {
        match self {
            Format::Ifupdown => "Debian's ifupdown",
            Format::Netplan => "netplan, as on Ubuntu",
            Format::CloudInitV1 => "cloud-init, network-config version 1",
            Format::CloudInitV2 => "cloud-init, network-config version 2",
            Format::Networkd => "systemd-networkd",
            Format::NetworkManager => "NetworkManager, a keyfile",
            Format::Kernel => "the Linux kernel's parameter ip=",
            Format::Alpine => "Alpine: busybox or ifupdown-ng",
            Format::FreeBsd => "FreeBSD's rc.conf",
            Format::Netsh => "Windows, commands for an administrator",
        }
    }

    /// Where the text of the first vif belongs, for people.
    pub const fn place(self) -> &'static str {
        match self {
            Format::Ifupdown => "/etc/network/interfaces",
            Format::Netplan => "/etc/netplan/60-xennet-eth0.yaml",
            Format::CloudInitV1 | Format::CloudInitV2 => {
                "/etc/cloud/cloud.cfg.d/99-xennet-eth0.cfg, or network-config of a NoCloud seed"
            }
            Format::Networkd => "/etc/systemd/network/10-xennet-eth0.network",
            Format::NetworkManager => "/etc/NetworkManager/system-connections/xennet-eth0.nmconnection",
            Format::Kernel => "extra = \"ip=...\" in the guest's xl config",
            Format::Alpine => "/etc/network/interfaces, and /etc/resolv.conf",
            Format::FreeBsd => "/etc/rc.conf.local, and /etc/resolv.conf",
            Format::Netsh => "a .cmd file, run once in the guest as Administrator",
        }
    }

    /// Writes a configuration in this format.
    ///
    /// # Errors
    /// [`ErrorKind::Unsupported`] for what the format cannot express and the guest needs. What the guest can do without is named in
    /// [`Rendered::notes`].
    pub fn render(self, config: &GuestConfig) -> Result<Rendered, Error> {
        let mut texts = match self {
            Format::Ifupdown => ifupdown::debian(config)?,
            Format::Netplan => netplan::render(config)?,
            Format::CloudInitV1 => cloud_init::v1(config)?,
            Format::CloudInitV2 => cloud_init::v2(config)?,
            Format::Networkd => networkd::render(config)?,
            Format::NetworkManager => keyfile::render(config)?,
            Format::Kernel => kernel::render(config)?,
            Format::Alpine => ifupdown::alpine(config)?,
            Format::FreeBsd => freebsd::render(config)?,
            Format::Netsh => netsh::render(config),
        };
        let mut notes = config.notes().to_vec();
        notes.append(&mut texts.notes);
        Ok(Rendered { version: Version, format: self, files: texts.files, notes, config: config.clone() })
    }

    /// The error for something that this format cannot express.
    pub(super) fn refuse(self, what: &str, rule: &str, instead: &str) -> Error {
        Error::new(ErrorKind::Unsupported, format!("{} cannot say {what}: {rule}", self.name()))
            .with_object(self.name())
            .with_hint(instead)
    }
}

impl fmt::Display for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl FromStr for Format {
    type Err = Error;
    fn from_str(text: &str) -> Result<Self, Error> {
        Format::ALL.iter().copied().find(|f| f.name() == text).ok_or_else(|| {
            let names: Vec<&str> = Format::ALL.iter().map(|f| f.name()).collect();
            Error::new(ErrorKind::Invalid, format!("{} is not a format", quoted(text)))
                .with_object(beginning(text))
                .with_hint(format!("formats: {}", names.join(", ")))
        })
    }
}

crate::schema::written_as_words!(Format, "Format", Format::ALL.iter().map(|f| f.name()).collect());

impl Serialize for Format {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.name())
    }
}

/// The items with a separator between them.
pub(super) fn joined<T: fmt::Display>(items: &[T], between: &str) -> String {
    items.iter().map(T::to_string).collect::<Vec<_>>().join(between)
}
