"""curl: what a person types, and what no SDK would send."""

import gzip
import json
import os
import subprocess
import tempfile

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
    request_id,
    run,
    unparked,
    user,
)


class Answer:
    """What curl printed: status, headers (names in lower case), body."""

    def __init__(self, head, body):
        *_, last = [block for block in head.replace("\r", "").split("\n\n") if block.startswith("HTTP/")]
        status, *lines = last.strip().split("\n")
        self.status = int(status.split()[1])
        self.headers = {name.lower(): value.strip() for name, value in (line.split(":", 1) for line in lines)}
        self.body = body

    def json(self):
        return json.loads(self.body)


def curl(url, *options, data=None):
    """Runs curl to its end."""
    with tempfile.TemporaryDirectory() as place:
        head = os.path.join(place, "head")
        command = ["curl", "-sS", "--max-time", "20", "-D", head, url, *options]
        if data is not None:
            command += ["--data-binary", "@-"]
        done = subprocess.run(command, input=data, capture_output=True, timeout=30)
        assert done.returncode == 0, done.stderr.decode()
        with open(head, encoding="utf-8") as file:
            return Answer(file.read(), done.stdout.decode())


def post(body, *options, path="/v1/chat/completions", base=GATEWAY):
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    return curl(base + path, "-H", "content-type: application/json", *options, data=data)


def chat(model, text="Hello", **fields):
    return post({"model": model, "messages": user(text), **fields})


def events(answer):
    return [event[len("data: ") :] for event in answer.body.split("\n\n") if event]


def is_refusal(answer, status, code):
    """An error in the one body every SDK reads."""
    equal(answer.status, status)
    equal(answer.headers["content-type"], "application/json")
    body = answer.json()
    equal(body["code"], code)
    equal(body["status_code"], status)
    for field in ("message", "type", "param", "code"):
        assert isinstance(body[field], str), f"{field} is {body[field]!r}"
        equal(body["error"][field], body[field])
    equal(body["error"]["request_id"], answer.headers["x-request-id"])
    return body["message"]


# Answers


@case
def the_documented_configuration_answers_without_a_key():
    answer = post({"model": "llama3.3-70b", "messages": user("Hello!")}, base=DOCUMENTED)
    equal(answer.status, 200)
    equal(answer.headers["x-keeptrusts-target"], "cerebras-llama")
    contains(answer.json()["choices"][0]["message"]["content"], "simulator")


@case
def a_stream_is_data_lines_alone_and_ends_with_done():
    answer = chat("llama3.1-8b", stream=True)
    equal(answer.headers["content-type"].split(";")[0], "text/event-stream")
    equal(answer.headers["cache-control"], "no-cache")
    equal(answer.headers["x-accel-buffering"], "no")
    lacks(answer.headers, "content-encoding")
    assert all(line == "" or line.startswith("data: ") for line in answer.body.split("\n")), answer.body[:500]
    equal(events(answer)[-1], "[DONE]")
    equal(answer.body.count("[DONE]"), 1)


@case
def the_health_pages_answer():
    equal(curl(f"{GATEWAY}/healthz").status, 200)
    equal(curl(f"{GATEWAY}/readyz").status, 200)
    health = curl(f"{GATEWAY}/health").json()
    # The targets that fail on purpose may be parked.
    contains(["healthy", "degraded"], health["status"])


@case
def a_request_id_is_kept_or_made():
    equal(post({"model": "echo", "messages": user("x")}, "-H", "x-request-id: mine-1").headers["x-request-id"], "mine-1")
    assert chat("echo").headers["x-request-id"]


@case
def the_callers_key_never_reaches_the_provider():
    post({"model": "echo", "messages": user("x")}, "-H", "authorization: Bearer caller-key", "-H", "cookie: a=b")
    headers = get(f"{SIMULATOR}/sim/last")["headers"]
    contains(headers["authorization"], "Bearer simu...")  # The simulator shows the beginning of a key.
    lacks(headers, "cookie")


@case
def numbers_and_unknown_fields_arrive_as_they_were_written():
    answer = chat("llama3.3-70b")
    contains(answer.body, '"time_info":')
    written = b'"seed":12345678901234567890,"temperature":1e-5,"my_own":{"b":1,"a":2}'
    equal(post(b'{"model":"echo","messages":[{"role":"user","content":"x"}],' + written + b"}").status, 200)
    sent = get(f"{SIMULATOR}/sim/last")["body"]
    equal(sent["seed"], 12345678901234567890)
    equal(list(sent["my_own"]), ["b", "a"])


@case
def a_body_in_pieces_or_announced_is_read():
    body = json.dumps({"model": "echo", "messages": user("y" * 100_000), "max_tokens": 5}).encode()
    for option in ("transfer-encoding: chunked", "expect: 100-continue"):
        equal(post(body, "-H", option).status, 200)


@case
def a_compressed_body_is_read_and_judged():
    harmless = gzip.compress(json.dumps({"model": "echo", "messages": user("Hello")}).encode())
    answer = post(harmless, "-H", "content-encoding: gzip")
    equal((answer.status, answer.json()["choices"][0]["message"]["content"]), (200, "Hello"))
    attack = gzip.compress(json.dumps({"model": "echo", "messages": user(ATTACK)}).encode())
    is_refusal(post(attack, "-H", "content-encoding: gzip"), 409, "input_blocked")


# Policies


@case
def a_block_is_a_409_that_asks_not_to_be_repeated():
    with Requests() as requests:
        answer = chat("llama3.3-70b", ATTACK, stream=True)
    contains(is_refusal(answer, 409, "input_blocked"), "potential prompt injection")
    equal(answer.headers["x-should-retry"], "false")
    equal(answer.headers["retry-after-ms"], "1")
    equal(answer.headers["x-keeptrusts-verdict"], "block")
    equal(answer.json()["error"]["reason_code"], "prompt_injection.detected")
    equal(requests.count, 1)


@case
def redaction_leaves_the_rest_of_the_body_alone():
    answer = chat("echo", "Mail jane.doe@example.com", stream=True)
    equal(answer.headers["x-keeptrusts-verdict"], "redact")
    equal(answer.headers["x-keeptrusts-redactions"], "1")
    said = "".join(json.loads(event)["choices"][0]["delta"].get("content") or "" for event in events(answer)[:-1])
    equal(said, "Mail [EMAIL_REDACTED]")


# Errors


@case
def invalid_json_is_refused():
    is_refusal(post(b'{"model": "echo", "messages": ['), 400, "invalid_json")


@case
def a_key_written_twice_is_refused():
    body = b'{"model":"echo","messages":[{"role":"user","content":"a"}],"messages":[{"role":"user","content":"b"}]}'
    equal(post(body).status, 400)


@case
def an_empty_body_is_refused():
    equal(post(b"").status, 400)


@case
def a_body_that_is_not_json_by_its_type_is_refused():
    answer = curl(f"{GATEWAY}/v1/chat/completions", "-H", "content-type: text/plain", data=b'{"model":"echo"}')
    is_refusal(answer, 415, "unsupported_media_type")


@case
def a_wrong_method_is_refused_with_the_right_one():
    answer = curl(f"{GATEWAY}/v1/chat/completions")
    equal(answer.status, 405)
    equal(answer.headers["allow"], "POST")


@case
def an_unknown_path_is_refused():
    is_refusal(post({}, path="/v1/responses"), 404, "unknown_url")


@case
def a_body_too_large_is_refused():
    contains(post(b'{"x": "' + b"x" * 2_000_000 + b'"}').json()["message"], "1048576")


@case
def a_providers_error_keeps_its_status_words_and_headers():
    unparked("sim-429")
    answer = chat("sim-429")
    message = is_refusal(answer, 429, "request_quota_exceeded")
    contains(message, "Requests per second limit exceeded")
    equal(answer.headers["retry-after"], "1")


@case
def an_error_page_becomes_an_error_in_json():
    is_refusal(chat("sim-html"), 502, "upstream_error")


# Connections


@case
def curl_that_is_interrupted_ends_the_stream_at_the_provider():
    wanted = request_id()
    before = get(f"{SIMULATOR}/sim/counts")["abandoned"]
    body = json.dumps({"model": "sim-slow-tokens-50", "messages": user("Hello"), "stream": True})
    command = ["curl", "-sN", f"{GATEWAY}/v1/chat/completions", "-H", "content-type: application/json", "-d", body]
    with subprocess.Popen([*command, "-H", f"x-request-id: {wanted}"], stdout=subprocess.PIPE) as process:
        process.stdout.readline()
        process.terminate()
    eventually(lambda: get(f"{SIMULATOR}/sim/counts")["abandoned"] > before, within=2.0)
    contains(json.dumps(completed_record(wanted)), '"outcome": "aborted"')


@case
def both_versions_of_http_work_with_tls_and_without():
    body = {"model": "echo", "messages": user("Hello"), "stream": True}
    for base, option in ((TLS, "--http1.1"), (TLS, "--http2"), (GATEWAY, "--http1.1"), (GATEWAY, "--http2-prior-knowledge")):
        equal(events(post(body, option, base=base))[-1], "[DONE]")


@case
def fifty_curls_at_once_are_answered():
    body = json.dumps({"model": "echo", "messages": user("Hello")})
    options = ["-sS", "--max-time", "20", "-H", "content-type: application/json", "-d", body]
    command = ["curl", *options, f"{GATEWAY}/v1/chat/completions"]
    processes = [subprocess.Popen(command, stdout=subprocess.PIPE) for _ in range(50)]
    for process in processes:
        answer, _ = process.communicate(timeout=30)
        contains(answer.decode(), '"content":"Hello"')


run("curl")
