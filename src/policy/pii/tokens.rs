//! Gives each distinct value of a prompt a token of its own, so that a provider can tell values apart without seeing them.
//!
//! Numbers count up in the order of appearance, so the turns of one conversation name the same value alike.

use super::matching::Kind;
use crate::openai::json_text::JsonText;
use crate::openai::request::Prompt;
use crate::policy::restore::Restorer;
use std::collections::{BTreeMap, BTreeSet};

/// The longest name in brackets that could be taken for a token, in bytes.
const LONGEST: usize = 32;

/// The tokens of one prompt. Without `Debug`: it holds the values.
pub(super) struct Tokens {
    /// What the caller wrote that looks like a token, without the closing bracket.
    taken: BTreeSet<String>,
    /// The last number of each kind.
    last: BTreeMap<Kind, u32>,
    /// The token of each value.
    given: BTreeMap<String, String>,
}

impl Tokens {
    /// For this prompt: no token is anything that stands in it.
    pub fn beside(prompt: &Prompt<'_>) -> Tokens {
        let mut taken = BTreeSet::new();
        note(prompt.body, &mut taken);
        for text in &prompt.texts {
            note(text.text.as_bytes(), &mut taken);
            if text.json {
                note(JsonText::whole(&text.text).view().as_bytes(), &mut taken);
            }
        }
        Tokens { taken, last: BTreeMap::new(), given: BTreeMap::new() }
    }

    /// The token of a value, the same each time.
    pub fn of(&mut self, kind: Kind, value: &str) -> String {
        if let Some(token) = self.given.get(value) {
            return token.clone();
        }
        let stem = kind.label().trim_end_matches("REDACTED]");
        let last = self.last.entry(kind).or_default();
        let token = loop {
            *last = last.saturating_add(1);
            let open = format!("{stem}{last}");
            if !self.taken.contains(&open) {
                break open + "]";
            }
        };
        self.given.insert(value.to_owned(), token.clone());
        token
    }

    /// The way back.
    pub fn into_restorer(self) -> Restorer {
        Restorer::new(self.given.into_iter().map(|(value, token)| (token, value)))
    }
}

/// Notes what begins like a token; that it ends like one is not asked, for an answer may add the bracket.
fn note(text: &[u8], taken: &mut BTreeSet<String>) {
    for at in memchr::memchr_iter(b'[', text) {
        let name =
            text.iter().skip(at + 1).take(LONGEST).take_while(|b| b.is_ascii_uppercase() || b.is_ascii_digit() || **b == b'_');
        let open: String = std::iter::once(&b'[').chain(name).map(|b| char::from(*b)).collect();
        if open.contains('_') && open.ends_with(|c: char| c.is_ascii_digit()) {
            taken.insert(open);
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::openai::edit::apply;
    use crate::openai::request::{Endpoint, Prompt};
    use crate::policy::pii::{Action, PiiDetector, PiiSettings};
    use crate::policy::{Judgement, Policy, Verdict};
    use serde_json::{Value, json};

    fn sent(body: &Value) -> (Value, Judgement) {
        let body = body.to_string().into_bytes();
        let prompt = Prompt::read(Endpoint::ChatCompletions, &body).unwrap();
        let detector = PiiDetector::new(PiiSettings { action: Action::Restore, ..PiiSettings::default() }).unwrap();
        let judgement = detector.inspect(&prompt).unwrap();
        let splices = judgement.edits.iter().map(|edit| prompt.texts[edit.text].splice(&prompt, edit.range.clone(), &edit.with));
        (serde_json::from_slice(&apply(&body.clone().into(), splices.collect())).unwrap(), judgement)
    }

    fn user(text: &str) -> Value {
        json!({"messages": [{"role": "user", "content": text}]})
    }

    #[test]
    fn the_same_value_has_the_same_token_wherever_it_stands_and_another_one_another() {
        let arguments = r#"{"to":"bob\u0040x.org","n":1}"#;
        let call = json!({"id": "c", "type": "function", "function": {"name": "f", "arguments": arguments}});
        let (sent, judgement) = sent(&json!({"messages": [
            {"role": "user", "content": "ann@x.org and bob@x.org"},
            {"role": "assistant", "content": null, "tool_calls": [call]},
            {"role": "tool", "tool_call_id": "c", "content": "sent to bob@x.org, not to ann@x.org, from 203.0.113.77"}]}));
        assert_eq!(sent["messages"][0]["content"], "[EMAIL_1] and [EMAIL_2]");
        assert_eq!(sent["messages"][1]["tool_calls"][0]["function"]["arguments"], "{\"to\":\"[EMAIL_2]\",\"n\":1}");
        assert_eq!(sent["messages"][2]["content"], "sent to [EMAIL_2], not to [EMAIL_1], from [IP_ADDRESS_1]");
        assert_eq!((judgement.verdict, judgement.findings.len()), (Verdict::Redact, 6));
        assert!(!format!("{judgement:?}").contains("x.org"));
    }

    #[test]
    fn no_token_is_what_the_caller_wrote() {
        let (sent, _) = sent(&user("[EMAIL_1] and [EMAIL_2 and [EMAIL_33] are literal; ann@x.org is not"));
        assert_eq!(sent["messages"][0]["content"], "[EMAIL_1] and [EMAIL_2 and [EMAIL_33] are literal; [EMAIL_3] is not");
    }

    #[test]
    fn a_prompt_without_values_has_nothing_to_restore() {
        let (_, judgement) = sent(&user("[EMAIL_1]"));
        assert_eq!(judgement, Judgement::default());
    }

    #[test]
    fn a_value_longer_than_any_hold_has_one_token() {
        let key =
            format!("-----BEGIN PRIVATE KEY-----\n{}-----END PRIVATE KEY-----", "MIIEvQIBADANBgkqhkiG9w0BAQEFAASC\n".repeat(60));
        let (sent, _) = sent(&user(&format!("key:\n{key}\nand ann@x.org")));
        assert_eq!(sent["messages"][0]["content"], "key:\n[SECRET_1]\nand [EMAIL_1]");
    }
}
