//! What journeys are made of: a gateway process, a scripted origin, an audit log to read back.

pub mod doors;
pub mod gateway;
pub mod health;
pub mod origin;
pub mod sockets;
pub mod wire;

pub use doors::Door;
pub use gateway::{Gateway, Run};
pub use origin::Origin;
pub use wire::Wire;
