//! Single characters: what is dropped, what is Latin, and which foreign letters a reader takes for Latin ones.

/// Invisible, or only a matter of direction or presentation: removing it changes no word a model reads.
pub fn is_ignorable(c: char) -> bool {
    matches!(c,
        '\0'..='\u{8}' | '\u{b}' | '\u{c}' | '\u{e}'..='\u{1f}' | '\u{7f}' | '\u{ad}' | '\u{34f}' | '\u{61c}'
        | '\u{115f}' | '\u{1160}' | '\u{17b4}' | '\u{17b5}' | '\u{180b}'..='\u{180f}' | '\u{200b}'..='\u{200f}'
        | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{3164}' | '\u{fe00}'..='\u{fe0f}' | '\u{feff}'
        | '\u{ffa0}' | '\u{fff0}'..='\u{fffb}' | '\u{e0000}'..='\u{e0fff}')
}

/// The ASCII character that a Unicode tag character smuggles, or a variation selector that stands for a byte.
pub fn tag(c: char) -> Option<char> {
    match c {
        // The selectors in use behind ideographs lie below.
        '\u{e0110}'..='\u{e016e}' => char::from_u32(c as u32 - 0xe0100 + 16),
        '\u{e0020}'..='\u{e007e}' => char::from_u32(c as u32 - 0xe0000),
        _ => None,
    }
}

/// A letter of the Latin script, in any of its compatibility forms.
pub fn is_latin(c: char) -> bool {
    c.is_ascii_alphabetic()
        || matches!(c,
            '\u{aa}' | '\u{ba}' | '\u{c0}'..='\u{d6}' | '\u{d8}'..='\u{f6}' | '\u{f8}'..='\u{2af}' | '\u{1d00}'..='\u{1d25}'
            | '\u{1d2c}'..='\u{1d5c}' | '\u{1d62}'..='\u{1d65}' | '\u{1d6b}'..='\u{1d77}' | '\u{1d79}'..='\u{1dbe}'
            | '\u{1e00}'..='\u{1eff}' | '\u{2071}' | '\u{207f}' | '\u{2090}'..='\u{209c}' | '\u{2c60}'..='\u{2c7f}'
            | '\u{a722}'..='\u{a7ff}' | '\u{fb00}'..='\u{fb06}' | '\u{ff21}'..='\u{ff3a}' | '\u{ff41}'..='\u{ff5a}'
            | '\u{1d400}'..='\u{1d6a3}' | '\u{24b6}'..='\u{24e9}' | '\u{1f110}'..='\u{1f189}' | '\u{1f1e6}'..='\u{1f1ff}')
}

/// A word character: what the tokens of the rules are made of.
pub fn is_word(c: char) -> bool {
    c.is_alphanumeric() || unicode_normalization::char::is_combining_mark(c)
}

/// Latin letters that no decomposition turns into ASCII: strokes, small capitals, squared and flag letters.
pub fn plain_latin(c: char) -> Option<char> {
    let boxed = |base: u32| char::from_u32('a' as u32 + (c as u32 - base));
    Some(match c {
        'ı' | 'ɪ' | 'ɨ' | 'ɩ' => 'i',
        'ł' | 'ɫ' | 'ʟ' | 'ƚ' | 'ɭ' => 'l',
        'ø' | 'ᴏ' | 'ɵ' => 'o',
        'đ' | 'ɖ' | 'ɗ' | 'ᴅ' | 'ð' => 'd',
        'ɑ' | 'ᴀ' | 'ɐ' => 'a',
        'ʙ' | 'ɓ' | 'ƀ' => 'b',
        'ᴄ' | 'ƈ' => 'c',
        'ᴇ' | 'ɇ' | 'ə' | 'ɛ' => 'e',
        'ꜰ' | 'ƒ' => 'f',
        'ɡ' | 'ɢ' | 'ɠ' | 'ǥ' => 'g',
        'ʜ' | 'ħ' | 'ɦ' | 'ɥ' => 'h',
        'ᴊ' | 'ɉ' | 'ʝ' => 'j',
        'ᴋ' | 'ƙ' => 'k',
        'ᴍ' | 'ɱ' => 'm',
        'ɴ' | 'ɲ' | 'ƞ' | 'ŋ' => 'n',
        'ᴘ' | 'ƥ' => 'p',
        'ꞯ' | 'ʠ' => 'q',
        'ʀ' | 'ɹ' | 'ɍ' | 'ɾ' => 'r',
        'ꜱ' | 'ʂ' | 'ȿ' => 's',
        'ᴛ' | 'ŧ' | 'ƭ' | 'ʈ' => 't',
        'ᴜ' | 'ʉ' => 'u',
        'ᴠ' | 'ʋ' => 'v',
        'ᴡ' | 'ʍ' => 'w',
        'ʏ' | 'ƴ' => 'y',
        'ᴢ' | 'ƶ' | 'ʐ' => 'z',
        '\u{1f150}'..='\u{1f169}' => boxed(0x1f150)?,
        '\u{1f170}'..='\u{1f189}' => boxed(0x1f170)?,
        '\u{1f1e6}'..='\u{1f1ff}' => boxed(0x1f1e6)?,
        _ => return None,
    })
}

/// The Latin letter a lowercase or uppercase Cyrillic, Greek, Armenian, Cherokee or Lisu letter is taken for.
pub fn lookalike(c: char) -> Option<char> {
    Some(match c {
        'а' | 'А' | 'α' | 'Α' | 'Ꭺ' | 'ꓮ' => 'a',
        'Ь' | 'ь' | 'В' | 'в' | 'Β' | 'β' | 'Ᏼ' | 'ꓐ' => 'b',
        'с' | 'С' | 'ϲ' | 'Ϲ' | 'Ꮯ' | 'ꓚ' => 'c',
        'ԁ' | 'Ԁ' | 'Ꭰ' | 'ꓓ' | 'ժ' => 'd',
        'е' | 'Е' | 'ё' | 'Ё' | 'є' | 'Є' | 'ε' | 'Ε' | 'Ꭼ' | 'ꓰ' | 'ҽ' => 'e',
        'Ϝ' | 'ϝ' | 'ꓝ' => 'f',
        'ɡ' | 'Ꮐ' | 'ԍ' | 'Ԍ' | 'ꓖ' | 'ց' => 'g',
        'һ' | 'Һ' | 'Н' | 'н' | 'Η' | 'Ꮋ' | 'ꓧ' | 'հ' => 'h',
        'і' | 'І' | 'ї' | 'Ї' | 'ι' | 'Ι' | 'Ꭵ' | 'ꓲ' | 'ӏ' | 'Ӏ' => 'i',
        'ј' | 'Ј' | 'ϳ' | 'Ϳ' | 'Ꭻ' | 'ꓙ' => 'j',
        'к' | 'К' | 'κ' | 'Κ' | 'Ꮶ' | 'ꓗ' => 'k',
        'Ꮮ' | 'ꓡ' | 'լ' => 'l',
        'м' | 'М' | 'Μ' | 'Ꮇ' | 'ꓟ' => 'm',
        'п' | 'П' | 'ո' | 'η' | 'Ν' | 'ꓠ' => 'n',
        'о' | 'О' | 'ο' | 'Ο' | 'օ' | 'Օ' | 'σ' | 'ꓳ' => 'o',
        'р' | 'Р' | 'ρ' | 'Ρ' | 'Ꮲ' | 'ꓑ' => 'p',
        'ԛ' | 'Ԛ' | 'զ' => 'q',
        'г' | 'Г' | 'Ꭱ' | 'ꓣ' => 'r',
        'ѕ' | 'Ѕ' | 'Ꮪ' | 'ꓢ' | 'ꜱ' => 's',
        'т' | 'Т' | 'τ' | 'Τ' | 'Ꭲ' | 'ꓔ' => 't',
        'υ' | 'ս' | 'Ս' | 'ꓴ' | 'ц' => 'u',
        'ν' | 'ѵ' | 'Ѵ' | 'Ꮩ' | 'ꓦ' => 'v',
        'ѡ' | 'ԝ' | 'Ԝ' | 'ω' | 'Ꮃ' | 'ꓪ' | 'ա' => 'w',
        'х' | 'Х' | 'χ' | 'Χ' | 'ꓫ' => 'x',
        'у' | 'У' | 'ү' | 'Ү' | 'γ' | 'Υ' | 'ꓬ' => 'y',
        'Ζ' | 'ζ' | 'Ꮓ' | 'ꓜ' => 'z',
        _ => return None,
    })
}
