//! What the identity in use may do, tried by calls that change nothing.
//!
//! Reads are tried on a secret that exists, if there is one. Writes are tried on a secret that does not exist: whoever may write is
//! told that there is none, whoever may not is told that instead. Only making a secret is tried on one that exists, under whose name
//! none can be made.
//!
//! Which of the two answers comes first for a secret that does not exist is not written down anywhere; it is what the service was
//! seen to do for rules that name secrets by prefix, as those in docs/aws.md do. Rules that look at a secret's tags cannot be tried so.

use super::calls::{CallError, CallFault, Calls, NewSecret, STAGED, VersionId, Which};
use super::pace::Time;
use super::{AwsStore, Inner, MANAGED_BY};
use crate::secret::SecretText;
use crate::store::RECOVERY;

/// A name under the prefix that no keyset can have, because it begins with a digit.
const NOBODY: &str = "0-keyrota-doctor";

/// A token of the lawful form that no version bears.
const NO_VERSION: &str = "00000000-0000-4000-8000-000000000000";

/// One permission that was tried.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tried {
    /// The action, as policies name it.
    pub action: &'static str,
    /// On what it was tried.
    pub resource: String,
    /// What came of it.
    pub outcome: Outcome,
}

/// What came of trying a permission.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// The service let it through.
    Allowed,
    /// It is not allowed, and need not be: what cannot be done then, and what is done instead.
    NotAllowed(&'static str),
    /// It could not be tried: why.
    NotTried(&'static str),
    /// It is not allowed, and keyrota needs it. Ends with a hint.
    Denied(String),
    /// Nobody knows: the call failed otherwise. Ends with a hint.
    Failed(String),
}

impl<C: Calls, T: Time> AwsStore<C, T> {
    /// Tries every action that keyrota uses, each once.
    pub async fn permissions(&self) -> Vec<Tried> {
        let inner = &*self.0;
        let (all, nobody) = (format!("{}*", inner.prefix), format!("{}{NOBODY}", inner.prefix));
        let mut tried = Vec::new();
        let mut note = |action, resource: &str, outcome| tried.push(Tried { action, resource: resource.to_owned(), outcome });

        let listed = inner.calls.list(&inner.prefix, None).await;
        let ours = |tags: &std::collections::BTreeMap<String, String>| tags.get(MANAGED_BY.0).is_some_and(|by| by == MANAGED_BY.1);
        let found = listed.as_ref().ok().and_then(|page| page.secrets.iter().find(|secret| !secret.deleted && ours(&secret.tags)));
        let found = found.map(|secret| secret.name.clone());
        note("ListSecrets", &all, of(listed.map(drop)));

        let read = found.as_deref().unwrap_or(&nobody);
        note("DescribeSecret", read, of(inner.calls.describe(read).await.map(drop)));
        note("GetSecretValue", read, of(inner.calls.get(read, Which::Current).await.map(drop)));
        note("BatchGetSecretValue", read, of(inner.calls.get_many(&[read.to_owned()]).await.map(drop)));

        let nothing = SecretText::new("{}".to_owned());
        let version = VersionId(NO_VERSION.to_owned());
        inner.write_allowed().await;
        note("PutSecretValue", &nobody, of(inner.calls.put(&nobody, &version, &nothing, STAGED).await));
        inner.write_allowed().await;
        note("UpdateSecretVersionStage", &nobody, of(inner.calls.move_current(&nobody, &version, &version).await));
        note("CreateSecret", found.as_deref().unwrap_or(&all), inner.may_create(found.as_deref(), &nothing).await);
        inner.write_allowed().await;
        let may_delete = match of(inner.calls.delete(&nobody, RECOVERY).await) {
            Outcome::Denied(_) => {
                Outcome::NotAllowed("`keyrota remove` and `migrate --erase-source` name the command for somebody who may")
            }
            outcome => outcome,
        };
        note("DeleteSecret", &nobody, may_delete);
        tried
    }
}

impl<C: Calls, T: Time> Inner<C, T> {
    async fn may_create(&self, taken: Option<&str>, value: &SecretText) -> Outcome {
        let Some(name) = taken else {
            return Outcome::NotTried("there is no secret yet whose name is taken, and trying it with another would make one");
        };
        let version = VersionId(NO_VERSION.to_owned());
        let description = "tried by keyrota";
        let secret = NewSecret { name, token: &version, value, description, tags: &self.tags, manner: &self.manner };
        self.write_allowed().await;
        of(self.calls.create(&secret).await.map(drop))
    }
}

/// A call that comes to "there is none", or "it is taken", was allowed.
fn of(answer: Result<(), CallError>) -> Outcome {
    match answer {
        Ok(()) => Outcome::Allowed,
        Err(error) => match error.fault {
            CallFault::NotFound | CallFault::Exists | CallFault::InvalidParameter | CallFault::InvalidRequest => Outcome::Allowed,
            CallFault::Denied => Outcome::Denied(error.sentence),
            _ => Outcome::Failed(error.sentence),
        },
    }
}
