//! Texts that must not be seen: private keys, HMAC secrets, API keys.
//!
//! Invariant: a [`SecretText`] has no `Debug`, `Display` or `Serialize`; the only way to its content is [`SecretText::expose`],
//! so every place where a secret leaves its type can be found by that name. Its memory is wiped when it is dropped.

use std::sync::Arc;

use zeroize::{Zeroize, ZeroizeOnDrop, optimization_barrier};

/// A secret that is text: PEM, base62, base64url. Clones share the one copy in memory, which is wiped when the last of them goes.
#[derive(Clone)]
pub struct SecretText(Arc<LoneSecret>);

/// The same with one holder: the copy in memory is wiped when it goes.
pub struct LoneSecret(Box<str>);

/// The whole at once: zeroize's own way goes byte by byte, which costs a token as much as half its signature. The barrier has the
/// compiler believe that somebody looks at the zeros, so it must write them.
impl Drop for LoneSecret {
    fn drop(&mut self) {
        let mut bytes = std::mem::take(&mut self.0).into_boxed_bytes();
        bytes.fill(0);
        optimization_barrier(&*bytes);
    }
}
impl ZeroizeOnDrop for LoneSecret {}

impl LoneSecret {
    /// Takes the text over. Its own buffer is wiped when it had room to spare and so had to be copied.
    pub fn new(mut text: String) -> Self {
        if text.len() == text.capacity() {
            return Self(text.into_boxed_str());
        }
        let exact = Self(Box::from(text.as_str()));
        text.zeroize();
        exact
    }

    /// The secret itself.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

/// A secret that is bytes: a serialized document, a master key.
#[derive(Clone, Zeroize, ZeroizeOnDrop)]
pub struct SecretBytes(Box<[u8]>);

impl SecretText {
    /// Takes the text over, as [`LoneSecret::new`] does.
    pub fn new(text: String) -> Self {
        LoneSecret::new(text).into()
    }

    /// The secret itself.
    pub fn expose(&self) -> &str {
        self.0.expose()
    }
}

impl From<LoneSecret> for SecretText {
    fn from(secret: LoneSecret) -> Self {
        Self(Arc::new(secret))
    }
}

impl SecretBytes {
    /// Takes the bytes over. Their own buffer is wiped when it had room to spare and so had to be copied.
    pub fn new(mut bytes: Vec<u8>) -> Self {
        if bytes.len() == bytes.capacity() {
            return Self(bytes.into_boxed_slice());
        }
        let exact = Self(Box::from(bytes.as_slice()));
        bytes.zeroize();
        exact
    }

    /// The secret itself.
    pub fn expose(&self) -> &[u8] {
        &self.0
    }
}

impl PartialEq for SecretText {
    fn eq(&self, other: &Self) -> bool {
        same_bytes(self.expose().as_bytes(), other.expose().as_bytes())
    }
}
impl Eq for SecretText {}

/// Whether two byte strings are equal, in a time that depends on their lengths only.
pub fn same_bytes(a: &[u8], b: &[u8]) -> bool {
    aws_lc_rs::constant_time::verify_slices_are_equal(a, b).is_ok()
}
