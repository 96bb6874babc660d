//! How values of views become bytes.

#[cfg(any(feature = "json", feature = "bincode"))]
use crate::error::Error;
use crate::error::Result;

/// How a value becomes bytes and comes back.
pub trait ViewCodec<V> {
    /// The bytes of a value.
    ///
    /// # Errors
    ///
    /// [`Error::Payload`](crate::Error::Payload) where it has none.
    fn encode(value: &V) -> Result<Vec<u8>>;

    /// The value of bytes.
    ///
    /// # Errors
    ///
    /// [`Error::Payload`](crate::Error::Payload) where they are none of the type.
    fn decode(bytes: &[u8]) -> Result<V>;
}

/// Values as JSON (feature `json`).
#[derive(Clone, Copy, Debug)]
pub struct AsJson;

#[cfg(feature = "json")]
impl<V: serde::Serialize + serde::de::DeserializeOwned> ViewCodec<V> for AsJson {
    fn encode(value: &V) -> Result<Vec<u8>> {
        serde_json::to_vec(value).map_err(|e| Error::Payload { why: e.to_string() })
    }

    fn decode(bytes: &[u8]) -> Result<V> {
        serde_json::from_slice(bytes).map_err(|e| Error::Payload { why: e.to_string() })
    }
}

/// Values as bincode 2 in its standard configuration (feature `bincode`).
#[cfg(feature = "bincode")]
#[derive(Clone, Copy, Debug)]
pub struct AsBincode;

/// The most bytes that decoded bincode may claim: as much as a value can have.
#[cfg(feature = "bincode")]
const MOST: usize = 16 << 20;

#[cfg(feature = "bincode")]
impl<V: serde::Serialize + serde::de::DeserializeOwned> ViewCodec<V> for AsBincode {
    fn encode(value: &V) -> Result<Vec<u8>> {
        let encoded = bincode::serde::encode_to_vec(value, bincode::config::standard());
        encoded.map_err(|e| Error::Payload { why: e.to_string() })
    }

    fn decode(bytes: &[u8]) -> Result<V> {
        let config = bincode::config::standard().with_limit::<MOST>();
        let wrong = |why: String| Error::Payload { why };
        let (value, len) =
            bincode::serde::decode_from_slice(bytes, config).map_err(|e| wrong(e.to_string()))?;
        if len == bytes.len() { Ok(value) } else { Err(wrong("bytes behind the value".into())) }
    }
}
