//! Listening sockets that systemd opened (`sd_listen_fds(3)`), told apart by the name that the socket unit gives them
//! (`FileDescriptorName=`). They outlive the daemon: who connects while it restarts waits in their queue.

use std::net::TcpListener;

use listenfd::ListenFd;

/// The name of sockets for verifiers.
pub const VERIFIERS: &str = "verifiers";

/// The name of sockets for Prometheus and health checks.
pub const OPERATORS: &str = "operators";

/// Sockets by what they are for; a unit may open several for the same.
#[derive(Debug, Default)]
pub struct Handed {
    /// Where verifiers fetch key sets.
    pub verifiers: Vec<TcpListener>,
    /// Where metrics and health are served.
    pub operators: Vec<TcpListener>,
}

/// Why a socket cannot be used. No restart mends that.
#[derive(Debug, thiserror::Error)]
pub enum HandedError {
    /// Nobody knows what it is for.
    #[error(
        "systemd handed over a socket called `{0}`; hint: FileDescriptorName= of its unit says what it is for, `verifiers` or `operators`"
    )]
    Unknown(String),
    /// It is no TCP socket.
    #[error("systemd handed over the socket `{name}`, and it cannot be used: {source}; hint: ListenStream= takes an address and a port")]
    Unfit {
        /// What it is called.
        name: String,
        /// What is wrong.
        source: std::io::Error,
    },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Purpose {
    Verifiers,
    Operators,
}

impl Handed {
    /// Takes what there is. Once, and before any thread is started: it takes variables out of the environment.
    ///
    /// # Errors
    /// If a socket is of no use.
    pub fn take() -> Result<Self, HandedError> {
        let names = std::env::var("LISTEN_FDNAMES").unwrap_or_default();
        let mut sockets = ListenFd::from_env();
        let mut handed = Self::default();
        for (index, name) in named(&names, sockets.len()).into_iter().enumerate() {
            let purpose = purpose(&name)?;
            let socket = sockets.take_tcp_listener(index).and_then(|socket| {
                let socket = socket.ok_or_else(|| std::io::Error::other("it is not there"))?;
                socket.set_nonblocking(true)?;
                Ok(socket)
            });
            let socket = socket.map_err(|source| HandedError::Unfit { name, source })?;
            match purpose {
                Purpose::Verifiers => handed.verifiers.push(socket),
                Purpose::Operators => handed.operators.push(socket),
            }
        }
        Ok(handed)
    }
}

/// The names of `count` sockets; systemd calls those without one `unknown`.
fn named(names: &str, count: usize) -> Vec<String> {
    let names = names.split(':').filter(|name| !name.is_empty()).map(str::to_owned);
    names.chain(std::iter::repeat_with(|| "unknown".to_owned())).take(count).collect()
}

fn purpose(name: &str) -> Result<Purpose, HandedError> {
    match name {
        VERIFIERS => Ok(Purpose::Verifiers),
        OPERATORS => Ok(Purpose::Operators),
        other => Err(HandedError::Unknown(other.to_owned())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_socket_is_known_by_its_name_and_by_nothing_else() {
        assert_eq!(named("verifiers:operators:verifiers", 3), ["verifiers", "operators", "verifiers"]);
        assert_eq!(named("verifiers", 2), ["verifiers", "unknown"]);
        assert!(named("verifiers:operators", 0).is_empty(), "names of somebody else's sockets name nothing");
        assert_eq!(purpose("verifiers").unwrap(), Purpose::Verifiers);
        assert_eq!(purpose("operators").unwrap(), Purpose::Operators);
        let refused = purpose("keyrota.socket").unwrap_err().to_string();
        assert!(refused.contains("`keyrota.socket`") && refused.contains("hint: "), "{refused}");
    }
}
