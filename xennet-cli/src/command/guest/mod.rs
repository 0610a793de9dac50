//! `guest`: the network configuration of a guest in the format of its own system.

mod into;

use xennet_core::config::networks;
use xennet_core::document::{Formats, GuestWritten};
use xennet_core::guest::{Format, GuestConfig, GuestWish, Rendered};
use xennet_core::{Error, ErrorKind, Network, Result, VifId, VifSpec};

use super::common::{columns, open};
use super::snippets::not_in_the_sandbox;
use crate::cli::{Global, GuestArgs};
use crate::input;
use crate::output::Output;

pub(super) fn run(global: &Global, args: &GuestArgs, output: &mut Output) -> Result<()> {
    if args.list {
        return list(output);
    }
    if global.sandbox && args.into.is_some() {
        return Err(not_in_the_sandbox());
    }
    let format: Format = args.format.as_deref().unwrap_or_default().parse()?;
    let config = config(global, args, output)?;
    let rendered = format.render(&config)?;
    for note in &rendered.notes {
        output.note(note);
    }
    match &args.into {
        Some(root) => {
            let written = into::write(root, format, &rendered.files, args.force)?;
            let text = || written.iter().map(|path| format!("{} is written\n", path.display())).collect();
            let paths = || written.iter().map(|path| path.display().to_string()).collect();
            output.answer(text, || GuestWritten::new(paths(), &rendered))
        }
        None => show(&rendered, output),
    }
}

/// The file alone; with `--json` all that belongs to it.
fn show(rendered: &Rendered, output: &mut Output) -> Result<()> {
    if !output.is_json() {
        for path in rendered.files.iter().skip(1).filter_map(|file| file.path.as_deref()) {
            output.note(&format!("{path} belongs to it: --into writes it, too, and --json shows it"));
        }
    }
    let text = || rendered.files.first().map(|file| file.text.clone()).unwrap_or_default();
    output.answer(text, || rendered)
}

fn config(global: &Global, args: &GuestArgs, output: &mut Output) -> Result<GuestConfig> {
    let wish = wish(args)?;
    let text = input::text(args.vif.as_deref().unwrap_or_default())?;
    let mut host = open(global)?;
    if let Some(id) = VifId::from_vif_name(&text) {
        return host.guest_config(id, &wish);
    }
    let dialect = args.dialect.name.parse()?;
    let parsed = xennet_core::config::parse_vif(&text, dialect)?;
    for note in &parsed.notes {
        output.finding(note);
    }
    let spec: VifSpec = parsed.value;
    host.guest_config_of(&spec, &described(args)?, &wish)
}

/// The networks of the file; without a file there are none, unless one was named.
fn described(args: &GuestArgs) -> Result<Vec<Network>> {
    let usual = std::path::Path::new(networks::PATH);
    let path = args.file.as_deref().unwrap_or(usual);
    if args.file.is_none() && !path.exists() {
        return Ok(Vec::new());
    }
    let all = networks::parse(&input::file(path)?).map_err(|e| e.in_file(&path.display().to_string()))?;
    Ok(all.iter().cloned().collect())
}

fn wish(args: &GuestArgs) -> Result<GuestWish> {
    fn read<T: std::str::FromStr>(option: &str, texts: &[String], rule: &str) -> Result<Vec<T>> {
        let one = |text: &String| {
            text.parse().map_err(|_| {
                Error::new(ErrorKind::Invalid, format!("--{option} cannot be \"{}\"", text.escape_debug()))
                    .with_object(text.as_str())
                    .with_hint(format!("give {rule}"))
            })
        };
        texts.iter().map(one).collect()
    }
    let mut wish = GuestWish::default();
    wish.prefix = read("prefix", &args.prefix, "a network: 192.168.0.0/24")?;
    if let Some(text) = args.prefix.iter().find(|text| !text.contains('/')) {
        return Err(Error::new(ErrorKind::Invalid, format!("--prefix cannot be \"{}\"", text.escape_debug()))
            .with_object(text.as_str())
            .with_hint("give a network with the length of its prefix: 192.168.0.0/24"));
    }
    wish.gateway = read("gateway", &args.gateway, "an address: 192.168.0.1")?;
    wish.no_gateway = args.no_gateway;
    wish.dns = read("dns", &args.dns, "an address: 192.168.0.1")?;
    wish.search = args.search.iter().map(|text| text.parse()).collect::<Result<_>>()?;
    wish.dhcp = args.dhcp;
    wish.interface = args.interface.as_deref().map(str::parse).transpose()?;
    Ok(wish)
}

/// The formats, and where the text of each belongs.
fn list(output: &mut Output) -> Result<()> {
    let row = |format: &Format| [format.name(), format.title(), format.place()].map(str::to_owned);
    output.answer(|| columns(["FORMAT", "READ BY", "BELONGS TO"], Format::ALL.iter().map(row)), Formats::all)
}
