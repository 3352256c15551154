//! In which order one request tries the targets that can take it.
//!
//! Taking turns is stride scheduling: each target has a virtual time that grows by 1/weight with every turn, and the next turn is
//! the earliest's. Half of that step is added before comparing (the divisor method of Webster and Sainte-Laguë), which keeps each
//! count within about half a request of its exact share and does not send the first request of all to a canary of weight 1 beside
//! a target of weight 100. No counter walks a list, so it stays fair whichever targets are candidates this time.
//!
//! There is no clock common to all targets either. A target that was away is brought up to the others by looking at the
//! candidates at hand: the latest turn one of them took is the earliest this one may claim. A common clock would run at the speed
//! of the busiest model and forget, between two requests of a quiet one, which of its targets was next.

use super::dice::Dice;
use crate::config::{Routing, Strategy};
use std::cmp::Ordering;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

/// One target's place in the taking of turns: its virtual time, in fixed point, wrapping. Belongs to the target.
#[derive(Debug, Default)]
pub struct Turn(AtomicU64);

/// What is known of a target that could take the request.
#[derive(Debug, Clone)]
pub struct Candidate<'a> {
    /// Whose turn it is.
    pub turn: &'a Turn,
    /// Its share under `weighted_round_robin`.
    pub weight: f64,
    /// Requests in flight on it.
    pub in_flight: usize,
    /// Median time to the first token; `None` while too few were measured.
    pub first_token: Option<Duration>,
    /// Median of output tokens per second; `None` while too few were measured.
    pub throughput: Option<f64>,
}

/// A candidate where it came in the ranking.
#[derive(Debug, Clone, Copy)]
pub struct Ranked {
    /// Its index among the candidates.
    pub index: usize,
    turn: u64,
    step: u64,
    /// When it is due, counted from the turn of the first candidate. Read once: a key that moves under a sort is none.
    due: i64,
}

/// Ranks candidates by the configured strategy. Holds no state: what must be remembered is in each target's [`Turn`].
#[derive(Debug, Clone)]
pub struct Balancer {
    strategy: Strategy,
    exploration_ratio: f64,
}

impl Balancer {
    /// The balancer `routing` asks for.
    pub fn new(routing: &Routing) -> Self {
        Self { strategy: routing.strategy, exploration_ratio: routing.exploration_ratio }
    }

    /// Fills `ranking` with every candidate once, best first, and takes the turn of the first. Nothing else is allocated, nothing
    /// is locked; `ranking` may be used again for the next request.
    pub fn rank(&self, candidates: &[Candidate<'_>], dice: &mut Dice, ranking: &mut Vec<Ranked>) {
        match self.strategy {
            Strategy::Ordered => fill(candidates, ranking, |_| 1.0),
            Strategy::Random => {
                fill(candidates, ranking, |_| 1.0);
                shuffle(ranking, dice);
            }
            Strategy::RoundRobin => in_turn(candidates, ranking, |_| 1.0, |_, _| Ordering::Equal),
            Strategy::WeightedRoundRobin => in_turn(candidates, ranking, |one| one.weight, |_, _| Ordering::Equal),
            Strategy::LeastConnections => in_turn(candidates, ranking, |_| 1.0, |a, b| a.in_flight.cmp(&b.in_flight)),
            Strategy::LowestLatency => {
                let shortest = |a: &Candidate<'_>, b: &Candidate<'_>| known_first(a.first_token, b.first_token, Duration::cmp);
                self.by_pace(candidates, dice, ranking, |one| one.first_token.is_some(), shortest);
            }
            Strategy::HighestThroughput => {
                let highest =
                    |a: &Candidate<'_>, b: &Candidate<'_>| known_first(a.throughput, b.throughput, |a, b| b.total_cmp(a));
                self.by_pace(candidates, dice, ranking, |one| one.throughput.is_some(), highest);
            }
        }
    }

    /// The fastest first, but for two reasons to ask another: not all have been measured, or it is time to measure again.
    fn by_pace(
        &self,
        candidates: &[Candidate<'_>],
        dice: &mut Dice,
        ranking: &mut Vec<Ranked>,
        is_known: impl Fn(&Candidate<'_>) -> bool,
        faster: impl Fn(&Candidate<'_>, &Candidate<'_>) -> Ordering,
    ) {
        if !candidates.iter().all(is_known) {
            in_turn(candidates, ranking, |_| 1.0, |_, _| Ordering::Equal);
            // Who measures is settled; whoever stands in for it should be fast.
            if let Some((_, rest)) = ranking.split_first_mut() {
                sort(candidates, rest, faster);
            }
        } else if candidates.len() > 1 && dice.ratio() < self.exploration_ratio {
            fill(candidates, ranking, |_| 1.0);
            sort(candidates, ranking, faster);
            let drawn = 1 + dice.below(ranking.len() - 1);
            if let Some(head) = ranking.get_mut(..=drawn) {
                head.rotate_right(1);
            }
            take(candidates, ranking, true);
        } else {
            in_turn(candidates, ranking, |_| 1.0, faster);
        }
    }
}

/// A virtual time of 1: the step of a target of weight 1.
const ONE: f64 = (1u64 << 32) as f64;
/// The step of the least weight. Far below half the range of a turn, so that wrapping differences tell before from after.
const LONGEST: f64 = (1u64 << 52) as f64;
/// Tries to take a turn that others take at the same time, before taking it regardless.
const TRIES: usize = 64;

/// The best by `better`, and among equals the one whose turn it is. Takes that turn.
fn in_turn(
    candidates: &[Candidate<'_>],
    ranking: &mut Vec<Ranked>,
    weight: impl Fn(&Candidate<'_>) -> f64,
    better: impl Fn(&Candidate<'_>, &Candidate<'_>) -> Ordering,
) {
    for tried in 1..=TRIES {
        fill(candidates, ranking, &weight);
        sort(candidates, ranking, &better);
        if take(candidates, ranking, tried == TRIES) {
            return;
        }
    }
}

/// Every candidate once, as given, with its turn as it stands now.
fn fill(candidates: &[Candidate<'_>], ranking: &mut Vec<Ranked>, weight: impl Fn(&Candidate<'_>) -> f64) {
    ranking.clear();
    ranking.reserve(candidates.len());
    let mut origin = None;
    for (index, candidate) in candidates.iter().enumerate() {
        let turn = candidate.turn.0.load(Relaxed);
        let step = step(weight(candidate));
        let since = turn.wrapping_sub(*origin.get_or_insert(turn)) as i64;
        ranking.push(Ranked { index, turn, step, due: since.saturating_add_unsigned(step / 2) });
    }
}

/// What a turn costs a target of this weight. What is no weight gets the least.
fn step(weight: f64) -> u64 {
    let step = if weight > 0.0 { ONE / weight } else { LONGEST };
    step.clamp(1.0, LONGEST) as u64
}

fn sort(candidates: &[Candidate<'_>], ranking: &mut [Ranked], better: impl Fn(&Candidate<'_>, &Candidate<'_>) -> Ordering) {
    ranking.sort_unstable_by(|a, b| {
        let by_merit = match (candidates.get(a.index), candidates.get(b.index)) {
            (Some(a), Some(b)) => better(a, b),
            _ => Ordering::Equal,
        };
        by_merit.then(a.due.cmp(&b.due)).then(a.index.cmp(&b.index))
    });
}

/// Moves the first one's turn on; false when somebody else just took it, unless `regardless`.
fn take(candidates: &[Candidate<'_>], ranking: &[Ranked], regardless: bool) -> bool {
    let Some((first, turn)) = ranking.first().and_then(|first| Some((first, candidates.get(first.index)?.turn))) else {
        return true;
    };
    // When the latest turn among these was taken, everyone who was there was due no earlier. Whoever is, was away and missed what
    // lies between. The least bit more is added so that no two that meet are ever due at once: who was served last stays last.
    let latest = ranking.iter().map(|one| one.due.saturating_sub_unsigned(one.step)).max().unwrap_or(first.due);
    let missed = latest.saturating_add(1).saturating_sub(first.due).max(0) as u64;
    let on = missed.wrapping_add(first.step);
    match turn.0.compare_exchange(first.turn, first.turn.wrapping_add(on), Relaxed, Relaxed) {
        Err(_) if regardless => {
            turn.0.fetch_add(first.step, Relaxed);
            true
        }
        outcome => outcome.is_ok(),
    }
}

fn known_first<T>(a: Option<T>, b: Option<T>, order: impl Fn(&T, &T) -> Ordering) -> Ordering {
    match (a, b) {
        (Some(a), Some(b)) => order(&a, &b),
        (a, b) => b.is_some().cmp(&a.is_some()),
    }
}

/// Fisher and Yates: every order is equally likely.
fn shuffle(ranking: &mut [Ranked], dice: &mut Dice) {
    for last in (1..ranking.len()).rev() {
        ranking.swap(last, dice.below(last + 1));
    }
}

#[cfg(test)]
mod tests;
