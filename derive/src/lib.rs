//! The derive macros of annals: events with stored names and schema versions.
//!
//! They are used through `annals` (feature `derive`), where the traits are described:
//! `annals::kit::TypedEvent` for one type of event, `annals::kit::EventSet` for an enum of them.

mod attributes;
mod set;
mod single;

use proc_macro::TokenStream;
use syn::{DeriveInput, parse_macro_input};

/// One type of event, from a struct: `#[event(name = "OrderPlaced", version = 1)]`.
///
/// The name is what is stored, so the struct may be renamed at any time. The version is 1 where it
/// is not given. `codec` is `"json"` (the default) or `"bincode"`, by the struct's own `Serialize`
/// and `Deserialize`, or `"raw"`, by its `AsRef<[u8]>` and `From<Vec<u8>>`. A field with
/// `#[event(tag = "customer")]` tags the event `customer:` and its value.
#[proc_macro_derive(TypedEvent, attributes(event))]
pub fn typed_event(input: TokenStream) -> TokenStream {
    let input = parse_macro_input!(input as DeriveInput);
    single::derive(&input).unwrap_or_else(|e| e.to_compile_error()).into()
}

/// A set of event types, from an enum: each variant is one.
///
/// A variant with named fields, or without any, needs
/// `#[event(name = "OrderPlaced", version = 2)]`; its fields are what is stored, and take the
/// attributes of serde. A variant around one value is either the same, and what is stored is that
/// value, or `#[event(typed)]`, and its type says name and version itself, by `TypedEvent`.
///
/// `#[event(codec = "bincode")]` on the enum holds for every variant that does not say otherwise.
#[proc_macro_derive(EventSet, attributes(event, serde))]
pub fn event_set(input: TokenStream) -> TokenStream {
    let input = parse_macro_input!(input as DeriveInput);
    set::derive(&input).unwrap_or_else(|e| e.to_compile_error()).into()
}
