//! When an answer is one, however it arrives.

use super::*;
use proptest::prelude::*;

/// What reading these bytes comes to, cut where they are cut.
fn sign(bytes: &[u8], streamed: bool) -> Result<bool, Defeat> {
    let Some(head) = Head::find(bytes)? else { return Ok(false) };
    if let Some(defeat) = head.defeat() {
        return Err(defeat);
    }
    Ok(head.has_begun(&bytes[head.length..], streamed)?)
}

fn whole(body: &str) -> String {
    format!("HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{body}", body.len())
}

fn stream(pieces: &[&str]) -> String {
    let chunks: String = pieces.iter().map(|piece| format!("{:x}\r\n{piece}\r\n", piece.len())).collect();
    format!("HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n{chunks}")
}

const EVENT: &str = "data: {\"choices\":[{\"index\":0,\"delta\":{\"role\":\"assistant\"}}]}\n\n";

#[test]
fn an_answer_is_an_object_or_a_first_event() {
    assert_eq!(sign(whole(" {\"id\"").as_bytes(), false), Ok(true));
    assert_eq!(sign(stream(&[EVENT]).as_bytes(), true), Ok(true));
    assert_eq!(sign(stream(&[": wait\n\n", &EVENT[..9], &EVENT[9..]]).as_bytes(), true), Ok(true));
}

#[test]
fn a_head_a_comment_and_white_space_are_no_answer_yet() {
    let awaited = whole("{}").replace("{}", "");
    for bytes in [awaited, whole(" \n"), stream(&[]), stream(&[": wait\n\n"]), stream(&[&EVENT[..20]])] {
        assert_eq!(sign(bytes.as_bytes(), true), Ok(false), "{bytes}");
    }
}

#[test]
fn an_error_is_no_answer_wherever_it_stands() {
    let error = "data: {\"error\":{\"message\":\"m\"},\"status_code\":429}\n\n";
    let cases = [
        (stream(&[error]), Failure::RateLimit),
        (stream(&["data: {oops\n\n"]), Failure::Unreadable),
        (whole("<html>"), Failure::Unreadable),
        (stream(&[]) + "0\r\n\r\n", Failure::Broken),
        ("SSH-2.0-OpenSSH\r\n".to_owned(), Failure::Unreadable),
        ("HTTP/1.1 503 No\r\n\r\n".to_owned(), Failure::ServerError(503)),
        ("HTTP/1.1 302 No\r\n\r\n".to_owned(), Failure::Unreadable),
        ("HTTP/1.1 400 No\r\n\r\n".to_owned(), Failure::Superseded),
        ("HTTP/1.1 200 OK\r\ncontent-encoding: gzip\r\n\r\n{".to_owned(), Failure::Unreadable),
    ];
    for (bytes, failure) in cases {
        assert_eq!(sign(bytes.as_bytes(), true).map_err(|defeat| defeat.failure), Err(failure), "{bytes}");
    }
}

#[test]
fn a_refusal_says_when_to_come_back() {
    let defeat = sign(b"HTTP/1.1 429 No\r\nretry-after: 7\r\n\r\n", false).unwrap_err();
    assert_eq!((defeat.status, defeat.retry_after), (Some(429), Some(Duration::from_secs(7))));
}

#[test]
fn what_is_handed_over_says_that_it_is_the_last() {
    assert_eq!(&marked_last(b"HTTP/1.1 200 OK\r\na: b\r\n\r\n{")[..], b"HTTP/1.1 200 OK\r\nconnection: close\r\na: b\r\n\r\n{");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn however_much_has_come_a_beginning_is_never_an_error(upto in any::<prop::sample::Index>(), streamed in any::<bool>()) {
        let bytes = if streamed { stream(&[": hi\n\n", EVENT, EVENT]) } else { whole("{\"id\":1}") };
        prop_assert!(sign(&bytes.as_bytes()[..upto.index(bytes.len())], streamed).is_ok());
    }

    #[test]
    fn whatever_comes_is_read_without_a_panic(bytes in prop::collection::vec(any::<u8>(), 0..80), streamed in any::<bool>()) {
        let head = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n";
        let _ = sign(&[head, &bytes[..]].concat(), streamed);
    }
}
