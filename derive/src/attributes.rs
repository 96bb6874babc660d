//! What `#[event(...)]` says, and what it may say where.

use proc_macro2::{Span, TokenStream};
use quote::quote;
use syn::{Attribute, Error, Field, LitInt, LitStr, Result};

/// How data becomes bytes.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Codec {
    Json,
    Bincode,
    Raw,
}

impl Codec {
    /// The content type that is stored with the bytes.
    pub(crate) fn content_type(self) -> TokenStream {
        match self {
            Self::Json => quote!(::annals::kit::codec::JSON),
            Self::Bincode => quote!(::annals::kit::codec::BINCODE),
            Self::Raw => quote!(::annals::kit::codec::RAW),
        }
    }

    /// The bytes of a value, given as a reference.
    pub(crate) fn encode(self, value: &TokenStream) -> TokenStream {
        match self {
            Self::Json => quote!(::annals::kit::codec::to_json(#value)),
            Self::Bincode => quote!(::annals::kit::codec::to_bincode(#value)),
            Self::Raw => quote!(::annals::kit::codec::to_raw(#value)),
        }
    }

    /// A value from what is stored.
    pub(crate) fn decode(self, payload: &TokenStream) -> TokenStream {
        let own = self.content_type();
        match self {
            Self::Json | Self::Bincode => {
                quote!(::annals::kit::codec::from_serde(#payload, #own))
            }
            Self::Raw => quote!(::annals::kit::codec::from_raw(#payload)),
        }
    }
}

/// What stands in the `#[event(...)]` of an item or a variant.
#[derive(Default)]
pub(crate) struct Said {
    pub(crate) name: Option<LitStr>,
    pub(crate) version: Option<(u32, Span)>,
    pub(crate) codec: Option<Codec>,
    pub(crate) typed: Option<Span>,
}

impl Said {
    pub(crate) fn read(attributes: &[Attribute]) -> Result<Self> {
        let mut said = Self::default();
        for attribute in attributes.iter().filter(|a| a.path().is_ident("event")) {
            attribute.parse_nested_meta(|meta| {
                if meta.path.is_ident("name") {
                    said.name = Some(stored_name(meta.value()?.parse()?)?);
                } else if meta.path.is_ident("version") {
                    said.version = Some(schema_version(&meta.value()?.parse()?)?);
                } else if meta.path.is_ident("codec") {
                    said.codec = Some(codec(&meta.value()?.parse()?)?);
                } else if meta.path.is_ident("typed") {
                    said.typed = Some(
                        meta.path
                            .segments
                            .first()
                            .map_or_else(Span::call_site, |segment| segment.ident.span()),
                    );
                } else {
                    let known = "expected `name`, `version`, `codec` or `typed`";
                    return Err(meta.error(known));
                }
                Ok(())
            })?;
        }
        Ok(said)
    }

    /// The stored name; `what` is what it is missing from.
    pub(crate) fn stored_name(&self, at: Span, what: &str) -> Result<&LitStr> {
        self.name.as_ref().ok_or_else(|| {
            let why = format!(
                "{what} has no stored name: say `#[event(name = \"...\")]`, which stays when the \
                 Rust name changes"
            );
            Error::new(at, why)
        })
    }

    pub(crate) fn schema_version(&self) -> u32 {
        self.version.map_or(1, |(version, _)| version)
    }
}

fn stored_name(name: LitStr) -> Result<LitStr> {
    const MOST: usize = 255;
    let text = name.value();
    let why = if text.is_empty() {
        "a stored name is not empty"
    } else if text.len() > MOST {
        "a stored name has at most 255 bytes"
    } else if text.chars().any(char::is_control) {
        "a stored name has no control characters"
    } else {
        return Ok(name);
    };
    Err(Error::new(name.span(), why))
}

fn schema_version(number: &LitInt) -> Result<(u32, Span)> {
    match number.base10_parse() {
        Ok(0) => Err(Error::new(number.span(), "schema versions count from 1")),
        Ok(version) => Ok((version, number.span())),
        Err(e) => Err(e),
    }
}

fn codec(name: &LitStr) -> Result<Codec> {
    match name.value().as_str() {
        "json" => Ok(Codec::Json),
        "bincode" => Ok(Codec::Bincode),
        "raw" => Ok(Codec::Raw),
        _ => Err(Error::new(name.span(), "expected \"json\", \"bincode\" or \"raw\"")),
    }
}

/// The key of the tag that a field is, if it is one.
pub(crate) fn tag_of(field: &Field) -> Result<Option<LitStr>> {
    let mut key = None;
    for attribute in field.attrs.iter().filter(|a| a.path().is_ident("event")) {
        attribute.parse_nested_meta(|meta| {
            if !meta.path.is_ident("tag") {
                return Err(meta.error("expected `tag = \"...\"`"));
            }
            let given: LitStr = meta.value()?.parse()?;
            if given.value().is_empty() {
                return Err(Error::new(given.span(), "the key of a tag is not empty"));
            }
            key = Some(given);
            Ok(())
        })?;
    }
    Ok(key)
}
