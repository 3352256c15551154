//! The models a provider says it has: what callers may ask for, and the repair of ids that providers spell anew.
//!
//! Providers rename models: `llama3.3-70b` in a document is `llama-3.3-70b` on the wire. An id that is not on the list is taken
//! for the one id that equals it but for case and punctuation; where none or several do, it stays as it is.

use arc_swap::ArcSwapOption;
use serde::Deserialize;
use std::collections::HashMap;
use std::sync::Arc;

/// Models beyond this many are not kept. The longest list in the field, an aggregator's, has some five hundred.
const MAX_MODELS: usize = 10_000;
/// Longer ids are not kept, in bytes.
const MAX_ID: usize = 200;

/// The list a target gave last; empty until it gave one.
#[derive(Debug, Default)]
pub struct Catalog(ArcSwapOption<Listed>);

#[derive(Debug, Default)]
struct Listed {
    /// In the provider's order.
    ids: Vec<String>,
    /// Positions, by bare id.
    bare: HashMap<String, Vec<usize>>,
}

#[derive(Deserialize)]
struct List {
    data: Vec<Entry>,
}

#[derive(Deserialize)]
struct Entry {
    id: String,
}

impl Catalog {
    /// Takes the body of a `GET /models` answer (OpenAI API, list models); returns how many models it names.
    ///
    /// # Errors
    /// It is not such a list, or an empty one; what was known stays.
    pub fn learn(&self, body: &[u8]) -> Result<usize, String> {
        let list: List = serde_json::from_slice(body).map_err(|e| format!("not a list of models: {e}"))?;
        let ids = list.data.into_iter().map(|entry| entry.id).filter(|id| !id.is_empty() && id.len() <= MAX_ID);
        let mut listed = Listed::default();
        for id in ids.take(MAX_MODELS) {
            let same = listed.bare.entry(bare(&id)).or_default();
            if !same.iter().any(|at| listed.ids[*at] == id) {
                same.push(listed.ids.len());
                listed.ids.push(id);
            }
        }
        match listed.ids.len() {
            0 => Err("an empty list of models".into()),
            count => {
                self.0.store(Some(Arc::new(listed)));
                Ok(count)
            }
        }
    }

    /// Whether the provider lists this very id.
    pub fn has(&self, id: &str) -> bool {
        self.0.load().as_ref().is_some_and(|listed| listed.ids_like(id).any(|known| known == id))
    }

    /// What the provider calls the model `id` now, when that is another id and there is no doubt.
    pub fn repaired(&self, id: &str) -> Option<String> {
        let listed = self.0.load();
        let mut like = listed.as_ref()?.ids_like(id);
        match (like.next(), like.next()) {
            (Some(one), None) if one != id => Some(one.to_owned()),
            _ => None,
        }
    }

    /// The listed ids that equal `id` but for case and punctuation.
    pub fn like(&self, id: &str) -> Vec<String> {
        self.0.load().as_ref().map(|listed| listed.ids_like(id).map(str::to_owned).collect()).unwrap_or_default()
    }

    /// Every id, in the provider's order.
    pub fn ids(&self) -> Vec<String> {
        self.0.load().as_ref().map(|listed| listed.ids.clone()).unwrap_or_default()
    }

    /// Whether the provider gave a list.
    pub fn is_known(&self) -> bool {
        self.0.load().is_some()
    }
}

impl Listed {
    fn ids_like(&self, id: &str) -> impl Iterator<Item = &str> {
        self.bare.get(&bare(id)).into_iter().flatten().map(|at| self.ids[*at].as_str())
    }
}

/// An id without case and punctuation.
fn bare(id: &str) -> String {
    id.chars().filter(|c| c.is_alphanumeric()).flat_map(char::to_lowercase).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn catalog(ids: &[&str]) -> Catalog {
        let data: Vec<_> = ids.iter().map(|id| serde_json::json!({"id": id, "object": "model"})).collect();
        let catalog = Catalog::default();
        catalog.learn(serde_json::json!({"object": "list", "data": data}).to_string().as_bytes()).unwrap();
        catalog
    }

    #[test]
    fn a_renamed_model_is_found_when_there_is_no_doubt() {
        let cases: [(&[&str], &str, Option<&str>); 6] = [
            (&["llama-3.3-70b", "qwen-3"], "llama3.3-70b", Some("llama-3.3-70b")),
            (&["llama3.3-70b", "llama-3.3-70b"], "llama3.3-70b", None),
            (&["Llama-3.3-70B", "llama-3.3-70b"], "llama3.3-70b", None),
            (&["gpt-oss-120b"], "llama3.3-70b", None),
            (&["llama3.3-70b"], "llama3.3-70b", None),
            (&["meta/llama-3.3-70b"], "llama3.3-70b", None),
        ];
        for (listed, asked, expected) in cases {
            assert_eq!(catalog(listed).repaired(asked).as_deref(), expected, "{listed:?} {asked}");
        }
    }

    #[test]
    fn nothing_is_repaired_and_nothing_forgotten_without_a_list() {
        let catalog = catalog(&["a-1"]);
        for junk in [&b"<html>"[..], br#"{"data":[]}"#, br#"{"data":"x"}"#, br#"{"models":[]}"#, b""] {
            assert!(catalog.learn(junk).is_err());
        }
        assert!(catalog.has("a-1"));
        assert_eq!(Catalog::default().repaired("a1"), None);
        assert!(!Catalog::default().has("a1"));
    }

    proptest! {
        #[test]
        fn a_listed_id_is_never_repaired_into_another(ids in prop::collection::vec("[aA1][-.b]{0,2}", 1..6)) {
            let ids: Vec<&str> = ids.iter().map(String::as_str).collect();
            let catalog = catalog(&ids);
            for id in &ids {
                prop_assert!(catalog.has(id));
                prop_assert_eq!(catalog.repaired(id), None);
            }
        }
    }
}
