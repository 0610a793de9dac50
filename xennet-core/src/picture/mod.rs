//! What the network of a host looks like: a model in layers, and views of it.
//!
//! A [`Picture`] says what is connected to what: outside, gateway, uplink, the bridges and the routing of dom0, vifs, guests. It is
//! made of a [`Recording`](crate::recording::Recording), of networks as they are described, or of a plan, whose changes it marks.
//! Nothing here does I/O, and the same picture gives the same views, to the last byte.
//!
//! | view | for |
//! |---|---|
//! | [`Picture::to_text`] | terminals and mail: at most as wide as asked for |
//! | [`Picture::to_svg`] | pages: light and dark, with a title and a description for screen readers |
//! | [`Picture::to_dot`] | Graphviz |
//! | [`Picture::to_mermaid`] | Markdown |
//! | serde | programs: the model itself |
//!
//! Names of guests come from xenstore, where guests and toolstacks write what they like. Control characters are escaped in the model, and
//! each view escapes what its own language has a meaning for.
//!
//! ```
//! use xennet_core::Host;
//! use xennet_core::picture::{Picture, View};
//! use xennet_core::recording::Taken;
//!
//! let mut host = Host::fake();
//! host.attach(xennet_core::DomId::new(5)?, &"bridge=xenbr0,mac=00:16:3e:00:00:05,ip=192.0.2.5".parse()?)?;
//! let recording = host.record(Taken::default(), None, Err("there is none here".into()));
//! let text = Picture::of_recording(&recording).to_text(&View::default(), 100);
//! assert!(text.contains("vif5.0"));
//! # Ok::<(), xennet_core::Error>(())
//! ```

mod draw;
mod font;
mod graph;
mod group;
mod model;
mod networks;
mod plan;
mod see;
mod svg;
mod tree;
mod words;

use std::str::FromStr;

use crate::error::{Error, ErrorKind, json_text};
use crate::model::flaw::{beginning, quoted};

pub use model::{About, Counters, Filter, Guest, Hub, HubKind, Mark, Outside, Picture, Port, Source, Uplink};

pub use words::bytes;

/// How many columns of a terminal a text takes: ideographs and emoji take two.
pub fn text_columns(text: &str) -> usize {
    tree::columns(text)
}

/// A form that a picture can be given in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Form {
    /// Lines of text: [`Picture::to_text`].
    Text,
    /// SVG: [`Picture::to_svg`].
    Svg,
    /// The language of Graphviz: [`Picture::to_dot`].
    Dot,
    /// A flow chart of Mermaid: [`Picture::to_mermaid`].
    Mermaid,
    /// The model as a JSON document.
    Json,
}

impl Form {
    /// Every form.
    pub const ALL: [Form; 5] = [Form::Text, Form::Svg, Form::Dot, Form::Mermaid, Form::Json];

    /// Its name: `text`, `svg`, `dot`, `mermaid`, `json`.
    pub const fn name(self) -> &'static str {
        match self {
            Form::Text => "text",
            Form::Svg => "svg",
            Form::Dot => "dot",
            Form::Mermaid => "mermaid",
            Form::Json => "json",
        }
    }
}

impl FromStr for Form {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        Form::ALL.into_iter().find(|form| form.name() == text).ok_or_else(|| {
            let names: Vec<&str> = Form::ALL.iter().map(|form| form.name()).collect();
            Error::new(ErrorKind::Invalid, format!("{} is no form of a picture", quoted(text)))
                .with_object(beginning(text))
                .with_hint(format!("one of {}", names.join(", ")))
        })
    }
}

impl Picture {
    /// The columns that text has where nobody says another number.
    pub const COLUMNS: usize = 100;

    /// The picture in one of its forms; text in [`COLUMNS`](Self::COLUMNS).
    pub fn to_form(&self, form: Form, view: &View) -> String {
        match form {
            Form::Text => self.to_text(view, Picture::COLUMNS),
            Form::Svg => self.to_svg(view),
            Form::Dot => self.to_dot(view),
            Form::Mermaid => self.to_mermaid(view),
            Form::Json => json_text(self),
        }
    }
}

/// How a picture is to be seen.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct View {
    /// Whether the counters of links are shown, where the picture knows them.
    pub counters: bool,
    /// Above so many guests in a picture, guests of the same network that differ in nothing but name and address become one.
    pub most: usize,
}

impl View {
    /// As many guests as are drawn one by one.
    pub const MOST: usize = 48;

    /// Without counters.
    pub const fn new() -> Self {
        View { counters: false, most: View::MOST }
    }

    /// With the counters of links.
    #[must_use]
    pub const fn with_counters(mut self) -> Self {
        self.counters = true;
        self
    }

    /// With every guest by itself, however many there are.
    #[must_use]
    pub const fn with_every_guest(mut self) -> Self {
        self.most = usize::MAX;
        self
    }
}

impl Default for View {
    fn default() -> Self {
        View::new()
    }
}

#[cfg(test)]
mod tests;
