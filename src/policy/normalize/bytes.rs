//! Looks for bytes of a kind a block at a time, because most blocks of most texts hold none.

/// Bytes looked at together: enough for a compiler to use the widest registers there are.
const BLOCK: usize = 32;
/// Bytes looked at one by one first: where a kind is frequent, the next is near.
const NEAR: usize = 8;

/// Where the first byte stands of which `is` holds: a few comparisons joined by `|`, since `||` and `matches!` look at one byte at a
/// time.
#[inline(always)]
pub fn find(bytes: &[u8], is: impl Fn(u8) -> bool) -> Option<usize> {
    let (near, far) = bytes.split_at_checked(NEAR).unwrap_or((bytes, &[]));
    if let Some(at) = near.iter().position(|b| is(*b)) {
        return Some(at);
    }
    let (blocks, _) = far.as_chunks::<BLOCK>();
    let none = blocks.iter().take_while(|block| !block.iter().fold(false, |any, b| any | is(*b))).count();
    let at = NEAR.min(bytes.len()) + none * BLOCK;
    Some(at + bytes.get(at..)?.iter().position(|b| is(*b))?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn the_first_byte_of_a_kind_is_found_wherever_it_stands(bytes in prop::collection::vec(0u8..4, 0..120), sought in 0u8..9) {
            prop_assert_eq!(find(&bytes, |b| b == sought), bytes.iter().position(|b| *b == sought));
            let blank = vec![0; bytes.len()];
            let row = [&blank[..], &[7], &bytes].concat();
            prop_assert_eq!(find(&row, |b| b == 7), Some(blank.len()));
        }
    }
}
