//! The table itself, in the order of the documentation: which records, path, type, what it says / when it is absent => what the
//! conventions call it, and what a number is multiplied by then.

use super::{Attribute, Field, Records};

macro_rules! fields {
    ($($of:ident $path:literal $kind:literal $says:literal $(/ $absent:literal)? $(=> $name:literal $(* $scale:literal)?)?;)*) => {
        /// Every field.
        pub const FIELDS: &[Field] = &[$(Field {
            path: $path,
            kind: $kind,
            of: Records::$of,
            says: $says,
            absent: concat!($($absent)?),
            otel: fields!(@attribute $($name $(* $scale)?)?),
        }),*];
    };
    (@attribute) => { None };
    (@attribute $name:literal) => { Some(Attribute { name: $name, scale: 1.0 }) };
    (@attribute $name:literal * $scale:literal) => { Some(Attribute { name: $name, scale: $scale }) };
}

fields! {
    All "v" "integer" "version of the entry: 1";
    All "schema" "string" "`kt.audit/1`";
    All "id" "string"
        "UUIDv7 of the record; that of the first record is the exchange's, and the caller's `x-keeptrusts-event-id`"
        => "log.record.uid";
    All "type" "string" "what happened" => "event.name";
    All "time" "string" "when the record was made: RFC 3339 in UTC with nanoseconds, always 30 characters";
    All "origin" "string" "the log: cluster, node, epoch" => "service.instance.id";
    All "boot_id" "string" "UUIDv7, new at every start of the gateway";
    All "gateway_version" "string" "version of `kt`" => "service.version";
    All "parent" "string" "id of the `llm.request.received` record that this one answers" / "in records that answer none";
    All "cut.from_bytes" "integer"
        "how long the record was in bytes before its longest texts and lists were cut" / "unless it was cut";
    Exchange "config_sha256" "string" "SHA-256 of the config file in force, in hex";
    Exchange "pack.name" "string" "`pack.name` of that config";
    Exchange "pack.version" "string" "`pack.version` of that config";
    Exchange "principal.kind" "string" "kind of identity: `anonymous`, since no key is asked for";
    Exchange "principal.id" "string" "its name" / "for `anonymous`" => "enduser.id";
    Exchange "principal.key_id" "string" "which of its keys, never the key" / "for `anonymous`";
    Exchange "user" "string"
        "`X-User-Id`, as the caller says; of what was done with the log, the user of the operating system" / "without that header"
        => "user.id";
    Exchange "team" "string" "`X-Team-Id`, as the caller says" / "without that header";
    Exchange "client.ip" "string" "address the connection came from" / "unknown for sockets without one" => "client.address";
    Exchange "client.user_agent" "string" "`User-Agent`" / "without that header" => "user_agent.original";
    Exchange "gen_ai.conversation.id" "string" "`X-Conversation-ID`" / "without that header" => "gen_ai.conversation.id";
    Exchange "gen_ai.operation.name" "string" "`chat`, `text_completion` or `embeddings`" => "gen_ai.operation.name";
    Exchange "gen_ai.request.model" "string"
        "model the caller named" / "when the body names none or was not read" => "gen_ai.request.model";
    Exchange "url.path" "string" "path of the request, without its query" => "url.path";
    Exchange "stream" "boolean" "the caller asked for a stream" / "when false" => "gen_ai.request.stream";
    Exchange "tools" "string[]" "names of the tools offered, at most 128" / "without tools";
    Exchange "parameters.best_of" "number or boolean" "`best_of`" / "when not set";
    Exchange "parameters.dimensions" "number or boolean"
        "`dimensions` of embeddings" / "when not set" => "gen_ai.embeddings.dimension.count";
    Exchange "parameters.echo" "number or boolean" "`echo`" / "when not set";
    Exchange "parameters.encoding_format" "string"
        "`float`, `base64`, or `other`" / "when not set" => "gen_ai.request.encoding_formats";
    Exchange "parameters.frequency_penalty" "number or boolean"
        "`frequency_penalty`" / "when not set" => "gen_ai.request.frequency_penalty";
    Exchange "parameters.function_call" "string" "`none`, `auto`, `function`, or `other`" / "when not set";
    Exchange "parameters.include_usage" "number or boolean" "`stream_options.include_usage`" / "when not set";
    Exchange "parameters.logprobs" "number or boolean" "`logprobs`" / "when not set";
    Exchange "parameters.max_completion_tokens" "number or boolean"
        "`max_completion_tokens`" / "when not set" => "gen_ai.request.max_tokens";
    Exchange "parameters.max_tokens" "number or boolean" "`max_tokens`" / "when not set" => "gen_ai.request.max_tokens";
    Exchange "parameters.min_p" "number or boolean" "`min_p`" / "when not set";
    Exchange "parameters.min_tokens" "number or boolean" "`min_tokens`" / "when not set";
    Exchange "parameters.n" "number or boolean" "choices asked for" / "when not set" => "gen_ai.request.choice.count";
    Exchange "parameters.parallel_tool_calls" "number or boolean" "`parallel_tool_calls`" / "when not set";
    Exchange "parameters.presence_penalty" "number or boolean"
        "`presence_penalty`" / "when not set" => "gen_ai.request.presence_penalty";
    Exchange "parameters.reasoning_effort" "string" "`none` to `xhigh`, or `other`" / "when not set";
    Exchange "parameters.repetition_penalty" "number or boolean" "`repetition_penalty`" / "when not set";
    Exchange "parameters.response_format" "string"
        "type of `response_format`: `text`, `json_object`, `json_schema`, or `other`" / "when not set" => "gen_ai.output.type";
    Exchange "parameters.seed" "number or boolean" "`seed`" / "when not set" => "gen_ai.request.seed";
    Exchange "parameters.service_tier" "string"
        "`auto`, `default`, `flex`, `priority`, or `other`" / "when not set" => "openai.request.service_tier";
    Exchange "parameters.stop_sequences" "integer" "how many texts end the answer; never the texts" / "when not set";
    Exchange "parameters.store" "number or boolean" "`store`" / "when not set";
    Exchange "parameters.temperature" "number or boolean" "`temperature`" / "when not set" => "gen_ai.request.temperature";
    Exchange "parameters.tool_choice" "string" "`none`, `auto`, `required`, or the type of the choice" / "when not set";
    Exchange "parameters.top_k" "number or boolean" "`top_k`" / "when not set" => "gen_ai.request.top_k";
    Exchange "parameters.top_logprobs" "number or boolean" "`top_logprobs`" / "when not set";
    Exchange "parameters.top_p" "number or boolean" "`top_p`" / "when not set" => "gen_ai.request.top_p";
    Exchange "parameters.use_beam_search" "number or boolean" "`use_beam_search`" / "when not set";
    Exchange "parameters.verbosity" "string" "`low`, `medium`, `high`, or `other`" / "when not set";
    Exchange "retry" "integer"
        "how often the caller's SDK had tried this call before (`x-stainless-retry-count`)"
        / "when it had not" => "http.request.resend_count";
    Exchange "req.bytes" "integer" "bytes of the request body, decoded" => "http.request.body.size";
    Exchange "req.alg" "string" "`hmac-sha256`" / "when the body was not read";
    Exchange "req.commit" "string" "commitment to the body as the caller sent it, decoded; in hex" / "when the body was not read";
    Exchange "req.redacted.bytes" "integer"
        "bytes of the body without what policies took out: what targets were sent, but for their own model and the \
         fields they do not take"
        / "when nothing was taken out";
    Exchange "req.redacted.commit" "string" "commitment to that, with a salt of its own" / "when nothing was taken out";
    Exchange "req.body_ref" "string"
        "where the body is kept, for `kt audit open`" / "in `llm.request.received`, and when it is not kept";
    Exchange "req.body_omitted" "string"
        "why it is not kept: `too_large` (over 1 MiB), `busy` (too many bodies waited for the disk), `unread` (`bodies: \
         redacted`, and `pii-detector` did not read it or blocked), `unencrypted`"
        / "when it is kept, or `bodies: none`";
    Exchange "req.redactions[].type" "string" "type of values that were replaced: `email`, `ssn`, ..." / "when none were";
    Exchange "req.redactions[].count" "integer" "how many" / "when none were";
    Exchange "req.scanned" "string[]"
        "channels the chain read: `content`, `reasoning`, `arguments`, `definition`, `other`" / "when it read none";
    Exchange "req.unscanned" "string[]"
        "content nobody could read: `image`, `audio`, `file`, `token_ids`" / "when there was none";
    Exchange "trace_id" "string" "trace id of `traceparent`, or a new one";
    Exchange "span_id" "string" "the gateway's span in it";
    Exchange "request_id" "string" "`x-request-id`: the caller's, or a new one";
    Judged "target" "string"
        "target that is tried first; in `llm.request.completed` the one that answered, or the last one tried"
        / "when none was tried";
    Judged "policy[].kind" "string" "policy: `prompt-injection`, `pii-detector`" / "with an empty chain";
    Judged "policy[].phase" "string" "`input` or `output`" / "with an empty chain";
    Judged "policy[].verdict" "string"
        "`allow`, `warn`, `redact`, `escalate`, `block`, `skipped` or `error`" / "with an empty chain";
    Judged "policy[].reason_code" "string" "why: `pii.detected`, `prompt_injection.detected`" / "for `allow`, `skipped`, `error`";
    Judged "policy[].rule" "string[]" "rules that found something, each once" / "when none did";
    Judged "policy[].score" "number" "the highest score, 0 to 1" / "when no rule has one";
    Judged "policy[].features[].id" "string"
        "what spoke most for the verdict, strongest first, at most five: ids of rules and parts of the model; never \
         words of the prompt"
        / "when nothing has a score";
    Judged "policy[].features[].score" "number" "how strongly, 0 to 1" / "when nothing has a score";
    Judged "policy[].us" "integer" "microseconds it took" / "for `skipped`";
    Completed "gen_ai.provider.name" "string" "provider of that target" / "when none was tried" => "gen_ai.provider.name";
    Completed "gen_ai.response.model" "string"
        "model that answered, as the provider names it" / "when it names none" => "gen_ai.response.model";
    Completed "gen_ai.response.id" "string" "the provider's id of the answer" / "when it gives none" => "gen_ai.response.id";
    Completed "resp.bytes" "integer"
        "bytes of the answer's body that left for the caller" / "when no target answered" => "http.response.body.size";
    Completed "resp.alg" "string" "`hmac-sha256`" / "when nothing left";
    Completed "resp.commit" "string" "commitment to the answer's body as it left for the caller" / "when nothing left";
    Completed "resp.body_ref" "string" "where it is kept" / "when it is not";
    Completed "resp.body_omitted" "string"
        "why it is not kept; as `req.body_omitted`, and `restored` (`bodies: redacted`, and values taken out of the \
         prompt were put back)"
        / "when it is kept, or `bodies: none`";
    Completed "resp.redactions[].type" "string" "type of values that were replaced in it" / "when none were";
    Completed "resp.redactions[].count" "integer" "how many" / "when none were";
    Completed "resp.scanned" "string[]" "channels that were watched" / "when none were";
    Completed "resp.unscanned" "string[]" "content nobody could read" / "when there was none";
    Completed "chunks" "integer" "events of a streamed answer, `[DONE]` aside" / "for answers that came as a whole";
    Completed "gen_ai.response.finish_reasons" "string[]"
        "why each choice ended, at most 128" / "when none ended" => "gen_ai.response.finish_reasons";
    Completed "verdict" "string" "the strongest verdict of both phases";
    Completed "reason_code" "string" "its reason, or the code of the gateway's own refusal" / "for `allow`" => "error.type";
    Completed "outcome" "string"
        "`success`, `denied`, `error`, `aborted` (the caller left first) or `interrupted`; in `llm.request.interrupted` too";
    Completed "http_status" "integer" "status the caller got" / "when the caller left before it" => "http.response.status_code";
    Completed "attempts[].target" "string" "target tried, in order" / "when none was";
    Completed "attempts[].model" "string" "model it was asked for" / "when none was";
    Completed "attempts[].configured_model" "string" "what the config calls that model" / "when the provider calls it the same";
    Completed "attempts[].status" "integer" "HTTP status of its answer" / "when it gave none";
    Completed "attempts[].error" "string" "why it gave none: `connect`, `tls`, `timeout`, ..." / "when it answered";
    Completed "attempts[].ms" "number" "milliseconds until that was known" / "when none was";
    Completed "attempts[].reason" "string" "why the next one was tried" / "for one that served";
    Completed "fallback" "boolean" "another target than the first answered" / "when false";
    Completed "continued" "boolean" "a target went on with a stream that another one broke off" / "when false";
    Completed "dropped_fields" "string[]" "request fields that the target does not take and was not sent" / "when none were";
    Completed "degraded" "boolean" "a policy could not judge and the fail mode let the exchange go on" / "when false";
    Completed "usage.input_tokens" "integer" "tokens of the prompt" / "when no answer came" => "gen_ai.usage.input_tokens";
    Completed "usage.output_tokens" "integer" "tokens of the answer" / "when no answer came" => "gen_ai.usage.output_tokens";
    Completed "usage.cached" "integer"
        "of the prompt's, those the provider had cached" / "when 0" => "gen_ai.usage.cache_read.input_tokens";
    Completed "usage.reasoning" "integer"
        "of the answer's, those spent on reasoning" / "when 0" => "gen_ai.usage.reasoning.output_tokens";
    Completed "usage.source" "string"
        "who counted: `upstream`, or `estimate` for a stream whose provider did not (four bytes of request a token, one \
         event of the answer a token)"
        / "when no answer came";
    Completed "cost_usd" "number" "price of those tokens in US dollars, by the target's `pricing`" / "without `pricing`";
    Completed "ttft_ms" "number"
        "milliseconds from arrival to the first byte of the answer"
        / "when none came" => "gen_ai.response.time_to_first_chunk" * 0.001;
    Completed "duration_ms" "number" "milliseconds from arrival to the last byte";
    Completed "overhead_us" "integer"
        "microseconds the gateway took from the end of the request to the choice of a target" / "when none was chosen";
    Completed "tokens_per_second" "number"
        "output tokens a second after the first byte" / "for whole answers, and uncounted ones";
    Life "listen" "string[]" "addresses it listens on";
    Life "reason" "string" "why the gateway stopped; in `audit.gap` and `audit.epoch` what happened";
    Life "errors" "integer" "errors of the refused config";
    Life "first" "string" "the first of them";
    Log "action" "string" "`read`, `export`, `verify` or `hold`";
    Log "at" "string" "when, as `time`";
    Log "what" "string" "what was asked for; in `audit.erased` what was erased: `salts` or `all`";
    Log "records" "integer" "records shown" / "where that is not known";
    Log "record" "string" "the exchange whose salts and bodies were erased";
    Log "by" "string" "what says that segments go: `retention_days`";
    Log "new_minimum" "integer" "index of the first record that is left";
    Log "segments[].first" "integer" "index of the first record of a segment that goes";
    Log "segments[].last" "integer" "index of its last";
    Log "segments[].sha256" "string" "SHA-256 of its file of records, in hex";
    Log "previous" "string" "the log that cannot be continued";
    Log "checkpoint" "string" "its last signed checkpoint";
    Log "count" "integer" "records or exchanges lost; 0 when not known";
    Log "bytes" "integer" "unacknowledged bytes that recovery cut off" / "for other losses";
    Log "from" "string" "when the loss began";
    Log "to" "string" "when it ended";
}
