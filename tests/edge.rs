//! Journeys through the real `kt` process: a scripted provider behind it, a client before it, everything on free loopback ports.
//!
//! One binary, one module a concern:

mod support;

/// What a first user does: both commands of the README, the seed snippet, local pages.
#[path = "edge/first_steps.rs"]
mod first_steps;
/// The second target gets the whole request, however the first one fails and however the request came.
#[path = "edge/failover.rs"]
mod failover;
/// A provider behind TLS: its certificate is verified, its protocol negotiated.
#[path = "edge/upstream_tls.rs"]
mod upstream_tls;
/// Requests as attackers and odd clients frame them: nothing is read two ways, one request never bleeds into the next.
#[path = "edge/framing.rs"]
mod framing;
/// How the house is built: what may mention what.
#[path = "edge/house.rs"]
mod house;
