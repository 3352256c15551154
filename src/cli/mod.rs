//! The commands of `kt`, one file a group: plain functions that write to what they are given and return an exit code.

pub mod policy;
pub mod schema;
