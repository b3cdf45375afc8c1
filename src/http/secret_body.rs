//! A body whose bytes are wiped when the last reader lets go of them.

use bytes::Bytes;

use crate::secret::SecretBytes;

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
