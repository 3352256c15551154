use super::*;
use proptest::prelude::*;

fn read(chunks: &[&[u8]]) -> Vec<Event> {
    let mut decoder = Decoder::default();
    let mut events = Vec::new();
    for chunk in chunks {
        events.extend(decoder.push(Bytes::copy_from_slice(chunk)).map(Result::unwrap));
    }
    events.extend(decoder.finish());
    events
}

fn texts(events: &[Event]) -> Vec<(String, Option<String>)> {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    events.iter().map(|event| (text(&event.raw), event.data().map(|data| text(&data)))).collect()
}

fn data(stream: &str) -> Vec<Option<String>> {
    texts(&read(&[stream.as_bytes()])).into_iter().map(|(_, data)| data).collect()
}

#[test]
fn whole_events_are_slices_of_their_chunk() {
    let chunk = Bytes::from_static(b"data: {\"a\":1}\n\ndata: [DONE]\n\n");
    let mut decoder = Decoder::default();
    let events: Vec<Event> = decoder.push(chunk.clone()).map(Result::unwrap).collect();
    assert_eq!(events.len(), 2);
    assert_eq!(events[0].raw.as_ptr(), chunk.as_ptr());
    assert_eq!(events[1].place, Some(15..29));
    assert!(!events[0].is_done() && events[1].is_done());
    assert_eq!(decoder.carried(), 0);
}

#[test]
fn an_event_cut_by_the_transport_is_joined_and_the_next_is_a_slice_again() {
    let mut decoder = Decoder::default();
    assert_eq!(decoder.push(Bytes::from_static(b"data: {\"a\"")).count(), 0);
    let events: Vec<Event> = decoder.push(Bytes::from_static(b":1}\n\ndata: 2\n\n")).map(Result::unwrap).collect();
    assert_eq!(&events[0].raw[..], b"data: {\"a\":1}\n\n");
    assert_eq!((events[0].place.clone(), events[1].place.clone()), (None, Some(5..14)));
}

#[test]
fn a_keep_alive_of_one_line_leaves_at_once() {
    let mut decoder = Decoder::default();
    let events: Vec<Event> = decoder.push(Bytes::from_static(b": ping\n")).map(Result::unwrap).collect();
    assert_eq!(texts(&events), [(": ping\n".into(), None)]);
    assert_eq!(data(": a\n\ndata: 1\n\n"), [None, None, Some("1".into())]);
    assert_eq!(data("data: 1\n: inside\ndata: 2\n\n"), [Some("1\n2".into())]);
}

#[test]
fn every_line_end_and_spelling_is_read() {
    for stream in [
        "data: 1\n\n",
        "data:1\r\n\r\n",
        "data: 1\r\r",
        "\u{feff}data: 1\n\n",
        "event: x\nid: 2\nretry: 3\ndata:1\n\n",
        "data: 1",
    ] {
        assert_eq!(data(stream), [Some("1".into())], "{stream:?}");
    }
    assert_eq!(data("data\n\n"), [Some("".into())]);
    assert_eq!(data("data:  1\ndata:\n\n"), [Some(" 1\n".into())]);
    assert_eq!(data("database: 1\n\n"), [None]);
    assert_eq!(data("\n\u{feff}data: 1\n\n"), [None, None]);
}

#[test]
fn a_blank_line_of_two_bytes_does_not_wait_for_a_third() {
    let mut decoder = Decoder::default();
    assert_eq!(decoder.push(Bytes::from_static(b"data: 1\r\n\r\n")).count(), 1);
    assert_eq!(decoder.push(Bytes::from_static(b"data: 1\r\r")).count(), 1);
    assert_eq!(decoder.push(Bytes::from_static(b"data: 1\r\n\r")).count(), 0);
    assert_eq!(decoder.push(Bytes::from_static(b"\n")).count(), 1);
}

#[test]
fn another_payload_keeps_the_frame() {
    let reframed = |stream: &str, json: &str| {
        let events = read(&[stream.as_bytes()]);
        String::from_utf8(events[0].with_data(json.as_bytes()).to_vec()).unwrap()
    };
    assert_eq!(reframed("event: e\r\ndata:old\r\nid: 7\r\n\r\n", "new"), "event: e\r\ndata:new\r\nid: 7\r\n\r\n");
    assert_eq!(reframed("data: a\ndata: b\nid: 1\ndata: c\n\n", "[\n1]"), "data: [ 1]\nid: 1\n\n");
    assert_eq!(reframed("data\n\n", "1"), "data:1\n\n");
    assert_eq!(reframed("data: cut", "1"), "data: 1");
    assert_eq!(reframed(": c\n", "1"), ": c\n");
}

#[test]
fn an_event_that_never_ends_is_refused() {
    let mut decoder = Decoder::new(20);
    assert_eq!(decoder.push(Bytes::from_static(b"data: 0123456789")).count(), 0);
    let results: Vec<_> = decoder.push(Bytes::from_static(b"0123456789\n\ndata: 1\n\n")).collect();
    assert_eq!(results, [Err(Overflow { limit: 20 })]);
}

#[test]
fn one_byte_at_a_time_is_linear() {
    let mut decoder = Decoder::default();
    let stream = format!("data: {}\n\n", "x".repeat(300_000));
    let count: usize = stream.bytes().map(|byte| decoder.push(Bytes::copy_from_slice(&[byte])).count()).sum();
    assert_eq!(count, 1);
}

fn stream() -> impl Strategy<Value = String> {
    let piece = prop_oneof![
        4 => "(\n|\r\n|\r)",
        2 => "data: ?[a-zé]{0,6}",
        1 => Just("data".to_string()),
        1 => ": ping",
        1 => "(id|event|retry|x): ?1",
        1 => Just("\u{feff}".to_string()),
        1 => Just("data: [DONE]\n\n".to_string()),
    ];
    prop::collection::vec(piece, 0..30).prop_map(|pieces| pieces.concat())
}

/// What a reader that sees the whole stream at once makes of it.
fn payloads(stream: &str) -> Vec<String> {
    let lines = stream.strip_prefix('\u{feff}').unwrap_or(stream).replace("\r\n", "\n").replace('\r', "\n");
    let mut found = Vec::new();
    for block in lines.split_inclusive('\n').collect::<Vec<_>>().split(|line| *line == "\n") {
        let values = block.iter().map(|line| line.trim_end_matches('\n')).filter_map(|line| match line.split_once(':') {
            Some(("data", value)) => Some(value.strip_prefix(' ').unwrap_or(value)),
            None if line == "data" => Some(""),
            _ => None,
        });
        let values: Vec<&str> = values.collect();
        found.extend((!values.is_empty()).then(|| values.join("\n")));
    }
    found
}

proptest! {
    #[test]
    fn a_client_reads_the_same_payloads(stream in stream()) {
        let ours: Vec<String> = data(&stream).into_iter().flatten().collect();
        prop_assert_eq!(ours, payloads(&stream));
    }

    #[test]
    fn any_split_of_a_stream_gives_the_same_events(stream in stream(), cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..12)) {
        let bytes = stream.as_bytes();
        let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut.index(bytes.len() + 1)).chain([0, bytes.len()]).collect();
        cuts.sort();
        let chunks: Vec<&[u8]> = cuts.windows(2).map(|cut| &bytes[cut[0]..cut[1]]).collect();
        let singles: Vec<&[u8]> = bytes.chunks(1).collect();
        let whole = texts(&read(&[bytes]));
        prop_assert_eq!(&texts(&read(&chunks)), &whole);
        prop_assert_eq!(&texts(&read(&singles)), &whole);
    }

    #[test]
    fn the_events_joined_are_the_stream(stream in stream()) {
        let joined: Vec<u8> = read(&[stream.as_bytes()]).iter().flat_map(|event| event.raw.to_vec()).collect();
        prop_assert_eq!(joined, stream.as_bytes());
    }

    #[test]
    fn another_payload_is_read_back(stream in stream()) {
        let events = read(&[stream.as_bytes()]);
        let mut expected: Vec<Option<Vec<u8>>> = events.iter().map(|event| event.data().map(Into::into)).collect();
        for (at, event) in events.iter().enumerate().filter(|(_, event)| event.data().is_some()) {
            let mut raws: Vec<Bytes> = events.iter().map(|event| event.raw.clone()).collect();
            raws[at] = event.with_data(b"{\"new\":1}");
            let old = expected[at].replace(b"{\"new\":1}".to_vec());
            let again: Vec<Option<Vec<u8>>> = read(&[&raws.concat()]).iter().map(|event| event.data().map(Into::into)).collect();
            prop_assert_eq!(&again, &expected);
            expected[at] = old;
        }
    }
}

#[test]
fn an_event_that_was_cut_short_can_be_followed_by_another_once_it_is_terminated() {
    for cut in ["data: {}", "data: {}\n", "data: {}\r\n"] {
        let event = read(&[cut.as_bytes()]).pop().expect("an event").terminated();
        let followed = [&event.raw[..], b"data: next\n\n"].concat();
        assert_eq!(data(std::str::from_utf8(&followed).expect("text"))[0].as_deref(), event.data().as_deref().map(|_| "{}"));
        assert_eq!(data(std::str::from_utf8(&followed).expect("text")).last(), Some(&Some("next".to_owned())));
    }
}
