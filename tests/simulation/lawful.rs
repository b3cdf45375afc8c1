//! What excuses a rejected token, and what does not: revocations, and keys that had to take over before verifiers could know them.

use keyrota::name::Kid;
use keyrota::time::Span;

use crate::outside::lock;
use crate::world::World;

impl World {
    /// What was revoked is rejected lawfully, and is served and handed out by nobody who knows of it; and what an operator was told
    /// would go is gone.
    pub fn heed_revocations(&mut self) -> Result<(), String> {
        let outside = lock(&self.shared);
        let (revoked, buried) = (outside.revoked.clone(), outside.buried.clone());
        let spared = outside.current().0.and_then(|d| buried.iter().find(|kid| d.live_key(kid).is_some()).cloned());
        let now = outside.now;
        drop(outside);
        if let Some(kid) = spared.filter(|_| !self.put_back) {
            return Err(format!("at {now} {kid} lives, and an operator was told that it would go"));
        }
        for (kid, revision) in &revoked {
            self.exposure.revoke(kid);
            for daemon in self.daemons.iter().filter(|d| d.is_ready(&self.shared) && !self.put_back) {
                let knows = daemon.process.as_ref().is_some_and(|p| p.is_idle() && p.has_seen(*revision));
                if knows && (daemon.key_set().contains(kid) || daemon.active_kid().as_ref() == Some(kid)) {
                    return Err(format!("at {now} {kid} is revoked, and a daemon that knows it still gives it out"));
                }
            }
        }
        Ok(())
    }

    pub fn excuse_emergencies(&mut self) {
        let outside = lock(&self.shared);
        let fresh: Vec<Kid> = outside.emergencies[self.excused..].to_vec();
        self.excused = outside.emergencies.len();
        // Longer than any outage that keeps verifiers from fetching it.
        let until = outside.now + self.wish.verifier_refresh + self.wish.cache_max_age + self.wish.verifier_retry + Span::days(2);
        for kid in fresh {
            self.exposure.excuse(&kid, until);
        }
    }
}
