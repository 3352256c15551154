//! Completes sinks and anchors: what no schema can say of them.

use super::super::diagnostic::Code;
use super::super::meaning::{Found, Spot};
use super::super::source::{looks_secret, quote};
use super::super::targets::{SECRETS, header_name};
use super::super::wording::{listed, nearest};
use super::super::{BaseUrl, Scheme, SecretRef};
use super::document::{AnchorDocument, AnchorStore, SinkDocument, StoreDocument};
use super::{AnchorConfig, HeaderValue, NatsLogin, NatsSink, NatsUrl, OtlpSink, S3Keys, S3Sink, S3Store, SinkConfig, SinkKind};
use std::collections::{BTreeMap, HashSet};
use std::time::Duration;

/// Completes the sinks and the anchor of an `audit-logger` block at `spot`. One with a fault that leaves holes is left out; the
/// fault is an error, so nobody misses it.
pub(in super::super) fn resolve(
    sinks: Vec<SinkDocument>,
    anchor: Option<AnchorDocument>,
    spot: Spot<'_>,
    found: &mut Found,
) -> (Vec<SinkConfig>, Option<AnchorConfig>) {
    let mut names = HashSet::new();
    let mut resolved = Vec::with_capacity(sinks.len());
    for (index, written) in sinks.into_iter().enumerate() {
        let spot = spot.key("sinks").item(index);
        let (name, kind) = sink(written, spot, found);
        if !names.insert(name.clone()) {
            let message = format!("another sink is already called `{name}`");
            found.add(spot.key("name"), Code::DuplicateId, message, "give each sink a name of its own");
        }
        resolved.extend(kind.map(|kind| SinkConfig { name, kind }));
    }
    let anchor = anchor.and_then(|written| self::anchor(written, &resolved, spot, found));
    (resolved, anchor)
}

fn sink(written: SinkDocument, spot: Spot<'_>, found: &mut Found) -> (String, Option<SinkKind>) {
    let seconds = |seconds: u32| Duration::from_secs(seconds.into());
    match written {
        SinkDocument::S3 {
            name,
            bucket,
            prefix,
            region,
            endpoint,
            access_key_id_ref,
            secret_key_ref,
            session_token_ref,
            flush_seconds,
        } => {
            let store = StoreDocument { bucket, prefix, region, endpoint, access_key_id_ref, secret_key_ref, session_token_ref };
            let store = self::store(store, spot, found);
            (name, store.map(|store| SinkKind::S3(S3Sink { store, flush: seconds(flush_seconds) })))
        }
        SinkDocument::Nats { name, url, stream, subject, replicas, credentials_ref, token_ref, user, password_ref } => {
            let servers = servers(&url, spot.key("url"), found);
            let login = login(credentials_ref, token_ref, user, password_ref, spot, found);
            let kind = servers.zip(login).map(|(servers, login)| {
                SinkKind::Nats(NatsSink { servers, stream, subject, replicas: replicas as usize, login })
            });
            (name, kind)
        }
        SinkDocument::Otlp { name, endpoint, headers, timeout_seconds } => {
            let endpoint = url(&endpoint, spot.key("endpoint"), found);
            let headers = self::headers(headers, spot.key("headers"), found);
            let kind = endpoint.map(|endpoint| SinkKind::Otlp(OtlpSink { endpoint, headers, timeout: seconds(timeout_seconds) }));
            (name, kind)
        }
    }
}

fn store(written: StoreDocument, spot: Spot<'_>, found: &mut Found) -> Option<S3Store> {
    let endpoint = match &written.endpoint {
        Some(text) => Some(url(text, spot.key("endpoint"), found)?),
        None => None,
    };
    let keys = match (written.access_key_id_ref, written.secret_key_ref, written.session_token_ref) {
        (Some(access_key_id), Some(secret_key), session_token) => Some(S3Keys { access_key_id, secret_key, session_token }),
        (None, None, None) => None,
        _ => {
            let help = "give both, or neither: then the keys come from the environment or the machine's role";
            let message = "`access_key_id_ref` and `secret_key_ref` belong together";
            found.add(spot, Code::MissingKey, message, help);
            return None;
        }
    };
    Some(S3Store { bucket: written.bucket, prefix: written.prefix, region: written.region, endpoint, keys })
}

fn servers(text: &str, spot: Spot<'_>, found: &mut Found) -> Option<Vec<NatsUrl>> {
    let mut servers = Vec::new();
    for one in text.split(',').map(str::trim) {
        match NatsUrl::parse(one) {
            Ok(url) => servers.push(url),
            Err(why) => {
                let named = named_url(one, spot, found);
                let message = format!("{named} is no address of a NATS server: {why}");
                found.add(spot, Code::BadUrl, message, "write `tls://host:4222`");
                return None;
            }
        }
    }
    if let Some(open) = servers.iter().find(|url| !url.tls && !url.is_loopback()) {
        in_clear(&open.host, "write `tls://`, unless something else protects this network", spot, found);
    }
    Some(servers)
}

fn login(
    credentials: Option<SecretRef>,
    token: Option<SecretRef>,
    user: Option<String>,
    password: Option<SecretRef>,
    spot: Spot<'_>,
    found: &mut Found,
) -> Option<NatsLogin> {
    match (credentials, token, user, password) {
        (None, None, None, None) => Some(NatsLogin::Nobody),
        (Some(credentials), None, None, None) => Some(NatsLogin::Credentials(credentials)),
        (None, Some(token), None, None) => Some(NatsLogin::Token(token)),
        (None, None, Some(user), Some(password)) => Some(NatsLogin::Password { user, password }),
        (None, None, _, _) => {
            let message = "`user` and `password_ref` belong together";
            found.add(spot, Code::MissingKey, message, "give both, or neither");
            None
        }
        _ => {
            let message = "there are two ways to log in";
            found.add(
                spot,
                Code::SaidTwice,
                message,
                "keep one of `credentials_ref`, `token_ref`, and `user` with `password_ref`",
            );
            None
        }
    }
}

fn headers(written: BTreeMap<String, HeaderValue>, spot: Spot<'_>, found: &mut Found) -> Vec<(String, HeaderValue)> {
    let mut seen = HashSet::new();
    for (name, value) in &written {
        let Some(parsed) = header_name(name, spot.name(name), found) else { continue };
        if let HeaderValue::Plain(text) = value {
            if SECRETS.contains(&parsed.as_str()) || looks_secret(text) {
                found.secret(spot.key(name));
                let message = format!("the header {} would hold a secret in clear", quote(name));
                found.add(
                    spot.name(name),
                    Code::SecretInClear,
                    message,
                    format!("write `{name}: {{env: NAME}}` or `{{file: PATH}}`"),
                );
            } else if http::HeaderValue::from_str(text).is_err() {
                let message = format!("the value of {} cannot stand in a header", quote(name));
                found.add(spot.key(name), Code::BadValue, message, "write visible characters on one line");
            }
        }
        if !seen.insert(parsed) {
            let message = format!("the header {} is given twice", quote(name));
            found.add(spot.name(name), Code::DuplicateId, message, "names of headers do not depend on case: keep one of them");
        }
    }
    written.into_iter().collect()
}

fn anchor(written: AnchorDocument, sinks: &[SinkConfig], block: Spot<'_>, found: &mut Found) -> Option<AnchorConfig> {
    let spot = block.key("anchor");
    if written.s3.is_none() && written.system_log.is_none() {
        let help = "add `s3: NAME` of a sink, or `system_log: syslog`";
        found.add(block.name("anchor"), Code::MissingKey, "`anchor` names no place for checkpoints", help);
        return None;
    }
    let s3 = match written.s3 {
        None => None,
        Some(AnchorStore::Own(own)) => Some(store(own, spot.key("s3"), found)?),
        Some(AnchorStore::Sink(name)) => Some(store_of(&name, sinks, spot.key("s3"), found)?),
    };
    Some(AnchorConfig { every: Duration::from_secs(written.every_seconds.into()), s3, system_log: written.system_log })
}

fn store_of(name: &str, sinks: &[SinkConfig], spot: Spot<'_>, found: &mut Found) -> Option<S3Store> {
    let stores = sinks.iter().filter_map(|sink| match &sink.kind {
        SinkKind::S3(s3) => Some((sink.name.as_str(), &s3.store)),
        SinkKind::Nats(_) | SinkKind::Otlp(_) => None,
    });
    let stores: Vec<_> = stores.collect();
    if let Some((_, store)) = stores.iter().find(|(known, _)| *known == name) {
        return Some((*store).clone());
    }
    let names: Vec<&str> = stores.iter().map(|(name, _)| *name).collect();
    let help = match (nearest(name, &names), names.is_empty()) {
        (Some(near), _) => format!("did you mean `{near}`?"),
        (None, true) => "write the store itself: `s3: {bucket: NAME, region: NAME}`".to_owned(),
        (None, false) => format!("the sinks of type `s3` are {}", listed(names)),
    };
    found.add(spot, Code::BadValue, format!("no sink of type `s3` is called {}", quote(name)), help);
    None
}

fn url(text: &str, spot: Spot<'_>, found: &mut Found) -> Option<BaseUrl> {
    match BaseUrl::parse(text) {
        Ok(url) => {
            if url.scheme == Scheme::Http && !url.is_loopback() {
                in_clear(&url.host, "write `https://`, unless something else protects this network", spot, found);
            }
            Some(url)
        }
        Err(why) => {
            let named = named_url(text, spot, found);
            found.add(spot, Code::BadUrl, format!("{named} is not a base URL: {why}"), "write `https://host/path`");
            None
        }
    }
}

/// A URL as a diagnostic may show it: one with a password in it not at all.
fn named_url(text: &str, spot: Spot<'_>, found: &mut Found) -> String {
    if text.contains('@') {
        found.secret(spot);
        return "this".to_owned();
    }
    quote(text)
}

fn in_clear(host: &str, help: &str, spot: Spot<'_>, found: &mut Found) {
    found.add(spot, Code::PlainHttp, format!("everything sent to `{host}` travels in clear"), help);
}
