//! What is kept of a request after it was judged, so that a body can be made from it for any target at any time.
//!
//! An outline holds places only, no text: each method is given the body they are of. Given another one it may name the wrong
//! bytes, but it never panics.

use super::members::source;
use super::{Endpoint, Members, Prompt, StreamOptions};
use crate::openai::cut::Cuts;
use crate::openai::edit::Splice;
use crate::openai::json::{decode, encode};
use std::ops::Range;

/// Tokens of output a provider reserves at admission when the caller names no limit, and at most, whatever the caller names.
/// Source: the rate limits of Cerebras.
const MAX_RESERVED: u64 = 16_384;
/// Bytes of a body that make one token, about.
const BYTES_PER_TOKEN: u64 = 4;

/// The places of one request where bodies for targets differ.
#[derive(Debug, Clone)]
pub struct Outline {
    pub(super) endpoint: Endpoint,
    pub(super) stream: bool,
    pub(super) members: Members,
    include_usage: bool,
    stream_options: StreamOptions,
    /// The value of `model`, quotes included.
    model: Option<Range<usize>>,
    tokens: u64,
}

impl Outline {
    /// Of a request that was read.
    pub(super) fn of(prompt: &Prompt<'_>) -> Self {
        let output = match prompt.endpoint {
            Endpoint::ChatCompletions | Endpoint::Completions => prompt.max_tokens.unwrap_or(MAX_RESERVED).min(MAX_RESERVED),
            Endpoint::Embeddings => 0,
        };
        Self {
            endpoint: prompt.endpoint,
            stream: prompt.stream,
            members: prompt.members.clone(),
            include_usage: prompt.include_usage,
            stream_options: prompt.stream_options.clone(),
            model: prompt.model.as_ref().map(|(_, range)| range.clone()),
            tokens: prompt.body.len() as u64 / BYTES_PER_TOKEN + output,
        }
    }

    /// About how many tokens of a provider's quota the request takes while it is under way: its length and the answer's limit.
    pub fn tokens(&self) -> u64 {
        self.tokens
    }

    /// Makes the body name `model`; `None` if it does.
    pub fn with_model(&self, body: &[u8], model: &str) -> Option<Splice> {
        let Some(range) = &self.model else {
            return Some(first_member(body, format!("\"model\":\"{}\",", encode(model))));
        };
        let inside = range.start + 1..range.end.saturating_sub(1);
        let same = decode(source(body, &inside)) == model;
        (!same).then(|| Splice::new(range.clone(), format!("\"{}\"", encode(model))))
    }

    /// Makes a streamed request ask for usage; `None` if it does, or is not streamed.
    pub fn with_usage(&self, body: &[u8]) -> Option<Splice> {
        if !self.stream || self.include_usage {
            return None;
        }
        Some(match &self.stream_options {
            StreamOptions::Absent => first_member(body, "\"stream_options\":{\"include_usage\":true},".into()),
            StreamOptions::Null(range) => Splice::new(range.clone(), "{\"include_usage\":true}"),
            StreamOptions::Empty(at) => Splice::new(*at..*at, "\"include_usage\":true"),
            StreamOptions::Others(at) => Splice::new(*at..*at, "\"include_usage\":true,"),
            StreamOptions::Usage(range) => Splice::new(range.clone(), "true"),
        })
    }

    /// Takes the top-level members of these names away; gives back the names that were there, in the body's order. The member
    /// that every request must have ([`Endpoint::input`]) stays.
    ///
    /// Another splice at the very beginning of the object must be given to [`apply`](crate::openai::edit::apply) before these;
    /// one inside a member that goes is dropped there.
    pub fn without<'f>(&self, body: &[u8], fields: &'f [String]) -> (Vec<Splice>, Vec<&'f str>) {
        let (mut cuts, mut dropped) = (Cuts::default(), Vec::new());
        if fields.is_empty() {
            return (cuts.finish(), dropped);
        }
        self.members.each(body, |member| {
            let name = member.name(body);
            match fields.iter().find(|field| **field == name && *field != self.endpoint.input()) {
                Some(field) => {
                    dropped.push(field.as_str());
                    cuts.drop(member.range());
                }
                None => cuts.keep(member.range()),
            }
        });
        (cuts.finish(), dropped)
    }
}

/// A new first member, which brings its comma: every request has another member, its input.
pub(super) fn first_member(body: &[u8], member: String) -> Splice {
    let inside = memchr::memchr(b'{', body).map_or(0, |brace| brace + 1);
    Splice::new(inside..inside, member)
}

#[cfg(test)]
mod tests;
