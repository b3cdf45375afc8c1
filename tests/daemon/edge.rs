//! A server that is not keyrota's: it answers what it is told to, and remembers what it was asked.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// What it was sent.
#[derive(Debug, Clone)]
pub struct Received {
    pub method: String,
    pub path: String,
    /// Names in lower case.
    pub headers: Vec<(String, String)>,
    pub body: String,
}

/// What it answers: a status, headers as they are written, and a body.
pub type Script = (u16, String, String);

/// What decides that.
type Answerer = dyn Fn(&Received) -> Script + Send + Sync;

/// A running server. It ends with the test.
pub struct Edge {
    pub address: SocketAddr,
    says: Arc<Mutex<Vec<Script>>>,
    received: Arc<Mutex<Vec<Received>>>,
}

impl Edge {
    /// One that is up and answers 503.
    pub fn start() -> Self {
        let says = Arc::new(Mutex::new(vec![(503, String::new(), String::new())]));
        let script = Arc::clone(&says);
        Self::serving(says, move |_: &Received| {
            let mut says = script.lock().unwrap();
            if says.len() > 1 { says.remove(0) } else { says[0].clone() }
        })
    }

    /// One that answers as this decides.
    pub fn answering(answer: impl Fn(&Received) -> Script + Send + Sync + 'static) -> Self {
        Self::serving(Arc::default(), answer)
    }

    fn serving(says: Arc<Mutex<Vec<Script>>>, answerer: impl Fn(&Received) -> Script + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let address = listener.local_addr().unwrap();
        let (received, answerer): (Arc<Mutex<Vec<Received>>>, Arc<Answerer>) = (Arc::default(), Arc::new(answerer));
        let edge = Self { address, says, received: Arc::clone(&received) };
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (answerer, received) = (Arc::clone(&answerer), Arc::clone(&received));
                std::thread::spawn(move || answer(stream, &*answerer, &received));
            }
        });
        edge
    }

    /// From now on it answers this.
    pub fn says(&self, status: u16, headers: &str, body: &str) {
        *self.says.lock().unwrap() = vec![(status, headers.to_owned(), body.to_owned())];
    }

    /// It answers so many times with this status before it goes on with 200.
    pub fn fails(&self, status: u16, times: usize) {
        let mut script = vec![(status, String::new(), String::new()); times];
        script.push((200, String::new(), String::new()));
        *self.says.lock().unwrap() = script;
    }

    /// What it was sent so far.
    pub fn received(&self) -> Vec<Received> {
        self.received.lock().unwrap().clone()
    }

    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }
}

impl Received {
    pub fn header(&self, name: &str) -> &str {
        self.headers.iter().find(|(known, _)| known == name).map_or("", |(_, value)| value)
    }
}

fn answer(mut stream: TcpStream, answerer: &Answerer, received: &Mutex<Vec<Received>>) {
    let _ = stream.set_read_timeout(Some(Duration::from_secs(20)));
    let mut bytes = Vec::new();
    let mut piece = [0; 4096];
    let asked = loop {
        if let Some(asked) = parsed(&bytes) {
            break asked;
        }
        match stream.read(&mut piece) {
            Ok(0) | Err(_) => return,
            Ok(n) => bytes.extend_from_slice(&piece[..n]),
        }
    };
    received.lock().unwrap().push(asked.clone());
    let (status, headers, body) = answerer(&asked);
    let head = format!("HTTP/1.1 {status} said\r\ncontent-length: {}\r\nconnection: close\r\n{headers}\r\n", body.len());
    let _ = stream.write_all(head.as_bytes()).and_then(|()| stream.write_all(body.as_bytes()));
}

/// A request, once all of it is there.
fn parsed(bytes: &[u8]) -> Option<Received> {
    let text = std::str::from_utf8(bytes).ok()?;
    let (head, body) = text.split_once("\r\n\r\n")?;
    let pairs = head.lines().skip(1).filter_map(|line| line.split_once(':'));
    let headers: Vec<_> = pairs.map(|(name, value)| (name.to_ascii_lowercase(), value.trim().to_owned())).collect();
    let length = headers.iter().find(|(name, _)| name == "content-length").map_or(0, |(_, length)| length.parse().unwrap());
    let mut asked = head.split_whitespace().map(str::to_owned);
    let (method, path) = (asked.next()?, asked.next()?);
    (body.len() >= length).then(|| Received { method, path, headers, body: body.to_owned() })
}
