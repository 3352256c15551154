//! The ways a provider can fail, as many as we have met, each by a name.
//!
//! A fault is asked for by model (`sim-429`) or, for any model, by the header `x-sim-fault: 429`. [`TABLE`] is the whole list;
//! `kt simulate --help` prints it.

use std::time::Duration;

/// One way to fail.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// An error answer with this status, in the provider's own words.
    Status(u16),
    /// A 502 with an HTML page, as a network in front of a provider sends it.
    Html,
    /// 200 and an empty body.
    Empty,
    /// Every nth request is answered 503, the others well.
    Flaky(u32),
    /// The request is read and never answered.
    Hang,
    /// The connection is closed without an answer.
    Close,
    /// The status line comes after this long.
    SlowFirstByte(Duration),
    /// This long between two tokens.
    SlowTokens(Duration),
    /// Silence after some tokens, with the connection open.
    Stall,
    /// The connection is reset (TCP RST; over HTTP/2 the stream is) in the middle of the answer.
    Reset,
    /// The connection is closed in the middle of the answer, before the end its framing announces.
    Truncated,
    /// A data event, or the body, that is not JSON.
    Malformed,
    /// An error event in the middle of the stream.
    ErrorEvent,
    /// The stream ends cleanly without `data: [DONE]`.
    NoDone,
    /// The stream ends cleanly without `finish_reason`, `usage` and `data: [DONE]`.
    NoFinish,
}

/// Name and meaning of every fault, for `--help` and the 400 that answers an unknown one.
pub const TABLE: &[(&str, &str)] = &[
    ("400 ... 599", "an error answer; 429 and 503 with Retry-After (x-sim-retry-after, 1)"),
    ("html", "502 with an HTML page"),
    ("empty", "200 with an empty body"),
    ("flaky[-N]", "every Nth request (2) is answered 503"),
    ("hang", "the request is read and never answered"),
    ("close", "the connection is closed without an answer"),
    ("slow-first-byte[-MS]", "the status line comes after MS (2000) milliseconds"),
    ("slow-tokens[-MS]", "MS (100) milliseconds between two tokens"),
    ("stall", "silence after some tokens (x-sim-after, 5)"),
    ("reset", "the connection is reset after some tokens"),
    ("truncated", "the connection is closed after some tokens, before the end of the body"),
    ("malformed", "after some tokens an event that is not JSON; a whole answer breaks off"),
    ("error-event", "after some tokens an error event, then the end"),
    ("no-done", "the stream ends without [DONE]"),
    ("no-finish", "the stream ends without finish_reason, usage and [DONE]"),
];

/// No fault waits longer, whatever number its name carries.
const LONGEST_WAIT: Duration = Duration::from_secs(60 * 60);

impl Fault {
    /// The fault of that name, such as `429` or `slow-first-byte-300`.
    pub fn named(name: &str) -> Option<Fault> {
        if let Ok(status @ 400..=599) = name.parse::<u16>() {
            return Some(Fault::Status(status));
        }
        let (stem, number) = match name.rsplit_once('-') {
            Some((stem, digits)) if !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit()) => {
                (stem, digits.parse().ok())
            }
            _ => (name, None),
        };
        let milliseconds = |default| Duration::from_millis(number.unwrap_or(default)).min(LONGEST_WAIT);
        match (stem, number) {
            ("flaky", n) => Some(Fault::Flaky(u32::try_from(n.unwrap_or(2)).unwrap_or(2).max(1))),
            ("slow-first-byte", _) => Some(Fault::SlowFirstByte(milliseconds(2_000))),
            ("slow-tokens", _) => Some(Fault::SlowTokens(milliseconds(100))),
            ("html", None) => Some(Fault::Html),
            ("empty", None) => Some(Fault::Empty),
            ("hang", None) => Some(Fault::Hang),
            ("close", None) => Some(Fault::Close),
            ("stall", None) => Some(Fault::Stall),
            ("reset", None) => Some(Fault::Reset),
            ("truncated", None) => Some(Fault::Truncated),
            ("malformed", None) => Some(Fault::Malformed),
            ("error-event", None) => Some(Fault::ErrorEvent),
            ("no-done", None) => Some(Fault::NoDone),
            ("no-finish", None) => Some(Fault::NoFinish),
            _ => None,
        }
    }

    /// The fault a model's name asks for: `sim-` and the name of a fault. Any other `sim-` model answers well.
    pub fn of_model(model: &str) -> Option<Fault> {
        model.strip_prefix("sim-").and_then(Fault::named)
    }
}

/// The table as text, a fault a line, indented.
pub fn help() -> String {
    TABLE.iter().map(|(name, meaning)| format!("  {name:<22}{meaning}\n")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_fault_of_the_table_can_be_asked_for() {
        for (name, _) in TABLE {
            let name = name.split(['[', ' ']).next().unwrap_or_default();
            assert!(Fault::named(name).is_some(), "{name}");
        }
    }

    #[test]
    fn a_number_after_the_name_is_its_measure() {
        assert_eq!(Fault::named("slow-first-byte-300"), Some(Fault::SlowFirstByte(Duration::from_millis(300))));
        assert_eq!(Fault::named("slow-first-byte"), Some(Fault::SlowFirstByte(Duration::from_millis(2_000))));
        assert_eq!(Fault::of_model("sim-flaky-3"), Some(Fault::Flaky(3)));
        assert_eq!(Fault::named("flaky-0"), Some(Fault::Flaky(1)));
        assert_eq!(Fault::named("slow-tokens-18446744073709551615"), Some(Fault::SlowTokens(LONGEST_WAIT)));
    }

    #[test]
    fn what_is_not_in_the_table_is_no_fault() {
        for name in ["", "-", "200", "600", "stall-5", "reset-", "sim-429"] {
            assert_eq!(Fault::named(name), None, "{name}");
        }
        assert_eq!(Fault::of_model("sim-anything"), None);
        assert_eq!(Fault::of_model("llama3.3-70b"), None);
    }
}
