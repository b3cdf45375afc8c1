//! A stand-in for the daemon: a socket that gives one answer and tells what it was asked.

use std::io::{Read as _, Write as _};
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::process::{Command, Output};

/// Runs keyrota against a daemon that answers with `status` and `body`. Returns what was asked, and how it went.
pub fn asked(args: &[&str], status: u16, body: &str) -> (String, Output) {
    let dir = tempfile::tempdir().unwrap();
    let listener = UnixListener::bind(dir.path().join("control.sock")).unwrap();
    let answer = format!("HTTP/1.1 {status} X\r\ncontent-length: {}\r\n\r\n{body}", body.len());
    let daemon = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let mut request = [0; 4096];
        let read = stream.read(&mut request).unwrap();
        stream.write_all(answer.as_bytes()).unwrap();
        String::from_utf8_lossy(&request[..read]).lines().next().unwrap_or_default().to_owned()
    });
    let output = run(dir.path(), args);
    (daemon.join().unwrap(), output)
}

fn run(runtime_dir: &Path, args: &[&str]) -> Output {
    let runtime_dir = runtime_dir.to_str().unwrap();
    Command::new(env!("CARGO_BIN_EXE_keyrota")).args(args).args(["--runtime-dir", runtime_dir]).env_clear().output().unwrap()
}
