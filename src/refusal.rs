//! The answers the gateway makes itself, in the one body that every SDK reads.
//!
//! OpenAI's SDKs read a nested `error`, Cerebras's a flat one, and each ignores the other's, so the body carries both. The flat
//! four are always strings: one client's schema refuses `"param": null`.

use serde_json::json;
use std::borrow::Cow;

/// An answer made by the gateway instead of a provider.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// HTTP status; `status_code` in the body repeats it.
    pub status: u16,
    /// Error class in OpenAI's vocabulary, such as `invalid_request_error`.
    pub kind: &'static str,
    /// Stable machine-readable code, such as `input_blocked`.
    pub code: &'static str,
    /// A sentence for the person who reads the exception. Never holds matched text or a secret.
    pub message: Cow<'static, str>,
    /// The request field at fault; empty when none is.
    pub param: Cow<'static, str>,
    /// The policy kind that decided, for policy verdicts.
    pub policy: Option<&'static str>,
    /// The reason of a policy verdict, such as `pii.detected`.
    pub reason_code: Option<&'static str>,
    /// Seconds after which trying again may help.
    pub retry_after: Option<u32>,
    /// The methods a path takes, for 405.
    pub allow: Option<&'static str>,
}

impl Refusal {
    /// A refusal with the three parts every one has.
    pub fn new(status: u16, kind: &'static str, code: &'static str, message: impl Into<Cow<'static, str>>) -> Self {
        Self {
            status,
            kind,
            code,
            message: message.into(),
            param: Cow::Borrowed(""),
            policy: None,
            reason_code: None,
            retry_after: None,
            allow: None,
        }
    }

    /// 400: the request is not what the endpoint takes.
    pub fn invalid(code: &'static str, message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(400, "invalid_request_error", code, message)
    }

    /// 409: a policy said no to the prompt.
    pub fn input_blocked(policy: &'static str, reason_code: &'static str, message: impl Into<Cow<'static, str>>) -> Self {
        Self {
            policy: Some(policy),
            reason_code: Some(reason_code),
            ..Self::new(409, "policy_violation", "input_blocked", message)
        }
    }

    /// 409, or an error event in a stream: a policy said no to the answer.
    pub fn output_blocked(policy: &'static str, reason_code: &'static str, message: impl Into<Cow<'static, str>>) -> Self {
        Self {
            policy: Some(policy),
            reason_code: Some(reason_code),
            ..Self::new(409, "policy_violation", "output_blocked", message)
        }
    }

    /// An answer in the place of a provider's that failed: 502, or the provider's own error status.
    pub fn upstream(status: u16, message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(status, "upstream_error", "upstream_error", message)
    }

    /// 503 with `Retry-After`: the gateway cannot take the request now.
    pub fn unavailable(code: &'static str, message: impl Into<Cow<'static, str>>) -> Self {
        Self { retry_after: Some(1), ..Self::new(503, "service_unavailable_error", code, message) }
    }

    /// Names the request field at fault.
    pub fn at(mut self, param: impl Into<Cow<'static, str>>) -> Self {
        self.param = param.into();
        self
    }

    /// Headers beside `content-type` and `content-length`. Decisions say `x-should-retry: false` and `retry-after-ms: 1`: the
    /// OpenAI, Cerebras and Anthropic SDKs retry a 409 twice unless told not to, and the Vercel AI SDK, which ignores the first,
    /// waits six seconds without the second.
    pub fn headers(&self) -> Vec<(&'static str, String)> {
        let mut headers = Vec::with_capacity(2);
        if self.status == 409 {
            headers.push(("x-should-retry", "false".into()));
            headers.push(("retry-after-ms", "1".into()));
        } else if self.status < 500 && self.status != 429 {
            headers.push(("x-should-retry", "false".into()));
        }
        if let Some(seconds) = self.retry_after {
            headers.push(("retry-after", seconds.to_string()));
        }
        if let Some(methods) = self.allow {
            headers.push(("allow", methods.into()));
        }
        headers
    }

    /// The response body.
    pub fn body(&self, request_id: &str) -> Vec<u8> {
        let body = json!({
            "message": self.message, "type": self.kind, "param": self.param, "code": self.code,
            "error": self.nested(request_id),
            "status_code": self.status,
        });
        body.to_string().into_bytes()
    }

    /// The event that ends a stream early. Nested only: flat fields, `choices` or an `event:` line each make one of the SDKs
    /// swallow the error or die of it.
    pub fn event(&self, request_id: &str) -> Vec<u8> {
        format!("data: {}\n\n", json!({"error": self.nested(request_id), "status_code": self.status})).into_bytes()
    }

    /// A provider's error body, completed so that every SDK reads it: status, message, type, param and code stay the provider's.
    /// `None` when the body is a hybrid already.
    pub fn complete_foreign(status: u16, body: &[u8], request_id: &str) -> Option<Vec<u8>> {
        let foreign: serde_json::Value = serde_json::from_slice(body).unwrap_or_default();
        let nested = foreign.get("error").filter(|e| e.is_object());
        if nested.is_some() && foreign.get("message").is_some_and(serde_json::Value::is_string) {
            return None;
        }
        let source = nested.unwrap_or(&foreign);
        let text = |name: &str| match source.get(name) {
            Some(serde_json::Value::String(text)) => Some(text.clone()),
            Some(serde_json::Value::Number(number)) => Some(number.to_string()),
            _ => None,
        };
        // Some providers send the message as a bare string under `error` or `detail`.
        let bare = ["error", "detail"].iter().find_map(|name| foreign.get(name)?.as_str().map(str::to_owned));
        let message =
            text("message").or(bare).unwrap_or_else(|| format!("the provider answered {status} without a readable reason"));
        let (kind, code) = (text("type").unwrap_or_else(|| "upstream_error".into()), text("code"));
        let code = code.unwrap_or_else(|| kind.clone());
        let param = text("param").unwrap_or_default();
        let mut error = json!({"message": message, "type": kind, "param": param, "code": code, "request_id": request_id});
        if let (Some(error), Some(nested)) = (error.as_object_mut(), nested.and_then(serde_json::Value::as_object)) {
            for (name, value) in nested.iter().filter(|(name, _)| !["message", "type", "param", "code"].contains(&name.as_str()))
            {
                error.insert(name.clone(), value.clone());
            }
        }
        let body = json!({"message": message, "type": kind, "param": param, "code": code, "error": error, "status_code": status});
        Some(body.to_string().into_bytes())
    }

    fn nested(&self, request_id: &str) -> serde_json::Value {
        json!({
            "message": self.message, "type": self.kind, "param": self.param, "code": self.code,
            "policy": self.policy, "reason_code": self.reason_code, "request_id": request_id,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_flat_four_are_strings_and_the_status_is_repeated() {
        let refusal = Refusal::invalid("invalid_json", "the body is not JSON");
        let body: serde_json::Value = serde_json::from_slice(&refusal.body("r-1")).unwrap();
        for field in ["message", "type", "param", "code"] {
            assert!(body[field].is_string(), "{field}");
            assert_eq!(body[field], body["error"][field]);
        }
        assert_eq!(body["status_code"], 400);
        assert_eq!(body["error"]["request_id"], "r-1");
    }

    #[test]
    fn a_decision_is_not_retried_by_any_sdk() {
        let headers = Refusal::input_blocked("pii-detector", "pii.detected", "no").headers();
        assert_eq!(headers, [("x-should-retry", "false".to_string()), ("retry-after-ms", "1".to_string())]);
    }

    #[test]
    fn a_providers_error_keeps_its_words_whatever_their_shape() {
        let cases: [(&str, &str, &str); 4] = [
            (r#"{"message":"no","type":"t","param":"model","code":"c"}"#, "no", "c"),
            (r#"{"error":{"message":"no","type":"t","param":null,"code":"c","extra":1}}"#, "no", "c"),
            (r#"{"error":"no"}"#, "no", "upstream_error"),
            ("<html>", "the provider answered 500 without a readable reason", "upstream_error"),
        ];
        for (body, message, code) in cases {
            let completed = Refusal::complete_foreign(500, body.as_bytes(), "r").unwrap();
            let completed: serde_json::Value = serde_json::from_slice(&completed).unwrap();
            assert_eq!(completed["message"], message, "{body}");
            assert_eq!(completed["error"]["message"], message, "{body}");
            assert_eq!(completed["code"], code, "{body}");
            assert_eq!(completed["status_code"], 500);
            assert_eq!(Refusal::complete_foreign(500, completed.to_string().as_bytes(), "r"), None);
        }
    }

    #[test]
    fn the_event_that_ends_a_stream_is_nested_only() {
        let event = String::from_utf8(Refusal::output_blocked("pii-detector", "pii.detected", "no").event("r")).unwrap();
        let body: serde_json::Value = serde_json::from_str(event.strip_prefix("data: ").unwrap().trim()).unwrap();
        let mut keys: Vec<_> = body.as_object().unwrap().keys().collect();
        keys.sort();
        assert_eq!(keys, ["error", "status_code"]);
    }
}
