//! What a writer may have meant by an item that no dialect knows.

use super::reference::VIF_KEYS;
use crate::model::ColoKey;
use crate::model::flaw::{Flaw, quoted};

/// Keys that only xm and xend had.
const XM_ONLY: [&str; 4] = ["label", "security_label", "uuid", "be_mac"];

/// The finding for an item that is neither a known `key=value` nor a known flag.
pub(super) fn unknown_item(item: &str) -> Box<Flaw> {
    let (key, value) = match item.split_once('=') {
        Some((key, value)) => (key, Some(value)),
        None => (item, None),
    };
    let tidy = key.trim();
    let known = |name: &str| VIF_KEYS.iter().find(|key| key.name == name).map(|key| (key.name, key.has_value));
    let flaw = |rule: &str| Flaw::new(0..key.len(), format!("{} is not known in a vif spec", quoted(item)), rule);
    if item.trim().is_empty() {
        return Flaw::new(0..item.len(), "an item of blanks alone", "an item is KEY=VALUE or a flag")
            .hint("remove the comma or the blanks");
    }
    if tidy.len() != key.len() && known(tidy).is_some() {
        return flaw("no blank before or after a key, except blanks after a comma")
            .hint(format!("write {tidy}{}", if value.is_some() { "= without blanks" } else { "" }));
    }
    if let Some((name, true)) = known(key).filter(|_| value.is_none()) {
        return flaw("this key has a value").hint(format!("write {name}=VALUE"));
    }
    if let Some((name, false)) = known(key).filter(|_| value.is_some()) {
        return flaw("this is a flag and has no value").hint(match name {
            "trusted" => "write trusted or untrusted".to_owned(),
            _ => format!("write {name} alone"),
        });
    }
    if XM_ONLY.contains(&key) {
        return flaw("xm and xend knew this key, xl and xennet do not").hint("remove it");
    }
    let lower = tidy.to_ascii_lowercase();
    if lower != tidy && known(&lower).is_some() {
        return flaw("keys are lower case").hint(format!("write {lower}"));
    }
    let looks_like_address = value.is_none() && tidy.parse::<std::net::IpAddr>().is_ok();
    if looks_like_address {
        return flaw("a comma ends the value, and this is no key")
            .hint("several addresses are separated by blanks: ip=10.0.0.1 10.0.0.2");
    }
    if value.is_none() && tidy.parse::<crate::model::MacAddr>().is_ok() {
        return flaw("a comma ends the value, and this is no key")
            .hint("several MACs are separated by blanks: macs=00:16:3e:00:00:01 00:16:3e:00:00:02");
    }
    let keys = VIF_KEYS.iter().map(|key| key.name).chain(ColoKey::all().map(ColoKey::name));
    let nearest = keys.map(|k| (distance(&lower, k), k)).min();
    let flaw = flaw(if value.is_some() { "this key is unknown" } else { "this flag is unknown" });
    match nearest {
        // A word of three letters with two others is another word.
        Some((steps @ 0..=2, name)) if lower.len() > steps + 1 => flaw.hint(format!("did you mean {name}?")),
        _ if value.is_none() => flaw.hint("an item is KEY=VALUE, or one of the flags trusted, untrusted, isolated"),
        _ => flaw.hint("see xl-network-configuration(5) for the keys"),
    }
}

/// How many letters must be inserted, removed, replaced or swapped to get from one word to the other; words that are long
/// or of very different length count as far apart without a look.
pub(super) fn distance(a: &str, b: &str) -> usize {
    const FAR: usize = usize::MAX;
    if a.len() > 48 || a.len().abs_diff(b.len()) > 2 {
        return FAR;
    }
    let (a, b): (Vec<char>, Vec<char>) = (a.chars().collect(), b.chars().collect());
    let mut rows = vec![(0..=b.len()).collect::<Vec<usize>>()];
    for i in 1..=a.len() {
        let mut row = vec![i];
        for j in 1..=b.len() {
            let replace = rows[i - 1][j - 1] + usize::from(a[i - 1] != b[j - 1]);
            let mut best = replace.min(rows[i - 1][j] + 1).min(row[j - 1] + 1);
            if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                best = best.min(rows[i - 2][j - 2] + 1);
            }
            row.push(best);
        }
        rows.push(row);
    }
    rows[a.len()][b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn guesses_what_was_meant() {
        for (item, hint) in [
            ("brigde=br0", "did you mean bridge?"),
            ("vifnmae=x", "did you mean vifname?"),
            ("BRIDGE=br0", "write bridge"),
            ("\tbridge=br0", "write bridge= without blanks"),
            ("bridge =br0", "write bridge= without blanks"),
            ("trusted=1", "write trusted or untrusted"),
            ("bridge", "write bridge=VALUE"),
            ("10.0.0.2", "several addresses are separated by blanks: ip=10.0.0.1 10.0.0.2"),
            ("label=x", "remove it"),
            ("polciy=off", "did you mean policy?"),
            ("policy", "write policy=VALUE"),
            ("foo=bar", "see xl-network-configuration(5) for the keys"),
            ("colo_sock_miror_id=1", "did you mean colo_sock_mirror_id?"),
        ] {
            assert_eq!(unknown_item(item).hint.as_deref(), Some(hint), "{item}");
        }
    }
}
