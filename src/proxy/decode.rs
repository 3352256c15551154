//! Request bodies in other encodings, turned into plain JSON under a cap of size and ratio, or refused.

use crate::refusal::Refusal;
use bytes::Bytes;
use std::io::Read;

/// Below this size a high ratio is just a repetitive prompt.
const RATIO_FREE_BYTES: u64 = 1 << 20;
/// Decoded over encoded size that no honest prompt reaches.
const MAX_RATIO: u64 = 200;
/// Codings a body may be wrapped in.
const MAX_CODINGS: usize = 2;
/// Nesting of a msgpack body; the JSON reader has its own.
const MAX_MSGPACK_DEPTH: usize = 256;

/// The plain bytes of a body with this `Content-Encoding`, at most `cap` of them.
///
/// # Errors
/// 415 for a coding that cannot be read, 413 beyond the caps, 400 for bytes that are not what the header says.
pub fn decode(content_encoding: &str, body: Bytes, cap: u64) -> Result<Bytes, Refusal> {
    let codings: Vec<&str> = content_encoding.split(',').map(str::trim).filter(|c| !c.is_empty()).collect();
    if codings.len() > MAX_CODINGS {
        return Err(unsupported(content_encoding));
    }
    // Applied in listed order by the sender, so undone from the last.
    codings.into_iter().rev().try_fold(body, |body, coding| decode_one(coding, body, cap))
}

/// JSON from a msgpack body.
///
/// # Errors
/// 400 when it is not msgpack, or holds what JSON cannot; 413 beyond `cap`.
pub fn from_msgpack(body: &[u8], cap: u64) -> Result<Bytes, Refusal> {
    let mut reader = rmp_serde::Deserializer::new(std::io::Cursor::new(body));
    reader.set_max_depth(MAX_MSGPACK_DEPTH);
    let mut out = Capped { out: Vec::with_capacity(body.len() + body.len() / 4), cap, full: false };
    let mut writer = serde_json::Serializer::with_formatter(&mut out, TextOnly);
    let outcome = serde_transcode::transcode(&mut reader, &mut writer);
    match outcome {
        Ok(()) if reader.position() == body.len() as u64 => Ok(Bytes::from(out.out)),
        Ok(()) => Err(Refusal::invalid("invalid_msgpack", "the body holds more than one msgpack value")),
        Err(_) if out.full => Err(too_large(cap)),
        Err(error) => Err(Refusal::invalid("invalid_msgpack", format!("the body is not msgpack that reads as JSON: {error}"))),
    }
}

/// 415 for a coding the chain cannot look into.
fn unsupported(coding: &str) -> Refusal {
    let coding: String = coding.chars().filter(|c| c.is_ascii_graphic()).take(40).collect();
    let message = format!("content-encoding `{coding}` is not supported; send identity, gzip, deflate, br or zstd");
    Refusal::new(415, "invalid_request_error", "unsupported_encoding", message)
}

fn decode_one(coding: &str, body: Bytes, cap: u64) -> Result<Bytes, Refusal> {
    let input = body.as_ref();
    match coding.to_ascii_lowercase().as_str() {
        "identity" => Ok(body),
        "gzip" | "x-gzip" => read(flate2::read::MultiGzDecoder::new(input), input.len(), cap),
        // RFC 9110 means zlib by `deflate`; some clients send the bare stream.
        "deflate" if is_zlib(input) => read(flate2::read::ZlibDecoder::new(input), input.len(), cap),
        "deflate" => read(flate2::read::DeflateDecoder::new(input), input.len(), cap),
        "br" => read(brotli::Decompressor::new(input, 16 * 1024), input.len(), cap),
        "zstd" => match zstd::stream::read::Decoder::with_buffer(input) {
            // 8 MiB window (RFC 9659): a frame cannot make us reserve more.
            Ok(mut decoder) => match decoder.window_log_max(23) {
                Ok(()) => read(decoder, input.len(), cap),
                Err(_) => Err(broken()),
            },
            Err(_) => Err(broken()),
        },
        _ => Err(unsupported(coding)),
    }
}

fn is_zlib(input: &[u8]) -> bool {
    matches!(input, [cmf, flg, ..] if cmf & 0x0f == 8 && (u16::from(*cmf) << 8 | u16::from(*flg)).is_multiple_of(31))
}

/// Reads to the end, in steps, so that a bomb costs at most the cap.
fn read(mut decoder: impl Read, encoded: usize, cap: u64) -> Result<Bytes, Refusal> {
    let mut out = Vec::with_capacity((encoded * 4).min(cap as usize));
    let ratio_cap = (encoded as u64).saturating_mul(MAX_RATIO).max(RATIO_FREE_BYTES);
    loop {
        let step = decoder.by_ref().take(64 * 1024).read_to_end(&mut out).map_err(|_| broken())?;
        if out.len() as u64 > cap {
            return Err(too_large(cap));
        }
        if out.len() as u64 > ratio_cap {
            let message = format!("the body decodes to more than {MAX_RATIO} times its size");
            return Err(Refusal::new(413, "invalid_request_error", "decompression_ratio", message));
        }
        if step == 0 {
            return Ok(out.into());
        }
    }
}

fn broken() -> Refusal {
    Refusal::invalid("invalid_encoding", "the body cannot be decoded as its content-encoding says")
}

/// 413, with the limit and the key that sets it.
pub fn too_large(cap: u64) -> Refusal {
    let message = format!("the body is larger than {cap} bytes (size_limits.max_body_bytes)");
    Refusal::new(413, "invalid_request_error", "body_too_large", message)
}

/// Compact JSON that refuses bytes: as an array of numbers no policy would read them.
struct TextOnly;

impl serde_json::ser::Formatter for TextOnly {
    fn write_byte_array<W: ?Sized + std::io::Write>(&mut self, _writer: &mut W, _value: &[u8]) -> std::io::Result<()> {
        Err(std::io::Error::other("it holds bytes, or a string that is not UTF-8"))
    }
}

/// A writer that stops at a cap.
struct Capped {
    out: Vec<u8>,
    cap: u64,
    full: bool,
}

impl std::io::Write for Capped {
    fn write(&mut self, piece: &[u8]) -> std::io::Result<usize> {
        if (self.out.len() + piece.len()) as u64 > self.cap {
            self.full = true;
            return Err(std::io::Error::other("over the cap"));
        }
        self.out.extend_from_slice(piece);
        Ok(piece.len())
    }
    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    const TEXT: &[u8] = br#"{"model":"m","messages":[]}"#;

    fn gzip(text: &[u8]) -> Bytes {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
        encoder.write_all(text).unwrap();
        encoder.finish().unwrap().into()
    }

    #[test]
    fn each_supported_coding_reads_back() {
        let mut zlib = flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::fast());
        zlib.write_all(TEXT).unwrap();
        let mut raw = flate2::write::DeflateEncoder::new(Vec::new(), flate2::Compression::fast());
        raw.write_all(TEXT).unwrap();
        let mut br = Vec::new();
        brotli::CompressorWriter::new(&mut br, 4096, 5, 20).write_all(TEXT).unwrap();
        let cases: [(&str, Bytes); 7] = [
            ("", TEXT.into()),
            ("identity", TEXT.into()),
            ("gzip", gzip(TEXT)),
            ("GZIP", gzip(TEXT)),
            ("deflate", zlib.finish().unwrap().into()),
            ("deflate", raw.finish().unwrap().into()),
            ("br", br.into()),
        ];
        for (coding, body) in cases {
            assert_eq!(decode(coding, body, 1 << 20).unwrap(), TEXT, "{coding}");
        }
        assert_eq!(decode("zstd", zstd::encode_all(TEXT, 3).unwrap().into(), 1 << 20).unwrap(), TEXT);
        assert_eq!(decode("gzip, gzip", gzip(&gzip(TEXT)), 1 << 20).unwrap(), TEXT);
    }

    #[test]
    fn a_bomb_is_refused_by_ratio_and_by_size() {
        let bomb = gzip(&vec![b' '; 8 << 20]);
        assert_eq!(decode("gzip", bomb.clone(), 32 << 20).unwrap_err().code, "decompression_ratio");
        assert_eq!(decode("gzip", bomb, 1 << 19).unwrap_err().code, "body_too_large");
    }

    #[test]
    fn what_cannot_be_read_is_refused() {
        assert_eq!(decode("compress", TEXT.into(), 1024).unwrap_err().status, 415);
        assert_eq!(decode("gzip,gzip,gzip", TEXT.into(), 1024).unwrap_err().status, 415);
        assert_eq!(decode("gzip", TEXT.into(), 1024).unwrap_err().status, 400);
        assert_eq!(decode("zstd", TEXT.into(), 1024).unwrap_err().status, 400);
    }

    #[test]
    fn msgpack_becomes_json_and_keeps_duplicate_keys_visible() {
        let body = [0x82, 0xa1, b'a', 0x01, 0xa1, b'a', 0x92, 0xc0, 0xc3];
        assert_eq!(from_msgpack(&body, 1024).unwrap(), br#"{"a":1,"a":[null,true]}"#.as_slice());
        assert_eq!(from_msgpack(&[0xc1], 1024).unwrap_err().status, 400);
        assert_eq!(from_msgpack(&[0x01, 0x01], 1024).unwrap_err().status, 400);
        assert_eq!(from_msgpack(&body, 4).unwrap_err().status, 413);
    }

    #[test]
    fn msgpack_bytes_that_no_policy_could_read_are_refused() {
        let (bin, ext, not_utf8) = (&[0x91, 0xc4, 0x01, b'a'][..], &[0x91, 0xd4, 0x01, 0x02][..], &[0x91, 0xa2, 0xff, 0xfe][..]);
        for body in [bin, ext, not_utf8] {
            assert_eq!(from_msgpack(body, 1024).unwrap_err().code, "invalid_msgpack", "{body:?}");
        }
    }
}
