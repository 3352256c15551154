//! The yardstick: Pingora that forwards and does nothing else, built by the same compiler settings, allocator and versions as `kt`.
//!
//! `passthrough LISTEN UPSTREAM`, for example `passthrough 127.0.0.1:41197 127.0.0.1:41199`.

use async_trait::async_trait;
use pingora::server::Server;
use pingora::server::configuration::{Opt, ServerConf};
use pingora_core::Result;
use pingora_core::upstreams::peer::HttpPeer;
use pingora_proxy::{ProxyHttp, Session};

#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

struct Passthrough {
    upstream: String,
}

#[async_trait]
impl ProxyHttp for Passthrough {
    type CTX = ();

    fn new_ctx(&self) {}

    async fn upstream_peer(&self, _session: &mut Session, (): &mut ()) -> Result<Box<HttpPeer>> {
        Ok(Box::new(HttpPeer::new(self.upstream.as_str(), false, String::new())))
    }
}

fn main() {
    let mut args = std::env::args().skip(1);
    let (Some(listen), Some(upstream)) = (args.next(), args.next()) else {
        eprintln!("usage: passthrough LISTEN UPSTREAM");
        std::process::exit(2);
    };
    let conf = ServerConf {
        threads: std::thread::available_parallelism().map_or(2, usize::from),
        upstream_keepalive_pool_size: 1024,
        grace_period_seconds: Some(1),
        graceful_shutdown_timeout_seconds: Some(1),
        ..ServerConf::default()
    };
    let mut server = Server::new_with_opt_and_conf(Some(Opt::default()), conf);
    server.bootstrap();
    let mut service = pingora_proxy::http_proxy_service(&server.configuration, Passthrough { upstream });
    service.add_tcp(&listen);
    server.add_service(service);
    server.run_forever();
}
