//! The API for secret keys, as far as it is asked: `…/agent-studio/1/secret-keys` of one application.
//!
//! `GET ?page=&limit=` answers `{"data": [KEY…], "pagination": {"page", "limit", "totalCount", "totalPages"}}`, pages from one on, each KEY
//! `{"id", "name", "value", "createdAt", "updatedAt", "lastUsedAt", "isDefault", "agentIds"}`; `POST` of `{"name", "agentIds"}` makes one
//! and lets many have the same name; `DELETE …/<id>`. Headers name the application and prove who asks. Whoever lists, is shown secrets:
//! they stand in types that are wiped, and no error quotes an answer.

use std::collections::BTreeSet;

use bytes::Bytes;
use http::{HeaderName, HeaderValue};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer};
use zeroize::Zeroize as _;

use super::super::header_secret;
use super::Line;
use crate::https::{Ask, Fetch};
use crate::policy::AlgoliaTarget;
use crate::secret::SecretText;
use crate::time::Timestamp;
use crate::url::Url;

const PATH: &str = "/agent-studio/1/secret-keys";
const AGENTS: &str = "/agent-studio/1/agents";

/// Keys on one page, and the most pages.
const PAGE: u64 = 100;
const MOST_PAGES: u64 = 100;

/// Agents on one page: they come with everything that is written into them.
const PAGE_OF_AGENTS: u64 = 20;

/// How often the list is read anew because somebody changed it meanwhile.
const MOST_LOOKS: usize = 3;

/// A key as it is listed, as far as it matters.
#[derive(Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Shown {
    pub id: String,
    pub name: String,
    #[serde(deserialize_with = "secret")]
    pub value: SecretText,
    #[serde(deserialize_with = "moment")]
    pub created_at: Option<Timestamp>,
    #[serde(deserialize_with = "moment")]
    pub last_used_at: Option<Timestamp>,
    #[serde(default)]
    pub is_default: Option<bool>,
    pub agent_ids: BTreeSet<String>,
}

#[derive(Deserialize)]
struct Page<T> {
    data: Vec<T>,
    pagination: Pagination,
}

#[derive(Deserialize)]
struct Agent {
    id: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Pagination {
    total_count: usize,
    total_pages: u64,
}

/// One application, and the way to it.
pub struct Account<'a, F> {
    line: Line<'a, F>,
    keys: Url,
    agents: Url,
}

impl<'a, F: Fetch> Account<'a, F> {
    /// Reads the API key.
    ///
    /// # Errors
    /// If it cannot be read.
    pub async fn of(fetch: &'a F, target: &'a AlgoliaTarget) -> Result<Self, String> {
        let application = HeaderValue::from_str(&target.application_id).map_err(|error| format!("{target}: {error}"))?;
        let headers = vec![
            (HeaderName::from_static("x-algolia-application-id"), application),
            (HeaderName::from_static("x-algolia-api-key"), header_secret(&target.admin_key, "").await?),
        ];
        let line = Line { fetch, trust: &target.trust, timeout: target.timeout, headers };
        Ok(Self { line, keys: below(&target.url, PATH)?, agents: below(&target.url, AGENTS)? })
    }

    /// Every key of the application, as it was at one moment.
    ///
    /// # Errors
    /// A sentence.
    pub async fn list(&self) -> Result<Vec<Shown>, String> {
        for _ in 0..MOST_LOOKS {
            if let Some(listed) = self.look().await? {
                return Ok(listed);
            }
        }
        Err(format!(
            "GET {}: its pages did not fit together {MOST_LOOKS} times; hint: does somebody make keys there all the time?",
            self.keys
        ))
    }

    /// Every page; `None` if they do not fit together, because the list was changed between two of them.
    async fn look(&self) -> Result<Option<Vec<Shown>>, String> {
        let mut listed: Vec<Shown> = Vec::new();
        for number in 1..=MOST_PAGES {
            let Page { data, pagination } = self.page(&self.keys, number, PAGE).await?;
            listed.extend(data);
            if number >= pagination.total_pages {
                let ids: BTreeSet<&String> = listed.iter().map(|key| &key.id).collect();
                let whole = ids.len() == listed.len() && listed.len() == pagination.total_count;
                return Ok(whole.then_some(listed));
            }
        }
        Err(format!("GET {}: it lists more than {} keys; hint: delete what nobody uses", self.keys, MOST_PAGES * PAGE))
    }

    /// The ids of the application's agents.
    ///
    /// # Errors
    /// A sentence.
    pub async fn agents(&self) -> Result<BTreeSet<String>, String> {
        let mut found = BTreeSet::new();
        for number in 1..=MOST_PAGES {
            let page: Page<Agent> = self.page(&self.agents, number, PAGE_OF_AGENTS).await?;
            found.extend(page.data.into_iter().map(|agent| agent.id));
            if number >= page.pagination.total_pages {
                break;
            }
        }
        Ok(found)
    }

    async fn page<T: DeserializeOwned>(&self, list: &Url, number: u64, limit: u64) -> Result<Page<T>, String> {
        let url = below(list, &format!("?page={number}&limit={limit}"))?;
        let answer = self.line.call(&url, Ask::Get, &[200]).await?;
        let page = read(&answer.body)
            .map_err(|at| format!("GET {url} was answered with no such list (unreadable at {at}); hint: is that the right address?"));
        wipe(answer.body);
        page
    }

    /// Has a key made.
    ///
    /// # Errors
    /// A sentence. It may have been made all the same.
    pub async fn create(&self, name: &str, agents: &BTreeSet<String>) -> Result<(), String> {
        let body = serde_json::json!({ "name": name, "agentIds": agents }).to_string();
        let answer = self.line.call(&self.keys, Ask::Post(body.into()), &[200, 201]).await.map_err(|what| {
            let (what, hint) = what.split_once("; hint: ").unwrap_or((&what, ""));
            let hint =
                if what.contains("status 4") { "are the agents that the policy names there, and may its API key make keys?" } else { hint };
            format!("{what}; hint: {hint}")
        })?;
        wipe(answer.body);
        Ok(())
    }

    /// Deletes a key; one that is gone already is no error.
    ///
    /// # Errors
    /// A sentence.
    pub async fn delete(&self, id: &str) -> Result<(), String> {
        let lawful = |b: u8| b.is_ascii_alphanumeric() || b"_-".contains(&b);
        if id.is_empty() || !id.bytes().all(lawful) {
            return Err(format!("a key at {} has an id that has no address; hint: delete it there", self.keys));
        }
        let url = below(&self.keys, &format!("/{id}"))?;
        self.line.call(&url, Ask::Delete, &[200, 202, 204, 404]).await.map(|answer| wipe(answer.body))
    }
}

fn below(url: &Url, rest: &str) -> Result<Url, String> {
    format!("{}{rest}", url.as_str().trim_end_matches('/')).parse().map_err(|error| format!("{url}: {error}"))
}

/// Errors tell where and never what: what stands there may be a secret.
fn read<T: DeserializeOwned>(body: &[u8]) -> Result<Page<T>, String> {
    serde_json::from_slice(body).map_err(|error| format!("line {}, column {}", error.line(), error.column()))
}

/// Wipes what is left of an answer, as far as nobody else holds it.
fn wipe(body: Bytes) {
    if let Ok(mut body) = body.try_into_mut() {
        body.as_mut().zeroize();
    }
}

fn secret<'de, D: Deserializer<'de>>(given: D) -> Result<SecretText, D::Error> {
    String::deserialize(given).map(SecretText::new)
}

/// A moment; one without a zone is UTC.
fn moment<'de, D: Deserializer<'de>>(given: D) -> Result<Option<Timestamp>, D::Error> {
    let Some(text) = Option::<String>::deserialize(given)? else { return Ok(None) };
    let zoned = text.parse().or_else(|_| format!("{text}Z").parse());
    zoned.map(Some).map_err(|_: crate::time::TimeError| serde::de::Error::custom("no moment"))
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &str = r#"{"id":"a","name":"n","value":"sk-alg-secret","createdAt":"2026-03-01T12:00:00.123456","updatedAt":"","lastUsedAt":null,"isDefault":false,"agentIds":["x","y"],"more":1}"#;

    #[test]
    fn a_page_is_read_and_what_is_none_is_told_without_a_word_of_it() {
        let read = |page: String| read::<Shown>(page.as_bytes());
        let page = |key: &str| format!(r#"{{"data":[{key}],"pagination":{{"page":1,"limit":9,"totalCount":1,"totalPages":1}}}}"#);
        let Page { data, pagination } = read(page(KEY)).unwrap_or_else(|at| panic!("{at}"));
        assert_eq!((data[0].value.expose(), data[0].agent_ids.len(), pagination.total_count), ("sk-alg-secret", 2, 1));
        assert_eq!(data[0].created_at, "2026-03-01T12:00:00.123Z".parse().ok());
        let used = KEY.replace("\"lastUsedAt\":null", "\"lastUsedAt\":\"2026-03-02T12:00:00+02:00\"");
        assert_eq!(read(page(&used)).map(|p| p.data[0].last_used_at).ok().flatten(), "2026-03-02T10:00:00Z".parse().ok());
        for broken in [KEY.replace("null", "\"sk-alg-secret\""), KEY.replace(":false", ":\"sk-alg-secret\""), "\"sk-alg-secret\"".into()] {
            let told = read(page(&broken)).err().unwrap();
            assert!(told.starts_with("line 1, column ") && !told.contains("sk-alg"), "{told}");
        }
    }
}
