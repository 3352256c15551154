//! What was found in texts seen before: a conversation comes back whole with each of its turns.
//!
//! The judgement of a text does not depend on who wrote it (what it may lead to does, and is applied afterwards), so the text alone is the
//! key: 128 bits of a keyed hash nobody outside can make collide. The findings hold no text. A cache belongs to one compiled policy: a
//! reload begins with an empty one. It never waits: a shard somebody else holds counts as not knowing.

use crate::policy::Finding;
use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::sync::{Mutex, TryLockError};

/// Independent parts, so that requests seldom meet.
const SHARDS: usize = 16;
/// Shorter texts are read as fast as looked up.
const MIN_TEXT: usize = 64;
/// What an entry takes in a map, beside its findings.
const ENTRY: usize = 64;

/// Remembers the findings of texts, within a number of bytes.
pub struct Cache {
    keys: [RandomState; 2],
    shards: [Mutex<Shard>; SHARDS],
    /// Bytes of one generation of one shard.
    room: usize,
}

/// What is remembered of one text; of most it is nothing, which takes no allocation.
type Remembered = Box<[Finding]>;

/// Key of one text, made by [`Cache::key`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Key(u128);

/// Two generations: what is used moves to the young one, and when that is full the old one is forgotten.
#[derive(Default)]
struct Shard {
    young: HashMap<u128, Remembered>,
    old: HashMap<u128, Remembered>,
    bytes: usize,
}

impl Cache {
    /// An empty cache of about `bytes`, under two keys of its own.
    pub fn new(bytes: usize, keys: [RandomState; 2]) -> Self {
        Self { keys, shards: Default::default(), room: bytes / SHARDS / 2 }
    }

    /// The key of a text; `None` for one not worth remembering.
    pub fn key(&self, text: &str) -> Option<Key> {
        let [high, low] = &self.keys;
        (text.len() >= MIN_TEXT).then(|| Key(u128::from(high.hash_one(text)) << 64 | u128::from(low.hash_one(text))))
    }

    /// What was found under `key`, if it is known and its shard is free.
    pub fn get(&self, key: Key) -> Option<Vec<Finding>> {
        self.with(key, |shard| {
            if let Some(found) = shard.young.get(&key.0) {
                return Some(found.to_vec());
            }
            let found = shard.old.remove(&key.0)?;
            let findings = found.to_vec();
            shard.put(key, found, self.room);
            Some(findings)
        })?
    }

    /// Remembers what was found under `key`, unless its shard is busy or it is too much.
    pub fn put(&self, key: Key, findings: &[Finding]) {
        if size(findings) <= self.room {
            self.with(key, |shard| shard.put(key, findings.into(), self.room));
        }
    }

    fn with<T>(&self, key: Key, act: impl FnOnce(&mut Shard) -> T) -> Option<T> {
        let shard = self.shards.get(key.0 as usize % SHARDS)?;
        match shard.try_lock() {
            Ok(mut shard) => Some(act(&mut shard)),
            // Whoever panicked here left a whole map: each change is one call.
            Err(TryLockError::Poisoned(shard)) => Some(act(&mut shard.into_inner())),
            Err(TryLockError::WouldBlock) => None,
        }
    }
}

impl Shard {
    fn put(&mut self, key: Key, findings: Remembered, room: usize) {
        let size = size(&findings);
        if self.bytes + size > room {
            // Both keep their memory.
            std::mem::swap(&mut self.old, &mut self.young);
            self.young.clear();
            self.bytes = 0;
        }
        if self.young.insert(key.0, findings).is_none() {
            self.bytes += size;
        }
    }
}

/// Bytes an entry takes. Rule ids of the operator's patterns are the only text in it that is not in the binary.
fn size(findings: &[Finding]) -> usize {
    let owned: usize = findings.iter().map(|finding| finding.rule.len() + finding.what.len()).sum();
    ENTRY + size_of_val(findings) + owned
}

impl std::fmt::Debug for Cache {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Cache").field("room", &self.room).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cache(bytes: usize) -> Cache {
        Cache::new(bytes, [RandomState::new(), RandomState::new()])
    }

    fn findings(count: usize) -> Vec<Finding> {
        let finding = Finding { what: "override".into(), rule: "override.rules".into(), text: 0, range: 1..2, score: Some(0.9) };
        vec![finding; count]
    }

    fn text(number: usize) -> String {
        format!("{number:0>width$}", width = MIN_TEXT)
    }

    fn bytes(cache: &Cache) -> usize {
        let of = |map: &HashMap<u128, Remembered>| map.values().map(|found| size(found)).sum::<usize>();
        cache.shards.iter().map(|shard| shard.lock().unwrap()).map(|shard| of(&shard.young) + of(&shard.old)).sum()
    }

    #[test]
    fn what_was_put_is_got_until_newer_texts_need_the_room() {
        let cache = cache(1 << 16);
        let key = |number| cache.key(&text(number)).unwrap();
        cache.put(key(0), &findings(2));
        assert_eq!(cache.get(key(0)).as_deref(), Some(&findings(2)[..]));
        for number in 1..5_000 {
            cache.put(key(number), &findings(number % 3));
            assert!(bytes(&cache) <= 1 << 16, "{number}");
        }
        assert!(cache.get(key(0)).is_none());
        assert!(cache.get(key(4_999)).is_some());
    }

    #[test]
    fn a_text_in_use_outlives_those_nobody_asks_for() {
        let cache = cache(1 << 16);
        let key = |number| cache.key(&text(number)).unwrap();
        cache.put(key(0), &findings(1));
        for number in 1..5_000 {
            cache.put(key(number), &findings(1));
            assert!(cache.get(key(0)).is_some(), "{number}");
        }
    }

    #[test]
    fn a_busy_shard_is_a_miss_not_a_wait() {
        let cache = cache(1 << 16);
        let key = cache.key(&text(1)).unwrap();
        cache.put(key, &[]);
        let held: Vec<_> = cache.shards.iter().map(|shard| shard.lock().unwrap()).collect();
        assert!(cache.get(key).is_none());
        cache.put(key, &findings(1));
        drop(held);
        assert_eq!(cache.get(key).as_deref(), Some(&[][..]));
    }

    #[test]
    fn short_texts_and_findings_larger_than_the_cache_are_not_kept() {
        let cache = cache(1 << 12);
        assert!(cache.key("hello").is_none());
        let key = cache.key(&text(1)).unwrap();
        cache.put(key, &findings(1000));
        assert!(cache.get(key).is_none());
    }
}
