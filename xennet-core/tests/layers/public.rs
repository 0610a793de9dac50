//! What a module shows to other crates: the paths in the signatures of its public items.
//!
//! Which modules other crates can reach is not looked at: an item that says `pub` may be exported anywhere. Of a macro every name counts,
//! since what it makes may be public.

use std::collections::BTreeSet;

use proc_macro2::{TokenStream, TokenTree};
use syn::ext::IdentExt as _;
use syn::visit::{self, Visit};
use syn::{Attribute, File, Ident, ImplItem, Item, ItemImpl, ItemMacro, ItemUse, Path, Type, UseTree, Visibility};

use crate::scan::{Module, Names, is_for_tests};

/// The names of types and traits that stay within the crate.
#[derive(Debug, Default)]
pub(crate) struct Hidden {
    public: BTreeSet<String>,
    private: BTreeSet<String>,
}

impl Hidden {
    /// Adds those that a file declares. A name that is public anywhere counts as public.
    pub(crate) fn add(&mut self, file: &File) {
        self.items(&file.items);
    }

    fn items(&mut self, items: &[Item]) {
        for item in items.iter().filter(|item| !attributes(item).iter().any(is_for_tests)) {
            let (vis, name) = match item {
                Item::Enum(i) => (&i.vis, &i.ident),
                Item::Struct(i) => (&i.vis, &i.ident),
                Item::Trait(i) => (&i.vis, &i.ident),
                Item::Type(i) => (&i.vis, &i.ident),
                Item::Union(i) => (&i.vis, &i.ident),
                Item::Mod(i) => {
                    self.items(i.content.as_ref().map_or(&[], |(_, items)| items));
                    continue;
                }
                _ => continue,
            };
            let of = if is_public(vis) { &mut self.public } else { &mut self.private };
            of.insert(name.unraw().to_string());
        }
    }

    fn has(&self, path: &Path) -> bool {
        let name = path.segments.last().map(|last| last.ident.unraw().to_string());
        name.is_some_and(|name| self.private.contains(&name) && !self.public.contains(&name))
    }
}

/// The paths in the public signatures of a file, as they lead from its module.
pub(crate) fn signatures(file: &File, module: &Module, hidden: &Hidden) -> Vec<Names> {
    Public::of(&file.items, module, hidden)
}

struct Public<'a> {
    /// The items beside it.
    items: &'a [Item],
    module: &'a Module,
    hidden: &'a Hidden,
    found: Vec<Names>,
}

impl Public<'_> {
    fn of(items: &[Item], module: &Module, hidden: &Hidden) -> Vec<Names> {
        let mut public = Public { items, module, hidden, found: Vec::new() };
        items.iter().for_each(|item| public.visit_item(item));
        public.found
    }

    fn tokens(&mut self, tokens: TokenStream) {
        for token in tokens {
            match token {
                TokenTree::Group(group) => self.tokens(group.stream()),
                TokenTree::Ident(name) => self.found.push(self.module.resolved(&[name.unraw().to_string()])),
                _ => {}
            }
        }
    }

    fn exported(&mut self, before: &[String], tree: &UseTree) {
        let with = |name: &Ident| before.iter().cloned().chain([name.unraw().to_string()]).collect::<Names>();
        match tree {
            UseTree::Path(path) => self.exported(&with(&path.ident), &path.tree),
            UseTree::Name(leaf) => self.found.push(self.module.resolved(&with(&leaf.ident))),
            UseTree::Rename(leaf) => self.found.push(self.module.resolved(&with(&leaf.ident))),
            UseTree::Glob(_) => self.found.push(self.module.resolved(before)),
            UseTree::Group(group) => group.items.iter().for_each(|tree| self.exported(before, tree)),
        }
    }
}

impl<'ast> Visit<'ast> for Public<'_> {
    fn visit_item(&mut self, item: &'ast Item) {
        if attributes(item).iter().any(is_for_tests) {
            return;
        }
        let is_shown = match item {
            Item::Const(i) => is_public(&i.vis),
            Item::Enum(i) => is_public(&i.vis),
            Item::Fn(i) => is_public(&i.vis),
            Item::Static(i) => is_public(&i.vis),
            Item::Struct(i) => is_public(&i.vis),
            Item::Trait(i) => is_public(&i.vis),
            Item::Union(i) => is_public(&i.vis),
            Item::Use(i) => is_public(&i.vis),
            // One that stays in its module counts where a public signature names it.
            Item::Type(i) => !matches!(i.vis, Visibility::Inherited),
            Item::Impl(_) | Item::Macro(_) => true,
            Item::Mod(inner) => {
                let name = inner.ident.unraw().to_string();
                if let (Some((_, items)), Some(module)) = (&inner.content, self.module.inner(&name)) {
                    self.found.extend(Public::of(items, module, self.hidden));
                }
                false
            }
            _ => false,
        };
        if is_shown {
            visit::visit_item(self, item);
        }
    }

    fn visit_item_impl(&mut self, item: &'ast ItemImpl) {
        let of = match &*item.self_ty {
            Type::Path(of) => Some(&of.path),
            _ => None,
        };
        let of_trait = item.trait_.as_ref().map(|(path, ..)| path);
        if of.into_iter().chain(of_trait).any(|path| self.hidden.has(path)) {
            return;
        }
        self.visit_generics(&item.generics);
        self.visit_type(&item.self_ty);
        of_trait.into_iter().for_each(|path| self.visit_path(path));
        for part in &item.items {
            let is_shown = match part {
                _ if of_trait.is_some() => true,
                ImplItem::Const(i) => is_public(&i.vis),
                ImplItem::Fn(i) => is_public(&i.vis),
                ImplItem::Type(i) => is_public(&i.vis),
                _ => true,
            };
            if is_shown {
                self.visit_impl_item(part);
            }
        }
    }

    fn visit_item_struct(&mut self, item: &'ast syn::ItemStruct) {
        self.visit_generics(&item.generics);
        item.fields.iter().filter(|field| is_public(&field.vis)).for_each(|field| self.visit_field(field));
    }

    fn visit_impl_item_fn(&mut self, item: &'ast syn::ImplItemFn) {
        self.visit_signature(&item.sig);
    }

    fn visit_item_fn(&mut self, item: &'ast syn::ItemFn) {
        self.visit_signature(&item.sig);
    }

    fn visit_trait_item_fn(&mut self, item: &'ast syn::TraitItemFn) {
        self.visit_signature(&item.sig);
    }

    fn visit_expr(&mut self, _: &'ast syn::Expr) {}

    fn visit_attribute(&mut self, _: &'ast Attribute) {}

    fn visit_visibility(&mut self, _: &'ast Visibility) {}

    fn visit_item_macro(&mut self, item: &'ast ItemMacro) {
        self.tokens(item.mac.tokens.clone());
    }

    fn visit_item_use(&mut self, item: &'ast ItemUse) {
        self.exported(&[], &item.tree);
    }

    fn visit_path(&mut self, path: &'ast Path) {
        let root = path.leading_colon.iter().map(|_| String::new());
        let names: Names = root.chain(path.segments.iter().map(|s| s.ident.unraw().to_string())).collect();
        if let [name] = &names[..] {
            let alias = self.items.iter().find_map(|item| match item {
                Item::Type(i) if matches!(i.vis, Visibility::Inherited) && i.ident == name => Some(&i.ty),
                _ => None,
            });
            alias.into_iter().for_each(|meant| self.visit_type(meant));
        }
        self.found.push(self.module.resolved(&names));
        visit::visit_path(self, path);
    }
}

fn is_public(vis: &Visibility) -> bool {
    matches!(vis, Visibility::Public(_))
}

fn attributes(item: &Item) -> &[Attribute] {
    match item {
        Item::Const(i) => &i.attrs,
        Item::Enum(i) => &i.attrs,
        Item::Fn(i) => &i.attrs,
        Item::Impl(i) => &i.attrs,
        Item::Macro(i) => &i.attrs,
        Item::Mod(i) => &i.attrs,
        Item::Static(i) => &i.attrs,
        Item::Struct(i) => &i.attrs,
        Item::Trait(i) => &i.attrs,
        Item::Type(i) => &i.attrs,
        Item::Union(i) => &i.attrs,
        Item::Use(i) => &i.attrs,
        _ => &[],
    }
}

#[cfg(test)]
mod tests {
    use super::{Hidden, signatures};
    use crate::scan::Module;

    /// The third party's paths in the signatures of a module.
    fn theirs(text: &str) -> Vec<String> {
        let module = Module::of(&["crate", "plan", "check"], text).unwrap();
        let file = syn::parse_file(text).unwrap();
        let mut hidden = Hidden::default();
        hidden.add(&file);
        let all = signatures(&file, &module, &hidden).into_iter().map(|path| path.join("::"));
        all.filter(|path| path.starts_with("rustix")).collect()
    }

    #[test]
    fn public_items_are_seen_wherever_the_type_stands() {
        for text in [
            "pub fn f(e: rustix::io::Errno) {}",
            "use rustix::io; pub fn f() -> Vec<Option<io::Errno>> { x() }",
            "use rustix::io::Errno as Os; pub struct A<T> where T: From<Os> { t: T }",
            "use rustix::io::Errno; pub struct A { pub a: [Errno; 2] }",
            "use rustix::io::Errno; pub struct A(u8, pub Errno);",
            "use rustix::io::Errno; pub enum A { A(Errno) }",
            "use rustix::io::Errno; pub enum A { A { a: Errno } }",
            "use rustix::io::Errno; pub const A: fn(Errno) = f;",
            "use rustix::io::Errno; pub trait A { fn a(&self) -> impl Iterator<Item = Errno>; }",
            "use rustix::io::Errno; pub trait A { fn a<E: Into<Errno>>(&self) { b() } }",
            "pub struct A; impl From<rustix::io::Errno> for A { fn from(e: x::Y) -> A { A } }",
            "pub struct A; impl A { pub fn a(e: &dyn Fn(::rustix::io::Errno)) {} }",
            "impl Iterator for crate::A { type Item = rustix::io::Errno; }",
            "pub use rustix::io::Errno;",
            "pub use rustix::{io::{self, Errno as Os}};",
            "type Os = rustix::io::Errno; pub fn f(e: Os) {}",
            "pub(crate) type Os = rustix::io::Errno;",
            "pub mod inner { use rustix::io::Errno; pub fn f(e: Errno) {} }",
            "use rustix::io::Errno; macro_rules! m { () => { pub fn f(e: Errno) {} } }",
        ] {
            let found = theirs(text);
            assert!(!found.is_empty(), "{text}");
        }
    }

    #[test]
    fn what_stays_within_the_crate_is_not() {
        for text in [
            "fn f(e: rustix::io::Errno) {}",
            "pub(crate) fn f(e: rustix::io::Errno) {}",
            "pub fn f() { let e: rustix::io::Errno = g(); }",
            "pub struct A { a: rustix::fd::OwnedFd, pub(crate) b: rustix::fd::OwnedFd }",
            "pub struct A; impl A { pub(super) fn a(e: rustix::io::Errno) {} fn b(e: rustix::io::Errno) {} }",
            "struct A; impl From<rustix::io::Errno> for A { fn from(e: rustix::io::Errno) -> A { A } }",
            "pub struct A; trait B {} impl B for A { fn from(e: rustix::io::Errno) -> A { A } }",
            "pub const A: u8 = rustix::A;",
            "type Os = rustix::io::Errno; fn f(e: Os) {}",
            "use rustix::io::Errno; mod inner { pub(crate) use rustix::io::Errno; }",
            "#[cfg(test)] pub fn f(e: rustix::io::Errno) {}",
            "#[cfg(test)] mod tests { pub fn f(e: rustix::io::Errno) {} }",
        ] {
            assert_eq!(theirs(text), [""; 0], "{text}");
        }
    }
}
