//! Keys of views: bytes that are in the order of what they are the keys of.

/// A key of a view. Its bytes are ordered as the values are: texts by their bytes, numbers by size,
/// tuples by their first parts, then the next.
///
/// A single text is stored as it is, so that `annals view scan` shows it.
pub trait ViewKey: Sized {
    /// Appends the key's bytes. Where it is not the last part of a key, it has to say where it
    /// ends.
    fn put(&self, out: &mut Vec<u8>, is_last: bool);

    /// Takes a key from the front of bytes; `None` where there is none.
    fn take(bytes: &mut &[u8], is_last: bool) -> Option<Self>;

    /// The bytes of the whole key.
    ///
    /// ```
    /// use annals::kit::ViewKey;
    /// assert_eq!("Order-1".to_owned().to_bytes(), b"Order-1");
    /// assert!(2_u64.to_bytes() < 10_u64.to_bytes());
    /// assert!((-1_i64).to_bytes() < 1_i64.to_bytes());
    /// ```
    fn to_bytes(&self) -> Vec<u8> {
        let mut out = Vec::new();
        self.put(&mut out, true);
        out
    }

    /// The key of bytes; `None` where they are none.
    fn from_bytes(mut bytes: &[u8]) -> Option<Self> {
        let key = Self::take(&mut bytes, true)?;
        bytes.is_empty().then_some(key)
    }
}

/// What the keys that are tuples begin with whose first part is this.
///
/// ```
/// use annals::kit::{ViewKey, key_prefix};
/// let key = ("ann".to_owned(), 7_u64).to_bytes();
/// assert!(key.starts_with(&key_prefix(&"ann".to_owned())));
/// assert!(!key.starts_with(&key_prefix(&"an".to_owned())));
/// ```
pub fn key_prefix(first: &impl ViewKey) -> Vec<u8> {
    let mut out = Vec::new();
    first.put(&mut out, false);
    out
}

/// Ends bytes inside a key; a zero byte of their own gets `MORE` behind it.
const END: [u8; 2] = [0, 1];
const MORE: [u8; 2] = [0, 0xff];

fn put_bytes(bytes: &[u8], out: &mut Vec<u8>, is_last: bool) {
    if is_last {
        out.extend_from_slice(bytes);
        return;
    }
    for byte in bytes {
        match byte {
            0 => out.extend(MORE),
            other => out.push(*other),
        }
    }
    out.extend(END);
}

fn take_bytes(bytes: &mut &[u8], is_last: bool) -> Option<Vec<u8>> {
    if is_last {
        return Some(std::mem::take(bytes).to_vec());
    }
    let mut taken = Vec::new();
    loop {
        let (first, rest) = bytes.split_first()?;
        *bytes = rest;
        if *first != 0 {
            taken.push(*first);
            continue;
        }
        let (second, rest) = bytes.split_first()?;
        *bytes = rest;
        match [0, *second] {
            END => return Some(taken),
            MORE => taken.push(0),
            _ => return None,
        }
    }
}

impl ViewKey for Vec<u8> {
    fn put(&self, out: &mut Vec<u8>, is_last: bool) {
        put_bytes(self, out, is_last);
    }

    fn take(bytes: &mut &[u8], is_last: bool) -> Option<Self> {
        take_bytes(bytes, is_last)
    }
}

impl ViewKey for String {
    fn put(&self, out: &mut Vec<u8>, is_last: bool) {
        put_bytes(self.as_bytes(), out, is_last);
    }

    fn take(bytes: &mut &[u8], is_last: bool) -> Option<Self> {
        Self::from_utf8(take_bytes(bytes, is_last)?).ok()
    }
}

impl ViewKey for u64 {
    fn put(&self, out: &mut Vec<u8>, _is_last: bool) {
        out.extend((0..8).rev().map(|byte| low_byte(self >> (8 * byte))));
    }

    fn take(bytes: &mut &[u8], _is_last: bool) -> Option<Self> {
        let (digits, rest) = bytes.split_first_chunk::<8>()?;
        *bytes = rest;
        Some(digits.iter().fold(0, |number, digit| (number << 8) | Self::from(*digit)))
    }
}

fn low_byte(number: u64) -> u8 {
    u8::try_from(number & 0xff).unwrap_or_default()
}

impl ViewKey for u32 {
    fn put(&self, out: &mut Vec<u8>, _is_last: bool) {
        out.extend((0..4).rev().map(|byte| low_byte(u64::from(self >> (8 * byte)))));
    }

    fn take(bytes: &mut &[u8], _is_last: bool) -> Option<Self> {
        let (digits, rest) = bytes.split_first_chunk::<4>()?;
        *bytes = rest;
        Some(digits.iter().fold(0, |number, digit| (number << 8) | Self::from(*digit)))
    }
}

impl ViewKey for i64 {
    fn put(&self, out: &mut Vec<u8>, is_last: bool) {
        (self.cast_unsigned() ^ (1 << 63)).put(out, is_last);
    }

    fn take(bytes: &mut &[u8], is_last: bool) -> Option<Self> {
        Some((u64::take(bytes, is_last)? ^ (1 << 63)).cast_signed())
    }
}

impl<A: ViewKey, B: ViewKey> ViewKey for (A, B) {
    fn put(&self, out: &mut Vec<u8>, is_last: bool) {
        self.0.put(out, false);
        self.1.put(out, is_last);
    }

    fn take(bytes: &mut &[u8], is_last: bool) -> Option<Self> {
        Some((A::take(bytes, false)?, B::take(bytes, is_last)?))
    }
}

impl<A: ViewKey, B: ViewKey, C: ViewKey> ViewKey for (A, B, C) {
    fn put(&self, out: &mut Vec<u8>, is_last: bool) {
        self.0.put(out, false);
        self.1.put(out, false);
        self.2.put(out, is_last);
    }

    fn take(bytes: &mut &[u8], is_last: bool) -> Option<Self> {
        Some((A::take(bytes, false)?, B::take(bytes, false)?, C::take(bytes, is_last)?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn assert_ordered<K: ViewKey + Ord + Clone + std::fmt::Debug>(mut keys: Vec<K>) {
        keys.sort();
        let encoded: Vec<Vec<u8>> = keys.iter().map(ViewKey::to_bytes).collect();
        assert!(encoded.is_sorted(), "{keys:?}");
        let decoded: Vec<K> = encoded.iter().map(|bytes| K::from_bytes(bytes).unwrap()).collect();
        assert_eq!(decoded, keys);
    }

    #[test]
    fn bytes_are_ordered_as_keys_are_and_come_back() {
        let texts: Vec<String> =
            ["", "\0", "\0\0", "a", "a\0", "a\0b", "a\u{1}", "ab", "b", "\u{ff}"]
                .map(str::to_owned)
                .to_vec();
        let numbers = [0_u64, 1, 255, 256, 65_535, u64::MAX];
        let signed = [i64::MIN, -256, -1, 0, 1, 256, i64::MAX];
        assert_ordered(texts.clone());
        assert_ordered(numbers.to_vec());
        assert_ordered(signed.to_vec());
        assert_ordered(vec![0_u32, 1, 256, u32::MAX]);
        let pairs = texts.iter().flat_map(|text| numbers.map(|number| (text.clone(), number)));
        assert_ordered(pairs.collect());
        let nested = texts.iter().flat_map(|one| {
            let more = texts.iter().flat_map(|two| signed.map(|n| (one.clone(), two.clone(), n)));
            more.collect::<Vec<_>>()
        });
        assert_ordered(nested.collect());
        let inner = texts.iter().flat_map(|one| texts.iter().map(|two| (one.clone(), two.clone())));
        assert_ordered(inner.map(|pair| (pair, 7_u64)).collect());
    }

    #[test]
    fn other_bytes_are_no_keys() {
        assert_eq!(u64::from_bytes(&[0; 7]), None);
        assert_eq!(u64::from_bytes(&[0; 9]), None);
        assert_eq!(String::from_bytes(&[0xff]), None);
        assert_eq!(<(String, u64)>::from_bytes(b"no end"), None);
        assert_eq!(<(String, String)>::from_bytes(b"a\0\x02b"), None);
    }
}
