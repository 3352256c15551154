"""Deliveries: how a provider may hand a text to the caller. Each returns the answers to try, one request each."""

import gzip
import json
from dataclasses import dataclass, field


@dataclass
class Script:
    """What the provider writes: every piece is a chunk of its own on the wire."""

    pieces: list
    media: str = "text/event-stream"
    status: int = 200
    headers: dict = field(default_factory=dict)
    # What the caller asks for.
    stream: bool = True
    path: str = "/chat/completions"


def event(delta, index=0, finish=None, **fields):
    choice = {"index": index, "delta": delta, "finish_reason": finish, **fields}
    return {"id": "c1", "object": "chat.completion.chunk", "created": 1, "model": "echo", "choices": [choice]}


def line(value, end="\n\n", prefix="data: "):
    return (prefix + (value if isinstance(value, str) else json.dumps(value)) + end).encode()


DONE = line("[DONE]")
END = [line(event({}, finish="stop")), DONE]


def stream(*events, **fields):
    return Script([line(event({"role": "assistant", "content": ""})), *map(line, events), *END], **fields)


def whole(message=None, choices=None, **fields):
    choices = choices or [{"index": 0, "message": {"role": "assistant", "content": "Hello", **(message or {})}, "finish_reason": "stop"}]
    body = {"id": "c1", "object": "chat.completion", "created": 1, "model": "echo", "choices": choices}
    return Script([json.dumps(body).encode()], **{"media": "application/json", "stream": False, **fields})


def cuts(text):
    """The text in two, at every place inside."""
    return [(text[:i], text[i:]) for i in range(1, len(text))]


def everywhere(delta):
    """A stream for every place to cut at; `delta` puts a piece where it belongs."""
    return lambda text: [stream(*(event(delta(piece)) for piece in pair)) for pair in cuts(text)]


def letters(delta):
    return lambda text: [stream(*(event(delta(c)) for c in text))]


def said(piece):
    return {"content": piece}


def call(piece):
    return {"tool_calls": [{"index": 0, "id": "call_1", "type": "function", "function": {"name": "look_up", "arguments": piece}}]}


def arguments(text):
    return json.dumps({"q": text})


def tokens(text):
    """Log probabilities tell every token again."""
    return {"content": [{"token": t, "logprob": -0.1, "bytes": list(t.encode()), "top_logprobs": []} for t in [text[:4], text[4:]]]}


def bytewise(script):
    """The same bytes, one at a time."""
    return Script([bytes([b]) for piece in script.pieces for b in piece], script.media, script.status, script.headers, script.stream)


def relined(change):
    """The stream with its lines written differently."""
    return lambda text: [Script([change(piece) for piece in stream(event(said(a)), event(said(b))).pieces]) for a, b in cuts(text)[3:6]]


def two_lines(piece):
    """One event over two `data:` lines: the reader puts them together with a line feed, which JSON allows between members."""
    return piece.replace(b', "choices"', b',\ndata: "choices"')


def interleaved(text):
    """Two choices take turns."""
    pieces = [text[i:i + 3] for i in range(0, len(text), 3)]
    return [stream(*(event(said(p), index) for p in pieces for index in (0, 1)))]


def channel_change(text):
    """A piece of the answer, a piece of something else, the rest of the answer."""
    return [stream(event(said(a)), event({"reasoning_content": "So. "}), event(said(b))) for a, b in cuts(text)]


def call_change(text):
    middle = len(text) // 2
    other = {"tool_calls": [{"index": 1, "id": "call_2", "type": "function", "function": {"name": "look_up", "arguments": "{}"}}]}
    inside = json.dumps(text)
    return [stream(event(call('{"q": ' + inside[:middle])), event(other), event(call(inside[middle:] + "}")))]


def escaped_at(text):
    """Characters as JSON escapes."""
    return json.dumps(event(said("X"))).replace('"X"', '"' + "".join(f"\\u{ord(c):04x}" for c in text) + '"')


def in_arguments(text):
    """Escapes inside the JSON that is inside a string."""
    return '{"q": "' + "".join(f"\\u{ord(c):04x}" for c in text) + '"}'


DELIVERIES = {
    # Whole answers.
    "whole": lambda text: [whole({"content": text})],
    "whole-second-choice": lambda text: [whole(choices=[
        {"index": i, "message": {"role": "assistant", "content": c}, "finish_reason": "stop"} for i, c in enumerate(("Hello", text))])],
    "whole-arguments": lambda text: [whole({"tool_calls": call(arguments(text))["tool_calls"]})],
    "whole-arguments-escaped": lambda text: [whole({"tool_calls": call(in_arguments(text))["tool_calls"]})],
    "whole-legacy-call": lambda text: [whole({"function_call": {"name": "look_up", "arguments": arguments(text)}})],
    "whole-reasoning": lambda text: [whole({"reasoning": text}), whole({"reasoning_content": text})],
    "whole-reasoning-details": lambda text: [whole({"reasoning_details": [{"type": "reasoning.text", "text": text}]})],
    "whole-refusal": lambda text: [whole({"refusal": text})],
    "whole-logprobs": lambda text: [whole(choices=[
        {"index": 0, "message": {"role": "assistant", "content": text}, "logprobs": tokens(text), "finish_reason": "stop"}])],
    "whole-parts": lambda text: [whole({"content": [{"type": "text", "text": text}]})],
    "whole-parts-split": lambda text: [whole({"content": [{"type": "text", "text": t} for t in (text[:5], text[5:])]})],
    "whole-annotations": lambda text: [whole({"annotations": [{"type": "url_citation", "url_citation": {"title": text}}]})],
    "whole-unknown-field": lambda text: [whole({"thoughts": {"deep": [text]}})],
    "whole-transcript": lambda text: [whole({"audio": {"id": "a", "data": "", "transcript": text}})],
    "whole-escaped": lambda text: [Script([whole({"content": "X"}).pieces[0].replace(
        b'"X"', b'"' + "".join(f"\\u{ord(c):04x}" for c in text).encode() + b'"')], "application/json", stream=False)],
    "whole-key-twice": lambda text: [Script([whole({"content": text}).pieces[0].replace(
        b'"content":', b'"content": "Hello", "content":')], "application/json", stream=False)],
    "whole-in-pieces": lambda text: [bytewise(whole({"content": text}))],
    "whole-completion": lambda text: [Script([json.dumps({
        "id": "c1", "object": "text_completion", "created": 1, "model": "echo",
        "choices": [{"index": 0, "text": text, "finish_reason": "stop"}]}).encode()], "application/json", stream=False, path="/completions")],
    "whole-gzip": lambda text: [Script([gzip.compress(whole({"content": text}).pieces[0])], "application/json", stream=False,
                                       headers={"content-encoding": "gzip"})],
    "whole-named-text": lambda text: [whole({"content": text}, media="text/plain")],
    "whole-without-a-name": lambda text: [whole({"content": text}, media="")],
    "whole-top-level": lambda text: [Script([json.dumps({"choices": [], "note": text}).encode()], "application/json", stream=False)],
    "whole-error": lambda text: [Script([json.dumps({"error": {
        "message": f"cannot read: {text}", "type": "invalid_request_error", "code": "bad", "param": None}}).encode()],
        "application/json", status=400, stream=False)],
    "whole-to-a-stream": lambda text: [whole({"content": text}, stream=True)],
    # Streams.
    "stream": lambda text: [stream(event(said(text)))],
    "stream-to-a-whole": lambda text: [stream(event(said(text)), stream=False)],
    "content-everywhere": everywhere(said),
    "content-letters": letters(said),
    "content-bytes": lambda text: [bytewise(stream(*(event(said(c)) for c in text)))],
    "content-empty-between": lambda text: [stream(*(event(said(p)) for c in text for p in (c, "")))],
    "content-null-between": lambda text: [stream(*(event(said(p)) for c in text for p in (c, None)))],
    "content-escaped": lambda text: [Script([line(event({"role": "assistant"})), line(escaped_at(text)), *END])],
    "content-role-between": lambda text: [stream(event(said(text[:6])), event({"role": "assistant"}), event(said(text[6:])))],
    "content-usage-between": lambda text: [stream(event(said(text[:6])), {"id": "c1", "object": "chat.completion.chunk", "created": 1,
        "model": "echo", "choices": [], "usage": {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2}}, event(said(text[6:])))],
    "content-with-finish": lambda text: [stream(event(said(text[:6])), event(said(text[6:]), finish="stop"))],
    "content-after-finish": lambda text: [stream(event(said(text[:6]), finish="stop"), event(said(text[6:])))],
    "content-after-done": lambda text: [Script([*stream(event(said("Hello"))).pieces, line(event(said(text)))])],
    "content-without-done": lambda text: [Script(stream(event(said(text[:6])), event(said(text[6:]))).pieces[:-2])],
    "content-without-last-line-feed": lambda text: [Script([line(event(said("Hello"))), line(event(said(text)), end="")])],
    "content-beside-text": lambda text: [stream(event(said("Hello"), text=text))],
    "content-parts": lambda text: [stream(*(event({"content": [{"type": "text", "text": p}]}) for p in (text[:6], text[6:])))],
    "content-key-twice": lambda text: [Script([line(json.dumps(event(said(text))).replace('"content":', '"content": "Hello", "content":')), *END])],
    "message-in-a-stream": lambda text: [stream(event({}, message={"role": "assistant", "content": text}))],
    "second-choice-everywhere": lambda text: [stream(*(event(said(p), 1) for p in pair)) for pair in cuts(text)],
    "choices-interleaved": interleaved,
    "choices-in-one-event": lambda text: [stream(*({**event(said("-")), "choices": [
        {"index": i, "delta": {"content": p}, "finish_reason": None} for i in (0, 1)]} for p in (text[:6], text[6:])))],
    "index-missing": lambda text: [stream(*({**event({}), "choices": [{"delta": {"content": p}}]} for p in (text[:6], text[6:])))],
    "channel-change": channel_change,
    "reasoning-everywhere": everywhere(lambda p: {"reasoning": p}),
    "reasoning-content-everywhere": everywhere(lambda p: {"reasoning_content": p}),
    "refusal-everywhere": everywhere(lambda p: {"refusal": p}),
    "unknown-delta": letters(lambda p: {"thoughts": p}),
    "arguments-everywhere": lambda text: [stream(*(event(call(p)) for p in pair)) for pair in cuts(arguments(text))],
    "arguments-letters": lambda text: [stream(*(event(call(c)) for c in arguments(text)))],
    "arguments-escaped": lambda text: [stream(*(event(call(c)) for c in in_arguments(text)))],
    "arguments-interleaved": call_change,
    "legacy-call": lambda text: [stream(*(event({"function_call": {"name": "look_up", "arguments": c}}) for c in arguments(text)))],
    "call-name": lambda text: [stream(event({"tool_calls": [{"index": 0, "id": "call_1", "type": "function", "function": {
        "name": text, "arguments": "{}"}}]}))],
    "logprobs": lambda text: [stream(event(said(text), logprobs=tokens(text)))],
    "logprobs-split": lambda text: [stream(*(event(said(p), logprobs={"content": [{"token": p, "logprob": -0.1, "bytes": list(p.encode()),
        "top_logprobs": []}]}) for p in (text[:6], text[6:])))],
    "completion": lambda text: [Script([*(line({"id": "c1", "object": "text_completion", "created": 1, "model": "echo", "choices": [
        {"index": 0, "text": p, "finish_reason": None}]}) for p in pair), DONE], path="/completions") for pair in cuts(text)[::3]],
    "error-event": lambda text: [Script([line(event(said("Hello"))), line({"error": {"message": f"cannot say {text}", "type": "x"}})])],
    # Lines.
    "crlf": relined(lambda piece: piece.replace(b"\n", b"\r\n")),
    "carriage-returns": relined(lambda piece: piece.replace(b"\n", b"\r")),
    "no-space": relined(lambda piece: piece.replace(b"data: ", b"data:")),
    "two-data-lines": relined(two_lines),
    "comments-between": relined(lambda piece: b": still here\n\n" + piece),
    "comment-inside": relined(lambda piece: piece[:-1] + b": still here\n\n"),
    "fields-beside": relined(lambda piece: b"event: message\nid: 7\nretry: 10\n" + piece),
    "data-with-byte-order-mark": lambda text: [Script([b"\xef\xbb\xbf" + line(event(said(text))), *END])],
    "comment-is-the-text": lambda text: [Script([f": {text}\n\n".encode(), *stream(event(said("Hello"))).pieces])],
    "field-is-the-text": lambda text: [Script([f"event: {text}\n".encode() + line(event(said("Hello"))), *END])],
    "unknown-line-is-the-text": lambda text: [Script([f"note: {text}\n".encode() + line(event(said("Hello"))), *END])],
    "stream-named-json": lambda text: [stream(event(said(text)), media="application/json")],
    "stream-not-json": lambda text: [Script([line(f"here it is: {text}"), *END])],
    "stream-gzip": lambda text: [Script([gzip.compress(b"".join(stream(event(said(text))).pieces))], headers={"content-encoding": "gzip"})],
}


def deliver(name, text):
    """The scripts of a delivery."""
    return DELIVERIES[name](text)
