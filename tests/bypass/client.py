"""One HTTP/1.1 exchange, byte for byte: a client that would mend the framing could not try it."""

import gzip
import json
import socket
from dataclasses import dataclass, field

# The longest one answer may take, in seconds.
PATIENCE = 60


@dataclass
class Draft:
    """A request before it is sent."""

    target: str
    body: bytes
    limit: int
    headers: dict = field(default_factory=lambda: {"content-type": "application/json"})
    # Everything after the head, where the framing is the trick; else the body goes with its length.
    framed: bytes | None = None
    # Sent before it on the same connection.
    before: bytes = b""
    # Answers that come before the one to judge.
    skip: int = 0


def content(value):
    """A value as JSON, without spaces."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()


def lay_out(draft):
    """The bytes of the whole request."""
    framed = draft.body if draft.framed is None else draft.framed
    if draft.framed is None:
        draft.headers["content-length"] = str(len(draft.body))
    headers = {"host": "gateway", "authorization": "Bearer caller", **draft.headers}
    lines = [f"POST {draft.target} HTTP/1.1", *(f"{name}: {value}" for name, value in headers.items())]
    return draft.before + "\r\n".join(lines).encode() + b"\r\n\r\n" + framed


@dataclass
class Answer:
    """What came back: the status, headers in lower case, and the body without its framing."""

    status: int
    headers: dict
    body: bytes
    # Whether the body ended as its framing says it should.
    whole: bool = True


def send(address, draft):
    """Sends the request and reads the answer to its end.

    Raises OSError or ValueError when nothing that is HTTP comes back."""
    with socket.create_connection(address, timeout=PATIENCE) as connection:
        try:
            connection.sendall(lay_out(draft))
        except (BrokenPipeError, ConnectionResetError):
            pass  # Refused before the end of a long body: the answer may be there.
        stream = connection.makefile("rb")
        for _ in range(draft.skip):
            read_answer(stream)
        return read_answer(stream)


def read_answer(stream):
    while True:
        line = stream.readline()
        if not line.startswith(b"HTTP/1."):
            raise ValueError(f"no HTTP answer but {line[:80]!r}")
        status, headers = int(line.split()[1]), {}
        while (line := stream.readline().strip()):
            name, _, value = line.decode("latin-1").partition(":")
            headers[name.lower()] = value.strip()
        if status >= 200:
            break
    body, whole = read_body(stream, headers)
    if headers.get("content-encoding") == "gzip":
        body = gzip.decompress(body)
    return Answer(status, headers, body, whole)


def read_body(stream, headers):
    if "content-length" in headers:
        length = int(headers["content-length"])
        body = stream.read(length)
        return body, len(body) == length
    if headers.get("transfer-encoding") != "chunked":
        return stream.read(), True
    body = b""
    while (line := stream.readline()):
        size = int(line.split(b";")[0], 16)
        body += stream.read(size)
        stream.readline()
        if size == 0:
            return body, True
    return body, False
