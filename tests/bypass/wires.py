"""Wires: how a request becomes bytes. Each takes a draft and changes its bytes, headers or framing."""

import gzip
import json
import struct
import zlib

from client import Draft, content, lay_out

# JSON


def escaped(draft):
    """Every character of every string as \\u00XX."""
    text = draft.body.decode()
    out, inside, skip = [], False, False
    for c in text:
        if c == '"' and not skip:
            inside = not inside
            out.append(c)
        elif inside and not skip and c != "\\":
            units = c.encode("utf-16-be")
            out.extend(f"\\u{units[i]:02X}{units[i + 1]:02x}" for i in range(0, len(units), 2))
        else:
            out.append(c)
        skip = inside and c == "\\" and not skip
    draft.body = "".join(out).encode()


def edited(old, new):
    """One piece of the JSON written differently."""
    def edit(draft):
        assert old in draft.body, f"{old!r} is not in the body"
        draft.body = draft.body.replace(old, new, 1)
    return edit


def twice(name, first):
    """A member twice: two readers may take different ones."""
    def edit(draft):
        body = json.loads(draft.body)
        harmless = {"messages": [{"role": "user", "content": "Hello"}]}[name]
        member = lambda key, value: content(key)[:-1] + b'":' + content(value)
        original, other = member(name, body.pop(name)), content(name).replace(b"ss", b"\\u0073s") + b":" + content(harmless)
        pair = [original, other] if first else [other, original]
        draft.body = b"{" + b",".join([*pair, content(body)[1:-1]]) + b"}"
    return edit


def padded(draft):
    """White space up to a little below the limit, then the message."""
    draft.body = b"{" + b" " * (draft.limit - len(draft.body) - 16) + draft.body[1:]


def long_text(draft):
    """A long harmless text before the messages, up to a little below the limit."""
    filler = b'"note":"' + b"All is well today. " * ((draft.limit - len(draft.body) - 64) // 19) + b'",'
    draft.body = b"{" + filler + draft.body[1:]


def too_long(draft):
    draft.body = b"{" + b" " * draft.limit + draft.body[1:]


# Encodings of the body


def coded(coding, encode):
    def wrap(draft):
        draft.body = encode(draft.body)
        if coding is not None:
            draft.headers["content-encoding"] = coding
    return wrap


def raw_deflate(body):
    squeeze = zlib.compressobj(wbits=-15)
    return squeeze.compress(body) + squeeze.flush()


def brotli(body):
    """A brotli stream of uncompressed blocks (RFC 7932, section 9.2)."""
    out = b""
    first = True
    for at in range(0, len(body), 1 << 16):
        block = body[at:at + (1 << 16)]
        # One bit for the window of the stream, then: not last, four nibbles of length, uncompressed.
        bits = (len(block) - 1) << 3 | 1 << 19
        out += (bits << 1 if first else bits).to_bytes(3, "little") + block
        first = False
    return out + b"\x03"


def zstandard(body):
    """A zstd frame of raw blocks (RFC 8878, section 3.1.1)."""
    out = struct.pack("<IBI", 0xFD2FB528, 0xA0, len(body))
    for at in range(0, len(body), 1 << 16):
        block = body[at:at + (1 << 16)]
        out += ((len(block) << 3) | (at + len(block) >= len(body))).to_bytes(3, "little") + block
    return out


def members(body):
    """Two gzip members; a reader of the first alone sees half."""
    middle = len(body) // 2
    return gzip.compress(body[:middle]) + gzip.compress(body[middle:])


def hidden_member(body):
    """A first member that is a whole harmless body, then another."""
    return gzip.compress(body) + gzip.compress(b" " * 10)


def bomb(body):
    return gzip.compress(b"{" + b" " * (64 << 20) + body[1:])


def packed(value):
    """MessagePack, as far as JSON needs it."""
    match value:
        case None: return b"\xc0"
        case True: return b"\xc3"
        case False: return b"\xc2"
        case int(): return struct.pack(">Bq", 0xD3, value)
        case float(): return struct.pack(">Bd", 0xCB, value)
        case str():
            raw = value.encode()
            return struct.pack(">BI", 0xDB, len(raw)) + raw
        case list(): return struct.pack(">BI", 0xDD, len(value)) + b"".join(map(packed, value))
        case dict(): return struct.pack(">BI", 0xDF, len(value)) + b"".join(packed(k) + packed(v) for k, v in value.items())


def msgpack(media="application/vnd.msgpack"):
    def pack(draft):
        draft.body = packed(json.loads(draft.body))
        draft.headers["content-type"] = media
    return pack


def charset(codec, media):
    def encode(draft):
        draft.body = draft.body.decode().encode(codec)
        draft.headers["content-type"] = media
    return encode


def media(value):
    def name(draft):
        if value is None:
            del draft.headers["content-type"]
        else:
            draft.headers["content-type"] = value
    return name


# Framing


def chunks(size, extension=b"", trailer=b""):
    def cut(draft):
        pieces = [draft.body[i:i + size] for i in range(0, len(draft.body), size)]
        draft.headers["transfer-encoding"] = "chunked"
        draft.framed = b"".join(b"%x%s\r\n%s\r\n" % (len(p), extension, p) for p in pieces) + b"0\r\n" + trailer + b"\r\n"
    return cut


def both_lengths(draft):
    """Chunked and with a length that ends inside: a reader of either sees another body."""
    chunks(4096)(draft)
    draft.headers["content-length"] = "4"


def two_lengths(draft):
    draft.headers["content-length"] = f"{len(draft.body)}\r\ncontent-length: 4"
    draft.framed = draft.body


def pipelined(draft):
    """A harmless request, and ours in the same packet behind it."""
    hello = {"model": json.loads(draft.body)["model"], "messages": [{"role": "user", "content": "Hello"}]}
    harmless = Draft(draft.target, content(hello), draft.limit)
    draft.before, draft.skip = lay_out(harmless), 1


def header(name, value):
    def add(draft):
        draft.headers[name] = value
    return add


def target(change):
    def move(draft):
        draft.target = change(draft.target)
    return move


WIRES = {
    "plain": lambda draft: None,
    "escaped": escaped,
    "escaped-key": edited(b'"messages"', b'"m\\u0065ssages"'),
    "escaped-content-key": edited(b'"content"', b'"\\u0063ontent"'),
    "null-inside": edited(b" all", b" \\u0000all"),
    "lone-surrogate": edited(b" all", b" \\ud800all"),
    "overlong-utf8": edited(b"Ignore", b"\xc1\x89gnore"),
    "duplicate-first": twice("messages", True),
    "duplicate-last": twice("messages", False),
    "duplicate-content": edited(b'"content":', b'"content":"Hello","content":'),
    "two-documents": lambda draft: setattr(draft, "body", draft.body + b'{"model":"x","messages":[]}'),
    "comment": edited(b"{", b"{/* */"),
    "trailing-comma": lambda draft: setattr(draft, "body", draft.body[:-1] + b",}"),
    "byte-order-mark": lambda draft: setattr(draft, "body", b"\xef\xbb\xbf" + draft.body),
    "near-limit-spaces": padded,
    "near-limit-text": long_text,
    "beyond-limit": too_long,
    "gzip": coded("gzip", gzip.compress),
    "gzip-named-x-gzip": coded("x-gzip", gzip.compress),
    "gzip-in-capitals": coded("GZIP", gzip.compress),
    "gzip-twice": coded("gzip, gzip", lambda body: gzip.compress(gzip.compress(body))),
    "gzip-three-times": coded("gzip, gzip, gzip", lambda body: gzip.compress(gzip.compress(gzip.compress(body)))),
    "gzip-unnamed": coded(None, gzip.compress),
    "gzip-named-identity": coded("identity", gzip.compress),
    "gzip-members": coded("gzip", members),
    "gzip-trailing-member": coded("gzip", hidden_member),
    "gzip-cut-off": coded("gzip", lambda body: gzip.compress(body)[:-12]),
    "gzip-bomb": coded("gzip", bomb),
    "deflate": coded("deflate", zlib.compress),
    "deflate-bare": coded("deflate", raw_deflate),
    "brotli": coded("br", brotli),
    "zstd": coded("zstd", zstandard),
    "zstd-two-frames": coded("zstd", lambda body: zstandard(body[:40]) + zstandard(body[40:])),
    "coding-unknown": coded("compress", lambda body: body),
    "coding-named-not-applied": coded("gzip", lambda body: body),
    "msgpack": msgpack(),
    "msgpack-other-name": msgpack("application/x-msgpack"),
    "msgpack-named-json": msgpack("application/json"),
    "msgpack-gzip": lambda draft: (msgpack()(draft), coded("gzip", gzip.compress)(draft)),
    "utf-16": charset("utf-16", "application/json; charset=utf-16"),
    "utf-16-unnamed": charset("utf-16-le", "application/json"),
    "utf-32-unnamed": charset("utf-32-be", "application/json"),
    "utf-7": charset("utf-7", "application/json; charset=utf-7"),
    "charset-twice": media("application/json; charset=utf-8; charset=utf-16"),
    "media-plain": media("text/plain"),
    "media-form": media("application/x-www-form-urlencoded"),
    "media-missing": media(None),
    "media-capitals": media("Application/JSON"),
    "media-suffix": media("application/vnd.api+json"),
    "media-list": media("text/plain, application/json"),
    "chunked": chunks(4096),
    "chunked-single-bytes": chunks(1),
    "chunked-extension": chunks(16, extension=b';a="b"'),
    "chunked-trailer": chunks(64, trailer=b"x-note: 1\r\n"),
    "chunked-and-length": both_lengths,
    "two-lengths": two_lengths,
    "chunked-spelled-oddly": lambda draft: (chunks(4096)(draft), header("transfer-encoding", "xchunked")(draft)),
    "chunked-gzip": lambda draft: (coded("gzip", gzip.compress)(draft), chunks(16)(draft)),
    "expect-continue": header("expect", "100-continue"),
    "pipelined": pipelined,
    "method-override": header("x-http-method-override", "GET"),
    "rewritten-url": header("x-original-url", "/healthz"),
    "path-slash-doubled": target(lambda path: path.replace("/chat", "//chat")),
    "path-slash-behind": target(lambda path: path + "/"),
    "path-dots": target(lambda path: path.replace("/chat", "/x/../chat")),
    "path-dot": target(lambda path: path.replace("/chat", "/./chat")),
    "path-percent": target(lambda path: path.replace("chat", "%63hat")),
    "path-capitals": target(lambda path: path.replace("chat", "Chat")),
    "path-parameter": target(lambda path: path + ";a=b"),
    "path-query": target(lambda path: path + "?skip=policy"),
    "path-absolute": target(lambda path: "http://gateway.invalid" + path),
    "path-responses": target(lambda path: path.replace("chat/completions", "responses")),
    "path-messages": target(lambda path: path.replace("chat/completions", "messages")),
}
