//! What the personal-data detector costs, counted in instructions: times on a shared machine say little, instructions repeat.
//!
//! ```text
//! cargo build --profile profiling --no-default-features --example pii
//! pii=target/profiling/examples/pii
//! for rounds in 1 11; do valgrind --tool=callgrind --callgrind-out-file=/dev/null $pii batch prose $rounds; done
//! ```
//!
//! The difference of the two counts, divided by ten times the KiB the program prints, is the cost of a KiB without that of starting.
//! The same difference of the `total heap usage` that `valgrind $pii ...` prints is what ten rounds allocate.
//!
//! The texts are made up here: prose, source code, log lines, JSON, a conversation, and inputs chosen to be expensive.

#[path = "texts.rs"]
mod texts;

use kt::openai::chunk::{AnswerChannel, AnswerKind};
use kt::openai::request::{Endpoint, Prompt};
use kt::policy::pii::{PiiDetector, PiiSettings};
use kt::policy::{Policy, Released};
use std::process::ExitCode;
use texts::{CHAT, CODE, JSON, LOGS};

const USAGE: &str = "usage: pii batch|find|BYTES prose|code|logs|json|chat|all|UNIT [ROUNDS]

batch   each text is the content of a prompt
BYTES   each text arrives as an answer does, in pieces of so many bytes
find    only the search
UNIT    any other word is repeated to fill a text";

/// Bytes of every text.
const SIZE: usize = 64 << 10;

/// How a text is looked at.
#[derive(Clone, Copy)]
enum Mode {
    Batch,
    Find,
    Stream(usize),
}

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let (mode, corpus) = (args.first().and_then(|word| mode(word)), args.get(1).map_or("", String::as_str));
    let rounds = args.get(2).map_or(Ok(1), |n| n.parse::<u32>());
    let (Some(mode), Ok(rounds), Ok(detector)) = (mode, rounds, PiiDetector::new(PiiSettings::default())) else {
        eprintln!("{USAGE}");
        return ExitCode::from(2);
    };
    let texts = texts(corpus);
    let found: usize = texts.iter().map(|text| run(&detector, mode, text, rounds)).sum();
    println!("texts={} kib={} rounds={rounds} found={found}", texts.len(), texts.iter().map(String::len).sum::<usize>() >> 10);
    ExitCode::SUCCESS
}

fn mode(word: &str) -> Option<Mode> {
    match word {
        "batch" => Some(Mode::Batch),
        "find" => Some(Mode::Find),
        bytes => bytes.parse().ok().filter(|&bytes| bytes > 0).map(Mode::Stream),
    }
}

/// Looks at a text as often as asked for: what comes before the rounds is not counted in a difference of two of them.
fn run(detector: &PiiDetector, mode: Mode, text: &str, rounds: u32) -> usize {
    let mut found = 0;
    match mode {
        Mode::Find => (0..rounds).for_each(|_| found = detector.find(text).len()),
        Mode::Batch => {
            let body = serde_json::json!({"messages": [{"role": "user", "content": text}]}).to_string();
            let Ok(prompt) = Prompt::read(Endpoint::ChatCompletions, body.as_bytes()) else { return 0 };
            (0..rounds).for_each(|_| found = detector.inspect(&prompt).map_or(0, |judgement| judgement.findings.len()));
        }
        Mode::Stream(size) => {
            let pieces = pieces(text, size);
            (0..rounds).for_each(|_| found = stream(detector, &pieces));
        }
    }
    found
}

fn stream(detector: &PiiDetector, pieces: &[&str]) -> usize {
    let channel = AnswerChannel { choice: 0, kind: AnswerKind::Content };
    let Some(mut watch) = detector.watch(&channel) else { return 0 };
    let (mut out, mut found) = (Released::default(), 0);
    for piece in pieces {
        let _ = watch.feed(piece, &mut out);
        out.replacements.clear();
        found += out.findings.drain(..).count();
    }
    let _ = watch.end(&mut out);
    found + out.findings.len()
}

fn pieces(text: &str, size: usize) -> Vec<&str> {
    let (mut pieces, mut rest) = (Vec::new(), text);
    while !rest.is_empty() {
        let (piece, after) = rest.split_at(rest.ceil_char_boundary(size));
        pieces.push(piece);
        rest = after;
    }
    pieces
}

fn texts(corpus: &str) -> Vec<String> {
    let known = [("prose", PROSE), ("code", CODE), ("logs", LOGS), ("json", JSON), ("chat", CHAT)];
    let chosen: Vec<&str> = known.iter().filter(|(name, _)| corpus == *name || corpus == "all").map(|(_, text)| *text).collect();
    if chosen.is_empty() {
        return vec![fill(if corpus.is_empty() { " " } else { corpus })];
    }
    chosen.into_iter().map(fill).collect()
}

fn fill(unit: &str) -> String {
    unit.repeat((SIZE / unit.len().max(1)).max(1))
}

const PROSE: &str = "\
The harbour was quiet when Ada arrived, and the ferry had already left. She put her bag on a bench, looked at the map again \
and decided to walk along the water until the next boat. It was 1987, or perhaps 1988; nobody could say for certain. The old \
lighthouse (built in 1843, rebuilt after the storm of 1901) stood at the end of the pier, its paint gone and its windows dark. \
\"You can wait inside,\" said a man with a lantern, \"there's a stove, and the tea isn't bad.\" She thanked him. They talked about \
fishing, about the price of diesel - 94 cents a litre, up 12% - and about his sister, who'd moved to the mainland.\n\n\
In general, a system of this kind has three properties: it is simple to explain, cheap to operate, and hard to break. The first \
two follow from its size. The third doesn't follow from anything; it must be tested, again and again, with inputs that nobody \
would write on purpose. Most failures we've seen came from the boundary between two parts that were each correct.\n\n";
