// The `openai` package for Node.

import assert from "node:assert/strict";
import OpenAI from "openai";
import {
  ATTACK, DOCUMENTED, GATEWAY, SIMULATOR, TLS,
  completedRecord, contains, counted, eventually, get, requestId, run, test, thrown, unparked, user,
} from "./cases.mjs";

const client = (options = {}) => new OpenAI({ baseURL: `${GATEWAY}/v1`, apiKey: "unused", ...options });
const ask = (model, text = "Hello", options = {}, request = {}) =>
  client({ maxRetries: 0 }).chat.completions.create({ model, messages: user(text), ...options }, request);

/** The text of a stream, read as the documentation does: the first choice of every chunk, unguarded. */
async function textOf(stream) {
  let text = "";
  for await (const chunk of await stream) text += chunk.choices[0].delta.content ?? "";
  return text;
}

const parameters = (properties) =>
  ({ type: "object", properties, required: Object.keys(properties), additionalProperties: false });
const tool = (name, properties) => ({ type: "function", function: { name, parameters: parameters(properties) } });
const weather = tool("get_weather", { city: { type: "string" }, days: { type: "integer" } });
const contact = {
  type: "json_schema",
  json_schema: { name: "contact", strict: true, schema: parameters({ email: { type: "string", format: "email" } }) },
};

// Answers

test("the documented configuration answers and streams", async () => {
  const documented = client({ baseURL: `${DOCUMENTED}/v1` });
  const request = { model: "llama3.3-70b", messages: user("Hello!") };
  contains((await documented.chat.completions.create(request)).choices[0].message.content, "simulator");
  contains(await textOf(documented.chat.completions.create({ ...request, stream: true })), "simulator");
});

test("a plain answer is complete and says who gave it", async () => {
  const { data, response } = await ask("llama3.1-8b").withResponse();
  assert.equal(data.choices[0].finish_reason, "stop");
  assert.ok(data.usage.total_tokens > 0);
  assert.equal(response.headers.get("x-keeptrusts-verdict"), "allow");
  assert.equal(response.headers.get("x-keeptrusts-model"), "llama3.1-8b");
});

test("a stream says the same as the plain answer", async () => {
  const plain = (await ask("llama3.1-8b")).choices[0].message.content;
  assert.equal(await textOf(ask("llama3.1-8b", "Hello", { stream: true })), plain);
});

test("a stream arrives while it is made", async () => {
  const began = performance.now();
  let first;
  for await (const _ of await ask("sim-slow-tokens-50", "Hello", { stream: true })) first ??= performance.now() - began;
  assert.ok(first < (performance.now() - began) / 4, `the first chunk came after ${first} ms`);
});

test("an OpenAI-style stream has a choice in every chunk when nobody asked for usage", async () => {
  for await (const chunk of await ask("gpt-4o", "Hello", { stream: true, max_tokens: 20 })) assert.equal(chunk.choices.length, 1);
});

test("an unusual text comes back as it went", async () => {
  const text = 'grüße 👩‍👩‍👧 \u2028 "quoted" \\ back\tslash 中文 😀 end';
  assert.equal((await ask("echo", text)).choices[0].message.content, text);
  assert.equal(await textOf(ask("echo", text, { stream: true })), text);
});

test("the models of the configuration are listed", async () => {
  const models = await client().models.list();
  assert.ok(models.data.some((model) => model.id === "llama3.3-70b"));
});

test("embeddings arrive as numbers", async () => {
  const answer = await client().embeddings.create({ model: "text-embedding-3-small", input: "one" });
  const length = answer.data[0].embedding.reduce((sum, number) => sum + number * number, 0);
  assert.ok(Math.abs(length - 1) < 1e-3, `${length}`);
});

// Tools and formats

test("a tool is called with arguments that parse", async () => {
  const [call] = (await ask("llama3.3-70b", "Use get_weather", { tools: [weather] })).choices[0].message.tool_calls;
  assert.deepEqual(Object.keys(JSON.parse(call.function.arguments)).sort(), ["city", "days"]);
});

test("the arguments of a streamed tool call add up", async () => {
  const plain = (await ask("llama3.3-70b", "Use get_weather", { tools: [weather] })).choices[0].message.tool_calls[0];
  const stream = client().chat.completions.stream({ model: "llama3.3-70b", messages: user("Use get_weather"), tools: [weather] });
  const [call] = (await stream.finalChatCompletion()).choices[0].message.tool_calls;
  assert.deepEqual(call.function.arguments, plain.function.arguments);
});

test("a JSON schema is answered with JSON", async () => {
  const answer = await ask("llama3.3-70b", "A contact", { response_format: contact });
  assert.deepEqual(Object.keys(JSON.parse(answer.choices[0].message.content)), ["email"]);
});

// Policies

for (const stream of [false, true]) {
  test(`a blocked prompt is one request and one exception, ${stream ? "streamed" : "plain"}`, async () => {
    const request = { model: "llama3.3-70b", messages: user(ATTACK), stream };
    const { result: error, requests, seconds } = await counted(() => thrown(() => client().chat.completions.create(request)));
    assert.ok(error instanceof OpenAI.ConflictError, String(error));
    contains(error.message, "potential prompt injection");
    assert.equal(error.code, "input_blocked");
    assert.equal(requests, 1);
    assert.ok(seconds < 1, `${seconds} s`);
  });
}

test("personal data is gone before the provider reads it and from the answer", async () => {
  const redacted = "Mail [EMAIL_REDACTED] or call [PHONE_REDACTED].";
  const answer = await ask("echo", "Mail jane.doe@example.com or call 415-555-2671.");
  assert.equal((await get(`${SIMULATOR}/sim/last`)).body.messages[0].content, redacted);
  assert.equal(answer.choices[0].message.content, redacted);
  assert.equal(await textOf(ask("echo", "Mail jane.doe@example.com or call 415-555-2671.", { stream: true })), redacted);
});

test("personal data the provider made is redacted plain and streamed", async () => {
  const plain = (await ask("llama3.3-70b", "A contact", { response_format: contact })).choices[0].message.content;
  assert.deepEqual(JSON.parse(plain), { email: "[EMAIL_REDACTED]" });
  assert.equal(await textOf(ask("llama3.3-70b", "A contact", { response_format: contact, stream: true })), plain);
});

// Errors

for (const [model, kind, status, words] of [
  ["sim-401", OpenAI.AuthenticationError, 401, "Wrong API Key"],
  ["model-nobody-has", OpenAI.NotFoundError, 404, "model-nobody-has does not exist"],
  ["sim-429", OpenAI.RateLimitError, 429, "Requests per second limit exceeded"],
  ["sim-500", OpenAI.InternalServerError, undefined, "Encountered a server error"],
  ["sim-503", OpenAI.InternalServerError, undefined, "temporarily unavailable"],
]) {
  test(`${model} is a ${kind.name} with the provider's words`, async () => {
    await unparked(model);
    const error = await thrown(() => ask(model));
    assert.ok(error instanceof kind, String(error));
    if (status) assert.equal(error.status, status);
    contains(error.message, words);
  });
}

test("a request too large is refused with its limit", async () => {
  const error = await thrown(() => ask("echo", "x".repeat(2_000_000), { max_tokens: 5 }));
  assert.equal(error.status, 413);
  contains(error.message, "1048576");
});

test("an unknown path is not found and names what there is", async () => {
  const error = await thrown(() => client().responses.create({ model: "llama3.3-70b", input: "Hello" }));
  assert.ok(error instanceof OpenAI.NotFoundError, String(error));
  contains(error.message, "/v1/chat/completions");
});

test("an error inside a stream is raised", async () => {
  const error = await thrown(() => textOf(ask("sim-error-event", "Hello", { stream: true })));
  contains(error.message, "Encountered a server error");
});

test("a stream that breaks off never looks complete", async () => {
  await thrown(() => textOf(ask("sim-truncated", "Hello", { stream: true })));
});

// Connections

test("a client that leaves ends the stream at the provider", async () => {
  const wanted = requestId();
  const before = (await get(`${SIMULATOR}/sim/counts`)).abandoned;
  const stream = await ask("sim-slow-tokens-50", "Hello", { stream: true }, { headers: { "x-request-id": wanted } });
  for await (const _ of stream) break; // Leaving the loop aborts the request.
  await eventually(async () => (await get(`${SIMULATOR}/sim/counts`)).abandoned > before, 2000);
  contains(await completedRecord(wanted), '"outcome":"aborted"');
});

test("TLS carries answers and streams", async () => {
  const encrypted = client({ baseURL: `${TLS}/v1`, maxRetries: 0 }).chat.completions;
  const request = { model: "echo", messages: user("Hello") };
  assert.equal((await encrypted.create(request)).choices[0].message.content, "Hello");
  assert.equal(await textOf(encrypted.create({ ...request, stream: true })), "Hello");
});

test("fifty promises share a client", async () => {
  const shared = client({ maxRetries: 0 });
  const one = async (number) => {
    const request = { model: "echo", messages: user(`number ${number}`) };
    const answer = number % 2
      ? (await shared.chat.completions.create(request)).choices[0].message.content
      : await textOf(shared.chat.completions.create({ ...request, stream: true }));
    assert.equal(answer, `number ${number}`);
  };
  await Promise.all(Array.from({ length: 50 }, (_, number) => one(number)));
});

await run("openai (Node)");
