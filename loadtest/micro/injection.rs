//! What the injection detector costs, counted in instructions: times on a shared machine say little, instructions repeat.
//!
//! ```text
//! cargo build --profile profiling --no-default-features --example injection
//! injection=target/profiling/examples/injection
//! for rounds in 1 11; do valgrind --tool=callgrind --callgrind-out-file=/dev/null $injection prose 16 $rounds; done
//! ```
//!
//! The difference of the two counts, divided by ten times the KiB the program prints, is the cost of a KiB without that of starting.
//! The same difference of the `total heap usage` that `valgrind $injection ...` prints is what ten rounds allocate.
//!
//! The texts are made up here: prose, source code, log lines, JSON, a conversation, other scripts, and `WORST`: what a search for
//! expensive texts (`prompt_injection/proof.rs`) came up with.

#[path = "texts.rs"]
mod texts;

use kt::policy::prompt_injection::{InjectionSettings, PromptInjection};
use std::process::ExitCode;
use texts::{CHAT, CODE, JSON, LOGS};

const USAGE: &str = "usage: injection TEXT [KIB [ROUNDS]]

TEXT    prose, code, logs, json, chat, german, russian, chinese; worst and a number from 0; any other word is repeated
KIB     how long to make it (1)
ROUNDS  how often to read it (1)";

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let number = |at: usize| args.get(at).map_or(Ok(1), |n| n.parse::<usize>());
    let (Some(unit), Ok(kib), Ok(rounds)) = (args.first().and_then(|name| unit(name)), number(1), number(2)) else {
        eprintln!("{USAGE}");
        return ExitCode::from(2);
    };
    let policy = match PromptInjection::new(InjectionSettings::default()) {
        Ok(policy) => policy,
        Err(error) => {
            eprintln!("injection: {error}");
            return ExitCode::FAILURE;
        }
    };
    let text = fill(unit, kib << 10);
    let mut found = Vec::new();
    for _ in 0..rounds {
        found = policy.explain(&text);
    }
    println!("kib={} rounds={rounds} verdict={}", text.len() as f64 / 1024.0, policy.verdict(&found).as_str());
    for finding in found {
        println!("{} {:?} {:?}", finding.rule, finding.range, finding.score);
    }
    ExitCode::SUCCESS
}

fn unit(name: &str) -> Option<&str> {
    if let Some(number) = name.strip_prefix("worst") {
        return WORST.get(number.parse::<usize>().ok()?).copied();
    }
    let known = TEXTS.iter().find(|(known, _)| *known == name);
    Some(known.map_or(name, |(_, text)| *text)).filter(|unit| !unit.is_empty())
}

/// The unit again and again, cut off at the size.
fn fill(unit: &str, size: usize) -> String {
    let mut text = unit.repeat(size / unit.len() + 1);
    text.truncate(text.floor_char_boundary(size));
    text
}

const TEXTS: [(&str, &str); 8] = [
    ("prose", PROSE),
    ("code", CODE),
    ("logs", LOGS),
    ("json", JSON),
    ("chat", CHAT),
    ("german", GERMAN),
    ("russian", RUSSIAN),
    ("chinese", CHINESE),
];

/// Units that cost most, repeated, of all that were tried.
const WORST: &[&str] = &[
    "%69ﷺ㍿",
    "㍿",
    "no ",
    "![](http?a",
    "](http",
    "a1 ",
    "22 ",
    "%69",
    "&amp;#x67;",
    "忽略",
    "ба ",
    "prompt do sistema ",
    "you re ",
];

const PROSE: &str = "\
The ferry had already left when Ada reached the harbour, so she put her bag on a bench, looked at the map again and decided to walk \
along the water until the next one came. It was a quiet evening, in 1987 or perhaps 1988; nobody could say for certain. The old \
lighthouse (built in 1843, rebuilt after the storm of 1901) stood at the end of the pier, its paint gone and its windows dark. \
\"You can wait inside,\" said a man with a lantern, \"there's a stove, and the tea isn't bad.\" She thanked him. They talked about \
fishing, about the price of diesel - 94 cents a litre, up 12% - and about his sister, who'd moved to the mainland.\n\n\
In general, a system of this kind has three properties: it is simple to explain, cheap to operate, and hard to break. The first \
two follow from its size. The third doesn't follow from anything; it must be tested, again and again, with inputs that nobody \
would write on purpose. Most failures we've seen came from the boundary between two parts that were each correct.\n\n\
Could you summarise the chapter above in two or three sentences, and then list the questions a reader should be able to answer \
after it? I don't need the examples. If something is unclear, tell me what you would change about it first.\n\n";

const GERMAN: &str = "\
Die Fähre war schon weg, als Ada den Hafen erreichte. Sie stellte ihre Tasche auf eine Bank, sah noch einmal auf die Karte und \
beschloss, am Wasser entlangzugehen, bis die nächste käme. „Sie können drinnen warten“, sagte ein Mann mit einer Laterne, „es gibt \
einen Ofen, und der Tee ist gar nicht übel.“ Danach sprachen sie über Fische, über die Preise und über seine größere Schwester.\n\n";

const RUSSIAN: &str = "\
Паром уже ушёл, когда Ада добралась до гавани. Она поставила сумку на скамейку, ещё раз посмотрела на карту и решила пройтись вдоль \
воды до следующего. «Можно подождать внутри, — сказал человек с фонарём, — там печка, и чай неплохой». Потом они говорили о рыбе, о \
ценах на топливо и о его сестре, которая переехала на материк.\n\n";

const CHINESE: &str = "\
艾达到达港口时，渡轮已经开走了。她把包放在长椅上，又看了一眼地图，决定沿着水边走一走，等下一班船。“您可以在里面等，”一个提着灯笼的男人说，\
“有炉子，茶也不错。”后来他们谈到了打鱼，谈到了柴油的价格，还谈到了他搬到大陆去的姐姐。这是一个安静的夜晚，没有人能说清是哪一年。\n\n";
