//! The transitions of a keyset that begins or goes on with something from outside: imported keys, and back-ups put back.

use super::{Active, Draft, Legal, Retiring, StateName};
use crate::key::Key;
use crate::name::Generation;

impl Draft {
    /// A key that signs already, and that every verifier holds, becomes the active one of a keyset that has none.
    ///
    /// # Errors
    /// If there is one, or the key cannot be admitted.
    pub fn adopt_active(&mut self, key: Key) -> Legal {
        self.admit(&key)?;
        if let Some(active) = &self.document.active {
            return Err(self.wrong_state(&active.key.kid, "retiring"));
        }
        let now = self.cause.now;
        self.moved(&key.kid, None, StateName::Active);
        self.document.active = Some(Active { key, since: now, published_at: now });
        Ok(())
    }

    /// A key that signs no more, and whose tokens may be alive, is accepted for as long as they may be.
    ///
    /// # Errors
    /// If the key cannot be admitted.
    pub fn adopt_verified(&mut self, key: Key) -> Legal {
        self.admit(&key)?;
        let now = self.cause.now;
        self.moved(&key.kid, None, StateName::Retiring);
        let verify_until = now + self.promise.retention;
        // What signs is not needed of it and not kept.
        let retiring = Retiring { key: key.erased(), since: now, published_at: now, activated_at: None, verify_until };
        self.document.retiring.push(retiring);
        Ok(())
    }

    /// A back-up was put back: no generation up to `seen` is used again.
    pub fn put_back(&mut self, seen: Generation) {
        self.noted("restored");
        self.document.generation = self.document.generation.max(seen);
    }
}
