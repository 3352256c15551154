//! The simulator as its callers see it: over HTTP, on a free port, unpaced.

mod faults;

use super::*;
use base64::Engine;
use reqwest::{Client, Response, StatusCode};
use serde_json::{Value, json};
use tokio::sync::watch;

/// A running simulator and a client of it; dropping it stops both.
struct Running {
    address: SocketAddr,
    client: Client,
    _stop: watch::Sender<bool>,
}

impl Running {
    fn start() -> Running {
        Running::with(Settings { tokens_per_second: Some(0), ..Settings::default() })
    }

    fn with(settings: Settings) -> Running {
        let simulator = Simulator::bind("127.0.0.1:0", settings).expect("a free port");
        let address = simulator.address();
        let (stop, stopping) = watch::channel(false);
        tokio::spawn(simulator.serve(stopping));
        Running { address, client: Client::new(), _stop: stop }
    }

    fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    async fn post(&self, path: &str, body: Value, headers: &[(&str, &str)]) -> reqwest::Result<Response> {
        let request = self.client.post(self.url(path)).json(&body);
        headers.iter().fold(request, |request, (name, value)| request.header(*name, *value)).send().await
    }

    async fn chat(&self, body: Value) -> Response {
        self.post("/v1/chat/completions", body, &[]).await.expect("an answer")
    }

    async fn get(&self, path: &str) -> Response {
        self.client.get(self.url(path)).send().await.expect("an answer")
    }
}

fn ask(model: &str, text: &str) -> Value {
    json!({"model": model, "messages": [{"role": "user", "content": text}]})
}

fn streamed(model: &str, text: &str) -> Value {
    let mut body = ask(model, text);
    body["stream"] = json!(true);
    body
}

/// The data of each event, `[DONE]` included.
fn events(body: &str) -> Vec<&str> {
    body.split("\n\n")
        .filter(|event| !event.is_empty())
        .map(|event| event.strip_prefix("data: ").expect("a data event"))
        .collect()
}

fn chunks(body: &str) -> Vec<Value> {
    events(body).into_iter().filter_map(|data| serde_json::from_str(data).ok()).collect()
}

fn content(chunks: &[Value]) -> String {
    chunks.iter().filter_map(|chunk| chunk.pointer("/choices/0/delta/content")?.as_str()).collect()
}

async fn json_of(response: Response) -> Value {
    response.json().await.expect("JSON")
}

/// Everything the body brings until it ends or breaks, and whether it broke.
async fn read_until_broken(mut response: Response) -> (String, bool) {
    let mut text = Vec::new();
    loop {
        match response.chunk().await {
            Ok(Some(part)) => text.extend_from_slice(&part),
            Ok(None) => return (String::from_utf8_lossy(&text).into_owned(), false),
            Err(_) => return (String::from_utf8_lossy(&text).into_owned(), true),
        }
    }
}

#[tokio::test]
async fn a_whole_answer_has_the_shape_cerebras_gives_it() {
    let simulator = Running::start();
    let response = simulator.chat(ask("llama3.3-70b", "Hello")).await;
    assert_eq!(response.headers()["x-ratelimit-limit-requests-day"], "1440000");
    let body = response.text().await.expect("a body");
    assert!(body.contains("\"queue_time\":0.000073161"), "{body}");
    let body: Value = serde_json::from_str(&body).expect("JSON");
    assert_eq!(body["object"], "chat.completion");
    assert_eq!(body["model"], "llama3.3-70b");
    assert_eq!(body["choices"][0]["finish_reason"], "stop");
    assert_eq!(body["choices"][0]["message"]["role"], "assistant");
    let usage = &body["usage"];
    assert_eq!(
        usage["total_tokens"].as_u64(),
        Some(usage["prompt_tokens"].as_u64().unwrap() + usage["completion_tokens"].as_u64().unwrap())
    );
    assert!(body["time_info"]["created"].is_u64());
}

#[tokio::test]
async fn a_cerebras_stream_carries_its_usage_on_a_chunk_with_a_choice() {
    let simulator = Running::start();
    let text = simulator.chat(streamed("llama3.1-8b", "Hello")).await.text().await.expect("a stream");
    let chunks = chunks(&text);
    assert_eq!(events(&text).last(), Some(&"[DONE]"));
    assert_eq!(chunks[0]["choices"][0]["delta"]["role"], "assistant");
    assert!(chunks.iter().all(|chunk| chunk["object"] == "chat.completion.chunk" && chunk["choices"][0].is_object()));
    let last = chunks.last().expect("a chunk");
    assert_eq!(last["choices"][0]["finish_reason"], "stop");
    assert!(last["usage"]["completion_tokens"].is_u64() && last["time_info"].is_object());
    let whole = json_of(simulator.chat(ask("llama3.1-8b", "Hello")).await).await;
    assert_eq!(json!(content(&chunks)), whole["choices"][0]["message"]["content"]);
}

#[tokio::test]
async fn an_openai_stream_carries_its_usage_only_when_asked_and_without_a_choice() {
    let simulator = Running::start();
    let mut body = streamed("gpt-4o", "Hello");
    let quiet = simulator.chat(body.clone()).await.text().await.expect("a stream");
    assert!(!quiet.contains("usage") && !quiet.contains("time_info"), "{quiet}");
    body["stream_options"] = json!({"include_usage": true});
    let chunks = chunks(&simulator.chat(body).await.text().await.expect("a stream"));
    let last = chunks.last().expect("a chunk");
    assert_eq!(last["choices"], json!([]));
    assert!(last["usage"]["total_tokens"].is_u64());
}

#[tokio::test]
async fn several_choices_are_told_side_by_side_and_each_ends() {
    let simulator = Running::start();
    let mut body = streamed("llama3.1-8b", "Hello");
    body["n"] = json!(3);
    let chunks = chunks(&simulator.chat(body).await.text().await.expect("a stream"));
    let finished = |index: u64| {
        let of = |chunk: &&Value| chunk["choices"][0]["index"] == index && chunk["choices"][0]["finish_reason"] == "stop";
        chunks.iter().filter(of).count()
    };
    assert_eq!([finished(0), finished(1), finished(2)], [1, 1, 1]);
    assert_eq!(chunks.iter().filter(|chunk| chunk["usage"].is_object()).count(), 1);
}

#[tokio::test]
async fn a_tool_that_is_named_is_called_and_its_result_answered() {
    let simulator = Running::start();
    let parameters =
        json!({"type": "object", "required": ["city"], "properties": {"city": {"type": "string"}, "days": {"type": "integer"}}});
    let mut body = streamed("llama3.3-70b", "Use get_weather for Paris");
    body["tools"] = json!([{"type": "function", "function": {"name": "get_weather", "parameters": parameters}}]);
    let chunks = chunks(&simulator.chat(body.clone()).await.text().await.expect("a stream"));
    let arguments: String =
        chunks.iter().filter_map(|chunk| chunk.pointer("/choices/0/delta/tool_calls/0/function/arguments")?.as_str()).collect();
    assert_eq!(serde_json::from_str::<Value>(&arguments).expect("JSON"), json!({"city": "simulated"}));
    assert!(chunks.iter().filter(|chunk| chunk.pointer("/choices/0/delta/tool_calls").is_some()).count() > 2);
    assert_eq!(chunks.last().expect("a chunk")["choices"][0]["finish_reason"], "tool_calls");

    body["stream"] = json!(false);
    let call = json_of(simulator.chat(body.clone()).await).await["choices"][0]["message"]["tool_calls"][0].clone();
    assert_eq!(call["function"]["name"], "get_weather");
    let id = call["id"].clone();
    body["messages"] = json!([
        {"role": "user", "content": "Use get_weather"}, {"role": "assistant", "tool_calls": [call]},
        {"role": "tool", "tool_call_id": id, "content": "sunny"}]);
    let answer = json_of(simulator.chat(body.clone()).await).await;
    assert_eq!(answer["choices"][0]["message"]["content"], "The tool returned: sunny");

    body["messages"] = json!([{"role": "user", "content": "Use get_weather"}]);
    body["tool_choice"] = json!("none");
    assert_eq!(json_of(simulator.chat(body).await).await["choices"][0]["finish_reason"], "stop");
}

#[tokio::test]
async fn a_schema_is_answered_with_an_instance_of_it() {
    let simulator = Running::start();
    let mut body = ask("llama3.3-70b", "Hello");
    let schema = json!({"type": "object", "required": ["ok"], "properties": {"ok": {"type": "boolean"}}});
    body["response_format"] = json!({"type": "json_schema", "json_schema": {"name": "x", "schema": schema}});
    let answer = json_of(simulator.chat(body.clone()).await).await;
    assert_eq!(answer["choices"][0]["message"]["content"], "{\"ok\":true}");
    body["response_format"] = json!({"type": "json_object"});
    let answer = json_of(simulator.chat(body).await).await;
    let text = answer["choices"][0]["message"]["content"].as_str().expect("content");
    assert!(serde_json::from_str::<Value>(text).expect("JSON").is_object());
}

#[tokio::test]
async fn gpt_oss_thinks_aloud_unless_told_not_to() {
    let simulator = Running::start();
    let mut body = ask("gpt-oss-120b", "Hello");
    let answer = json_of(simulator.chat(body.clone()).await).await;
    assert!(answer["choices"][0]["message"]["reasoning"].is_string());
    assert!(answer["usage"]["completion_tokens_details"]["reasoning_tokens"].as_u64() > Some(0));
    body["reasoning_effort"] = json!("none");
    assert!(json_of(simulator.chat(body).await).await["choices"][0]["message"].get("reasoning").is_none());
}

#[tokio::test]
async fn an_echo_streams_the_last_user_message_token_by_token() {
    let simulator = Running::start();
    let said = "Write to jane.doe@example.com, \"please\"\n\u{1f600}.";
    let text = simulator.chat(streamed("llama3.1-8b", &format!("echo: {said}"))).await.text().await.expect("a stream");
    assert_eq!(content(&chunks(&text)), said);
    assert!(chunks(&text).len() > 8);
    let response =
        simulator.post("/v1/chat/completions", ask("llama3.1-8b", said), &[("x-sim-echo", "1")]).await.expect("an answer");
    assert_eq!(json_of(response).await["choices"][0]["message"]["content"], said);
}

#[tokio::test]
async fn completions_speak_of_text() {
    let simulator = Running::start();
    let body = json!({"model": "llama3.1-8b", "prompt": "echo: once upon a time", "stream": true, "max_tokens": 3});
    let text = simulator.post("/v1/completions", body, &[]).await.expect("an answer").text().await.expect("a stream");
    let chunks = chunks(&text);
    let said: String = chunks.iter().filter_map(|chunk| chunk["choices"][0]["text"].as_str()).collect();
    assert_eq!(said, "once upon a");
    assert_eq!(chunks.last().expect("a chunk")["choices"][0]["finish_reason"], "length");
    assert!(chunks.iter().all(|chunk| chunk["object"] == "text_completion"));
}

#[tokio::test]
async fn embeddings_in_base64_are_the_numbers() {
    let simulator = Running::start();
    let mut body = json!({"model": "text-embedding-3-small", "input": ["a", "b"], "dimensions": 8});
    let numbers = json_of(simulator.post("/v1/embeddings", body.clone(), &[]).await.expect("an answer")).await;
    assert_eq!(numbers["data"][1]["index"], 1);
    body["encoding_format"] = json!("base64");
    let packed = json_of(simulator.post("/v1/embeddings", body, &[]).await.expect("an answer")).await;
    let bytes =
        base64::engine::general_purpose::STANDARD.decode(packed["data"][1]["embedding"].as_str().expect("text")).expect("base64");
    let vector: Vec<f32> = bytes.chunks_exact(4).map(|four| f32::from_le_bytes(four.try_into().expect("four"))).collect();
    assert_eq!(json!(vector), numbers["data"][1]["embedding"]);
    assert_eq!(vector.len(), 8);
}

#[tokio::test]
async fn models_are_listed_and_an_unknown_one_is_a_flat_404() {
    let simulator = Running::start();
    let list = json_of(simulator.get("/v1/models").await).await;
    assert!(list["data"].as_array().expect("a list").iter().any(|model| model["id"] == "llama-3.3-70b"));
    assert_eq!(json_of(simulator.get("/v1/models/llama3.1-8b").await).await["object"], "model");
    assert_eq!(simulator.get("/v1/tcp_warming").await.status(), StatusCode::OK);
    for response in [simulator.get("/v1/models/nobody").await, simulator.chat(ask("nobody", "Hello")).await] {
        assert_eq!(response.status(), StatusCode::NOT_FOUND);
        let body = json_of(response).await;
        assert_eq!(
            (&body["type"], &body["param"], &body["code"]),
            (&json!("not_found_error"), &json!("model"), &json!("model_not_found"))
        );
        assert!(body.get("error").is_none());
    }
}

#[tokio::test]
async fn strictness_names_the_field_cerebras_does_not_know() {
    let simulator = Running::start();
    let mut body = ask("llama3.1-8b", "Hello");
    body["store"] = json!(true);
    assert_eq!(simulator.chat(body.clone()).await.status(), StatusCode::OK);
    let refused = simulator.post("/v1/chat/completions", body, &[("x-sim-strict", "1")]).await.expect("an answer");
    assert_eq!(refused.status(), StatusCode::UNPROCESSABLE_ENTITY);
    let refused = json_of(refused).await;
    assert_eq!(refused["code"], "wrong_api_format");
    assert_eq!(refused["message"], "body.store: property 'body.store' is unsupported");
}

#[tokio::test]
async fn a_key_is_wanted_only_where_one_is_set() {
    let simulator = Running::with(Settings { api_key: Some("csk-1".into()), ..Settings::default() });
    assert_eq!(simulator.get("/v1/models").await.status(), StatusCode::UNAUTHORIZED);
    assert_eq!(simulator.get("/health").await.status(), StatusCode::OK);
    let with_key = simulator.client.get(simulator.url("/v1/models")).bearer_auth("csk-1").send().await.expect("an answer");
    assert_eq!(with_key.status(), StatusCode::OK);
}

#[tokio::test]
async fn the_last_request_can_be_looked_at() {
    let simulator = Running::start();
    simulator.chat(ask("llama3.1-8b", "my address is [EMAIL_REDACTED]")).await;
    let last = json_of(simulator.get("/sim/last").await).await;
    assert_eq!(last["path"], "/v1/chat/completions");
    assert_eq!(last["body"]["messages"][0]["content"], "my address is [EMAIL_REDACTED]");
    assert_eq!(last["headers"]["content-type"], "application/json");
}

#[tokio::test]
async fn cleartext_http2_is_spoken_on_the_same_port() {
    let simulator = Running::start();
    let client = Client::builder().http2_prior_knowledge().build().expect("a client");
    let send = |body: Value| client.post(simulator.url("/v1/chat/completions")).json(&body).send();
    let response = send(streamed("llama3.1-8b", "Hello")).await.expect("an answer");
    assert_eq!(response.version(), http::Version::HTTP_2);
    assert!(response.text().await.expect("a stream").ends_with("data: [DONE]\n\n"));
    let (text, broke) = read_until_broken(send(streamed("sim-reset", "Hello")).await.expect("a head")).await;
    assert!(broke && text.contains("data: {"), "{text}");
    assert!(send(ask("llama3.1-8b", "Hello")).await.expect("the connection lives on").status().is_success());
}

#[tokio::test]
async fn a_paced_stream_arrives_in_more_than_one_piece() {
    let simulator = Running::with(Settings { tokens_per_second: Some(200), tokens_per_answer: Some(30), ..Settings::default() });
    let mut response = simulator.chat(streamed("llama3.1-8b", "Hello")).await;
    let (mut pieces, mut text) = (0, Vec::new());
    while let Some(piece) = response.chunk().await.expect("a stream") {
        pieces += 1;
        text.extend_from_slice(&piece);
    }
    let chunks = chunks(&String::from_utf8_lossy(&text));
    assert!(pieces > 1);
    assert_eq!(chunks.last().expect("a chunk")["usage"]["completion_tokens"], 30);
}

#[tokio::test]
async fn bodies_that_are_not_requests_are_refused() {
    let simulator = Running::start();
    for (body, status) in
        [(json!([]), 404), (json!({"model": "llama3.1-8b"}), 400), (json!({"model": "llama3.1-8b", "messages": []}), 400)]
    {
        assert_eq!(simulator.chat(body.clone()).await.status(), status, "{body}");
    }
    let not_json = simulator.client.post(simulator.url("/v1/chat/completions")).body("{").send().await.expect("an answer");
    assert_eq!(not_json.status(), 400);
    let zipped =
        simulator.client.post(simulator.url("/v1/chat/completions")).header("content-encoding", "gzip").body("x").send().await;
    assert_eq!(zipped.expect("an answer").status(), 415);
}

#[tokio::test]
async fn it_runs_as_a_service_of_a_pingora_server_and_stops_with_it() {
    let mut simulator = Simulator::bind("127.0.0.1:0", Settings::default()).expect("a free port");
    let url = format!("http://{}/v1/tcp_warming", simulator.address());
    let (stop, stopping) = watch::channel(false);
    let service = tokio::spawn(async move { Service::start_service(&mut simulator, None, stopping, 1).await });
    assert!(reqwest::get(&url).await.expect("an answer").status().is_success());
    stop.send(true).expect("the service listens");
    service.await.expect("the service ends");
    assert!(reqwest::get(&url).await.is_err());
}
