//! Words by their letters, whatever the order and however they are written, because those who disguise a word keep it readable.
//!
//! Each letter is an odd number, and those that are written for one another (`1`, `l`, `|`, `!`) are the same number. A word is the sum
//! of its letters: [`sum`] is taken once for each word and serves rules and model alike.

/// Of all hashes, so that they are ours.
pub const SEED: u64 = 0x6b74_2d67_7261_6d73;

/// One odd number for every byte; those that are written for one another share one.
pub const LETTERS: [u64; 256] = letters();

/// The sum of the letters of `word`.
#[inline]
pub fn sum(word: &[u8]) -> u64 {
    word.iter().fold(0, |sum: u64, letter| sum.wrapping_add(LETTERS[usize::from(*letter)]))
}

/// The character that stands for all those written for one another.
pub const fn skeleton(b: u8) -> u8 {
    match b {
        b'0' => b'o',
        b'1' | b'l' | b'|' | b'!' => b'i',
        b'3' => b'e',
        b'4' | b'@' => b'a',
        b'5' | b'$' => b's',
        b'7' | b'+' => b't',
        b'8' => b'b',
        b'6' | b'9' => b'g',
        b'2' => b'z',
        other => other,
    }
}

/// Whether one word is the other with some of its letters written as others.
pub fn are_alike(a: &[u8], b: &[u8]) -> bool {
    a.len() == b.len() && a.iter().zip(b).all(|(a, b)| skeleton(*a) == skeleton(*b))
}

/// Whether `token`, of the same [`sum`] as `word`, is that word with its inner letters in another order, or with one pair of neighbours
/// swapped.
pub fn is_scrambled(token: &[u8], word: &[u8]) -> bool {
    if token.len() != word.len() || exact(token) != exact(word) {
        return false;
    }
    if token.first() == word.first() && token.last() == word.last() {
        return true;
    }
    let mut differ = (0..word.len()).filter(|at| token.get(*at) != word.get(*at));
    match (differ.next(), differ.next(), differ.next()) {
        (Some(a), Some(b), None) => b == a + 1 && token.get(a) == word.get(b) && token.get(b) == word.get(a),
        _ => false,
    }
}

/// Spreads small differences over all bits (the finisher of SplitMix64).
pub const fn spread(seed: u64) -> u64 {
    let mut z = seed.wrapping_add(SEED);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// The same for every order of the same letters, as they are written.
fn exact(word: &[u8]) -> u64 {
    word.iter().fold(0, |sum: u64, b| sum.wrapping_add(spread(u64::from(*b))))
}

const fn letters() -> [u64; 256] {
    let mut table = [0; 256];
    let mut byte = 0;
    while byte < table.len() {
        table[byte] = spread(skeleton(byte as u8) as u64) | 1;
        byte += 1;
    }
    table
}
