//! Algolia's API for secret keys, as strict as the vendor's own: what it would refuse is refused here, and counted.

use std::sync::{Arc, Mutex};

use keyrota::clock::Reading;
use keyrota::digest::Digest;
use serde_json::{Value, json};

use crate::edge::{Edge, Received, Script};
use crate::process::rest;

const PATH: &str = "/agent-studio/1/secret-keys";
/// The application.
pub const APPLICATION: &str = "KEYROTATEST";
/// Whoever has this may edit its keys.
pub const ADMIN_KEY: &str = "9c1f4b7d2e60a8539c1f4b7d2e60a853";
/// Its agents.
pub const AGENTS: [&str; 2] = ["agent-help", "agent-shop"];
/// It shows so many keys on a page, whatever it is asked.
const PAGE: usize = 2;
const LONGEST_NAME: usize = 128;

/// How the vendor behaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Mood {
    /// As it promises.
    #[default]
    Well,
    /// It answers 503.
    Away,
    /// It does what would change something and does not answer for now.
    HoldsBack,
    /// It answers whoever looks only when two have looked.
    WaitsForTwo,
    /// It answers 500 to whatever would change something, after it has done it.
    ForgetsToAnswer,
    /// It says that it has done what would change something, and has not.
    Loses,
    /// It answers 500 to whatever would delete something.
    Clings,
}

/// What the application holds, and how it behaves.
#[derive(Default)]
pub struct Application {
    /// Its keys as they are listed.
    pub keys: Vec<Value>,
    /// How it behaves.
    pub mood: Mood,
    /// Calls that no lawful client makes.
    pub unlawful: Vec<String>,
    /// Agents that somebody has deleted.
    pub deleted_agents: Vec<&'static str>,
    /// How often its keys were listed.
    pub looks: usize,
    /// Every key that was ever made, in order.
    pub made: Vec<Value>,
}

/// The vendor. It ends with the test.
pub struct Algolia {
    edge: Edge,
    application: Arc<Mutex<Application>>,
}

impl Algolia {
    pub fn start() -> Self {
        let application: Arc<Mutex<Application>> = Arc::default();
        let within = Arc::clone(&application);
        let edge = Edge::answering(move |asked| {
            let answer = within.lock().unwrap().answer(asked);
            let holds = || {
                let application = within.lock().unwrap();
                match application.mood {
                    Mood::HoldsBack => asked.method != "GET",
                    Mood::WaitsForTwo => application.looks < 2,
                    _ => false,
                }
            };
            while holds() {
                rest();
            }
            answer
        });
        Self { edge, application }
    }

    pub fn url(&self) -> String {
        self.edge.url("")
    }

    /// The application as it is now, or changed.
    pub fn application<T>(&self, look: impl FnOnce(&mut Application) -> T) -> T {
        look(&mut self.application.lock().unwrap())
    }

    pub fn feels(&self, mood: Mood) {
        self.application(|application| application.mood = mood);
    }

    /// The ids of the keys that are there and were made by keyrota.
    pub fn ids(&self) -> Vec<String> {
        let ours = |key: &&Value| text(key, "name").starts_with("keyrota/");
        self.application(|application| application.keys.iter().filter(ours).map(|key| text(key, "id")).collect())
    }

    /// The ids of those that were ever made.
    pub fn made(&self) -> Vec<String> {
        self.application(|application| application.made.iter().map(|key| text(key, "id")).collect())
    }

    pub fn asked(&self) -> usize {
        self.edge.received().len()
    }

    /// Its checker: whether a token is signed with a key that is there.
    pub fn takes(&self, token: &crate::token::Token) -> Result<(), String> {
        let key = self.application(|application| application.keys.iter().find(|key| text(key, "id") == token.kid).cloned());
        let Some(key) = key else { return Err(format!("there is no key {}", token.kid)) };
        crate::token::refused_by_secret(token, &text(&key, "value")).map_or(Ok(()), Err)
    }
}

/// A key that somebody makes in the dashboard.
pub fn by_hand(id: &str, name: &str) -> Value {
    let agents = AGENTS.map(str::to_owned).to_vec();
    key(id, name, &agents)
}

fn key(id: &str, name: &str, agents: &[String]) -> Value {
    let now = Reading::now().wall.to_string();
    let value = format!("sk-alg-{}", Digest::of(id.as_bytes()));
    json!({
        "id": id, "name": name, "value": value, "createdAt": now, "updatedAt": now, "lastUsedAt": null, "isDefault": false,
        "agentIds": agents, "createdBy": null,
    })
}

fn text(key: &Value, name: &str) -> String {
    key[name].as_str().unwrap().to_owned()
}

fn said(status: u16, body: &Value) -> Script {
    (status, "content-type: application/json\r\n".to_owned(), body.to_string())
}

fn error(status: u16, message: &str) -> Script {
    said(status, &json!({ "message": message }))
}

impl Application {
    fn answer(&mut self, asked: &Received) -> Script {
        if self.mood == Mood::Away {
            return error(503, "service unavailable");
        }
        let known = asked.header("x-algolia-application-id") == APPLICATION && asked.header("x-algolia-api-key") == ADMIN_KEY;
        if !known || !asked.header("authorization").is_empty() {
            return self.refuse(asked, 403, "invalid application id or api key");
        }
        let (path, query) = asked.path.split_once('?').unwrap_or((&asked.path, ""));
        if asked.method == "GET" && path == "/agent-studio/1/agents" {
            let agents: Vec<Value> = AGENTS
                .iter()
                .filter(|id| !self.deleted_agents.contains(id))
                .map(|id| json!({ "id": id, "name": "An agent", "status": "published" }))
                .collect();
            return self.list(asked, query, &agents);
        }
        let Some(rest) = path.strip_prefix(PATH) else { return self.refuse(asked, 404, "not found") };
        let before = self.keys.clone();
        let done = match (asked.method.as_str(), rest.strip_prefix('/')) {
            ("GET", None) if rest.is_empty() => {
                self.looks += 1;
                return self.list(asked, query, &self.keys.clone());
            }
            ("POST", None) if rest.is_empty() && query.is_empty() => self.make(asked),
            ("DELETE", Some(id)) if query.is_empty() && self.mood == Mood::Clings => return self.cling(id),
            ("DELETE", Some(id)) if query.is_empty() => self.delete(id),
            _ => self.refuse(asked, 405, "method not allowed"),
        };
        if self.mood == Mood::Loses {
            self.keys = before;
        }
        if self.mood == Mood::ForgetsToAnswer { error(500, "internal error") } else { done }
    }

    fn refuse(&mut self, asked: &Received, status: u16, message: &str) -> Script {
        self.unlawful.push(format!("{} {}: {status} {message}", asked.method, asked.path));
        error(status, message)
    }

    fn list(&mut self, asked: &Received, query: &str, all: &[Value]) -> Script {
        let (mut page, mut limit) = (1, PAGE);
        for (name, value) in query.split('&').filter_map(|pair| pair.split_once('=')) {
            match (name, value.parse::<usize>()) {
                ("page", Ok(n)) if n >= 1 => page = n,
                ("limit", Ok(n)) if n >= 1 => limit = n.min(PAGE),
                _ => return self.refuse(asked, 422, "no such parameter"),
            }
        }
        let total = all.len();
        let data: Vec<&Value> = all.iter().skip((page - 1) * limit).take(limit).collect();
        let pagination = json!({ "page": page, "limit": limit, "totalCount": total, "totalPages": total.div_ceil(limit) });
        said(200, &json!({ "data": data, "pagination": pagination }))
    }

    fn make(&mut self, asked: &Received) -> Script {
        let body: Value = serde_json::from_str(&asked.body).unwrap_or_default();
        let only_these = body.as_object().is_some_and(|members| members.keys().all(|name| ["name", "agentIds"].contains(&name.as_str())));
        let name = body["name"].as_str().unwrap_or_default();
        if asked.header("content-type") != "application/json" || !only_these || name.is_empty() || name.chars().count() > LONGEST_NAME {
            return self.refuse(asked, 422, "the body is not accepted");
        }
        let agents: Option<Vec<String>> = serde_json::from_value(body["agentIds"].clone()).ok();
        let Some(agents) = agents.filter(|agents| agents.iter().all(|agent| AGENTS.contains(&agent.as_str()))) else {
            return self.refuse(asked, 404, "there is no such agent");
        };
        let made = key(&format!("{:08x}-5a5a-4a4a-8a8a-0123456789ab", self.made.len() + 1), name, &agents);
        self.keys.insert(0, made.clone());
        self.made.push(made.clone());
        said(201, &made)
    }

    fn delete(&mut self, id: &str) -> Script {
        let before = self.keys.len();
        self.keys.retain(|key| key["id"] != id);
        if self.keys.len() == before { error(404, "not found") } else { (204, String::new(), String::new()) }
    }

    fn cling(&self, id: &str) -> Script {
        if self.keys.iter().any(|key| key["id"] == id) { error(500, "internal error") } else { error(404, "not found") }
    }
}
