//! Trees and proofs of ours before a verifier that shares nothing with us: `tests/audit/verify.py`, with Python and OpenSSL.

use super::*;
use crate::audit::tlog_proof::TlogProof;
use std::process::Command;

/// Runs one of the programs of `tests/audit` and returns what it printed; it must end well.
fn run(program: &str, arguments: &[&str]) -> String {
    let program = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/audit").join(program);
    let output = Command::new("python3").arg("-B").arg(program).args(arguments).output().unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    assert!(output.status.success(), "{arguments:?}: {}{}", text(&output.stdout), text(&output.stderr));
    text(&output.stdout)
}

/// Checkpoints of the first records, each in a file.
fn older(dir: &Path, sizes: &[u64]) -> Vec<String> {
    let write = |size: &u64| {
        let mut tree = Frontier::new();
        (0..*size).for_each(|index| tree.push(leaf_of(index)));
        let path = dir.join(format!("checkpoint.{size}"));
        let note = signer().sign(&Checkpoint { origin: ORIGIN.into(), size: *size, root: tree.root() });
        std::fs::write(&path, note).unwrap();
        path.to_str().unwrap().to_string()
    };
    sizes.iter().map(write).collect()
}

/// Half a minute: `KT_MUTATIONS` (10,000) changes of a small log, and some hundreds of a large one, a cut one and a proof.
#[test]
#[ignore = "needs python3 and openssl"]
fn a_foreign_verifier_believes_what_was_written_and_refuses_every_mutation() {
    let dir = tempfile::tempdir().unwrap();
    let path = |name: &str| dir.path().join(name).to_str().unwrap().to_string();
    let key = signer().verifier().to_string();
    let count = std::env::var("KT_MUTATIONS").unwrap_or_else(|_| "10000".into());
    let check = |name: &str, from: u64, more: &[&str]| {
        let (from, at) = (from.to_string(), path(name));
        print!("{}", run("verify.py", &["tree", &at, "--key", &key, "--from", &from]));
        print!("{}", run("mutate.py", &[&["tree", &at, "--key", &key, "--from", &from], more].concat()));
    };

    write_tree(Path::new(&path("small")), Edge::new(), 700);
    let older = older(dir.path(), &[0, 1, 256, 512, 699, 701]);
    let mut more = vec!["--count", &count, "--older"];
    more.extend(older.iter().map(String::as_str));
    check("small", 0, &more);

    let cut = 3 * 256_u64.pow(3) + 70 * 256_u64.pow(2) + 254 * 256;
    write_tree(Path::new(&path("late")), edge_after(cut, leaf_of), cut + 700);
    check("late", cut, &["--count", "1000"]);

    let note = write_tree(Path::new(&path("large")), Edge::new(), 70_000);
    check("large", 0, &["--count", "300"]);

    let files = TreeReader::new(Path::new(&path("large")), 70_000);
    for index in [0, 19_969, 69_999] {
        let (proof, record) = (path(&format!("{index}.tlog-proof")), path("record"));
        std::fs::write(&proof, TlogProof::make(&files, index, 70_000, &note).unwrap().unwrap().to_string()).unwrap();
        std::fs::write(&record, entry(index)).unwrap();
        print!("{}", run("verify.py", &["proof", &proof, "--record", &record, "--key", &key]));
        let mut asked = vec!["proof", &proof, "--record", &record, "--key", &key, "--count", "1000", "--older"];
        asked.extend(older.iter().map(String::as_str));
        print!("{}", run("mutate.py", &asked));
    }
}
