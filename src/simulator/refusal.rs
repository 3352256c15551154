//! The errors the provider would answer, in the provider's own shape: Cerebras's are flat, OpenAI's nested.

use super::model::{Model, Style};
use serde_json::json;

/// An error answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    pub status: u16,
    kind: &'static str,
    param: String,
    code: &'static str,
    message: String,
    style: Style,
}

impl Refusal {
    /// 400: the request is not one the API takes. `param` names the field, or is empty.
    pub fn invalid(style: Style, param: &str, message: impl Into<String>) -> Self {
        Self::new(400, style, "invalid_request_error", param, "wrong_api_format", message)
    }

    /// 422: a field Cerebras does not know.
    pub fn unknown_field(style: Style, field: &str) -> Self {
        let message = format!("body.{field}: property 'body.{field}' is unsupported");
        Self::new(422, style, "invalid_request_error", "validation_error", "wrong_api_format", message)
    }

    /// 404: no such model.
    pub fn unknown_model(style: Style, model: &str) -> Self {
        let known: Vec<_> = Model::names().collect();
        let message =
            format!("Model {model} does not exist or you do not have access to it. (This simulator has {}.)", known.join(", "));
        Self::new(404, style, "not_found_error", "model", "model_not_found", message)
    }

    /// 404: no such path.
    pub fn unknown_path(path: &str) -> Self {
        Self::new(404, Style::Cerebras, "not_found_error", "", "not_found", format!("the simulator has nothing at {path}"))
    }

    /// 401: the key is missing or wrong.
    pub fn wrong_key() -> Self {
        Self::new(401, Style::Cerebras, "authentication_error", "api_key", "wrong_api_key", "Wrong API Key")
    }

    /// 413: a body larger than the simulator reads.
    pub fn too_large(limit: usize) -> Self {
        Self::new(
            413,
            Style::Cerebras,
            "invalid_request_error",
            "",
            "request_too_large",
            format!("the body exceeds {limit} bytes"),
        )
    }

    /// 415: a body that is not plain JSON.
    pub fn encoded(encoding: &str) -> Self {
        let message = format!("the simulator reads plain JSON, not {encoding}");
        Self::new(415, Style::Cerebras, "invalid_request_error", "", "unsupported_encoding", message)
    }

    /// Any status, in the words a provider uses for it.
    pub fn of_status(status: u16, style: Style) -> Self {
        let (kind, param, code, message) = match status {
            401 => ("authentication_error", "api_key", "wrong_api_key", "Wrong API Key"),
            402 => ("payment_required_error", "", "payment_required", "Payment required."),
            403 => ("permission_denied_error", "", "permission_denied", "You are not allowed to do this."),
            404 => ("not_found_error", "model", "model_not_found", "Model does not exist or you do not have access to it."),
            408 => ("request_timeout_error", "", "request_timeout", "The request timed out."),
            413 => ("invalid_request_error", "", "request_too_large", "The request is too large."),
            429 => {
                let message = "Requests per second limit exceeded - too many requests sent.";
                ("too_many_requests_error", "quota", "request_quota_exceeded", message)
            }
            400..=499 => ("invalid_request_error", "validation_error", "wrong_api_format", "The request was refused."),
            503 => ("service_unavailable_error", "", "service_unavailable", "The service is temporarily unavailable."),
            504 => ("gateway_timeout_error", "", "gateway_timeout", "The model did not answer in time."),
            _ => ("server_error", "", "internal_error", "Encountered a server error, please try again."),
        };
        Self::new(status, style, kind, param, code, message)
    }

    /// The body.
    pub fn body(&self) -> Vec<u8> {
        let error = json!({"message": self.message, "type": self.kind, "param": self.param, "code": self.code});
        let body = match self.style {
            Style::Cerebras => error,
            Style::OpenAi => json!({"error": error}),
        };
        body.to_string().into_bytes()
    }

    /// The event that reports the error inside a stream: nested for both.
    pub fn event(&self) -> Vec<u8> {
        let error = json!({"message": self.message, "type": self.kind, "param": self.param, "code": self.code});
        format!("data: {}\n\n", json!({"error": error, "status_code": self.status})).into_bytes()
    }

    fn new(status: u16, style: Style, kind: &'static str, param: &str, code: &'static str, message: impl Into<String>) -> Self {
        Self { status, kind, param: param.to_owned(), code, message: message.into(), style }
    }
}
