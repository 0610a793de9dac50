//! What needs which version of Linux, and what the running one is.
//!
//! A kernel refuses what it does not know with a general errno (EINVAL, ENOENT), which tells the reader nothing. Where an older kernel
//! gives such a refusal, the error names the feature and the versions. Versions are compared only then, and for what cannot be
//! asked: whether a link that is up can be renamed shows only when one is renamed.

use std::fmt;

use super::refusal::Refusal;
use crate::error::Errno;
use crate::snapshot::{NftChainKind, NftFamily};
use crate::step::{NftOp, NftTransaction};

/// A version, as far as it counts: `6.1` of `6.1.0-56-amd64`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Version(u32, u32);

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Linux {}.{}", self.0, self.1)
    }
}

impl Version {
    fn of(release: &str) -> Option<Version> {
        let mut numbers = release.split(|c: char| !c.is_ascii_digit());
        Some(Version(numbers.next()?.parse().ok()?, numbers.next()?.parse().ok()?))
    }
}

/// Since when a link that is up can be renamed (bd039b5ea2a9, "allow live renaming").
const RENAMES_WHILE_UP: Version = Version(6, 2);

/// What older kernels do not have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Feature {
    /// `NETLINK_GET_STRICT_CHK`.
    FilteredListings,
    /// `RTM_GETVLAN`.
    PortVlans,
    /// `NFT_SET_CONCAT`.
    ConcatenatedSets,
    /// NAT chains in tables of the family `inet`.
    InetNat,
}

impl Feature {
    const fn needs(self) -> Version {
        match self {
            Feature::FilteredListings => Version(4, 20),
            Feature::PortVlans | Feature::ConcatenatedSets => Version(5, 6),
            Feature::InetNat => Version(5, 2),
        }
    }

    const fn words(self) -> &'static str {
        match self {
            Feature::FilteredListings => "listings that the kernel filters (strict dump checking)",
            Feature::PortVlans => "the VLANs of a bridge port, for vlan= (RTM_GETVLAN)",
            Feature::ConcatenatedSets => "nftables sets of several fields, for ip=, NAT and routed guests",
            Feature::InetNat => "NAT in an nftables table of the family inet",
        }
    }

    /// The refusal with the reason, where the kernel is too old for this. Where its version cannot be read, it may be.
    pub(super) fn explain(self, refusal: Refusal, release: &str) -> Refusal {
        if Version::of(release).is_some_and(|is| is >= self.needs()) {
            return refusal;
        }
        self.lacking(refusal, release)
    }

    /// The refusal with the reason, where it can mean nothing but that the kernel does not have this.
    pub(super) fn lacking(self, refusal: Refusal, release: &str) -> Refusal {
        let message = format!("{} need {} or newer; this is Linux {release}", self.words(), self.needs());
        Refusal { too_old: true, ..refusal }.with_message(message)
    }
}

/// Whether a kernel of this release tells who asks for multicast groups (`IFLA_BR_MCAST_QUERIER_STATE`).
pub(super) fn tells_queriers(release: &str) -> bool {
    Version::of(release).is_some_and(|is| is >= Version(5, 16))
}

/// The running kernel's release: `6.1.0-56-amd64`.
pub(super) fn release() -> String {
    rustix::system::uname().release().to_string_lossy().into_owned()
}

/// Whether a kernel of this release refuses to rename a link that is up. A plan that puts it down first works on every kernel, so
/// the answer is yes where the version cannot be read.
pub(super) fn names_held_while_up(release: &str) -> bool {
    Version::of(release).is_none_or(|is| is < RENAMES_WHILE_UP)
}

/// What an operation of a transaction needs that its refusal may be about.
pub(super) fn of_nft(transaction: &NftTransaction, op: usize, errno: Errno) -> Option<Feature> {
    match (transaction.ops.get(op)?, errno) {
        (NftOp::AddSet { def, .. }, Errno::EINVAL | Errno::EOPNOTSUPP) if def.key.len() > 1 => {
            Some(Feature::ConcatenatedSets)
        }
        (NftOp::AddChain { base: Some(base), .. }, Errno::ENOENT | Errno::EOPNOTSUPP)
            if base.kind == NftChainKind::Nat && transaction.table.family == NftFamily::Inet =>
        {
            Some(Feature::InetNat)
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::snapshot::{NftBase, NftHook, NftPolicy, NftSet, NftTableId, NftType};

    #[test]
    fn a_release_is_compared_by_its_first_two_numbers() {
        for (release, version) in [
            ("6.1.0-56-amd64", Version(6, 1)),
            ("6.18.44-fc-v657", Version(6, 18)),
            ("5.6", Version(5, 6)),
            ("4.19-rc3", Version(4, 19)),
            ("6.12.117+deb12-amd64", Version(6, 12)),
        ] {
            assert_eq!(Version::of(release), Some(version), "{release}");
        }
        assert_eq!(Version::of("custom"), None);
        assert!(Version(5, 10) > Version(5, 6) && Version(6, 2) > Version(5, 19));
        assert!(Version::of(&release()).is_some(), "{}", release());
    }

    #[test]
    fn names_are_held_before_6_2() {
        for (release, held) in [("6.1.192", true), ("5.10.0-30", true), ("6.2.0", false), ("7.0", false), ("odd", true)]
        {
            assert_eq!(names_held_while_up(release), held, "{release}");
        }
    }

    #[test]
    fn a_kernel_that_is_too_old_is_named_with_the_feature_and_the_version() {
        for (feature, old, new, needs) in [
            (Feature::FilteredListings, "4.19.0-27-amd64", "4.20.1", "Linux 4.20"),
            (Feature::PortVlans, "5.4.0-200-generic", "5.6.0", "Linux 5.6"),
            (Feature::ConcatenatedSets, "5.5.19", "5.10.0-30-amd64", "Linux 5.6"),
            (Feature::InetNat, "5.1.0", "5.2.0", "Linux 5.2"),
        ] {
            let refusal = feature.explain(Refusal::new(Errno::EINVAL), old);
            let message = refusal.message.clone().unwrap_or_default();
            assert!(refusal.too_old && refusal.errno == Errno::EINVAL);
            assert!(message.contains(needs) && message.contains(old) && message.contains(feature.words()), "{message}");
            let e = refusal.about("it").into_observe_error();
            assert_eq!(e.kind(), crate::ErrorKind::Unsupported);
            assert!(e.hint().is_some_and(|h| h.contains("kernel")), "{}", e.report());
            // On a newer one it is something else, in the kernel's own words.
            let other = Refusal::new(Errno::EINVAL).with_message("its own words");
            assert_eq!(feature.explain(other.clone(), new), other);
        }
    }

    #[test]
    fn which_operation_may_be_too_new() {
        let set =
            |key: &[NftType]| NftOp::AddSet { set: "s".into(), def: NftSet { key: key.to_vec(), ..NftSet::default() } };
        let base = |kind| NftBase { kind, hook: NftHook::Prerouting, priority: 0, policy: NftPolicy::Accept };
        let chain = |kind| NftOp::AddChain { chain: "c".into(), base: Some(base(kind)) };
        let ops = vec![
            NftOp::AddTable,
            set(&[NftType::IfName, NftType::Ipv4Addr]),
            set(&[NftType::Ipv4Addr]),
            chain(NftChainKind::Nat),
            chain(NftChainKind::Filter),
        ];
        let gate = NftTransaction { table: NftTableId::gate(), ops };
        let expected = [None, Some(Feature::ConcatenatedSets), None, Some(Feature::InetNat), None];
        for (op, feature) in expected.into_iter().enumerate() {
            let errno = if op == 3 { Errno::ENOENT } else { Errno::EINVAL };
            assert_eq!(of_nft(&gate, op, errno), feature, "{op}");
        }
        // Without the right to, no version helps.
        assert_eq!(of_nft(&gate, 1, Errno::EPERM), None);
    }
}
