//! Removing a secret: its deletion is scheduled, and until then it can be restored.
//!
//! `DeleteSecret` has no condition, so between the look before it and the call another writer may change the document: that change is
//! scheduled for deletion too, and `restore-secret` brings it back. A keyset is removed when nobody changes it any more.
//!
//! The daemon's role need not be allowed to delete. If it is not, the sentence names the command for somebody who is.

use super::calls::{CURRENT, CallFault, Calls, VersionId};
use super::pace::Time;
use super::{Inner, unread};
use crate::document::Document;
use crate::key::KeyClass;
use crate::name::KeysetName;
use crate::store::{StoreError, SwapError};
use crate::time::Span;

/// The recovery windows that the service knows, in days.
const WINDOWS: std::ops::RangeInclusive<u64> = 7..=30;

impl<C: Calls, T: Time> Inner<C, T> {
    pub(super) async fn schedule_deletion(&self, keyset: &KeysetName, expected: &VersionId, recovery: Span) -> Result<(), SwapError> {
        let name = self.secret_name(keyset);
        let days = recovery.whole_seconds() / 86_400;
        if !WINDOWS.contains(&days) || recovery != Span::days(days) {
            let what = format!("a recovery window of {recovery} is none of {} to {} whole days", WINDOWS.start(), WINDOWS.end());
            return Err(SwapError::Invalid(format!("keyset {}: {what}; hint: --recovery-window 30d", self.id(keyset))));
        }
        let described = match self.calls.describe(&name).await {
            Ok(described) => described,
            Err(error) if error.fault == CallFault::NotFound => return Err(SwapError::Conflict),
            Err(error) => return Err(unremoved(unread(error))),
        };
        if described.deleted_at.is_some() || described.holder(CURRENT) != Some(expected) {
            return Err(SwapError::Conflict);
        }
        self.must_be_ours(&Document::empty(self.id(keyset), KeyClass::Asymmetric), &described)?;
        self.write_allowed().await;
        let answer = self.calls.delete(&name, recovery).await;
        if let Err(error) = answer {
            // Whatever the answer was, what counts is whether the secret is scheduled now.
            let scheduled = self.calls.describe(&name).await.is_ok_and(|described| described.deleted_at.is_some());
            if !scheduled {
                return Err(match error.fault {
                    CallFault::Denied => SwapError::Invalid(self.not_allowed_to_delete(keyset, &error.sentence, days)),
                    CallFault::NotFound => SwapError::Conflict,
                    fault if fault.may_have_worked() => SwapError::Indeterminate(error.sentence),
                    _ => unremoved(unread(error)),
                });
            }
        }
        self.marks().removed(keyset, &described.arn, self.time.boot());
        Ok(())
    }

    fn not_allowed_to_delete(&self, keyset: &KeysetName, sentence: &str, days: u64) -> String {
        let (id, name) = (self.id(keyset), self.secret_name(keyset));
        let (what, _) = sentence.split_once("; hint: ").unwrap_or((sentence, ""));
        format!(
            "keyset {id}: {what}; hint: somebody who may types `aws secretsmanager delete-secret --secret-id {name} \
             --recovery-window-in-days {days}`, then `keyrota accept {id}`; or allow secretsmanager:DeleteSecret on it (docs/aws.md)"
        )
    }
}

fn unremoved(error: StoreError) -> SwapError {
    match error {
        StoreError::Unavailable(what) => SwapError::Unavailable(what),
        StoreError::Invalid(what) => SwapError::Invalid(what),
    }
}
