//! The table of faults: what the first target does, and the rules it falls under. What a caller gets, and what the record says,
//! follows from these rules alone.

use crate::support::{Door, Origin};
use std::time::Duration;

/// What a target says in every answer of its own, whole or broken: the caller may see it of one target, and once.
pub const FIRST: &str = "from-first";

/// One fault of the target that is asked first.
pub struct Fault {
    /// In words.
    pub name: &'static str,
    pub place: Place,
    /// Why an attempt fails, in the record's word; `None`: it does not, the mistake is the caller's.
    pub reason: Option<&'static str>,
    /// The status it answers with, where that is an answer.
    pub status: Option<u16>,
    pub again: Again,
    /// The next target is asked.
    pub moves: bool,
    /// It answers when it is asked again.
    pub heals: bool,
    /// `retry-after` in seconds: what it says of when to come back.
    pub pause: Option<&'static str>,
    /// It is taken at that word: nobody asks it meanwhile.
    pub parks: bool,
    /// The last word, when nothing is left to ask.
    pub last: Last,
    /// Which requests it is for.
    pub asked: Asked,
    /// Further keys of the target.
    pub keys: &'static str,
    /// The request's body is not read.
    pub unread: bool,
}

/// Where the target is.
pub enum Place {
    /// Behind a door, at this URL with the door's authority for `@`.
    Door(fn() -> std::pin::Pin<Box<dyn Future<Output = Door> + Send>>, &'static str),
    /// A name that does not resolve.
    Nowhere,
    /// An origin whose certificate nobody vouches for.
    Impostor,
    /// An origin with this script.
    Script(Box<dyn Fn(Origin) -> Origin + Send + Sync>),
}

/// Whether the same target is asked again, as often as the config allows it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Again {
    /// Never.
    Never,
    /// After the pause of the config.
    Soon,
    /// After the pause it asked for, where no other target can serve.
    WhenAlone,
}

/// What a caller gets when nothing is left to ask.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Last {
    /// The provider's own status and words, with its `retry-after`.
    ItsOwn,
    /// 504.
    TimedOut,
    /// 502.
    Failed,
}

/// Which requests a fault is for.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Asked {
    EitherWay,
    Plainly,
    Streamed,
}

/// Every fault before the first byte of an answer reaches the caller.
pub fn faults() -> Vec<Fault> {
    let mut faults = connections();
    faults.extend(statuses());
    faults.extend(silences());
    faults.extend(breaks());
    faults.extend(nonsense());
    faults
}

/// No connection, or none that can be used.
fn connections() -> Vec<Fault> {
    let refuses = Place::Door(|| Box::pin(async { Door::refuses() }), "http://@/v1");
    let drops = Place::Door(|| Box::pin(Door::drops_packets()), "http://@/v1");
    let slams = Place::Door(|| Box::pin(Door::slams()), "http://@/v1");
    let slams_tls = Place::Door(|| Box::pin(Door::slams()), "https://@/v1");
    let mute_tls = Place::Door(|| Box::pin(Door::stays_mute()), "https://@/v1");
    vec![
        Fault::new("refused", refuses).fails("connect_error").again(),
        Fault::new("black-holed", drops).fails("timeout").again().with("connect_timeout_ms: 300"),
        Fault::new("closed at once", slams).fails("connection_broken").again(),
        Fault::new("TLS cut in its handshake", slams_tls).fails("tls_error"),
        Fault::new("TLS without a word", mute_tls).fails("timeout").again().with("connect_timeout_ms: 300"),
        Fault::new("TLS with a strange certificate", Place::Impostor).fails("tls_error"),
        Fault::new("a name nobody knows", Place::Nowhere).fails("dns_error"),
    ]
}

/// An answer that says no.
fn statuses() -> Vec<Fault> {
    let callers = [400, 408, 409, 413, 422].map(|status| Fault::status("the caller's own mistake", status));
    let keys = [401, 403].map(|status| Fault::status("a key it does not take", status).says("auth_error"));
    let servers = [500, 502, 503, 504, 529, 599];
    let servers = servers.map(|status| Fault::status("its own mistake", status).fails("server_error").again());
    let parking = [(429, "rate_limit"), (503, "server_error"), (529, "server_error")];
    let parked = parking
        .map(|(status, reason)| Fault::answers("come back in a minute", status, "retry-after", "60").fails(reason).parks());
    let shortly = parking.map(|(status, reason)| {
        Fault::answers("come back shortly", status, "retry-after-ms", "300").fails(reason).again_when_alone()
    });
    let once = [429, 500, 503].map(|status| {
        let reason = if status == 429 { "rate_limit" } else { "server_error" };
        let script = move |origin: Origin| origin.replies(status).then().chats_as_asked(&[FIRST]);
        Fault::script("only once", script).answered(status).fails(reason).again().heals()
    });
    let others = vec![
        Fault::status("a model it does not have", 404).fails("model_not_found"),
        Fault::status("too much, with no word of when", 429).fails("rate_limit").again(),
        Fault::status("what it will never do", 501).fails("server_error"),
        Fault::answers("come back in a minute, for its own mistake", 500, "retry-after", "60").fails("server_error"),
        Fault { unread: true, ..Fault::script("before it read the request", |o| o.replies(503).answers_without_reading()) }
            .answered(503)
            .fails("server_error")
            .again(),
    ];
    callers.into_iter().chain(keys).chain(servers).chain(parked).chain(shortly).chain(once).chain(others).collect()
}

/// An answer that does not come, or stops coming.
fn silences() -> Vec<Fault> {
    const SECOND: &str = "timeout_seconds: 1";
    const GAP: Duration = Duration::from_millis(50);
    let quick_gap = "stream_timeout_seconds: 1, timeout_seconds: 20";
    let half = "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n";
    let slow = |name, head: &'static str, filler: &'static str| {
        Fault::script(name, move |o| o.never_ends(head, filler, GAP)).fails("timeout").with(SECOND)
    };
    vec![
        Fault::script("no first byte", Origin::hangs).fails("timeout").with(SECOND),
        slow("headers without end, drop by drop", half, "x-filler: and so on\r\n"),
        slow("interim answers without end", "", "HTTP/1.1 103 Early Hints\r\nlink: </a>\r\n\r\n"),
        Fault::script("silence behind the head", |o| o.streams(&[], Duration::ZERO).stalls_after(0))
            .fails("timeout")
            .again()
            .with(quick_gap),
        Fault::script("silence in a whole answer", |o| {
            o.streams_bytes(&[br#"{"choices":[{"message":{"content":"from-first"#])
                .with_header("content-type", "application/json")
                .stalls_after(1)
        })
        .fails("timeout")
        .again()
        .with(quick_gap)
        .only(Asked::Plainly),
        Fault::script("silence in the first event", |o| {
            o.streams_bytes(&[br#"data: {"choices":[{"delta":{"content":"from-first"#]).stalls_after(1)
        })
        .fails("timeout")
        .again()
        .with(quick_gap)
        .only(Asked::Streamed),
    ]
}

/// A connection that ends before its answer does.
fn breaks() -> Vec<Fault> {
    let broken = |name, script: fn(Origin) -> Origin| Fault::script(name, script).fails("connection_broken").again();
    vec![
        broken("closed without an answer", Origin::closes_without_answer),
        broken("reset without an answer", Origin::resets_without_answer),
        broken("half-closed without an answer", Origin::half_closes),
        broken("closed in its head", |o| o.raw("HTTP/1.1 200 OK\r\ncontent-ty")),
        broken("reset behind its head", |o| o.streams(&[], Duration::ZERO).resets_after(0)),
        broken("closed in a whole answer", |o| {
            o.raw("HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 500\r\n\r\n{\"id\":\"from-first\"")
        })
        .only(Asked::Plainly),
        broken("reset in the first event", |o| {
            o.streams_bytes(&[br#"data: {"choices":[{"delta":{"content":"from-first"#]).resets_after(1)
        })
        .only(Asked::Streamed),
        broken("a stream without an event", |o| o.streams(&[], Duration::ZERO)).only(Asked::Streamed),
        broken("reset once", |o| o.resets_without_answer().then().chats_as_asked(&[FIRST])).heals(),
    ]
}

/// An answer that is none.
fn nonsense() -> Vec<Fault> {
    let none = |name, script: fn(Origin) -> Origin| Fault::script(name, script).fails("unreadable_answer");
    let error = r#"{"error":{"message":"overloaded","type":"t","code":"scripted_503"},"status_code":503}"#;
    vec![
        none("a page instead of an answer", |o| o.body("<html>from-first</html>").with_header("content-type", "text/html")),
        none("what is no JSON, and says it is", |o| o.body("from-first: {oops")).only(Asked::Plainly),
        none("nothing at all", |o| o.body("")).only(Asked::Plainly),
        none("a way to elsewhere", |o| o.replies(302).with_header("location", "/elsewhere")),
        none("an encoding nobody asked for", |o| o.chat(FIRST).gzip()),
        none("another protocol", |o| o.raw("HTTP/1.1 101 Switching Protocols\r\nupgrade: x\r\nconnection: upgrade\r\n\r\n")),
        none("a head that is none", |o| o.raw("SSH-2.0-OpenSSH_9.6\r\n\r\n")),
        none("headers without end", |o| o.never_ends("HTTP/1.1 200 OK\r\n", &FILLER.repeat(40), Duration::ZERO)),
        none("an event that cannot be read", |o| o.streams_bytes(&[b"data: {oops from-first\n\n"])).only(Asked::Streamed),
        Fault::script("a body without end", |o| {
            let chunk = format!("1000\r\n{}\r\n", "x".repeat(0x1000));
            let head = "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ntransfer-encoding: chunked\r\n\r\n";
            o.never_ends(head, &chunk, Duration::ZERO)
        })
        .fails("answer_too_large")
        .only(Asked::Plainly),
        Fault::script("an error as its first event", move |o| o.streams(&[error], Duration::ZERO))
            .answered(503)
            .fails("server_error")
            .again()
            .only(Asked::Streamed),
    ]
}

const FILLER: &str = "x-filler: and so on\r\n";

impl Fault {
    fn new(name: &'static str, place: Place) -> Fault {
        Fault {
            name,
            place,
            reason: None,
            status: None,
            again: Again::Never,
            moves: false,
            heals: false,
            pause: None,
            parks: false,
            last: Last::Failed,
            asked: Asked::EitherWay,
            keys: "",
            unread: false,
        }
    }

    fn script(name: &'static str, script: impl Fn(Origin) -> Origin + Send + Sync + 'static) -> Fault {
        Fault::new(name, Place::Script(Box::new(script)))
    }

    fn status(name: &'static str, status: u16) -> Fault {
        Fault::script(name, move |origin| origin.replies(status)).answered(status)
    }

    fn answers(name: &'static str, status: u16, header: &'static str, value: &'static str) -> Fault {
        let script = move |origin: Origin| origin.replies(status).with_header(header, value);
        let pause = (header == "retry-after").then_some(value);
        Fault { pause, ..Fault::script(name, script).answered(status) }
    }

    /// Its answer has this status, and is the caller's when nothing is left to ask.
    fn answered(self, status: u16) -> Fault {
        Fault { status: Some(status), last: Last::ItsOwn, ..self }
    }

    /// The attempt fails for this reason, and the next target is asked.
    fn fails(self, reason: &'static str) -> Fault {
        let last = if reason == "timeout" { Last::TimedOut } else { self.last };
        Fault { reason: Some(reason), moves: true, last, ..self }
    }

    /// The attempt fails for this reason, which no trigger of the config covers.
    fn says(self, reason: &'static str) -> Fault {
        Fault { reason: Some(reason), ..self }
    }

    fn again(self) -> Fault {
        Fault { again: Again::Soon, ..self }
    }

    fn again_when_alone(self) -> Fault {
        Fault { again: Again::WhenAlone, ..self }
    }

    fn heals(self) -> Fault {
        Fault { heals: true, ..self }
    }

    fn parks(self) -> Fault {
        Fault { parks: true, ..self }
    }

    fn with(self, keys: &'static str) -> Fault {
        Fault { keys, ..self }
    }

    fn only(self, asked: Asked) -> Fault {
        Fault { asked, ..self }
    }
}
