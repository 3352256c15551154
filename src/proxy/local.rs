//! What the gateway answers itself: health, models, warm-up, refusals.

use super::exchange::Exchange;
use super::intake;
use crate::audit::Journal;
use crate::gateway::Gateway;
use crate::openai::request::Endpoint;
use crate::refusal::Refusal;
use crate::server::status::Status;
use crate::upstream::quota::Left;
use crate::upstream::{Moment, State, Target};
use bytes::Bytes;
use http::Method;
use pingora_core::Result;
use pingora_http::ResponseHeader;
use pingora_proxy::Session;
use serde_json::json;
use std::sync::Arc;

/// What a request line asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Route {
    /// An endpoint whose body the chain reads.
    Llm(Endpoint),
    /// Answered here.
    Local(Page),
    /// Nothing is here, or not for this method, or not now.
    Refused(Refusal),
}

/// A page of our own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Page {
    /// Alive at all.
    Healthz,
    /// Ready for traffic.
    Readyz,
    /// The state of everything.
    Health,
    /// The models of the targets.
    Models,
    /// One of them.
    Model(String),
    /// Cerebras SDKs ask for it when constructed, and wait.
    TcpWarming,
}

/// Reads a request line. Paths are matched exactly: what is not listed is not forwarded. With `enabled` false everything under
/// `/v1/` is refused; requests the chain would have read are left to `admit`, which records them.
pub fn route(method: &Method, path: &str, enabled: bool) -> Route {
    let by = |methods: &'static str, route| match methods.split(", ").any(|m| m == method.as_str()) {
        true => route,
        false => Route::Refused(wrong_method(method, path, methods)),
    };
    let page = |page| by("GET, HEAD", Route::Local(page));
    let route = match path {
        _ if method == Method::CONNECT => Route::Refused(wrong_method(method, path, "GET, HEAD, POST")),
        "/v1/chat/completions" => return by("POST", Route::Llm(Endpoint::ChatCompletions)),
        "/v1/completions" => return by("POST", Route::Llm(Endpoint::Completions)),
        "/v1/embeddings" => return by("POST", Route::Llm(Endpoint::Embeddings)),
        "/v1/models" => page(Page::Models),
        "/v1/tcp_warming" => page(Page::TcpWarming),
        "/health" => page(Page::Health),
        "/healthz" => page(Page::Healthz),
        "/readyz" => page(Page::Readyz),
        _ => match path.strip_prefix("/v1/models/") {
            Some(id) if !id.is_empty() => page(Page::Model(percent_decoded(id))),
            _ => Route::Refused(not_found(method, path)),
        },
    };
    if !enabled && path.starts_with("/v1/") { Route::Refused(super::admit::switched_off()) } else { route }
}

fn not_found(method: &Method, path: &str) -> Refusal {
    let path: String = path.chars().filter(|c| !c.is_control()).take(200).collect();
    let message = format!(
        "{method} {path} is not served: this gateway serves /v1/chat/completions, /v1/completions, /v1/embeddings and /v1/models, \
         and forwards nothing it cannot inspect"
    );
    Refusal::new(404, "invalid_request_error", "unknown_url", message)
}

fn wrong_method(method: &Method, path: &str, allow: &'static str) -> Refusal {
    let refusal =
        Refusal::new(405, "invalid_request_error", "method_not_allowed", format!("{method} {path} is not served; use {allow}"));
    Refusal { allow: Some(allow), ..refusal }
}

/// Answers a page.
///
/// # Errors
/// The caller's connection broke.
pub async fn answer(
    page: Page,
    session: &mut Session,
    exchange: &mut Exchange,
    status: &Status,
    journal: &Journal,
) -> Result<()> {
    let gateway = exchange.gateway.clone();
    let (code, body) = match page {
        Page::Healthz => (200, json!({"status": "ok"})),
        Page::TcpWarming => (200, json!({"status": "ok"})),
        Page::Readyz => match status.not_ready(&gateway, journal) {
            None => (200, json!({"status": "ready"})),
            Some(why) => (503, json!({"status": "not_ready", "reason": why})),
        },
        Page::Health => health(&gateway, status, journal),
        Page::Models => (200, json!({"object": "list", "data": models(&gateway)})),
        Page::Model(id) => match models(&gateway).into_iter().find(|m| m["id"] == id.as_str()) {
            Some(model) => (200, model),
            None => return refuse(&unknown_model(&gateway, &id), session, exchange).await,
        },
    };
    let head = head(code, exchange)?;
    send(head, body.to_string().into(), session).await
}

/// Writes a refusal as an ordinary answer; keep-alive survives.
///
/// # Errors
/// The caller's connection broke.
pub async fn refuse(refusal: &Refusal, session: &mut Session, exchange: &mut Exchange) -> Result<()> {
    exchange.facts.refused = Some(refusal.clone());
    let head = refusal_head(refusal, exchange)?;
    send(head, refusal.body(&exchange.facts.request_id).into(), session).await
}

/// The head of a refusal.
///
/// # Errors
/// Never in practice: every value is our own.
pub fn refusal_head(refusal: &Refusal, exchange: &Exchange) -> Result<ResponseHeader> {
    let mut head = head(refusal.status, exchange)?;
    for (name, value) in refusal.headers() {
        head.insert_header(name, value)?;
    }
    Ok(head)
}

fn head(code: u16, exchange: &Exchange) -> Result<ResponseHeader> {
    let mut head = ResponseHeader::build(code, Some(8))?;
    head.insert_header("content-type", "application/json")?;
    head.insert_header("cache-control", "no-store")?;
    super::forward::stamp(&mut head, &exchange.facts, exchange.phase.attempts())?;
    Ok(head)
}

async fn send(mut head: ResponseHeader, body: Bytes, session: &mut Session) -> Result<()> {
    intake::discard(session).await;
    let only_head = session.req_header().method == Method::HEAD;
    head.insert_header("content-length", body.len())?;
    session.write_response_header(Box::new(head), only_head).await?;
    if !only_head {
        session.write_response_body(Some(body), true).await?;
    }
    Ok(())
}

fn health(gateway: &Gateway, status: &Status, journal: &Journal) -> (u16, serde_json::Value) {
    let targets: Vec<_> = gateway.targets().iter().map(|t| standing(t, Moment::now())).collect();
    let count = |state: State| targets.iter().filter(|t| t["state"] == state.as_str()).count();
    let (healthy, on_trial) = (count(State::Healthy), count(State::HalfOpen));
    let word = match status.not_ready(gateway, journal) {
        None if healthy == targets.len() => "healthy",
        None if healthy + on_trial > 0 => "degraded",
        _ => "unhealthy",
    };
    let body = json!({
        "status": word,
        "version": env!("CARGO_PKG_VERSION"),
        "uptime_seconds": status.uptime().as_secs(),
        "requests": {"total": status.total(), "in_flight": status.in_flight(), "waiting": gateway.queue.waiting()},
        "pack": {"name": gateway.stamp.pack.name, "version": gateway.stamp.pack.version, "enabled": gateway.enabled},
        "targets": targets,
    });
    (200, body)
}

/// How one target stands, for people.
fn standing(target: &Target, now: Moment) -> serde_json::Value {
    let standing = &target.standing;
    let mut page = json!({
        "id": &*target.id, "provider": &*target.provider, "model": target.model, "state": target.state(now).as_str(),
        "circuit_breaker": standing.breaker.state(now).as_str(), "in_flight": standing.capacity.in_flight(),
    });
    if let Some(pinned) = &target.model
        && let Some(served_as) = standing.catalog.repaired(pinned)
    {
        page["served_as"] = served_as.into();
    }
    if let Some((until, why)) = standing.parking.parked(now) {
        page["parked"] = json!({"seconds": until.saturating_since(now).as_secs_f64(), "why": why.as_str()});
    }
    let left = |l: Left| json!({"window": l.window, "remaining": l.remaining, "resets_in_seconds": l.resets_in.as_secs_f64()});
    let quota: Vec<_> = standing.quota.snapshot(now).into_iter().map(left).collect();
    if !quota.is_empty() {
        page["quota"] = quota.into();
    }
    page
}

fn models(gateway: &Gateway) -> Vec<serde_json::Value> {
    let entry = |(id, owner): (String, Arc<str>)| json!({"id": id, "object": "model", "created": 0, "owned_by": &*owner});
    gateway.models().into_iter().map(entry).collect()
}

fn unknown_model(gateway: &Gateway, id: &str) -> Refusal {
    let id: String = id.chars().filter(|c| !c.is_control()).take(100).collect();
    let known: Vec<String> = gateway.models().into_iter().map(|(id, _)| id).take(20).collect();
    let message = format!("the model `{id}` is not configured; configured models: {}", known.join(", "));
    Refusal::new(404, "invalid_request_error", "model_not_found", message).at("model")
}

/// Model ids may hold `/` and `@`, which SDKs encode.
fn percent_decoded(text: &str) -> String {
    let mut out = Vec::with_capacity(text.len());
    let bytes = text.as_bytes();
    let mut at = 0;
    while at < bytes.len() {
        let hex = (bytes[at] == b'%').then(|| text.get(at + 1..at + 3)).flatten().and_then(|h| u8::from_str_radix(h, 16).ok());
        out.push(hex.unwrap_or(bytes[at]));
        at += if hex.is_some() { 3 } else { 1 };
    }
    String::from_utf8_lossy(&out).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_listed_paths_lead_anywhere() {
        let cases = [
            ("POST", "/v1/chat/completions", Ok(Route::Llm(Endpoint::ChatCompletions))),
            ("GET", "/v1/chat/completions", Err(405)),
            ("POST", "/v1/responses", Err(404)),
            ("POST", "/v1/chat/completions/", Err(404)),
            ("POST", "/V1/chat/completions", Err(404)),
            ("POST", "/v1/../v1/chat/completions", Err(404)),
            ("POST", "//v1/chat/completions", Err(404)),
            ("GET", "/v1/models", Ok(Route::Local(Page::Models))),
            ("GET", "/v1/models/meta%2Fllama@x", Ok(Route::Local(Page::Model("meta/llama@x".into())))),
            ("GET", "/v1/models/", Err(404)),
            ("DELETE", "/v1/models/m", Err(405)),
            ("HEAD", "/healthz", Ok(Route::Local(Page::Healthz))),
            ("GET", "/", Err(404)),
            ("CONNECT", "", Err(405)),
        ];
        for (method, path, expected) in cases {
            let found = match route(&method.parse().unwrap(), path, true) {
                Route::Refused(refusal) => Err(refusal.status),
                route => Ok(route),
            };
            assert_eq!(found, expected, "{method} {path}");
        }
    }

    #[test]
    fn a_switched_off_gateway_serves_only_what_says_so() {
        let status = |path: &str| match route(&Method::GET, path, false) {
            Route::Refused(refusal) => refusal.status,
            _ => 200,
        };
        assert_eq!((status("/v1/models"), status("/v1/nothing"), status("/health")), (503, 503, 200));
    }

    #[test]
    fn a_stray_percent_sign_is_a_percent_sign() {
        assert_eq!(percent_decoded("a%2"), "a%2");
        assert_eq!(percent_decoded("%zz%41"), "%zzA");
        assert_eq!(percent_decoded("%€"), "%€");
    }
}
