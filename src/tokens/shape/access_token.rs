//! An OAuth 2.0 access token (RFC 9068 §2.2): `client_id` comes from the request or the policy's template, `jti` is made here.

use super::{MintError, Shape};
use crate::keygen;

pub(super) const SHAPE: Shape = Shape {
    typ: "at+jwt",
    typ_optional: false,
    required: &["iss", "aud", "sub", "client_id", "iat", "jti"],
    write: |payload, told| {
        let named = told.policy.claims.contains_key("client_id") || told.request.claims.contains_key("client_id");
        if !named {
            return Err(MintError::NoClientId);
        }
        told.registered(payload)?;
        payload.text("jti", &keygen::token_id()?);
        Ok(())
    },
};
