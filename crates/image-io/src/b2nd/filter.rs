//! Filters that rearrange the bytes of a block before compression, and their inverses.

/// Byte shuffle: first bytes of all elements, then all second bytes, and so on; leftover bytes at the end.
pub(super) fn shuffle(element_size: usize, source: &[u8], out: &mut [u8]) {
    let count = source.len() / element_size;
    for byte in 0..element_size {
        let plane = &mut out[byte * count..(byte + 1) * count];
        for (to, from) in plane.iter_mut().zip(source[byte..].iter().step_by(element_size)) {
            *to = *from;
        }
    }
    let whole = count * element_size;
    out[whole..].copy_from_slice(&source[whole..]);
}

/// Inverse of [`shuffle`].
pub(super) fn unshuffle(element_size: usize, source: &[u8], out: &mut [u8]) {
    match element_size {
        1 => out.copy_from_slice(source),
        2 => unshuffle_fixed::<2>(source, out),
        4 => unshuffle_fixed::<4>(source, out),
        8 => unshuffle_fixed::<8>(source, out),
        _ => {
            let count = source.len() / element_size;
            for (element, to) in out.chunks_exact_mut(element_size).enumerate() {
                for (byte, to) in to.iter_mut().enumerate() {
                    *to = source[byte * count + element];
                }
            }
            let whole = count * element_size;
            out[whole..].copy_from_slice(&source[whole..]);
        }
    }
}

fn unshuffle_fixed<const N: usize>(source: &[u8], out: &mut [u8]) {
    let count = source.len() / N;
    let planes: [&[u8]; N] = std::array::from_fn(|byte| &source[byte * count..(byte + 1) * count]);
    let (elements, rest) = out.as_chunks_mut::<N>();
    for (i, element) in elements.iter_mut().enumerate() {
        *element = std::array::from_fn(|byte| planes[byte][i]);
    }
    rest.copy_from_slice(&source[count * N..]);
}

/// Inverse of the bit shuffle: one row of bits for each bit of an element, elements in groups of eight; the
/// elements beyond the last whole group follow as they are. Format versions up to 2 leave blocks alone whose
/// element count is no multiple of eight.
pub(super) fn bit_unshuffle(element_size: usize, version: u8, source: &[u8], out: &mut [u8]) {
    let count = source.len() / element_size;
    let groups = count / 8;
    if version <= 2 && !count.is_multiple_of(8) {
        out.copy_from_slice(source);
        return;
    }
    for byte in 0..element_size {
        for group in 0..groups {
            let row = |bit: usize| source[(byte * 8 + bit) * groups + group];
            let bits = transpose_bits(u64::from_le_bytes(std::array::from_fn(row)));
            for (i, value) in bits.to_le_bytes().into_iter().enumerate() {
                out[(group * 8 + i) * element_size + byte] = value;
            }
        }
    }
    let whole = groups * 8 * element_size;
    out[whole..].copy_from_slice(&source[whole..]);
}

/// Transposes an 8 x 8 matrix of bits (byte = row, least significant bit = first column).
fn transpose_bits(mut x: u64) -> u64 {
    for (shift, mask) in
        [(7, 0x00aa_00aa_00aa_00aa_u64), (14, 0x0000_cccc_0000_cccc), (28, 0x0000_0000_f0f0_f0f0)]
    {
        let swapped = (x ^ (x >> shift)) & mask;
        x ^= swapped ^ (swapped << shift);
    }
    x
}

/// Inverse of the delta filter within the chunk's first block: each word was combined with the one before.
pub(super) fn undo_delta_first(element_size: usize, block: &mut [u8]) {
    let word = delta_word(element_size);
    let whole = block.len() / word * word;
    for i in word..whole {
        block[i] ^= block[i - word];
    }
}

/// Inverse of the delta filter in the other blocks: combined with the first one.
pub(super) fn undo_delta(element_size: usize, first: &[u8], block: &mut [u8]) {
    let word = delta_word(element_size);
    let whole = block.len() / word * word;
    for (value, reference) in block[..whole].iter_mut().zip(first) {
        *value ^= reference;
    }
}

fn delta_word(element_size: usize) -> usize {
    match element_size {
        1 | 2 | 4 | 8 => element_size,
        n if n.is_multiple_of(8) => 8,
        _ => 1,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unshuffle_is_the_inverse() {
        for element_size in [1, 2, 3, 4, 8] {
            let source: Vec<u8> = (0..101u8).map(|v| v.wrapping_mul(37)).collect();
            let (mut shuffled, mut back) = (vec![0; 101], vec![0; 101]);
            shuffle(element_size, &source, &mut shuffled);
            unshuffle(element_size, &shuffled, &mut back);
            assert_eq!(back, source, "{element_size} bytes");
        }
        let mut shuffled = [0; 5];
        shuffle(2, &[1, 2, 3, 4, 5], &mut shuffled);
        assert_eq!(shuffled, [1, 3, 2, 4, 5]);
    }

    #[test]
    fn bits_are_transposed() {
        // Row 0 = 0b00000010 (column 1): afterwards row 1 has bit 0.
        assert_eq!(transpose_bits(0x02), 0x01 << 8);
        let x = 0x0123_4567_89ab_cdef;
        assert_eq!(transpose_bits(transpose_bits(x)), x);
    }

    #[test]
    fn delta_is_undone() {
        let mut first = [1, 2, 1 ^ 3, 2 ^ 4, 9];
        undo_delta_first(2, &mut first);
        assert_eq!(first, [1, 2, 3, 4, 9]);
        let mut second = [1 ^ 5, 2 ^ 6, 3, 4, 9];
        undo_delta(2, &first, &mut second);
        assert_eq!(second, [5, 6, 0, 0, 9]);
    }
}
