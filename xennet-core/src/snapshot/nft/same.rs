//! One rule in the words of two programs.

use super::{NftExpr, NftField, NftRule, NftValue};
use crate::model::IfName;

impl NftRule {
    /// The rule as nft makes it, where iptables-nft has made it of its own listing, as after `iptables-save` and `iptables-restore`: the
    /// comment as a note, and names of links in full.
    pub(crate) fn as_nft_makes_it(&self) -> NftRule {
        let mut comment = self.comment.clone();
        let mut exprs = Vec::with_capacity(self.exprs.len());
        for expr in &self.exprs {
            match expr {
                NftExpr::Opaque { name, data } if name == "match" && comment.is_none() => match comment_of(data) {
                    Some(text) => comment = Some(text),
                    None => exprs.push(expr.clone()),
                },
                NftExpr::Match { field, mask: None, op, value } if is_name(*field) => {
                    let value = whole_name(value).unwrap_or_else(|| value.clone());
                    exprs.push(NftExpr::Match { field: *field, mask: None, op: *op, value });
                }
                other => exprs.push(other.clone()),
            }
        }
        NftRule { exprs, comment }
    }

    /// Whether it is this rule, made by nft or by iptables-nft.
    pub(crate) fn is_same(&self, as_nft_makes_it: &NftRule) -> bool {
        self == as_nft_makes_it || self.as_nft_makes_it() == *as_nft_makes_it
    }
}

fn is_name(field: NftField) -> bool {
    matches!(field, NftField::IifName | NftField::OifName)
}

/// A name that is compared as far as its final zero: the whole name.
fn whole_name(value: &NftValue) -> Option<NftValue> {
    let NftValue::Bytes(bytes) = value else { return None };
    let end = bytes.iter().position(|b| *b == 0)?;
    let (name, zeros) = bytes.split_at(end);
    let name = std::str::from_utf8(name).ok().filter(|_| zeros.iter().all(|b| *b == 0))?;
    IfName::check(name).ok().map(NftValue::Name)
}

/// The text of an xt match `comment`, by its attributes (`include/uapi/linux/netfilter/nf_tables_compat.h`, `xt_comment.h`).
fn comment_of(data: &[u8]) -> Option<String> {
    const NAME: u16 = 1;
    const INFO: u16 = 3;
    let text = |bytes: &[u8]| {
        let end = bytes.iter().position(|b| *b == 0).unwrap_or(bytes.len());
        std::str::from_utf8(&bytes[..end]).ok().map(str::to_owned)
    };
    if text(attribute(data, NAME)?)? != "comment" {
        return None;
    }
    text(attribute(data, INFO)?).filter(|text| !text.is_empty())
}

/// The netlink attributes of an expression, kind and bytes. One that is cut short ends them.
fn attributes(mut data: &[u8]) -> impl Iterator<Item = (u16, &[u8])> {
    std::iter::from_fn(move || {
        let length = usize::from(u16::from_ne_bytes(data.first_chunk::<2>().copied()?));
        let kind = u16::from_ne_bytes(data.get(2..4)?.first_chunk::<2>().copied()?) & 0x3fff;
        let value = data.get(4..length)?;
        data = data.get(length.next_multiple_of(4)..).unwrap_or(&[]);
        Some((kind, value))
    })
}

/// The value of the first attribute of this kind.
pub(crate) fn attribute(data: &[u8], kind: u16) -> Option<&[u8]> {
    attributes(data).find(|(k, _)| *k == kind).map(|(_, value)| value)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::snapshot::NftVerdict;

    #[test]
    fn what_iptables_makes_of_its_listing_is_the_same_rule() {
        let end = [NftExpr::Counter, NftExpr::Verdict(NftVerdict::Accept)];
        let name: IfName = "eth0".parse().unwrap();
        let ours = NftRule::new([NftExpr::ne(NftField::IifName, NftValue::Name(name))].into_iter().chain(end.clone()));
        let ours = ours.with_comment("xennet network lan");
        // NFTA_MATCH_NAME, NFTA_MATCH_REV, NFTA_MATCH_INFO.
        let mut data = Vec::new();
        for (kind, value) in [(1_u16, &b"comment\0"[..]), (2, &[0; 4]), (3, &b"xennet network lan\0\0\0\0\0\0"[..])] {
            data.extend(u16::try_from(value.len() + 4).unwrap().to_ne_bytes());
            data.extend(kind.to_ne_bytes());
            data.extend(value);
        }
        let short = NftValue::Bytes(b"eth0\0\0\0\0".to_vec());
        let comment = NftExpr::Opaque { name: "match".into(), data };
        let theirs = NftRule::new([NftExpr::ne(NftField::IifName, short), comment].into_iter().chain(end));
        assert_eq!(theirs.as_nft_makes_it(), ours);
        assert_eq!(ours.as_nft_makes_it(), ours);
        let cut = NftExpr::Opaque { name: "match".into(), data: vec![12, 0, 1] };
        assert_eq!(NftRule::new([cut.clone()]).as_nft_makes_it().exprs, [cut]);
    }
}
