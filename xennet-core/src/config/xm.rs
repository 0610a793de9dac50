//! One vif spec as xm took it: blanks around keys and values, every item a `key=value`, values checked as in the strict
//! dialect (xm checked none).

use super::spec::Builder;
use super::{Parsed, findings, rate};
use crate::model::VifSpec;
use crate::model::flaw::{Flaw, quoted};

/// What xm's `vif=` took.
///
/// Source: Xen 4.1, `tools/python/xen/xm/create.py`, `configure_vifs`.
const KEYS: [&str; 12] =
    ["backend", "bridge", "ip", "mac", "script", "type", "vifname", "rate", "model", "accel", "policy", "label"];

pub(super) fn read(text: &str) -> Result<Parsed<VifSpec>, Box<Flaw>> {
    let mut builder = Builder::new();
    let mut at = 0;
    for part in text.split(',') {
        if !part.trim().is_empty() {
            item(&mut builder, part, at)?;
        }
        at += part.len() + 1;
    }
    let notes = std::mem::take(&mut builder.notes);
    Ok(Parsed { value: builder.finish()?, notes: findings(notes, text) })
}

/// Takes one item, with blanks where xm allowed them; `at` is where `part` starts.
pub(super) fn item(builder: &mut Builder, part: &str, at: usize) -> Result<(), Box<Flaw>> {
    let at = at + part.len() - part.trim_start().len();
    let item = part.trim();
    let span = at..at + item.len();
    let Some((key, value)) = item.split_once('=') else {
        return Err(Flaw::new(span, format!("{} is no option of xm's vif", quoted(item)), "every item is KEY=VALUE")
            .hint("xm had no flags"));
    };
    let (key, value) = (key.trim(), value.trim());
    let value_at = at + item.len() - value.len();
    if !KEYS.contains(&key) {
        let flaw = Flaw::new(span, format!("{} is no option of xm's vif", quoted(item)), "xm: Invalid vif option");
        return Err(flaw.hint(format!("xm knew {}", KEYS.join(", "))));
    }
    match (key, value) {
        ("policy" | "label", _) => {
            let rule = "a label of xend's security policy, which is gone";
            Err(Flaw::new(span, format!("{key} is not supported"), rule).hint("remove it"))
        }
        ("type", "netfront") => {
            let rule = "xl does not know it";
            let note =
                Flaw::new(value_at..span.end, "type=netfront is xend's name for vif", rule).hint("write type=vif");
            builder.note(*note);
            builder.set(key, "vif", item, at)
        }
        ("rate", _) => {
            let rate = super::parse_rate_xend(value).ok_or_else(|| rate::unlimited(value).at(value_at))?;
            builder.set_rate(rate, item, at)
        }
        // The value is the end of the item, which is what `set` goes by.
        _ => builder.set(key, value, item, at),
    }
}

#[cfg(test)]
mod tests {
    use crate::config::{Dialect, parse_attach, parse_vif, parse_vif_list};

    #[test]
    fn blanks_and_decimal_rates_are_taken() {
        let parsed =
            parse_vif(" bridge = xenbr0 ,\tip = 10.0.0.1 ,, rate = 010MB/s, type=netfront", Dialect::Xm).unwrap();
        assert_eq!(parsed.value.to_string(), "bridge=xenbr0,ip=10.0.0.1,type=vif,rate=10MB/s");
        assert_eq!(parsed.notes.len(), 1, "{:?}", parsed.notes);
    }

    #[test]
    fn what_xm_did_not_know_is_refused_where_it_stands() {
        for (text, marked) in [
            ("mtu=9000", "mtu=9000"),
            ("untrusted", "untrusted"),
            ("bridge=a, policy=x", "policy=x"),
            ("bridge = xen br0", " "),
            ("rate = 10", "10"),
            ("mac=00:16:3e:01:02:03, mac = 00:16:3e:01:02:04", "mac = 00:16:3e:01:02:04"),
            ("mac = 0:16:3e:1:2:3", "0"),
        ] {
            let error = parse_vif(text, Dialect::Xm).unwrap_err();
            let found = error.diagnostic().unwrap();
            assert_eq!(&text[found.span.clone()], marked, "{}", error.report());
        }
    }

    #[test]
    fn arguments_and_files_have_the_same_rules() {
        assert!(parse_attach(&["bridge = xenbr0"], Dialect::Xm).is_ok());
        let file = "import os\nvif = ( 'bridge = xenbr0' ,\n        'brigde=xenbr1' )\n";
        let error = parse_vif_list(file, Dialect::Xm).unwrap_err();
        assert_eq!(error.diagnostic().unwrap().position(), (3, 10));
    }
}
