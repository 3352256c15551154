//! Where requests go: the targets of a config, whether they can serve, and in which order one exchange tries them.

pub mod breaker;
pub mod failure;
pub mod health;
pub mod moment;
pub mod parking;
pub mod plan;
pub mod quota;
pub mod target;

pub use failure::Failure;
pub use plan::{Attempt, Plan};
pub use target::{Key, State, Target};
