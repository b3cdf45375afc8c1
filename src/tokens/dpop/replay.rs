//! The memory of proofs that were used (RFC 9449 §11.1): bounded, and nothing alive is ever forgotten to make room.
//!
//! What is forgotten could no longer be accepted: each proof is kept until its time window is over, and never one is taken whose
//! window was over at the latest time that was ever seen, so setting the clock back brings no used proof to life.

use std::collections::BTreeSet;

use super::refusal::Refusal;
use crate::digest::Digest;
use crate::time::{Span, Timestamp};

/// How many proofs a process remembers at a time: with a window of a minute and a half, about 700 requests a second. Some 10 MiB.
pub const MOST: usize = 65_536;

/// Which proofs were used.
pub struct ReplayMemory {
    most: usize,
    latest: Timestamp,
    used: BTreeSet<Digest>,
    ends: BTreeSet<(Timestamp, Digest)>,
}

impl ReplayMemory {
    /// A memory for at most so many at a time.
    pub const fn new(most: usize) -> Self {
        Self { most, latest: Timestamp::EPOCH, used: BTreeSet::new(), ends: BTreeSet::new() }
    }

    /// Remembers that a proof is used now, until it would not be accepted any more.
    ///
    /// # Errors
    /// It was used before, its time is over, or there is no room: then it counts as not used.
    pub fn remember(&mut self, proof: Digest, until: Timestamp, now: Timestamp) -> Result<(), Refusal> {
        self.latest = self.latest.max(now);
        self.forget_the_dead();
        if until <= self.latest {
            return Err(Refusal::TooOld(self.latest.since(until)));
        }
        if self.used.contains(&proof) {
            return Err(Refusal::Replayed);
        }
        if self.used.len() >= self.most {
            let room = self.ends.first().map_or(Span::ZERO, |(end, _)| end.since(now));
            return Err(Refusal::Full(room.max(Span::seconds(1))));
        }
        self.used.insert(proof);
        self.ends.insert((until, proof));
        Ok(())
    }

    /// How many are remembered.
    pub fn len(&self) -> usize {
        self.used.len()
    }

    /// Whether none is.
    pub fn is_empty(&self) -> bool {
        self.used.is_empty()
    }

    fn forget_the_dead(&mut self) {
        while let Some((_, proof)) = self.ends.first().copied().filter(|(end, _)| *end <= self.latest) {
            self.ends.pop_first();
            self.used.remove(&proof);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    fn at(seconds: u64) -> Timestamp {
        Timestamp::EPOCH + Span::seconds(1_000_000 + seconds)
    }

    fn proof(n: u64) -> Digest {
        Digest::of(&n.to_be_bytes())
    }

    #[test]
    fn a_proof_is_taken_once() {
        let mut memory = ReplayMemory::new(10);
        assert_eq!(memory.remember(proof(1), at(60), at(0)), Ok(()));
        assert_eq!(memory.remember(proof(1), at(60), at(0)), Err(Refusal::Replayed));
        assert_eq!(memory.remember(proof(1), at(60), at(59)), Err(Refusal::Replayed));
        assert_eq!(memory.remember(proof(1), at(60), at(60)), Err(Refusal::TooOld(Span::ZERO)));
        assert_eq!(memory.len(), 0, "what cannot be used again is not kept");
        assert_eq!(memory.remember(proof(2), at(120), at(60)), Ok(()));
    }

    #[test]
    fn a_full_memory_refuses_and_says_when_there_is_room() {
        let mut memory = ReplayMemory::new(2);
        assert_eq!(memory.remember(proof(1), at(40), at(0)), Ok(()));
        assert_eq!(memory.remember(proof(2), at(30), at(0)), Ok(()));
        assert_eq!(memory.remember(proof(3), at(90), at(10)), Err(Refusal::Full(Span::seconds(20))));
        assert_eq!(memory.remember(proof(1), at(40), at(10)), Err(Refusal::Replayed), "nothing alive was forgotten");
        assert_eq!(memory.remember(proof(3), at(90), at(30)), Ok(()), "refused for want of room is not used");
        assert_eq!(memory.remember(proof(1), at(40), at(39)), Err(Refusal::Replayed));
    }

    #[test]
    fn a_clock_that_is_set_back_brings_nothing_to_life() {
        let mut memory = ReplayMemory::new(10);
        assert_eq!(memory.remember(proof(1), at(60), at(0)), Ok(()));
        assert_eq!(memory.remember(proof(2), at(160), at(100)), Ok(()));
        assert!(matches!(memory.remember(proof(1), at(60), at(0)), Err(Refusal::TooOld(_))));
    }

    proptest! {
        /// Whatever the order, the clock and the room: no proof is taken twice, and never more than the most are kept.
        #[test]
        fn never_twice(asked in prop::collection::vec((0u64..20, 0u64..200), 1..200), most in 1usize..12) {
            let mut memory = ReplayMemory::new(most);
            let mut taken = BTreeMap::new();
            for (n, now) in asked {
                // Each proof has one window, as its own `iat` says.
                if memory.remember(proof(n), at(n * 10), at(now)).is_ok() {
                    prop_assert_eq!(taken.insert(n, now), None, "proof {} twice", n);
                }
                prop_assert!(memory.len() <= most && memory.ends.len() == memory.used.len());
            }
        }
    }
}
