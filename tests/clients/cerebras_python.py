"""The `cerebras_cloud_sdk` package for Python. Its base URL is the host alone: its paths begin with /v1."""

import asyncio

import cerebras.cloud.sdk as cerebras

from cases import TLS, Requests, case, equal, run, user
from python_sdk import Sdk, ask


@case
def building_a_client_warms_up_at_once_and_is_no_request(sdk):
    # The constructor waits for /v1/tcp_warming, and retries it twice if it is not answered well.
    with Requests() as requests:
        sdk.connect()
    assert requests.seconds < 0.5, f"{requests.seconds:.2f} s"
    equal(requests.count, 0)


@case
def the_times_of_cerebras_survive(sdk):
    assert ask(sdk, "llama3.3-70b").time_info.total_time > 0
    *_, last = ask(sdk, "llama3.3-70b", stream=True)
    assert last.time_info.total_time > 0 and last.usage.total_tokens > 0


@case
def over_tls_it_speaks_http_2_as_it_does_to_cerebras(sdk):
    with sdk.connect(TLS) as client:
        raw = client.chat.completions.with_raw_response.create(model="llama3.3-70b", messages=user("Hello"))
        equal(raw.http_response.http_version, "HTTP/2")


@case
async def fifty_streams_share_one_http_2_connection(sdk):
    async with sdk.connect_async(TLS, max_retries=0) as client:

        async def one(number):
            said = f"stream {number}"
            stream = await client.chat.completions.create(model="echo", messages=user(said), stream=True)
            equal("".join([chunk.choices[0].delta.content or "" async for chunk in stream]), said)

        await asyncio.gather(*(one(number) for number in range(50)))


run("cerebras_cloud_sdk (Python)", Sdk(cerebras, cerebras.Cerebras, cerebras.AsyncCerebras, ""))
