//! Some providers that are asked to go on with a text repeat it first (Mistral's `prefix: true` does). The caller has that text
//! already: this tells the repetition from the rest, as it arrives.

/// Shorter texts are not taken for a repetition that nobody announced: an answer may well go on with the same word again. In
/// characters.
const SHORTEST: usize = 4;

/// Listens to the content of a continuation for the text it is the continuation of.
#[derive(Debug)]
pub struct Repetition {
    expected: Box<str>,
    /// How much of `expected` has come back, in bytes; `None` once it is decided.
    repeated: Option<usize>,
}

/// What a piece of a continuation turns out to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Heard {
    /// So far everything is the beginning of the expected text: its event is to be held. Should the continuation end here, what is
    /// held is new text, for only the whole is a repetition.
    Undecided,
    /// The whole text has been repeated: what is held, and this piece before that byte, goes.
    Repeated {
        /// Byte of this piece where new text begins; its length when it has none.
        keep_from: usize,
    },
    /// It is new, and so is everything that is held.
    Fresh,
}

impl Repetition {
    /// Listens for `expected`: all the content the caller has. Where the repetition is announced, the shortest text is one.
    pub fn new(expected: &str, announced: bool) -> Self {
        let shortest = if announced { 1 } else { SHORTEST };
        let listens = expected.chars().nth(shortest - 1).is_some();
        Self { expected: if listens { expected.into() } else { Box::default() }, repeated: listens.then_some(0) }
    }

    /// The next piece of the continuation's content, decoded. After a decision everything is new.
    pub fn hear(&mut self, piece: &str) -> Heard {
        let Some(repeated) = self.repeated else { return Heard::Fresh };
        let due = self.expected.get(repeated..).unwrap_or_default();
        if piece.starts_with(due) {
            self.repeated = None;
            return Heard::Repeated { keep_from: due.len() };
        }
        if due.starts_with(piece) {
            self.repeated = Some(repeated + piece.len());
            return Heard::Undecided;
        }
        self.repeated = None;
        Heard::Fresh
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// What a caller is given of a continuation that comes in these pieces.
    fn kept(expected: &str, pieces: &[&str]) -> String {
        let (mut echo, mut held, mut kept) = (Repetition::new(expected, false), String::new(), String::new());
        for piece in pieces {
            let heard = echo.hear(piece);
            match heard {
                Heard::Undecided => held.push_str(piece),
                Heard::Repeated { keep_from } => {
                    held.clear();
                    kept.push_str(&piece[keep_from..]);
                }
                Heard::Fresh => {
                    kept.push_str(&std::mem::take(&mut held));
                    kept.push_str(piece);
                }
            }
        }
        kept + &held
    }

    /// The pieces of a text, cut at characters.
    fn pieces<'t>(text: &'t str, cuts: &[prop::sample::Index]) -> Vec<&'t str> {
        let borders: Vec<usize> = text.char_indices().map(|(at, _)| at).chain([text.len()]).collect();
        let mut cuts: Vec<usize> = cuts.iter().map(|cut| *cut.get(&borders)).chain([0, text.len()]).collect();
        cuts.sort_unstable();
        cuts.windows(2).map(|pair| &text[pair[0]..pair[1]]).collect()
    }

    #[test]
    fn only_the_whole_text_is_a_repetition() {
        assert_eq!(kept("Once upon", &["Once ", "upon", " a time"]), " a time");
        assert_eq!(kept("Once upon", &["Once ", "more"]), "Once more");
        assert_eq!(kept("Once upon", &["On", "ce"]), "Once");
        assert_eq!(kept("abcd", &["abcdabcd"]), "abcd");
        assert_eq!(kept("abc", &["abcd"]), "abcd");
        assert_eq!(kept("é€😀", &["é€😀!"]), "é€😀!");
        assert_eq!(kept("", &["", "a"]), "a");
    }

    #[test]
    fn an_announced_repetition_may_be_one_letter() {
        assert_eq!(Repetition::new("H", true).hear("Hi"), Heard::Repeated { keep_from: 1 });
        assert_eq!(Repetition::new("H", false).hear("Hi"), Heard::Fresh);
    }

    proptest! {
        #[test]
        fn a_repetition_in_any_pieces_goes_and_nothing_else(expected in "[aé😀 ]{4,12}", new in "[aé😀 ]{0,12}", cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..8)) {
            let text = format!("{expected}{new}");
            prop_assert_eq!(kept(&expected, &pieces(&text, &cuts)), new);
        }

        #[test]
        fn a_text_that_is_no_repetition_stays_whole(expected in "[ab]{0,8}", text in "[ab]{0,12}", cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..8)) {
            prop_assume!(expected.len() < SHORTEST || !text.starts_with(&expected));
            prop_assert_eq!(kept(&expected, &pieces(&text, &cuts)), text);
        }
    }
}
