//! What an Amigo client gets for its API key: a JWT about one user. The SDK reads when it ends from the answer, not from the token.

use super::Shape;

pub(super) const SHAPE: Shape =
    Shape { typ: "JWT", typ_optional: false, required: &["sub", "iat"], write: |payload, told| told.registered(payload) };
