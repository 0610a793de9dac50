//! `with_…` methods, one for each field of a `#[non_exhaustive]` struct.
//!
//! Such a struct is `#[non_exhaustive]`: another crate cannot write it field by field, so that a new field breaks nobody. It begins with
//! what the constructor gives, and says what differs: `LinkChange::default().with_up(true).with_mtu(1400)`.

/// Gives a type a method `with_…` for each of these fields. A field that is an `Option` takes the value itself, too.
macro_rules! setters {
    ($type:ident { $($with:ident: $field:ident = $arg:ty;)+ }) => {
        impl $type {
            $(
                #[doc = concat!("Sets [`", stringify!($field), "`](", stringify!($type), "::", stringify!($field), ").")]
                #[must_use]
                pub fn $with(mut self, $field: $arg) -> Self {
                    self.$field = $field.into();
                    self
                }
            )+
        }
    };
}
