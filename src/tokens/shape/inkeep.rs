//! A user token of Inkeep's search and chat: about an integration, and about a user where one is named. `filters` and
//! `userAttributes` come from the request or the policy's template.

use super::Shape;
use crate::policy::Profile;

pub(super) const SHAPE: Shape = Shape {
    typ: "JWT",
    typ_optional: false,
    required: &["iss", "aud", "integrationId"],
    write: |payload, told| {
        told.issuer(payload);
        told.audience(payload);
        if let Profile::Inkeep { integration_id } = &told.policy.profile {
            payload.text("integrationId", integration_id);
        }
        if let Some(subject) = &told.request.subject {
            payload.text("sub", subject);
        }
        told.times(payload);
        Ok(())
    },
};
