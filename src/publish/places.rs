//! Every kind of place behind the one port.

use super::{Brought, Files, Handing, Programs, PublishError, ReadBack, Removed, Targets, Vendors, aws_secret};
use crate::digest::Digest;
use crate::document::Document;
use crate::name::KeysetId;
use crate::policy::{AwsSecretTarget, Target};
use crate::store::aws::AwsStore;
use crate::store::aws::calls::Calls;
use crate::store::aws::pace::{MachineTime, Time};
use crate::time::Span;

/// The places that one environment writes: files, programs, vendors, and secrets beside the keysets' own.
pub struct Places<C, T = MachineTime> {
    programs: Programs,
    vendors: Vendors,
    /// Where the documents are, if they are in AWS Secrets Manager.
    secrets: Option<AwsStore<C, T>>,
}

impl<C: Calls, T: Time> Places<C, T> {
    /// Secrets are those of `secrets`' account; programs are run by `programs`, vendors asked by `vendors`.
    pub fn new(programs: Programs, vendors: Vendors, secrets: Option<AwsStore<C, T>>) -> Self {
        Self { programs, vendors, secrets }
    }

    fn secrets(&self, target: &AwsSecretTarget) -> Result<&AwsStore<C, T>, PublishError> {
        let elsewhere = || {
            let what = format!("the secret `{}` is out of reach: this environment's documents are not in AWS Secrets Manager", target.name);
            PublishError::Secret(format!("{what}; hint: `aws secretsmanager delete-secret --secret-id {}` if nobody needs it", target.name))
        };
        self.secrets.as_ref().ok_or_else(elsewhere)
    }
}

/// The futures of the SDK are large: they are kept apart from those of everything that waits for a place.
impl<C: Calls, T: Time> Targets for Places<C, T> {
    async fn bring(
        &self,
        keyset: &KeysetId,
        target: &Target,
        document: &Document,
        expected: Option<Digest>,
    ) -> Result<Brought, PublishError> {
        match target {
            Target::File(file) => Files.bring(file, document, expected).await,
            Target::Exec(exec) => self.programs.bring(&Handing::of(keyset, exec, document)?, expected),
            Target::InkeepAgents(app) => self.vendors.bring(keyset, app, document, expected),
            Target::Algolia(application) => self.vendors.tend(keyset, application, document, expected),
            Target::AwsSecret(secret) => Box::pin(aws_secret::bring(self.secrets(secret)?, secret, document, expected)).await,
        }
    }

    async fn look(&self, keyset: &KeysetId, target: &Target, document: &Document) -> Result<ReadBack, PublishError> {
        match target {
            Target::File(file) => Files.look(file, document).await,
            Target::Exec(exec) => Ok(self.programs.known(keyset, exec)),
            Target::InkeepAgents(app) => Ok(self.vendors.known(keyset, app)),
            Target::Algolia(application) => Ok(self.vendors.examine(keyset, application).await),
            Target::AwsSecret(secret) => Box::pin(aws_secret::look(self.secrets(secret)?, secret, document)).await,
        }
    }

    async fn remove(
        &self,
        keyset: &KeysetId,
        target: &Target,
        document: &Document,
        expected: Option<Digest>,
        patience: Span,
    ) -> Result<Removed, PublishError> {
        match (target, expected) {
            // What was being written when nobody had read it back yet is there all the same.
            (Target::InkeepAgents(app), _) => Ok(self.vendors.remove(keyset, app, document, patience).await),
            (Target::Algolia(application), _) => Ok(self.vendors.leave(keyset, application, document, patience).await),
            (_, None) => Ok(Removed::Nothing),
            (Target::File(file), Some(expected)) => Files.remove(file, expected).await.map(Removed::from),
            (Target::Exec(exec), Some(_)) => Err(self.programs.let_go(keyset, exec)),
            (Target::AwsSecret(secret), Some(expected)) => {
                Box::pin(aws_secret::remove(self.secrets(secret)?, &keyset.keyset, secret, expected)).await.map(Removed::from)
            }
        }
    }
}
