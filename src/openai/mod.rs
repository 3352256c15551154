//! The OpenAI wire format, read without copying and edited by splicing.

pub mod chunk;
mod cut;
pub mod edit;
pub mod json;
pub mod json_text;
pub mod request;
pub mod sse;
