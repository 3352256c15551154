// The `ai` package for Node (the Vercel AI SDK) with `@ai-sdk/openai-compatible`.

import assert from "node:assert/strict";
import { createOpenAICompatible } from "@ai-sdk/openai-compatible";
import { APICallError, RetryError, embed, generateObject, generateText, jsonSchema, streamText, tool } from "ai";
import {
  ATTACK, DOCUMENTED, GATEWAY, SIMULATOR,
  completedRecord, contains, counted, eventually, get, requestId, run, test, thrown, unparked,
} from "./cases.mjs";

const provider = (base = GATEWAY) => createOpenAICompatible({ name: "kt", baseURL: `${base}/v1`, apiKey: "unused" });
const model = (id) => provider()(id);
const once = { maxRetries: 0 };

/** The text of a stream; its error, if it had one, is thrown. */
async function textOf(options) {
  let text = "";
  for await (const part of streamText({ ...once, onError() {}, ...options }).fullStream) {
    if (part.type === "error") throw part.error;
    if (part.type === "text-delta") text += part.text;
  }
  return text;
}

const object = (properties) =>
  jsonSchema({ type: "object", properties, required: Object.keys(properties), additionalProperties: false });
const weather = tool({ inputSchema: object({ city: { type: "string" }, days: { type: "integer" } }) });

// Answers

test("the documented configuration answers and streams", async () => {
  const documented = provider(DOCUMENTED)("llama3.3-70b");
  contains((await generateText({ model: documented, prompt: "Hello!" })).text, "simulator");
  contains(await textOf({ model: documented, prompt: "Hello!" }), "simulator");
});

test("a plain answer is complete", async () => {
  const answer = await generateText({ model: model("llama3.1-8b"), prompt: "Hello" });
  assert.equal(answer.finishReason, "stop");
  assert.ok(answer.usage.totalTokens > 0);
  assert.equal(answer.response.headers["x-keeptrusts-verdict"], "allow");
});

test("a stream says the same as the plain answer", async () => {
  const plain = (await generateText({ model: model("llama3.1-8b"), prompt: "Hello" })).text;
  assert.equal(await textOf({ model: model("llama3.1-8b"), prompt: "Hello" }), plain);
});

test("an embedding arrives as numbers", async () => {
  const { embedding } = await embed({ model: provider().textEmbeddingModel("text-embedding-3-small"), value: "one" });
  const length = embedding.reduce((sum, number) => sum + number * number, 0);
  assert.ok(Math.abs(length - 1) < 1e-3, `${length}`);
});

// Tools and formats

test("a tool is called with arguments that parse", async () => {
  const answer = await generateText({ model: model("llama3.3-70b"), prompt: "Use get_weather", tools: { get_weather: weather } });
  assert.deepEqual(Object.keys(answer.toolCalls[0].input).sort(), ["city", "days"]);
});

test("the arguments of a streamed tool call add up", async () => {
  const request = { model: model("llama3.3-70b"), prompt: "Use get_weather", tools: { get_weather: weather } };
  const [plain] = (await generateText(request)).toolCalls;
  const [streamed] = await streamText(request).toolCalls;
  assert.deepEqual(streamed.input, plain.input);
});

test("an object of a schema is generated", async () => {
  const schema = object({ x: { type: "integer" }, y: { type: "integer" } });
  const structured = createOpenAICompatible({
    name: "kt", baseURL: `${GATEWAY}/v1`, apiKey: "unused", supportsStructuredOutputs: true,
  });
  const { object: point } = await generateObject({ model: structured("llama3.3-70b"), prompt: "A point", schema });
  assert.ok(Number.isInteger(point.x) && Number.isInteger(point.y), JSON.stringify(point));
});

// Policies

test("a blocked prompt is one exception and costs no pause", async () => {
  // This package reads no header that forbids a retry: it asks three times, two seconds apart unless told otherwise.
  const { result: error, requests, seconds } = await counted(() =>
    thrown(() => generateText({ model: model("llama3.3-70b"), prompt: ATTACK })));
  const last = RetryError.isInstance(error) ? error.lastError : error;
  assert.ok(APICallError.isInstance(last), String(error));
  assert.equal(last.statusCode, 409);
  contains(error.message, "potential prompt injection");
  assert.ok(requests <= 3, `${requests} requests`);
  assert.ok(seconds < 1, `${seconds} s`);
});

test("a blocked prompt without retries is one request, plain and streamed", async () => {
  const request = { model: model("llama3.3-70b"), prompt: ATTACK, ...once };
  for (const action of [() => generateText(request), () => textOf(request)]) {
    const { result: error, requests, seconds } = await counted(() => thrown(action));
    assert.ok(APICallError.isInstance(error), String(error));
    contains(error.message, "potential prompt injection");
    assert.equal(requests, 1);
    assert.ok(seconds < 1, `${seconds} s`);
  }
});

test("personal data is gone before the provider reads it and from the answer", async () => {
  const request = { model: model("echo"), prompt: "Mail jane.doe@example.com or call 415-555-2671." };
  const redacted = "Mail [EMAIL_REDACTED] or call [PHONE_REDACTED].";
  assert.equal((await generateText(request)).text, redacted);
  contains(JSON.stringify((await get(`${SIMULATOR}/sim/last`)).body.messages), redacted);
  assert.equal(await textOf(request), redacted);
});

// Errors

for (const [id, status, words] of [
  ["sim-401", 401, "Wrong API Key"],
  ["model-nobody-has", 404, "model-nobody-has does not exist"],
  ["sim-429", 429, "Requests per second limit exceeded"],
  ["sim-500", undefined, "Encountered a server error"],
  ["sim-503", undefined, "temporarily unavailable"],
]) {
  test(`${id} is an error with the provider's words`, async () => {
    await unparked(id);
    const error = await thrown(() => generateText({ model: model(id), prompt: "Hello", ...once }));
    assert.ok(APICallError.isInstance(error), String(error));
    if (status) assert.equal(error.statusCode, status);
    assert.ok(status || error.statusCode >= 500, `${error.statusCode}`);
    contains(error.message, words);
  });
}

test("a request too large is refused with its limit", async () => {
  const request = { model: model("echo"), prompt: "x".repeat(2_000_000), maxOutputTokens: 5, ...once };
  const error = await thrown(() => generateText(request));
  assert.equal(error.statusCode, 413);
  contains(error.message, "1048576");
});

test("an unknown path is not found and names what there is", async () => {
  const lost = createOpenAICompatible({ name: "kt", baseURL: `${GATEWAY}/v1/nothing`, apiKey: "unused" });
  const error = await thrown(() => generateText({ model: lost("echo"), prompt: "Hello", ...once }));
  assert.equal(error.statusCode, 404);
  contains(error.message, "/v1/chat/completions");
});

test("an error inside a stream is raised", async () => {
  const error = await thrown(() => textOf({ model: model("sim-error-event"), prompt: "Hello" }));
  contains(String(error?.message ?? error), "Encountered a server error");
});

test("a stream that breaks off never looks complete", async () => {
  await thrown(() => textOf({ model: model("sim-truncated"), prompt: "Hello" }));
});

// Connections

test("a client that leaves ends the stream at the provider", async () => {
  const wanted = requestId();
  const before = (await get(`${SIMULATOR}/sim/counts`)).abandoned;
  const leave = new AbortController();
  const request = { model: model("sim-slow-tokens-50"), prompt: "Hello", headers: { "x-request-id": wanted } };
  for await (const part of streamText({ ...once, ...request, abortSignal: leave.signal, onError() {} }).fullStream) {
    if (part.type === "text-delta") leave.abort();
  }
  await eventually(async () => (await get(`${SIMULATOR}/sim/counts`)).abandoned > before, 2000);
  contains(await completedRecord(wanted), '"outcome":"aborted"');
});

test("fifty promises share a provider", async () => {
  const echo = model("echo");
  const one = async (number) => {
    const request = { model: echo, prompt: `number ${number}`, ...once };
    assert.equal(number % 2 ? (await generateText(request)).text : await textOf(request), `number ${number}`);
  };
  await Promise.all(Array.from({ length: 50 }, (_, number) => one(number)));
});

await run("ai (Node)");
