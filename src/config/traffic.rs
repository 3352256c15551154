//! What the blocks about providers mean together: names that must be those of targets, and settings the others leave without effect.

use super::diagnostic::Code;
use super::document::{FallbackDocument, ProvidersDocument};
use super::meaning::{Found, Spot};
use super::providers::{AssistantPrefix, Providers, TargetConfig};
use super::resilience::{Fallback, MidStream, Trigger};
use super::routing::{Hedge, Routing, Strategy};
use super::source::quote;
use super::targets;
use super::wording::nearest;
use std::collections::HashSet;

#[cfg(test)]
mod tests;

/// Completes and checks everything about the providers. When the document is not `whole`, because faulty parts were left out,
/// nothing is said that they might refute.
pub(super) fn resolve(written: ProvidersDocument, spot: Spot<'_>, whole: bool, found: &mut Found) -> Providers {
    // The ids as written: a target with a fault of its own is still a target others may speak of.
    let ids: Vec<String> = written.targets.iter().map(|target| target.id.clone()).collect();
    let targets = targets::resolve(written.targets, spot.key("targets"), found);
    let routing = written.routing.unwrap_or_default();
    let used: Vec<&TargetConfig> = targets.iter().filter(|target| routing.uses(&target.id)).collect();
    let fallback = fallback(written.fallback, ids.iter().filter(|id| routing.uses(id)).count(), spot, found);
    if whole {
        names(&routing, &ids, spot.key("routing"), found);
    }
    // What is said of all targets in use is untrue when one is missing, and idle talk when there are none.
    if whole && targets.len() == ids.len() && !used.is_empty() {
        idle(&routing, ids.len(), spot, found);
        if let Some(hedge) = &routing.hedge {
            check_hedge(hedge, &routing, &used, spot.key("routing"), found);
        }
        if fallback.mid_stream == MidStream::Continue {
            check_continuation(&fallback, &used, spot.key("fallback"), found);
        }
    }
    Providers {
        routing,
        fallback,
        circuit_breaker: written.circuit_breaker.unwrap_or_default(),
        retry_policy: written.retry_policy.unwrap_or_default(),
        queue: written.queue.unwrap_or_default(),
        targets,
    }
}

/// Every name in the lists of `routing` is that of a target, and some target is left to use.
fn names(routing: &Routing, ids: &[String], spot: Spot<'_>, found: &mut Found) {
    let ids: Vec<&str> = ids.iter().map(String::as_str).collect();
    for (key, list) in [("order", &routing.order), ("only", &routing.only), ("ignore", &routing.ignore)] {
        let mut seen = HashSet::new();
        for (index, id) in list.iter().enumerate() {
            let at = spot.key(key).item(index);
            if !ids.contains(&id.as_str()) {
                let help = match nearest(id, &ids) {
                    Some(near) => format!("did you mean `{near}`?"),
                    None => format!("the targets are {}", ids.join(", ")),
                };
                found.add(at, Code::UnknownTarget, format!("there is no target {}", quote(id)), help);
            } else if !seen.insert(id) {
                found.add(at, Code::DuplicateId, format!("`{id}` is in `{key}` twice"), "keep one of them");
            }
        }
    }
    if !ids.is_empty() && !ids.iter().any(|id| routing.uses(id)) {
        let message = "`only` and `ignore` leave no target to use";
        found.add(spot, Code::BadValue, message, "let at least one target through");
    }
}

/// Settings that were written down and that the chosen strategy does not look at.
fn idle(routing: &Routing, targets: usize, spot: Spot<'_>, found: &mut Found) {
    let strategy = routing.strategy.as_str();
    let block = spot.key("routing");
    for key in ["window_seconds", "min_sample_count", "exploration_ratio"] {
        if !routing.strategy.measures() && block.has(key) {
            let message = format!("`{key}` has no effect under `strategy: {strategy}`");
            let help = "remove it, or write `strategy: lowest_latency` or `strategy: highest_throughput`";
            found.add(block.name(key), Code::NoEffect, message, help);
        }
    }
    if routing.strategy != Strategy::Ordered && !routing.order.is_empty() {
        let message = format!("`order` only breaks ties under `strategy: {strategy}`");
        found.add(block.name("order"), Code::NoEffect, message, "remove it, or write `strategy: ordered`");
    }
    // Said once, however many targets have one.
    let weighted = (0..targets).map(|index| spot.key("targets").item(index)).find(|target| target.has("weight"));
    if let (true, Some(target)) = (routing.strategy != Strategy::WeightedRoundRobin, weighted) {
        let message = format!("`weight` has no effect under `strategy: {strategy}`");
        let help = "remove it, or write `routing: {strategy: weighted_round_robin}`";
        found.add(target.name("weight"), Code::NoEffect, message, help);
    }
}

/// A hedge needs a second target and the time to ask it.
fn check_hedge(hedge: &Hedge, routing: &Routing, used: &[&TargetConfig], spot: Spot<'_>, found: &mut Found) {
    if used.len() == 1 {
        let message = "`hedge` asks a second target, but there is one target only";
        found.add(spot.name("hedge"), Code::NothingToFallBackTo, message, "add a second target, or remove it");
    } else if !routing.allow_fallbacks {
        let message = "`hedge` asks a second target, but `allow_fallbacks: false` permits none";
        found.add(spot.name("hedge"), Code::NoEffect, message, "remove one of them");
    } else if used.iter().all(|target| target.timeout <= hedge.after) {
        let message = "no target is waited for this long: `timeout_seconds` is over before";
        found.add(spot.key("hedge").key("after_ms"), Code::NoEffect, message, "write less than the shortest `timeout_seconds`");
    }
}

/// A broken stream goes on only at a target that can be asked to.
fn check_continuation(fallback: &Fallback, used: &[&TargetConfig], spot: Spot<'_>, found: &mut Found) {
    let at = spot.key("mid_stream");
    if used.iter().all(|target| target.assistant_prefix == AssistantPrefix::None) {
        let help = "set `assistant_prefix` (`last_message`, `prefix` or `continue_final_message`) on a target that can, or write \
                    `mid_stream: error`";
        found.add(at, Code::BadValue, "`mid_stream: continue`, but no target can go on with a broken answer", help);
    } else if !fallback.enabled {
        let message = "`mid_stream: continue` has no effect while fallback is off";
        found.add(at, Code::NoEffect, message, "remove it, or write `enabled: true`");
    }
}

fn fallback(written: Option<FallbackDocument>, targets: usize, spot: Spot<'_>, found: &mut Found) -> Fallback {
    let Some(written) = written else {
        return Fallback {
            enabled: targets > 1,
            triggers: Trigger::DEFAULT.to_vec(),
            max_fallback_attempts: 3,
            mid_stream: MidStream::default(),
        };
    };
    if written.enabled && targets == 1 {
        let message = "fallback is on, but there is one target only";
        found.add(spot.name("fallback"), Code::NothingToFallBackTo, message, "add a second target, or remove the block");
    }
    Fallback {
        enabled: written.enabled,
        triggers: written.triggers.unwrap_or_else(|| Trigger::DEFAULT.to_vec()),
        max_fallback_attempts: written.max_fallback_attempts,
        mid_stream: written.mid_stream,
    }
}
