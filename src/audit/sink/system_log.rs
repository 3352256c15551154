//! The machine's own log, as a place for checkpoints: one datagram each, to whatever listens on its socket.

use crate::config::SystemLog;
use std::io;
use std::os::unix::net::UnixDatagram;
use std::path::Path;

/// `authpriv.notice`: kept apart from ordinary messages, readable by few.
const PRIORITY: u8 = 10 * 8 + NOTICE;
const NOTICE: u8 = 5;

/// A message in parts: what people read, and a name and a value for each part; no part holds a line break.
pub(super) struct Message<'a> {
    pub text: &'a str,
    pub fields: &'a [(&'a str, &'a str)],
}

/// The socket of a system's log.
pub(super) fn socket(kind: SystemLog) -> &'static Path {
    Path::new(match kind {
        SystemLog::Syslog => "/dev/log",
        SystemLog::Journald => "/run/systemd/journal/socket",
    })
}

/// Hands a message to the log that listens at `socket`. Never waits: a full socket is an error.
pub(super) fn write(kind: SystemLog, socket: &Path, message: &Message<'_>) -> io::Result<()> {
    let datagram = match kind {
        SystemLog::Syslog => syslog(message),
        SystemLog::Journald => journald(message),
    };
    let from = UnixDatagram::unbound()?;
    from.set_nonblocking(true)?;
    from.send_to(datagram.as_bytes(), socket).map(drop)
}

/// RFC 3164 as the C library sends it, without its time: the receiver's clock says it, in the receiver's zone.
fn syslog(message: &Message<'_>) -> String {
    let fields: String = message.fields.iter().map(|(name, value)| format!(" {}={value}", name.to_ascii_lowercase())).collect();
    format!("<{PRIORITY}>kt[{}]: {}{fields}", std::process::id(), message.text)
}

/// The native protocol of the journal: a field a line.
fn journald(message: &Message<'_>) -> String {
    let fields: String = message.fields.iter().map(|(name, value)| format!("KT_AUDIT_{name}={value}\n")).collect();
    format!("MESSAGE={}\nPRIORITY={NOTICE}\nSYSLOG_FACILITY=10\nSYSLOG_IDENTIFIER=kt\n{fields}", message.text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn received(kind: SystemLog) -> String {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("log");
        let log = UnixDatagram::bind(&path).unwrap();
        let message = Message { text: "audit checkpoint", fields: &[("LOG", "kt/a"), ("SIZE", "7")] };
        write(kind, &path, &message).unwrap();
        let mut bytes = [0; 1024];
        let length = log.recv(&mut bytes).unwrap();
        String::from_utf8(bytes[..length].to_vec()).unwrap()
    }

    #[test]
    fn a_message_is_one_line_of_syslog_or_one_entry_of_the_journal() {
        let line = received(SystemLog::Syslog);
        assert_eq!(line, format!("<85>kt[{}]: audit checkpoint log=kt/a size=7", std::process::id()));
        let entry = received(SystemLog::Journald);
        assert!(entry.starts_with("MESSAGE=audit checkpoint\nPRIORITY=5\n"), "{entry}");
        assert!(entry.ends_with("\nKT_AUDIT_LOG=kt/a\nKT_AUDIT_SIZE=7\n"), "{entry}");
    }

    #[test]
    fn a_log_nobody_listens_to_is_an_error() {
        let dir = tempfile::tempdir().unwrap();
        let message = Message { text: "audit checkpoint", fields: &[] };
        assert!(write(SystemLog::Syslog, &dir.path().join("log"), &message).is_err());
    }
}
