//! What a record can be found by: a few of its fields, as terms.

use serde::Deserialize;
use std::borrow::Cow;

/// A field that records are found by. Its number is part of the index on disk: new ones go to the end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Field {
    /// The record's own id, or that of the record it answers.
    Id,
    /// `x-request-id`
    RequestId,
    /// The trace.
    TraceId,
    /// The record's type.
    Type,
    /// The strongest verdict.
    Verdict,
    /// How it ended.
    Outcome,
    /// The model asked for, or the one that answered.
    Model,
    /// The target that answered.
    Target,
    /// Whose key the caller showed.
    Principal,
    /// `X-User-Id`
    User,
    /// `X-Team-Id`
    Team,
    /// `X-Conversation-ID`
    Conversation,
}

/// A hash of a field and a value in it: FNV-1a, the same in every build and on every machine. Two terms that share one cost a
/// look at a run that has neither.
pub fn hash(field: Field, value: &str) -> u64 {
    let fold = |hash: u64, byte: u8| (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3);
    value.bytes().fold(fold(0xcbf2_9ce4_8422_2325, field as u8), fold)
}

/// The fields of a record that the index holds.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct Terms<'a> {
    /// When it was made: RFC 3339 in UTC with nanoseconds.
    #[serde(borrow)]
    pub time: Cow<'a, str>,
    #[serde(borrow)]
    id: Option<Cow<'a, str>>,
    #[serde(borrow)]
    parent: Option<Cow<'a, str>>,
    #[serde(borrow)]
    request_id: Option<Cow<'a, str>>,
    #[serde(borrow)]
    trace_id: Option<Cow<'a, str>>,
    #[serde(borrow, rename = "type")]
    kind: Option<Cow<'a, str>>,
    #[serde(borrow)]
    verdict: Option<Cow<'a, str>>,
    #[serde(borrow)]
    outcome: Option<Cow<'a, str>>,
    #[serde(borrow, rename = "gen_ai.request.model")]
    request_model: Option<Cow<'a, str>>,
    #[serde(borrow, rename = "gen_ai.response.model")]
    response_model: Option<Cow<'a, str>>,
    #[serde(borrow)]
    target: Option<Cow<'a, str>>,
    #[serde(borrow)]
    principal: Option<Principal<'a>>,
    #[serde(borrow)]
    user: Option<Cow<'a, str>>,
    #[serde(borrow)]
    team: Option<Cow<'a, str>>,
    #[serde(borrow, rename = "gen_ai.conversation.id")]
    conversation: Option<Cow<'a, str>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Principal<'a> {
    #[serde(borrow)]
    id: Option<Cow<'a, str>>,
}

impl<'a> Terms<'a> {
    /// Reads them; a record that is not JSON has none.
    pub fn of(entry: &'a [u8]) -> Terms<'a> {
        serde_json::from_slice(entry).unwrap_or_default()
    }

    /// Every field it has, with its value.
    pub fn each(&self) -> impl Iterator<Item = (Field, &str)> {
        let principal = self.principal.as_ref().and_then(|principal| principal.id.as_deref());
        let all = [
            (Field::Id, self.id.as_deref()),
            (Field::Id, self.parent.as_deref()),
            (Field::RequestId, self.request_id.as_deref()),
            (Field::TraceId, self.trace_id.as_deref()),
            (Field::Type, self.kind.as_deref()),
            (Field::Verdict, self.verdict.as_deref()),
            (Field::Outcome, self.outcome.as_deref()),
            (Field::Model, self.request_model.as_deref()),
            (Field::Model, self.response_model.as_deref()),
            (Field::Target, self.target.as_deref()),
            (Field::Principal, principal),
            (Field::User, self.user.as_deref()),
            (Field::Team, self.team.as_deref()),
            (Field::Conversation, self.conversation.as_deref()),
        ];
        all.into_iter().filter_map(|(field, value)| Some((field, value?)))
    }

    /// Whether it has this value in this field.
    pub fn has(&self, field: Field, value: &str) -> bool {
        self.each().any(|term| term == (field, value))
    }
}
