//! Proof of possession (RFC 9449, DPoP): whoever uses a token proves that it holds the key for which the token was made.
//!
//! [`proof`] judges one proof by itself and against one request; [`nonce`] makes proofs fresh without a clock of the client's;
//! [`replay`] remembers those that were used; [`binding`] writes the key into tokens and reads it back. [`Guard`] is all of them in
//! the one order in which they hold together. Nothing in here reads a clock, a header or a socket: they come as values.
//!
//! There is no memory that replicas share. A proof needs a nonce of the very process that is asked, so each proof can be used at one
//! process only, and that process remembers it. A process that starts anew has another name, so it takes no proof that an earlier
//! one may have seen.
//!
//! Invariant: a [`ProvenKey`] comes from [`Guard::spend`] alone, so no token is bound to a key, and no bound token accepted, for a
//! proof that was not checked in full and remembered.

pub mod binding;
pub mod htu;
pub mod nonce;
pub mod proof;
pub mod refusal;
pub mod replay;

use std::sync::{Mutex, PoisonError};

use crate::digest::Digest;
use crate::secret::SecretBytes;
use crate::time::Timestamp;
use nonce::{Nonces, ReplicaId};
use proof::{Proof, Request, Window};
use refusal::Refusal;
use replay::ReplayMemory;

/// All that stands between a proof and its acceptance, for one process.
pub struct Guard {
    window: Window,
    nonces: Nonces,
    memory: Mutex<ReplayMemory>,
}

/// A proof that holds in everything but that it might have been used before.
#[derive(Debug)]
pub struct Checked {
    key: Digest,
    id: Digest,
    until: Timestamp,
    nonce_is_aging: bool,
}

/// The thumbprint of a key that was proven to be held by whoever made a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ProvenKey(Digest);

impl ProvenKey {
    /// The thumbprint (RFC 7638), as it stands in `cnf.jkt`.
    pub const fn jkt(&self) -> Digest {
        self.0
    }
}

impl Guard {
    /// A guard of the process called `replica`, with a secret for its nonces, that remembers at most `most` proofs at a time.
    pub fn new(secret: &SecretBytes, replica: ReplicaId, window: Window, most: usize) -> Self {
        Self { window, nonces: Nonces::new(secret, replica), memory: Mutex::new(ReplayMemory::new(most)) }
    }

    /// A nonce for the `DPoP-Nonce` header (RFC 9449 §8.1).
    pub fn nonce(&self, now: Timestamp) -> String {
        self.nonces.give(now)
    }

    /// All checks of RFC 9449 §4.3 but the last: whether the proof was used before. Nothing is remembered, so it may be asked before
    /// whoever sent the request is known, and costs one signature check at most.
    ///
    /// # Errors
    /// The first check that does not hold. The nonce is looked at last, so that nobody is sent off for one in vain.
    pub fn check(&self, headers: &[&str], request: &Request<'_>, now: Timestamp) -> Result<Checked, Refusal> {
        let proof = Proof::read(headers)?;
        proof.judge(request, self.window, now)?;
        let nonce = proof.nonce.as_deref().ok_or(Refusal::NonceMissing)?;
        let nonce_is_aging = self.nonces.judge(nonce, now)?;
        let until = self.window.end(proof.iat);
        Ok(Checked { key: proof.key, id: proof.id(), until, nonce_is_aging })
    }

    /// Accepts a proof, this once. To be asked after whoever sent the request has been authenticated by other means, where there are
    /// some: what is remembered takes room.
    ///
    /// # Errors
    /// It was used before, or there is no room to remember it.
    pub fn spend(&self, checked: &Checked, now: Timestamp) -> Result<ProvenKey, Refusal> {
        let mut memory = self.memory.lock().unwrap_or_else(PoisonError::into_inner);
        memory.remember(checked.id, checked.until, now)?;
        Ok(ProvenKey(checked.key))
    }

    /// How many proofs are remembered.
    pub fn remembered(&self) -> usize {
        self.memory.lock().unwrap_or_else(PoisonError::into_inner).len()
    }
}

impl Checked {
    /// Whether a new nonce should go with the answer, so that the client's next request need not be sent twice (RFC 9449 §8.2).
    pub const fn wants_a_nonce(&self) -> bool {
        self.nonce_is_aging
    }
}
