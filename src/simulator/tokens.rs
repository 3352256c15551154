//! Cuts text into what the simulator calls tokens: a word's beginning with the space before it, then at most four characters.

/// The tokens of `text`; put together they are `text` again.
pub fn tokens(text: &str) -> impl Iterator<Item = &str> {
    let mut rest = text;
    std::iter::from_fn(move || {
        let mut characters = rest.char_indices();
        characters.next()?;
        let space_first = rest.starts_with(char::is_whitespace);
        let longest = if space_first { LONGEST + 1 } else { LONGEST };
        let end = characters
            .enumerate()
            .find(|(nth, (_, c))| *nth + 1 >= longest || c.is_whitespace())
            .map_or(rest.len(), |(_, (at, _))| at);
        let (token, tail) = rest.split_at(end);
        rest = tail;
        Some(token)
    })
}

/// How many tokens a text has.
pub fn count(text: &str) -> usize {
    tokens(text).count()
}

/// The first `limit` tokens of a text.
pub fn prefix(text: &str, limit: usize) -> &str {
    let length = tokens(text).take(limit).map(str::len).sum();
    text.get(..length).unwrap_or(text)
}

/// A number that equal texts share: FNV-1a.
pub fn seed(text: &str) -> u64 {
    text.bytes().fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3))
}

/// The next of a row of numbers that look random and are always the same: splitmix64.
pub fn next_number(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut z = *state;
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// Characters in a token, the space before it apart.
const LONGEST: usize = 4;

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_word_begins_with_its_space_and_ends_after_four_characters() {
        assert_eq!(tokens("The simulator says: hi").collect::<Vec<_>>(), ["The", " simu", "lato", "r", " says", ":", " hi"]);
    }

    proptest! {
        #[test]
        fn tokens_put_together_are_the_text(text in "\\PC*") {
            prop_assert_eq!(tokens(&text).collect::<String>(), text);
        }

        #[test]
        fn a_prefix_has_as_many_tokens_as_asked_for(text in "[a-zé ]{0,80}", limit in 0usize..40) {
            prop_assert_eq!(count(prefix(&text, limit)), limit.min(count(&text)));
        }
    }
}
