//! Notes of others, notes of ours, and everything that is neither.

use super::*;
use proptest::prelude::*;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

/// The well-known key pair and note of the Go checksum database's documentation.
const FOREIGN_KEY: &str = "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW";

fn signer(name: &str) -> Signer {
    Signer::from_seed(name, &[7; 32]).unwrap()
}

fn checkpoint() -> Checkpoint {
    Checkpoint { origin: "kt/edge-7".into(), size: 70_000, root: [9; 32] }
}

#[test]
fn a_verifier_key_made_by_others_is_read_and_written_back() {
    let verifier = Verifier::parse(FOREIGN_KEY).unwrap();
    assert_eq!(verifier.name(), "PeterNeumann");
    assert_eq!(verifier.to_string(), FOREIGN_KEY);
}

#[test]
fn a_note_signed_by_others_verifies_and_is_not_a_checkpoint() {
    let note = "If you think cryptography is the answer to your problem,\n\
        then you don't know what your problem is.\n\n\
        — PeterNeumann x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNXgKvqfqdngotpRZb6KE6RyyBwJnAM=\n";
    let verifier = Verifier::parse(FOREIGN_KEY).unwrap();
    assert_eq!(verifier.verify(note), Err(NoteError::Checkpoint));
    assert_eq!(verifier.verify(&note.replace("your problem is", "your problem was")), Err(NoteError::Signature));
}

#[test]
fn a_signed_checkpoint_verifies_and_says_what_was_signed() {
    let signer = signer("kt/edge-7");
    let note = signer.sign(&checkpoint());
    let verifier = Verifier::parse(&signer.verifier().to_string()).unwrap();
    assert_eq!(verifier.verify(&note), Ok(checkpoint()));
}

#[test]
fn signatures_of_other_keys_are_passed_over_and_ours_must_be_there() {
    let ours = signer("kt/edge-7");
    let theirs = Signer::from_seed("witness.example", &[8; 32]).unwrap();
    let namesake = Signer::from_seed("kt/edge-7", &[8; 32]).unwrap();
    let (note, cosigned) = (ours.sign(&checkpoint()), theirs.sign(&checkpoint()));
    let witness = cosigned.lines().last().unwrap();
    assert_eq!(ours.verifier().verify(&format!("{note}{witness}\n")), Ok(checkpoint()));
    assert_eq!(ours.verifier().verify(&cosigned), Err(NoteError::Unsigned));
    assert_eq!(ours.verifier().verify(&namesake.sign(&checkpoint())), Err(NoteError::Unsigned));
}

#[test]
fn one_false_signature_in_our_name_spoils_the_note() {
    let signer = signer("kt/edge-7");
    let note = signer.sign(&checkpoint());
    let other = signer.sign(&Checkpoint { size: 1, ..checkpoint() });
    let stolen = other.lines().last().unwrap();
    assert_eq!(signer.verifier().verify(&format!("{note}{stolen}\n")), Err(NoteError::Signature));
}

#[test]
fn a_checkpoint_of_another_log_is_not_accepted_from_our_key() {
    let signer = signer("kt/edge-7");
    let note = signer.sign(&Checkpoint { origin: "kt/edge-8".into(), ..checkpoint() });
    assert_eq!(signer.verifier().verify(&note), Err(NoteError::Origin));
}

#[test]
fn extension_lines_are_signed_and_hold_nothing() {
    let text = format!("{}extension\n", checkpoint());
    assert_eq!(Checkpoint::parse(&text), Ok(checkpoint()));
}

#[test]
fn a_checkpoint_has_one_form() {
    let root = BASE64.encode([9; 32]);
    for text in [
        String::new(),
        format!("\n1\n{root}\n"),
        format!("o\n01\n{root}\n"),
        format!("o\n+1\n{root}\n"),
        format!("o\n\n{root}\n"),
        format!("o\n18446744073709551616\n{root}\n"),
        format!("o\n1\n{root}"),
        format!("o\n1\n{root}\n\n"),
        format!("o\n1\n {root}\n"),
        format!("o\n1\n{}\n", root.trim_end_matches('=')),
        format!("o\n1\n{}\n", BASE64.encode([9; 31])),
        format!("o\n1\n{}\n", root.replace("k=", "l=")),
    ] {
        assert_eq!(Checkpoint::parse(&text), Err(NoteError::Checkpoint), "{text:?}");
    }
    assert_eq!(Checkpoint::parse(&format!("o\n0\n{root}\n")).unwrap().size, 0);
}

#[test]
fn a_note_has_one_form() {
    let signer = signer("kt/edge-7");
    let note = signer.sign(&checkpoint());
    let line = note.lines().last().unwrap();
    for wrong in [
        String::new(),
        note.trim_end().to_string(),
        format!("{note}\n"),
        note.replace("\n\n", "\n"),
        note.replace("— ", "- "),
        note.replace("— ", "—  "),
        note.replace('\n', "\r\n"),
        format!("{note}— kt/edge-7\n"),
        format!("{note}— kt/edge-7 AAAA\n"),
        format!("{note}{line} more\n"),
        format!("{note}{line}\n"),
        format!("a\u{1}\n{note}"),
    ] {
        assert_eq!(signer.verifier().verify(&wrong), Err(NoteError::Form), "{wrong:?}");
    }
    assert_eq!(signer.verifier().verify(&format!("{note}{}", "— a AAAAAAA=\n".repeat(5_000))), Err(NoteError::TooLong));
    assert_eq!(signer.verifier().verify(&format!("{note}{}", "— a AAAAAAA=\n".repeat(64))), Ok(checkpoint()));
}

#[test]
fn a_verifier_key_has_one_form() {
    let good = signer("kt/edge-7").verifier().to_string();
    let parts: Vec<&str> = good.splitn(3, '+').collect();
    for wrong in [
        String::new(),
        parts[..2].join("+"),
        good.replace("edge-7", "edge-8"),
        good.replace("edge-7", "edge 7"),
        format!("{}+00000000+{}", parts[0], parts[2]),
        format!("{good}=="),
        format!(" {good}"),
    ] {
        assert_eq!(Verifier::parse(&wrong), Err(NoteError::VerifierKey), "{wrong:?}");
    }
}

#[test]
fn a_key_may_not_have_a_name_that_breaks_the_line() {
    for name in ["", "a b", "a+b", "a\nb", "a\u{a0}b", "a\u{7f}"] {
        assert!(matches!(Signer::from_seed(name, &[7; 32]), Err(KeyError::Name(NoteError::Name))), "{name:?}");
    }
}

#[test]
fn a_key_is_made_once_readable_by_its_owner_only_and_found_again() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("key.pem");
    let made = Signer::load_or_create(&path, "kt/a").unwrap();
    let again = Signer::load_or_create(&path, "kt/a").unwrap();
    assert_eq!(made.verifier(), again.verifier());
    assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    assert_eq!(files(dir.path()), ["key.pem"]);
    let other = Signer::load_or_create(&dir.path().join("other.pem"), "kt/a").unwrap();
    assert_ne!(made.verifier(), other.verifier());
}

#[test]
fn a_key_that_others_may_read_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("key.pem");
    Signer::load_or_create(&path, "kt/a").unwrap();
    for mode in [0o640, 0o604, 0o620] {
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
        assert!(matches!(Signer::load_or_create(&path, "kt/a"), Err(KeyError::Exposed { mode: found, .. }) if found == mode));
    }
}

#[test]
fn a_file_that_is_no_key_is_refused_and_left_alone() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("key.pem");
    for content in ["", "not a key", "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n"] {
        std::fs::write(&path, content).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
        assert!(matches!(Signer::load_or_create(&path, "kt/a"), Err(KeyError::Pem)), "{content:?}");
        assert_eq!(std::fs::read_to_string(&path).unwrap(), content);
    }
    assert!(matches!(Signer::load_or_create(&dir.path().join("none/key.pem"), "kt/a"), Err(KeyError::Io { .. })));
    assert!(matches!(Signer::load_or_create(&dir.path().join("new.pem"), "a b"), Err(KeyError::Name(_))));
    assert_eq!(files(dir.path()), ["key.pem"], "a name that is refused leaves no key behind");
}

/// The example of RFC 8410, 10.3.
#[test]
fn the_key_of_the_standard_is_read_and_has_the_public_key_of_the_standard() {
    let pem = "-----BEGIN PRIVATE KEY-----\nMC4CAQAwBQYDK2VwBCIEINTuctv5E1hK1bbY8fdp+K06/nwoy/HU++CXqI9EdVhC\n-----END PRIVATE KEY-----\n";
    let signer = Signer::from_pem("kt/a", pem).unwrap();
    assert_eq!(hex::encode(signer.verifier().public), "19bf44096984cdfe8541bac167dc3b96c85086aa30b6b6cb0c5c38ad703166e1");
}

#[test]
fn the_secret_is_not_in_what_debug_prints() {
    let signer = signer("kt/a");
    assert_eq!(format!("{signer:?}"), format!("Signer({})", signer.verifier()));
}

fn files(dir: &Path) -> Vec<String> {
    let mut names: Vec<String> =
        std::fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]

    #[test]
    fn whatever_is_signed_is_read_back(size in any::<u64>(), root in any::<[u8; 32]>(), name in "[a-z0-9./-]{1,40}") {
        let signer = signer(&name);
        let checkpoint = Checkpoint { origin: name, size, root };
        prop_assert_eq!(signer.verifier().verify(&signer.sign(&checkpoint)), Ok(checkpoint));
    }

    #[test]
    fn a_note_with_one_bit_changed_is_refused(at in any::<prop::sample::Index>(), bit in 0..8_u8) {
        let signer = signer("kt/edge-7");
        let mut note = signer.sign(&checkpoint()).into_bytes();
        let at = at.index(note.len());
        note[at] ^= 1 << bit;
        if let Ok(note) = String::from_utf8(note) {
            prop_assert!(signer.verifier().verify(&note).is_err(), "{note:?}");
        }
    }

    #[test]
    fn no_text_makes_the_parsers_panic(text in "(?s)[a\n +—0-9=]{0,60}") {
        let _ = signer("a").verifier().verify(&text);
        let _ = Verifier::parse(&text);
        let _ = Signer::from_pem("a", &text);
    }
}
