//! A set of event types, from an enum.

use std::collections::BTreeMap;

use proc_macro2::{Span, TokenStream};
use quote::{format_ident, quote};
use syn::{Attribute, Data, DeriveInput, Error, Field, Fields, Ident, LitStr, Result, Variant};

use crate::attributes::{Codec, Said, tag_of};
use crate::single::no_generics;

/// The code for one variant, by the method that it stands in.
struct Arms {
    schema: TokenStream,
    encode: TokenStream,
    decode: TokenStream,
    tags: TokenStream,
}

pub(crate) fn derive(input: &DeriveInput) -> Result<TokenStream> {
    let Data::Enum(data) = &input.data else {
        let why = "`EventSet` is for enums; for one type of event derive `TypedEvent`";
        return Err(Error::new(input.ident.span(), why));
    };
    no_generics(input)?;
    let said = Said::read(&input.attrs)?;
    if said.name.is_some() || said.version.is_some() || said.typed.is_some() {
        let why = "names and versions belong to the variants; an enum takes `codec` alone";
        return Err(Error::new(input.ident.span(), why));
    }
    if data.variants.is_empty() {
        return Err(Error::new(input.ident.span(), "an enum without variants has no events"));
    }
    let mut names = BTreeMap::new();
    let mut arms = Vec::new();
    let mut problems: Option<Error> = None;
    for variant in &data.variants {
        match of_variant(variant, said.codec, &mut names) {
            Ok(of_this) => arms.push(of_this),
            Err(e) => match &mut problems {
                Some(problems) => problems.combine(e),
                None => problems = Some(e),
            },
        }
    }
    match problems {
        Some(problems) => Err(problems),
        None => Ok(implement(&input.ident, &arms)),
    }
}

fn implement(ident: &Ident, arms: &[Arms]) -> TokenStream {
    let schemas = arms.iter().map(|arms| &arms.schema);
    let encode = arms.iter().map(|arms| &arms.encode);
    let decode = arms.iter().map(|arms| &arms.decode);
    let tags = arms.iter().map(|arms| &arms.tags);
    quote! {
        #[automatically_derived]
        impl ::annals::kit::EventSet for #ident {
            const SCHEMAS: &'static [::annals::kit::Schema] = &[#(#schemas),*];

            fn to_payload(&self) -> ::annals::Result<::annals::kit::Payload> {
                match self { #(#encode)* }
            }

            fn from_payload(payload: ::annals::kit::PayloadRef<'_>) -> ::annals::Result<Self> {
                #(#decode)*
                ::std::result::Result::Err(payload.unknown_type())
            }

            fn tags(&self) -> ::std::vec::Vec<::std::string::String> {
                match self { #(#tags)* }
            }
        }
        // Names that types say themselves are known only here.
        const _: () = ::std::assert!(
            ::annals::kit::Schema::are_distinct(<#ident as ::annals::kit::EventSet>::SCHEMAS),
            "two variants have the same stored name",
        );
    }
}

fn of_variant(
    variant: &Variant,
    codec: Option<Codec>,
    names: &mut BTreeMap<String, Span>,
) -> Result<Arms> {
    let said = Said::read(&variant.attrs)?;
    if let Some(at) = said.typed {
        return of_typed(variant, &said, at);
    }
    let at = variant.ident.span();
    let name = said.stored_name(at, &format!("the variant `{}`", variant.ident))?;
    if let Some(first) = names.insert(name.value(), name.span()) {
        let why = format!("the stored name \"{}\" stands here twice", name.value());
        let mut error = Error::new(name.span(), why);
        error.combine(Error::new(first, "it was first given here"));
        return Err(error);
    }
    let codec = said.codec.or(codec).unwrap_or(Codec::Json);
    let version = said.schema_version();
    match &variant.fields {
        Fields::Unnamed(fields) => match fields.unnamed.first() {
            Some(field) if fields.unnamed.len() == 1 => {
                of_value(variant, field, name, version, codec)
            }
            _ => Err(Error::new(
                at,
                "a variant with several unnamed fields cannot be stored: their order would be all \
                 that tells them apart; name them",
            )),
        },
        _ if codec == Codec::Raw => {
            Err(Error::new(at, "\"raw\" takes a variant around one value, such as `Vec<u8>`"))
        }
        fields => of_fields(variant, fields, name, version, codec),
    }
}

/// A variant whose type says everything itself.
fn of_typed(variant: &Variant, said: &Said, at: Span) -> Result<Arms> {
    if said.name.is_some() || said.version.is_some() || said.codec.is_some() {
        return Err(Error::new(at, "with `typed`, the type says name, version and codec itself"));
    }
    let field = match &variant.fields {
        Fields::Unnamed(fields) if fields.unnamed.len() == 1 => fields.unnamed.first(),
        _ => None,
    };
    let Some(field) = field else {
        return Err(Error::new(at, "`typed` takes a variant around one value"));
    };
    let (ident, inner) = (&variant.ident, &field.ty);
    let typed = quote!(<#inner as ::annals::kit::TypedEvent>);
    Ok(Arms {
        schema: quote!(::annals::kit::Schema::new(#typed::NAME, #typed::VERSION)),
        encode: quote!(Self::#ident(value) => <#inner as ::annals::kit::EventSet>::to_payload(value),),
        decode: quote! {
            if payload.event_type == #typed::NAME {
                return <#inner as ::annals::kit::EventSet>::from_payload(payload).map(Self::#ident);
            }
        },
        tags: quote!(Self::#ident(value) => #typed::tags(value),),
    })
}

/// A variant around one value, which is what is stored.
fn of_value(
    variant: &Variant,
    field: &Field,
    name: &LitStr,
    version: u32,
    codec: Codec,
) -> Result<Arms> {
    let ident = &variant.ident;
    let tags = if let Some(key) = tag_of(field)? {
        quote!(::std::vec![::std::format!("{}:{}", #key, value)])
    } else {
        quote!({
            let _ = value;
            ::std::vec::Vec::new()
        })
    };
    let bytes = codec.encode(&quote!(value));
    let value = codec.decode(&quote!(payload));
    let content_type = codec.content_type();
    Ok(Arms {
        schema: quote!(::annals::kit::Schema::new(#name, #version)),
        encode: quote! {
            Self::#ident(value) => ::std::result::Result::Ok(
                ::annals::kit::Payload::new(#name, #version, #content_type, #bytes?)
            ),
        },
        decode: quote! {
            if payload.event_type == #name {
                payload.expect_version(#version)?;
                return ::std::result::Result::Ok(Self::#ident(#value?));
            }
        },
        tags: quote!(Self::#ident(value) => #tags,),
    })
}

/// A variant with named fields, which are stored as a struct of their own would be.
fn of_fields(
    variant: &Variant,
    fields: &Fields,
    name: &LitStr,
    version: u32,
    codec: Codec,
) -> Result<Arms> {
    let ident = &variant.ident;
    let members: Vec<_> = fields.iter().filter_map(|field| field.ident.as_ref()).collect();
    let bound: Vec<_> = (0..members.len()).map(|i| format_ident!("__field_{i}")).collect();
    let types: Vec<_> = fields.iter().map(|field| &field.ty).collect();
    let of_fields: Vec<Vec<_>> = fields.iter().map(|field| of_serde(&field.attrs)).collect();
    let of_variant = of_serde(&variant.attrs);
    let mut tags = Vec::new();
    for (field, bound) in fields.iter().zip(&bound) {
        if let Some(key) = tag_of(field)? {
            tags.push(quote!(::std::format!("{}:{}", #key, #bound)));
        }
    }
    let lifetime = (!members.is_empty()).then(|| quote!(<'a>));
    let pattern = quote!(Self::#ident { #(#members: #bound),* });
    let bytes = codec.encode(&quote!(&Stored { #(#members: #bound),* }));
    let decoded = codec.decode(&quote!(payload));
    let content_type = codec.content_type();
    Ok(Arms {
        schema: quote!(::annals::kit::Schema::new(#name, #version)),
        encode: quote! {
            #pattern => {
                #[derive(::annals::kit::codec::serde::Serialize)]
                #[serde(crate = "::annals::kit::codec::serde")]
                #(#of_variant)*
                #[allow(dead_code, reason = "serde may be told to skip a field")]
                struct Stored #lifetime {
                    #(#(#of_fields)* #members: &'a #types,)*
                }
                ::std::result::Result::Ok(
                    ::annals::kit::Payload::new(#name, #version, #content_type, #bytes?)
                )
            }
        },
        decode: quote! {
            if payload.event_type == #name {
                #[derive(::annals::kit::codec::serde::Deserialize)]
                #[serde(crate = "::annals::kit::codec::serde")]
                #(#of_variant)*
                struct Stored {
                    #(#(#of_fields)* #members: #types,)*
                }
                payload.expect_version(#version)?;
                let Stored { #(#members: #bound),* } = #decoded?;
                return ::std::result::Result::Ok(#pattern);
            }
        },
        tags: quote! {
            #[allow(unused_variables, reason = "not every field is a tag")]
            #pattern => ::std::vec![#(#tags),*],
        },
    })
}

fn of_serde(attributes: &[Attribute]) -> Vec<&Attribute> {
    attributes.iter().filter(|attribute| attribute.path().is_ident("serde")).collect()
}
