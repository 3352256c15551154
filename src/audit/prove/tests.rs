//! Every record that is left can be proved, and a proof is of that record alone.

use super::*;
use crate::audit::note::Signer;
use crate::audit::query::tests::Made;
use crate::audit::sealed;
use proptest::prelude::*;

fn entries(from: usize, count: usize) -> Vec<Vec<u8>> {
    let entry =
        |n| format!("{{\"id\":\"{n}\",\"type\":\"gateway.stop\",\"time\":\"2026-11-21T00:00:00.000000000Z\"}}").into_bytes();
    (from..from + count).map(entry).collect()
}

fn key() -> Signer {
    Signer::from_seed("kt/made", &[3; 32]).unwrap()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(6))]

    #[test]
    fn every_record_of_every_segment_is_proved_before_and_after_pruning(sizes in prop::collection::vec(1usize..300, 2..5), pruned in 0usize..3) {
        let mut made = Made::new();
        let mut paths = Vec::new();
        for size in &sizes {
            let next = entries(made.entries.len(), *size);
            paths.push(made.write(&next));
        }
        made.sign(&key());
        let prove = |made: &Made, index| prove(made.dir.path(), &made.origin, index);
        let holds = |made: &Made, index: usize| {
            let proved = prove(made, index as u64).unwrap();
            assert_eq!(proved.entry, made.entries[index]);
            let read = TlogProof::parse(&proved.proof.to_string()).unwrap();
            assert_eq!(read.verify(&made.entries[index], key().verifier()).unwrap().size, made.entries.len() as u64);
            assert!(read.verify(&made.entries[(index + 1) % made.entries.len()], key().verifier()).is_err());
        };
        (0..made.entries.len()).step_by(31).for_each(|index| holds(&made, index));
        paths.iter().take(paths.len() - 1).for_each(|path| made.seal(path));
        (0..made.entries.len()).step_by(11).for_each(|index| holds(&made, index));
        let sealed = sealed::list(&made.home()).unwrap();
        let gone = &sealed[..pruned.min(sealed.len() - 1)];
        gone.iter().flat_map(sealed::Sealed::files).for_each(|file| std::fs::remove_file(file).unwrap());
        let left = gone.last().map_or(0, |last| last.last + 1);
        (left as usize..made.entries.len()).step_by(11).for_each(|index| holds(&made, index));
        if left > 0 {
            match prove(&made, left - 1) {
                Err(ProveError::Log(AuditError::Pruned { first, .. })) => prop_assert_eq!(first, left),
                other => prop_assert!(false, "{:?}", other),
            }
        }
    }
}

#[test]
fn a_record_without_a_checkpoint_and_one_that_is_not_there_are_told_apart() {
    let mut made = Made::new();
    made.write(&entries(0, 5));
    let prove = |made: &Made, index| prove(made.dir.path(), &made.origin, index);
    assert!(matches!(prove(&made, 0), Err(ProveError::NotCovered { index: 0, size: 0 })));
    made.sign(&key());
    made.write(&entries(5, 5));
    assert!(prove(&made, 4).is_ok());
    assert!(matches!(prove(&made, 5), Err(ProveError::NotCovered { index: 5, size: 5 })));
    assert!(matches!(prove(&made, 10), Err(ProveError::NoRecord { index: 10, size: 10 })));
}

#[test]
fn a_log_that_is_not_what_was_signed_proves_nothing() {
    let mut made = Made::new();
    made.write(&entries(0, 5));
    let mut forged = Made::new();
    forged.write(&entries(100, 5));
    made.sign(&key());
    std::fs::copy(made.home().join("checkpoint"), forged.home().join("checkpoint")).unwrap();
    std::fs::copy(made.home().join("key.pub"), forged.home().join("key.pub")).unwrap();
    assert!(matches!(prove(forged.dir.path(), &forged.origin, 0), Err(ProveError::Wrong(_))));
    std::fs::write(made.home().join("key.pub"), Signer::from_seed("kt/made", &[4; 32]).unwrap().verifier().to_string()).unwrap();
    assert!(matches!(prove(made.dir.path(), &made.origin, 0), Err(ProveError::Checkpoint { why: NoteError::Unsigned, .. })));
}
