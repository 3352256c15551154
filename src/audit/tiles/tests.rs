//! The tree on disk: its shape, its way back, and everything that must not pass for it.

use super::*;
use crate::audit::merkle::{Frontier, Hash, Nodes, leaf_hash, verify_inclusion};
use crate::audit::note::{Checkpoint, NoteError, Signer};
use proptest::prelude::*;
use std::collections::BTreeSet;
use std::convert::Infallible;
use std::path::Path;

mod foreign;
mod mutations;

const ORIGIN: &str = "kt/edge-7";

fn signer() -> Signer {
    Signer::from_seed(ORIGIN, &[7; 32]).unwrap()
}

/// Records of several lengths, one of them empty.
fn entry(index: u64) -> Vec<u8> {
    if index == 3 { Vec::new() } else { format!("record {index:0>width$}", width = (index % 40) as usize).into_bytes() }
}

/// Writes the tree of the records from the edge up to `size` and returns its checkpoint.
fn write_tree(dir: &Path, edge: Edge, size: u64) -> String {
    let mut writer = TreeWriter::create(dir, edge.clone()).unwrap();
    for index in edge.size()..size {
        writer.push(&entry(index)).unwrap();
    }
    let note = signer().sign(&Checkpoint { origin: ORIGIN.into(), size, root: writer.frontier().root() });
    writer.finish(&note, signer().verifier()).unwrap();
    note
}

fn files(dir: &Path) -> BTreeSet<String> {
    fn walk(dir: &Path, below: &str, found: &mut BTreeSet<String>) {
        for entry in std::fs::read_dir(dir).unwrap() {
            let entry = entry.unwrap();
            let name = format!("{below}{}", entry.file_name().into_string().unwrap());
            if entry.path().is_dir() {
                walk(&entry.path(), &format!("{name}/"), found);
            } else {
                found.insert(name);
            }
        }
    }
    let mut found = BTreeSet::new();
    walk(dir, "", &mut found);
    found
}

fn flaw(dir: &Path, minimum: u64) -> String {
    verify_tree(dir, signer().verifier(), minimum).unwrap_err().to_string()
}

#[test]
fn a_path_is_written_in_groups_of_three_digits() {
    let tile = |row, index, width| Tile { row, index, width }.to_string();
    assert_eq!(tile(Row::Level(0), 0, 256), "tile/0/000");
    assert_eq!(tile(Row::Level(1), 1_234_067, 256), "tile/1/x001/x234/067");
    assert_eq!(tile(Row::Entries, 1_234_067, 8), "tile/entries/x001/x234/067.p/8");
    assert_eq!(tile(Row::Entries, u64::MAX, 256), "tile/entries/x018/x446/x744/x073/x709/x551/615");
}

#[test]
fn a_path_has_one_form() {
    for path in [
        "tile/0/0",
        "tile/00/000",
        "tile/0/x000/001",
        "tile/0/001/002",
        "tile/0/x001",
        "tile/0/000.p/0",
        "tile/0/000.p/256",
        "tile/0/000.p/01",
        "tile/256/000",
        "tile/0/",
        "tile//000",
        "tile/0/000/",
        "tile/0/+01",
        "tile/-1/000",
        "0/000",
        "tile/0/000.p/",
        "tile/entries/00a",
        "tile/0/x018/x446/x744/x073/x709/x551/616",
    ] {
        assert_eq!(Tile::parse(path), None, "{path}");
    }
}

/// The example of the specification.
#[test]
fn a_tree_of_70000_records_is_the_files_the_specification_counts() {
    let dir = tempfile::tempdir().unwrap();
    write_tree(dir.path(), Edge::new(), 70_000);
    let files = files(dir.path());
    let row = |prefix: &str| files.iter().filter(|file| file.starts_with(prefix)).count();
    assert_eq!((row("tile/0/"), row("tile/1/"), row("tile/2/"), row("tile/entries/")), (274, 2, 1, 274));
    for partial in ["tile/0/273.p/112", "tile/1/001.p/17", "tile/2/000.p/1", "tile/entries/273.p/112", "checkpoint", "key.pub"] {
        assert!(files.contains(partial), "{partial}");
    }
    assert_eq!(files.len(), 274 + 2 + 1 + 274 + 2);
    let verified = verify_tree(dir.path(), signer().verifier(), 0).unwrap();
    assert_eq!((verified.checkpoint.size, verified.minimum), (70_000, 0));

    // What CVE-2026-56865 let pass: a leaf hash that no path of the reader went through.
    let tile = dir.path().join("tile/0/078");
    let mut forged = std::fs::read(&tile).unwrap();
    forged[32..64].copy_from_slice(&leaf_hash(b"forged"));
    std::fs::write(&tile, forged).unwrap();
    assert_eq!(flaw(dir.path(), 0), "record 19969: tile/0/078 does not hold the hash of what is below it");
}

#[test]
fn the_first_record_at_fault_is_named() {
    let dir = tempfile::tempdir().unwrap();
    write_tree(dir.path(), Edge::new(), 700);
    let change = |file: &str, change: &dyn Fn(&mut Vec<u8>)| {
        let path = dir.path().join(file);
        let original = std::fs::read(&path).unwrap();
        let mut bytes = original.clone();
        change(&mut bytes);
        std::fs::write(&path, bytes).unwrap();
        let flaw = flaw(dir.path(), 0);
        std::fs::write(&path, original).unwrap();
        flaw
    };
    assert_eq!(change("tile/0/001", &|b| b[32 * 9] ^= 1), "record 265: tile/0/001 does not hold the hash of what is below it");
    assert_eq!(
        change("tile/1/000.p/2", &|b| b[40] ^= 1),
        "record 256: tile/1/000.p/2 does not hold the hash of what is below it"
    );
    assert_eq!(change("tile/0/001", &|b| b.truncate(8_191)), "record 256: tile/0/001 is not as long as it should be");
    assert_eq!(change("tile/0/001", &|b| b.push(0)), "record 256: tile/0/001 is not as long as it should be");
    assert_eq!(
        change("tile/entries/002.p/188", &|b| b[4] ^= 1),
        "record 512: tile/0/002.p/188 does not hold the hash of what is below it"
    );
    assert_eq!(change("tile/entries/001", &|b| b.truncate(2)), "record 256: tile/entries/001 ends in the middle of it");
    assert_eq!(change("tile/entries/001", &|b| b.clear()), "record 256: tile/entries/001 does not hold it");
    assert_eq!(
        change("tile/entries/002.p/188", &|b| b.extend([0, 0])),
        "record 700: tile/entries/002.p/188 holds more records than it may"
    );
    assert_eq!(change("key.pub", &|b| b.clear()), "key.pub: not the key that this tree is verified with");
    assert_eq!(change("checkpoint", &|b| b[0] ^= 1), format!("checkpoint: {}", NoteError::Signature));
    assert!(verify_tree(dir.path(), signer().verifier(), 0).is_ok());
}

#[test]
fn a_missing_file_and_a_file_too_many_are_named() {
    let dir = tempfile::tempdir().unwrap();
    write_tree(dir.path(), Edge::new(), 700);
    let stray = dir.path().join("tile/0/002.p/187");
    std::fs::write(&stray, [0; 187 * 32]).unwrap();
    assert_eq!(flaw(dir.path(), 0), format!("{}: no part of the tree", stray.display()));
    std::fs::remove_file(&stray).unwrap();
    std::fs::create_dir_all(dir.path().join("tile/0/a/b/c")).unwrap();
    assert!(verify_tree(dir.path(), signer().verifier(), 0).is_ok(), "an empty directory says nothing");
    std::fs::remove_file(dir.path().join("tile/entries/001")).unwrap();
    assert_eq!(flaw(dir.path(), 0), "record 256: tile/entries/001 is missing");
}

#[test]
fn a_tree_that_was_changed_everywhere_alike_does_not_lead_to_the_root() {
    let (signed, changed) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let note = write_tree(signed.path(), Edge::new(), 300);
    write_tree(changed.path(), edge_after(1, |_| leaf_hash(b"another")), 300);
    // The records from 256 on are the same, so nothing but the root can tell.
    std::fs::write(changed.path().join(CHECKPOINT), note).unwrap();
    assert_eq!(flaw(changed.path(), 256), "the 300 records do not lead to the root that was signed");
}

#[test]
fn a_tree_of_no_records_is_a_checkpoint() {
    let dir = tempfile::tempdir().unwrap();
    write_tree(dir.path(), Edge::new(), 0);
    assert_eq!(files(dir.path()).into_iter().collect::<Vec<_>>(), ["checkpoint", "key.pub"]);
    assert_eq!(verify_tree(dir.path(), signer().verifier(), 0).unwrap().checkpoint.size, 0);
    assert_eq!(flaw(dir.path(), 1), "the tree has 0 records and should be there from 1 on");
}

#[test]
fn a_tree_is_written_once_and_with_its_own_checkpoint_only() {
    let dir = tempfile::tempdir().unwrap();
    write_tree(dir.path(), Edge::new(), 5);
    assert!(matches!(TreeWriter::create(dir.path(), Edge::new()), Err(WriteError::NotEmpty(_))));
    let note = std::fs::read_to_string(dir.path().join(CHECKPOINT)).unwrap();
    for size in [4, 6] {
        let other = tempfile::tempdir().unwrap();
        let mut writer = TreeWriter::create(&other.path().join("new"), Edge::new()).unwrap();
        (0..size).for_each(|index| writer.push(&entry(index)).unwrap());
        assert!(matches!(writer.finish(&note, signer().verifier()), Err(WriteError::OtherTree { .. })));
        assert!(!other.path().join("new").join(CHECKPOINT).exists());
    }
}

#[test]
fn a_record_beyond_the_format_is_refused_and_the_tree_goes_on() {
    let dir = tempfile::tempdir().unwrap();
    let mut writer = TreeWriter::create(dir.path(), Edge::new()).unwrap();
    assert!(matches!(writer.push(&vec![0; 65_536]), Err(WriteError::TooLong(_))));
    writer.push(&vec![0; 65_535]).unwrap();
    assert_eq!(writer.frontier().size(), 1);
}

#[test]
fn a_log_that_gave_up_its_beginning_is_written_from_there_and_verifies_from_there() {
    // Deep in the tree, so that four levels of tiles lie across the cut.
    let cut = 3 * 256_u64.pow(3) + 70 * 256_u64.pow(2) + 254 * 256;
    for (from, size) in [(cut, cut + 700), (cut, cut), (cut - 56, cut + 1), (cut + 1, cut + 256)] {
        let dir = tempfile::tempdir().unwrap();
        write_tree(dir.path(), edge_after(from, leaf_of), size);
        let minimum = from.next_multiple_of(256);
        let verified = verify_tree(dir.path(), signer().verifier(), minimum).unwrap();
        assert_eq!((verified.checkpoint.size, verified.minimum), (size, minimum));
        assert!(flaw(dir.path(), 0).contains("is missing"), "whoever expects all records is told");
    }
    let dir = tempfile::tempdir().unwrap();
    let mut writer = TreeWriter::create(dir.path(), edge_after(300, leaf_of)).unwrap();
    writer.push(&entry(300)).unwrap();
    let note = signer().sign(&Checkpoint { origin: ORIGIN.into(), size: 301, root: writer.frontier().root() });
    assert!(matches!(writer.finish(&note, signer().verifier()), Err(WriteError::TooShort { from: 300, minimum: 512 })));
}

/// The edge of a large tree, whose nodes are made up: nobody can tell, as long as they stay the same.
fn edge_after(size: u64, leaf: fn(u64) -> Hash) -> Edge {
    struct MadeUp(fn(u64) -> Hash);
    impl Nodes for MadeUp {
        type Error = Infallible;
        fn node(&self, height: u32, index: u64) -> Result<Hash, Infallible> {
            Ok(if height == 0 { (self.0)(index) } else { leaf_hash(format!("{height} {index}").as_bytes()) })
        }
    }
    let Ok(edge) = Edge::of(&MadeUp(leaf), size);
    edge
}

fn leaf_of(index: u64) -> Hash {
    leaf_hash(&entry(index))
}

#[test]
fn proofs_are_made_of_the_files_of_a_tree() {
    let dir = tempfile::tempdir().unwrap();
    write_tree(dir.path(), Edge::new(), 66_000);
    let root = verify_tree(dir.path(), signer().verifier(), 0).unwrap().checkpoint.root;
    let files = TreeReader::new(dir.path(), 66_000);
    for index in [0, 255, 256, 19_969, 65_535, 65_536, 65_999] {
        assert_eq!(files.entry(index).unwrap(), entry(index));
        let proof = crate::audit::merkle::inclusion_proof(&files, index, 66_000).unwrap();
        assert_eq!(verify_inclusion(&leaf_of(index), index, 66_000, &proof, &root), Ok(()));
    }
    assert!(files.entry(66_000).is_err());
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]

    #[test]
    fn every_path_reads_as_what_it_was_written_from(level in 0..64_u8, index: u64, width in 1..=256_u16, entries: bool) {
        let row = if entries { Row::Entries } else { Row::Level(level) };
        let tile = Tile { row, index, width };
        prop_assert_eq!(Tile::parse(&tile.to_string()), Some(tile));
        let _ = (tile.first(), tile.is_kept(index), Tile::of(row, index, u64::MAX));
    }

    #[test]
    fn no_text_makes_the_path_parser_panic(path in "tile/[entries0-9x./p]{0,30}") {
        prop_assert!(Tile::parse(&path).is_none_or(|tile| tile.to_string() == path));
    }

    #[test]
    fn a_bundle_gives_back_its_records_and_a_torn_one_says_so(
        records in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..300), 0..20),
        torn in any::<prop::sample::Index>(),
    ) {
        let mut bytes = Vec::new();
        for record in &records {
            bundle::put(&mut bytes, record).unwrap();
        }
        let read: Result<Vec<_>, _> = bundle::entries(&bytes).map(|entry| entry.map(<[u8]>::to_vec)).collect();
        prop_assert_eq!(read, Ok(records.clone()));
        let torn = &bytes[..torn.index(bytes.len() + 1)];
        let (whole, cut): (Vec<_>, Vec<_>) = bundle::entries(torn).partition(Result::is_ok);
        let length: usize = whole.iter().flatten().map(|record| 2 + record.len()).sum();
        prop_assert_eq!(cut.len(), usize::from(length < torn.len()));
        let same = whole.iter().flatten().zip(&records).all(|(read, record)| read == record);
        prop_assert!(same);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 6, ..ProptestConfig::default() })]

    #[test]
    fn an_edge_is_its_tree_in_every_form(size in prop_oneof![5 => 1..3_000_u64, 1 => 65_000..66_000_u64]) {
        let mut edge = Edge::new();
        let mut frontier = Frontier::new();
        let mut full = Vec::new();
        for index in 0..size {
            frontier.push(leaf_of(index));
            edge.push(leaf_of(index), |tile, hashes| { full.push((tile, hashes.to_vec())); Ok::<_, Infallible>(()) }).unwrap();
        }
        prop_assert_eq!(edge.frontier(), frontier);
        // Every tile that the size asks for was handed over once, or is in the edge.
        let mut tiles: Vec<Tile> = full.iter().map(|(tile, _)| *tile).chain(edge.tiles().map(|(tile, _)| tile)).collect();
        tiles.sort_by_key(|tile| (tile.row.height(), tile.index));
        let row = |level| (0..).map_while(move |index| Tile::of(Row::Level(level), index, size));
        let expected: Vec<Tile> = (0..8).flat_map(row).collect();
        prop_assert_eq!(tiles, expected);
        let bytes = edge.encode();
        prop_assert_eq!(Edge::parse(&bytes[..bytes.len() - 1]), None);
        prop_assert_eq!(Edge::parse(&[bytes.as_slice(), &[0; 32]].concat()), None);
        prop_assert_eq!(Edge::parse(&bytes), Some(edge));
    }
}
