//! The invariants that the source itself must keep.

use std::path::{Path, PathBuf};

fn sources(under: &Path, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(under).unwrap().flatten() {
        let path = entry.path();
        if path.is_dir() {
            sources(&path, found);
        } else if path.extension().is_some_and(|e| e == "rs") {
            found.push(path);
        }
    }
}

/// The files under `src` that hold `needle`, without those below `allowed`.
fn offenders(needle: &str, allowed: &[&str]) -> Vec<PathBuf> {
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut files = Vec::new();
    sources(&src, &mut files);
    files.retain(|file| {
        let inside = file.strip_prefix(&src).unwrap();
        !allowed.iter().any(|a| inside.starts_with(a)) && std::fs::read_to_string(file).unwrap().contains(needle)
    });
    files
}

#[test]
fn only_proxy_server_and_simulator_mention_pingora() {
    assert_eq!(offenders("pingora", &["proxy", "server", "simulator"]), Vec::<PathBuf>::new());
}

#[test]
fn secrets_are_readable_where_they_are_used_only() {
    let readers = ["config/secret.rs", "proxy/forward.rs", "audit/journal.rs", "audit/sink/keys.rs"];
    assert_eq!(offenders(".expose()", &readers), Vec::<PathBuf>::new());
}

#[test]
fn only_config_knows_yaml() {
    assert_eq!(offenders("serde_yaml", &["config"]), Vec::<PathBuf>::new());
}
