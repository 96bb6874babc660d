//! The head page: what the writer says to followers in other processes. A hint that lives as long
//! as the writer does; nothing that has to survive is in it.

use super::FORMAT_VERSION;
use super::codec::crc32;

/// The words that are used of the page.
pub(crate) const HEAD_WORDS: usize = 10;
/// The word that says which change this is; odd while the others are being stored.
pub(crate) const CHANGE_WORD: usize = 4;

const MAGIC: [u8; 8] = *b"ANNALSHD";

/// The words of a page.
pub(crate) type HeadWords = [u64; HEAD_WORDS];

/// Up to where followers may read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Head {
    pub(crate) store: [u8; 16],
    /// Even, and another one after each change.
    pub(crate) change: u64,
    /// The active segment, and what tells it from another of its ordinal.
    pub(crate) ordinal: u32,
    pub(crate) salt: u64,
    /// The end of the frames there that are visible and handed to the system.
    pub(crate) end: u32,
    /// The position of the last event in front of that end.
    pub(crate) visible: u64,
    /// The position up to which everything survives a power cut.
    pub(crate) durable: u64,
}

impl Head {
    pub(crate) fn encode(&self) -> HeadWords {
        let version = u64::from(FORMAT_VERSION) | u64::from(FORMAT_VERSION) << 16;
        let (first, second) = halves(&self.store);
        let mut words = [
            u64::from_le_bytes(MAGIC),
            version,
            first,
            second,
            self.change,
            u64::from(self.ordinal) | u64::from(self.end) << 32,
            self.salt,
            self.visible,
            self.durable,
            0,
        ];
        let check = checksum(&words);
        if let Some(last) = words.last_mut() {
            *last = check;
        }
        words
    }

    /// What a page says; `None` where it says nothing that can be relied on.
    pub(crate) fn decode(words: &HeadWords) -> Option<Self> {
        let [magic, version, first, second, change, place, salt, visible, durable, check] = *words;
        let reader = version >> 16 & 0xffff;
        let is_known = reader <= u64::from(FORMAT_VERSION) && version >> 32 == 0;
        if magic != u64::from_le_bytes(MAGIC) || check != checksum(words) || !is_known {
            return None;
        }
        let mut store = [0; 16];
        let id = first.to_le_bytes().into_iter().chain(second.to_le_bytes());
        store.iter_mut().zip(id).for_each(|(to, from)| *to = from);
        let half = |number: u64| u32::try_from(number & u64::from(u32::MAX)).unwrap_or_default();
        let (ordinal, end) = (half(place), half(place >> 32));
        let head = Self { store, change, ordinal, salt, end, visible, durable };
        change.is_multiple_of(2).then_some(head)
    }
}

/// What the page says of a segment's salt.
pub(crate) fn salt_word(salt: &[u8; 16]) -> u64 {
    halves(salt).0
}

fn halves(bytes: &[u8; 16]) -> (u64, u64) {
    let number = u128::from_le_bytes(*bytes);
    let low = u64::try_from(number & u128::from(u64::MAX)).unwrap_or_default();
    (low, u64::try_from(number >> 64).unwrap_or_default())
}

/// The checksum of all words but the last.
fn checksum(words: &HeadWords) -> u64 {
    let mut bytes = [0; (HEAD_WORDS - 1) * 8];
    for (to, word) in bytes.chunks_exact_mut(8).zip(words) {
        to.copy_from_slice(&word.to_le_bytes());
    }
    u64::from(crc32(&bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn head() -> Head {
        let salt =
            salt_word(&[0xB1, 0xB2, 0xB3, 0xB4, 0xB5, 0xB6, 0xB7, 0xB8, 0, 0, 0, 0, 0, 0, 0, 0]);
        Head {
            store: [0xA0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 0xAF],
            change: 6,
            ordinal: 0x0102_0304,
            salt,
            end: 0x0506_0708,
            visible: 0x1122_3344_5566,
            durable: 0x1122_3344_5565,
        }
    }

    #[test]
    fn golden_bytes() {
        let bytes: Vec<u8> = head().encode().iter().flat_map(|word| word.to_le_bytes()).collect();
        let expected: &[&[u8]] = &[
            b"ANNALSHD",
            &[1, 0, 1, 0, 0, 0, 0, 0],
            &[0xA0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 0xAF],
            &[6, 0, 0, 0, 0, 0, 0, 0],
            &[4, 3, 2, 1, 8, 7, 6, 5],
            &[0xB1, 0xB2, 0xB3, 0xB4, 0xB5, 0xB6, 0xB7, 0xB8],
            &[0x66, 0x55, 0x44, 0x33, 0x22, 0x11, 0, 0],
            &[0x65, 0x55, 0x44, 0x33, 0x22, 0x11, 0, 0],
        ];
        let expected = expected.concat();
        assert_eq!(bytes.get(..72), Some(expected.as_slice()));
        assert_eq!(bytes.get(72..), Some(&u64::from(crc32(&expected)).to_le_bytes()[..]));
        assert_eq!(Head::decode(&head().encode()), Some(head()));
    }

    #[test]
    fn every_flipped_bit_and_every_mixture_is_noticed() {
        let words = head().encode();
        for bit in 0..HEAD_WORDS * 64 {
            let mut flipped = words;
            flipped[bit / 64] ^= 1 << (bit % 64);
            assert_eq!(Head::decode(&flipped), None, "bit {bit}");
        }
        let later = Head { change: 8, end: 9000, visible: 77, durable: 77, ..head() }.encode();
        for stored in 1..HEAD_WORDS {
            let mut torn = words;
            torn[..stored].copy_from_slice(&later[..stored]);
            if torn != words && torn != later {
                assert_eq!(Head::decode(&torn), None, "{stored} words of the later page");
            }
        }
    }

    #[test]
    fn what_is_not_for_this_version_says_nothing() {
        assert_eq!(Head::decode(&[0; HEAD_WORDS]), None);
        assert_eq!(Head::decode(&Head { change: 7, ..head() }.encode()), None, "half stored");
        let mut newer = head().encode();
        newer[1] = 2 << 16 | 2;
        newer[HEAD_WORDS - 1] = checksum(&newer);
        assert_eq!(Head::decode(&newer), None);
    }

    #[test]
    fn another_magic_and_unknown_features_say_nothing() {
        let with = |word: usize, value: u64| {
            let mut words = head().encode();
            words[word] = value;
            words[HEAD_WORDS - 1] = checksum(&words);
            Head::decode(&words)
        };
        assert_eq!(with(0, u64::from_le_bytes(MAGIC)), Some(head()));
        assert_eq!(with(0, u64::from_le_bytes(*b"ANNALSTA")), None);
        assert_eq!(with(1, 1 | 1 << 16), Some(head()));
        assert_eq!(with(1, 2 | 1 << 16), Some(head()), "newer, and made for this reader too");
        assert_eq!(with(1, 1 | 2 << 16), None);
        assert_eq!(with(1, 1 | 1 << 16 | 1 << 32), None);
    }
}
