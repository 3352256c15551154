//! Where requests go: the targets of a config, how they stand, and in which order one exchange tries them.
//!
//! Every exchange asks the [`Router`] for a [`Plan`]; every attempt of the plan needs a [`pass::Pass`] from its target, and what
//! becomes of the attempt is told through it to the parts of the target's [`target::Standing`]. Nothing here reads the clock or
//! throws dice by itself: hours of traffic are simulated in a test of milliseconds.

pub mod backoff;
pub mod balancer;
pub mod breaker;
pub mod capacity;
pub mod catalog;
pub mod dice;
pub mod failure;
#[cfg(test)]
mod fixture;
pub mod hedge;
pub mod moment;
pub mod pace;
pub mod parking;
pub mod pass;
pub mod plan;
pub mod quota;
pub mod router;
#[cfg(test)]
mod simulation;
pub mod target;

pub use dice::Dice;
pub use failure::Failure;
pub use moment::Moment;
pub use plan::{Attempt, Plan};
pub use router::{Router, Unroutable};
pub use target::{Key, State, Target};
