//! Journeys through the real `kt` process: a scripted provider behind it, a client before it, everything on free loopback ports.
//!
//! One binary, one module a concern:

mod support;

/// What a first user does: both commands of the README, the seed snippet, local pages.
#[path = "edge/first_steps.rs"]
mod first_steps;
/// How the house is built: what may mention what.
#[path = "edge/house.rs"]
mod house;
