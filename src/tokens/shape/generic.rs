//! A plain JWT (RFC 7519): `sub`, `iat`, `exp`, and `iss` and `aud` where the policy states them.

use super::Shape;

pub(super) const SHAPE: Shape =
    Shape { typ: "JWT", typ_optional: true, required: &["sub", "iat"], write: |payload, told| told.registered(payload) };
