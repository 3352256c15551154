//! The keys of sinks: the only file of the audit log that reads secrets. They are looked up at each connection, so a key that was
//! changed in its file is taken up without a restart.

use crate::config::{HeaderValue, NatsLogin, S3Keys, S3Store, SecretError, SecretRef, SinkKind};
use async_nats::ConnectOptions;
use object_store::aws::{AmazonS3Builder, AmazonS3ConfigKey};
use reqwest::header::{HeaderMap, HeaderName, HeaderValue as Value};
use std::str::FromStr;
use std::sync::Arc;

/// Looks up environment variables.
pub type Environment = Arc<dyn Fn(&str) -> Option<String> + Send + Sync>;

/// What a store takes its keys from when the config names none: as the tools of AWS do, in this order of preference.
const AMBIENT: [&str; 8] = [
    "AWS_ACCESS_KEY_ID",
    "AWS_SECRET_ACCESS_KEY",
    "AWS_SESSION_TOKEN",
    "AWS_WEB_IDENTITY_TOKEN_FILE",
    "AWS_ROLE_ARN",
    "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI",
    "AWS_CONTAINER_CREDENTIALS_FULL_URI",
    "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE",
];

/// Whether the keys of a sink can be had now; the error says which not and why, and never shows one.
pub(super) fn check(kind: &SinkKind, env: &Environment) -> Result<(), String> {
    match kind {
        SinkKind::S3(s3) => of_store(&s3.store, AmazonS3Builder::new(), env).map(drop).map_err(|error| error.to_string()),
        SinkKind::Nats(nats) => of_nats(&nats.login, ConnectOptions::new(), env).map(drop),
        SinkKind::Otlp(otlp) => of_collector(&otlp.headers, env).map(drop),
    }
}

/// Gives a store its keys.
pub(super) fn of_store(store: &S3Store, builder: AmazonS3Builder, env: &Environment) -> Result<AmazonS3Builder, SecretError> {
    let look = |name: &str| env(name);
    let Some(S3Keys { access_key_id, secret_key, session_token }) = &store.keys else {
        let found = AMBIENT.iter().filter_map(|name| {
            let key = AmazonS3ConfigKey::from_str(&name.to_ascii_lowercase()).ok()?;
            Some((key, env(name).filter(|value| !value.is_empty())?))
        });
        return Ok(found.fold(builder, |builder, (key, value)| builder.with_config(key, value)));
    };
    let builder = builder
        .with_access_key_id(access_key_id.resolve(&look)?.expose())
        .with_secret_access_key(secret_key.resolve(&look)?.expose());
    match session_token {
        None => Ok(builder),
        Some(token) => Ok(builder.with_token(token.resolve(&look)?.expose())),
    }
}

/// Tells a NATS server who we are.
pub(super) fn of_nats(login: &NatsLogin, options: ConnectOptions, env: &Environment) -> Result<ConnectOptions, String> {
    let look = |name: &str| env(name);
    let resolve = |reference: &SecretRef| reference.resolve(&look).map_err(|error| error.to_string());
    Ok(match login {
        NatsLogin::Nobody => options,
        NatsLogin::Token(token) => options.token(resolve(token)?.expose().to_owned()),
        NatsLogin::Password { user, password } => options.user_and_password(user.clone(), resolve(password)?.expose().to_owned()),
        NatsLogin::Credentials(reference) => {
            let text = reference.resolve_lines(&look).map_err(|error| error.to_string())?;
            // The library's own words could show parts of the file.
            options.credentials(text.expose()).map_err(|_| format!("{reference} holds no credentials of NATS"))?
        }
    })
}

/// The headers a collector wants.
pub(super) fn of_collector(headers: &[(String, HeaderValue)], env: &Environment) -> Result<HeaderMap, String> {
    let look = |name: &str| env(name);
    let mut map = HeaderMap::new();
    for (name, value) in headers {
        let unfit = || format!("the header {name} cannot be sent");
        let value = match value {
            HeaderValue::Plain(text) => Value::from_str(text).map_err(|_| unfit())?,
            HeaderValue::Secret(reference) => {
                let secret = reference.resolve(&look).map_err(|error| error.to_string())?;
                let mut value = Value::from_str(secret.expose()).map_err(|_| unfit())?;
                value.set_sensitive(true);
                value
            }
        };
        map.insert(HeaderName::from_str(name).map_err(|_| unfit())?, value);
    }
    Ok(map)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::NatsSink;

    #[test]
    fn a_key_that_is_missing_or_unfit_is_named_and_never_shown() {
        let env: Environment = Arc::new(|name| (name == "HELD").then(|| "not-a-real-key".to_owned()));
        let nats = |login: NatsLogin| {
            let (stream, subject) = ("kt-audit".into(), "kt.audit".into());
            SinkKind::Nats(NatsSink { servers: Vec::new(), stream, subject, replicas: 1, login })
        };
        let reference = |name: &str| SecretRef::Env(name.into());
        assert_eq!(check(&nats(NatsLogin::Token(reference("HELD"))), &env), Ok(()));
        for (login, expected) in [
            (NatsLogin::Token(reference("GONE")), "environment variable GONE is not set"),
            (NatsLogin::Credentials(reference("HELD")), "environment variable HELD holds no credentials of NATS"),
        ] {
            assert_eq!(check(&nats(login), &env), Err(expected.into()));
        }
    }
}
