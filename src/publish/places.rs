//! Every kind of place behind the one port.

use super::{Brought, Files, Handing, Programs, PublishError, ReadBack, Targets, aws_secret};
use crate::digest::Digest;
use crate::document::Document;
use crate::name::KeysetId;
use crate::policy::{AwsSecretTarget, Target};
use crate::store::aws::AwsStore;
use crate::store::aws::calls::Calls;
use crate::store::aws::pace::{MachineTime, Time};

/// The places that one environment writes: files, programs, and secrets beside the keysets' own.
pub struct Places<C, T = MachineTime> {
    programs: Programs,
    /// Where the documents are, if they are in AWS Secrets Manager.
    secrets: Option<AwsStore<C, T>>,
}

impl<C: Calls, T: Time> Places<C, T> {
    /// Secrets are those of `secrets`' account; programs are run by `programs`.
    pub fn new(programs: Programs, secrets: Option<AwsStore<C, T>>) -> Self {
        Self { programs, secrets }
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
            Target::AwsSecret(secret) => Box::pin(aws_secret::bring(self.secrets(secret)?, secret, document, expected)).await,
        }
    }

    async fn look(&self, keyset: &KeysetId, target: &Target, document: &Document) -> Result<ReadBack, PublishError> {
        match target {
            Target::File(file) => Files.look(file, document).await,
            Target::Exec(exec) => Ok(self.programs.known(keyset, exec)),
            Target::AwsSecret(secret) => Box::pin(aws_secret::look(self.secrets(secret)?, secret, document)).await,
        }
    }

    async fn remove(&self, keyset: &KeysetId, target: &Target, expected: Digest) -> Result<bool, PublishError> {
        match target {
            Target::File(file) => Files.remove(file, expected).await,
            Target::Exec(exec) => Err(self.programs.let_go(keyset, exec)),
            Target::AwsSecret(secret) => Box::pin(aws_secret::remove(self.secrets(secret)?, &keyset.keyset, secret, expected)).await,
        }
    }
}
