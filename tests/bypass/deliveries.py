"""Deliveries: how a provider may hand a text to the caller. Each returns the answers to try, one request each."""

import dataclasses
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
    message = {"role": "assistant", "content": "Hello", **(message or {})}
    choices = choices or [{"index": 0, "message": message, "finish_reason": "stop"}]
    body = {"id": "c1", "object": "chat.completion", "created": 1, "model": "echo", "choices": choices}
    return as_whole(body, **fields)


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
    function = {"name": "look_up", "arguments": piece}
    return {"tool_calls": [{"index": 0, "id": "call_1", "type": "function", "function": function}]}


def arguments(text):
    return json.dumps({"q": text})


def tokens(text):
    """Log probabilities tell every token again."""
    return {"content": [token(text[:4]), token(text[4:])]}


def token(text):
    return {"token": text, "logprob": -0.1, "bytes": list(text.encode()), "top_logprobs": []}


def bytewise(script):
    """The same bytes, one at a time."""
    return dataclasses.replace(script, pieces=[bytes([b]) for piece in script.pieces for b in piece])


def relined(change):
    """The stream with its lines written differently."""
    def streams(text):
        for first, rest in cuts(text)[3:6]:
            script = stream(event(said(first)), event(said(rest)))
            yield dataclasses.replace(script, pieces=list(map(change, script.pieces)))
    return lambda text: list(streams(text))


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
    other = call("{}")
    other["tool_calls"][0] |= {"index": 1, "id": "call_2"}
    inside = json.dumps(text)
    return [stream(event(call('{"q": ' + inside[:middle])), event(other), event(call(inside[middle:] + "}")))]


def in_arguments(text):
    """Escapes inside the JSON that is inside a string."""
    return '{"q": "' + "".join(f"\\u{ord(c):04x}" for c in text) + '"}'


def escaped(script, text):
    """The script with its one `X` replaced by a text in JSON escapes."""
    escapes = "".join(f"\\u{ord(c):04x}" for c in text).encode()
    return dataclasses.replace(script, pieces=[piece.replace(b'"X"', b'"' + escapes + b'"') for piece in script.pieces])


def with_content_twice(script):
    """The script with every content said twice: two readers may take different ones."""
    pieces = [piece.replace(b'"content":', b'"content": "Hello", "content":') for piece in script.pieces]
    return dataclasses.replace(script, pieces=pieces)


def choice(message, index=0, **fields):
    return {"index": index, "message": {"role": "assistant", **message}, "finish_reason": "stop", **fields}


def completion(piece, finish=None):
    base = {"id": "c1", "object": "text_completion", "created": 1, "model": "echo"}
    return {**base, "choices": [{"index": 0, "text": piece, "finish_reason": finish}]}


def usage():
    counts = {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2}
    return {**event({}), "choices": [], "usage": counts}


def both_choices(piece):
    """One event with a piece for each of two answers."""
    choices = [{"index": i, "delta": {"content": piece}, "finish_reason": None} for i in (0, 1)]
    return {**event({}), "choices": choices}


def halves(text):
    return text[:6], text[6:]


def provider_error(text):
    return {"error": {"message": f"cannot read: {text}", "type": "invalid_request_error", "code": "bad", "param": None}}


def as_whole(body, **fields):
    return Script([json.dumps(body).encode()], **{"media": "application/json", "stream": False, **fields})


def gzipped(script):
    return dataclasses.replace(script, pieces=[gzip.compress(b"".join(script.pieces))], headers={"content-encoding": "gzip"})


def between(other):
    """Another event between the halves of the text."""
    return lambda text: [stream(event(said(text[:6])), other, event(said(text[6:])))]


DELIVERIES = {
    # Whole answers.
    "whole": lambda text: [whole({"content": text})],
    "whole-second-choice": lambda text: [whole(choices=[choice({"content": "Hello"}), choice({"content": text}, 1)])],
    "whole-arguments": lambda text: [whole(call(arguments(text)))],
    "whole-arguments-escaped": lambda text: [whole(call(in_arguments(text)))],
    "whole-legacy-call": lambda text: [whole({"function_call": {"name": "look_up", "arguments": arguments(text)}})],
    "whole-reasoning": lambda text: [whole({"reasoning": text}), whole({"reasoning_content": text})],
    "whole-reasoning-details": lambda text: [whole({"reasoning_details": [{"type": "reasoning.text", "text": text}]})],
    "whole-refusal": lambda text: [whole({"refusal": text})],
    "whole-logprobs": lambda text: [whole(choices=[choice({"content": text}, logprobs=tokens(text))])],
    "whole-parts": lambda text: [whole({"content": [{"type": "text", "text": text}]})],
    "whole-parts-split": lambda text: [whole({"content": [{"type": "text", "text": piece} for piece in halves(text)]})],
    "whole-annotations": lambda text: [whole({"annotations": [{"type": "url_citation", "url_citation": {"title": text}}]})],
    "whole-unknown-field": lambda text: [whole({"thoughts": {"deep": [text]}})],
    "whole-transcript": lambda text: [whole({"audio": {"id": "a", "data": "", "transcript": text}})],
    "whole-escaped": lambda text: [escaped(whole({"content": "X"}), text)],
    "whole-key-twice": lambda text: [with_content_twice(whole({"content": text}))],
    "whole-in-pieces": lambda text: [bytewise(whole({"content": text}))],
    "whole-completion": lambda text: [as_whole(completion(text, "stop"), path="/completions")],
    "whole-gzip": lambda text: [gzipped(whole({"content": text}))],
    "whole-named-text": lambda text: [whole({"content": text}, media="text/plain")],
    "whole-without-a-name": lambda text: [whole({"content": text}, media="")],
    "whole-top-level": lambda text: [as_whole({"choices": [], "note": text})],
    "whole-error": lambda text: [as_whole(provider_error(text), status=400)],
    "whole-to-a-stream": lambda text: [whole({"content": text}, stream=True)],
    # Streams.
    "stream": lambda text: [stream(event(said(text)))],
    "stream-to-a-whole": lambda text: [stream(event(said(text)), stream=False)],
    "content-everywhere": everywhere(said),
    "content-letters": letters(said),
    "content-bytes": lambda text: [bytewise(stream(*(event(said(c)) for c in text)))],
    "content-empty-between": lambda text: [stream(*(event(said(p)) for c in text for p in (c, "")))],
    "content-null-between": lambda text: [stream(*(event(said(p)) for c in text for p in (c, None)))],
    "content-escaped": lambda text: [escaped(stream(event(said("X"))), text)],
    "content-role-between": between(event({"role": "assistant"})),
    "content-usage-between": between(usage()),
    "content-with-finish": lambda text: [stream(event(said(text[:6])), event(said(text[6:]), finish="stop"))],
    "content-after-finish": lambda text: [stream(event(said(text[:6]), finish="stop"), event(said(text[6:])))],
    "content-after-done": lambda text: [Script([*stream(event(said("Hello"))).pieces, line(event(said(text)))])],
    "content-without-done": lambda text: [Script(stream(*(event(said(p)) for p in halves(text))).pieces[:-2])],
    "content-without-last-line-feed": lambda text: [Script([line(event(said("Hello"))), line(event(said(text)), end="")])],
    "content-beside-text": lambda text: [stream(event(said("Hello"), text=text))],
    "content-parts": lambda text: [stream(*(event({"content": [{"type": "text", "text": p}]}) for p in halves(text)))],
    "content-key-twice": lambda text: [with_content_twice(stream(event(said(text))))],
    "message-in-a-stream": lambda text: [stream(event({}, message={"role": "assistant", "content": text}))],
    "second-choice-everywhere": lambda text: [stream(*(event(said(p), 1) for p in pair)) for pair in cuts(text)],
    "choices-interleaved": interleaved,
    "choices-in-one-event": lambda text: [stream(*map(both_choices, halves(text)))],
    "index-missing": lambda text: [stream(*({**event({}), "choices": [{"delta": {"content": p}}]} for p in halves(text)))],
    "channel-change": channel_change,
    "reasoning-everywhere": everywhere(lambda p: {"reasoning": p}),
    "reasoning-content-everywhere": everywhere(lambda p: {"reasoning_content": p}),
    "refusal-everywhere": everywhere(lambda p: {"refusal": p}),
    "unknown-delta": letters(lambda p: {"thoughts": p}),
    "arguments-everywhere": lambda text: everywhere(call)(arguments(text)),
    "arguments-letters": lambda text: letters(call)(arguments(text)),
    "arguments-escaped": lambda text: letters(call)(in_arguments(text)),
    "arguments-interleaved": call_change,
    "legacy-call": lambda text: letters(lambda c: {"function_call": {"name": "look_up", "arguments": c}})(arguments(text)),
    "call-name": lambda text: [stream(event({"tool_calls": [
        {"index": 0, "id": "call_1", "type": "function", "function": {"name": text, "arguments": "{}"}}]}))],
    "logprobs": lambda text: [stream(event(said(text), logprobs=tokens(text)))],
    "logprobs-split": lambda text: [stream(*(event(said(p), logprobs={"content": [token(p)]}) for p in halves(text)))],
    "completion": lambda text: [
        Script([*(line(completion(p)) for p in pair), DONE], path="/completions") for pair in cuts(text)[::3]],
    "error-event": lambda text: [Script([line(event(said("Hello"))), line(provider_error(text))])],
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
    "stream-gzip": lambda text: [gzipped(stream(event(said(text))))],
}


def deliver(name, text):
    """The scripts of a delivery."""
    return DELIVERIES[name](text)
