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

/// Callers that go away, early or right after the end.
#[path = "edge/leaving.rs"]
mod leaving;

/// How the house is built: what may mention what.
#[path = "edge/house.rs"]
mod house;

/// Personal data in answers, wherever a stream is cut; usage.
#[path = "edge/answers.rs"]
mod answers;

/// What the audit log holds of each exchange, and what nothing holds.
#[path = "edge/records.rs"]
mod records;

/// Start, reload, drain.
#[path = "edge/life.rs"]
mod life;

/// The same over HTTP/2 on either side; bounds; observation.
#[path = "edge/protocols.rs"]
mod protocols;
