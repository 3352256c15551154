//! However an answer is cut, what comes back is the whole answer with its tokens replaced, and nothing else changes.

use super::*;
use proptest::prelude::*;

const PAIRS: [(&str, &str); 3] =
    [("[EMAIL_1]", "jane@example.com"), ("[EMAIL_12]", "a\"b\\c\né\u{1d}😀"), ("[CARDHOLDER_NAME_1]", "J")];

fn restorer() -> Arc<Restorer> {
    Arc::new(Restorer::new(PAIRS.map(|(token, value)| (token.to_owned(), value.to_owned()))))
}

/// Redacts each `#`, alone or in a row, and never sees a token; a row at the end of what came is undecided.
#[derive(Clone, Default)]
struct Hashes {
    at: u64,
    row: Option<u64>,
}

impl Hashes {
    fn close(&mut self, out: &mut Released) {
        if let Some(from) = self.row.take() {
            out.replacements.push(Replacement { range: from..self.at, with: "X".into(), change: Change::Redacts });
        }
    }
}

impl Watch for Hashes {
    fn feed(&mut self, delta: &str, out: &mut Released) -> Flow {
        for c in delta.chars() {
            if c == '#' {
                self.row.get_or_insert(self.at);
            } else {
                self.close(out);
            }
            self.at += c.len_utf8() as u64;
        }
        assert!(PAIRS.iter().all(|(token, _)| !delta.contains(token)), "{delta}");
        out.upto = self.row.unwrap_or(self.at);
        Flow::Continue
    }
    fn end(&mut self, out: &mut Released) -> Flow {
        self.close(out);
        out.upto = self.at;
        Flow::Continue
    }
    fn fork(&self) -> Box<dyn Watch> {
        Box::new(self.clone())
    }
}

/// The text as it leaves when it comes in these pieces, and how much of it was held back at most.
fn restored(pieces: &[&str], json: bool) -> (String, u64) {
    let mut watch = Restoring::new(restorer(), json, Some(Box::new(Hashes::default())));
    let (mut out, mut all, mut held, mut fed) = (Released::default(), Vec::new(), 0, 0);
    for piece in pieces {
        let before = out.upto;
        assert_eq!(watch.feed(piece, &mut out), Flow::Continue);
        fed += piece.len() as u64;
        held = held.max(fed - out.upto);
        assert!(before <= out.upto && out.replacements.iter().all(|r| before <= r.range.start && r.range.end <= out.upto));
        all.append(&mut out.replacements);
    }
    assert_eq!(watch.end(&mut out), Flow::Continue);
    all.append(&mut out.replacements);
    assert_eq!(out.upto, fed);
    let (text, mut said, mut at) = (pieces.concat(), String::new(), 0);
    for Replacement { range, with, .. } in all {
        said += &text[at..range.start as usize];
        said += &with;
        at = range.end as usize;
    }
    (said + &text[at..], held)
}

fn cut(text: &str, cuts: &[prop::sample::Index]) -> Vec<String> {
    let mut at: Vec<usize> = cuts.iter().map(|cut| text.floor_char_boundary(cut.index(text.len() + 1))).collect();
    at.extend([0, text.len()]);
    at.sort_unstable();
    at.windows(2).map(|pair| text[pair[0]..pair[1]].to_owned()).collect()
}

fn words() -> impl Strategy<Value = String> {
    let words =
        ["[EMAIL_1]", "[EMAIL_12]", "[CARDHOLDER_NAME_1]", "[EMAIL_9]", "[email_1]", "[", "[EMAIL_1", "]", "é", " a", "#", "##"];
    prop::collection::vec(prop::sample::select(words.to_vec()), 0..12).prop_map(|words| words.concat())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn a_text_cut_anywhere_is_restored_like_the_whole(
        text in words(),
        cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..8),
    ) {
        let pieces = cut(&text, &cuts);
        let pieces: Vec<&str> = pieces.iter().map(String::as_str).collect();
        let mut expected = text.replace('#', "X");
        while expected.contains("XX") {
            expected = expected.replace("XX", "X");
        }
        for (token, value) in PAIRS {
            expected = expected.replace(token, value);
        }
        prop_assert_eq!(restored(&pieces, false).0, expected);
    }

    #[test]
    fn arguments_stay_json_and_mean_the_values(
        text in "[a-z\\\\\"é\n#]{0,6}(\\[EMAIL_1\\]|\\[EMAIL_12\\]|\\[EMAIL_9\\]|\\[){0,3}[a-z\\\\\"\n]{0,6}",
        cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..8),
    ) {
        let source = serde_json::json!({"a": text, "[EMAIL_1]": [1, text]}).to_string();
        let pieces = cut(&source, &cuts);
        let said = restored(&pieces.iter().map(String::as_str).collect::<Vec<_>>(), true).0;
        let mut expected = text.clone();
        while expected.contains("##") {
            expected = expected.replace("##", "#");
        }
        expected = expected.replace('#', "X");
        for (token, value) in PAIRS {
            expected = expected.replace(token, value);
        }
        let meant: serde_json::Value = serde_json::from_str(&said).expect("JSON");
        prop_assert_eq!(&meant["a"], &expected);
        prop_assert_eq!(&meant["jane@example.com"][1], &expected);
    }

    #[test]
    fn no_more_than_the_beginning_of_one_token_is_held(text in "[\\[\\]A-Z_0-9]{0,60}") {
        let pieces: Vec<String> = text.chars().map(String::from).collect();
        let held = restored(&pieces.iter().map(String::as_str).collect::<Vec<_>>(), false).1;
        prop_assert!(held < "[CARDHOLDER_NAME_1]".len() as u64);
    }
}

#[test]
fn a_token_outside_any_string_becomes_a_string() {
    assert_eq!(restored(&["{\"to\": [EMAIL_", "1], \"n\": [1]}"], true).0, "{\"to\": \"jane@example.com\", \"n\": [1]}");
}

#[test]
fn debug_output_shows_no_value() {
    let shown = format!("{:?}", restorer());
    let put_back = format!("{:?}", Replacement { range: 0..9, with: "jane@example.com".into(), change: Change::Restores });
    assert!(!shown.contains("jane") && !put_back.contains("jane"), "{shown} {put_back}");
}
