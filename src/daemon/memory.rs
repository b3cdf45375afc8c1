//! What this process has in memory is not to reach a disk: no core file, no look from another process of the same user, and no swap
//! where the limit on locked memory allows.

use rustix::mm::MlockAllFlags;
use rustix::process::{DumpableBehavior, Resource, getrlimit, set_dumpable_behavior};
use rustix::thread::{CapabilitySet, capabilities};

/// Keeps the memory of this process off the disk, and logs what could not be done.
pub fn keep_off_disk() {
    // Core handlers behind a pipe ignore RLIMIT_CORE (core(5)); this they do not.
    if let Err(error) = set_dumpable_behavior(DumpableBehavior::NotDumpable) {
        tracing::warn!("core files of this process cannot be forbidden: {error}");
    }
    match lock() {
        Ok(()) => tracing::debug!("memory is locked"),
        Err(why) => tracing::info!("memory is not locked, so it is swapped unless the service manager forbids it: {why}"),
    }
}

/// Locks what there is and what will be, page by page as it is used. Only where there is no limit: under one, it is some later
/// allocation that would fail, and the process with it.
fn lock() -> Result<(), String> {
    let privileged = capabilities(None).is_ok_and(|sets| sets.effective.contains(CapabilitySet::IPC_LOCK));
    if let (Some(limit), false) = (getrlimit(Resource::Memlock).current, privileged) {
        return Err(format!("the limit is {limit} bytes; hint: LimitMEMLOCK=infinity in the unit"));
    }
    let all = MlockAllFlags::CURRENT | MlockAllFlags::FUTURE | MlockAllFlags::ONFAULT;
    rustix::mm::mlockall(all).map_err(|error| error.to_string())
}
