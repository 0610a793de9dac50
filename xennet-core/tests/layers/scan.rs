//! What a module names: every path in its code that leads out of it, macros and attributes included.
//!
//! The code is scanned token by token, so no kind of expression or type is forgotten. Only what `#[cfg(test)]` stands before is left
//! out. Imports and their renames are followed within a module.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use proc_macro2::{TokenStream, TokenTree};
use syn::ext::IdentExt as _;
use syn::parse::discouraged::Speculative as _;
use syn::parse::{ParseStream, Parser as _};
use syn::punctuated::Punctuated;
use syn::{Attribute, Ident, ImplItem, Item, ItemUse, LitStr, Meta, Stmt, Token, UseTree};

/// Macros of the standard library that write to a terminal.
const PRINTING: &[&str] = &["print", "println", "eprint", "eprintln", "dbg"];

/// A path: its segments.
pub(crate) type Names = Vec<String>;

/// A module, without what only tests have.
#[derive(Debug, Default)]
pub(crate) struct Module {
    /// Where it is: `crate`, `plan`, `check`.
    pub(crate) at: Names,
    /// What imports and child modules stand for, by their name here.
    pub(crate) names: BTreeMap<String, Names>,
    /// The paths as they are written.
    written: Vec<Names>,
    /// Child modules within the same file.
    inner: Vec<Module>,
    /// Child modules in files of their own, and whether only tests have them.
    files: Vec<(String, bool)>,
}

/// A source file.
#[derive(Debug)]
pub(crate) struct Source {
    /// The file, below the directory of the sources.
    pub(crate) file: PathBuf,
    /// What it says; `None` if only tests have it.
    pub(crate) module: Option<Module>,
}

impl Module {
    /// The module at a place with this text.
    pub(crate) fn of(at: &[&str], text: &str) -> syn::Result<Module> {
        let mut module = Module { at: at.iter().map(|&name| name.to_owned()).collect(), ..Module::default() };
        module.tokens(text.parse()?)?;
        Ok(module)
    }

    /// The top-level module that it belongs to; `None` for the crate itself.
    pub(crate) fn layer(&self) -> Option<&str> {
        self.at.get(1).map(String::as_str)
    }

    /// A child module within the same file.
    pub(crate) fn inner(&self, name: &str) -> Option<&Module> {
        self.inner.iter().find(|inner| inner.at.last().is_some_and(|last| last == name))
    }

    /// All paths in it. Those into this crate begin with `crate`; others begin with the name of a crate, or of something in the module.
    pub(crate) fn paths(&self) -> Vec<Names> {
        let own = self.written.iter().map(|path| self.resolved(path));
        own.chain(self.inner.iter().flat_map(Module::paths)).collect()
    }

    /// Where a path leads.
    pub(crate) fn resolved(&self, path: &[String]) -> Names {
        let mut path = path.to_vec();
        // Imports may build on each other. No module needs as many.
        for _ in 0..8 {
            let Some(first) = path.first().cloned() else { break };
            let rest = path.iter().skip(1).cloned();
            path = match first.as_str() {
                // `::name`, which no import changes.
                "" => return rest.collect(),
                "crate" => {
                    // `crate::a::super` comes from an import of `super`.
                    let mut out: Names = Vec::new();
                    for name in path {
                        if name == "super" {
                            out.pop();
                        } else if name != "self" {
                            out.push(name);
                        }
                    }
                    return out;
                }
                "self" | "super" => self.at.iter().cloned().chain(path).collect(),
                name => match self.names.get(name) {
                    Some(meant) => meant.iter().cloned().chain(rest).collect(),
                    None => return path,
                },
            };
        }
        path
    }

    fn tokens(&mut self, tokens: TokenStream) -> syn::Result<()> {
        (|input: ParseStream<'_>| self.scan(input)).parse2(tokens)
    }

    fn scan(&mut self, input: ParseStream<'_>) -> syn::Result<()> {
        while !input.is_empty() {
            let taken = if input.peek(Token![#]) {
                self.attribute(input)?
            } else if input.peek(Token![use]) && !input.peek2(Token![<]) {
                self.import(input)
            } else if input.peek(Token![mod]) && input.peek2(Ident) {
                self.child(input)?
            } else {
                self.path(input)?
            };
            if !taken && let TokenTree::Group(group) = input.parse()? {
                self.tokens(group.stream())?;
            }
        }
        Ok(())
    }

    /// Leaves out what only tests have, and looks for paths in other attributes: serde has them in strings.
    fn attribute(&mut self, input: ParseStream<'_>) -> syn::Result<bool> {
        let ahead = input.fork();
        let Ok(attributes) = Attribute::parse_outer(&ahead) else { return Ok(false) };
        if attributes.iter().any(is_for_tests) {
            return Ok(self.leave_out(input));
        }
        input.parse::<Token![#]>()?;
        let TokenTree::Group(group) = input.parse()? else { return Ok(true) };
        if attributes.first().is_some_and(|a| !a.path().is_ident("doc")) {
            self.strings(group.stream());
            self.tokens(group.stream())?;
        }
        Ok(true)
    }

    fn leave_out(&mut self, input: ParseStream<'_>) -> bool {
        let ahead = input.fork();
        if let Ok(item) = ahead.parse::<Item>() {
            if let Item::Mod(module) = &item
                && module.content.is_none()
            {
                self.files.push((module.ident.unraw().to_string(), true));
            }
            input.advance_to(&ahead);
            return true;
        }
        let ahead = input.fork();
        let found = ahead.parse::<ImplItem>().is_ok();
        if found {
            input.advance_to(&ahead);
            return true;
        }
        let ahead = input.fork();
        let found = ahead.parse::<Stmt>().is_ok();
        if found {
            input.advance_to(&ahead);
        }
        // Something else, such as a field: it is scanned as if there were no attribute.
        found
    }

    fn strings(&mut self, tokens: TokenStream) {
        for token in tokens {
            match token {
                TokenTree::Group(group) => self.strings(group.stream()),
                TokenTree::Literal(_) => {
                    let text = syn::parse2::<LitStr>(token.into()).map(|text| text.value());
                    if let Ok(path) = text.as_deref().map_err(Clone::clone).and_then(syn::parse_str::<syn::Path>) {
                        self.written.push(path.segments.iter().map(|s| s.ident.unraw().to_string()).collect());
                    }
                }
                _ => {}
            }
        }
    }

    fn import(&mut self, input: ParseStream<'_>) -> bool {
        let ahead = input.fork();
        let Ok(import) = ahead.parse::<ItemUse>() else { return false };
        input.advance_to(&ahead);
        let root = import.leading_colon.iter().map(|_| String::new()).collect();
        self.tree(root, &import.tree);
        true
    }

    fn tree(&mut self, mut before: Names, tree: &UseTree) {
        let mut named = |mut path: Names, ident: &Ident, name: &Ident| {
            // `a::{self}` is `a`.
            if *ident != "self" || path.is_empty() {
                path.push(ident.unraw().to_string());
            }
            let name = if name == "self" { path.last().cloned().unwrap_or_default() } else { name.unraw().to_string() };
            self.names.insert(name, path.clone());
            self.written.push(path);
        };
        match tree {
            UseTree::Path(path) => {
                before.push(path.ident.unraw().to_string());
                self.tree(before, &path.tree);
            }
            UseTree::Name(leaf) => named(before, &leaf.ident, &leaf.ident),
            UseTree::Rename(leaf) => named(before, &leaf.ident, &leaf.rename),
            UseTree::Glob(_) => {
                before.push("*".to_owned());
                self.written.push(before);
            }
            UseTree::Group(group) => group.items.iter().for_each(|tree| self.tree(before.clone(), tree)),
        }
    }

    fn child(&mut self, input: ParseStream<'_>) -> syn::Result<bool> {
        input.parse::<Token![mod]>()?;
        let name = input.parse::<Ident>()?.unraw().to_string();
        let at: Names = self.at.iter().cloned().chain([name.clone()]).collect();
        self.names.insert(name.clone(), at.clone());
        if input.peek(Token![;]) {
            self.files.push((name, false));
        } else if let TokenTree::Group(group) = input.parse()? {
            let mut inner = Module { at, ..Module::default() };
            inner.tokens(group.stream())?;
            self.inner.push(inner);
        }
        Ok(true)
    }

    fn path(&mut self, input: ParseStream<'_>) -> syn::Result<bool> {
        let begins = |at: ParseStream<'_>| {
            at.peek(Ident) || at.peek(Token![crate]) || at.peek(Token![super]) || at.peek(Token![self])
        };
        let ahead = input.fork();
        let mut path: Names = ahead.parse::<Option<Token![::]>>()?.iter().map(|_| String::new()).collect();
        if !begins(&ahead) {
            return Ok(false);
        }
        path.push(Ident::parse_any(&ahead)?.unraw().to_string());
        input.advance_to(&ahead);
        while input.peek(Token![::]) {
            ahead.parse::<Token![::]>()?;
            if ahead.peek(Ident::peek_any) {
                path.push(Ident::parse_any(&ahead)?.unraw().to_string());
                input.advance_to(&ahead);
                continue;
            }
            // An import in the rules of a macro.
            if ahead.peek(syn::token::Brace)
                && let TokenTree::Group(group) = ahead.parse()?
                && let Ok(trees) = Punctuated::<UseTree, Token![,]>::parse_terminated.parse2(group.stream())
            {
                trees.iter().for_each(|tree| self.tree(path.clone(), tree));
                input.advance_to(&ahead);
                return Ok(true);
            }
            break;
        }
        if path.len() > 1 {
            self.written.push(path);
        } else if input.peek(Token![!]) && !input.peek(Token![!=]) && PRINTING.contains(&path[0].as_str()) {
            self.written.push(vec!["std".to_owned(), path.remove(0)]);
        }
        Ok(true)
    }
}

/// Whether it says `cfg(test)`, alone or with other conditions.
pub(crate) fn is_for_tests(attribute: &Attribute) -> bool {
    fn needs_test(meta: &Meta) -> bool {
        let all = |list: &syn::MetaList| list.parse_args_with(Punctuated::<Meta, Token![,]>::parse_terminated);
        match meta {
            Meta::Path(path) => path.is_ident("test"),
            Meta::List(list) if list.path.is_ident("all") => all(list).is_ok_and(|all| all.iter().any(needs_test)),
            _ => false,
        }
    }
    attribute.path().is_ident("cfg") && attribute.parse_args::<Meta>().is_ok_and(|meta| needs_test(&meta))
}

/// All source files of a crate, found as the compiler finds them.
pub(crate) fn sources(src: &Path) -> Vec<Source> {
    let mut found = Vec::new();
    follow(src, Path::new("lib.rs"), &["crate"], false, &mut found);
    found
}

fn follow(src: &Path, file: &Path, at: &[&str], for_tests: bool, found: &mut Vec<Source>) {
    let text = fs::read_to_string(src.join(file)).unwrap_or_else(|e| panic!("{}: {e}", file.display()));
    let module = Module::of(at, &text).unwrap_or_else(|e| panic!("{}: {e}", file.display()));
    assert!(module.inner.iter().all(|inner| inner.files.is_empty()), "{}: a module below an inner one", file.display());
    let below = match file.file_stem().and_then(|stem| stem.to_str()) {
        Some("lib" | "mod") | None => file.with_file_name(""),
        Some(stem) => file.with_file_name(stem),
    };
    for (name, only_tests) in &module.files {
        let alone = below.join(format!("{name}.rs"));
        let child = if src.join(&alone).exists() { alone } else { below.join(name).join("mod.rs") };
        let at: Vec<&str> = at.iter().copied().chain([name.as_str()]).collect();
        follow(src, &child, &at, for_tests || *only_tests, found);
    }
    found.push(Source { file: file.to_owned(), module: (!for_tests).then_some(module) });
}

#[cfg(test)]
mod tests {
    use super::Module;

    /// The paths that a module at `crate::plan::check` names.
    fn paths(text: &str) -> Vec<String> {
        let module = Module::of(&["crate", "plan", "check"], text).unwrap();
        module.paths().iter().map(|path| path.join("::")).collect()
    }

    #[test]
    fn an_import_after_a_test_item_is_seen() {
        let text = "
            #[cfg(test)]
            mod tests { use crate::host::Host; }
            #[cfg(test)]
            use crate::fake::Fake;
            use crate::exec::Journal;
            #[cfg(all(test, feature = \"netlink\"))]
            fn only_tests() { crate::backend::x() }
            impl A {
                #[cfg(test)]
                fn a(&self) { std::env::args(); }
                #[cfg(not(test))]
                fn b(&self) { #[cfg(test)] std::fs::read(\"\"); std::process::id(); }
            }
            #[cfg(any(test, unix))]
            const C: u8 = crate::step::C;
        ";
        assert_eq!(paths(text), ["crate::exec::Journal", "std::process::id", "crate::step::C"]);
    }

    #[test]
    fn groups_and_renames_are_followed() {
        let text = "
            use crate::{model::{Intent, mac as m}, exec::{self as carried, state::{self}}, plan};
            use std::{self as s, fmt};
            fn f() { m::parse(); carried::apply(); state::read(); s::env::var(\"\"); fmt::format(); }
        ";
        let wanted = [
            "crate::model::Intent",
            "crate::model::mac",
            "crate::exec",
            "crate::exec::state",
            "crate::plan",
            "std",
            "std::fmt",
            "crate::model::mac::parse",
            "crate::exec::apply",
            "crate::exec::state::read",
            "std::env::var",
            "std::fmt::format",
        ];
        assert_eq!(paths(text), wanted);
    }

    #[test]
    fn super_leads_to_its_module() {
        let text = "
            use super::Reason;
            use super::super::exec::Held;
            use super::super as above;
            use super::super::*;
            pub(super) fn f() { super::super::host::x(); self::y(); above::step::step() }
            pub(in super::super) mod inner { use super::super::diff; }
        ";
        let wanted = [
            "crate::plan::Reason",
            "crate::exec::Held",
            "crate",
            "crate::*",
            "crate::host::x",
            "crate::plan::check::y",
            "crate::step::step",
            "crate",
            "crate::plan::diff",
        ];
        assert_eq!(paths(text), wanted);
    }

    #[test]
    fn paths_in_expressions_types_and_macros_are_seen() {
        let text = "
            fn f(at: &mut crate::exec::Held<::std::fs::File>) -> Vec<std::io::Error> {
                let name = format!(\"{}\", std::env::var(\"HOME\").unwrap_or(vec![crate::hotplug::x!()]));
                Vec::<std::time::Instant>::new();
                <rustix::fd::OwnedFd as crate::backend::Backend>::observe(at);
                eprintln!(\"std::fs::read\");
                let is = name != at;
            }
            macro_rules! m { ($t:ty) => { use $crate::{exec::Applied}; std::thread::spawn(|| $t::new()) } }
        ";
        let wanted = [
            "crate::exec::Held",
            "std::fs::File",
            "std::io::Error",
            "std::env::var",
            "crate::hotplug::x",
            "std::time::Instant",
            "new",
            "rustix::fd::OwnedFd",
            "crate::backend::Backend",
            "observe",
            "std::eprintln",
            "crate::exec::Applied",
            "std::thread::spawn",
            "t::new",
        ];
        assert_eq!(paths(text), wanted);
    }

    #[test]
    fn comments_and_strings_are_no_code_but_attributes_are() {
        let text = "
            //! As [`crate::host::Host`].
            /// See `std::fs::read`, or [x](crate::exec).
            #[derive(serde::Serialize)]
            struct A {
                // std::env
                #[serde(skip_serializing_if = \"crate::gather::is_none\")]
                a: u8,
            }
            const TEXT: &str = \"crate::exec::apply\";
        ";
        assert_eq!(paths(text), ["serde::Serialize", "crate::gather::is_none"]);
    }

    #[test]
    fn a_module_hides_a_crate_of_its_name() {
        let text = "mod toml; fn f() { toml::read(); ::toml::parse(); }";
        assert_eq!(paths(text), ["crate::plan::check::toml::read", "toml::parse"]);
    }
}
