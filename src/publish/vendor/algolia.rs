//! Algolia's Agent Studio: secret keys that the vendor makes. keyrota asks for the next one, and deletes those that are dead.
//!
//! Keys are found again by their names ([`naming`]); what becomes of each that is listed is decided in [`fate`], without asking
//! anybody; [`api`] asks. Invariant: a key is made for the successor of one document. It stands in that successor or nowhere, because
//! the swap decides; so whoever sees a later document knows that it may be deleted.

mod api;
mod fate;
mod naming;

use std::collections::BTreeSet;

use self::api::{Account, Shown};
use self::fate::Findings;
pub use self::fate::{Leaving, Wanted};
use self::naming::Naming;
use super::Line;
use crate::clock::Reading;
use crate::digest::Digest;
use crate::document::Document;
use crate::https::Fetch;
use crate::key::{Algorithm, Key};
use crate::keygen::import::{Handed, import};
use crate::name::Kid;
use crate::policy::AlgoliaTarget;
use crate::publish::Brought;
use crate::publish::errand::Errand;
use crate::time::{Span, Timestamp};

/// The longest that an examination takes: the environment waits for it.
const EXAMINATION: Span = Span::seconds(3);

/// A key that is asked for.
#[derive(Debug, Clone)]
pub struct Order {
    /// Without secrets.
    document: Document,
    naming: Naming,
}

impl Order {
    /// For the successor of this document.
    pub fn of(document: &Document) -> Self {
        Self { document: document.without_secrets(), naming: Naming::of(&document.id) }
    }

    /// What the key is called there.
    fn name(&self) -> String {
        self.naming.name(self.document.generation.next())
    }

    /// Names the order: another document, other agents or another way there make another.
    pub fn digest(&self, target: &AlgoliaTarget) -> Digest {
        // Serializing our own plain types cannot fail; if it did, orders of one generation would be the same.
        let target = serde_json::to_string(target).unwrap_or_default();
        Digest::of(format!("{}\n{target}", self.name()).as_bytes())
    }
}

/// The key of this order: the one that stands there already, or a new one. What is answered to the creation does not count, only what
/// is listed afterwards: so it is the same key whoever asks, after a crash, after an answer that was lost, or beside another replica.
///
/// # Errors
/// A sentence. A key that was created all the same is found by whoever asks again.
pub async fn make<F: Fetch>(fetch: &F, target: &AlgoliaTarget, order: &Order, now: Timestamp) -> Result<Key, String> {
    let account = Account::of(fetch, target).await?;
    let name = order.name();
    if let Some(found) = fate::adopted(&order.document, &name, &target.agents, &account.list().await?) {
        return taken(found, now);
    }
    account.create(&name, &target.agents).await?;
    let listed = account.list().await?;
    let found = fate::adopted(&order.document, &name, &target.agents, &listed);
    let found = found.ok_or_else(|| format!("{target} took the order for the key `{name}` and does not show it; hint: its status page"))?;
    taken(found, now)
}

/// A key of the vendor's as keyrota stores its own.
fn taken(shown: &Shown, now: Timestamp) -> Result<Key, String> {
    let unfit = |what: String| {
        let (what, hint) = what.split_once("; hint: ").unwrap_or((&what, "delete it there"));
        format!("the key `{}` that Algolia made cannot be used: {what}; hint: {hint}", shown.name)
    };
    let kid: Kid = shown.id.parse().map_err(|error: crate::name::NameError| unfit(error.to_string()))?;
    let handed = Handed {
        material: &shown.value,
        passphrase: None,
        kid: Some(kid),
        algorithm: Algorithm::HS256,
        created_at: shown.created_at.map_or(now, |at| at.min(now)),
        expires_at: None,
    };
    import(&handed).map_err(|error| unfit(error.to_string()))
}

/// What an examination finds where the last look found nothing amiss: whether the agents of the policy are there.
///
/// # Errors
/// A sentence: some are not.
pub async fn examine<F: Fetch>(fetch: &F, target: &AlgoliaTarget) -> Result<String, String> {
    let within = AlgoliaTarget { timeout: target.timeout.min(EXAMINATION), ..target.clone() };
    let asked = async { Account::of(fetch, &within).await?.agents().await };
    match tokio::time::timeout(EXAMINATION.to_std(), asked).await {
        Ok(Ok(there)) => {
            let missing: Vec<&str> = target.agents.difference(&there).map(String::as_str).collect();
            if missing.is_empty() {
                return Ok("its API key is accepted, and the policy's agents are there".to_owned());
            }
            let hint = "no key can be made for them; correct `agents` in the policy";
            Err(format!("the application has no agent {}; hint: {hint}", missing.join(", ")))
        }
        // It says nothing against the keys: listing agents may be more than the API key is allowed.
        Ok(Err(what)) => {
            Ok(format!("whether the policy's agents are there is not known: {}", what.split("; hint: ").next().unwrap_or(&what)))
        }
        Err(_) => Ok(format!("whether the policy's agents are there is not known: no answer within {EXAMINATION}")),
    }
}

/// Deletes what is dead there, and reads back what is left.
///
/// # Errors
/// A sentence. What was done until then stays done.
pub async fn bring<F: Fetch>(fetch: &F, target: &AlgoliaTarget, wanted: &Wanted, errand: &Errand) -> Result<Brought, String> {
    let account = Account::of(fetch, target).await?;
    let listed = account.list().await?;
    let before = Findings::of(wanted, &target.agents, &listed, Reading::now().wall);
    if before.dead.is_empty() {
        return Ok(errand.agreed_but(false, before.amiss(None)));
    }
    // One call that fails keeps no other from being made.
    let mut failed = None;
    for id in &before.dead {
        failed = failed.or(account.delete(id).await.err());
    }
    let listed = account.list().await?;
    let after = Findings::of(wanted, &target.agents, &listed, Reading::now().wall);
    let gone: BTreeSet<&String> = before.dead.difference(&after.dead).collect();
    Ok(errand.agreed_but(!gone.is_empty(), after.amiss(failed)))
}
