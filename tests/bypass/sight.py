"""What a reader of a body sees: every string in it, each on its own and put together as the pieces of one text are."""

import base64
import binascii
import json
import re

# A string inside a string, and so on, is looked into this often.
MAX_DEPTH = 4
# NUL and the halves of surrogate pairs.
NO_CHARACTERS = dict.fromkeys([0, *range(0xD800, 0xE000)])


def in_request(body):
    """The texts a provider can make of a request body."""
    value = parsed(body)
    if value is None:
        return [body.decode(codec, "replace") for codec in ("utf-8", "utf-16-le", "utf-16-be", "utf-32-be")]
    places, strings = {}, []
    for place, text in walk(value, ()):
        strings.append(text)
        places[place] = places.get(place, "") + text
    return [*strings, *places.values()]


def arrived(sent, body):
    """Whether every string that was sent is in the body that was received; what cannot be a character apart."""
    got = {text.translate(NO_CHARACTERS) for text in in_request(body)}
    return all(text.translate(NO_CHARACTERS) in got for place, text in walk(sent, ()) if place != ("model",))


def in_answer(body):
    """The texts a client can make of an answer, streamed or not: a text is put together along its place in the answer."""
    value = parsed(body)
    texts, rest = {}, []
    for piece in [value] if value is not None else events(body.decode("utf-8", "replace"), rest):
        for place, text in walk(piece, ()):
            texts[place] = texts.get(place, "") + text
    joined = list(texts.values())
    # Arguments are JSON only when all their pieces are there.
    inner = [text for whole in joined for _, text in unwrapped(whole, 1, ())]
    return [*joined, *inner, "\n".join(rest)]


def parsed(body):
    try:
        return json.loads(body)
    except (ValueError, RecursionError):
        return None


def events(text, rest):
    """The JSON of each event; what is no event goes to `rest`."""
    data = []
    for line in [*re.split("\r\n|\n|\r", text.removeprefix("\ufeff")), ""]:
        if line.startswith("data:"):
            data.append(line[5:])
        elif line:
            rest.append(line)
        elif data:
            value = parsed("\n".join(data))
            if value is None:
                rest.extend(data)
            else:
                yield value
            data = []


def walk(value, place):
    """Every string with its place, elements of a list under their `index`; keys are strings too."""
    match value:
        case str():
            yield place, value
            if not place or "…" not in place:
                yield from unwrapped(value, 1, place)
        case list() if value and all(isinstance(n, int) and 0 <= n < 256 for n in value):
            yield (*place, "bytes"), bytes(value).decode("utf-8", "replace")
        case list():
            for element in value:
                index = element.get("index", "*") if isinstance(element, dict) else "*"
                yield from walk(element, (*place, str(index)))
        case dict():
            for key, member in value.items():
                yield (*place, "keys"), key
                yield from walk(member, (*place, key))


def unwrapped(text, depth, place):
    """What a text holds that is JSON or a base64 `data:` URL itself."""
    inner = None
    if text.startswith("data:") and ";base64," in text:
        try:
            inner = base64.b64decode(text.split(",", 1)[1]).decode("utf-8", "replace")
        except binascii.Error:
            return
        yield (*place, "…"), inner
    elif text[:1] in ("{", "[") and depth < MAX_DEPTH:
        value = parsed(text)
        if value is not None:
            yield from walk(value, (*place, "…"))
