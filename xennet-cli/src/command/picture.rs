//! `picture`: the network, drawn.

use std::fs;
use std::io::{IsTerminal as _, Write as _};
use std::path::Path;

use serde_json::json;
use xennet_core::config::networks;
use xennet_core::picture::{Picture, View};
use xennet_core::plan::ShownPlan;
use xennet_core::recording::Recording;
use xennet_core::{Error, ErrorKind, Host, Result, surroundings};

use super::record;
use crate::cli::{Global, PictureArgs};
use crate::output::Output;
use crate::{files, input, terminal};

pub(super) fn run(global: &Global, args: &PictureArgs, output: &mut Output) -> Result<()> {
    let picture = match (&args.described, &args.plan) {
        (Some(file), _) => described(file)?,
        (None, None) => match &args.from {
            Some(file) => Host::picture(&record::from_file(file)?)?,
            None => record::overview(global)?.picture,
        },
        (None, Some(file)) => {
            let name = file.display().to_string();
            let plans = ShownPlan::all_from_json(&input::file(file)?).map_err(|e| e.in_file(&name))?;
            Picture::of_plans(&recording(global, args)?, &plans)?
        }
    };
    let mut view = View::new();
    if args.counters {
        view = view.with_counters();
    }
    if args.all {
        view = view.with_every_guest();
    }
    let form = &args.form;
    if output.is_json() {
        if form.text || form.svg || form.png || form.dot || form.mermaid {
            return Err(Error::new(ErrorKind::Invalid, "--json gives the picture as a document, and in no other form")
                .with_object("--json")
                .with_hint("leave --json out, or --text, --svg, --png, --dot and --mermaid"));
        }
        let text = json!(picture).to_string();
        return match &args.output {
            Some(file) => write(file, text.as_bytes()),
            None => output.line(&text),
        };
    }
    if form.png {
        return png(&picture, &view, args.output.as_deref());
    }
    let text = if form.svg {
        picture.to_svg(&view)
    } else if form.dot {
        picture.to_dot(&view)
    } else if form.mermaid {
        picture.to_mermaid(&view)
    } else {
        // A file is read elsewhere.
        let width = if args.output.is_some() { terminal::USUAL } else { terminal::width() };
        picture.to_text(&view, width)
    };
    match &args.output {
        Some(file) => write(file, text.as_bytes()),
        None => output.line(&text),
    }
}

/// What was recorded, of this host now or in a file.
fn recording(global: &Global, args: &PictureArgs) -> Result<Recording> {
    match &args.from {
        Some(file) => record::from_file(file),
        None => record::whole(global, Path::new(networks::PATH)),
    }
}

/// Networks as a file describes them.
fn described(file: &Path) -> Result<Picture> {
    let name = file.display().to_string();
    let all = networks::parse(&input::file(file)?).map_err(|e| e.in_file(&name))?;
    let taken = surroundings::taken();
    Ok(Picture::of_networks(all.iter(), &taken.host, taken.at))
}

fn write(file: &Path, bytes: &[u8]) -> Result<()> {
    fs::write(file, bytes).map_err(|e| files::failed(file, "cannot be written", &e))
}

fn png(picture: &Picture, view: &View, file: Option<&Path>) -> Result<()> {
    if file.is_none() && std::io::stdout().is_terminal() {
        return Err(Error::new(ErrorKind::Invalid, "a PNG is no text, and standard output is a terminal")
            .with_object("--png")
            .with_hint("name a file: --output FILE"));
    }
    let bytes = raster::png(&picture.to_svg(view))?;
    match file {
        Some(file) => write(file, &bytes),
        None => std::io::stdout()
            .write_all(&bytes)
            .map_err(|e| files::failed(Path::new("standard output"), "cannot be written", &e)),
    }
}

#[cfg(not(feature = "png"))]
mod raster {
    use super::{Error, ErrorKind, Result};

    pub(super) fn png(_: &str) -> Result<Vec<u8>> {
        Err(Error::new(ErrorKind::Unsupported, "this build has no PNG")
            .with_object("--png")
            .with_hint("use --svg; every browser shows it, and rsvg-convert and others make a PNG of it"))
    }
}

#[cfg(feature = "png")]
mod raster {
    use std::sync::Arc;

    use resvg::{tiny_skia, usvg};

    use super::{Error, ErrorKind, Result};

    /// A dom0 often has no fonts, so the picture brings its own.
    const FONTS: [&[u8]; 2] =
        [include_bytes!("../../fonts/DejaVuSans.ttf"), include_bytes!("../../fonts/DejaVuSans-Bold.ttf")];
    /// The most pixels that a PNG gets, which take 4 bytes each.
    const MOST: f32 = 100_000_000.0;

    fn too_large() -> Error {
        Error::new(ErrorKind::Unsupported, "the picture is too large for a PNG")
            .with_object("--png")
            .with_hint("use --svg, or leave --all out")
    }

    /// The picture as a PNG, with two pixels for each of the SVG's as far as there is room.
    pub(super) fn png(svg: &str) -> Result<Vec<u8>> {
        let mut options = usvg::Options { font_family: "DejaVu Sans".to_owned(), ..usvg::Options::default() };
        let fonts = Arc::make_mut(&mut options.fontdb);
        FONTS.into_iter().for_each(|font| fonts.load_font_data(font.to_vec()));
        fonts.set_sans_serif_family("DejaVu Sans");
        // Names in other writing: by the system's fonts, if there are any.
        if !svg.chars().all(is_in_fonts) {
            fonts.load_system_fonts();
        }
        let failed = |e: &dyn std::fmt::Display| {
            Error::new(ErrorKind::Internal, format!("the picture cannot be made a PNG: {e}")).with_hint("use --svg")
        };
        let tree = usvg::Tree::from_str(svg, &options).map_err(|e| failed(&e))?;
        let size = tree.size();
        let scale =
            [2.0_f32, 1.0].into_iter().find(|s| size.width() * size.height() * s * s <= MOST).ok_or_else(too_large)?;
        let size = size.to_int_size().scale_by(scale).ok_or_else(too_large)?;
        let mut pixels = tiny_skia::Pixmap::new(size.width(), size.height()).ok_or_else(too_large)?;
        resvg::render(&tree, tiny_skia::Transform::from_scale(scale, scale), &mut pixels.as_mut());
        pixels.encode_png().map_err(|e| failed(&e))
    }

    /// Whether the fonts above have a character.
    fn is_in_fonts(c: char) -> bool {
        matches!(u32::from(c),
            0..=0x17f | 0x386..=0x3ce | 0x400..=0x45f | 0x2010..=0x2015 | 0x2018..=0x201e | 0x2026 | 0x2190..=0x2193 | 0x2212
            | 0xfffd)
    }
}
