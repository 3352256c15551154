//! The units of a stream, put together, are the stream, however it is cut.
#![no_main]

use bytes::Bytes;
use kt::openai::sse::Decoder;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: (Vec<u8>, Vec<u8>)| {
    let (cuts, stream) = input;
    assert_eq!(units(&stream, &cuts), units(&stream, &[]), "{cuts:?}");
});

/// The bytes and the data of every unit.
fn units(stream: &[u8], cuts: &[u8]) -> Vec<(Vec<u8>, Option<Vec<u8>>)> {
    let mut decoder = Decoder::new(1 << 20);
    let (mut units, mut rest, mut turn) = (Vec::new(), stream, cuts.iter().cycle());
    while !rest.is_empty() {
        let length = turn.next().map_or(rest.len(), |&cut| usize::from(cut) + 1).min(rest.len());
        let (piece, after) = rest.split_at(length);
        for event in decoder.push(Bytes::copy_from_slice(piece)) {
            let event = event.expect("a unit fits into the limit");
            units.push((event.raw.to_vec(), event.data().map(|data| data.into_owned())));
        }
        assert!(decoder.carried() <= stream.len());
        rest = after;
    }
    units.extend(decoder.finish().map(|event| (event.raw.to_vec(), event.data().map(|data| data.into_owned()))));
    assert_eq!(units.iter().flat_map(|(raw, _)| raw.iter().copied()).collect::<Vec<_>>(), stream);
    units
}
