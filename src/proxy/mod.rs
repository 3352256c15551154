//! Pingora's hooks, each a few lines to the module that does the work.
//!
//! The order in which Pingora calls them is the order of this file.

mod admit;
mod attempt;
mod body;
mod decode;
#[cfg_attr(not(test), expect(dead_code, reason = "for answers that a second target goes on with"))]
mod echo;
mod exchange;
mod forward;
mod hold;
mod intake;
mod local;
mod record;
mod relay;
mod replay;
mod settle;

pub(crate) use forward::probe;

use crate::audit::journal::Journal;
use crate::gateway::Gateway;
use crate::refusal::Refusal;
use crate::server::status::Status;
use arc_swap::ArcSwap;
use async_trait::async_trait;
use bytes::Bytes;
use exchange::Exchange;
use intake::Halt;
use local::Route;
use pingora_core::modules::http::HttpModules;
use pingora_core::upstreams::peer::HttpPeer;
use pingora_core::{Error, Result};
use pingora_http::{RequestHeader, ResponseHeader};
use pingora_proxy::{FailToProxy, ProxyHttp, ProxyWarnLogContext, Session};
use std::sync::Arc;
use std::time::Duration;

/// The public listener's application.
pub struct Edge {
    /// The compiled config; swapped by a reload, kept by each exchange that began with it.
    pub gateway: Arc<ArcSwap<Gateway>>,
    /// The audit log.
    pub journal: Journal,
    /// Readiness and traffic.
    pub status: Arc<Status>,
    /// LLM requests in flight beyond which new ones are refused with 503 `overloaded`.
    pub max_concurrency: usize,
}

#[async_trait]
impl ProxyHttp for Edge {
    type CTX = Exchange;

    fn new_ctx(&self) -> Exchange {
        Exchange::new(self.gateway.load_full())
    }

    /// No modules: answers are never compressed here.
    fn init_downstream_modules(&self, _modules: &mut HttpModules) {}

    async fn early_request_filter(&self, session: &mut Session, exchange: &mut Exchange) -> Result<()> {
        attempt::arrive(session, exchange);
        Ok(())
    }

    async fn request_filter(&self, session: &mut Session, exchange: &mut Exchange) -> Result<bool> {
        match self.receive(session, exchange).await {
            Ok(answered) => Ok(answered),
            Err(Halt::Refused(refusal)) => local::refuse(&refusal, session, exchange).await.map(|()| true),
            Err(Halt::Gone(error)) => Err(error),
        }
    }

    async fn upstream_peer(&self, _session: &mut Session, exchange: &mut Exchange) -> Result<Box<HttpPeer>> {
        attempt::begin(exchange)
    }

    fn fail_to_connect(&self, _: &mut Session, _: &HttpPeer, exchange: &mut Exchange, error: Box<Error>) -> Box<Error> {
        attempt::not_connected(exchange, error)
    }

    async fn upstream_request_filter(&self, _: &mut Session, head: &mut RequestHeader, exchange: &mut Exchange) -> Result<()> {
        attempt::request_head(head, exchange)
    }

    async fn upstream_response_filter(
        &self,
        session: &mut Session,
        head: &mut ResponseHeader,
        exchange: &mut Exchange,
    ) -> Result<()> {
        attempt::on_head(session, head, exchange)
    }

    async fn response_filter(&self, _session: &mut Session, head: &mut ResponseHeader, exchange: &mut Exchange) -> Result<()> {
        attempt::answer_head(head, exchange)
    }

    fn response_body_filter(
        &self,
        session: &mut Session,
        body: &mut Option<Bytes>,
        end: bool,
        exchange: &mut Exchange,
    ) -> Result<Option<Duration>> {
        *body = body::on_body(session, body.take(), end, exchange)?;
        Ok(None)
    }

    fn error_while_proxy(
        &self,
        _peer: &HttpPeer,
        session: &mut Session,
        error: Box<Error>,
        exchange: &mut Exchange,
        reused: bool,
    ) -> Box<Error> {
        attempt::broken(session, exchange, error, reused)
    }

    async fn fail_to_proxy(&self, session: &mut Session, error: &Error, exchange: &mut Exchange) -> FailToProxy {
        attempt::give_up(session, error, exchange).await
    }

    async fn logging(&self, session: &mut Session, error: Option<&Error>, exchange: &mut Exchange) {
        attempt::restore(session, exchange).await;
        settle::settle(session, error, exchange);
    }

    /// What went wrong is in the record and the access log; Pingora's own line would repeat it.
    fn suppress_error_log(&self, _session: &Session, _exchange: &Exchange, _error: &Error) -> bool {
        true
    }

    /// Likewise: each failed attempt has a line of ours.
    fn suppress_proxy_warn_log(&self, _: &Session, _: &Exchange, _: &Error, _: ProxyWarnLogContext) -> bool {
        true
    }
}

impl Edge {
    /// Answers what is ours and admits what is the chain's. True: answered.
    async fn receive(&self, session: &mut Session, exchange: &mut Exchange) -> Result<bool, Halt> {
        let gate = intake::check_head(session, &exchange.gateway.limits);
        let head = session.req_header();
        match local::route(&head.method, head.uri.path(), exchange.gateway.enabled) {
            // What is refused from here on is recorded.
            Route::Llm(endpoint) => {
                exchange.in_flight = Some(self.status.enter());
                let gate = gate.and_then(|()| self.has_room());
                admit::admit(endpoint, gate, session, exchange, &self.journal).await?;
                Ok(false)
            }
            Route::Local(page) => {
                gate?;
                local::answer(page, session, exchange, &self.status).await.map_err(Halt::Gone)?;
                Ok(true)
            }
            Route::Refused(refusal) => Err(gate.err().unwrap_or(refusal).into()),
        }
    }

    fn has_room(&self) -> Result<(), Refusal> {
        let full = self.status.in_flight() > self.max_concurrency;
        let refusal = || Refusal::unavailable("overloaded", "too many requests are in flight (--max-concurrency)");
        if full { Err(refusal()) } else { Ok(()) }
    }
}
