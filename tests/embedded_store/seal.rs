//! Rows that were damaged, copied, swapped or put back by a hand in the file.

use crate::{contract, hand_in, open};
use keyrota::name::Generation;
use keyrota::store::{Store as _, StoreError};
use keyrota::witness::{Sighting, Verdict};

fn invalid<T>(result: Result<T, StoreError>) -> String {
    match result {
        Err(StoreError::Invalid(why)) => why,
        Err(other) => panic!("{other}"),
        Ok(_) => panic!("it opened"),
    }
}

#[tokio::test]
async fn a_row_with_one_flipped_bit_does_not_open() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    contract::create(&store, "a").await;
    let database = hand_in(dir.path());
    let sealed: Vec<u8> = database.query_row("SELECT sealed FROM keyset", [], |row| row.get(0)).unwrap();
    let put = |bytes: &[u8]| database.execute("UPDATE keyset SET sealed = ?1", [bytes]).unwrap();
    for at in (0..sealed.len()).step_by(29).chain([0, 1, 17, 33, 45, 92, 93, 105, sealed.len() - 1]) {
        let mut flipped = sealed.clone();
        flipped[at] ^= 0x10;
        put(&flipped);
        let why = invalid(store.load(&contract::name("a")).await);
        assert!(why.contains("contract/a at generation 1") && why.contains("hint: "), "byte {at}: {why}");
    }
    for length in [0, 1, 50, 120, sealed.len() - 1] {
        put(&sealed[..length]);
        invalid(store.load(&contract::name("a")).await);
    }
    put(&sealed);
    assert!(store.load(&contract::name("a")).await.unwrap().is_some());
}

#[tokio::test]
async fn a_record_that_was_copied_to_another_row_does_not_open() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    contract::create(&store, "a").await;
    contract::create(&store, "b").await;
    let database = hand_in(dir.path());
    for columns in ["sealed", "write_id, sealed", "generation, write_id, sealed"] {
        let copy = format!("UPDATE keyset SET ({columns}) = (SELECT {columns} FROM keyset WHERE keyset = 'a') WHERE keyset = 'b'");
        assert_eq!(database.execute(&copy, []).unwrap(), 1);
        let why = invalid(store.load(&contract::name("b")).await);
        assert!(why.contains("contract/b") && why.contains("another place"), "{why}");
        let both = store.load_many(&[contract::name("a"), contract::name("b")]).await.unwrap();
        assert!(both[&contract::name("a")].is_ok() && both[&contract::name("b")].is_err());
    }
    database.execute_batch("UPDATE keyset SET environment = 'elsewhere' WHERE keyset = 'a'").unwrap();
    let elsewhere = open_elsewhere(dir.path());
    assert!(invalid(elsewhere.load(&contract::name("a")).await).contains("elsewhere/a"));
}

fn open_elsewhere(dir: &std::path::Path) -> keyrota::store::embedded::EnvironmentStore {
    use keyrota::store::{embedded::EmbeddedStore, master_key::MasterKeySource};
    EmbeddedStore::open(dir, &MasterKeySource::Default).unwrap().environment(&"elsewhere".parse().unwrap())
}

#[tokio::test]
async fn an_older_record_that_was_put_back_does_not_open() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    let (one, at_one) = contract::create(&store, "a").await;
    let database = hand_in(dir.path());
    database.execute_batch("CREATE TEMP TABLE old AS SELECT * FROM keyset").unwrap();
    let two = contract::next(&one, "two");
    store.swap(Some(&at_one), &two).await.unwrap();
    let put_back = |columns: &str| {
        database.execute(&format!("UPDATE main.keyset SET ({columns}) = (SELECT {columns} FROM temp.old)"), []).unwrap();
    };
    for columns in ["sealed", "generation, sealed"] {
        put_back(columns);
        assert!(invalid(store.load(&contract::name("a")).await).contains("another place or generation"));
    }
    // The whole row put back is a lawful row again, which no seal can tell; the witness can.
    put_back("generation, change, write_id, sealed");
    let back = store.load(&contract::name("a")).await.unwrap().unwrap().document;
    let seen = Sighting::new(two.generation, two.digest());
    assert_eq!(
        Verdict::on(Some(&seen), Some(&back), || Some(back.digest())),
        Verdict::WentBack { seen: Generation(2), found: Generation(1) }
    );
}

#[tokio::test]
async fn a_record_of_another_store_does_not_open_under_the_same_key() {
    let (here, there) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let store = open(here.path());
    contract::create(&store, "a").await;
    std::fs::copy(here.path().join("master.key"), there.path().join("master.key")).unwrap();
    let other = open(there.path());
    contract::create(&other, "a").await;
    let database = hand_in(here.path());
    database.execute("ATTACH ?1 AS there", [there.path().join("keysets.db").to_str().unwrap()]).unwrap();
    let columns = "generation, write_id, sealed";
    database.execute(&format!("UPDATE main.keyset SET ({columns}) = (SELECT {columns} FROM there.keyset)"), []).unwrap();
    assert!(invalid(store.load(&contract::name("a")).await).contains("another place"));
}

#[tokio::test]
async fn a_damaged_page_is_told_and_hides_nothing_else() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    // Records that reach beyond a page, so that each has pages of its own.
    for n in 0..20 {
        let large = contract::first(&format!("k{n}"), &"s".repeat(6000));
        store.swap(None, &large).await.unwrap();
    }
    drop(store);
    let path = dir.path().join("keysets.db");
    let mut bytes = std::fs::read(&path).unwrap();
    let pages = bytes.len() / 4096;
    // The last page belongs to the last record.
    bytes[(pages - 1) * 4096..].fill(0xA5);
    std::fs::write(&path, bytes).unwrap();
    let store = open(dir.path());
    let names: Vec<_> = (0..20).map(|n| contract::name(&format!("k{n}"))).collect();
    let answers = store.load_many(&names).await.unwrap();
    let bad: Vec<_> = answers.iter().filter(|(_, answer)| answer.is_err()).collect();
    assert_eq!((answers.len(), bad.len()), (20, 1), "{bad:?}");
    invalid(store.load(bad[0].0).await);
}
