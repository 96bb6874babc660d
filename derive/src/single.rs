//! One type of event, from a struct.

use proc_macro2::TokenStream;
use quote::quote;
use syn::{Data, DeriveInput, Error, Result};

use crate::attributes::{Codec, Said, tag_of};

pub(crate) fn derive(input: &DeriveInput) -> Result<TokenStream> {
    let Data::Struct(data) = &input.data else {
        let why = "`TypedEvent` is for structs; for an enum of events derive `EventSet`";
        return Err(Error::new(input.ident.span(), why));
    };
    no_generics(input)?;
    let said = Said::read(&input.attrs)?;
    if let Some(at) = said.typed {
        return Err(Error::new(at, "`typed` is for variants of an `EventSet`"));
    }
    let what = format!("the event `{}`", input.ident);
    let name = said.stored_name(input.ident.span(), &what)?;
    let version = said.schema_version();
    let codec = said.codec.unwrap_or(Codec::Json);
    let content_type = codec.content_type();
    let encode = codec.encode(&quote!(self));
    let decode = codec.decode(&quote!(payload));
    let mut tags = Vec::new();
    for (place, field) in data.fields.iter().enumerate() {
        if let Some(key) = tag_of(field)? {
            let index = syn::Index::from(place);
            let member = field.ident.as_ref().map_or_else(|| quote!(#index), |name| quote!(#name));
            tags.push(quote!(::std::format!("{}:{}", #key, self.#member)));
        }
    }
    let ident = &input.ident;
    Ok(quote! {
        #[automatically_derived]
        impl ::annals::kit::TypedEvent for #ident {
            const NAME: &'static str = #name;
            const VERSION: u32 = #version;
            const CONTENT_TYPE: &'static str = #content_type;

            fn encode(&self) -> ::annals::Result<::std::vec::Vec<u8>> {
                #encode
            }

            fn decode(payload: ::annals::kit::PayloadRef<'_>) -> ::annals::Result<Self> {
                #decode
            }

            fn tags(&self) -> ::std::vec::Vec<::std::string::String> {
                ::std::vec![#(#tags),*]
            }
        }
    })
}

/// What is stored has one type, so neither have events parameters.
pub(crate) fn no_generics(input: &DeriveInput) -> Result<()> {
    if input.generics.params.is_empty() {
        return Ok(());
    }
    Err(Error::new_spanned(&input.generics, "an event has no type parameters or lifetimes"))
}
