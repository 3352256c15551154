"""The `cerebras_cloud_sdk` package for Python. Its base URL is the host alone: its paths begin with /v1."""

import time

import cerebras.cloud.sdk as cerebras

from cases import GATEWAY, Requests, case, equal, run
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


run("cerebras_cloud_sdk (Python)", Sdk(cerebras, cerebras.Cerebras, cerebras.AsyncCerebras, ""))
