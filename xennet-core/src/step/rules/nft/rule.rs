//! What the kernel refuses of a rule when it is added: fields, sets and maps that its expressions read.

use super::{CONSTANT, DYNAMIC, TIMEOUT, jump_target};
use crate::error::Errno;
use crate::snapshot::{
    Family, NftDataType, NftExpr, NftFamily, NftField, NftFrom, NftNatData, NftNatTo, NftRule, NftSet, NftSource,
    NftTable, width,
};

/// The registers that a rule has written so far, a bit for each 4 bytes. Reading one before is refused
/// (`nft_parse_register_load`).
#[derive(Default)]
struct Registers(u32);

impl Registers {
    fn write(&mut self, first: u32, bytes: usize) {
        for word in 0..words(bytes) {
            self.0 |= 1_u32.checked_shl(first + word).unwrap_or(0);
        }
    }

    fn read(&self, first: u32, bytes: usize) -> Result<(), Errno> {
        let missing = (0..words(bytes)).any(|word| self.0 & 1_u32.checked_shl(first + word).unwrap_or(0) == 0);
        if missing { Err(Errno::ENODATA) } else { Ok(()) }
    }
}

fn words(bytes: usize) -> u32 {
    u32::try_from(bytes.div_ceil(4)).unwrap_or(u32::MAX)
}

/// What `nf_tables_newrule` refuses at once.
pub(super) fn check_rule(family: NftFamily, table: &NftTable, rule: &NftRule) -> Result<(), Errno> {
    // The types of all expressions are looked up before the first of them is made.
    if family == NftFamily::Bridge && rule.exprs.iter().any(unknown_to_bridge) {
        return Err(Errno::ENOENT);
    }
    let mut registers = Registers::default();
    rule.exprs.iter().try_for_each(|expr| check_expr(family, table, expr, &mut registers))
}

pub(super) fn fields_of(expr: &NftExpr) -> &[NftField] {
    match expr {
        NftExpr::Match { field, .. } => std::slice::from_ref(field),
        NftExpr::Lookup { key, .. }
        | NftExpr::Vmap { key, .. }
        | NftExpr::Add { key, .. }
        | NftExpr::Nat { to: NftNatTo::Map { key, .. } | NftNatTo::Maps { key, .. }, .. } => key,
        NftExpr::Write { from: NftFrom::Field(from), .. } => std::slice::from_ref(from),
        NftExpr::Write { from: NftFrom::Map { key, .. }, .. } => key,
        _ => &[],
    }
}

fn unknown_to_bridge(expr: &NftExpr) -> bool {
    *expr == NftExpr::Masquerade || fields_of(expr).iter().any(|f| matches!(f.source(), NftSource::Fib(..)))
}

fn check_expr(family: NftFamily, table: &NftTable, expr: &NftExpr, registers: &mut Registers) -> Result<(), Errno> {
    let fields = fields_of(expr);
    // Connection tracking for bridges is a module of its own that few kernels have (`nf_ct_netns_do_get`).
    if family == NftFamily::Bridge && fields.iter().any(|f| matches!(f.source(), NftSource::Ct(_))) {
        return Err(Errno::EPROTO);
    }
    registers.write(0, fields.iter().map(|f| usize::from(f.kind().words()) * 4).sum());
    match expr {
        NftExpr::Lookup { set, .. } => {
            let set = table.sets.get(set).ok_or(Errno::ENOENT)?;
            registers.read(0, width(&set.key))
        }
        NftExpr::Vmap { map, .. } => {
            let map = table.sets.get(map).ok_or(Errno::ENOENT)?;
            registers.read(0, width(&map.key))?;
            if map.data == Some(NftDataType::Verdict) { Ok(()) } else { Err(Errno::EINVAL) }
        }
        NftExpr::Add { set, .. } => {
            let set = table.sets.get(set).ok_or(Errno::ENOENT)?;
            updatable(set)?;
            registers.read(0, width(&set.key))?;
            // A map's key needs a value.
            if set.data.is_some() { Err(Errno::EINVAL) } else { Ok(()) }
        }
        NftExpr::SetMark(_) => {
            registers.write(0, 4);
            Ok(())
        }
        NftExpr::Write { field, from } => {
            match from {
                NftFrom::Field(_) => {}
                NftFrom::Value(value) => registers.write(0, value.bytes().len()),
                NftFrom::Map { map, .. } => {
                    let map = table.sets.get(map).ok_or(Errno::ENOENT)?;
                    registers.read(0, width(&map.key))?;
                    let Some(NftDataType::Value(types)) = &map.data else { return Err(Errno::EINVAL) };
                    registers.write(0, width(types));
                }
            }
            registers.read(0, usize::from(field.kind().bytes()))
        }
        NftExpr::Nat { family: of, to, .. } => {
            let bytes = match of {
                Family::Ipv4 => 4,
                Family::Ipv6 => 16,
            };
            let port = match to {
                NftNatTo::Address { port, .. } => {
                    registers.write(0, bytes);
                    if port.is_some() {
                        registers.write(4, 2);
                    }
                    port.map(|_| 4)
                }
                NftNatTo::Map { map, data, .. } => {
                    let map = table.sets.get(map).ok_or(Errno::ENOENT)?;
                    registers.read(0, width(&map.key))?;
                    let Some(NftDataType::Value(types)) = &map.data else { return Err(Errno::EINVAL) };
                    registers.write(0, width(types));
                    (*data == NftNatData::AddressAndPort).then_some(words(bytes))
                }
                NftNatTo::Maps { key, address, port } => {
                    let keys: usize = key.iter().map(|f| usize::from(f.kind().words()) * 4).sum();
                    for (map, at) in [(address, 0), (port, 4)] {
                        registers.write(at, keys);
                        let map = table.sets.get(map).ok_or(Errno::ENOENT)?;
                        registers.read(at, width(&map.key))?;
                        let Some(NftDataType::Value(types)) = &map.data else { return Err(Errno::EINVAL) };
                        registers.write(at, width(types));
                    }
                    Some(4)
                }
            };
            let own = match of {
                Family::Ipv4 => NftFamily::Ip,
                Family::Ipv6 => NftFamily::Ip6,
            };
            if family != NftFamily::Inet && family != own {
                return Err(Errno::EOPNOTSUPP);
            }
            registers.read(0, bytes)?;
            port.map_or(Ok(()), |first| registers.read(first, 2))
        }
        NftExpr::Verdict(v) => v.target().map_or(Ok(()), |chain| jump_target(table, chain)),
        NftExpr::Match { .. }
        | NftExpr::Counter
        | NftExpr::Limit { .. }
        | NftExpr::Log { .. }
        | NftExpr::Masquerade
        | NftExpr::Opaque { .. } => Ok(()),
    }
}

/// `nft_dynset_init`: a rule can add keys only to a set whose hash table can grow (`nft_rhash_update`). The kernel chooses this kind for sets
/// without ranges that have no size and keys of more than two bytes, or that have the flag `dynamic` or `timeout` (`nft_select_set_ops`).
fn updatable(set: &NftSet) -> Result<(), Errno> {
    let is_other = set.size.is_some() || width(&set.key) <= 2;
    if set.interval || (is_other && set.other_flags & (DYNAMIC | TIMEOUT) == 0) {
        return Err(Errno::EOPNOTSUPP);
    }
    if set.other_flags & CONSTANT != 0 { Err(Errno::EBUSY) } else { Ok(()) }
}
