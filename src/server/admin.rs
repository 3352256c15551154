//! The admin listener: metrics, the config in force, reload. Loopback by default; whoever reaches it can reload, and read
//! everything but secrets.

use super::reloader::Reloader;
use crate::audit::journal::Journal;
use crate::gateway::Gateway;
use crate::metrics::METRICS;
use crate::upstream::{Failure, Moment};
use arc_swap::ArcSwap;
use async_trait::async_trait;
use http::{Method, Response};
use pingora_core::apps::http_app::ServeHttp;
use pingora_core::protocols::http::ServerSession;
use serde_json::json;
use std::sync::Arc;

/// Answers the admin listener.
pub struct Admin {
    /// The gateway in force.
    pub gateway: Arc<ArcSwap<Gateway>>,
    /// For its counters.
    pub journal: Journal,
    /// For `POST /keeptrusts/config/reload`.
    pub reloader: Arc<Reloader>,
}

#[async_trait]
impl ServeHttp for Admin {
    async fn response(&self, session: &mut ServerSession) -> Response<Vec<u8>> {
        let head = session.req_header();
        match (&head.method, head.uri.path()) {
            (&Method::GET, "/metrics") => answer(200, "text/plain; version=0.0.4", self.metrics()),
            (&Method::GET, "/keeptrusts/config") => json_answer(200, &self.config()),
            (&Method::GET, "/keeptrusts/providers/metrics") => json_answer(200, &self.providers()),
            (&Method::POST, "/keeptrusts/config/reload") => match self.reloader.reload().await {
                Ok(digest) => json_answer(200, &json!({"status": "reloaded", "config_sha256": digest})),
                Err(why) => {
                    json_answer(422, &json!({"status": "rejected", "errors": why, "note": "the config before stays in force"}))
                }
            },
            _ => json_answer(
                404,
                &json!({"error": "unknown path", "paths": [
                    "GET /metrics", "GET /keeptrusts/config", "GET /keeptrusts/providers/metrics", "POST /keeptrusts/config/reload"
                ]}),
            ),
        }
    }
}

impl Admin {
    fn metrics(&self) -> Vec<u8> {
        let status = self.journal.status();
        METRICS.audit_queue_bytes.set(status.queue_bytes as i64);
        METRICS.audit_last_index.set(status.last_index.map_or(-1, |i| i as i64));
        METRICS.audit_durable_index.set(status.durable_index.map_or(-1, |i| i as i64));
        METRICS.audit_signed.set(status.signed as i64);
        METRICS.audit_lag.set(status.lag.as_secs_f64());
        for (counter, now) in
            [(&METRICS.audit_records, status.records), (&METRICS.audit_syncs, status.syncs), (&METRICS.audit_lost, status.lost)]
        {
            counter.reset();
            counter.inc_by(now);
        }
        METRICS.audit_sync_seconds.reset();
        METRICS.audit_sync_seconds.inc_by(status.sync_time.as_secs_f64());
        // As it is now, and nothing of targets that a reload took away.
        METRICS.target_state.reset();
        for target in self.gateway.load().targets() {
            METRICS.target_state.with_label_values(&[&*target.id]).set(target.state(Moment::now()).gauge());
        }
        METRICS.render()
    }

    /// Per target: whether it can serve, and how its attempts ended.
    fn providers(&self) -> serde_json::Value {
        let gateway = self.gateway.load();
        let now = Moment::now();
        let targets = gateway.targets().iter().map(|t| {
            let outcomes = std::iter::once("answered").chain(Failure::ALL.iter().map(|failure| failure.as_str()));
            let outcomes: serde_json::Map<_, _> = outcomes
                .map(|outcome| (outcome, METRICS.attempts.with_label_values(&[&*t.id, outcome]).get()))
                .filter(|(_, count)| *count > 0)
                .map(|(outcome, count)| (outcome.to_owned(), count.into()))
                .collect();
            json!({
                "id": &*t.id, "provider": &*t.provider, "state": t.state(now).as_str(), "has_key": t.has_key(),
                "in_flight": t.standing.capacity.in_flight(), "models_listed": t.standing.catalog.ids().len(), "attempts": outcomes,
            })
        });
        json!({"targets": targets.collect::<Vec<_>>()})
    }

    fn config(&self) -> serde_json::Value {
        let gateway = self.gateway.load();
        let targets = gateway.targets().iter().map(|t| {
            json!({
                "id": &*t.id, "provider": &*t.provider, "model": t.model, "base_url": t.url.to_string(),
                "key": if t.has_key() { "***" } else { "missing" },
            })
        });
        json!({
            "pack": {"name": gateway.stamp.pack.name, "version": gateway.stamp.pack.version, "enabled": gateway.enabled},
            "config_sha256": gateway.stamp.config_sha256,
            "targets": targets.collect::<Vec<_>>(),
            "audit": gateway.audit.is_some(),
        })
    }
}

fn json_answer(status: u16, body: &serde_json::Value) -> Response<Vec<u8>> {
    answer(status, "application/json", body.to_string().into_bytes())
}

fn answer(status: u16, media: &str, body: Vec<u8>) -> Response<Vec<u8>> {
    let built = Response::builder()
        .status(status)
        .header("content-type", media)
        .header("content-length", body.len())
        .header("cache-control", "no-store")
        .body(body);
    // Every part is our own; a failure would be a mistake of this file.
    built.unwrap_or_default()
}
