//! Stream keys of the framework, which are bytes, as names of streams, which are text, and back.

use annals::StreamName;
use mnesis_store::StreamKey;

use crate::error::Error;

/// What names begin with whose keys are no names.
const ESCAPED: &str = "0x-";

/// The stream of a key: the key itself where annals takes it as a name, else its bytes in
/// hexadecimal. No two keys share a stream.
pub(crate) fn name_of(key: &StreamKey) -> String {
    if let Ok(text) = std::str::from_utf8(key.as_bytes())
        && !text.starts_with(ESCAPED)
        && StreamName::new(text).is_ok()
    {
        return text.into();
    }
    let digits = key.as_bytes().iter().flat_map(|byte| [byte >> 4, byte & 15]);
    let digits = digits.filter_map(|digit| char::from_digit(u32::from(digit), 16));
    ESCAPED.chars().chain(digits).collect()
}

pub(crate) fn key_of(name: &str) -> Result<StreamKey, Error> {
    let Some(digits) = name.strip_prefix(ESCAPED) else {
        return Ok(StreamKey::from_slice(name.as_bytes()));
    };
    let odd = || Error::Foreign("the name of a stream begins as an escaped key, and is none");
    let digit = |digit: &u8| char::from(*digit).to_digit(16);
    let byte = |pair: &[u8]| match pair {
        [high, low] => u8::try_from(digit(high)? * 16 + digit(low)?).ok(),
        _ => None,
    };
    let bytes: Option<Vec<u8>> = digits.as_bytes().chunks(2).map(byte).collect();
    Ok(StreamKey::from_bytes(bytes.ok_or_else(odd)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_come_back_and_share_no_stream() {
        let long = "x".repeat(200);
        let keys: [&[u8]; 10] = [
            b"account-123",
            b"",
            b"-1",
            b"$all",
            b"a\0b",
            b"\x00\xff\x42",
            b"0x-",
            b"0x-616263",
            b"abc",
            long.as_bytes(),
        ];
        let mut names = std::collections::BTreeSet::new();
        for key in keys {
            let name = name_of(&StreamKey::from_slice(key));
            assert!(StreamName::new(&name).is_ok(), "{name}");
            assert_eq!(key_of(&name).unwrap().as_bytes(), key, "{name}");
            assert!(names.insert(name));
        }
        assert!(names.contains("account-123"));
        assert!(key_of("0x-6").is_err());
        assert!(key_of("0x-zz").is_err());
    }
}
