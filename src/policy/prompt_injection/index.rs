//! Numbers by key, for keys that mostly are not there: a miss costs one look at a bit.

/// What is filed under 64-bit keys.
#[derive(Debug)]
pub struct Index {
    /// Which keys there are, some bits of them: may say yes too often.
    filter: Box<[u64; WORDS]>,
    /// Key, and which part of `values` is its. As many as a power of two, at most half of them taken; a key stands where its hash says,
    /// or in the next free slot.
    slots: Vec<(u64, u32, u32)>,
    values: Vec<u32>,
}

/// Bits of a hash the filter knows.
const FILTER: u32 = 15;
const WORDS: usize = 1 << (FILTER - 6);

impl Index {
    /// Files each value under its key, those of one key in the order they come in.
    pub fn new(pairs: impl Iterator<Item = (u64, u32)>) -> Self {
        let mut pairs: Vec<(u64, u32)> = pairs.collect();
        pairs.sort_by_key(|(key, _)| *key);
        let slots = (pairs.len() * 2 + 1).next_power_of_two();
        let mut index = Self { filter: Box::new([0; WORDS]), slots: vec![(0, 0, 0); slots], values: Vec::new() };
        for same in pairs.chunk_by(|a, b| a.0 == b.0) {
            let start = index.values.len() as u32;
            index.values.extend(same.iter().map(|(_, value)| value));
            if let Some((key, _)) = same.first() {
                index.file(*key, start, index.values.len() as u32);
            }
        }
        index
    }

    fn file(&mut self, key: u64, start: u32, end: u32) {
        let bit = bit(key);
        self.filter[bit / 64] |= 1 << (bit % 64);
        let free = self.probe(key).find(|at| self.slots.get(*at).is_some_and(|(_, start, end)| start == end));
        if let Some(slot) = free.and_then(|at| self.slots.get_mut(at)) {
            *slot = (key, start, end);
        }
    }

    /// Whether anything may be filed under `key`; false is certain.
    #[inline(always)]
    pub fn may_have(&self, key: u64) -> bool {
        let bit = bit(key);
        self.filter[bit / 64] >> (bit % 64) & 1 != 0
    }

    /// What is filed under `key`.
    #[inline]
    pub fn get(&self, key: u64) -> &[u32] {
        if !self.may_have(key) {
            return &[];
        }
        for at in self.probe(key) {
            match self.slots.get(at) {
                Some((filed, start, end)) if start < end => {
                    if *filed == key {
                        return self.values.get(*start as usize..*end as usize).unwrap_or_default();
                    }
                }
                _ => break,
            }
        }
        &[]
    }

    /// Where `key` may stand.
    #[inline]
    fn probe(&self, key: u64) -> impl Iterator<Item = usize> + use<> {
        let mask = self.slots.len() - 1;
        (hash(key) as usize..).map(move |at| at & mask).take(mask + 1)
    }
}

#[inline(always)]
fn hash(key: u64) -> u64 {
    key.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32
}

#[inline(always)]
fn bit(key: u64) -> usize {
    (hash(key) >> (32 - FILTER)) as usize
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::HashMap;

    proptest! {
        #[test]
        fn what_is_filed_is_found_in_order_and_nothing_else(pairs in prop::collection::vec((0u64..60, 0u32..9), 0..80)) {
            let index = Index::new(pairs.iter().copied());
            let mut expected: HashMap<u64, Vec<u32>> = HashMap::new();
            pairs.iter().for_each(|(key, value)| expected.entry(*key).or_default().push(*value));
            for key in 0..120 {
                prop_assert_eq!(index.get(key), expected.get(&key).map_or(&[][..], Vec::as_slice));
                prop_assert!(index.may_have(key) || !expected.contains_key(&key));
            }
        }
    }
}
