//! Random changes of a log on disk: whatever is changed, the verifier refuses the tree. `KT_MUTATIONS=10000` asks for more of them.

use super::*;
use proptest::sample::Index;
use std::fs;
use std::path::PathBuf;
use std::sync::LazyLock;

const SIZE: u64 = 700;

/// A change that someone with access to the files could make.
#[derive(Debug, Clone)]
enum Mutation {
    Flip(Index, Index, u8),
    Truncate(Index, Index),
    Extend(Index, Vec<u8>),
    Swap(Index, Index),
    Copy(Index, Index),
    Remove(Index),
    Stray(Index, u16),
    DropRecord(Index),
    DoubleRecord(Index),
    SwapRecords(Index, Index),
    /// A record and its leaf hash, as CVE-2026-56865 would have let pass.
    ReplaceRecord(Index, Vec<u8>),
    /// The whole log written again with other records and signed with another key.
    Resign(u8),
    /// A true checkpoint, of another size.
    Rewind(u64),
}

fn mutation() -> impl Strategy<Value = Mutation> {
    use Mutation::*;
    let (at, bytes) = (any::<Index>, || prop::collection::vec(any::<u8>(), 1..40));
    prop_oneof![
        8 => (at(), at(), 0..8_u8).prop_map(|(file, at, bit)| Flip(file, at, bit)),
        4 => (at(), at()).prop_map(|(file, at)| Truncate(file, at)),
        2 => (at(), bytes()).prop_map(|(file, more)| Extend(file, more)),
        4 => (at(), at()).prop_map(|(a, b)| Swap(a, b)),
        2 => (at(), at()).prop_map(|(a, b)| Copy(a, b)),
        1 => at().prop_map(Remove),
        1 => (at(), 1..256_u16).prop_map(|(file, width)| Stray(file, width)),
        2 => at().prop_map(DropRecord),
        2 => at().prop_map(DoubleRecord),
        2 => (at(), at()).prop_map(|(a, b)| SwapRecords(a, b)),
        4 => (at(), bytes()).prop_map(|(record, with)| ReplaceRecord(record, with)),
        1 => (0..255_u8).prop_map(Resign),
        1 => (0..SIZE).prop_map(Rewind),
    ]
}

type Files = Vec<(String, Vec<u8>)>;

/// The tree that is changed.
static TREE: LazyLock<Files> = LazyLock::new(|| {
    let dir = tempfile::tempdir().unwrap();
    write_tree(dir.path(), Edge::new(), SIZE);
    load(dir.path())
});

fn load(dir: &Path) -> Files {
    files(dir).into_iter().map(|name| (name.clone(), fs::read(dir.join(&name)).unwrap())).collect()
}

fn store(dir: &Path, files: &Files) {
    for (name, bytes) in files {
        let path: PathBuf = dir.join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, bytes).unwrap();
    }
}

impl Mutation {
    fn apply(&self, files: &mut Files) {
        let many = files.len();
        match self {
            Mutation::Flip(file, at, bit) => {
                let bytes = &mut files[file.index(many)].1;
                let at = at.index(bytes.len());
                bytes[at] ^= 1 << bit;
            }
            Mutation::Truncate(file, at) => {
                let bytes = &mut files[file.index(many)].1;
                bytes.truncate(at.index(bytes.len()));
            }
            Mutation::Extend(file, more) => files[file.index(many)].1.extend(more),
            Mutation::Swap(a, b) => {
                let (a, b) = (a.index(many), b.index(many));
                let (first, second) = (files[a].1.clone(), files[b].1.clone());
                (files[a].1, files[b].1) = (second, first);
            }
            Mutation::Copy(a, b) => files[a.index(many)].1 = files[b.index(many)].1.clone(),
            // Without `key.pub` a tree is whole: trust comes from elsewhere.
            Mutation::Remove(file) => drop(Some(file.index(many)).filter(|at| files[*at].0 != KEY).map(|at| files.remove(at))),
            Mutation::Stray(file, width) => {
                let (name, bytes) = &files[file.index(many)];
                let beside = name.split_once(".p/").map_or(name.as_str(), |(full, _)| full);
                let stray = (format!("{beside}.p/{width}"), bytes.clone());
                if name.starts_with("tile") && files.iter().all(|(name, _)| *name != stray.0) {
                    files.push(stray);
                }
            }
            Mutation::DropRecord(at) => edit(files, |records| drop(records.remove(at.index(records.len())))),
            Mutation::DoubleRecord(at) => {
                edit(files, |records| records.insert(at.index(records.len()), records[at.index(records.len())].clone()))
            }
            Mutation::SwapRecords(a, b) => edit(files, |records| records.swap(a.index(SIZE as usize), b.index(SIZE as usize))),
            Mutation::ReplaceRecord(at, with) => {
                let at = at.index(SIZE as usize);
                edit(files, |records| records[at].clone_from(with));
                let tile = Tile::of(Row::Level(0), at as u64 / 256, SIZE).unwrap().to_string();
                let (_, hashes) = files.iter_mut().find(|(name, _)| *name == tile).unwrap();
                hashes[at % 256 * 32..][..32].copy_from_slice(&leaf_hash(with));
            }
            Mutation::Resign(seed) => {
                let other = Signer::from_seed(ORIGIN, &[*seed; 32]).unwrap();
                if other.verifier() != signer().verifier() {
                    let (_, note) = files.iter_mut().find(|(name, _)| name == CHECKPOINT).unwrap();
                    let checkpoint = signer().verifier().verify(str::from_utf8(note).unwrap()).unwrap();
                    *note = other.sign(&checkpoint).into_bytes();
                }
            }
            Mutation::Rewind(size) => {
                let mut tree = Frontier::new();
                (0..*size).for_each(|index| tree.push(leaf_of(index)));
                let note = signer().sign(&Checkpoint { origin: ORIGIN.into(), size: *size, root: tree.root() });
                files.iter_mut().find(|(name, _)| name == CHECKPOINT).unwrap().1 = note.into_bytes();
            }
        }
    }
}

/// Changes the list of records and bundles them again.
fn edit(files: &mut Files, change: impl FnOnce(&mut Vec<Vec<u8>>)) {
    let mut records: Vec<Vec<u8>> = Vec::new();
    let bundles = |name: &str| name.starts_with("tile/entries/");
    for (_, bytes) in files.iter().filter(|(name, _)| bundles(name)) {
        records.extend(bundle::entries(bytes).map(|entry| entry.unwrap().to_vec()));
    }
    change(&mut records);
    for ((_, bytes), records) in files.iter_mut().filter(|(name, _)| bundles(name)).zip(records.chunks(WIDTH)) {
        bytes.clear();
        records.iter().for_each(|record| bundle::put(bytes, record).unwrap());
    }
}

fn cases() -> u32 {
    std::env::var("KT_MUTATIONS").ok().and_then(|count| count.parse().ok()).unwrap_or(200)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: cases(), max_shrink_iters: 0, ..ProptestConfig::default() })]

    #[test]
    fn every_mutation_of_a_log_is_refused(mutation in mutation()) {
        let mut files = TREE.clone();
        mutation.apply(&mut files);
        let dir = tempfile::tempdir().unwrap();
        store(dir.path(), &files);
        let verified = verify_tree(dir.path(), signer().verifier(), 0);
        prop_assert_eq!(verified.is_ok(), files == *TREE, "{:?}: {:?}", mutation, verified);
    }
}
