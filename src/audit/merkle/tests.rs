//! The tree against the definitions of RFC 6962, written down as they stand there.

use super::*;
use proptest::prelude::*;
use std::cell::RefCell;
use std::collections::HashMap;
use std::convert::Infallible;
use std::sync::LazyLock;

const MANY: usize = 100_000;

/// Leaves of one large tree, of which every smaller one is a beginning.
static LEAVES: LazyLock<Vec<Hash>> = LazyLock::new(|| (0..MANY as u32).map(|n| leaf_hash(&n.to_be_bytes())).collect());

thread_local! {
    /// The definition is asked for the same trees again and again.
    static KNOWN: RefCell<HashMap<(Hash, Hash, usize), Hash>> = RefCell::default();
}

/// `MTH` of RFC 6962, 2.1.
fn mth(leaves: &[Hash]) -> Hash {
    match leaves {
        [] => Sha256::digest(b"").into(),
        [leaf] => *leaf,
        [first, .., last] => {
            let key = (*first, *last, leaves.len());
            let known = KNOWN.with_borrow(|known| known.get(&key).copied());
            known.unwrap_or_else(|| {
                let k = half(leaves.len());
                let root = node_hash(&mth(&leaves[..k]), &mth(&leaves[k..]));
                KNOWN.with_borrow_mut(|known| known.insert(key, root));
                root
            })
        }
    }
}

/// `PATH` of RFC 6962, 2.1.1.
fn path(m: usize, leaves: &[Hash]) -> Vec<Hash> {
    if leaves.len() == 1 {
        return vec![];
    }
    let k = half(leaves.len());
    let (mut proof, other) =
        if m < k { (path(m, &leaves[..k]), mth(&leaves[k..])) } else { (path(m - k, &leaves[k..]), mth(&leaves[..k])) };
    proof.push(other);
    proof
}

/// `SUBPROOF` of RFC 6962, 2.1.2.
fn subproof(m: usize, leaves: &[Hash], whole: bool) -> Vec<Hash> {
    if m == leaves.len() {
        return if whole { vec![] } else { vec![mth(leaves)] };
    }
    let k = half(leaves.len());
    let (mut proof, other) = if m <= k {
        (subproof(m, &leaves[..k], whole), mth(&leaves[k..]))
    } else {
        (subproof(m - k, &leaves[k..], false), mth(&leaves[..k]))
    };
    proof.push(other);
    proof
}

fn half(n: usize) -> usize {
    n.next_power_of_two() / 2
}

/// Nodes straight from the definition. Refuses a subtree that is not full.
struct Naive<'a>(&'a [Hash]);

impl Nodes for Naive<'_> {
    type Error = Infallible;

    fn node(&self, height: u32, index: u64) -> Result<Hash, Infallible> {
        let begin = (index << height) as usize;
        Ok(mth(&self.0[begin..begin + (1 << height)]))
    }
}

fn frontier_of(leaves: &[Hash]) -> Frontier {
    let mut frontier = Frontier::new();
    leaves.iter().for_each(|leaf| frontier.push(*leaf));
    frontier
}

#[test]
fn the_roots_are_those_of_the_reference_vectors_of_certificate_transparency() {
    let entries: [&[u8]; 8] = [
        b"",
        b"\x00",
        b"\x10",
        b"\x20\x21",
        b"\x30\x31",
        b"\x40\x41\x42\x43",
        b"\x50\x51\x52\x53\x54\x55\x56\x57",
        b"\x60\x61\x62\x63\x64\x65\x66\x67\x68\x69\x6a\x6b\x6c\x6d\x6e\x6f",
    ];
    let roots = [
        "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
        "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
        "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
        "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
        "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
        "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
        "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
        "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
        "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
    ];
    let mut frontier = Frontier::new();
    assert_eq!(frontier.root(), EMPTY_ROOT);
    for (size, root) in roots.iter().enumerate() {
        assert_eq!(hex::encode(frontier.root()), *root, "size {size}");
        if let Some(entry) = entries.get(size) {
            frontier.push(leaf_hash(entry));
        }
    }
}

/// The example of RFC 6962, 2.1.3: seven leaves and the names of its picture.
#[test]
fn the_proofs_are_those_of_the_example_of_the_standard() {
    let d = &LEAVES[..7];
    let [a, b, c, d_, e, f, j] = [d[0], d[1], d[2], d[3], d[4], d[5], d[6]];
    let (g, h, i) = (node_hash(&a, &b), node_hash(&c, &d_), node_hash(&e, &f));
    let (k, l) = (node_hash(&g, &h), node_hash(&i, &j));
    let inclusion = |index| inclusion_proof(&Naive(d), index, 7).unwrap();
    assert_eq!(inclusion(0), [b, h, l]);
    assert_eq!(inclusion(3), [c, g, l]);
    assert_eq!(inclusion(4), [f, j, k]);
    assert_eq!(inclusion(6), [i, k]);
    let consistency = |old| consistency_proof(&Naive(d), old, 7).unwrap();
    assert_eq!(consistency(3), [c, d_, g, l]);
    assert_eq!(consistency(4), [l]);
    assert_eq!(consistency(6), [i, j, k]);
}

#[test]
fn every_tree_up_to_300_leaves_has_the_root_and_the_peaks_of_the_definition() {
    for size in 0..=300 {
        let frontier = frontier_of(&LEAVES[..size]);
        assert_eq!(frontier.root(), mth(&LEAVES[..size]), "size {size}");
        assert_eq!(Frontier::from_parts(size as u64, frontier.peaks()), Some(frontier.clone()));
        assert_eq!(Frontier::from_parts(size as u64 ^ 1, frontier.peaks()), None);
    }
}

#[test]
fn every_proof_in_small_trees_is_that_of_the_definition_and_verifies() {
    for size in 1..=300 {
        let leaves = &LEAVES[..size];
        let root = mth(leaves);
        // Every place of the small trees, and in the larger ones a thirteenth of them and the last.
        let step = if size <= 50 { 1 } else { 13 };
        for index in (size % step..size).step_by(step).chain([size - 1]) {
            check_inclusion(index, leaves, &root);
            check_consistency(index, leaves, &root);
        }
        check_consistency(size, leaves, &root);
    }
}

fn check_inclusion(index: usize, leaves: &[Hash], root: &Hash) {
    let proof = inclusion_proof(&Naive(leaves), index as u64, leaves.len() as u64).unwrap();
    assert_eq!(proof, path(index, leaves), "leaf {index} of {}", leaves.len());
    assert_eq!(verify_inclusion(&leaves[index], index as u64, leaves.len() as u64, &proof, root), Ok(()));
}

fn check_consistency(old: usize, leaves: &[Hash], root: &Hash) {
    let proof = consistency_proof(&Naive(leaves), old as u64, leaves.len() as u64).unwrap();
    let defined = if old == 0 { vec![] } else { subproof(old, leaves, true) };
    assert_eq!(proof, defined, "{old} of {}", leaves.len());
    assert_eq!(verify_consistency(old as u64, &mth(&leaves[..old]), leaves.len() as u64, root, &proof), Ok(()));
}

#[test]
fn a_place_that_does_not_exist_has_no_proof() {
    let nodes = Naive(&LEAVES[..5]);
    let root = mth(&LEAVES[..5]);
    assert_eq!(inclusion_proof(&nodes, 5, 5), Ok(vec![]));
    assert_eq!(consistency_proof(&nodes, 6, 5), Ok(vec![]));
    assert_eq!(verify_inclusion(&root, 0, 0, &[], &root), Err(ProofError::Place));
    assert_eq!(verify_inclusion(&root, 5, 5, &[], &root), Err(ProofError::Place));
    assert_eq!(verify_inclusion(&root, 0, u64::MAX, &[], &root), Err(ProofError::Place));
    assert_eq!(verify_consistency(6, &root, 5, &root, &[]), Err(ProofError::Place));
    assert_eq!(verify_consistency(1, &root, u64::MAX, &root, &[]), Err(ProofError::Place));
    assert_eq!(verify_consistency(0, &root, 5, &root, &[]), Err(ProofError::Root), "an empty tree has one root only");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 6, ..ProptestConfig::default() })]

    #[test]
    fn large_trees_are_those_of_the_definition(size in 1..=MANY, at in any::<prop::sample::Index>()) {
        let leaves = &LEAVES[..size];
        let frontier = frontier_of(leaves);
        let root = mth(leaves);
        prop_assert_eq!(frontier.root(), root);
        check_inclusion(at.index(size), leaves, &root);
        check_consistency(at.index(size) + 1, leaves, &root);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]

    #[test]
    fn a_changed_inclusion_proof_never_verifies(size in 1..600_usize, at in any::<prop::sample::Index>(), change in change()) {
        let leaves = &LEAVES[..size];
        let (index, root) = (at.index(size), mth(leaves));
        let mut claim = Claim {
            numbers: [index as u64, size as u64],
            hashes: [leaves[index], root],
            proof: inclusion_proof(&Naive(leaves), index as u64, size as u64).unwrap(),
        };
        let original = claim.clone();
        claim.change(&change);
        let [index, size] = claim.numbers;
        let verified = verify_inclusion(&claim.hashes[0], index, size, &claim.proof, &claim.hashes[1]).is_ok();
        prop_assert!(!verified || claim.means_the_same(&original), "{change:?} made {claim:?} of {original:?}");
    }

    #[test]
    fn a_changed_consistency_proof_never_verifies(old in 1..300_usize, more in 1..300_usize, change in change()) {
        let leaves = &LEAVES[..old + more];
        let mut claim = Claim {
            numbers: [old as u64, leaves.len() as u64],
            hashes: [mth(&leaves[..old]), mth(leaves)],
            proof: consistency_proof(&Naive(leaves), old as u64, leaves.len() as u64).unwrap(),
        };
        let original = claim.clone();
        claim.change(&change);
        let [old, new] = claim.numbers;
        let verified = verify_consistency(old, &claim.hashes[0], new, &claim.hashes[1], &claim.proof).is_ok();
        prop_assert!(!verified || claim.means_the_same(&original), "{change:?} made {claim:?} of {original:?}");
    }
}

/// What a proof says, to be tampered with.
#[derive(Clone, Debug, PartialEq)]
struct Claim {
    numbers: [u64; 2],
    hashes: [Hash; 2],
    proof: Vec<Hash>,
}

#[derive(Clone, Debug)]
enum Change {
    Number(usize, u64),
    Flip(usize, u8),
    FlipProof(prop::sample::Index, usize, u8),
    Swap(prop::sample::Index, prop::sample::Index),
    Drop(prop::sample::Index),
    Double(prop::sample::Index),
}

fn change() -> impl Strategy<Value = Change> {
    use any as some;
    prop_oneof![
        (0..2_usize, 0..700_u64).prop_map(|(which, number)| Change::Number(which, number)),
        (0..64_usize, 0..8_u8).prop_map(|(byte, bit)| Change::Flip(byte, bit)),
        (some::<prop::sample::Index>(), 0..32_usize, 0..8_u8).prop_map(|(hash, byte, bit)| Change::FlipProof(hash, byte, bit)),
        some::<(prop::sample::Index, prop::sample::Index)>().prop_map(|(a, b)| Change::Swap(a, b)),
        some::<prop::sample::Index>().prop_map(Change::Drop),
        some::<prop::sample::Index>().prop_map(Change::Double),
    ]
}

impl Claim {
    fn change(&mut self, change: &Change) {
        let many = self.proof.len();
        match change {
            Change::Number(which, number) => self.numbers[*which] = *number,
            Change::Flip(byte, bit) => self.hashes[byte / 32][byte % 32] ^= 1 << bit,
            _ if many == 0 => self.proof.push([0; 32]),
            Change::FlipProof(hash, byte, bit) => self.proof[hash.index(many)][*byte] ^= 1 << bit,
            Change::Swap(a, b) => self.proof.swap(a.index(many), b.index(many)),
            Change::Drop(hash) => drop(self.proof.remove(hash.index(many))),
            Change::Double(hash) => self.proof.insert(hash.index(many), self.proof[hash.index(many)]),
        }
    }

    /// A proof fixes the shape of a path, not the size of the tree: that is bound to the root by the signature of a checkpoint.
    fn means_the_same(&self, original: &Claim) -> bool {
        Claim { numbers: [self.numbers[0], original.numbers[1]], ..self.clone() } == *original
    }
}
