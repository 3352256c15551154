//! Targets for tests of how they are chosen: as a config makes them, without an address.

use super::{Key, Router, Target};
use crate::config::{self, Providers};
use std::sync::Arc;

/// The providers of a config with this many targets, `t0`, `t1` and so on, and every default.
pub(super) fn providers(count: usize) -> Providers {
    let target = |n| format!("    - {{id: t{n}, provider: vllm, model: m, base_url: \"http://127.0.0.1:{}/v1\"}}\n", 9_000 + n);
    let targets: String = (0..count).map(target).collect();
    let text = format!(
        "pack: {{name: fixture, version: 1.0.0, enabled: true}}\npolicies: {{chain: [audit-logger]}}\nproviders:\n  targets:\n{targets}"
    );
    config::parse("fixture.yaml", &text).unwrap_or_else(|faults| panic!("{faults:?}")).config.providers
}

/// Its targets, in base order.
pub(super) fn targets(providers: &Providers) -> Vec<Arc<Target>> {
    let target = |config| Arc::new(Target::new(config, Key::NotNeeded, &providers.circuit_breaker));
    providers.targets.iter().map(target).collect()
}

/// A router over them.
pub(super) fn router(providers: &Providers) -> Router {
    Router::new(targets(providers), providers)
}
