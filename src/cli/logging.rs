//! The log on stderr: levels by `RUST_LOG`, with a limit of our own.
//!
//! Below `info` the libraries under us print heads and bodies as they pass, keys and prompts included. No setting brings that into
//! a log: only our own modules speak at `debug` and `trace`.

use env_logger::{Builder, Env, Logger};
use log::{Level, Log, Metadata, Record};

/// Starts logging. Does nothing when a logger runs already.
pub fn start() {
    let inner = Builder::from_env(Env::default().default_filter_or("warn,kt=info")).build();
    let level = inner.filter();
    if log::set_boxed_logger(Box::new(Discreet(inner))).is_ok() {
        log::set_max_level(level);
    }
}

struct Discreet(Logger);

impl Log for Discreet {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        is_ours_to_say(metadata) && self.0.enabled(metadata)
    }

    fn log(&self, record: &Record<'_>) {
        if is_ours_to_say(record.metadata()) {
            self.0.log(record);
        }
    }

    fn flush(&self) {
        self.0.flush();
    }
}

fn is_ours_to_say(metadata: &Metadata<'_>) -> bool {
    let target = metadata.target();
    metadata.level() <= Level::Info || target == "kt" || target.starts_with("kt::")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn libraries_do_not_speak_below_info_whatever_is_asked() {
        let asked = |target: &str, level| is_ours_to_say(&Metadata::builder().target(target).level(level).build());
        assert!(asked("kt::proxy", Level::Trace) && asked("kt", Level::Debug) && asked("library", Level::Info));
        assert!(!asked("library::module", Level::Debug) && !asked("ktx", Level::Trace) && !asked("h2", Level::Trace));
    }
}
