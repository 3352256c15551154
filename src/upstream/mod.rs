//! Where requests go: the targets of a config, whether they can serve, and in which order one exchange tries them.

pub mod backoff;
pub mod balancer;
pub mod capacity;
pub mod dice;
pub mod failure;
pub mod health;
pub mod hedge;
pub mod moment;
pub mod pace;
pub mod plan;
pub mod target;

pub use failure::Failure;
pub use plan::{Attempt, Plan};
pub use target::{Key, State, Target};
