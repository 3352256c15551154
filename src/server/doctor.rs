//! What can be found out about a gateway before it runs: its config, its keys, its providers, its disk, its clock, its limits.
//! Nothing is changed and no token is spent: each provider is asked for its models, as the health probes do.

use super::prober::{Answer, ask, reason};
use super::resolver;
use crate::audit::sink::{Environment, check_keys};
use crate::config::{self, AuditLoggerConfig, SecretRef, TargetConfig};
use crate::gateway::{Gateway, Options};
use crate::upstream::{Key, Target};
use pingora_core::connectors::http::Connector;
use rustix::process::{Resource, getrlimit};
use serde::Serialize;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

/// Records and `Retry-After` dates are only as good as the clock. Beyond this, somebody should look.
const MAX_SKEW: Duration = Duration::from_secs(5);
/// A stream takes two sockets.
const FEW_FILES: u64 = 4096;

/// How grave a finding is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Grade {
    /// As it should be.
    Ok,
    /// It runs, but somebody should look.
    Warning,
    /// It does not start, or a target cannot serve.
    Error,
}

/// One thing that was looked at.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// How grave.
    pub grade: Grade,
    /// What was looked at: `config`, `target NAME`, `audit`, `sink NAME`, `clock`, `open files`.
    pub subject: String,
    /// What was found, and what to do about it.
    pub text: String,
}

/// Looks at everything a gateway with this config and audit directory needs.
pub async fn examine(policy_config: &Path, audit_dir: &Path) -> Vec<Finding> {
    let mut found = Findings::default();
    let file = policy_config.display();
    match config::load(policy_config) {
        Err(errors) => {
            for error in errors {
                found.error("config", error.to_string().trim_end().to_owned());
            }
        }
        Ok(loaded) => {
            for warning in &loaded.warnings {
                found.warning("config", warning.to_string().trim_end().to_owned());
            }
            match Gateway::compile(&loaded, Options::default(), &|name| std::env::var(name).ok(), None) {
                Err(error) => found.error("config", error.to_string()),
                Ok(gateway) => {
                    found.ok("config", format!("{file} is valid, with {} target(s)", gateway.targets().len()));
                    targets(&gateway, &loaded.config.providers.targets, &mut found).await;
                    match &gateway.audit {
                        Some(settings) => {
                            audit(audit_dir, settings, &mut found);
                            sinks(settings, &mut found);
                        }
                        None => found.warning("audit", "no audit-logger in the chain: no audit log is written".into()),
                    }
                }
            }
        }
    }
    open_files(&mut found);
    found.0
}

#[derive(Default)]
struct Findings(Vec<Finding>);

impl Findings {
    fn ok(&mut self, subject: impl Into<String>, text: String) {
        self.0.push(Finding { grade: Grade::Ok, subject: subject.into(), text });
    }
    fn warning(&mut self, subject: impl Into<String>, text: String) {
        self.0.push(Finding { grade: Grade::Warning, subject: subject.into(), text });
    }
    fn error(&mut self, subject: impl Into<String>, text: String) {
        self.0.push(Finding { grade: Grade::Error, subject: subject.into(), text });
    }
}

/// Each target: its key, its name, its connection, its models. A gateway whose targets all fail cannot serve, and one failing
/// target is an error too: somebody wrote it down to be used.
async fn targets(gateway: &Gateway, configs: &[TargetConfig], found: &mut Findings) {
    let connector = Connector::new(None);
    let mut skews = Vec::new();
    for target in gateway.targets() {
        let subject = format!("target {}", target.id);
        let reference = configs.iter().find(|c| *c.id == *target.id).and_then(|c| c.secret.as_ref());
        if !key(target, reference, &subject, found) {
            continue;
        }
        if !resolver::resolve(target).await {
            found.error(subject, format!("{} does not resolve: check the name, and the DNS of this host", target.url.host));
            continue;
        }
        match tokio::time::timeout(target.connect_timeout * 2 + target.probe.timeout, ask(&connector, target)).await {
            Ok(Ok(answer)) => {
                skews.extend(answer.date.and_then(skew));
                models(target, &answer, &subject, found);
            }
            Ok(Err(error)) => found.error(subject, format!("{} does not answer: {}", target.url, reason(&error))),
            Err(_) => found.error(subject, format!("{} does not answer in time", target.url)),
        }
    }
    clock(&skews, found);
}

fn key(target: &Target, reference: Option<&SecretRef>, subject: &str, found: &mut Findings) -> bool {
    match (&target.key, reference) {
        (Key::Missing(why), _) => found.error(subject, format!("its key is missing: {why}")),
        (Key::Present(_), Some(reference)) => found.ok(subject, format!("its key comes from {reference}")),
        _ => found.ok(subject, "it takes no key".into()),
    }
    target.has_key()
}

/// What the list of models says of the ones of the config.
fn models(target: &Target, answer: &Answer, subject: &str, found: &mut Findings) {
    let (path, status) = (target.probe_path(), answer.status);
    match status {
        200 => {}
        401 | 403 => return found.error(subject, format!("it does not accept the key: GET {path} answered {status}")),
        500.. => return found.error(subject, format!("GET {path} answered {status}")),
        _ => return found.warning(subject, format!("it answers, but GET {path} is {status}: its models cannot be checked")),
    }
    if let Err(why) = target.standing.catalog.learn(&answer.body) {
        return found.warning(subject, format!("it answers, but its models cannot be checked: {why}"));
    }
    let catalog = &target.standing.catalog;
    found.ok(subject, format!("it answers and lists {} model(s)", catalog.ids().len()));
    // Aliases are the gateway's own; only what is sent upstream is looked for.
    let mut sent: Vec<&str> = target.model_ids().map(|id| target.configured_model(id)).collect();
    sent.sort_unstable();
    sent.dedup();
    for id in sent {
        match catalog.repaired(id) {
            _ if catalog.has(id) => found.ok(subject, format!("it has the model {id}")),
            Some(now) => found.warning(subject, format!("it calls the model {id} now {now}: that one is asked for; rename it")),
            None => match catalog.like(id).as_slice() {
                [] => found.error(subject, format!("it lists no model {id}: requests for it will be answered 404")),
                like => found.error(subject, format!("it lists no model {id}, but {}: say which", like.join(" and "))),
            },
        }
    }
}

/// How far this host's clock is from a provider's, in seconds.
fn skew(date: SystemTime) -> Option<f64> {
    let now = SystemTime::now();
    now.duration_since(date).or_else(|_| date.duration_since(now)).ok().map(|skew| skew.as_secs_f64())
}

fn clock(skews: &[f64], found: &mut Findings) {
    // The least of them: an answer that was long under way is no fault of the clock.
    match skews.iter().copied().reduce(f64::min) {
        None => found.warning("clock", "no provider told the time: it could not be compared".into()),
        Some(skew) if skew > MAX_SKEW.as_secs_f64() => {
            found.warning("clock", format!("it is {skew:.0} s off what the providers say: records carry this host's time"));
        }
        Some(_) => found.ok("clock", "it agrees with the providers' to a few seconds".into()),
    }
}

/// The directory can be written and synced, lies on a disk that keeps what is synced, and has room.
fn audit(dir: &Path, settings: &AuditLoggerConfig, found: &mut Findings) {
    let shown = dir.display();
    let existing = dir.ancestors().find(|d| d.is_dir() || d.as_os_str().is_empty());
    let existing = existing.filter(|d| !d.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let place = if existing == dir { String::new() } else { format!(" (to be made in {})", existing.display()) };
    if let Err(error) = write_and_sync(existing) {
        return found.error("audit", format!("{shown}{place} cannot be written: {error}"));
    }
    let on =
        rustix::fs::statfs(existing).map(|fs| file_system(fs.f_type as u64)).unwrap_or(("unknown", Some("it cannot be told")));
    match on {
        (name, None) => found.ok("audit", format!("{shown}{place} can be written, on {name}")),
        (name, Some(why)) => found.warning("audit", format!("{shown}{place} is on {name}: {why}")),
    }
    match rustix::fs::statvfs(existing) {
        Ok(fs) => {
            let (free, total) = (fs.f_bavail * fs.f_frsize, fs.f_blocks * fs.f_frsize);
            let needed = settings.min_free.bytes.max((total as f64 * f64::from(settings.min_free.percent) / 100.0) as u64);
            let (free_gib, needed_gib) = (free as f64 / GIB, needed as f64 / GIB);
            match free > needed {
                true => {
                    found.ok("audit", format!("{free_gib:.1} GiB are free; nothing is admitted below {needed_gib:.1} (min_free)"))
                }
                false => found.error(
                    "audit",
                    format!("{free_gib:.1} GiB are free, and nothing is admitted below {needed_gib:.1} (min_free)"),
                ),
            }
        }
        Err(error) => found.warning("audit", format!("its free space cannot be told: {error}")),
    }
}

/// The keys of each sink; nothing is sent to any of them.
fn sinks(settings: &AuditLoggerConfig, found: &mut Findings) {
    let env: Environment = Arc::new(|name| std::env::var(name).ok());
    for sink in &settings.sinks {
        let subject = format!("sink {}", sink.name);
        match check_keys(sink, &env) {
            Ok(()) => found.ok(subject, "its keys are there, if it needs any".into()),
            Err(why) => found.error(subject, format!("its keys are missing: {why}")),
        }
    }
}

const GIB: f64 = (1u64 << 30) as f64;

/// Leaves nothing behind: the file has no name.
fn write_and_sync(dir: &Path) -> std::io::Result<()> {
    use rustix::fs::{Mode, OFlags, open};
    use std::io::Write;
    let file = open(dir, OFlags::TMPFILE | OFlags::WRONLY | OFlags::CLOEXEC, Mode::RUSR | Mode::WUSR);
    match file {
        Ok(file) => {
            let mut file = std::fs::File::from(file);
            file.write_all(b"kt doctor")?;
            file.sync_all()
        }
        // Not every file system has files without a name; its permissions are all that can be told then.
        Err(rustix::io::Errno::OPNOTSUPP) => Ok(rustix::fs::access(dir, rustix::fs::Access::WRITE_OK)?),
        Err(error) => Err(error.into()),
    }
}

/// The name of a file system by its magic number (Linux, `statfs(2)`), and why no log should live there, if none should.
fn file_system(magic: u64) -> (&'static str, Option<&'static str>) {
    match magic {
        0xEF53 => ("ext4", None),
        0x5846_5342 => ("XFS", None),
        0x9123_683E => ("Btrfs", None),
        0x2FC1_2FC1 => ("ZFS", None),
        0xF2F5_2010 => ("F2FS", None),
        0x0102_1994 => ("tmpfs", Some("it is memory, and gone with the power")),
        0x794C_7630 => ("overlayfs", Some("it is a container's own layer, and gone with the container: mount a volume")),
        0x6969 => ("NFS", Some("what a sync promises depends on the server")),
        0xFF53_4D42 | 0xFE53_4D42 => ("SMB", Some("what a sync promises depends on the server")),
        0x6573_5546 => ("FUSE", Some("what a sync promises depends on the file system behind it")),
        _ => ("a file system that is not known", Some("see that a sync reaches the disk")),
    }
}

fn open_files(found: &mut Findings) {
    match getrlimit(Resource::Nofile).maximum {
        Some(limit) if limit < FEW_FILES => {
            found.warning("open files", format!("at most {limit}, and a stream takes two: raise it (LimitNOFILE=, ulimit -n)"));
        }
        Some(limit) => found.ok("open files", format!("at most {limit}")),
        None => found.ok("open files", "without limit".into()),
    }
}
