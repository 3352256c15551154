"""Cases for both Python SDKs. They come from one generator and share their surface, so what one must do the other must too."""

import asyncio
import json
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from types import ModuleType

from cases import (
    ATTACK,
    DOCUMENTED,
    GATEWAY,
    SIMULATOR,
    TLS,
    Requests,
    case,
    completed_record,
    contains,
    equal,
    eventually,
    get,
    lacks,
    raises,
    raises_async,
    request_id,
    unparked,
    user,
)

WEATHER = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "description": "The weather in a city",
        "parameters": {
            "type": "object",
            "properties": {"city": {"type": "string"}, "days": {"type": "integer"}},
            "required": ["city", "days"],
        },
    },
}

CONTACT = {
    "type": "json_schema",
    "json_schema": {
        "name": "contact",
        "strict": True,
        "schema": {
            "type": "object",
            "properties": {"email": {"type": "string", "format": "email"}, "age": {"type": "integer"}},
            "required": ["email", "age"],
            "additionalProperties": False,
        },
    },
}


@dataclass
class Sdk:
    """One SDK: its module, its two clients, and what it expects after the host."""

    module: ModuleType
    client: type
    async_client: type
    path: str

    def connect(self, base=GATEWAY, **options):
        return self.client(base_url=base + self.path, api_key="unused", **options)

    def connect_async(self, base=GATEWAY, **options):
        return self.async_client(base_url=base + self.path, api_key="unused", **options)


def text_of(stream):
    """The text of a stream, read as the documentation does: the first choice of every chunk, unguarded."""
    return "".join(chunk.choices[0].delta.content or "" for chunk in stream)


def ask(sdk, model, text="Hello", **options):
    return sdk.connect(max_retries=0).chat.completions.create(model=model, messages=user(text), **options)


# Answers


@case
def the_documented_snippet_gets_an_answer(sdk):
    client = sdk.client(base_url=DOCUMENTED.replace("127.0.0.1", "localhost") + sdk.path, api_key="unused")
    answer = client.chat.completions.create(model="llama3.3-70b", messages=user("Hello!"))
    contains(answer.choices[0].message.content, "simulator")


@case
def the_documented_snippet_streams(sdk):
    client = sdk.client(base_url=DOCUMENTED.replace("127.0.0.1", "localhost") + sdk.path, api_key="unused")
    stream = client.chat.completions.create(model="llama3.3-70b", messages=user("Count to five."), stream=True)
    contains(text_of(stream), "simulator")


@case
def a_plain_answer_is_complete_and_says_who_gave_it(sdk):
    raw = sdk.connect().chat.completions.with_raw_response.create(model="llama3.1-8b", messages=user("Hello"))
    answer = raw.parse()
    equal(answer.choices[0].finish_reason, "stop")
    equal(answer.usage.total_tokens, answer.usage.prompt_tokens + answer.usage.completion_tokens)
    equal(raw.headers["x-keeptrusts-verdict"], "allow")
    equal(raw.headers["x-keeptrusts-target"], "simulator")
    equal(raw.headers["x-keeptrusts-model"], "llama3.1-8b")


@case
def a_stream_says_the_same_as_the_plain_answer(sdk):
    plain = ask(sdk, "llama3.1-8b", "Tell me a story").choices[0].message.content
    chunks = list(ask(sdk, "llama3.1-8b", "Tell me a story", stream=True))
    equal("".join(chunk.choices[0].delta.content or "" for chunk in chunks), plain)
    equal([chunk.choices[0].finish_reason for chunk in chunks if chunk.choices[0].finish_reason], ["stop"])
    assert len(chunks) > 20, f"{len(chunks)} chunks are no stream"


@case
def a_stream_arrives_while_it_is_made(sdk):
    began = time.monotonic()
    stream = iter(ask(sdk, "sim-slow-tokens-50", stream=True))
    next(stream)
    first = time.monotonic() - began
    for _ in stream:
        pass
    whole = time.monotonic() - began
    assert first < whole / 4, f"the first chunk came after {first:.2f} s of {whole:.2f} s"


@case
def an_openai_style_stream_has_a_choice_in_every_chunk_when_nobody_asked_for_usage(sdk):
    chunks = list(ask(sdk, "gpt-4o", "Hello", stream=True, max_tokens=20))
    assert all(len(chunk.choices) == 1 for chunk in chunks), chunks[-1]


@case
def usage_comes_with_a_stream_that_asks_for_it(sdk):
    chunks = list(ask(sdk, "gpt-4o", "Hello", stream=True, max_tokens=20, stream_options={"include_usage": True}))
    equal(chunks[-1].usage.completion_tokens, 20)


@case
def several_choices_arrive_apart(sdk):
    answer = ask(sdk, "llama3.1-8b", n=3)
    equal([choice.index for choice in answer.choices], [0, 1, 2])
    equal(len({choice.message.content for choice in answer.choices}), 3)


@case
def reasoning_survives_both_ways(sdk):
    plain = ask(sdk, "gpt-oss-120b").choices[0].message.reasoning
    streamed = "".join(getattr(c.choices[0].delta, "reasoning", None) or "" for c in ask(sdk, "gpt-oss-120b", stream=True))
    contains(plain, "The user wants an answer.")
    equal(streamed, plain)


@case
def an_unusual_text_comes_back_as_it_went(sdk):
    text = "grüße 👩‍👩‍👧 \u2028 \"quoted\" \\ back\tslash 中文 \U0001f600 end"
    equal(ask(sdk, "echo", text).choices[0].message.content, text)
    equal(text_of(ask(sdk, "echo", text, stream=True)), text)


@case
def the_older_completions_endpoint_answers_and_streams(sdk):
    client = sdk.connect()
    plain = client.completions.create(model="llama3.1-8b", prompt="Once upon a time")
    assert plain.choices[0].text
    streamed = client.completions.create(model="llama3.1-8b", prompt="Once upon a time", stream=True)
    equal("".join(chunk.choices[0].text or "" for chunk in streamed), plain.choices[0].text)


@case
def the_models_of_the_configuration_are_listed(sdk):
    client = sdk.connect()
    contains([model.id for model in client.models.list().data], "llama3.3-70b")
    equal(client.models.retrieve("echo").id, "echo")
    raises(sdk.module.NotFoundError, lambda: client.models.retrieve("never-made"))


# Tools and formats


@case
def a_tool_is_called_with_arguments_that_parse(sdk):
    call = ask(sdk, "llama3.3-70b", "Use get_weather", tools=[WEATHER]).choices[0].message.tool_calls[0]
    equal(call.function.name, "get_weather")
    equal(sorted(json.loads(call.function.arguments)), ["city", "days"])


@case
def the_arguments_of_a_streamed_tool_call_add_up(sdk):
    plain = ask(sdk, "llama3.3-70b", "Use get_weather", tools=[WEATHER]).choices[0].message.tool_calls[0]
    name, arguments = "", ""
    for chunk in ask(sdk, "llama3.3-70b", "Use get_weather", tools=[WEATHER], stream=True):
        for part in chunk.choices[0].delta.tool_calls or []:
            name += part.function.name or ""
            arguments += part.function.arguments or ""
    equal((name, arguments), (plain.function.name, plain.function.arguments))


@case
def the_result_of_a_tool_can_be_sent_back(sdk):
    call = {"id": "call_1", "type": "function", "function": {"name": "get_weather", "arguments": '{"city":"Bern","days":1}'}}
    messages = user("What is the weather in Bern?") + [
        {"role": "assistant", "content": None, "tool_calls": [call]},
        {"role": "tool", "tool_call_id": "call_1", "content": "Sunny, 21 degrees"},
    ]
    answer = sdk.connect().chat.completions.create(model="llama3.3-70b", messages=messages, tools=[WEATHER])
    contains(answer.choices[0].message.content, "Sunny, 21 degrees")


@case
def a_json_schema_is_answered_with_json(sdk):
    contact = json.loads(ask(sdk, "llama3.3-70b", "A contact", response_format=CONTACT).choices[0].message.content)
    equal(sorted(contact), ["age", "email"])
    assert isinstance(contact["age"], int)


# Policies


@case
def a_blocked_prompt_is_one_request_and_one_exception(sdk):
    client = sdk.connect()  # With its default retries.
    with Requests() as requests:
        error = raises(
            sdk.module.ConflictError,
            lambda: client.chat.completions.create(model="llama3.3-70b", messages=user(ATTACK)),
        )
    equal(requests.count, 1)
    assert requests.seconds < 1, f"{requests.seconds:.2f} s"
    equal(error.status_code, 409)
    contains(str(error), "potential prompt injection")
    equal(error.body["code"], "input_blocked")
    lacks(json.dumps(get(f"{SIMULATOR}/sim/last")), ATTACK)


@case
def a_blocked_prompt_of_a_stream_is_an_exception_before_the_stream(sdk):
    client = sdk.connect()
    with Requests() as requests:
        error = raises(
            sdk.module.ConflictError,
            lambda: client.chat.completions.create(model="llama3.3-70b", messages=user(ATTACK), stream=True),
        )
    equal(requests.count, 1)
    assert requests.seconds < 1, f"{requests.seconds:.2f} s"
    contains(str(error), "potential prompt injection")


@case
def a_block_is_recorded_with_its_reason(sdk):
    client, wanted = sdk.connect(), request_id()
    headers = {"x-request-id": wanted}
    raises(
        sdk.module.ConflictError,
        lambda: client.chat.completions.create(model="llama3.3-70b", messages=user(ATTACK), extra_headers=headers),
    )
    record = json.dumps(completed_record(wanted))
    contains(record, '"outcome": "denied"')
    contains(record, "prompt_injection.detected")
    lacks(record, "previous instructions")


@case
def personal_data_is_gone_before_the_provider_reads_it(sdk):
    said = "Mail jane.doe@example.com, card 4111 1111 1111 1111."
    answer = ask(sdk, "echo", said)
    sent = get(f"{SIMULATOR}/sim/last")["body"]["messages"][0]["content"]
    equal(sent, "Mail [EMAIL_REDACTED], card [CREDIT_CARD_REDACTED].")
    equal(answer.choices[0].message.content, sent)


@case
def personal_data_is_gone_from_a_stream(sdk):
    text = text_of(ask(sdk, "echo", "Mail jane.doe@example.com or call 415-555-2671 today.", stream=True))
    equal(text, "Mail [EMAIL_REDACTED] or call [PHONE_REDACTED] today.")


@case
def personal_data_the_provider_made_is_redacted_plain_and_streamed(sdk):
    plain = ask(sdk, "llama3.3-70b", "A contact", response_format=CONTACT).choices[0].message.content
    equal(json.loads(plain)["email"], "[EMAIL_REDACTED]")
    streamed = text_of(ask(sdk, "llama3.3-70b", "A contact", response_format=CONTACT, stream=True))
    equal(streamed, plain)


@case
def personal_data_in_streamed_tool_arguments_is_redacted_and_they_still_parse(sdk):
    parameters = {"type": "object", "properties": {"to": {"type": "string", "format": "email"}}, "required": ["to"]}
    tool = {"type": "function", "function": {"name": "send_mail", "parameters": parameters}}
    arguments = ""
    for chunk in ask(sdk, "llama3.3-70b", "Use send_mail", tools=[tool], stream=True):
        for part in chunk.choices[0].delta.tool_calls or []:
            arguments += part.function.arguments or ""
    equal(json.loads(arguments), {"to": "[EMAIL_REDACTED]"})


# Errors


@case
def a_wrong_key_at_the_provider_is_an_authentication_error(sdk):
    error = raises(sdk.module.AuthenticationError, lambda: ask(sdk, "sim-401"))
    contains(str(error), "Wrong API Key")


@case
def an_unknown_model_is_not_found(sdk):
    error = raises(sdk.module.NotFoundError, lambda: ask(sdk, "model-nobody-has"))
    contains(str(error), "model-nobody-has does not exist")
    equal(error.body["code"], "model_not_found")


@case
def a_rate_limit_is_a_rate_limit_error_with_its_pause(sdk):
    unparked("sim-429")
    error = raises(sdk.module.RateLimitError, lambda: ask(sdk, "sim-429"))
    contains(str(error), "Requests per second limit exceeded")
    equal(error.response.headers["retry-after"], "1")


@case
def a_broken_provider_is_an_internal_server_error(sdk):
    error = raises(sdk.module.InternalServerError, lambda: ask(sdk, "sim-500"))
    contains(str(error), "Encountered a server error")
    unparked("sim-503")
    error = raises(sdk.module.InternalServerError, lambda: ask(sdk, "sim-503"))
    contains(str(error), "temporarily unavailable")


@case
def an_error_page_in_html_becomes_a_readable_error(sdk):
    error = raises(sdk.module.InternalServerError, lambda: ask(sdk, "sim-html"))
    lacks(str(error), "<html>")
    assert isinstance(error.body, dict), error.body


@case
def a_request_too_large_is_refused_with_its_limit(sdk):
    error = raises(sdk.module.APIStatusError, lambda: ask(sdk, "echo", "x" * 2_000_000, max_tokens=5))
    equal(error.status_code, 413)
    contains(str(error), "1048576")


@case
def an_unknown_path_is_not_found_and_names_what_there_is(sdk):
    error = raises(sdk.module.NotFoundError, lambda: sdk.connect().get("/nothing/here", cast_to=object))
    contains(str(error), "/v1/chat/completions")


@case
def an_error_inside_a_stream_is_raised(sdk):
    error = raises(sdk.module.APIError, lambda: text_of(ask(sdk, "sim-error-event", stream=True)))
    contains(str(error), "Encountered a server error")


@case
def a_stream_that_breaks_off_never_looks_complete(sdk):
    raises(Exception, lambda: text_of(ask(sdk, "sim-truncated", stream=True)))


# Connections


@case
def a_client_that_leaves_ends_the_stream_at_the_provider(sdk):
    wanted = request_id()
    before = get(f"{SIMULATOR}/sim/counts")["abandoned"]
    stream = ask(sdk, "sim-slow-tokens-50", stream=True, extra_headers={"x-request-id": wanted})
    next(iter(stream))
    stream.close()
    eventually(lambda: get(f"{SIMULATOR}/sim/counts")["abandoned"] > before, within=2.0)
    equal(json.dumps(completed_record(wanted)).count('"outcome": "aborted"'), 1)


@case
def a_client_that_leaves_after_the_last_event_had_a_success(sdk):
    wanted = request_id()
    text_of(ask(sdk, "llama3.1-8b", stream=True, extra_headers={"x-request-id": wanted}))
    contains(json.dumps(completed_record(wanted)), '"outcome": "success"')


@case
def fifty_threads_share_a_client(sdk):
    client, together = sdk.connect(max_retries=0), threading.Barrier(50)

    def one(number):
        together.wait()
        said = f"number {number}"
        if number % 2:
            return said, client.chat.completions.create(model="echo", messages=user(said)).choices[0].message.content
        return said, text_of(client.chat.completions.create(model="echo", messages=user(said), stream=True))

    with ThreadPoolExecutor(50) as pool:
        for said, answer in pool.map(one, range(50)):
            equal(answer, said)


@case
def tls_carries_answers_streams_and_refusals(sdk):
    with sdk.connect(TLS) as client:
        for _ in range(5):
            said = "Mail jane.doe@example.com " + "again " * 5_000
            answer = client.chat.completions.create(model="echo", messages=user(said), max_tokens=8)
            contains(answer.choices[0].message.content, "Mail [EMAIL_REDACTED]")
            stream = client.chat.completions.create(model="llama3.1-8b", messages=user("Hello"), stream=True)
            contains(text_of(stream), "simulator")
        error = raises(sdk.module.ConflictError, lambda: client.chat.completions.create(model="echo", messages=user(ATTACK)))
        contains(str(error), "potential prompt injection")


# The asynchronous clients


@case
async def the_asynchronous_client_answers_and_streams(sdk):
    async with sdk.connect_async() as client:
        plain = await client.chat.completions.create(model="llama3.1-8b", messages=user("Hello"))
        stream = await client.chat.completions.create(model="llama3.1-8b", messages=user("Hello"), stream=True)
        text = "".join([chunk.choices[0].delta.content or "" async for chunk in stream])
        equal(text, plain.choices[0].message.content)


@case
async def the_asynchronous_client_is_blocked_once(sdk):
    async with sdk.connect_async() as client:
        with Requests() as requests:
            awaitable = client.chat.completions.create(model="llama3.3-70b", messages=user(ATTACK))
            error = await raises_async(sdk.module.ConflictError, awaitable)
        equal(requests.count, 1)
        contains(str(error), "potential prompt injection")


@case
async def fifty_tasks_share_an_asynchronous_client(sdk):
    async with sdk.connect_async(max_retries=0) as client:

        async def one(number):
            said = f"task {number}"
            answer = await client.chat.completions.create(model="echo", messages=user(said))
            equal(answer.choices[0].message.content, said)

        await asyncio.gather(*(one(number) for number in range(50)))
