//! The address of a NATS server.

use std::fmt;
use std::net::IpAddr;

/// A NATS server: `nats://host:4222`, or `tls://` when nothing may be said in clear.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NatsUrl {
    /// TLS is required.
    pub tls: bool,
    /// A name or an address; an IPv6 address without its brackets.
    pub host: String,
    /// The port; 4222 unless given.
    pub port: u16,
}

impl NatsUrl {
    /// Reads an address. The error is a phrase that completes "this is no address of a NATS server: ".
    pub fn parse(text: &str) -> Result<NatsUrl, &'static str> {
        let uri: http::Uri = text.parse().map_err(|_| "it does not read as `nats://host:4222`")?;
        let tls = match uri.scheme_str() {
            Some("nats") => false,
            Some("tls") => true,
            Some(_) => return Err("the scheme must be `nats` or `tls`"),
            None => return Err("the scheme is missing: `tls://`"),
        };
        let authority = uri.authority().ok_or("the host is missing")?;
        if authority.as_str().contains('@') {
            return Err("a name and password do not belong in a URL");
        }
        if uri.path().len() > 1 || uri.query().is_some() || text.contains('#') {
            return Err("it ends with the port");
        }
        let host = authority.host().trim_start_matches('[').trim_end_matches(']').to_ascii_lowercase();
        let given = authority.as_str().rsplit(']').next().is_some_and(|rest| rest.contains(':'));
        let port = match authority.port_u16() {
            _ if host.is_empty() => return Err("the host is missing"),
            Some(0) => return Err("port 0 cannot be reached"),
            Some(port) => port,
            None if given => return Err("the port is not a number up to 65535"),
            None => 4222,
        };
        Ok(NatsUrl { tls, host, port })
    }

    /// Whether it is on this machine, where speaking in clear is safe.
    pub fn is_loopback(&self) -> bool {
        self.host == "localhost" || self.host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
    }
}

impl fmt::Display for NatsUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (open, close) = if self.host.contains(':') { ("[", "]") } else { ("", "") };
        write!(f, "{}://{open}{}{close}:{}", if self.tls { "tls" } else { "nats" }, self.host, self.port)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_reads_back_as_itself_with_its_port() {
        for (text, shown) in [
            ("nats://Host", "nats://host:4222"),
            ("tls://host:4443", "tls://host:4443"),
            ("nats://[::1]:1", "nats://[::1]:1"),
            ("nats://[::1]", "nats://[::1]:4222"),
            ("nats://127.0.0.1:4222/", "nats://127.0.0.1:4222"),
        ] {
            let url = NatsUrl::parse(text).unwrap();
            assert_eq!(url.to_string(), shown);
            assert_eq!(NatsUrl::parse(shown), Ok(url));
        }
    }

    #[test]
    fn what_is_no_address_is_refused() {
        for text in
            ["", "host", "host:4222", "http://host", "nats://", "nats://a@host", "nats://host/x", "nats://host:0", "nats://host:"]
        {
            assert!(NatsUrl::parse(text).is_err(), "{text}");
        }
    }
}
