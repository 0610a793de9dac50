//! `import`: the networks of Xen up to 4.4 as `networks.toml`.

use std::path::{Path, PathBuf};

use xennet_core::Result;
use xennet_core::config::import::{File, Input, import, wrapper_of};
use xennet_core::config::legacy::Generation;

use crate::cli::ImportArgs;
use crate::input;
use crate::output::Output;

/// Where xend's config is.
const CONFIG: &str = "/etc/xen/xend-config.sxp";

pub(super) fn run(args: &ImportArgs, output: &mut Output) -> Result<()> {
    let read = |path: &PathBuf| {
        let name = if path == Path::new("-") { "standard input".to_owned() } else { path.display().to_string() };
        Ok(File::new(name, input::file(path)?))
    };
    let default = PathBuf::from(CONFIG);
    let config = match &args.file {
        Some(path) => Some(read(path)?),
        None if args.wrapper.is_empty() || default.exists() => Some(read(&default)?),
        None => None,
    };
    let mut wrappers: Vec<File> = args.wrapper.iter().map(read).collect::<Result<_>>()?;
    if let (Some(config), []) = (&config, wrappers.as_slice())
        // What is wrong with the config is told when it is imported.
        && let Ok(Some(named)) = wrapper_of(&config.text)
        && Path::new(&named).exists()
    {
        wrappers.push(read(&named.into())?);
    }
    let generation = args.xen.as_deref().map(Generation::of_xen).transpose()?;
    let uplink = args.uplink.as_deref().map(str::parse).transpose()?;
    let imported = import(
        &Input::default().with_config(config).with_wrappers(wrappers).with_generation(generation).with_uplink(uplink),
    )?;
    for note in &imported.notes {
        output.note(note);
    }
    output.answer(|| imported.text.clone(), || &imported)
}
