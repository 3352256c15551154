//! A stream that breaks off is gone on with by another target, and the caller reads one.

use crate::support::{Gateway, Origin, Run};
use serde_json::{Value, json};
use std::time::Duration;

const CHAIN: &str = "pii-detector, audit-logger";
const CONTINUE: &str = "  fallback: {mid_stream: continue}\n  circuit_breaker: {enabled: false}\n";

/// Targets of which all but the first can go on with a text.
fn run(urls: &[String]) -> Run {
    let run = Run::chain(CHAIN, urls).with(CONTINUE);
    (1..urls.len()).fold(run, |run, n| run.of_target(n, "assistant_prefix: last_message"))
}

fn delta(delta: &Value) -> String {
    json!({"id": "x", "object": "chat.completion.chunk", "choices": [{"index": 0, "delta": delta, "finish_reason": null}]})
        .to_string()
}

/// A stream that opens, says these pieces and does not end; gated, for [`read`].
fn says(origin: Origin, pieces: &[&str]) -> Origin {
    let opening = delta(&json!({"role": "assistant", "content": ""}));
    let said = pieces.iter().map(|piece| delta(&json!({"content": piece})));
    let events: Vec<String> = std::iter::once(opening).chain(said).collect();
    origin.streams(&events.iter().map(String::as_str).collect::<Vec<_>>(), Duration::ZERO).gated()
}

/// A stream of these events, gated likewise.
fn sends(origin: Origin, events: &[&str]) -> Origin {
    origin.streams(events, Duration::ZERO).gated()
}

/// What a strict reader makes of a stream.
#[derive(Debug, Default, PartialEq)]
struct Read {
    text: String,
    /// The text that came before the comment.
    before: Option<String>,
    roles: usize,
    finishes: usize,
    errors: Vec<Value>,
    done: bool,
}

impl Read {
    fn of(stream: &str) -> Self {
        let mut read = Self::default();
        assert!(stream.ends_with("\n\n"), "{stream:?}");
        for block in stream.split_terminator("\n\n") {
            let mut data = None;
            for line in block.split('\n') {
                assert!(!read.done, "something behind [DONE]: {stream}");
                match (line.strip_prefix("data: "), line.starts_with(": ")) {
                    (Some(value), _) => assert!(data.replace(value).is_none(), "two events in one: {stream}"),
                    (None, true) => assert!(read.before.replace(read.text.clone()).is_none(), "two comments: {stream}"),
                    _ => panic!("no line of a stream: {line:?} in {stream}"),
                }
            }
            match data {
                Some("[DONE]") => read.done = true,
                Some(json) => read.chunk(&serde_json::from_str(json).unwrap_or_else(|e| panic!("{e}: {json}"))),
                None => {}
            }
        }
        read
    }

    fn chunk(&mut self, chunk: &Value) {
        if chunk.get("error").is_some() {
            self.errors.push(chunk.clone());
        }
        let choice = &chunk["choices"][0];
        self.text += choice["delta"]["content"].as_str().unwrap_or_default();
        self.roles += usize::from(choice["delta"].get("role").is_some());
        self.finishes += usize::from(choice["finish_reason"].is_string());
    }

    fn assert_whole(&self, text: &str, why: &str) {
        let ends = (self.text.as_str(), self.roles, self.finishes, self.errors.len(), self.done);
        assert_eq!(ends, (text, 1, 1, 0, true), "{why}: {self:?}");
    }

    fn assert_broken(&self, text: &str, why: &str) {
        let ends = (self.text.as_str(), self.finishes, self.errors.len(), self.done);
        assert_eq!(ends, (text, 0, 1, false), "{why}: {self:?}");
    }
}

/// Asks for a stream of which the first target sends so many events, and reads it: the caller has the first of them before the
/// second one is sent, so that whatever breaks then breaks before its eyes.
async fn read(gateway: &Gateway, first: &Origin, events: usize) -> Read {
    let (answer, ()) = tokio::join!(gateway.chat_stream("hi").send(), first.next_event());
    read_on(answer.unwrap(), first, events).await
}

async fn read_on(mut answer: reqwest::Response, first: &Origin, events: usize) -> Read {
    assert_eq!(answer.headers()["x-keeptrusts-target"], "t0");
    let mut stream = answer.chunk().await.unwrap().expect("a first event").to_vec();
    for sent in 1..events {
        first.next_event().await;
        // A reset overtakes what is on its way: the caller has the text before the last event is sent.
        while sent == 1 && events == 3 && !has_text(&stream) {
            stream.extend_from_slice(&answer.chunk().await.unwrap().expect("more of the stream"));
        }
    }
    while let Some(more) = answer.chunk().await.expect("the stream ends properly") {
        stream.extend_from_slice(&more);
    }
    Read::of(&String::from_utf8(stream).expect("text"))
}

fn has_text(stream: &[u8]) -> bool {
    String::from_utf8_lossy(stream).split("\"content\":\"").skip(1).any(|text| !text.starts_with('"'))
}

/// What a target was told the caller has.
fn told(origin: &Origin) -> String {
    let request = origin.requests().pop().expect("a request").json();
    let last = request["messages"].as_array().unwrap().last().unwrap().clone();
    assert_eq!(last["role"], "assistant", "{request:#}");
    last["content"].as_str().unwrap().to_owned()
}

fn reasons(record: &Value) -> Vec<String> {
    let attempts = record["attempts"].as_array().unwrap().iter();
    attempts.map(|a| format!("{} {}", a["target"].as_str().unwrap(), a["reason"].as_str().unwrap_or("-"))).collect()
}

#[tokio::test]
async fn however_the_first_one_breaks_off_the_caller_reads_one_stream() {
    let overloaded = "{\"error\":{\"message\":\"overloaded\"},\"status_code\":500}";
    let pieces = ["Once ", "upon "];
    let events = [delta(&json!({"role": "assistant"})), delta(&json!({"content": "Once upon "})), overloaded.into()];
    let events: Vec<&str> = events.iter().map(String::as_str).collect();
    let unended = [format!("data: {}\n\n", events[0]), format!("data: {}", events[1])];
    let unended: Vec<&[u8]> = unended.iter().map(String::as_bytes).collect();
    let firsts = [
        (says(Origin::start().await, &pieces).resets_after(3), 3, "connection_broken"),
        (says(Origin::start().await, &pieces).truncates_after(3), 3, "connection_broken"),
        (says(Origin::start().await, &pieces), 3, "connection_broken"),
        (Origin::start().await.streams_bytes(&unended).gated(), 2, "connection_broken"),
        (says(Origin::start().await, &pieces).stalls_after(3), 3, "timeout"),
        (sends(Origin::start().await, &events), 3, "server_error"),
        (sends(Origin::start().await, &[events[0], events[1], "{oops"]), 3, "unreadable_answer"),
    ];
    for (turn, (first, count, reason)) in firsts.into_iter().enumerate() {
        let second = Origin::start().await.streams_text(&["a ", "time"]);
        let gateway = run(&[first.url(), second.url()]).start().await;
        let read = read(&gateway, &first, count).await;
        // A reset may overtake what was sent before it: then the caller has less, and the second one is told so.
        let before = read.before.clone().unwrap_or_else(|| panic!("turn {turn}: {read:?}\n{}", gateway.log()));
        assert_eq!(told(&second), before, "turn {turn}");
        read.assert_whole(&format!("{before}a time"), &format!("turn {turn}"));
        assert!(turn == 0 || before == "Once upon ", "turn {turn}: {before}");
        let record = gateway.completed().await;
        assert_eq!(reasons(&record), [format!("t0 {reason}"), "t1 -".into()], "turn {turn}");
        assert_eq!((&record["continued"], &record["target"]), (&json!(true), &json!("t1")), "{record:#}");
        assert_eq!((&record["outcome"], &record["gen_ai.response.model"]), (&json!("success"), &json!("scripted")), "{record:#}");
    }
}

#[tokio::test]
async fn the_second_one_is_told_tokens_where_the_caller_reads_its_own_values() {
    let first = says(Origin::start().await, &["Mail [EMAIL_1] ", "or "]).truncates_after(3);
    let second = Origin::start().await.streams_text(&["mail [EMA", "IL_2]!"]);
    let restore = "policy: {pii-detector: {restore: true}}\n";
    let gateway = run(&[first.url(), second.url()]).with(restore).start().await;
    let (answer, ()) = tokio::join!(gateway.chat_stream("ann@x.org, bob@x.org").send(), first.next_event());
    let read = read_on(answer.unwrap(), &first, 3).await;
    assert_eq!(told(&second), "Mail [EMAIL_1] or ");
    assert!(!second.only_request().text().contains("x.org"));
    read.assert_whole("Mail ann@x.org or mail bob@x.org!", "restored on both sides of the break");
}

#[tokio::test]
async fn a_token_the_break_cuts_is_said_anew_by_the_second_one_and_comes_back_once() {
    let restore = "policy: {pii-detector: {restore: true}}\n";
    let halves = ["[", "[EMA", "[EMAIL_", "[EMAIL_2"];
    let mut second = Origin::start().await;
    for half in halves {
        second = second.streams_text(&[half, &"[EMAIL_2]"[half.len()..], " now, not ", "eve@else.org", "."]).then();
    }
    for half in halves {
        let first = says(Origin::start().await, &["Mail [EMAIL_1] or ", half]).truncates_after(3);
        let gateway = run(&[first.url(), second.url()]).with(restore).start().await;
        let (answer, ()) = tokio::join!(gateway.chat_stream("ann@x.org, bob@x.org").send(), first.next_event());
        let read = read_on(answer.unwrap(), &first, 3).await;
        // Half a token is nobody's yet: the caller has not seen it, and the second one is not told of it.
        assert_eq!(told(&second), "Mail [EMAIL_1] or ", "{half}");
        read.assert_whole("Mail ann@x.org or bob@x.org now, not [EMAIL_REDACTED].", half);
        let log = gateway.log() + &serde_json::to_string(&gateway.completed().await).unwrap();
        assert!(!log.contains("x.org") && !log.contains("else.org"), "{half}: {log}");
    }
}

#[tokio::test]
async fn the_text_so_far_is_never_said_twice_however_it_is_repeated() {
    let (seen, new) = ("Once upon ", "a time");
    let mut second = Origin::start().await;
    let whole = format!("{seen}{new}");
    let cuts: Vec<usize> = (1..whole.len()).step_by(3).collect();
    for cut in &cuts {
        second = second.streams_text(&[&whole[..*cut], &whole[*cut..]]).then();
    }
    let letters: Vec<String> = whole.chars().map(String::from).collect();
    second = second.streams_text(&letters.iter().map(String::as_str).collect::<Vec<_>>());
    let first = says(Origin::start().await, &["Once ", "upon ", "x"]).truncates_after(4);
    let gateway = run(&[first.url(), second.url()]).start().await;
    for turn in 0..=cuts.len() {
        read(&gateway, &first, 4).await.assert_whole(&whole, &format!("cut {turn}"));
        // "x" was undecided: it is not the caller's, and the second one may begin with another word.
        assert_eq!(told(&second), seen);
    }
}

#[tokio::test]
async fn each_kind_of_target_is_asked_in_its_own_way_and_its_roles_stay_out() {
    for (kind, key) in [("last_message", None), ("prefix", Some("prefix")), ("continue_final_message", None)] {
        let first = says(Origin::start().await, &["Once ", "upon "]);
        let roles: Vec<String> =
            ["a ", "time"].iter().map(|piece| delta(&json!({"role": "assistant", "content": piece}))).collect();
        let end = json!({"choices": [{"index": 0, "delta": {"role": "assistant"}, "finish_reason": "stop"}]}).to_string();
        let second = Origin::start().await.streams(&[&roles[0], &roles[1], &end, "[DONE]"], Duration::ZERO);
        let run = Run::chain(CHAIN, &[first.url(), second.url()]).with(CONTINUE);
        let gateway = run.of_target(1, &format!("assistant_prefix: {kind}")).start().await;
        read(&gateway, &first, 3).await.assert_whole("Once upon a time", kind);
        let request = second.only_request().json();
        let last = request["messages"].as_array().unwrap().last().unwrap().clone();
        assert_eq!((&last["content"], last.get("prefix").is_some()), (&json!("Once upon "), key.is_some()), "{request:#}");
        assert_eq!(request.get("continue_final_message").is_some(), kind == "continue_final_message");
        assert_eq!((&request["model"], request["messages"].as_array().unwrap().len()), (&json!("m1"), 2));
    }
}

#[tokio::test]
async fn a_value_that_straddles_the_break_is_redacted_and_what_was_held_is_neither_lost_nor_doubled() {
    let first = says(Origin::start().await, &["Write to bob@x.org or ", "jane@exam"]);
    let second = Origin::start().await.streams_text(&["jane@exam", "ple.com", " now"]);
    let gateway = run(&[first.url(), second.url()]).start().await;
    let read = read(&gateway, &first, 3).await;
    read.assert_whole("Write to [EMAIL_REDACTED] or [EMAIL_REDACTED] now", "straddling");
    assert_eq!(told(&second), "Write to [EMAIL_REDACTED] or ");
    let record = gateway.completed().await;
    assert_eq!((&record["verdict"], &record["outcome"]), (&json!("redact"), &json!("success")), "{record:#}");
}

#[tokio::test]
async fn the_second_one_dying_too_is_the_end_and_there_is_no_third() {
    let error = "{\"error\":{\"message\":\"overloaded\"},\"status_code\":503}";
    let says_and_fails = [delta(&json!({"content": "a "})), error.to_owned()];
    let says_and_fails: Vec<&str> = says_and_fails.iter().map(String::as_str).collect();
    let seconds = [
        Origin::start().await.streams(&says_and_fails[..1], Duration::ZERO),
        Origin::start().await.streams(&says_and_fails[..1], Duration::ZERO).truncates_after(1),
        Origin::start().await.streams(&says_and_fails, Duration::ZERO),
    ];
    for (turn, second) in seconds.into_iter().enumerate() {
        let first = says(Origin::start().await, &["Once ", "upon "]);
        let third = Origin::start().await.streams_text(&["never"]);
        let gateway = run(&[first.url(), second.url(), third.url()]).start().await;
        read(&gateway, &first, 3).await.assert_broken("Once upon a ", &format!("turn {turn}"));
        assert!(third.requests().is_empty(), "turn {turn}");
        let record = gateway.completed().await;
        assert_eq!((&record["continued"], &record["outcome"]), (&json!(true), &json!("error")), "{record:#}");
        assert_eq!(record["attempts"].as_array().unwrap().len(), 2, "{record:#}");
    }
}

#[tokio::test]
async fn one_that_fails_before_it_goes_on_leaves_it_to_the_next_and_without_a_next_there_is_one_error() {
    let error = "{\"error\":{\"message\":\"overloaded\"},\"status_code\":503}";
    let opening = [delta(&json!({"role": "assistant"})), delta(&json!({"content": "Once "})), error.to_owned()];
    let opening: Vec<&str> = opening.iter().map(String::as_str).collect();
    for has_third in [true, false] {
        for reports in [true, false] {
            let first = Origin::start().await;
            let first = if reports { sends(first, &opening) } else { sends(first, &opening[..2]) };
            let second = Origin::start().await.replies(500);
            let unable = Origin::start().await.streams_text(&["never"]);
            let third = Origin::start().await.streams_text(&["more"]);
            let urls = [first.url(), unable.url(), second.url(), third.url()];
            let run = Run::chain(CHAIN, &urls).with(CONTINUE).of_target(2, "assistant_prefix: prefix");
            let run = if has_third { run.of_target(3, "assistant_prefix: prefix") } else { run };
            let gateway = run.start().await;
            let read = read(&gateway, &first, if reports { 3 } else { 2 }).await;
            match has_third {
                true => read.assert_whole("Once more", &format!("{reports}")),
                false => read.assert_broken("Once ", &format!("{reports}")),
            }
            assert_eq!((unable.requests().len(), third.requests().len()), (0, usize::from(has_third)));
            let record = gateway.completed().await;
            let last = if has_third { Some("t3 -") } else { None };
            let expected = [if reports { "t0 server_error" } else { "t0 connection_broken" }, "t2 server_error"];
            assert_eq!(reasons(&record), expected.into_iter().chain(last).collect::<Vec<_>>(), "{record:#}");
        }
    }
}

#[tokio::test]
async fn what_no_text_can_carry_on_ends_in_an_error_event() {
    let text = delta(&json!({"content": "Once "}));
    let role = delta(&json!({"role": "assistant"}));
    let call =
        delta(&json!({"tool_calls": [{"index": 0, "id": "c", "type": "function", "function": {"name": "f", "arguments": ""}}]}));
    let thought = delta(&json!({"reasoning": "hm "}));
    let plain = json!({});
    let cases = [
        ("a call that has begun", vec![&role, &text, &call], plain.clone(), "Once ", true),
        ("a second choice", vec![&role, &text], json!({"n": 2}), "Once ", true),
        ("nothing said yet", vec![&role, &role], plain.clone(), "", true),
        ("thoughts alone", vec![&role, &thought], plain.clone(), "", true),
        ("a form to keep", vec![&role, &text], json!({"response_format": {"type": "json_object"}}), "Once ", true),
        ("a target that cannot", vec![&role, &text], plain.clone(), "Once ", false),
    ];
    for (why, events, members, said, able) in cases {
        let events: Vec<&str> = events.into_iter().map(String::as_str).collect();
        let first = sends(Origin::start().await, &events);
        let second = Origin::start().await.streams_text(&["never"]);
        let urls = [first.url(), second.url()];
        let run =
            if able { run(&urls) } else { Run::chain(CHAIN, &urls).with(CONTINUE).of_target(0, "assistant_prefix: prefix") };
        let gateway = run.start().await;
        let mut ask = json!({"model": "m0", "stream": true, "messages": [{"role": "user", "content": "hi"}]});
        ask.as_object_mut().unwrap().extend(members.as_object().unwrap().clone());
        let (answer, ()) = tokio::join!(gateway.post(&ask).send(), first.next_event());
        read_on(answer.unwrap(), &first, events.len()).await.assert_broken(said, why);
        assert!(second.requests().is_empty(), "{why}");
        assert_eq!(gateway.completed().await.get("continued"), None, "{why}");
    }
    let first = says(Origin::start().await, &["Once "]);
    let second = Origin::start().await.streams_text(&["never"]);
    let run = Run::chain(CHAIN, &[first.url(), second.url()]).of_target(1, "assistant_prefix: prefix");
    read(&run.start().await, &first, 2).await.assert_broken("Once ", "by default");
    assert!(second.requests().is_empty());
}

#[tokio::test]
async fn a_stream_that_dies_unseen_is_simply_asked_of_the_next_target() {
    let first = Origin::start().await.streams(&[], Duration::ZERO).resets_after(0);
    let second = Origin::start().await.streams_text(&["whole"]);
    let gateway = run(&[first.url(), second.url()]).start().await;
    let answer = gateway.chat_stream("hi").send().await.unwrap();
    assert_eq!(answer.headers()["x-keeptrusts-target"], "t1");
    Read::of(&answer.text().await.unwrap()).assert_whole("whole", "unseen");
    assert_eq!(second.only_request().json()["messages"].as_array().unwrap().len(), 1);
    assert_eq!(gateway.completed().await.get("continued"), None);
}

#[tokio::test]
async fn over_http2_on_both_sides_and_without_a_policy_it_is_the_same() {
    for chain in [CHAIN, "audit-logger"] {
        let first = says(Origin::start_tls().await, &["Once ", "upon "]).truncates_after(3);
        let second = Origin::start_tls().await.streams_text(&["Once upon a", " time"]);
        let run = Run::chain(chain, &[first.url(), second.url()]).with(CONTINUE).of_target(1, "assistant_prefix: prefix");
        let gateway = run.trusts(&first).trusts(&second).start().await;
        let client = reqwest::Client::builder().no_proxy().http2_prior_knowledge().build().unwrap();
        let ask = json!({"model": "m0", "stream": true, "messages": [{"role": "user", "content": "hi"}]});
        let asking = client.post(format!("{}/v1/chat/completions", gateway.url)).json(&ask).send();
        let (answer, ()) = tokio::join!(asking, first.next_event());
        let answer = answer.unwrap();
        assert_eq!(answer.version(), reqwest::Version::HTTP_2);
        let read = read_on(answer, &first, 3).await;
        let before = read.before.clone().unwrap_or_else(|| panic!("{read:?}"));
        assert_eq!(told(&second), before);
        read.assert_whole("Once upon a time", chain);
        assert!(first.only_request().http2 && second.only_request().http2);
    }
}

#[tokio::test]
async fn a_caller_that_leaves_while_another_one_goes_on_ends_it() {
    let first = says(Origin::start().await, &["Once ", "upon "]);
    let second = Origin::start().await.hangs();
    let gateway = run(&[first.url(), second.url()]).start().await;
    let (answer, ()) = tokio::join!(gateway.chat_stream("hi").send(), first.next_event());
    let mut answer = answer.unwrap();
    answer.chunk().await.unwrap();
    first.next_event().await;
    first.next_event().await;
    second.wait_for_requests(1).await;
    drop(answer);
    assert_eq!(second.wait_for_abandonment().await, 0);
    let record = gateway.completed().await;
    assert_eq!((&record["outcome"], &record["continued"]), (&json!("aborted"), &json!(true)), "{record:#}");
}
