//! A courier between a real log and a sink that does what a script says: whatever fails and whenever the process dies, the sink ends
//! up with every entry, in order, and with the same bundles.

use super::bundle::Bundle;
use super::courier::{Courier, Step};
use super::destination::{Destination, Failure};
use crate::audit::origin::Origin;
use crate::audit::segment;
use async_trait::async_trait;
use proptest::prelude::*;
use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex};
use tempfile::TempDir;

/// A sink in memory: what it holds, and what becomes of the next deliveries.
#[derive(Clone, Default)]
struct Memory(Arc<Mutex<Held>>);

#[derive(Default)]
struct Held {
    bundles: BTreeMap<String, Bundle>,
    /// Every bundle that came, in order.
    arrivals: Vec<String>,
    fates: VecDeque<Fate>,
    room: usize,
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Fate {
    Kept,
    /// It never arrives.
    Lost,
    /// It is kept, and nobody says so.
    Unanswered,
    /// The process dies before an answer comes, whether it is kept or not.
    Killed {
        kept: bool,
    },
}

#[async_trait]
impl Destination for Memory {
    async fn ready(&mut self) -> Result<usize, Failure> {
        Ok(self.0.lock().unwrap().room)
    }

    async fn newest(&mut self, _: &Origin, from: u64) -> Result<Option<Bundle>, Failure> {
        Ok(self.0.lock().unwrap().bundles.values().rfind(|bundle| bundle.first >= from).cloned())
    }

    async fn deliver(&mut self, bundle: &Bundle) -> Result<(), Failure> {
        let mut held = self.0.lock().unwrap();
        let fate = held.fates.pop_front().unwrap_or(Fate::Kept);
        if matches!(fate, Fate::Kept | Fate::Unanswered | Fate::Killed { kept: true }) {
            held.arrivals.push(bundle.id());
            let there = held.bundles.entry(bundle.id()).or_insert_with(|| bundle.clone());
            assert_eq!(there, bundle, "one name, one bundle");
        }
        match fate {
            Fate::Kept => Ok(()),
            _ => Err(Failure::later("a test", &format!("{fate:?}"))),
        }
    }
}

struct Log {
    dir: TempDir,
    origin: Origin,
}

impl Log {
    fn new(entries: u64) -> Log {
        let log = Log { dir: tempfile::tempdir().unwrap(), origin: Origin::parse("kt/test").unwrap() };
        std::fs::create_dir_all(log.origin.below(log.dir.path()).join("wal")).unwrap();
        log.write(entries, "");
        log
    }

    /// Writes the whole log anew.
    fn write(&self, entries: u64, salt: &str) {
        let header = segment::Header { origin: self.origin.to_string(), before: Default::default() };
        let mut bytes = header.encode().to_vec();
        for index in 0..entries {
            segment::put_frame(&mut bytes, &[0; 32], &entry(index, salt));
        }
        bytes.resize(bytes.len() + 1024, 0);
        let wal = self.origin.below(self.dir.path()).join("wal");
        std::fs::write(wal.join("new"), bytes).unwrap();
        std::fs::rename(wal.join("new"), segment::path(&wal, 0)).unwrap();
    }

    fn courier(&self, sink: &Memory) -> Courier {
        Courier::new(self.dir.path(), &self.origin, "memory", Box::new(sink.clone()))
    }
}

fn entry(index: u64, salt: &str) -> Vec<u8> {
    format!("{{\"n\":{index},\"salt\":\"{salt}\",\"pad\":\"{}\"}}", "x".repeat(40)).into_bytes()
}

fn block_on<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(future)
}

fn room(bytes: usize) -> Memory {
    let sink = Memory::default();
    sink.0.lock().unwrap().room = bytes;
    sink
}

fn fate() -> impl Strategy<Value = Fate> {
    prop_oneof![
        3 => Just(Fate::Kept),
        1 => Just(Fate::Lost),
        1 => Just(Fate::Unanswered),
        1 => any::<bool>().prop_map(|kept| Fate::Killed { kept }),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]
    #[test]
    fn the_sink_ends_up_with_every_entry_once_by_name_and_in_order(
        entries in 1u64..40, bytes in 100usize..700, fates in prop::collection::vec(fate(), 0..30),
        bounds in prop::collection::vec(0u64..12, 1..8),
    ) {
        let (log, sink) = (Log::new(entries), room(bytes));
        sink.0.lock().unwrap().fates = fates.clone().into();
        let (mut courier, mut bound) = (log.courier(&sink), 0);
        let mut bounds = bounds.into_iter();
        loop {
            let killed = matches!(sink.0.lock().unwrap().fates.front(), Some(Fate::Killed { .. }));
            let tried = sink.0.lock().unwrap().fates.len();
            let step = block_on(courier.step(bound, 0.5));
            if killed && sink.0.lock().unwrap().fates.len() < tried {
                // Perhaps it takes another amount when the next process comes.
                sink.0.lock().unwrap().room = 900 - bytes;
                courier = log.courier(&sink);
            } else if step == Step::Done {
                if bound == entries {
                    break;
                }
                bound = bounds.next().map_or(entries, |more| (bound + more).min(entries));
            }
        }
        let held = sink.0.lock().unwrap();
        let told: Vec<Vec<u8>> = held.bundles.values().flat_map(|b| b.entries().map(<[u8]>::to_vec).collect::<Vec<_>>()).collect();
        prop_assert_eq!(told, (0..entries).map(|index| entry(index, "")).collect::<Vec<_>>());
        prop_assert!(held.arrivals.is_sorted(), "{:?}", held.arrivals);
    }
}

#[test]
fn a_bookmark_that_is_lost_or_old_costs_nothing_because_the_sink_says_how_far_it_is() {
    for old in [None, Some("next 0\n"), Some("next 3\nsending 3\n")] {
        let (log, sink) = (Log::new(20), room(400));
        let mut courier = log.courier(&sink);
        while block_on(courier.step(8, 0.5)) != Step::Done {}
        let bookmark = log.origin.below(log.dir.path()).join("sinks/memory.cursor");
        match old {
            None => std::fs::remove_file(bookmark).unwrap(),
            Some(text) => std::fs::write(bookmark, text).unwrap(),
        }
        let mut courier = log.courier(&sink);
        while block_on(courier.step(20, 0.5)) != Step::Done {}
        let held = sink.0.lock().unwrap();
        let ends: Vec<(u64, u64)> = held.bundles.values().map(|bundle| (bundle.first, bundle.end())).collect();
        assert!(ends.windows(2).all(|pair| pair[0].1 == pair[1].0), "{old:?}: {ends:?}");
        assert_eq!((ends[0].0, ends.last().unwrap().1), (0, 20), "{old:?}");
    }
}

#[test]
fn a_log_that_was_set_back_is_never_mixed_into_what_the_sink_has() {
    let (log, sink) = (Log::new(8), room(100_000));
    assert_eq!(block_on(log.courier(&sink).step(4, 0.5)), Step::Delivered { more: false });
    let bookmark = log.origin.below(log.dir.path()).join("sinks/memory.cursor");
    let before = std::fs::read(&bookmark).unwrap();
    assert_eq!(block_on(log.courier(&sink).step(8, 0.5)), Step::Delivered { more: false });
    // A snapshot of the whole disk comes back, and goes on differently.
    std::fs::write(&bookmark, before).unwrap();
    for (entries, salt) in [(5, ""), (12, "another")] {
        log.write(entries, salt);
        assert!(matches!(block_on(log.courier(&sink).step(entries, 0.5)), Step::Failed(_)), "{entries}");
    }
    assert_eq!(sink.0.lock().unwrap().arrivals.len(), 2);
}

#[test]
fn another_log_of_the_same_name_is_never_mixed_into_what_the_sink_has() {
    let (log, sink) = (Log::new(8), room(100_000));
    assert_eq!(block_on(log.courier(&sink).step(8, 0.5)), Step::Delivered { more: false });
    for (entries, salt) in [(8, "another"), (3, "")] {
        // A new disk under the same host name: the bookmark is gone, and the log is another one.
        let log = Log::new(entries);
        log.write(entries, salt);
        assert!(matches!(block_on(log.courier(&sink).step(entries, 0.5)), Step::Failed(_)), "{salt}");
    }
    assert_eq!(sink.0.lock().unwrap().arrivals.len(), 1);
}

#[test]
fn nothing_beyond_what_is_durable_leaves() {
    let (log, sink) = (Log::new(30), room(100_000));
    let mut courier = log.courier(&sink);
    assert_eq!(block_on(courier.step(0, 0.5)), Step::Done);
    assert_eq!(block_on(courier.step(7, 0.5)), Step::Delivered { more: false });
    assert_eq!(courier.behind(9), 2);
    assert_eq!(sink.0.lock().unwrap().bundles.values().map(Bundle::end).max(), Some(7));
}

#[test]
fn a_record_that_cannot_be_read_stops_the_sink_and_is_not_passed_over() {
    let (log, sink) = (Log::new(4), room(100_000));
    let mut courier = log.courier(&sink);
    assert_eq!(block_on(courier.step(6, 0.5)), Step::Delivered { more: false });
    assert!(matches!(block_on(courier.step(6, 0.5)), Step::Failed(_)));
    log.write(6, "");
    assert_eq!(block_on(courier.step(6, 0.5)), Step::Delivered { more: false });
    assert_eq!(courier.behind(6), 0);
}
