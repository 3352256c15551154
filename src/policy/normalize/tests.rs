use super::*;
use proptest::prelude::*;

const ALL: Folding = Folding { unicode: true, homoglyphs: true };

/// The views of a text, each with its folded text.
fn views(text: &str) -> Vec<(View, String)> {
    let mut views = Vec::new();
    Normalizer::new(ALL, true).scans(text, &mut Scratch::default(), |scan| views.push((scan.view(), scan.text().to_owned())));
    views
}

fn folded(text: &str) -> String {
    views(text).swap_remove(0).1
}

#[test]
fn what_is_read_is_what_is_scanned() {
    for (written, read) in [
        ("Plain ASCII, 100%!", "plain ascii, 100%!"),
        ("ＦＵＬＬ ｗｉｄｔｈ", "full width"),
        ("naïve Å straße", "naive a strasse"),
        ("so\u{ad}ft zero\u{200b}width\u{2060}", "soft zerowidth"),
        ("𝐛𝐨𝐥𝐝 ⓒⓘⓡⓒⓛⓔ 🅱🅾🆇", "bold circle box"),
        ("ѕуѕtеm", "system"),
        ("Привет, мир", "привет, мир"),
        ("Й и\u{306}", "й й"),
        ("한국어 日本語", "한국어 日本語"),
        ("i g n o r e   m e", "ignore me"),
        ("i.g.n.o.r.e a.l.l", "ignore all"),
        ("s-t-o-p it", "stop it"),
        ("a b", "a b"),
        ("\u{e0068}\u{e0069}", "hi"),
        ("😀\u{e0158}\u{e0159} 葛\u{e0100}", "😀hi 葛"),
        ("\u{1f3f4}\u{e0067}\u{e0062}\u{e0065}\u{e006e}\u{e0067}\u{e007f}!", "\u{1f3f4}!"),
    ] {
        assert_eq!(folded(written), read, "{written:?}");
    }
}

#[test]
fn every_encoding_is_a_view() {
    for (written, view, read) in [
        ("&#105;&#x67;n", View::Unescaped, "ign"),
        (r"\u0069\x67\u{6e} \ud83d\ude00", View::Unescaped, "ign 😀"),
        (r"\151\147\156 =69=67=6e=20=20", View::Unescaped, "ign ign  "),
        ("&amp;#105;&amp;#x67;n", View::Unescaped, "ign"),
        ("%69gn %C3%A9", View::Unescaped, "ign e"),
        ("x aGVsbG8gd29ybGQsIGhlbGxvIHdvcmxk y", View::Decoded, "hello world, hello world\n"),
        ("68656c6c6f20776f726c642c2068656c6c6f", View::Decoded, "hello world, hello\n"),
        ("aABlAGwAbABvACAAdwBvAHIAbABkAA==", View::Decoded, "hello world\n"),
        ("104 101 108 108 111 44 32 119 111 114 108 100", View::Decoded, "hello, world\n"),
        ("rot13: uryyb", View::Rot13, "ebg13: hello"),
        ("reverse olleh", View::Reversed, "hello esrever"),
    ] {
        assert!(views(written).contains(&(view, read.to_owned())), "{written:?}: {:?}", views(written));
    }
    assert_eq!(views("nothing &amp; no one \\n").len(), 1);
}

#[test]
fn a_lowercased_text_needs_one_anchor() {
    let (mut out, mut map) = (String::new(), OffsetMap::default());
    fold::fold("Just ASCII.\nТолько кириллица", ALL, &mut out, &mut map);
    assert_eq!(map.anchors(), 1);
}

/// Text made of the pieces the normaliser treats specially.
fn hostile() -> impl Strategy<Value = String> {
    let piece = prop_oneof![
        ".{0,6}",
        "[a-zA-Z .-]{0,12}",
        "[аеорсіa-z]{1,6}",
        "[\\u0300-\\u0310]{1,3}",
        "[\\u{200b}\\u{ad}\\u{fe0f}]{1,2}",
        "[\\u{e0020}-\\u{e007f}]{1,9}",
        "(&#x?[0-9a-f]{1,6};?){1,3}",
        "(%[0-9a-f]{2}){1,4}",
        "(\\\\u[0-9a-fd]{4}){1,3}",
        "[A-Za-z0-9+/=\\n]{20,60}",
        "[0-9a-f]{30,50}",
        "([0-9a-f]{2,3}[ ,]{1,2}){10,16}",
        "(=[0-9A-F]{2}|\\\\[0-7]{3}|&amp;#[0-9]{2};){2,4}",
        "[\\u{e0100}-\\u{e0180}]{1,9}",
        "([a-z][ .]){2,9}",
        "[\\u{ac00}-\\u{ac20}\\u{1100}-\\u{11ff}]{1,4}",
        "[İﷺﬁ㍿ß]{1,3}",
    ];
    prop::collection::vec(piece, 0..8).prop_map(|pieces| pieces.concat())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(192))]

    #[test]
    fn offsets_grow_and_lie_on_character_boundaries(text in hostile()) {
        let mut total = 0;
        Normalizer::new(ALL, true).scans(&text, &mut Scratch::default(), |scan| {
            total += scan.text().len();
            let bounds: Vec<usize> = (0..=scan.text().len()).filter(|at| scan.text().is_char_boundary(*at)).collect();
            let mut last = 0..0;
            for pair in bounds.windows(2) {
                let source = scan.source(pair[0]..pair[1]);
                assert!(text.get(source.clone()).is_some(), "{source:?} of {text:?}");
                assert!(source.start >= last.start && source.end >= last.end, "{source:?} after {last:?} in {text:?}");
                last = source;
            }
        });
        prop_assert!(total <= text.len() * MAX_GROWTH * (1 + MAX_VIEWS));
    }

    #[test]
    fn ascii_is_only_lowercased(text in "[ -~\\t\\n\\r]{0,80}") {
        let (mut out, mut map) = (String::new(), OffsetMap::default());
        prop_assert_eq!(fold::fold(&text, ALL, &mut out, &mut map), 0);
        prop_assert_eq!(&out, &text.to_ascii_lowercase());
        prop_assert_eq!(map.source(0..text.len()), 0..text.len());
        // The slow path says the same of each character: one foreign character in front changes nothing after it.
        let (mut slow, mut map) = (String::new(), OffsetMap::default());
        fold::fold(&format!("б{text}"), ALL, &mut slow, &mut map);
        prop_assert_eq!(slow.strip_prefix('б'), Some(out.as_str()));
    }
}
