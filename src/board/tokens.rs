//! What mints and verifies the tokens of a keyset: made when it is first asked for, kept for as long as neither the document nor the
//! manner changes, so that a key is parsed once for each generation and keysets that mint nothing cost nothing.

use std::sync::Arc;

use super::{Cell, Mannered, Served};
use crate::tokens::mint::{MintError, Minter};
use crate::tokens::verify::{Expected, Verifier};

/// What mints and verifies under one generation of a document and one manner.
pub struct Tokens {
    /// What mints, or why nothing does.
    pub minter: Result<Minter, MintError>,
    /// What verifies.
    pub verifier: Verifier,
    served: Arc<Served>,
    mannered: Arc<Mannered>,
}

impl Tokens {
    fn of(served: Arc<Served>, mannered: Arc<Mannered>) -> Self {
        let (document, manner) = (&served.document, &mannered.manner);
        let policy = manner.token.as_deref();
        Self {
            minter: Minter::new(document, policy, manner.token_ttl),
            verifier: Verifier::of(document, policy.map(Expected::by).unwrap_or_default()),
            served,
            mannered,
        }
    }

    fn is_of(&self, served: &Arc<Served>, mannered: &Arc<Mannered>) -> bool {
        Arc::ptr_eq(&self.served, served) && Arc::ptr_eq(&self.mannered, mannered)
    }
}

impl Cell {
    /// What mints and verifies under the document that is given out now; `None` if there is none.
    pub fn tokens(&self) -> Option<Arc<Tokens>> {
        let (served, mannered) = (self.served()?, self.manner());
        if let Some(held) = self.tokens.load_full().filter(|held| held.is_of(&served, &mannered)) {
            return Some(held);
        }
        let made = Arc::new(Tokens::of(Arc::clone(&served), mannered));
        self.tokens.store(Some(Arc::clone(&made)));
        // Meanwhile a newer document may have come, and what `serve` put away must not lie here again: it holds a private key.
        if !self.served().is_some_and(|now| Arc::ptr_eq(&now, &served)) {
            self.tokens.store(None);
        }
        Some(made)
    }
}
