//! Every metric, named once. Label values come from the config or from fixed words, never from a caller.

use once_cell::sync::Lazy;
use prometheus::{
    Counter, CounterVec, Encoder, Gauge, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts,
    Registry, TextEncoder,
};

/// All metrics of the process.
pub struct Metrics {
    registry: Registry,
    /// `keeptrusts_llm_requests_total{model,provider,status,verdict}`
    pub requests: IntCounterVec,
    /// `keeptrusts_llm_tokens_total{model,provider,direction}`
    pub tokens: IntCounterVec,
    /// `keeptrusts_llm_cost_total{model,provider}`, in the currency of the configured prices.
    pub cost: CounterVec,
    /// `keeptrusts_llm_latency_seconds{model,provider}`: from the request's head to the end of its answer.
    pub latency: HistogramVec,
    /// `keeptrusts_llm_time_to_first_token_seconds{model,provider}`
    pub first_token: HistogramVec,
    /// `keeptrusts_llm_tokens_per_second{model,provider}`: output tokens over the time from the first byte to the last.
    pub tokens_per_second: HistogramVec,
    /// `keeptrusts_gateway_policy_evaluations_total{policy,result}`
    pub policy_evaluations: IntCounterVec,
    /// `keeptrusts_gateway_policy_seconds{policy}`
    pub policy_seconds: HistogramVec,
    /// `keeptrusts_gateway_overhead_seconds`: what the gateway itself adds before the first target is tried.
    pub overhead: HistogramVec,
    /// `keeptrusts_gateway_upstream_attempts_total{target,outcome}`
    pub attempts: IntCounterVec,
    /// `keeptrusts_gateway_upstream_connections_total{target,reused}`: `reused` is `true` for a connection that was kept, or over
    /// HTTP/2 is shared, and `false` for one that was opened. Health probes are not counted.
    pub upstream_connections: IntCounterVec,
    /// `keeptrusts_gateway_target_state{target}`: 1 can serve, 2 half-open, 3 parked, 0 open, -1 no key.
    pub target_state: IntGaugeVec,
    /// `keeptrusts_gateway_breaker_transitions_total{target,to}`
    pub breaker_transitions: IntCounterVec,
    /// `keeptrusts_gateway_hedges_total{event}`
    pub hedges: IntCounterVec,
    /// `keeptrusts_gateway_shed_total{reason}`
    pub shed: IntCounterVec,
    /// `keeptrusts_gateway_in_flight_requests`
    pub in_flight: IntGauge,
    /// `keeptrusts_gateway_unscanned_total{what}`: request parts no policy could read.
    pub unscanned: IntCounterVec,
    /// `keeptrusts_audit_records_total`
    pub audit_records: IntCounter,
    /// `keeptrusts_audit_queue_bytes`
    pub audit_queue_bytes: IntGauge,
    /// `keeptrusts_audit_last_index`
    pub audit_last_index: IntGauge,
    /// `keeptrusts_audit_durable_index`
    pub audit_durable_index: IntGauge,
    /// `keeptrusts_audit_signed_records`: records that a signed checkpoint covers.
    pub audit_signed: IntGauge,
    /// `keeptrusts_audit_lag_seconds`: age of the oldest record that is not durable.
    pub audit_lag: Gauge,
    /// `keeptrusts_audit_sync_seconds_total`
    pub audit_sync_seconds: Counter,
    /// `keeptrusts_audit_syncs_total`
    pub audit_syncs: IntCounter,
    /// `keeptrusts_audit_lost_total`: records and exchanges that could not be recorded.
    pub audit_lost: IntCounter,
    /// `keeptrusts_audit_refused_total`: exchanges refused because their record could not be written.
    pub audit_refused: IntCounter,
    /// `keeptrusts_audit_sink_index{sink,log}`: index of the last record a sink is known to have; -1 before the first.
    pub audit_sink_index: IntGaugeVec,
    /// `keeptrusts_audit_sink_lag_records{sink}`: durable records a sink is not known to have, of all logs here.
    pub audit_sink_lag: IntGaugeVec,
    /// `keeptrusts_audit_sink_failures_total{sink}`
    pub audit_sink_failures: IntCounterVec,
    /// `keeptrusts_audit_sink_rejected_total{sink}`: records a collector took and threw away.
    pub audit_sink_rejected: IntCounterVec,
    /// `keeptrusts_audit_anchored_records{place}`: size of the newest checkpoint that was copied.
    pub audit_anchored: IntGaugeVec,
    /// `keeptrusts_audit_anchor_failures_total{place}`
    pub audit_anchor_failures: IntCounterVec,
}

/// The metrics of this process.
pub static METRICS: Lazy<Metrics> = Lazy::new(Metrics::new);

const LATENCY: &[f64] = &[0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0];
const MICROS: &[f64] =
    &[5e-6, 1e-5, 2.5e-5, 5e-5, 1e-4, 2.5e-4, 5e-4, 1e-3, 2.5e-3, 5e-3, 1e-2, 2.5e-2, 5e-2, 1e-1, 2.5e-1, 5e-1, 1.0];
const RATES: &[f64] = &[10., 25., 50., 100., 250., 500., 1000., 1500., 2000., 2500., 3000., 4000., 5000., 6000., 8000.];

impl Metrics {
    /// The text exposition of everything.
    pub fn render(&self) -> Vec<u8> {
        let mut text = Vec::with_capacity(16 * 1024);
        if let Err(error) = TextEncoder::new().encode(&self.registry.gather(), &mut text) {
            log::error!("metrics could not be encoded: {error}");
        }
        text
    }

    fn new() -> Self {
        let make = Maker(Registry::new());
        let llm = &["model", "provider"];
        Self {
            requests: make.counters(
                "keeptrusts_llm_requests_total",
                "Requests, by served model, provider, answered HTTP status and verdict.",
                &["model", "provider", "status", "verdict"],
            ),
            tokens: make.counters(
                "keeptrusts_llm_tokens_total",
                "Tokens as the provider counts them.",
                &["model", "provider", "direction"],
            ),
            cost: make.amounts("keeptrusts_llm_cost_total", "Cost by the configured prices.", llm),
            latency: make.histogram(
                "keeptrusts_llm_latency_seconds",
                "From a request's head to the end of its answer.",
                llm,
                LATENCY,
            ),
            first_token: make.histogram(
                "keeptrusts_llm_time_to_first_token_seconds",
                "From a request's head to the first byte of its answer.",
                llm,
                LATENCY,
            ),
            tokens_per_second: make.histogram(
                "keeptrusts_llm_tokens_per_second",
                "Output tokens over the time from the first byte to the last.",
                llm,
                RATES,
            ),
            policy_evaluations: make.counters(
                "keeptrusts_gateway_policy_evaluations_total",
                "What each policy said.",
                &["policy", "result"],
            ),
            policy_seconds: make.histogram("keeptrusts_gateway_policy_seconds", "Time a policy took.", &["policy"], MICROS),
            overhead: make.histogram(
                "keeptrusts_gateway_overhead_seconds",
                "From the end of a request's body to the choice of its first target, the durable record included.",
                &[],
                MICROS,
            ),
            attempts: make.counters(
                "keeptrusts_gateway_upstream_attempts_total",
                "Tries of each target by outcome.",
                &["target", "outcome"],
            ),
            upstream_connections: make.counters(
                "keeptrusts_gateway_upstream_connections_total",
                "Connections given to attempts: kept ones (reused) and opened ones.",
                &["target", "reused"],
            ),
            target_state: make.gauges(
                "keeptrusts_gateway_target_state",
                "1 can serve, 2 half-open, 3 parked, 0 open, -1 no key.",
                &["target"],
            ),
            breaker_transitions: make.counters(
                "keeptrusts_gateway_breaker_transitions_total",
                "Turns of a target's circuit breaker, by the state it turned to.",
                &["target", "to"],
            ),
            hedges: make.counters(
                "keeptrusts_gateway_hedges_total",
                "Races of a second target: started, won, superseded, failed, over_budget.",
                &["event"],
            ),
            shed: make.counters(
                "keeptrusts_gateway_shed_total",
                "Requests refused with 503 overloaded: the queue was full, or it took too long.",
                &["reason"],
            ),
            in_flight: make.gauge("keeptrusts_gateway_in_flight_requests", "Exchanges that have begun and not ended."),
            unscanned: make.counters("keeptrusts_gateway_unscanned_total", "Request parts no policy could read.", &["what"]),
            audit_records: make.counter("keeptrusts_audit_records_total", "Records written to the audit log."),
            audit_queue_bytes: make.gauge("keeptrusts_audit_queue_bytes", "Bytes waiting to be written."),
            audit_last_index: make.gauge("keeptrusts_audit_last_index", "Index of the newest record."),
            audit_durable_index: make.gauge("keeptrusts_audit_durable_index", "Index of the newest durable record."),
            audit_signed: make.gauge("keeptrusts_audit_signed_records", "Records that a signed checkpoint covers."),
            audit_lag: make.amount_now("keeptrusts_audit_lag_seconds", "Age of the oldest record that is not durable."),
            audit_sync_seconds: make.amount("keeptrusts_audit_sync_seconds_total", "Time that syncs to disk took."),
            audit_syncs: make.counter("keeptrusts_audit_syncs_total", "Syncs to disk."),
            audit_lost: make.counter("keeptrusts_audit_lost_total", "Records and exchanges that could not be recorded."),
            audit_refused: make
                .counter("keeptrusts_audit_refused_total", "Exchanges refused because their record could not be written."),
            audit_sink_index: make.gauges(
                "keeptrusts_audit_sink_index",
                "Index of the last record of a log that a sink is known to have; -1 before the first.",
                &["sink", "log"],
            ),
            audit_sink_lag: make.gauges(
                "keeptrusts_audit_sink_lag_records",
                "Durable records that a sink is not known to have.",
                &["sink"],
            ),
            audit_sink_failures: make.counters(
                "keeptrusts_audit_sink_failures_total",
                "Tries to deliver records to a sink that did not work.",
                &["sink"],
            ),
            audit_sink_rejected: make.counters(
                "keeptrusts_audit_sink_rejected_total",
                "Records that a collector took and threw away.",
                &["sink"],
            ),
            audit_anchored: make.gauges(
                "keeptrusts_audit_anchored_records",
                "Records that the newest checkpoint copied to a place stands for.",
                &["place"],
            ),
            audit_anchor_failures: make.counters(
                "keeptrusts_audit_anchor_failures_total",
                "Tries to copy a checkpoint to a place that did not work.",
                &["place"],
            ),
            registry: make.0,
        }
    }
}

/// Makes and registers; names are literals of this file, so a failure is a mistake of this file and found by its test.
struct Maker(Registry);

impl Maker {
    fn register<M: prometheus::core::Collector + Clone + 'static>(&self, metric: prometheus::Result<M>) -> M {
        let metric = metric.expect("a metric is named once, by a valid name");
        self.0.register(Box::new(metric.clone())).expect("a metric is registered once");
        metric
    }
    fn counter(&self, name: &str, help: &str) -> IntCounter {
        self.register(IntCounter::new(name, help))
    }
    fn counters(&self, name: &str, help: &str, labels: &[&str]) -> IntCounterVec {
        self.register(IntCounterVec::new(Opts::new(name, help), labels))
    }
    fn amounts(&self, name: &str, help: &str, labels: &[&str]) -> CounterVec {
        self.register(CounterVec::new(Opts::new(name, help), labels))
    }
    fn amount(&self, name: &str, help: &str) -> Counter {
        self.register(Counter::new(name, help))
    }
    fn amount_now(&self, name: &str, help: &str) -> Gauge {
        self.register(Gauge::new(name, help))
    }
    fn gauge(&self, name: &str, help: &str) -> IntGauge {
        self.register(IntGauge::new(name, help))
    }
    fn gauges(&self, name: &str, help: &str, labels: &[&str]) -> IntGaugeVec {
        self.register(IntGaugeVec::new(Opts::new(name, help), labels))
    }
    fn histogram(&self, name: &str, help: &str, labels: &[&str], buckets: &[f64]) -> HistogramVec {
        self.register(HistogramVec::new(HistogramOpts::new(name, help).buckets(buckets.to_vec()), labels))
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn every_metric_is_registered_once_and_renders() {
        super::METRICS.in_flight.set(3);
        let text = String::from_utf8(super::METRICS.render()).unwrap();
        assert!(text.contains("keeptrusts_gateway_in_flight_requests 3"), "{text}");
    }
}
