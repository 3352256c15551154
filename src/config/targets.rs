//! The targets as they are written, completed by what is known of their providers.

use super::diagnostic::Code;
use super::document::{Format, HealthProbeDocument, PricingDocument, TargetDocument};
use super::meaning::{Found, Spot};
use super::provider_ref::{PROVIDERS, ProviderRef, ProviderRefError};
use super::providers::{HealthProbe, ModelEntry, Pricing, TargetConfig};
use super::source::{looks_secret, quote};
use super::wording::{WHERE_SECRETS_GO, nearest};
use super::{BaseUrl, Scheme, SecretRef};
use http::{HeaderName, HeaderValue};
use std::collections::{BTreeMap, HashSet};
use std::time::Duration;

/// Headers the gateway sets itself for each connection or request.
const OURS: [&str; 9] =
    ["connection", "content-length", "expect", "host", "keep-alive", "te", "trailer", "transfer-encoding", "upgrade"];
/// Headers that hold a secret by their name.
pub(super) const SECRETS: [&str; 6] =
    ["authorization", "proxy-authorization", "api-key", "x-api-key", "x-goog-api-key", "cookie"];

/// Request fields that make the question: never dropped.
const UNDROPPABLE: [&str; 9] =
    ["messages", "prompt", "input", "model", "stream", "stream_options", "tools", "functions", "response_format"];

/// Completes every target. One with a fault that leaves holes is left out; the fault is an error, so nobody misses it.
pub(super) fn resolve(written: Vec<TargetDocument>, spot: Spot<'_>, found: &mut Found) -> Vec<TargetConfig> {
    let mut ids = HashSet::new();
    let mut targets = Vec::with_capacity(written.len());
    for (index, target) in written.into_iter().enumerate() {
        let spot = spot.item(index);
        if !ids.insert(target.id.clone()) {
            let message = format!("another target is already called `{}`", target.id);
            found.add(spot.key("id"), Code::DuplicateId, message, "give each target an id of its own");
        }
        targets.extend(complete(target, spot, found));
    }
    targets
}

fn complete(target: TargetDocument, spot: Spot<'_>, found: &mut Found) -> Option<TargetConfig> {
    let header = header_name(&target.api_key_header, spot.key("api_key_header"), found);
    let headers = headers(target.headers, &target.api_key_header, spot.key("headers"), found);
    models(&target.models, spot.key("models"), found);
    let provider = provider(&target.provider, spot.key("provider"), found);
    let base_url = base_url(target.base_url.as_deref(), provider.as_ref(), spot, found);
    let (provider, base_url) = (provider?, base_url?);
    let model = model(target.model, &provider, spot, found);
    let secret = secret(target.secret_key_ref, &provider, &base_url, spot, found);
    let prefix = key_prefix(target.api_key_prefix, &target.api_key_header, secret.is_some(), spot, found);
    let health_probe = health_probe(target.health_probe.unwrap_or_default(), &base_url, spot.key("health_probe"), found);
    let drop_fields = drop_fields(target.drop_fields, &provider, spot.key("drop_fields"), found);
    let known_prefix = provider.known().map(|known| known.assistant_prefix_at(&base_url)).unwrap_or_default();
    header?;
    // One language so far: a second one makes this line, and whoever sends requests, choose.
    let Format::OpenAi = target.format;
    let seconds = |seconds: u32| Duration::from_secs(seconds.into());
    Some(TargetConfig {
        id: target.id,
        provider,
        model,
        base_url,
        secret,
        api_key_header: target.api_key_header,
        api_key_prefix: prefix,
        headers,
        timeout: seconds(target.timeout_seconds),
        stream_timeout: seconds(target.stream_timeout_seconds.unwrap_or(target.timeout_seconds)),
        connect_timeout: Duration::from_millis(target.connect_timeout_ms.into()),
        weight: target.weight,
        max_concurrency: target.max_concurrency,
        models: target.models,
        max_context_tokens: target.max_context_tokens,
        pricing: target.pricing.map(pricing),
        health_probe,
        include_usage: target.include_usage,
        http2: target.http2,
        drop_fields,
        assistant_prefix: target.assistant_prefix.unwrap_or(known_prefix),
    })
}

fn provider(text: &str, spot: Spot<'_>, found: &mut Found) -> Option<ProviderRef> {
    let (code, message, help) = match ProviderRef::parse(text) {
        Ok(provider) => return Some(provider),
        Err(ProviderRefError::LaterMode(mode)) => (
            Code::NotInThisBuild,
            format!("the mode `{mode}` is not supported by this build"),
            "write `name:chat:model`".to_owned(),
        ),
        Err(ProviderRefError::Name) => {
            let message = format!("{} does not begin with the name of a provider", quote(text));
            (Code::BadValue, message, "write `name` or `name:mode:model`, such as `cerebras:chat:llama3.3-70b`".to_owned())
        }
        Err(ProviderRefError::NoModel) => {
            (Code::BadValue, format!("{} names no model", quote(text)), "write `name` or `name:mode:model`".to_owned())
        }
        Err(ProviderRefError::Mode(mode)) => {
            let name = text.split(':').next().unwrap_or_default();
            let model = text.strip_prefix(name).unwrap_or_default().trim_start_matches(':');
            let help = match nearest(&mode, &["chat", "embedding"]) {
                Some(near) => format!("did you mean `{near}`?"),
                None if looks_secret(model) => "write `name:mode:model`".to_owned(),
                None => format!("did you mean `{name}:chat:{model}`?"),
            };
            (Code::BadValue, format!("{} is no mode of a provider", quote(&mode)), help)
        }
    };
    found.add(spot, code, message, help);
    None
}

fn base_url(written: Option<&str>, provider: Option<&ProviderRef>, spot: Spot<'_>, found: &mut Found) -> Option<BaseUrl> {
    let Some(text) = written else {
        let provider = provider?;
        if let Some(known) = provider.known() {
            return BaseUrl::parse(known.base_url).ok();
        }
        let names: Vec<&str> = PROVIDERS.iter().map(|provider| provider.name).collect();
        let help = match nearest(&provider.name, &names) {
            Some(near) => format!("did you mean `{near}`? Any other provider needs a `base_url`"),
            None => format!("give it a `base_url`, or use one of {}", names.join(", ")),
        };
        found.add(spot.key("provider"), Code::UnknownProvider, format!("unknown provider {}", quote(&provider.name)), help);
        return None;
    };
    let spot = spot.key("base_url");
    match BaseUrl::parse(text) {
        Ok(url) => {
            if url.scheme == Scheme::Http && !url.is_loopback() {
                let message = format!("everything sent to `{}` travels in clear", url.host);
                found.add(spot, Code::PlainHttp, message, "write `https://`, unless something else protects this network");
            }
            Some(url)
        }
        Err(why) => {
            let named = match text.contains('@') {
                true => {
                    found.secret(spot);
                    "this".to_owned()
                }
                false => quote(text),
            };
            found.add(spot, Code::BadUrl, format!("{named} is not a base URL: {why}"), "write `https://host/path`");
            None
        }
    }
}

fn model(written: Option<String>, provider: &ProviderRef, spot: Spot<'_>, found: &mut Found) -> Option<String> {
    match (&written, &provider.model) {
        (Some(model), _) => sendable(model, spot.key("model"), found),
        (None, Some(short)) => sendable(short, spot.key("provider"), found),
        (None, None) => true,
    };
    match (written, provider.model.clone()) {
        (Some(model), Some(short)) if model != short => {
            let message = format!("`model` is {}, but `provider` says {}", quote(&model), quote(&short));
            found.add(spot.key("model"), Code::ModelConflict, message, "keep one of them");
            None
        }
        (written, short) => written.or(short),
    }
}

fn secret(
    written: Option<SecretRef>,
    provider: &ProviderRef,
    base_url: &BaseUrl,
    spot: Spot<'_>,
    found: &mut Found,
) -> Option<SecretRef> {
    if written.is_some() {
        return written;
    }
    if let Some(known) = provider.known() {
        return known.key_variable.map(|name| SecretRef::Env(name.to_owned()));
    }
    if !base_url.is_loopback() {
        let message = format!("no key is sent to {}: this provider has no default for it", quote(&provider.name));
        let names: Vec<&str> = PROVIDERS.iter().map(|provider| provider.name).collect();
        let help = match nearest(&provider.name, &names) {
            Some(near) => format!("did you mean `{near}`? Otherwise {WHERE_SECRETS_GO}"),
            None => WHERE_SECRETS_GO.to_owned(),
        };
        found.add(spot.key("provider"), Code::NoKey, message, help);
    }
    None
}

fn key_prefix(written: Option<String>, header: &str, keyed: bool, spot: Spot<'_>, found: &mut Found) -> String {
    let bearer = "Bearer ".to_owned();
    match written {
        None => {
            if keyed && !header.eq_ignore_ascii_case("authorization") {
                let message = format!("the header {} will say `Bearer ` before the key", quote(header));
                found.add(
                    spot.key("api_key_header"),
                    Code::KeyPrefix,
                    message,
                    "write `api_key_prefix: \"\"` to send the key alone",
                );
            }
            bearer
        }
        Some(prefix) => {
            if HeaderValue::from_str(&prefix).is_err() || looks_secret(&prefix) {
                found.secret(spot.key("api_key_prefix"));
                let message = "`api_key_prefix` cannot stand in a header";
                found.add(
                    spot.key("api_key_prefix"),
                    Code::BadValue,
                    message,
                    "write the word before the key, such as `\"Bearer \"`",
                );
            }
            prefix
        }
    }
}

pub(super) fn header_name(name: &str, spot: Spot<'_>, found: &mut Found) -> Option<HeaderName> {
    match HeaderName::from_bytes(name.as_bytes()) {
        Ok(parsed) if !OURS.contains(&parsed.as_str()) => Some(parsed),
        Ok(_) => {
            let message = format!("the header {} is set by the gateway itself", quote(name));
            found.add(spot, Code::BadValue, message, "choose another header");
            None
        }
        Err(_) => {
            found.add(
                spot,
                Code::BadValue,
                format!("{} is no name of a header", quote(name)),
                "write a name such as `x-team-id`",
            );
            None
        }
    }
}

fn headers(written: BTreeMap<String, String>, key_header: &str, spot: Spot<'_>, found: &mut Found) -> BTreeMap<String, String> {
    let mut seen = HashSet::new();
    for (name, value) in &written {
        let Some(parsed) = header_name(name, spot.name(name), found) else { continue };
        if SECRETS.contains(&parsed.as_str()) || parsed.as_str().eq_ignore_ascii_case(key_header) || looks_secret(value) {
            found.secret(spot.key(name));
            let message = format!("the header {} would hold a secret in clear", quote(name));
            let help = format!("{WHERE_SECRETS_GO}; `api_key_header` and `api_key_prefix` choose the header");
            found.add(spot.name(name), Code::SecretInClear, message, help);
        } else if HeaderValue::from_str(value).is_err() {
            let message = format!("the value of {} cannot stand in a header", quote(name));
            found.add(spot.key(name), Code::BadValue, message, "write visible characters on one line");
        } else if !seen.insert(parsed) {
            let message = format!("the header {} is given twice", quote(name));
            found.add(spot.name(name), Code::DuplicateId, message, "names of headers do not depend on case: keep one of them");
        }
    }
    written
}

/// The served model is named in a header of the answer.
fn sendable(model: &str, spot: Spot<'_>, found: &mut Found) -> bool {
    let sendable = !model.trim().is_empty() && HeaderValue::from_str(model).is_ok();
    if !sendable {
        let message = format!("{} cannot be the name of a model", quote(model));
        found.add(spot, Code::BadValue, message, "write visible characters on one line");
    }
    sendable
}

fn models(models: &[ModelEntry], spot: Spot<'_>, found: &mut Found) {
    let mut seen = HashSet::new();
    for (index, model) in models.iter().enumerate() {
        let spot = spot.item(index);
        let names = std::iter::once((&model.model_id, spot.key("model_id")));
        let aliases = model.aliases.iter().enumerate().map(|(index, alias)| (alias, spot.key("aliases").item(index)));
        for (name, spot) in names.chain(aliases) {
            if sendable(name, spot, found) && !seen.insert(name) {
                let message = format!("{} already stands for a model of this target", quote(name));
                found.add(spot, Code::DuplicateId, message, "give each model names of its own");
            }
        }
    }
}

/// The fields a target rejects: as written, else what is known of its provider.
fn drop_fields(written: Option<Vec<String>>, provider: &ProviderRef, spot: Spot<'_>, found: &mut Found) -> Vec<String> {
    let Some(fields) = written else {
        let known = provider.known().map(|known| known.drop_fields).unwrap_or_default();
        return known.iter().map(|field| (*field).to_owned()).collect();
    };
    let mut seen = HashSet::new();
    for (index, field) in fields.iter().enumerate() {
        let spot = spot.item(index);
        if UNDROPPABLE.contains(&field.as_str()) {
            let message = format!("`{field}` is what the caller asks for: without it the answer would be another");
            found.add(spot, Code::BadValue, message, "remove it from `drop_fields`; list fields the answer does not depend on");
        } else if !seen.insert(field) {
            found.add(spot, Code::DuplicateId, format!("{} is in `drop_fields` twice", quote(field)), "keep one of them");
        }
    }
    fields
}

fn health_probe(written: HealthProbeDocument, base_url: &BaseUrl, spot: Spot<'_>, found: &mut Found) -> HealthProbe {
    let endpoint = written.endpoint.unwrap_or_else(|| base_url.endpoint("models"));
    let printable = endpoint.bytes().all(|b| b.is_ascii_graphic());
    if !endpoint.starts_with('/') || endpoint.starts_with("//") || !printable || endpoint.contains('#') {
        let message = format!("a probe cannot ask for {}", quote(&endpoint));
        found.add(spot.key("endpoint"), Code::BadValue, message, "write a path on the target's host, such as `/v1/models`");
    } else if endpoint.trim_end_matches('/').ends_with("/completions") {
        let message = "a probe never asks for a completion: probes must cost no tokens";
        found.add(spot.key("endpoint"), Code::BadValue, message, "write a path that is free, such as `/v1/models`");
    }
    HealthProbe {
        endpoint,
        interval: Duration::from_secs(written.interval_seconds.into()),
        timeout: Duration::from_millis(written.timeout_ms.into()),
    }
}

fn pricing(written: PricingDocument) -> Pricing {
    Pricing {
        input_price_per_million: written.input_price_per_million,
        cached_input_price_per_million: written.cached_input_price_per_million.unwrap_or(written.input_price_per_million),
        output_price_per_million: written.output_price_per_million,
    }
}
