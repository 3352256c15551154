"""Shapes: where in a request a text stands. Each returns the path below the base URL and the body."""

import base64
import json

CHAT, COMPLETIONS, EMBEDDINGS = "/chat/completions", "/completions", "/embeddings"


def chat(*messages, **fields):
    return CHAT, {"messages": list(messages), **fields}


def user(content, **fields):
    return {"role": "user", "content": content, **fields}


def parts(*texts):
    return [{"type": "text", "text": text} for text in texts]


def halves(text):
    middle = len(text) // 2
    return text[:middle], text[middle:]


def words(text):
    """A text in two, between two words."""
    middle = text.index(" ", len(text) // 3)
    return text[:middle], text[middle + 1:]


def tool(**function):
    return {"tools": [{"type": "function", "function": {"name": "look_up", "parameters": {"type": "object"}, **function}}]}


def called(**call):
    """An earlier call of a tool, and its result."""
    calls = [{"id": "call_1", "type": "function", "function": {"name": "look_up", "arguments": "{}", **call}}]
    return {"role": "assistant", "content": None, "tool_calls": calls}


def result(content):
    return {"role": "tool", "tool_call_id": "call_1", "content": content}


def schema(text):
    return {"type": "object", "properties": {"city": {"type": "string", "description": text}}}


def nested(text, depth):
    for _ in range(depth):
        text = [text]
    return text


HELLO = user("Hello")

SHAPES = {
    "user": lambda text: chat(user(text)),
    # Split.
    "parts-split": lambda text: chat(user(parts(*words(text)))),
    "parts-split-in-word": lambda text: chat(user(parts(*halves(text)))),
    "parts-of-words": lambda text: chat(user(parts(*text.split(" ")))),
    "parts-of-letters": lambda text: chat(user(parts(*text))),
    "messages-split": lambda text: chat(*map(user, words(text))),
    "messages-of-words": lambda text: chat(*map(user, text.split(" "))),
    "messages-split-by-assistant": lambda text: chat(
        user(words(text)[0]), {"role": "assistant", "content": "Go on."}, user(words(text)[1])),
    "roles-split": lambda text: chat(user(words(text)[0]), called(), result(words(text)[1])),
    "user-and-assistant-split": lambda text: chat(
        user(words(text)[0]), {"role": "assistant", "content": words(text)[1]}, user("Yes, that.")),
    "prompts-split": lambda text: (COMPLETIONS, {"prompt": list(words(text))}),
    "prompt-suffix-split": lambda text: (COMPLETIONS, {"prompt": words(text)[0], "suffix": words(text)[1]}),
    # Roles.
    "tool-result": lambda text: chat(HELLO, called(), result(text)),
    "tool-result-parts": lambda text: chat(HELLO, called(), result(parts("fine", text))),
    "tool-result-json": lambda text: chat(HELLO, called(), result(json.dumps({"rows": [{"note": text}]}))),
    "function-result": lambda text: chat(HELLO, {"role": "function", "name": "look_up", "content": text}),
    "assistant": lambda text: chat(HELLO, {"role": "assistant", "content": text}, user("Go on.")),
    "assistant-arguments": lambda text: chat(HELLO, called(arguments=json.dumps({"q": text})), result("fine")),
    "assistant-arguments-escaped": lambda text: chat(
        HELLO, called(arguments='{"q": "' + "".join(f"\\u{ord(c):04x}" for c in text) + '"}'), result("fine")),
    "assistant-reasoning": lambda text: chat(HELLO, {"role": "assistant", "content": "Hi.", "reasoning_content": text}, HELLO),
    "system": lambda text: chat({"role": "system", "content": text}, HELLO),
    "developer": lambda text: chat({"role": "developer", "content": text}, HELLO),
    "role-unknown": lambda text: chat(HELLO, {"role": "critic", "content": text}),
    "role-in-capitals": lambda text: chat(HELLO, {"role": "SYSTEM", "content": text}),
    "role-with-space": lambda text: chat(HELLO, {"role": "system ", "content": text}),
    "role-missing": lambda text: chat(HELLO, {"content": text}),
    "role-null": lambda text: chat(HELLO, {"role": None, "content": text}),
    "role-object": lambda text: chat(HELLO, {"role": {"name": "system"}, "content": text}),
    "role-after-content": lambda text: chat(HELLO, {"content": text, "role": "user"}),
    "role-is-the-text": lambda text: chat(HELLO, {"role": text, "content": "Hello"}),
    # Odd places.
    "second-part": lambda text: chat(user(parts("Hello", text))),
    "part-unknown": lambda text: chat(user([*parts("Hello"), {"type": "input_text", "input_text": text}])),
    "part-string": lambda text: chat(user(["Hello", text])),
    "part-without-type": lambda text: chat(user([{"text": text}])),
    "part-type-is-the-text": lambda text: chat(user([{"type": text, "text": "Hello"}])),
    "part-text-object": lambda text: chat(user([{"type": "text", "text": {"value": text}}])),
    "part-nested": lambda text: chat(user([{"type": "text", "content": parts(text)}])),
    "part-refusal": lambda text: chat(user([{"type": "refusal", "refusal": text}])),
    "content-object": lambda text: chat(user({"type": "text", "text": text})),
    "content-nested": lambda text: chat(user(nested(text, 20))),
    "content-key": lambda text: chat(user([{"type": "text", "text": "Hello", text: 1}])),
    "image-detail": lambda text: chat(user([{"type": "image_url", "image_url": {
        "url": "https://example.com/a.png", "detail": text}}])),
    "image-address": lambda text: chat(user([{"type": "image_url", "image_url": {"url": f"https://example.com/?q={text}"}}])),
    "image-plain-data-url": lambda text: chat(user([{"type": "image_url", "image_url": {"url": f"data:text/plain,{text}"}}])),
    "file-name": lambda text: chat(user([{"type": "file", "file": {"filename": text, "file_id": "file-1"}}])),
    "file-text-base64": lambda text: chat(user([{"type": "file", "file": {
        "filename": "a.txt", "file_data": "data:text/plain;base64," + base64.b64encode(text.encode()).decode()}}])),
    "file-claims-to-be-a-picture": lambda text: chat(user([{"type": "image_url", "image_url": {
        "url": "data:image/png;base64," + base64.b64encode(text.encode()).decode()}}])),
    "message-name": lambda text: chat(user("Hello", name=text)),
    "message-unknown-field": lambda text: chat(user("Hello", note=text)),
    "message-string": lambda text: chat(HELLO, text),
    "message-in-array": lambda text: chat(HELLO, [user(text)]),
    "tool-call-id": lambda text: chat(HELLO, called(), {"role": "tool", "tool_call_id": text, "content": "fine"}),
    # Beside the messages.
    "n-three": lambda text: chat(user(text), n=3),
    "streamed": lambda text: chat(user(text), stream=True),
    "tool-description": lambda text: chat(HELLO, **tool(description=text)),
    "tool-schema": lambda text: chat(HELLO, **tool(parameters=schema(text))),
    "tool-enum": lambda text: chat(HELLO, **tool(parameters={"type": "string", "enum": [text]})),
    "tool-schema-key": lambda text: chat(HELLO, **tool(parameters={"type": "object", "properties": {text: {"type": "string"}}})),
    "response-schema": lambda text: chat(HELLO, response_format={
        "type": "json_schema", "json_schema": {"name": "answer", "schema": schema(text)}}),
    "prediction": lambda text: chat(HELLO, prediction={"type": "content", "content": text}),
    "prediction-parts": lambda text: chat(HELLO, prediction={"type": "content", "content": parts("x", text)}),
    "suffix": lambda text: (COMPLETIONS, {"prompt": "Hello", "suffix": text}),
    "prompt": lambda text: (COMPLETIONS, {"prompt": text}),
    "prompt-list": lambda text: (COMPLETIONS, {"prompt": ["Hello", text]}),
    "prompt-in-chat": lambda text: chat(HELLO, prompt=text),
    "messages-in-completions": lambda text: (COMPLETIONS, {"prompt": "Hello", "messages": [user(text)]}),
    "input": lambda text: (EMBEDDINGS, {"input": text}),
    "input-list": lambda text: (EMBEDDINGS, {"input": ["Hello", text]}),
    "metadata": lambda text: chat(HELLO, metadata={"note": text}),
    "metadata-key": lambda text: chat(HELLO, metadata={text: "1"}),
    "user-field": lambda text: chat(HELLO, user=text),
    "stop": lambda text: chat(HELLO, stop=[text]),
    "unknown-field": lambda text: chat(HELLO, chat_template=text),
    "unknown-deep": lambda text: chat(HELLO, extra_body={"a": [{"b": nested(text, 10)}]}),
    "stream-options": lambda text: chat(HELLO, stream=True, stream_options={"note": text}),
    "web-search-options": lambda text: chat(HELLO, web_search_options={"user_location": {"approximate": {"city": text}}}),
    "deep": lambda text: chat(HELLO, extra=nested(text, 90)),
    "too-deep": lambda text: chat(HELLO, extra=nested(text, 900)),
    "legacy-function": lambda text: chat(HELLO, functions=[{"name": "look_up", "description": text, "parameters": {}}]),
    "model": lambda text: chat(HELLO, model=text),
}


def shape(name, text, model):
    """The path and body of a request that carries the text."""
    path, body = SHAPES[name](text)
    return path, {"model": model, **body}
