//! What attackers do to a text that a model still reads: twenty ways.

use base64::Engine;

/// What one disguise does to a text.
pub type Disguise = fn(&str) -> String;

/// Name and doing of each, the undisguised text first.
pub const DISGUISES: [(&str, Disguise); 21] = [
    ("plain", str::to_owned),
    ("upper case", str::to_uppercase),
    ("fullwidth", |t| shifted(t, 0xff21, 0xff41)),
    ("mathematical bold", |t| shifted(t, 0x1d400, 0x1d41a)),
    ("circled", |t| shifted(t, 0x24b6, 0x24d0)),
    ("zero-width spaces", |t| between(t, '\u{200b}')),
    ("soft hyphens", |t| between(t, '\u{ad}')),
    ("variation selectors", |t| between(t, '\u{fe0f}')),
    ("bidi controls", |t| format!("\u{202e}{t}\u{202c}")),
    ("combining marks", |t| between(t, '\u{336}')),
    ("tag characters", |t| t.chars().map(|c| if c.is_ascii_graphic() || c == ' ' { lifted(c, 0xe0000) } else { c }).collect()),
    ("homoglyphs", |t| mapped(t, "aeopcisy", "аеорсіѕу")),
    ("digits for letters", |t| mapped(t, "aeoist", "430157")),
    ("letters spaced", |t| words(t, "   ", |word| spaced(word, " "))),
    ("letters dotted", |t| words(t, " ", |word| spaced(word, "."))),
    ("neighbours swapped in long words", |t| words(t, " ", swapped)),
    ("no spaces", |t| words(t, "", str::to_owned)),
    ("HTML entities", |t| t.chars().map(|c| format!("&#{};", c as u32)).collect()),
    ("unicode escapes", |t| t.encode_utf16().map(|unit| format!("\\u{unit:04x}")).collect()),
    ("percent", |t| t.bytes().map(|b| format!("%{b:02X}")).collect()),
    ("base64", |t| base64::engine::general_purpose::STANDARD.encode(t)),
];

fn lifted(c: char, by: u32) -> char {
    char::from_u32(c as u32 + by).unwrap_or(c)
}

fn shifted(text: &str, upper: u32, lower: u32) -> String {
    let shift = |c: char| match c {
        'A'..='Z' => lifted(c, upper - 'A' as u32),
        'a'..='z' => lifted(c, lower - 'a' as u32),
        other => other,
    };
    text.chars().map(shift).collect()
}

fn between(text: &str, what: char) -> String {
    text.chars().flat_map(|c| [c, what]).collect()
}

fn mapped(text: &str, from: &str, to: &str) -> String {
    let map = |c: char| from.chars().zip(to.chars()).find(|(from, _)| *from == c).map_or(c, |(_, to)| to);
    text.to_lowercase().chars().map(map).collect()
}

fn words(text: &str, separator: &str, change: impl Fn(&str) -> String) -> String {
    let line = |line: &str| line.split(' ').map(&change).collect::<Vec<_>>().join(separator);
    text.split('\n').map(line).collect::<Vec<_>>().join("\n")
}

fn spaced(word: &str, separator: &str) -> String {
    word.chars().map(String::from).collect::<Vec<_>>().join(separator)
}

/// Swaps two neighbours near the middle of a word of five letters or more.
fn swapped(word: &str) -> String {
    let mut letters: Vec<char> = word.chars().collect();
    let middle = letters.len() / 2;
    if letters.len() >= 5 {
        letters.swap(middle - 1, middle);
    }
    letters.into_iter().collect()
}
