//! A user token of Hyperspell: HS256 with the app's secret, about one user. With `origin` it is good for requests from there only.

use super::Shape;

pub(super) const SHAPE: Shape =
    Shape { typ: "JWT", typ_optional: false, required: &["sub", "iat"], write: |payload, told| told.registered(payload) };
