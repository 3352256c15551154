//! Embeddings: unit vectors that depend on the text alone.

use super::ask::Ask;
use super::tokens;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

/// The answer to an embeddings request.
pub fn answer(ask: &Ask) -> Vec<u8> {
    let wanted = ask.body.get("dimensions").and_then(Value::as_u64).unwrap_or(DIMENSIONS as u64);
    let dimensions = usize::try_from(wanted).unwrap_or(MOST_DIMENSIONS).clamp(1, MOST_DIMENSIONS);
    let in_base64 = ask.body.get("encoding_format").is_some_and(|format| format == "base64");
    let data: Vec<_> = inputs(&ask.body)
        .iter()
        .take(MOST_INPUTS)
        .enumerate()
        .map(|(index, text)| {
            let vector = vector(text, dimensions);
            json!({"object": "embedding", "index": index, "embedding": if in_base64 { encoded(&vector) } else { json!(vector) }})
        })
        .collect();
    let usage = json!({"prompt_tokens": ask.prompt_tokens, "total_tokens": ask.prompt_tokens});
    json!({"object": "list", "data": data, "model": ask.model.id, "usage": usage}).to_string().into_bytes()
}

/// One text, several, or token ids of one or several.
fn inputs(body: &Value) -> Vec<String> {
    match body.get("input") {
        Some(Value::String(text)) => vec![text.clone()],
        Some(Value::Array(items)) if items.iter().all(Value::is_number) => vec![Value::from(items.clone()).to_string()],
        Some(Value::Array(items)) => {
            items.iter().map(|item| item.as_str().map_or_else(|| item.to_string(), str::to_owned)).collect()
        }
        _ => Vec::new(),
    }
}

fn vector(text: &str, dimensions: usize) -> Vec<f32> {
    let mut state = tokens::seed(text);
    let raw: Vec<f32> =
        (0..dimensions).map(|_| (tokens::next_number(&mut state) >> 40) as f32 / (1 << 23) as f32 - 1.0).collect();
    let length = raw.iter().map(|x| x * x).sum::<f32>().sqrt().max(f32::MIN_POSITIVE);
    raw.iter().map(|x| x / length).collect()
}

/// Little-endian 32-bit floats in base64, what OpenAI's SDKs ask for.
fn encoded(vector: &[f32]) -> Value {
    Value::String(STANDARD.encode(vector.iter().flat_map(|x| x.to_le_bytes()).collect::<Vec<u8>>()))
}

/// As `text-embedding-3-small`.
const DIMENSIONS: usize = 1_536;
const MOST_DIMENSIONS: usize = 4_096;
const MOST_INPUTS: usize = 2_048;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_vector_has_length_one_and_depends_on_the_text_alone() {
        let hello = vector("hello", 64);
        assert_eq!(hello, vector("hello", 64));
        assert_ne!(hello, vector("goodbye", 64));
        assert!((hello.iter().map(|x| x * x).sum::<f32>() - 1.0).abs() < 1e-3);
    }

    #[test]
    fn one_list_of_token_ids_is_one_input_and_several_are_several() {
        assert_eq!(inputs(&json!({"input": [1, 2, 3]})).len(), 1);
        assert_eq!(inputs(&json!({"input": [[1, 2], [3]]})).len(), 2);
        assert_eq!(inputs(&json!({"input": ["a", "b", "c"]})).len(), 3);
    }
}
