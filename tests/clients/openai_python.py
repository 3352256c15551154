"""The `openai` package for Python."""

import openai
from pydantic import BaseModel

from cases import case, contains, equal, raises, run, user
from python_sdk import Sdk


class Point(BaseModel):
    x: int
    y: int


@case
def a_structured_output_is_parsed_into_its_class(sdk):
    answer = sdk.connect().chat.completions.parse(model="llama3.3-70b", messages=user("A point"), response_format=Point)
    assert isinstance(answer.choices[0].message.parsed, Point), answer


@case
def the_stream_helper_gathers_the_whole_answer(sdk):
    client = sdk.connect()
    with client.chat.completions.stream(model="llama3.1-8b", messages=user("Hello")) as stream:
        for _ in stream:
            pass
        gathered = stream.get_final_completion().choices[0].message.content
    equal(gathered, client.chat.completions.create(model="llama3.1-8b", messages=user("Hello")).choices[0].message.content)


@case
def embeddings_arrive_as_numbers(sdk):
    # The package asks for base64 unless told otherwise, and decodes it.
    answer = sdk.connect().embeddings.create(model="text-embedding-3-small", input=["one", "two"])
    equal([item.index for item in answer.data], [0, 1])
    length = sum(number * number for number in answer.data[0].embedding)
    assert abs(length - 1) < 1e-3, length


@case
def the_responses_endpoint_is_not_found_rather_than_broken(sdk):
    error = raises(openai.NotFoundError, lambda: sdk.connect().responses.create(model="llama3.3-70b", input="Hello"))
    contains(str(error), "/v1/responses")


run("openai (Python)", Sdk(openai, openai.OpenAI, openai.AsyncOpenAI, "/v1"))
