//! A token of an app credential of Inkeep's agents: `kid` in the header, `sub`, `iat` and `exp`, at most a day apart.

use super::Shape;

pub(super) const SHAPE: Shape =
    Shape { typ: "JWT", typ_optional: false, required: &["sub", "iat"], write: |payload, told| told.registered(payload) };
