//! `kt init`: a commented config and tests that pass, to start from.

use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

/// What `kt init` takes.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// What to start from
    #[arg(long, value_enum, default_value_t)]
    template: Template,
    /// Where to write; made when it is not there
    #[arg(value_name = "DIR", default_value = ".")]
    dir: PathBuf,
}

/// What there is to start from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, clap::ValueEnum)]
enum Template {
    /// One target at Cerebras, every policy
    #[default]
    Default,
    /// A second target for when the first one fails
    Fallback,
    /// Patient data: refuse instead of redacting, keep records for six years
    Healthcare,
    /// A model on this machine: no key, no network
    Local,
}

/// One file to write: its place in the directory, and its text.
type Sample = (&'static str, &'static str);

const ATTACKS: Sample = ("tests/prompt-injection.json", include_str!("init/tests/prompt-injection.json"));
const PERSONAL: Sample = ("tests/personal-data.json", include_str!("init/tests/personal-data.json"));
const PATIENTS: Sample = ("tests/patient-data.json", include_str!("init/tests/patient-data.json"));

impl Template {
    fn config(self) -> &'static str {
        match self {
            Template::Default => include_str!("init/default.yaml"),
            Template::Fallback => include_str!("init/fallback.yaml"),
            Template::Healthcare => include_str!("init/healthcare.yaml"),
            Template::Local => include_str!("init/local.yaml"),
        }
    }

    fn samples(self) -> [Sample; 3] {
        let data = if self == Template::Healthcare { PATIENTS } else { PERSONAL };
        [("policy-config.yaml", self.config()), ATTACKS, data]
    }

    /// What its target needs before it can serve.
    fn needs(self) -> &'static str {
        match self {
            Template::Default => "put your key into CEREBRAS_API_KEY, or leave that to --simulate",
            Template::Fallback => "put your keys into CEREBRAS_API_KEY and OPENAI_API_KEY, or leave that to --simulate",
            Template::Healthcare => "put your key into /run/secrets/cerebras-api-key, or leave that to --simulate",
            Template::Local => "start Ollama with its model: ollama run llama3.1:8b",
        }
    }
}

/// Writes the files and says what to do next. Returns 0; 2 when a file is in the way, and then nothing was written; 1 when one
/// could not be written.
pub fn init(args: &Args, out: &mut dyn Write, err: &mut dyn Write) -> i32 {
    let samples = args.template.samples();
    let in_the_way: Vec<PathBuf> =
        samples.iter().map(|(name, _)| args.dir.join(name)).filter(|path| path.symlink_metadata().is_ok()).collect();
    if !in_the_way.is_empty() {
        for path in in_the_way {
            let _ = writeln!(err, "{} is there already", path.display());
        }
        let _ = writeln!(err, "nothing was written: name another directory, or move these away");
        return 2;
    }
    for (name, text) in samples {
        let path = args.dir.join(name);
        if let Err(error) = write(&path, text) {
            let _ = writeln!(err, "{} cannot be written: {error}", path.display());
            return 1;
        }
        let _ = writeln!(out, "wrote {}", path.display());
    }
    // The files are there, whether or not anybody hears of it.
    let _ = write!(out, "{}", next(args.template, &args.dir));
    0
}

/// Writes a file that is not there; one that came in the meantime stays.
fn write(path: &Path, text: &str) -> io::Result<()> {
    if let Some(dir) = path.parent() {
        fs::create_dir_all(dir)?;
    }
    OpenOptions::new().write(true).create_new(true).open(path)?.write_all(text.as_bytes())
}

fn next(template: Template, dir: &Path) -> String {
    let here = dir == Path::new(".");
    let (pack, config) = match here {
        true => (String::new(), String::new()),
        false => {
            (format!(" --pack-dir {}", dir.display()), format!(" --policy-config {}", dir.join("policy-config.yaml").display()))
        }
    };
    let simulate = if template == Template::Local { "" } else { " --simulate" };
    format!("\nnext:\n  kt policy test{pack}\n  {}\n  kt gateway run{simulate}{config}\n", template.needs())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config;
    use clap::ValueEnum;

    fn run(template: Template, dir: &Path) -> (i32, String, String) {
        let (mut out, mut err) = (Vec::new(), Vec::new());
        let code = init(&Args { template, dir: dir.into() }, &mut out, &mut err);
        (code, String::from_utf8(out).unwrap(), String::from_utf8(err).unwrap())
    }

    #[test]
    fn every_template_is_a_config_without_a_warning() {
        for template in Template::value_variants() {
            let loaded =
                config::parse("t.yaml", template.config()).unwrap_or_else(|faults| panic!("{template:?}: {}", faults[0]));
            assert!(loaded.warnings.is_empty(), "{template:?}: {}", loaded.warnings[0]);
        }
    }

    #[test]
    fn a_file_in_the_way_stays_and_nothing_else_is_written() {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("tests")).unwrap();
        let mine = dir.path().join(PERSONAL.0);
        fs::write(&mine, "mine").unwrap();
        let (code, out, err) = run(Template::Default, dir.path());
        assert_eq!((code, out.as_str()), (2, ""));
        assert!(err.contains("personal-data.json is there already"), "{err}");
        assert_eq!(fs::read_to_string(mine).unwrap(), "mine");
        assert!(!dir.path().join("policy-config.yaml").exists());
    }

    #[test]
    fn a_directory_is_made_and_the_next_steps_name_it() {
        let dir = tempfile::tempdir().unwrap();
        let pack = dir.path().join("new/pack");
        let (code, out, err) = run(Template::Fallback, &pack);
        assert_eq!((code, err.as_str()), (0, ""));
        assert!(out.contains(&format!("kt policy test --pack-dir {}", pack.display())), "{out}");
        assert_eq!(fs::read_to_string(pack.join("policy-config.yaml")).unwrap(), Template::Fallback.config());
    }
}
