//! How clients reach the verifiers' listener: under which origin, and whether what they send is encrypted on the way.
//!
//! Key sets may travel in the clear, because they are public and verifiers compare nothing else. Tokens and API keys may not: the
//! routes that take or give them ask [`may_serve_tokens`] before they are opened.

use std::net::SocketAddr;

use crate::url::PublicOrigin;

/// Who encrypts what travels to and from the listener.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Encryption {
    /// Nobody.
    None,
    /// The listener itself (`--tls-cert`), under this origin if one was named (`--public-origin`).
    Own(Option<PublicOrigin>),
    /// A proxy in front of it (`--behind-tls-proxy`), under this origin.
    Proxy(PublicOrigin),
}

/// Why no tokens are served.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Exposed {
    /// They would travel in the clear.
    #[error(
        "tokens are not served on {0} in the clear, because everybody on the way could read them; hint: --tls-cert and --tls-key, or \
         --behind-tls-proxy https://HOST if a proxy ends TLS, or listen on 127.0.0.1 alone"
    )]
    InTheClear(SocketAddr),
    /// Nobody knows under which name clients come.
    #[error("tokens are not served on {0} under no known origin; hint: --public-origin https://HOST, with which proofs are compared")]
    NoOrigin(SocketAddr),
}

/// Whether tokens and API keys may travel to and from a listener there, and under which origin clients know it. Without TLS only on
/// loopback, where nobody is in between.
///
/// # Errors
/// They may not; the sentence says what to do.
pub fn may_serve_tokens(listen: SocketAddr, encryption: &Encryption) -> Result<PublicOrigin, Exposed> {
    let here = listen.ip().to_canonical().is_loopback();
    let itself = |scheme: &str| format!("{scheme}://{listen}").parse().map_err(|_| Exposed::NoOrigin(listen));
    match encryption {
        Encryption::Own(Some(origin)) | Encryption::Proxy(origin) => Ok(origin.clone()),
        Encryption::Own(None) if here => itself("https"),
        Encryption::Own(None) => Err(Exposed::NoOrigin(listen)),
        Encryption::None if here => itself("http"),
        Encryption::None => Err(Exposed::InTheClear(listen)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn may(listen: &str, encryption: &Encryption) -> Result<String, Exposed> {
        may_serve_tokens(listen.parse().unwrap(), encryption).map(|origin| origin.to_string())
    }

    #[test]
    fn in_the_clear_nothing_leaves_this_machine() {
        assert_eq!(may("127.0.0.1:8480", &Encryption::None).as_deref(), Ok("http://127.0.0.1:8480"));
        assert_eq!(may("[::1]:8480", &Encryption::None).as_deref(), Ok("http://[::1]:8480"));
        for open in ["0.0.0.0:8480", "[::]:8480", "10.0.0.7:8480", "[::ffff:10.0.0.7]:8480", "169.254.1.1:80", "[fe80::1]:8480"] {
            let refused = may(open, &Encryption::None).unwrap_err();
            assert_eq!(refused, Exposed::InTheClear(open.parse().unwrap()), "{open}");
            assert!(refused.to_string().contains("; hint: --tls-cert"), "{refused}");
        }
    }

    #[test]
    fn whoever_encrypts_names_the_origin() {
        let origin: PublicOrigin = "https://keys.example.com".parse().unwrap();
        for encryption in [Encryption::Own(Some(origin.clone())), Encryption::Proxy(origin)] {
            for listen in ["0.0.0.0:8480", "127.0.0.1:8480"] {
                assert_eq!(may(listen, &encryption).as_deref(), Ok("https://keys.example.com"));
            }
        }
        assert_eq!(may("127.0.0.1:8443", &Encryption::Own(None)).as_deref(), Ok("https://127.0.0.1:8443"));
        assert_eq!(may("0.0.0.0:8443", &Encryption::Own(None)), Err(Exposed::NoOrigin("0.0.0.0:8443".parse().unwrap())));
    }
}
