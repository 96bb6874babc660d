//! Arrays of small numbers, packed bit by bit: the columns of the sealed indexes.

use super::codec::{Put, u64_at};

/// The widest number that can be read with one unaligned load of 64 bits.
pub(crate) const MAX_WIDTH: u32 = 57;

/// How many bits numbers up to `max` take.
pub(crate) const fn width_of(max: u64) -> u32 {
    u64::BITS - max.leading_zeros()
}

/// The bytes of an array of `count` numbers: 8 bytes of zeros follow the last bit, so that each
/// can be read with one load.
pub(crate) const fn packed_bytes(width: u32, count: usize) -> usize {
    (width as usize * count).div_ceil(8) + 8
}

/// Appends an array; each number must fit the width, which is at most [`MAX_WIDTH`].
pub(crate) fn put_packed(out: &mut Vec<u8>, width: u32, numbers: impl Iterator<Item = u64>) {
    let (mut bits, mut used) = (0_u128, 0);
    for number in numbers {
        bits |= u128::from(number) << used;
        used += width;
        while used >= 32 {
            out.put_u32(u32::try_from(bits & u128::from(u32::MAX)).unwrap_or(0));
            bits >>= 32;
            used -= 32;
        }
    }
    while used > 0 {
        out.put_u8(u8::try_from(bits & 0xff).unwrap_or(0));
        bits >>= 8;
        used = used.saturating_sub(8);
    }
    out.put_u64(0);
}

/// The number at an index; `None` behind the end of the bytes.
pub(crate) fn packed_at(bytes: &[u8], width: u32, index: usize) -> Option<u64> {
    let bit = index.checked_mul(width as usize)?;
    let word = u64_at(bytes, bit / 8)?;
    Some(word >> (bit % 8) & mask(width))
}

const fn mask(width: u32) -> u64 {
    (1 << width) - 1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_of_every_width_come_back() {
        for width in 0..=MAX_WIDTH {
            for count in [0, 1, 7, 8, 100] {
                let number = |i: usize| {
                    (i as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(7) & mask(width)
                };
                let mut bytes = Vec::new();
                put_packed(&mut bytes, width, (0..count).map(number));
                assert_eq!(bytes.len(), packed_bytes(width, count), "{width} x {count}");
                for i in 0..count {
                    assert_eq!(packed_at(&bytes, width, i), Some(number(i)), "{width} {i}");
                }
            }
        }
    }

    #[test]
    fn widths_are_the_fewest_bits() {
        assert_eq!([0, 1, 2, 3, 4, 255, 256].map(width_of), [0, 1, 2, 2, 3, 8, 9]);
    }
}
