//! The network configuration of a guest, in the format of its own system. Without I/O.
//!
//! [`GuestConfig`] holds addresses, gateways, name servers and MTU, or says that the guest uses DHCP. It is made from a vif line and the
//! network that the vif is in. [`Format`] writes it as the file of one system.
//!
//! ```
//! use xennet_core::guest::{Format, GuestConfig, GuestWish};
//! use xennet_core::{NatNetwork, Network, NetworkMode, Started, Subnet};
//!
//! let mut nat = NatNetwork::new();
//! nat.subnets = vec![Subnet::new("10.0.0.0/24".parse().unwrap())?];
//! let network = Started::new(Network::new("private".parse()?, NetworkMode::Nat(nat))?);
//!
//! let vif = "bridge=private,ip=10.0.0.1".parse()?;
//! let config = GuestConfig::new(&vif, Some(&network), &GuestWish::default())?;
//! let rendered = Format::Kernel.render(&config)?;
//! assert_eq!(rendered.files[0].text, "ip=10.0.0.1::10.0.0.254:255.255.255.0::eth0:off\n");
//! # Ok::<(), xennet_core::Error>(())
//! ```

mod cloud_init;
mod config;
mod connection;
mod format;
mod freebsd;
mod ifupdown;
mod kernel;
mod keyfile;
mod link;
mod netplan;
mod netsh;
mod networkd;
mod wish;

pub use config::{Gateway, GuestConfig, Method};
pub use format::{Format, GuestFile, Rendered};
pub use link::GuestLink;
pub use wish::GuestWish;

#[cfg(test)]
mod tests;
