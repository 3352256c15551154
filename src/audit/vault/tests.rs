//! What is deposited is found by either record, is erased for good, and goes with its records; none of it touches the tree.

use super::super::commitment::Committed;
use super::super::journal::{Journal, JournalSettings, MinFree};
use super::super::origin::Origin;
use super::super::record::{Completed, Received};
use super::super::verify::{Trust, verify};
use super::*;
use proptest::prelude::*;
use std::path::{Path, PathBuf};
use tempfile::TempDir;

const ORIGIN: &str = "kt/test";

fn settings() -> JournalSettings {
    JournalSettings {
        max_wait: std::time::Duration::from_secs(20),
        min_free: MinFree { bytes: 0, percent: 0.0 },
        segment_bytes: 128 << 10,
        ..JournalSettings::default()
    }
}

fn committed(body: &[u8]) -> Committed {
    let mut committing = Salt::fresh().unwrap().begin();
    committing.update(body);
    committing.finish()
}

fn body(budget: &Budget, bytes: &[u8]) -> Option<Body> {
    let mut body = budget.body();
    body.push(bytes).then_some(body)
}

fn home(dir: &TempDir) -> PathBuf {
    Origin::parse(ORIGIN).unwrap().below(dir.path())
}

/// One exchange with these bodies; its id.
async fn exchange(journal: &Journal, budget: &Budget, asked: &[u8], answered: &[u8]) -> Uuid {
    let mut ticket = journal.admit().await.unwrap();
    let id = ticket.id();
    let salts = |request, answer| Salts { request, redacted: None, answer };
    ticket.enclose(Deposit { salts: salts(Some(committed(asked).salt), None), ..Deposit::default() });
    ticket.received(Received::default()).await.unwrap();
    let (request, answer) = (body(budget, asked), body(budget, answered));
    ticket.enclose(Deposit { salts: salts(None, Some(committed(answered).salt)), request, answer, ..Deposit::default() });
    ticket.complete(Completed::default());
    id
}

fn is_intact(dir: &Path) -> bool {
    verify(dir, &Origin::parse(ORIGIN).unwrap(), &Trust::default(), &mut |_| {}).is_ok()
}

#[tokio::test]
async fn what_was_deposited_is_found_by_any_record_of_its_exchange() {
    let dir = TempDir::new().unwrap();
    let budget = Budget::of(1 << 20);
    let journal = Journal::open(dir.path(), ORIGIN, settings()).unwrap();
    let mut ids = Vec::new();
    for n in 0..20 {
        ids.push(exchange(&journal, &budget, format!("ask {n}").as_bytes(), format!("answer {n}").as_bytes()).await);
    }
    journal.close();
    drop(journal);
    for (n, id) in ids.iter().enumerate() {
        let kept = find(&home(&dir), *id).unwrap();
        let [first, last] = &kept[..] else { panic!("{kept:?}") };
        assert_eq!((first.record, first.exchange, last.exchange, first.last, last.last), (*id, *id, *id, false, true));
        assert!(first.index < last.index && first.salts().unwrap().request.is_some());
        assert_eq!(last.request().unwrap().unwrap(), format!("ask {n}").into_bytes());
        assert_eq!(last.answer().unwrap().unwrap(), format!("answer {n}").into_bytes());
        assert_eq!(find(&home(&dir), last.record).unwrap(), kept);
    }
    assert!(find(&home(&dir), Uuid::now_v7()).unwrap().is_empty());
    assert!(budget.take(1 << 20), "what bodies took goes back when they are on disk");
}

#[tokio::test]
async fn what_is_erased_is_gone_and_the_log_is_intact() {
    let dir = TempDir::new().unwrap();
    let budget = Budget::of(1 << 20);
    let journal = Journal::open(dir.path(), ORIGIN, settings()).unwrap();
    let id = exchange(&journal, &budget, b"a question nobody must read", b"its answer").await;
    let other = exchange(&journal, &budget, b"another question", b"another answer").await;
    journal.close();
    let files = || -> Vec<u8> {
        file::list(&home(&dir).join("vault")).unwrap().iter().flat_map(|(_, path)| std::fs::read(path).unwrap()).collect()
    };
    let holds = |text: &[u8]| memchr::memmem::find(&files(), text).is_some();
    let kept = find(&home(&dir), id).unwrap();
    assert!(holds(b"a question nobody must read"));
    kept.iter().for_each(|kept| erase(kept, Erase::Salts).unwrap());
    assert_eq!(kept[0].salts().unwrap(), Salts::default());
    assert!(kept[1].request().unwrap().is_some());
    kept.iter().for_each(|kept| erase(kept, Erase::All).unwrap());
    assert_eq!((kept[1].request().unwrap(), kept[1].answer().unwrap()), (None, None));
    assert!(!holds(b"a question nobody must read") && !holds(b"its answer") && holds(b"another answer"));
    assert_eq!(find(&home(&dir), other).unwrap().len(), 2, "what stands behind is still found");
    assert!(is_intact(dir.path()));
}

#[tokio::test]
async fn a_gateway_that_starts_again_goes_on_in_another_file() {
    let dir = TempDir::new().unwrap();
    let budget = Budget::of(1 << 20);
    let mut ids = Vec::new();
    for _ in 0..3 {
        let journal = Journal::open(dir.path(), ORIGIN, settings()).unwrap();
        ids.push(exchange(&journal, &budget, b"ask", b"answer").await);
        journal.close();
    }
    assert_eq!(file::list(&home(&dir).join("vault")).unwrap().len(), 3);
    assert!(ids.iter().all(|id| find(&home(&dir), *id).unwrap().len() == 2));
}

#[tokio::test]
async fn a_vault_goes_with_the_records_it_belongs_to() {
    let dir = TempDir::new().unwrap();
    let budget = Budget::of(8 << 20);
    let journal = Journal::open(dir.path(), ORIGIN, settings()).unwrap();
    let mut ids = Vec::new();
    for _ in 0..900 {
        ids.push(exchange(&journal, &budget, &[b'x'; 64], b"answer").await);
    }
    journal.close();
    let files = file::list(&home(&dir).join("vault")).unwrap();
    assert!(files.len() > 2, "{} file(s)", files.len());
    let cut = files[1].0;
    let index = |id: &Uuid| find(&home(&dir), *id).unwrap().first().map(|kept| kept.index);
    let before: Vec<_> = ids.iter().map(index).collect();
    prune(&home(&dir), cut).unwrap();
    for (id, before) in ids.iter().zip(before) {
        // Its first record may have gone while its last one is left.
        assert_eq!(index(id).is_some_and(|index| Some(index) == before), before >= Some(cut));
    }
    prune(&home(&dir), u64::MAX).unwrap();
    assert_eq!(file::list(&home(&dir).join("vault")).unwrap().len(), 1, "the one that may be written stays");
}

#[test]
fn a_body_is_read_back_by_the_holder_of_the_key_alone() {
    let (auditor, stranger) = (age::x25519::Identity::generate(), age::x25519::Identity::generate());
    let budget = Budget::of(1 << 20);
    let body = budget.sealed(b"what was said", &[auditor.to_public(), stranger.to_public()]).unwrap();
    assert_eq!(unsealed(body.bytes(), std::slice::from_ref(&stranger)).unwrap(), b"what was said");
    let body = budget.sealed(b"what was said", &[auditor.to_public()]).unwrap();
    assert!(memchr::memmem::find(body.bytes(), b"said").is_none());
    assert_eq!(unsealed(body.bytes(), &[auditor]).unwrap(), b"what was said");
    assert!(unsealed(body.bytes(), &[stranger]).is_err());
    assert!(budget.sealed(b"what was said", &[]).is_err());
    assert!(Budget::of(100).sealed(&[b'x'; 1000], &[age::x25519::Identity::generate().to_public()]).is_err());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn a_head_reads_back_and_no_damaged_one_does(index: u64, lengths: [u32; 2], salts in 0u8..8, last: bool, at in 0usize..file::HEAD, bit in 0u8..8) {
        let head = file::Head { index, exchange: Uuid::now_v7(), record: Uuid::now_v7(), lengths, salts, form: Form::Encrypted, last };
        let mut bytes = head.encode();
        prop_assert_eq!(file::Head::decode(&bytes), Some(head));
        bytes[at] ^= 1 << bit;
        prop_assert_eq!(file::Head::decode(&bytes), None);
    }

    #[test]
    fn memory_is_given_back_whatever_grew(pieces in proptest::collection::vec(0usize..40_000, 0..12)) {
        let budget = Budget::of(100_000);
        let mut body = budget.body();
        let fitted: usize = pieces.iter().filter(|length| body.push(&vec![1; **length])).sum();
        prop_assert_eq!(body.bytes().len(), fitted);
        drop(body);
        prop_assert!(budget.take(100_000) && !budget.take(1));
    }
}
