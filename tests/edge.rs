//! Journeys through the real `kt` process: a scripted provider behind it, a client before it, everything on free loopback ports.
//!
//! One binary, one module a concern:

mod support;

/// What a first user does: both commands of the README, the seed snippet, local pages.
#[path = "edge/first_steps.rs"]
mod first_steps;

/// An answer in which nothing is found leaves as the very bytes that came, and at once.
#[path = "edge/fidelity.rs"]
mod fidelity;

/// An upstream that breaks is never made to look whole.
#[path = "edge/faults.rs"]
mod faults;

/// `kt doctor` finds what would keep a gateway from running well.
#[path = "edge/doctor.rs"]
mod doctor;

/// Connections are kept, resumed and never held up: what a provider and a caller see of them under load.
#[path = "edge/connections.rs"]
mod connections;

/// Callers that go away, early or right after the end.
#[path = "edge/leaving.rs"]
mod leaving;

/// A slow target is raced with the next one: one answer, one record, nobody asked twice or left behind.
#[path = "edge/racing.rs"]
mod racing;

/// A stream that breaks off is gone on with by another target, and the caller reads one.
#[path = "edge/continuing.rs"]
mod continuing;

/// The commands that need no gateway: texts are scanned, packs are begun and tested.
#[path = "edge/command_line.rs"]
mod command_line;
/// Every way in which a target can fail: right attempts, right answer, right record, never a double delivery, never a wrong retry.
#[path = "edge/drills.rs"]
mod drills;
/// The second target gets the whole request, however the first one fails and however the request came.
#[path = "edge/failover.rs"]
mod failover;
/// Requests as attackers and odd clients frame them: nothing is read two ways, one request never bleeds into the next.
#[path = "edge/framing.rs"]
mod framing;
/// How the house is built: what may mention what.
#[path = "edge/house.rs"]
mod house;
/// A provider behind TLS: its certificate is verified, its protocol negotiated.
#[path = "edge/upstream_tls.rs"]
mod upstream_tls;

/// Personal data in answers, wherever a stream is cut; usage.
#[path = "edge/answers.rs"]
mod answers;

/// Values leave as tokens and come back in the answer, and nothing on this side writes them down.
#[path = "edge/restore.rs"]
mod restore;

/// Reading, proving and holding the audit log while it is written.
#[path = "edge/audit_log.rs"]
mod audit_log;

/// What the coverage table says is what the gateway does, and records say what was read.
#[path = "edge/coverage.rs"]
mod coverage;

/// What the audit log holds of each exchange, and what nothing holds.
#[path = "edge/records.rs"]
mod records;

/// A text of its own in every place, through every way: none is found in what the gateway writes, shows or tells others.
#[path = "edge/canaries.rs"]
mod canaries;

/// Commitments, stored bodies and their erasure.
#[path = "edge/evidence.rs"]
mod evidence;

/// Whatever a body is wrapped in and wherever its text stands: it is read, redacted in place, and nothing else changes.
#[path = "edge/bodies.rs"]
mod bodies;
/// Start, reload, drain.
#[path = "edge/life.rs"]
mod life;
/// What the gateway answers itself, in every state it can be in.
#[path = "edge/local_pages.rs"]
mod local_pages;
/// Which target is asked, what it is told of the caller, and what the caller is told when it fails.
#[path = "edge/routing.rs"]
mod routing;

/// The same over HTTP/2 on either side; bounds; observation.
#[path = "edge/protocols.rs"]
mod protocols;

/// The models a provider lists: renamed ones are found, unpinned ones are offered; fields it does not take are dropped.
#[path = "edge/models.rs"]
mod models;
/// More requests than there is room for: who waits, who is told to come back, and that every place is given back.
#[path = "edge/overload.rs"]
mod overload;
/// A provider's own headers say what is left of its limits: it is left alone before it has to refuse.
#[path = "edge/quotas.rs"]
mod quotas;
/// It keeps serving while targets fail, ask for a pause or run out of quota; breakers, parking, reloads.
#[path = "edge/serving.rs"]
mod serving;
/// Each strategy shares requests as it promises, and falls back.
#[path = "edge/strategies.rs"]
mod strategies;

/// Copies of the audit log reach their sinks whole, whatever fails meanwhile.
#[path = "edge/sinks.rs"]
mod sinks;
