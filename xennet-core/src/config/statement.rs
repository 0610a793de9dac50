//! The `vif` statements of a config file.

use std::collections::BTreeMap;

use super::syntax::{self, Atom, Setting, Value};
use super::xl::{self, XlNic};
use super::{Dialect, Parsed, findings, parse_vif};
use crate::error::{Diagnostic, Error};
use crate::model::flaw::{Flaw, quoted};
use crate::model::vif::is_single;
use crate::model::{DevId, VifSpec};

/// Reads the vifs of a domain's config file: its `vif` statements; every other statement is read over.
///
/// Positions count in the whole file. Each vif gets the index that it has in the domain.
///
/// Beyond what [`parse_vif`] refuses, two vifs of one domain with the same address, index or name are refused, and what xl
/// takes for no vif without a word: a text instead of a list, a list in the list, `vif2`. A second `vif =` replaces the
/// first one, as in xl, and is noted.
///
/// # Errors
/// [`Invalid`](crate::ErrorKind::Invalid) with position, rule and hint, also for a file that xl could not read;
/// [`Unsupported`](crate::ErrorKind::Unsupported) for [`Dialect::Xm`] without the feature `import`.
///
/// ```
/// use xennet_core::config::{Dialect, parse_vif_list};
/// let file = "name = 'web'\nvif = [ 'bridge=xenbr0',\n        'brigde=xenbr1' ]\n";
/// let error = parse_vif_list(file, Dialect::Strict).unwrap_err();
/// assert_eq!(error.diagnostic().unwrap().position(), (3, 10));
/// assert_eq!(error.hint(), Some("did you mean bridge?"));
/// ```
pub fn parse_vif_list(text: &str, dialect: Dialect) -> Result<Parsed<Vec<VifSpec>>, Error> {
    let mut notes = Vec::new();
    let items = match dialect {
        Dialect::Xm => xm_items(text, &mut notes)?,
        _ => vif_items(text, dialect, &mut notes).map_err(|flaw| flaw.error(text))?,
    };
    let mut specs = Vec::with_capacity(items.len());
    for (i, atom) in items.iter().enumerate() {
        let parsed = parse_vif(&atom.text, dialect).map_err(|error| place(error, atom, text))?;
        notes.extend(parsed.notes.into_iter().map(|note| *atom.placed(flaw_of(note))));
        let devid = u32::try_from(i).ok().and_then(|n| DevId::new(n).ok());
        let devid = devid
            .ok_or_else(|| Flaw::new(atom.span.clone(), "too many vifs", "a device id is 0 to 65535").error(text))?;
        specs.push(parsed.value.numbered(devid));
    }
    if dialect != Dialect::Xl {
        unique(&items, &specs).map_err(|flaw| flaw.error(text))?;
    }
    one_nic_in_pieces(&items, &mut notes);
    Ok(Parsed { value: specs, notes: findings(notes, text) })
}

/// Reads the vifs of a domain's config file as `xl create` does and gives what it would hand to libxl.
///
/// # Errors
/// [`Invalid`](crate::ErrorKind::Invalid) where xl stops: at anything that is no config file for it, and as
/// [`parse_vif_xl`](super::parse_vif_xl).
pub fn parse_vif_list_xl(text: &str) -> Result<Parsed<Vec<XlNic>>, Error> {
    let mut notes = Vec::new();
    let items = vif_items(text, Dialect::Xl, &mut notes).map_err(|flaw| flaw.error(text))?;
    let mut nics = Vec::with_capacity(items.len());
    for (i, atom) in items.iter().enumerate() {
        let mut nic = XlNic { devid: i32::try_from(i).ok(), ..XlNic::default() };
        let mut found = Vec::new();
        xl::read_items(&atom.text, &mut nic, &mut found).map_err(|flaw| atom.placed(flaw).error(text))?;
        notes.extend(found.into_iter().map(|flaw| *atom.placed(Box::new(flaw))));
        nics.push(nic);
    }
    one_nic_in_pieces(&items, &mut notes);
    Ok(Parsed { value: nics, notes: findings(notes, text) })
}

fn flaw_of(d: Diagnostic) -> Box<Flaw> {
    Box::new(Flaw { span: d.span, message: d.message, rule: d.rule, hint: d.hint, other: d.other })
}

/// An error about one item, placed in the file.
fn place(error: Error, atom: &Atom, text: &str) -> Error {
    match error.diagnostic() {
        Some(d) => atom.placed(flaw_of(d.clone())).error(text),
        None => Flaw::new(atom.span.clone(), error.message(), "this vif cannot be").error(text),
    }
}

/// The items of the list that a file of xm leaves for `vif`.
#[cfg(feature = "import")]
fn xm_items(text: &str, notes: &mut Vec<Flaw>) -> Result<Vec<Atom>, Error> {
    super::python::vif_items(text, notes).map_err(|flaw| flaw.error(text))
}

#[cfg(not(feature = "import"))]
fn xm_items(_: &str, _: &mut Vec<Flaw>) -> Result<Vec<Atom>, Error> {
    Err(Error::new(crate::ErrorKind::Unsupported, "files of xm are not read by this build of xennet-core")
        .with_object("xm")
        .with_hint("enable the feature \"import\", or give each string of the list by itself"))
}

/// The items of the list that the statements of a file leave for `vif`.
fn vif_items(text: &str, dialect: Dialect, notes: &mut Vec<Flaw>) -> Result<Vec<Atom>, Box<Flaw>> {
    let settings = syntax::read(text, (dialect == Dialect::Xl).then_some(&mut *notes))?;
    // xl keeps the settings of each name; only whether they are lists matters for names other than vif.
    let mut lists: BTreeMap<String, bool> = BTreeMap::new();
    let mut vif: Option<(Vec<Value>, Setting)> = None;
    let refuse = |flaw: Box<Flaw>, notes: &mut Vec<Flaw>| match dialect {
        Dialect::Xl => {
            notes.push(*flaw);
            Ok(())
        }
        _ => Err(flaw),
    };
    for setting in settings {
        let is_list = matches!(setting.value, Value::List(..));
        if setting.adds && lists.get(&setting.name).is_some_and(|earlier| *earlier != is_list) {
            let rule = "+= adds a list to a list or a text to a text";
            return Err(Flaw::new(setting.value.span(), format!("{} cannot be added to", setting.name), rule));
        }
        match setting.name.as_str() {
            "vif2" => {
                let rule = "netchannel2 is gone: xl warns and gives no vif";
                refuse(Flaw::new(setting.name_span.clone(), "vif2 is not supported", rule).hint("write vif"), notes)?;
            }
            "nics" => {
                let rule = "xl ignores nics; the vifs are counted in the list";
                notes.push(*Flaw::new(setting.name_span.clone(), "nics has no effect", rule).hint("remove it"));
            }
            "vif" => match (&setting.value, &mut vif) {
                (Value::List(items, _), Some((all, _))) if setting.adds => all.extend(items.iter().cloned()),
                (Value::List(items, _), earlier) => {
                    if let Some((dropped, _)) = earlier.as_ref().filter(|(all, _)| !all.is_empty()) {
                        let message = format!("this replaces the {} vifs of the earlier statement", dropped.len());
                        let flaw = Flaw::new(setting.name_span.clone(), message, "the last vif = counts");
                        notes.push(*flaw.hint("write vif += to add vifs"));
                    }
                    *earlier = Some((items.clone(), setting.clone()));
                }
                (Value::Atom(atom), _) => {
                    let rule = "vif is a list: xl takes a single text for no vif at all";
                    let flaw = Flaw::new(atom.span.clone(), "vif is not a list", rule).hint("put it into [ ]");
                    refuse(flaw, notes)?;
                    vif = None;
                }
            },
            _ => {}
        }
        lists.insert(setting.name, is_list);
    }
    let mut atoms = Vec::new();
    for value in vif.map(|(items, _)| items).unwrap_or_default() {
        match value {
            Value::Atom(atom) => {
                if !atom.is_string && dialect != Dialect::Xl {
                    let message = format!("{} is not a vif", quoted(&atom.text));
                    return Err(
                        Flaw::new(atom.span, message, "each item is a text in quotes").hint("put it into quotes")
                    );
                }
                atoms.push(atom);
            }
            Value::List(_, span) => {
                let rule = "each item is a text; xl stops at a list, without a word, and drops the rest";
                refuse(Flaw::new(span, "a list in the list of vifs", rule).hint("remove the inner brackets"), notes)?;
                break;
            }
        }
    }
    Ok(atoms)
}

/// Refuses what two vifs of one domain cannot share.
fn unique(items: &[Atom], specs: &[VifSpec]) -> Result<(), Box<Flaw>> {
    let mut seen: BTreeMap<(&str, String), usize> = BTreeMap::new();
    for (i, (atom, spec)) in items.iter().zip(specs).enumerate() {
        let mut claims = Vec::new();
        claims.extend(spec.mac().map(|mac| ("mac", mac.to_string())));
        claims.extend(spec.vifname().map(|name| ("vifname", name.to_string())));
        claims.extend(spec.devid().map(|devid| ("devid", devid.to_string())));
        // The same network may stand behind two vifs; a single address cannot.
        claims.extend(spec.sources().iter().filter(|ip| is_single(ip)).map(|ip| ("ip", ip.ip().to_string())));
        for (key, value) in claims {
            if let Some(earlier) = seen.insert((key, value.clone()), i) {
                let rule = format!("item {} of the list has it already", earlier + 1);
                let hint = match key {
                    "devid" => "without devid= a vif gets its place in the list, from 0",
                    "mac" => "leave mac= out to have an address generated",
                    _ => "each vif has its own",
                };
                let flaw = Flaw::new(0..0, format!("{key} {value} is taken"), rule).hint(hint);
                return Err(atom.placed(xl::locate(&atom.text, key, flaw)));
            }
        }
    }
    Ok(())
}

/// Notes the popular mistake of writing the parts of one vif as strings of their own.
fn one_nic_in_pieces(items: &[Atom], notes: &mut Vec<Flaw>) {
    let mut keys: Vec<&str> = Vec::new();
    for atom in items {
        match atom.text.split_once('=') {
            Some((key, value)) if !value.contains(',') && !keys.contains(&key.trim()) => keys.push(key.trim()),
            _ => return,
        }
    }
    if let [first, .., last] = items {
        let whole: Vec<&str> = items.iter().map(|a| a.text.trim()).collect();
        let message = format!("this list is {} vifs with one key each", items.len());
        let flaw = Flaw::new(first.span.start..last.span.end, message, "each string is a vif of its own");
        notes.push(*flaw.hint(format!("if one is meant, write '{}'", whole.join(","))));
    }
}
