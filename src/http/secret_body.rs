//! A body whose bytes are wiped when the last reader lets go of them.

use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use http::StatusCode;
use http::header::{CACHE_CONTROL, CONTENT_TYPE};
use serde::Serialize;

use super::{JSON, NO_STORE};
use crate::secret::SecretBytes;
use crate::tokens::compact::LONGEST_TOKEN;

struct Wiped(SecretBytes);

impl AsRef<[u8]> for Wiped {
    fn as_ref(&self) -> &[u8] {
        self.0.expose()
    }
}

/// The secret as a body that is shared, not copied.
pub(super) fn secret_body(secret: SecretBytes) -> Bytes {
    Bytes::from_owner(Wiped(secret))
}

/// An answer with a token in it, never to be cached.
pub(super) fn secret_json(told: &impl Serialize) -> Response {
    // Room for all of it, so that no half-written copy is left behind by a growing buffer.
    let mut json = Vec::with_capacity(LONGEST_TOKEN + 1024);
    let written = serde_json::to_writer(&mut json, told);
    let status = if written.is_ok() { StatusCode::OK } else { StatusCode::INTERNAL_SERVER_ERROR };
    (status, [(CACHE_CONTROL, NO_STORE), (CONTENT_TYPE, JSON)], secret_body(SecretBytes::new(json))).into_response()
}
