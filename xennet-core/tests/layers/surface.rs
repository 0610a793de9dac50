//! The public surface: the number of items, and the types that another crate can build field by field or match exhaustively, so that a new
//! field or variant breaks it.
//!
//! An item that says `pub` counts wherever it stands: the lint `unreachable_pub` sees to it that it can be reached.

use std::collections::BTreeMap;

use proc_macro2::{TokenStream, TokenTree};
use syn::ext::IdentExt as _;
use syn::{Attribute, Expr, ExprLit, Fields, ImplItem, Item, Lit, Meta, Visibility};

use crate::scan::is_for_tests;

/// What some files show to other crates.
#[derive(Debug, Default)]
pub(crate) struct Surface {
    /// Public modules, types, traits, functions, methods and constants.
    pub(crate) items: usize,
    /// Public structs, and those of them that other crates can build field by field.
    pub(crate) structs: (usize, usize),
    /// Public enums, and those of them that other crates can match without a wildcard.
    pub(crate) enums: (usize, usize),
    /// The open types by module and name, with what their documentation says about it.
    pub(crate) open: BTreeMap<String, Option<String>>,
}

impl Surface {
    /// Adds what these items of a module show.
    pub(crate) fn add(&mut self, module: &str, items: &[Item]) {
        for item in items {
            self.item(module, item);
        }
    }

    fn item(&mut self, module: &str, item: &Item) {
        let (vis, attributes) = match item {
            Item::Const(i) => (&i.vis, &i.attrs),
            Item::Enum(i) => (&i.vis, &i.attrs),
            Item::Fn(i) => (&i.vis, &i.attrs),
            Item::Mod(i) => (&i.vis, &i.attrs),
            Item::Static(i) => (&i.vis, &i.attrs),
            Item::Struct(i) => (&i.vis, &i.attrs),
            Item::Trait(i) => (&i.vis, &i.attrs),
            Item::Type(i) => (&i.vis, &i.attrs),
            Item::Union(i) => (&i.vis, &i.attrs),
            Item::Impl(i) => {
                if i.trait_.is_none() && !i.attrs.iter().any(is_for_tests) {
                    self.items += i.items.iter().filter(|part| is_shown(part)).count();
                }
                return;
            }
            Item::Macro(i) if i.mac.path.is_ident("setters") => {
                self.items += methods(i.mac.tokens.clone());
                return;
            }
            _ => return,
        };
        if attributes.iter().any(is_for_tests) {
            return;
        }
        if let Item::Mod(i) = item
            && let Some((_, items)) = &i.content
        {
            self.add(&format!("{module}::{}", i.ident), items);
        }
        if !is_public(vis) {
            return;
        }
        self.items += 1;
        let is_open = !attributes.iter().any(|a| a.path().is_ident("non_exhaustive"));
        match item {
            Item::Struct(i) => {
                let is_open = is_open && can_be_built(&i.fields);
                self.structs = (self.structs.0 + 1, self.structs.1 + usize::from(is_open));
                if is_open {
                    self.open.insert(format!("{module}::{}", i.ident.unraw()), reason(attributes));
                }
            }
            Item::Enum(i) => {
                self.enums = (self.enums.0 + 1, self.enums.1 + usize::from(is_open));
                if is_open {
                    self.open.insert(format!("{module}::{}", i.ident.unraw()), reason(attributes));
                }
            }
            _ => {}
        }
    }
}

fn is_public(vis: &Visibility) -> bool {
    matches!(vis, Visibility::Public(_))
}

fn is_shown(part: &ImplItem) -> bool {
    let (vis, attributes) = match part {
        ImplItem::Const(i) => (&i.vis, &i.attrs),
        ImplItem::Fn(i) => (&i.vis, &i.attrs),
        ImplItem::Type(i) => (&i.vis, &i.attrs),
        _ => return false,
    };
    is_public(vis) && !attributes.iter().any(is_for_tests)
}

/// Whether every field is public, and there is one.
fn can_be_built(fields: &Fields) -> bool {
    !fields.is_empty() && fields.iter().all(|field| is_public(&field.vis))
}

/// The methods that the macro `setters` makes of these tokens: one for each name `with_…`.
fn methods(tokens: TokenStream) -> usize {
    let of = |token| match token {
        TokenTree::Group(group) => methods(group.stream()),
        TokenTree::Ident(name) => usize::from(name.to_string().starts_with("with_")),
        _ => 0,
    };
    tokens.into_iter().map(of).sum()
}

/// The line of the documentation that says why there will be no other parts.
fn reason(attributes: &[Attribute]) -> Option<String> {
    attributes.iter().find_map(|attribute| match &attribute.meta {
        Meta::NameValue(meta) if meta.path.is_ident("doc") => match &meta.value {
            Expr::Lit(ExprLit { lit: Lit::Str(text), .. }) => {
                let text = text.value().trim().to_owned();
                text.starts_with("There are no other").then_some(text)
            }
            _ => None,
        },
        _ => None,
    })
}

#[cfg(test)]
mod tests {
    use super::Surface;

    fn surface(text: &str) -> Surface {
        let mut surface = Surface::default();
        surface.add("m", &syn::parse_file(text).unwrap().items);
        surface
    }

    #[test]
    fn open_types_are_found() {
        for text in ["pub struct A { pub a: u8 }", "#[derive(Clone)] pub struct A(pub u8);"] {
            assert!(surface(text).open.contains_key("m::A"), "{text}");
        }
        let inner = surface("mod a { pub enum A { B } } pub mod b { pub enum A { B } }").open;
        assert!(inner.keys().eq(["m::a::A", "m::b::A"]));
        for text in [
            "#[non_exhaustive] pub struct A { pub a: u8 }",
            "#[non_exhaustive] pub enum A { B }",
            "pub struct A { pub a: u8, b: u8 }",
            "pub struct A(u8);",
            "pub struct A;",
            "pub(crate) enum A { B }",
            "struct A { pub a: u8 }",
            "#[cfg(test)] pub enum A { B }",
        ] {
            assert!(surface(text).open.is_empty(), "{text}");
        }
    }

    #[test]
    fn a_reason_is_one_line_of_the_documentation() {
        let given =
            "/// Two.\n///\n/// There are no others: a coin has two sides.\npub enum A { B, C }\npub enum D { E }";
        let open = surface(given).open;
        assert_eq!(open["m::A"].as_deref(), Some("There are no others: a coin has two sides."));
        assert_eq!(open["m::D"], None);
    }

    #[test]
    fn items_are_counted_once() {
        let text = "
            pub mod a { pub fn b() {} fn c() {} }
            pub struct D; impl D { pub const E: u8 = 1; pub fn f() {} pub(crate) fn g() {} fn h() {} }
            impl Clone for D { fn clone(&self) -> Self { D } }
            setters! { D { with_a: a = u8; with_b: b = impl Into<Option<u8>>; } }
            #[cfg(test)] pub fn i() {}
            pub use a::b;
        ";
        assert_eq!(surface(text).items, 7, "a, b, D, E, f, with_a, with_b");
    }
}
