//! The filters that `query` and `export` share, as options.

use crate::audit::query::Filter;
use crate::audit::sealed::terms::Field;
use crate::audit::when::{self, End, NotATime};
use std::time::SystemTime;

/// Which records. Different options must all match; one given several times matches any of its values.
#[derive(Debug, Clone, Default, clap::Args)]
#[command(next_help_heading = "Which records (different options must all match, one given again matches either value)")]
pub struct Select {
    /// Not older: a date (in UTC), a time (RFC 3339), or how long ago (90s, 15m, 2h, 3d, 4w)
    #[arg(long, value_name = "TIME", value_parser = since)]
    since: Option<String>,
    /// Not younger; a date means the end of its day
    #[arg(long, value_name = "TIME", value_parser = until)]
    until: Option<String>,
    /// What the chain said
    #[arg(long, value_parser = ["allow", "warn", "redact", "escalate", "block"])]
    verdict: Vec<String>,
    /// How the exchange ended
    #[arg(long, value_parser = ["success", "denied", "error", "aborted", "interrupted"])]
    outcome: Vec<String>,
    /// Of this type: received, completed, interrupted, or a whole one such as audit.gap
    #[arg(long = "type", value_name = "TYPE", value_parser = kind)]
    kind: Vec<String>,
    /// The model asked for, or the one that answered
    #[arg(long)]
    model: Vec<String>,
    /// The target that answered, or was tried last
    #[arg(long)]
    target: Vec<String>,
    /// Whose key the caller showed
    #[arg(long)]
    principal: Vec<String>,
    /// X-User-Id of the caller; of records about the log itself, the user of the operating system
    #[arg(long)]
    user: Vec<String>,
    /// X-Team-Id of the caller
    #[arg(long)]
    team: Vec<String>,
    /// X-Conversation-ID of the caller
    #[arg(long, value_name = "ID")]
    conversation: Vec<String>,
    /// x-request-id
    #[arg(long, value_name = "ID")]
    request_id: Vec<String>,
    /// Of this trace
    #[arg(long, value_name = "ID")]
    trace_id: Vec<String>,
    /// Both records of the exchange, or the one record, with this id (x-keeptrusts-event-id)
    #[arg(long, value_name = "ID")]
    id: Vec<String>,
}

impl Select {
    /// What the options ask for.
    pub fn filter(&self) -> Filter {
        let filter = Filter::between(self.since.clone(), self.until.clone());
        let fields = [
            (Field::Verdict, &self.verdict),
            (Field::Outcome, &self.outcome),
            (Field::Type, &self.kind),
            (Field::Model, &self.model),
            (Field::Target, &self.target),
            (Field::Principal, &self.principal),
            (Field::User, &self.user),
            (Field::Team, &self.team),
            (Field::Conversation, &self.conversation),
            (Field::RequestId, &self.request_id),
            (Field::TraceId, &self.trace_id),
            (Field::Id, &self.id),
        ];
        fields.into_iter().fold(filter, |filter, (field, values)| filter.with(field, values.iter().cloned()))
    }
}

/// The first moment of what is given.
pub(super) fn since(text: &str) -> Result<String, NotATime> {
    when::parse(text, End::First, SystemTime::now())
}

/// The last moment of what is given.
pub(super) fn until(text: &str) -> Result<String, NotATime> {
    when::parse(text, End::Last, SystemTime::now())
}

/// The types of exchanges go by their last word.
fn kind(text: &str) -> Result<String, String> {
    match text {
        "received" | "completed" | "interrupted" => Ok(format!("llm.request.{text}")),
        whole if whole.contains('.') => Ok(whole.to_string()),
        _ => Err("received, completed, interrupted, or a whole type such as audit.gap or gateway.start".into()),
    }
}
