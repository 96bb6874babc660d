//! How data becomes bytes. The content type that is stored beside them says which way it was.
//!
//! JSON (feature `json`) is the default, bincode 2 (feature `bincode`) is compact, and raw bytes
//! are there always. What is read is decoded as its content type says, so a type may change its
//! codec without a new schema version. Data stored as `application/octet-stream`, which says
//! nothing, is taken for what the type writes today.

#[cfg(any(feature = "json", feature = "bincode"))]
use crate::error::Error;
use crate::error::Result;
use crate::event::BINARY;

use super::PayloadRef;

/// What derived code calls serde by.
#[doc(hidden)]
#[cfg(feature = "derive")]
pub use serde;

/// The content type of JSON.
pub const JSON: &str = crate::event::JSON;

/// The content type of bincode 2, in its standard configuration.
pub const BINCODE: &str = "application/x-bincode";

/// The content type of bytes that are what they are.
pub const RAW: &str = BINARY;

/// The most bytes that decoded bincode may claim: as much as an event can ever have. Bytes of
/// another type can claim any length, and it is allocated before it is read.
#[cfg(feature = "bincode")]
const MOST: usize = 1 << 30;

/// A value as JSON (feature `json`).
///
/// # Errors
///
/// [`Error::Payload`](crate::Error::Payload) with what serde says.
///
/// ```
/// # #[cfg(feature = "json")]
/// assert_eq!(annals::kit::codec::to_json(&[1, 2])?, b"[1,2]");
/// # Ok::<(), annals::Error>(())
/// ```
#[cfg(feature = "json")]
pub fn to_json<T: serde::Serialize + ?Sized>(value: &T) -> Result<Vec<u8>> {
    serde_json::to_vec(value).map_err(|e| Error::Payload { why: e.to_string() })
}

/// A value as bincode 2 (feature `bincode`).
///
/// # Errors
///
/// [`Error::Payload`](crate::Error::Payload) with what bincode says.
///
/// ```
/// # #[cfg(feature = "bincode")]
/// assert_eq!(annals::kit::codec::to_bincode(&(1u32, "a"))?, [1, 1, b'a']);
/// # Ok::<(), annals::Error>(())
/// ```
#[cfg(feature = "bincode")]
pub fn to_bincode<T: serde::Serialize + ?Sized>(value: &T) -> Result<Vec<u8>> {
    bincode::serde::encode_to_vec(value, bincode::config::standard())
        .map_err(|e| Error::Payload { why: e.to_string() })
}

/// Bytes as they are.
///
/// # Errors
///
/// None.
///
/// ```
/// assert_eq!(annals::kit::codec::to_raw(b"ab")?, b"ab");
/// # Ok::<(), annals::Error>(())
/// ```
pub fn to_raw<T: AsRef<[u8]> + ?Sized>(value: &T) -> Result<Vec<u8>> {
    Ok(value.as_ref().to_vec())
}

/// A value from JSON or bincode, whichever the payload says it is; `own` is what it is taken for
/// where it says only that it is bytes.
///
/// # Errors
///
/// [`SchemaError::Undecodable`](crate::SchemaError::Undecodable) where the payload is of another
/// content type, or not of this type, or something stands behind it.
///
/// ```
/// # #[cfg(feature = "json")] {
/// use annals::kit::{Payload, codec};
/// let payload = Payload::new("Counted", 1, codec::JSON, "[1,2]");
/// let read: Vec<u32> = codec::from_serde(payload.as_ref(), codec::JSON)?;
/// assert_eq!(read, [1, 2]);
/// # }
/// # Ok::<(), annals::Error>(())
/// ```
#[cfg(any(feature = "json", feature = "bincode"))]
pub fn from_serde<T: serde::de::DeserializeOwned>(payload: PayloadRef<'_>, own: &str) -> Result<T> {
    let content_type = if payload.content_type == RAW { own } else { payload.content_type };
    match content_type {
        #[cfg(feature = "json")]
        JSON => serde_json::from_slice(payload.data).map_err(|e| payload.undecodable(e)),
        #[cfg(feature = "bincode")]
        BINCODE => from_bincode(payload),
        other => Err(payload.undecodable(format_args!("its data is {other}, expected {own}"))),
    }
}

#[cfg(feature = "bincode")]
fn from_bincode<T: serde::de::DeserializeOwned>(payload: PayloadRef<'_>) -> Result<T> {
    let config = bincode::config::standard().with_limit::<MOST>();
    let (value, taken) = bincode::serde::decode_from_slice(payload.data, config)
        .map_err(|e| payload.undecodable(e))?;
    if taken != payload.data.len() {
        let (all, behind) = (payload.data.len(), payload.data.len() - taken);
        return Err(payload.undecodable(format_args!("{behind} of {all} bytes are left over")));
    }
    Ok(value)
}

/// A value from bytes as they are.
///
/// # Errors
///
/// None: any bytes are bytes.
///
/// ```
/// use annals::kit::{Payload, codec};
/// let payload = Payload::new("PhotoTaken", 1, codec::RAW, "ab");
/// let read: Vec<u8> = codec::from_raw(payload.as_ref())?;
/// assert_eq!(read, b"ab");
/// # Ok::<(), annals::Error>(())
/// ```
pub fn from_raw<T: From<Vec<u8>>>(payload: PayloadRef<'_>) -> Result<T> {
    Ok(T::from(payload.data.to_vec()))
}
