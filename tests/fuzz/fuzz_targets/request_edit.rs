//! A request that is read can be edited, and is still one that is read.
#![no_main]

use kt::openai::edit::rewrite;
use kt::openai::request::{Endpoint, Prompt};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|body: &[u8]| {
    for endpoint in [Endpoint::ChatCompletions, Endpoint::Completions] {
        let Ok(prompt) = Prompt::read(endpoint, body) else { continue };
        let texts = prompt.texts.iter().filter(|text| !text.json);
        let splices: Vec<_> = texts.map(|text| text.splice(&prompt, 0..text.text.len(), "\"edited\\\n")).collect();
        let edited = rewrite(body, splices);
        assert!(Prompt::read(endpoint, &edited).is_ok());
        let outline = prompt.outline();
        let renamed = rewrite(body, outline.with_model(body, "other\"").into_iter().collect());
        assert!(Prompt::read(endpoint, &renamed).is_ok());
    }
});
