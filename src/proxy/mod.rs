//! Pingora's hooks, each a few lines to the module that does the work.
//!
//! The order in which Pingora calls them is the order of this file.

mod admit;
mod attempt;
mod body;
mod decode;
mod evidence;
mod exchange;
mod failing;
mod forward;
mod hold;
mod intake;
mod local;
mod race;
mod record;
mod relay;
mod repetition;
mod replay;
mod resume;
mod said;
mod settle;
mod shown;
mod turn;

pub(crate) use forward::probe;

use crate::audit::journal::Journal;
use crate::gateway::Gateway;
use crate::server::status::Status;
use crate::upstream::capacity::Capacity;
use arc_swap::ArcSwap;
use async_trait::async_trait;
use bytes::Bytes;
use exchange::Exchange;
use intake::Halt;
use local::Route;
use pingora_core::modules::http::HttpModules;
use pingora_core::protocols::Digest;
use pingora_core::upstreams::peer::HttpPeer;
use pingora_core::{Error, Result};
use pingora_http::{RequestHeader, ResponseHeader};
use pingora_proxy::{FailToProxy, ProxyHttp, ProxyWarnLogContext, Session};
use std::os::fd::RawFd;
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
    /// LLM requests under way, and how many there may be: those beyond wait a moment, and are refused with 503 `overloaded`.
    pub room: Room,
}

/// The bound on LLM requests under way.
pub struct Room {
    /// Those under way.
    pub taken: Arc<Capacity>,
    /// How many there may be.
    pub limit: u32,
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

    async fn upstream_peer(&self, session: &mut Session, exchange: &mut Exchange) -> Result<Box<HttpPeer>> {
        attempt::begin(session, exchange).await
    }

    fn fail_to_connect(&self, session: &mut Session, _: &HttpPeer, exchange: &mut Exchange, error: Box<Error>) -> Box<Error> {
        failing::not_connected(session, exchange, error)
    }

    async fn connected_to_upstream(
        &self,
        _session: &mut Session,
        reused: bool,
        _peer: &HttpPeer,
        _socket: RawFd,
        _digest: Option<&Digest>,
        exchange: &mut Exchange,
    ) -> Result<()> {
        attempt::connected(exchange, reused);
        Ok(())
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
        exchange.leaves(body.as_deref().unwrap_or_default());
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
        failing::broken(session, exchange, error, reused)
    }

    async fn fail_to_proxy(&self, session: &mut Session, error: &Error, exchange: &mut Exchange) -> FailToProxy {
        failing::give_up(session, error, exchange).await
    }

    async fn logging(&self, session: &mut Session, error: Option<&Error>, exchange: &mut Exchange) {
        failing::restore(session, exchange).await;
        settle::settle(session, error, exchange, &self.journal);
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
                let room = match gate {
                    Ok(()) => turn::enter(&self.room, exchange).await,
                    Err(refusal) => Err(refusal),
                };
                admit::admit(endpoint, room, session, exchange, &self.journal).await?;
                Ok(false)
            }
            Route::Local(page) => {
                gate?;
                local::answer(page, session, exchange, &self.status, &self.journal).await.map_err(Halt::Gone)?;
                Ok(true)
            }
            Route::Refused(refusal) => Err(gate.err().unwrap_or(refusal).into()),
        }
    }
}
