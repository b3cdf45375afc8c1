//! A client for the daemon's control socket: one request, one answer, within a time limit.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::time::Duration;

use http_body_util::{BodyExt as _, Full, Limited};
use hyper::body::Bytes;
use hyper::{Method, Request};
use hyper_util::rt::TokioIo;
use tokio::net::UnixStream;

use super::paths::{CONTROL_SOCKET, SIGNER_SOCKET};

/// The longest answer that is read: far more than the status of 100,000 keysets.
const LONGEST_ANSWER: usize = 1 << 30;

/// Why the daemon could not be asked.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// There is no socket.
    #[error(
        "no daemon: there is no {0}; hint: start one with `keyrota run` (or `systemctl start keyrota`), or say with --runtime-dir or KEYROTA_RUNTIME_DIR where it runs"
    )]
    NoSocket(PathBuf),
    /// A socket that nobody listens on.
    #[error(
        "no daemon: nobody listens on {0}, so it was stopped or killed; hint: `systemctl status keyrota` and its log say why; start it with `keyrota run`"
    )]
    NobodyListens(PathBuf),
    /// Not for us.
    #[error(
        "{0} may not be opened by you; hint: it is for root, the daemon's own user and the group of `keyrota run --control-group`: use sudo, or join that group"
    )]
    Forbidden(PathBuf),
    /// It took too long.
    #[error("the daemon behind {0} did not answer within {1:?}; hint: is the machine overloaded? its log says what it is doing")]
    TooSlow(PathBuf, Duration),
    /// Something else.
    #[error("cannot talk to the daemon behind {0}: {1}; hint: is it really keyrota, and of this version?")]
    Broken(PathBuf, String),
}

/// What the daemon said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// The HTTP status.
    pub status: u16,
    /// The body.
    pub body: Vec<u8>,
}

impl Answer {
    /// Whether it says that all went well.
    pub const fn is_good(&self) -> bool {
        self.status >= 200 && self.status < 300
    }
}

/// Where the daemon is, and how long it may take.
#[derive(Debug, Clone)]
pub struct Client {
    socket: PathBuf,
    limit: Duration,
}

impl Client {
    /// The daemon of this runtime directory.
    pub fn new(runtime_dir: &Path) -> Self {
        Self { socket: runtime_dir.join(CONTROL_SOCKET), limit: Duration::from_secs(20) }
    }

    /// The signer socket of this runtime directory.
    pub fn signers(runtime_dir: &Path) -> Self {
        Self { socket: runtime_dir.join(SIGNER_SOCKET), ..Self::new(runtime_dir) }
    }

    /// The same, which may take longer.
    #[must_use]
    pub fn patient(self, limit: Duration) -> Self {
        Self { limit, ..self }
    }

    /// The socket that is tried.
    pub fn socket(&self) -> &Path {
        &self.socket
    }

    /// Asks for something.
    ///
    /// # Errors
    /// If there is no daemon, it is not for us, or it does not answer in time. Not if it answers with an error status.
    pub fn get(&self, path: &str) -> Result<Answer, ClientError> {
        self.ask(Method::GET, path, Bytes::new())
    }

    /// Asks the daemon to do something.
    ///
    /// # Errors
    /// As [`Client::get`].
    pub fn post(&self, path: &str) -> Result<Answer, ClientError> {
        self.ask(Method::POST, path, Bytes::new())
    }

    /// Asks the daemon to do something that takes more words.
    ///
    /// # Errors
    /// As [`Client::get`].
    pub fn post_json(&self, path: &str, body: Vec<u8>) -> Result<Answer, ClientError> {
        self.ask(Method::POST, path, body.into())
    }

    fn ask(&self, method: Method, path: &str, body: Bytes) -> Result<Answer, ClientError> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(|e| self.broken(&e))?;
        runtime.block_on(async {
            let limited = tokio::time::timeout(self.limit, self.exchange(method, path, body)).await;
            limited.unwrap_or_else(|_| Err(ClientError::TooSlow(self.socket.clone(), self.limit)))
        })
    }

    async fn exchange(&self, method: Method, path: &str, body: Bytes) -> Result<Answer, ClientError> {
        let stream = UnixStream::connect(&self.socket).await.map_err(|e| match e.kind() {
            ErrorKind::NotFound => ClientError::NoSocket(self.socket.clone()),
            ErrorKind::ConnectionRefused => ClientError::NobodyListens(self.socket.clone()),
            ErrorKind::PermissionDenied => ClientError::Forbidden(self.socket.clone()),
            _ => self.broken(&e),
        })?;
        let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.map_err(|e| self.broken(&e))?;
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header(hyper::header::HOST, "localhost")
            .header(hyper::header::CONTENT_TYPE, "application/json")
            .body(Full::new(body))
            .map_err(|e| self.broken(&e))?;
        let conversation = async {
            let response = sender.send_request(request).await.map_err(|e| self.broken(&e))?;
            let status = response.status().as_u16();
            let body = Limited::new(response.into_body(), LONGEST_ANSWER).collect().await.map_err(|e| self.broken(&*e))?;
            Ok(Answer { status, body: body.to_bytes().to_vec() })
        };
        // The connection is driven beside the conversation; its own error shows there as well.
        tokio::pin!(conversation);
        let mut connection = std::pin::pin!(connection);
        let mut driving = true;
        loop {
            tokio::select! {
                answer = &mut conversation => return answer,
                _ = &mut connection, if driving => driving = false,
            }
        }
    }

    fn broken(&self, error: &(impl std::fmt::Display + ?Sized)) -> ClientError {
        ClientError::Broken(self.socket.clone(), error.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Read as _, Write as _};

    #[test]
    fn a_missing_and_a_deserted_socket_are_told_apart() {
        let dir = tempfile::tempdir().unwrap();
        let client = Client::new(dir.path());
        assert!(matches!(client.get("/v1/status"), Err(ClientError::NoSocket(_))));
        drop(std::os::unix::net::UnixListener::bind(client.socket()).unwrap());
        let error = client.get("/v1/status").unwrap_err();
        assert!(matches!(error, ClientError::NobodyListens(_)), "{error}");
        assert!(error.to_string().contains("hint: "));
    }

    #[test]
    fn one_request_gets_one_answer() {
        let dir = tempfile::tempdir().unwrap();
        let client = Client::new(dir.path());
        let listener = std::os::unix::net::UnixListener::bind(client.socket()).unwrap();
        let daemon = std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut asked = [0; 1024];
            let n = stream.read(&mut asked).unwrap();
            stream.write_all(b"HTTP/1.1 409 Conflict\r\ncontent-length: 2\r\n\r\nno").unwrap();
            String::from_utf8_lossy(&asked[..n]).into_owned()
        });
        assert_eq!(client.post("/v1/reload").unwrap(), Answer { status: 409, body: b"no".to_vec() });
        assert!(daemon.join().unwrap().starts_with("POST /v1/reload HTTP/1.1\r\n"));
    }
}
