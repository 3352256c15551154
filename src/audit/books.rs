//! The books of a log: every exchange that begins must end, once. Kept while reading it in order.

use serde::Deserialize;
use std::collections::HashMap;

/// Counts of records, and the exchanges begun and not ended.
#[derive(Debug, Clone, Default)]
pub struct Books {
    /// What the records add up to.
    pub tally: Tally,
    /// Exchanges begun and not ended, by the id of their `received` record, with its index.
    pub open: HashMap<String, u64>,
    /// When the last record was made, as records write times; empty before the first.
    pub newest: String,
    /// What the log says was pruned: all records before this index.
    pub pruned: u64,
}

/// Counts of records: `received = completed + interrupted + open`, and `refused` apart. Where the records before some index were
/// pruned, `inherited` exchanges were open there.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Tally {
    /// Exchanges open at the first record that is left.
    pub inherited: u64,
    /// Exchanges begun.
    pub received: u64,
    /// Of those, ended by themselves.
    pub completed: u64,
    /// Of those, ended by a stop or a crash.
    pub interrupted: u64,
    /// Exchanges refused before they began: their only record is a `completed` one.
    pub refused: u64,
    /// Records of losses.
    pub gaps: u64,
}

impl Books {
    /// Books that begin in the middle of a log, where these exchanges were open.
    pub fn inheriting(open: HashMap<String, u64>) -> Books {
        Books { tally: Tally { inherited: open.len() as u64, ..Tally::default() }, open, ..Books::default() }
    }

    /// Enters a record; the error says why it cannot be one of this log.
    pub fn enter(&mut self, index: u64, entry: &[u8]) -> Result<(), &'static str> {
        let Ok(facts) = serde_json::from_slice::<Facts>(entry) else { return Err("it is not a record") };
        facts.time.clone_into(&mut self.newest);
        match (facts.kind, facts.parent) {
            ("llm.request.received", _) => {
                self.tally.received += 1;
                self.open.insert(facts.id.to_string(), index);
            }
            (kind @ ("llm.request.completed" | "llm.request.interrupted"), Some(parent)) => {
                if self.open.remove(parent).is_none() {
                    return Err("it ends an exchange that is not open");
                }
                match kind {
                    "llm.request.completed" => self.tally.completed += 1,
                    _ => self.tally.interrupted += 1,
                }
            }
            ("llm.request.completed", None) => self.tally.refused += 1,
            ("audit.gap", _) => self.tally.gaps += 1,
            ("audit.pruned", _) => self.pruned = self.pruned.max(facts.new_minimum),
            _ => {}
        }
        Ok(())
    }
}

/// What the books need of a record; ids are written without escapes.
#[derive(Deserialize)]
struct Facts<'a> {
    id: &'a str,
    #[serde(rename = "type")]
    kind: &'a str,
    parent: Option<&'a str>,
    time: &'a str,
    #[serde(default)]
    new_minimum: u64,
}
