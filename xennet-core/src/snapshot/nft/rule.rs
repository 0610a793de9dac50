//! Rules: what is looked at in a packet, what it is compared with, and what is done then.
//!
//! The kernel's own rules are programs for a small register machine. Here they are the statements that such programs
//! are made of; registers never appear. A program that is not made the way these statements are made is kept whole as
//! [`NftExpr::Opaque`], so that a foreign rule is never misread.

use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use super::field::NftField;
use super::value::NftValue;
use crate::snapshot::Family;

/// A rule: its statements, left to right. A packet that one match does not fit goes on to the next rule.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(default)]
#[non_exhaustive]
pub struct NftRule {
    /// The statements.
    pub exprs: Vec<NftExpr>,
    /// A note for people, 1 to 127 bytes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub comment: Option<String>,
}

/// One statement of a rule.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum NftExpr {
    /// Compares a field with a value: `oifname "eth0"`, `ip saddr 192.0.2.0/24`, `ct state established,related`.
    Match {
        /// What is looked at. A field of a header is read at its place whatever the packet is: match the protocol before.
        field: NftField,
        /// Only these bits are compared; as long as the field.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        mask: Option<NftValue>,
        /// How.
        op: NftCmp,
        /// With what; as long as the field, or the beginning of a link's name.
        value: NftValue,
    },
    /// Looks whether a set has the key: `iifname . ether saddr . ip saddr @guests`.
    Lookup {
        /// The fields of the key.
        key: Vec<NftField>,
        /// The set.
        set: String,
        /// Fits packets whose key is *not* in the set (`!=`).
        #[serde(default)]
        inverted: bool,
    },
    /// Takes the verdict that a map has for the key: `iifname vmap @chains`.
    Vmap {
        /// The fields of the key.
        key: Vec<NftField>,
        /// The map.
        map: String,
    },
    /// Adds the key to a set, and counts the packet if the set has counters: `add @violations { iifname . meta mark }`. A full set ends the
    /// rule here. A snapshot of a table of xennet's own has no elements that packets have added.
    Add {
        /// The fields of the key.
        key: Vec<NftField>,
        /// The set. nft gives it the flag `dynamic`.
        set: String,
    },
    /// Counts packets and bytes. The numbers are not part of a snapshot.
    Counter,
    /// Fits so many packets a second, and so many at once after a rest: `limit rate 5/second burst 20 packets`.
    Limit {
        /// Packets a second, at least 1.
        rate: u32,
        /// Packets at once.
        burst: u32,
    },
    /// Writes a line about the packet into the kernel's log, or hands the packet to who listens to a group of nfnetlink_log:
    /// `log prefix "xennet " group 5`.
    Log {
        /// What the line begins with, 1 to 127 bytes.
        prefix: String,
        /// The group; `None`: the kernel's log.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        group: Option<u16>,
    },
    /// Sets the packet's mark: `meta mark set 0x1`.
    SetMark(u32),
    /// Writes an address into the header of an IPv6 packet, and puts the checksum above it right: `ip6 saddr set ::`. Or puts four bytes
    /// of the packet into its mark, in their order: `meta mark set @th,208,32`.
    Write {
        /// Where: the source or the destination of an IPv6 packet, or the mark.
        field: NftField,
        /// What. A mark that is the same for all packets is set with [`NftExpr::SetMark`].
        from: NftFrom,
    },
    /// Gives the packet the address of the link it leaves through. In nat chains at postrouting.
    Masquerade,
    /// Translates the source (`snat`) or the destination (`dnat`) of a connection.
    Nat {
        /// Which of the two.
        side: NftNat,
        /// The family of the new address.
        family: Family,
        /// The new address.
        to: NftNatTo,
    },
    /// Ends the rule with a verdict.
    Verdict(NftVerdict),
    /// An expression that this library has no words for, as the kernel gives it.
    Opaque {
        /// The kernel's name for it (`NFTA_EXPR_NAME`), 1 to 31 bytes.
        name: String,
        /// Its attributes as they are on the wire (`NFTA_EXPR_DATA`), at most 4096 bytes.
        data: Vec<u8>,
    },
}

/// What is written into a packet.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum NftFrom {
    /// What stands elsewhere in the packet; as long as the field that it is written to.
    Field(NftField),
    /// This; as long as the field that it is written to.
    Value(NftValue),
}

/// How a field is compared with a value. Greater and less go by the bytes, first to last.
///
/// There are no others: they are those of `enum nft_cmp_ops`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
pub enum NftCmp {
    /// Equal.
    #[default]
    Eq,
    /// Not equal.
    Ne,
    /// Less.
    Lt,
    /// Less or equal.
    Le,
    /// Greater.
    Gt,
    /// Greater or equal.
    Ge,
}

impl NftCmp {
    /// Every comparison, in the order of the kernel's numbers (`enum nft_cmp_ops`).
    pub const ALL: [NftCmp; 6] = [NftCmp::Eq, NftCmp::Ne, NftCmp::Lt, NftCmp::Le, NftCmp::Gt, NftCmp::Ge];

    /// The sign in nft's language.
    pub const fn sign(self) -> &'static str {
        match self {
            NftCmp::Eq => "==",
            NftCmp::Ne => "!=",
            NftCmp::Lt => "<",
            NftCmp::Le => "<=",
            NftCmp::Gt => ">",
            NftCmp::Ge => ">=",
        }
    }
}

/// Which end of a connection is translated.
///
/// There are no others: a connection has two ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
pub enum NftNat {
    /// The source: in nat chains at postrouting and input.
    Source,
    /// The destination: in nat chains at prerouting and output.
    Destination,
}

/// Where a translated address comes from.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum NftNatTo {
    /// It is written in the rule.
    Address {
        /// The address, of the family of the translation.
        address: IpAddr,
        /// The port; `None` to leave it.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        port: Option<u16>,
    },
    /// A map has it: `dnat to ip daddr . tcp dport map @forwards`.
    Map {
        /// The fields of the key.
        key: Vec<NftField>,
        /// The map.
        map: String,
        /// What the map's data holds.
        data: NftNatData,
    },
    /// Two maps have it, one the address and one the port: `dnat ip to tcp dport map @forward4 : tcp dport map @port4`.
    Maps {
        /// The fields of the key of both.
        key: Vec<NftField>,
        /// The map with the address.
        address: String,
        /// The map with the port.
        port: String,
    },
}

/// What the data of a map for address translation holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum NftNatData {
    /// An address.
    Address,
    /// An address and a port.
    AddressAndPort,
}

/// What becomes of a packet.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum NftVerdict {
    /// It goes on to the next base chain.
    Accept,
    /// It is dropped.
    Drop,
    /// Back to where the chain was jumped to from.
    Return,
    /// The next rule of this chain.
    Continue,
    /// Into another chain, and back here at its end.
    Jump(String),
    /// Into another chain, never back.
    Goto(String),
}

impl NftVerdict {
    /// The chain it leads to.
    pub fn target(&self) -> Option<&str> {
        match self {
            NftVerdict::Jump(chain) | NftVerdict::Goto(chain) => Some(chain),
            _ => None,
        }
    }
}

impl NftRule {
    /// A rule of these statements.
    pub fn new(exprs: impl IntoIterator<Item = NftExpr>) -> Self {
        NftRule { exprs: exprs.into_iter().collect(), comment: None }
    }

    /// Adds a note for people.
    #[must_use]
    pub fn with_comment(mut self, comment: impl Into<String>) -> Self {
        self.comment = Some(comment.into());
        self
    }

    /// The rule as the kernel gives it back: fields and values in the words that this library has for their bytes.
    #[must_use]
    pub(crate) fn canonical(&self) -> NftRule {
        let fields = |key: &[NftField]| key.iter().map(|f| f.canonical()).collect();
        let exprs = self.exprs.iter().map(|e| match e {
            NftExpr::Match { field, mask, op, value } => {
                let field = field.canonical();
                let mask = mask.as_ref().map(|m| m.as_type(field.kind()));
                NftExpr::Match { field, mask, op: *op, value: value.as_type(field.kind()) }
            }
            NftExpr::Lookup { key, set, inverted } => {
                NftExpr::Lookup { key: fields(key), set: set.clone(), inverted: *inverted }
            }
            NftExpr::Vmap { key, map } => NftExpr::Vmap { key: fields(key), map: map.clone() },
            NftExpr::Add { key, set } => NftExpr::Add { key: fields(key), set: set.clone() },
            NftExpr::Nat { side, family, to: NftNatTo::Map { key, map, data } } => NftExpr::Nat {
                side: *side,
                family: *family,
                to: NftNatTo::Map { key: fields(key), map: map.clone(), data: *data },
            },
            NftExpr::Nat { side, family, to: NftNatTo::Maps { key, address, port } } => NftExpr::Nat {
                side: *side,
                family: *family,
                to: NftNatTo::Maps { key: fields(key), address: address.clone(), port: port.clone() },
            },
            NftExpr::Write { field, from } => {
                let from = match from {
                    NftFrom::Field(from) => NftFrom::Field(from.canonical()),
                    NftFrom::Value(value) => NftFrom::Value(value.as_type(field.kind())),
                };
                NftExpr::Write { field: field.canonical(), from }
            }
            other => other.clone(),
        });
        NftRule { exprs: exprs.collect(), comment: self.comment.clone() }
    }
}

impl NftExpr {
    /// `FIELD == VALUE`.
    pub fn eq(field: NftField, value: NftValue) -> Self {
        NftExpr::Match { field, mask: None, op: NftCmp::Eq, value }
    }

    /// `FIELD != VALUE`.
    pub(crate) fn ne(field: NftField, value: NftValue) -> Self {
        NftExpr::Match { field, mask: None, op: NftCmp::Ne, value }
    }

    /// `FIELD == NETWORK`: the address lies in it. Host bits are ignored.
    pub fn within(field: NftField, network: ipnetwork::IpNetwork) -> Self {
        let (value, mask) = match network {
            ipnetwork::IpNetwork::V4(n) => (NftValue::Ipv4(n.network()), NftValue::Ipv4(n.mask())),
            ipnetwork::IpNetwork::V6(n) => (NftValue::Ipv6(n.network()), NftValue::Ipv6(n.mask())),
        };
        NftExpr::Match { field, mask: Some(mask), op: NftCmp::Eq, value }
    }

    /// `ct state A,B`: the connection is in one of these states, a mask of 1 invalid, 2 established, 4 related, 8 new.
    pub fn ct_state(states: u32) -> Self {
        NftExpr::any_of(NftField::CtState, states)
    }

    /// `ct status A,B`: one of these has become of the connection, a mask of 16 source translated, 32 destination translated.
    pub(crate) fn ct_status(status: u32) -> Self {
        NftExpr::any_of(NftField::CtStatus, status)
    }

    fn any_of(field: NftField, bits: u32) -> Self {
        NftExpr::Match { field, mask: Some(NftValue::U32(bits)), op: NftCmp::Ne, value: NftValue::U32(0) }
    }
}
