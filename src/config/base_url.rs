//! The address of a target, taken apart once so that no request has to.

use http::Uri;
use std::fmt;
use std::net::IpAddr;

/// Where a target answers: scheme, host, port and the path its endpoints hang under.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct BaseUrl {
    /// How to speak.
    pub scheme: Scheme,
    /// A name or an address; an IPv6 address without its brackets.
    pub host: String,
    /// The port, given or the scheme's own.
    pub port: u16,
    /// Without a trailing slash: `/openai/v1`, or empty.
    pub path: String,
}

/// How to speak to a target.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Scheme {
    /// In clear.
    Http,
    /// Over TLS.
    Https,
}

impl Scheme {
    /// `http` or `https`.
    pub fn as_str(self) -> &'static str {
        match self {
            Scheme::Http => "http",
            Scheme::Https => "https",
        }
    }

    /// The port of a URL that names none.
    pub fn default_port(self) -> u16 {
        match self {
            Scheme::Http => 80,
            Scheme::Https => 443,
        }
    }
}

impl BaseUrl {
    /// Reads a URL. The error is a phrase that completes "this is not a base URL: ".
    pub fn parse(text: &str) -> Result<Self, &'static str> {
        if text.contains('#') {
            return Err("a base URL has no fragment");
        }
        let uri: Uri = text.parse().map_err(|_| "it does not read as `https://host/path`")?;
        let scheme = match uri.scheme_str() {
            Some("https") => Scheme::Https,
            Some("http") => Scheme::Http,
            Some(_) => return Err("the scheme must be `https` or `http`"),
            None => return Err("the scheme is missing: `https://`"),
        };
        let authority = uri.authority().ok_or("the host is missing")?;
        if authority.as_str().contains('@') {
            return Err("a name and password do not belong in a URL");
        }
        if uri.query().is_some() {
            return Err("a base URL has no query");
        }
        let host = authority.host().trim_start_matches('[').trim_end_matches(']').to_ascii_lowercase();
        if host.is_empty() {
            return Err("the host is missing");
        }
        let port = match authority.port() {
            Some(port) if port.as_u16() == 0 => return Err("port 0 cannot be reached"),
            Some(port) => port.as_u16(),
            None if authority.as_str().ends_with(':') => return Err("the port is missing after `:`"),
            None if authority.as_str().rsplit(']').next().is_some_and(|rest| rest.contains(':')) => {
                return Err("the port must be between 1 and 65535");
            }
            None => scheme.default_port(),
        };
        Ok(Self { scheme, host, port, path: uri.path().trim_end_matches('/').to_owned() })
    }

    /// The path of an endpoint such as `chat/completions`: under the base path when that ends in a version segment (`/v1`), and
    /// under `/v1` of the base path otherwise.
    pub fn endpoint(&self, name: &str) -> String {
        let versioned = self.path.rsplit('/').next().is_some_and(is_version);
        format!("{}{}/{name}", self.path, if versioned { "" } else { "/v1" })
    }

    /// What the `host` header says: the port only when it is not the scheme's own.
    pub fn authority(&self) -> String {
        let (open, close) = if self.host.contains(':') { ("[", "]") } else { ("", "") };
        match self.port == self.scheme.default_port() {
            true => format!("{open}{}{close}", self.host),
            false => format!("{open}{}{close}:{}", self.host, self.port),
        }
    }

    /// Whether requests stay on this machine, where speaking in clear is safe.
    pub fn is_loopback(&self) -> bool {
        self.host == "localhost"
            || self.host.ends_with(".localhost")
            || self.host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
    }
}

impl fmt::Display for BaseUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://{}{}", self.scheme.as_str(), self.authority(), self.path)
    }
}

/// `v1`, `v2`, `v1beta`: a `v`, digits, and nothing else but a name of the stage.
fn is_version(segment: &str) -> bool {
    let Some(rest) = segment.strip_prefix('v') else { return false };
    let stage = rest.trim_start_matches(|c: char| c.is_ascii_digit());
    stage.len() < rest.len() && stage.bytes().all(|b| b.is_ascii_alphanumeric())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn url(text: &str) -> BaseUrl {
        BaseUrl::parse(text).unwrap()
    }

    #[test]
    fn an_endpoint_hangs_under_the_version_that_is_there_or_under_v1() {
        for (base, path) in [
            ("https://api.cerebras.ai/v1", "/v1/chat/completions"),
            ("https://api.cerebras.ai/v1/", "/v1/chat/completions"),
            ("https://api.cerebras.ai", "/v1/chat/completions"),
            ("https://api.cerebras.ai/", "/v1/chat/completions"),
            ("https://api.groq.com/openai/v1", "/openai/v1/chat/completions"),
            ("https://openrouter.ai/api", "/api/v1/chat/completions"),
            ("https://host/v1beta//", "/v1beta/chat/completions"),
            ("https://host/v2", "/v2/chat/completions"),
            ("https://host/video", "/video/v1/chat/completions"),
            ("https://host/v", "/v/v1/chat/completions"),
            ("https://host/v1-x", "/v1-x/v1/chat/completions"),
        ] {
            assert_eq!(url(base).endpoint("chat/completions"), path, "{base}");
        }
    }

    #[test]
    fn the_port_is_named_only_when_it_is_not_the_schemes_own() {
        for (base, port, authority) in [
            ("https://Host", 443, "host"),
            ("https://host:443", 443, "host"),
            ("http://host", 80, "host"),
            ("http://host:443", 443, "host:443"),
            ("http://[::1]:8000/v1", 8000, "[::1]:8000"),
            ("https://[2001:db8::1]", 443, "[2001:db8::1]"),
        ] {
            assert_eq!((url(base).port, url(base).authority().as_str()), (port, authority), "{base}");
        }
    }

    #[test]
    fn what_is_no_base_url_is_refused() {
        for base in [
            "",
            "host",
            "host/v1",
            "/v1",
            "ftp://host",
            "https://",
            "https:///v1",
            "https://:80",
            "https://host:",
            "https://host:0",
            "https://host:70000",
            "https://me@host",
            "https://me:secret@host",
            "https://host/?a=b",
            "https://host/#a",
            "https://ho st",
            "https://host:80:80",
        ] {
            assert!(BaseUrl::parse(base).is_err(), "{base}");
        }
    }

    #[test]
    fn only_this_machine_is_loopback() {
        for (base, loopback) in [
            ("http://localhost:1", true),
            ("http://a.localhost", true),
            ("http://127.3.2.1", true),
            ("http://[::1]", true),
            ("http://localhost.example.com", false),
            ("http://10.0.0.1", false),
            ("http://[::2]", false),
            ("http://0.0.0.0", false),
        ] {
            assert_eq!(url(base).is_loopback(), loopback, "{base}");
        }
    }

    #[test]
    fn a_url_reads_back_as_itself() {
        for base in ["https://api.cerebras.ai/v1", "http://[::1]:8000", "https://host:8443/a/b"] {
            assert_eq!(url(base).to_string(), base);
            assert_eq!(url(&url(base).to_string()), url(base));
        }
    }
}
