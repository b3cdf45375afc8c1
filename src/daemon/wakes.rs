//! Wakes by the clock on the wall: one cron job per environment, from its `reconcile:` field.
//!
//! The scheduler only wakes. It skips what it missed while it was down and fixes the UTC offset when a job is made, so it is never
//! the authority on what is due: state decides that, at every pass, whatever woke it.

use std::sync::Arc;

use anyhow::Context as _;
use tokio::sync::Notify;
use tokio_cron_scheduler::{Job, JobScheduler};
use uuid::Uuid;

/// The scheduler.
pub struct Wakes(JobScheduler);

impl Wakes {
    /// Starts it.
    pub async fn start() -> anyhow::Result<Self> {
        let scheduler = JobScheduler::new().await.context("cannot make the scheduler")?;
        scheduler.start().await.context("cannot start the scheduler")?;
        Ok(Self(scheduler))
    }

    /// Notifies `wake` whenever `cron` matches, in UTC.
    pub async fn add(&self, cron: &str, wake: Arc<Notify>) -> anyhow::Result<Uuid> {
        let job = Job::new(cron, move |_, _| wake.notify_one()).with_context(|| format!("the scheduler refuses `{cron}`"))?;
        Ok(self.0.add(job).await?)
    }

    /// Ends a job.
    pub async fn remove(&self, job: Uuid) {
        if let Err(error) = self.0.remove(&job).await {
            tracing::warn!("a wake of a policy that is no longer in force goes on: {error}");
        }
    }
}
