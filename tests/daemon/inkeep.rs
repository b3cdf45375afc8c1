//! Inkeep's API for the public keys of an app, as strict as the vendor's own: what it would refuse is refused here, and counted.

use std::sync::{Arc, Mutex};

use keyrota::jwk::PublicNumbers;
use serde_json::{Value, json};

use crate::edge::{Edge, Received, Script};
use crate::process::rest;

/// Where an app's keys are.
pub const PATH: &str = "/manage/tenants/acme/projects/help/apps/app_1/auth/keys";
/// Whoever has this may edit them.
pub const API_KEY: &str = "sk_inkeep_4f1c9a77d2e84b0c";

/// How the vendor behaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Mood {
    /// As it promises.
    #[default]
    Well,
    /// It answers 503.
    Away,
    /// It takes calls and does not answer them for now.
    Stalls,
    /// It answers 503 to whatever would change something, after it has done it.
    ForgetsToAnswer,
    /// It says that it has done what would change something, and has not.
    Loses,
}

/// What the app holds, and how it behaves.
#[derive(Default)]
pub struct App {
    /// Its keys as they are listed.
    pub keys: Vec<Value>,
    /// How it behaves.
    pub mood: Mood,
    /// Calls that no lawful client makes.
    pub unlawful: Vec<String>,
    /// Every kid that was ever uploaded, in order.
    pub uploaded: Vec<String>,
}

/// The vendor. It ends with the test.
pub struct Inkeep {
    edge: Edge,
    app: Arc<Mutex<App>>,
}

impl Inkeep {
    pub fn start() -> Self {
        let app: Arc<Mutex<App>> = Arc::default();
        let within = Arc::clone(&app);
        let edge = Edge::answering(move |asked| {
            while within.lock().unwrap().mood == Mood::Stalls {
                rest();
            }
            within.lock().unwrap().answer(asked)
        });
        Self { edge, app }
    }

    pub fn url(&self) -> String {
        self.edge.url(PATH)
    }

    /// The app as it is now, or changed.
    pub fn app<T>(&self, look: impl FnOnce(&mut App) -> T) -> T {
        look(&mut self.app.lock().unwrap())
    }

    pub fn kids(&self) -> Vec<String> {
        self.app(|app| app.keys.iter().map(|key| key["kid"].as_str().unwrap().to_owned()).collect())
    }

    pub fn asked(&self) -> usize {
        self.edge.received().len()
    }
}

fn said(status: u16, body: &Value) -> Script {
    (status, "content-type: application/json\r\n".to_owned(), body.to_string())
}

fn error(status: u16, code: &str) -> Script {
    said(status, &json!({ "error": { "code": code, "message": code } }))
}

impl App {
    fn answer(&mut self, asked: &Received) -> Script {
        if self.mood == Mood::Away {
            return error(503, "service_unavailable");
        }
        if asked.header("authorization") != format!("Bearer {API_KEY}") {
            return self.refuse(asked, 401, "unauthorized");
        }
        let Some(rest) = asked.path.strip_prefix(PATH) else { return self.refuse(asked, 404, "not_found") };
        let before = self.keys.clone();
        let done = match (asked.method.as_str(), rest.strip_prefix('/')) {
            ("GET", None) if rest.is_empty() => return said(200, &json!({ "data": self.keys })),
            ("POST", None) if rest.is_empty() => self.add(asked),
            ("DELETE", Some(kid)) => self.delete(&kid.replace("%2E", ".")),
            _ => self.refuse(asked, 405, "method_not_allowed"),
        };
        if self.mood == Mood::Loses {
            self.keys = before;
        }
        if self.mood == Mood::ForgetsToAnswer { error(503, "service_unavailable") } else { done }
    }

    fn refuse(&mut self, asked: &Received, status: u16, code: &str) -> Script {
        self.unlawful.push(format!("{} {}: {status} {code}", asked.method, asked.path));
        error(status, code)
    }

    fn add(&mut self, asked: &Received) -> Script {
        let body: Value = serde_json::from_str(&asked.body).unwrap_or_default();
        let texts = ["kid", "publicKey", "algorithm"].map(|name| body[name].as_str().unwrap_or_default().to_owned());
        let [kid, pem, algorithm] = &texts;
        let only_these = body.as_object().is_some_and(|members| members.len() == 3);
        if asked.header("content-type") != "application/json" || !only_these || texts.iter().any(String::is_empty) {
            return self.refuse(asked, 400, "bad_request");
        }
        if self.keys.iter().any(|key| key["kid"] == kid.as_str()) {
            return error(409, "conflict");
        }
        if !takes(pem, algorithm) {
            return self.refuse(asked, 400, "bad_request");
        }
        let key = json!({ "kid": kid, "publicKey": pem, "algorithm": algorithm, "addedAt": "2026-03-01T12:00:00.000Z" });
        self.keys.push(key.clone());
        self.uploaded.push(kid.clone());
        said(201, &json!({ "data": key }))
    }

    fn delete(&mut self, kid: &str) -> Script {
        let before = self.keys.len();
        self.keys.retain(|key| key["kid"] != kid);
        if self.keys.len() == before { error(404, "not_found") } else { (204, String::new(), String::new()) }
    }
}

/// Whether the vendor's checker takes such a key: `SubjectPublicKeyInfo` in PEM, of a kind that fits the algorithm.
fn takes(pem: &str, algorithm: &str) -> bool {
    let Ok(numbers) = PublicNumbers::from_spki_pem(pem) else { return false };
    match numbers {
        PublicNumbers::Rsa { .. } => ["RS256", "RS384", "RS512"].contains(&algorithm) && numbers.bits() >= 2048,
        PublicNumbers::Ec { .. } => matches!((numbers.bits(), algorithm), (256, "ES256") | (384, "ES384") | (521, "ES512")),
        PublicNumbers::Okp { .. } => algorithm == "EdDSA",
    }
}
