//! Disks that are full, and disks that cannot be written.

use crate::{child_with_mounts, contract, open, refused};
use keyrota::store::master_key::MasterKeySource;
use keyrota::store::{Store as _, SwapError};
use keyrota::witness::book::WitnessBook;
use std::fs;
use std::path::Path;

fn runs(mut child: std::process::Command) {
    let output = child.output().expect("unshare, of util-linux, is installed");
    let text = [output.stdout, output.stderr].concat();
    let text = String::from_utf8_lossy(&text);
    assert!(output.status.success() && text.contains("the task is done"), "{text}");
}

#[test]
fn a_full_disk_loses_nothing() {
    let dir = tempfile::tempdir().unwrap();
    runs(child_with_mounts("fill", dir.path(), "mount -t tmpfs -o size=1m,mode=700 tmpfs \"$KEYROTA_TEST_PLACE\""));
}

#[test]
fn a_read_only_disk_is_told_and_changes_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let fresh = tempfile::tempdir().unwrap();
    drop(open(dir.path()));
    let before = fs::read(dir.path().join("keysets.db")).unwrap();
    let mount = "mount --bind \"$KEYROTA_TEST_PLACE\" \"$KEYROTA_TEST_PLACE\" && mount -o remount,bind,ro \"$KEYROTA_TEST_PLACE\"";
    runs(child_with_mounts("read-only", dir.path(), mount));
    runs(child_with_mounts("read-only", fresh.path(), mount));
    assert!(fs::read(dir.path().join("keysets.db")).unwrap() == before);
    assert_eq!(fs::read_dir(fresh.path()).unwrap().count(), 0);
    drop(open(dir.path()));
}

/// In a child whose state directory is a disk of one mebibyte.
#[tokio::main(flavor = "current_thread")]
pub async fn fill(dir: &Path) {
    let store = open(dir);
    let (small, mut at_small) = contract::create(&store, "small").await;
    let mut stored = Vec::new();
    let refusal = loop {
        assert!(stored.len() < 100, "a disk of one mebibyte is full by now");
        let document = contract::first(&format!("k{}", stored.len()), &"s".repeat(30_000));
        match store.swap(None, &document).await {
            Ok(revision) => stored.push((document, revision)),
            Err(error) => break error,
        }
    };
    let told = refusal.to_string();
    assert!(matches!(refusal, SwapError::Unavailable(_)) && told.contains("disk is full") && told.contains("hint: "), "{told}");
    assert!(stored.len() > 5);
    // What was acknowledged is there, what was not is not, here and after a new start.
    for store in [store.clone(), open(dir)] {
        for (document, revision) in &stored {
            let loaded = store.load(&document.id.keyset).await.unwrap().unwrap();
            assert!(loaded.document == *document && loaded.revision == *revision);
        }
        assert!(store.load(&contract::name(&format!("k{}", stored.len()))).await.unwrap().is_none());
    }
    // When there is room again, it goes on.
    grow(dir);
    at_small = store.swap(Some(&at_small), &contract::next(&small, "after the disk was full")).await.unwrap();
    assert!(store.load(&contract::name("small")).await.unwrap().is_some_and(|l| l.revision == at_small));
    println!("the task is done");
}

fn grow(dir: &Path) {
    let grown = std::process::Command::new("mount").args(["-o", "remount,size=8m"]).arg(dir).status().unwrap();
    assert!(grown.success());
}

/// In a child whose state directory cannot be written.
pub fn find_read_only(dir: &Path) {
    let told = refused(dir, &MasterKeySource::Default).to_string();
    assert!(told.contains("ead-only") || told.contains("cannot be written") || told.contains("opened for writing"), "{told}");
    let told = WitnessBook::open(dir).map(|_| ()).unwrap_err().to_string();
    assert!(told.contains("hint: "), "{told}");
    println!("the task is done");
}
