//! How a gateway says its targets stand: what tests wait for where time must pass.

use super::Gateway;
use serde_json::Value;
use std::time::{Duration, Instant};

/// How long a change may take to show, on a machine that does ten other things.
const PATIENCE: Duration = Duration::from_secs(15);

impl Gateway {
    /// The page `/health`.
    pub async fn health(&self) -> Value {
        self.get("/health").await.json().await.expect("JSON")
    }

    /// What it says of one target.
    pub async fn standing(&self, id: &str) -> Value {
        let health = self.health().await;
        let targets = health["targets"].as_array().expect("targets");
        targets.iter().find(|target| target["id"] == id).unwrap_or_else(|| panic!("no target {id}: {health:#}")).clone()
    }

    /// Waits until the page says so, and returns it.
    pub async fn until_health(&self, what: &str, mut so: impl FnMut(&Value) -> bool) -> Value {
        let began = Instant::now();
        loop {
            let health = self.health().await;
            if so(&health) {
                return health;
            }
            assert!(began.elapsed() < PATIENCE, "never {what}: {health:#}\n{}", self.log());
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    /// Waits until nothing is under way, nor waits, anywhere.
    pub async fn until_idle(&self) {
        let idle = |health: &Value| {
            let targets = health["targets"].as_array().expect("targets");
            health["requests"]["in_flight"] == 0
                && health["requests"]["waiting"] == 0
                && targets.iter().all(|target| target["in_flight"] == 0)
        };
        self.until_health("idle", idle).await;
    }

    /// Waits until the circuit breaker of a target is in this state.
    pub async fn until_breaker(&self, id: &str, state: &str) {
        let is = |health: &Value| {
            health["targets"].as_array().expect("targets").iter().any(|t| t["id"] == id && t["circuit_breaker"] == state)
        };
        self.until_health(&format!("{state} at {id}"), is).await;
    }

    /// Waits until a line of its log holds this text.
    pub async fn until_logged(&self, text: &str) {
        let began = Instant::now();
        while !self.log().contains(text) {
            assert!(began.elapsed() < PATIENCE, "never logged: {text}\n{}", self.log());
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }
}
