//! Reading the texts that there are.

#![allow(unsafe_code, reason = "#[unsafe(no_mangle)] alone; the test `rules` refuses anything else")]

use std::mem::MaybeUninit;

use serde::Deserialize;
use xennet_core::config::document::{self, Document};
use xennet_core::config::import::{File, Input, import};
use xennet_core::config::legacy::Generation;
use xennet_core::config::{Dialect, Parsed};
use xennet_core::document::ParsedValue;
use xennet_core::{Error, ErrorKind, IfName};

use crate::boundary::{fallible, given};
use crate::cast::{self, Chars, Strings};
use crate::error::Failure;
use crate::text::{Text, read_json};
use crate::vif;

/// Reads the `vif = [ ... ]` of a domain's configuration file.
///
/// \param dialect `XENNET_DIALECT_*`.
/// \param text The text of the file, UTF-8.
/// \param text_len Its length in bytes.
/// \param document Gets a JSON document: `{"value": {"nics": [...]}, "notes": []}`; each of `nics` is what `xennet_host_attach` takes, `notes` are
///   sentences for the reader.
/// \return NULL on success; else an error of kind `XENNET_KIND_INVALID`, with line and column where the text is wrong.
#[unsafe(no_mangle)]
pub extern "C" fn xennet_vif_list_parse(
    dialect: u32,
    text: Chars,
    text_len: usize,
    document: Option<&mut MaybeUninit<Option<Box<Text>>>>,
) -> Option<Box<Failure>> {
    fallible("xennet_vif_list_parse", || {
        read(document, &text, text_len, |text| document::vif_list(text, self::dialect(dialect)?))
    })
}

/// Reads the arguments of `xl network-attach` behind the domain.
///
/// \param dialect `XENNET_DIALECT_*`.
/// \param args The arguments, each with a final zero.
/// \param count How many.
/// \param document Gets a JSON document: `{"value": {...}, "notes": []}`; `value` is what `xennet_host_attach` takes.
/// \return NULL on success; else an error of kind `XENNET_KIND_INVALID`.
#[unsafe(no_mangle)]
pub extern "C" fn xennet_attach_parse(
    dialect: u32,
    args: Strings,
    count: usize,
    document: Option<&mut MaybeUninit<Option<Box<Text>>>>,
) -> Option<Box<Failure>> {
    fallible("xennet_attach_parse", || {
        let document = given(document, "document")?;
        let mut texts = Vec::new();
        for (at, text) in args.read(count, "args")?.iter().enumerate() {
            texts.push(text.to_str().ok_or_else(|| {
                Error::new(ErrorKind::Invalid, format!("args[{at}] is not UTF-8"))
                    .with_object(format!("args[{at}]"))
                    .with_hint("give the text as UTF-8; ASCII is UTF-8")
            })?);
        }
        write(document, &document::attach(&texts, self::dialect(dialect)?)?);
        Ok(())
    })
}

/// Reads the value of `rate=`, for example "10Mb/s@20ms".
///
/// \param dialect `XENNET_DIALECT_*`.
/// \param text The text, UTF-8.
/// \param text_len Its length in bytes.
/// \param document Gets a JSON document: `{"value": {"bytes_per_interval", "interval_usecs", "backend_rate"}, "notes": []}`.
/// \return NULL on success; else an error of kind `XENNET_KIND_INVALID`, with line and column where the text is wrong.
#[unsafe(no_mangle)]
pub extern "C" fn xennet_rate_parse(
    dialect: u32,
    text: Chars,
    text_len: usize,
    document: Option<&mut MaybeUninit<Option<Box<Text>>>>,
) -> Option<Box<Failure>> {
    fallible("xennet_rate_parse", || {
        read(document, &text, text_len, |text| document::rate(text, self::dialect(dialect)?))
    })
}

/// Reads the value of `mac=`.
///
/// \param dialect `XENNET_DIALECT_*`.
/// \param text The text, UTF-8.
/// \param text_len Its length in bytes.
/// \param document Gets a JSON document: `{"value": {"mac", "multicast", "local", "xen_oui"}, "notes": []}`.
/// \return NULL on success; else an error of kind `XENNET_KIND_INVALID`, with line and column where the text is wrong.
#[unsafe(no_mangle)]
pub extern "C" fn xennet_mac_parse(
    dialect: u32,
    text: Chars,
    text_len: usize,
    document: Option<&mut MaybeUninit<Option<Box<Text>>>>,
) -> Option<Box<Failure>> {
    fallible("xennet_mac_parse", || {
        read(document, &text, text_len, |text| document::mac(text, self::dialect(dialect)?))
    })
}

/// Reads the value of `vlan=`, for example "10p/20".
///
/// \param text The text, UTF-8.
/// \param text_len Its length in bytes.
/// \param document Gets a JSON document: `{"value": {"pvid", "tagged", "untagged", "text"}, "notes": []}`.
/// \return NULL on success; else an error of kind `XENNET_KIND_INVALID`, with line and column where the text is wrong.
#[unsafe(no_mangle)]
pub extern "C" fn xennet_vlan_parse(
    text: Chars,
    text_len: usize,
    document: Option<&mut MaybeUninit<Option<Box<Text>>>>,
) -> Option<Box<Failure>> {
    fallible("xennet_vlan_parse", || {
        read(document, &text, text_len, |text| Ok(Parsed::new(document::vlan(text)?, Vec::new())))
    })
}

/// Reads the text of a `xend-config.sxp`, of Xen up to 4.4.
///
/// \param text The text, UTF-8.
/// \param text_len Its length in bytes.
/// \param document Gets a JSON document: `{"value": {"network_argv", "vif_script"}, "notes": []}`: what xend ran to make the network (null if
///   nothing), and the script of each vif.
/// \return NULL on success; else an error of kind `XENNET_KIND_INVALID`, with line and column where the text is wrong.
#[unsafe(no_mangle)]
pub extern "C" fn xennet_xend_config_parse(
    text: Chars,
    text_len: usize,
    document: Option<&mut MaybeUninit<Option<Box<Text>>>>,
) -> Option<Box<Failure>> {
    fallible("xennet_xend_config_parse", || read(document, &text, text_len, document::xend_config))
}

/// Makes a `networks.toml` of what Xen up to 4.4 had. Uses its arguments alone; nothing on this host is read.
///
/// \param input A JSON document: `{"config": {"path", "text"}, "wrappers": [{"path", "text"}], "xen": "4.1", "uplink": "eth0"}`, all of it optional:
///   `xend-config.sxp`; wrapper scripts, in the order in which they count; the version of Xen whose defaults are meant; the link of the default
///   route. A path is for messages only.
/// \param input_len Its length in bytes.
/// \param document Gets a JSON document: `{"networks": [], "text", "notes": []}`: the networks, the text of `networks.toml` for them, and what was
///   dropped, guessed or is done otherwise.
/// \return NULL on success; else an error of kind `XENNET_KIND_INVALID`, with line and column where a text is wrong.
#[unsafe(no_mangle)]
pub extern "C" fn xennet_import(
    input: Chars,
    input_len: usize,
    document: Option<&mut MaybeUninit<Option<Box<Text>>>>,
) -> Option<Box<Failure>> {
    fallible("xennet_import", || {
        let document = given(document, "document")?;
        let files: Files = read_json(cast::text(&input, input_len, "input")?, "input")?;
        let imported = import(&files.input()?)?;
        document.write(Some(Box::new(Text::json(&imported))));
        Ok(())
    })
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Named {
    path: String,
    text: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, default)]
#[derive(Default)]
struct Files {
    config: Option<Named>,
    wrappers: Vec<Named>,
    xen: Option<String>,
    uplink: Option<String>,
}

impl Files {
    fn input(self) -> Result<Input, Error> {
        let file = |named: Named| File::new(named.path, named.text);
        let uplink: Option<IfName> = self.uplink.as_deref().map(str::parse).transpose()?;
        Ok(Input::default()
            .with_config(self.config.map(file))
            .with_wrappers(self.wrappers.into_iter().map(file).collect())
            .with_generation(self.xen.as_deref().map(Generation::of_xen).transpose()?)
            .with_uplink(uplink))
    }
}

fn read(
    document: Option<&mut MaybeUninit<Option<Box<Text>>>>,
    text: &Chars,
    len: usize,
    parse: impl FnOnce(&str) -> Result<Parsed<Document>, Error>,
) -> Result<(), Error> {
    let document = given(document, "document")?;
    write(document, &parse(cast::text(text, len, "text")?)?);
    Ok(())
}

fn write(document: &mut MaybeUninit<Option<Box<Text>>>, parsed: &Parsed<Document>) {
    document.write(Some(Box::new(Text::json(&ParsedValue::of(parsed)))));
}

/// The dialect of a number.
pub(crate) fn dialect(dialect: u32) -> Result<Dialect, Error> {
    match dialect {
        vif::XENNET_DIALECT_STRICT => Ok(Dialect::Strict),
        vif::XENNET_DIALECT_XL => Ok(Dialect::Xl),
        vif::XENNET_DIALECT_XM => Ok(Dialect::Xm),
        other => Err(Error::new(ErrorKind::Invalid, format!("{other} is no dialect"))
            .with_object("dialect")
            .with_hint("xennet.h lists them: XENNET_DIALECT_STRICT and others")),
    }
}
