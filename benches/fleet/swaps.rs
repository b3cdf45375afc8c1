//! Rotating ten thousand ES256 keysets that are all due, beside what SQLite alone writes on the same file system.
//!
//! A rotation begins with a new key (stored, then confirmed as published: two swaps); later come the change-over, the erasure of the
//! old private half and the end of the old key (a swap each). The first round begins just before a change-over. Each swap is
//! preceded by a note in the witness's book, which waits for the disk as well. The raw rate is that of rows of the same size, in the
//! same kind of file with the same settings, in transactions of as many rows.

use std::path::Path;
use std::time::Instant;

use keyrota::keygen::KeyForge;
use keyrota::store::embedded::EmbeddedStore;
use keyrota::store::master_key::MasterKeySource;
use keyrota::witness::book::WitnessBook;
use rusqlite::{Connection, params};

use crate::world::{self, World};

const KEYSETS: usize = 10_000;
/// As in the writer of the embedded store.
const BATCH: usize = 512;
const ROUNDS: usize = 3;

/// Three rounds.
pub async fn swaps() {
    println!("{KEYSETS} ES256 keysets, all due; {ROUNDS} rounds; swaps/s of keyrota (store and witness) beside rows/s of bare SQLite");
    println!("{:32} {:>9} {:>8} {:>9} {:>8} {:>7}", "", "swaps", "swaps/s", "KiB/row", "rows/s", "ratio");
    let directory = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let (template, moment) = world::grown(2).await;
    let size = template.to_stored().expose().len();
    let store = EmbeddedStore::open(directory.path(), &MasterKeySource::Default).unwrap().environment(&world::environment());
    world::fill(&store, &template, KEYSETS).await;
    let world = World::new(store, WitnessBook::open(directory.path()).unwrap(), moment);
    let mut reconciler = world.reconciler(KEYSETS);
    let forge = KeyForge::start().unwrap();
    world.settle(&mut reconciler).await;
    for _ in 0..ROUNDS {
        // Keys are made beforehand: their speed is measured elsewhere.
        let keys = forge.generate_many(&vec![world::rules().spec; KEYSETS], moment).await;
        *world.stock.0.lock().unwrap() = keys.into_iter().map(Result::unwrap).collect();
        let mut before = world.first().unwrap();
        let mut changed_over = false;
        while !changed_over {
            world.advance(reconciler.next_deadline().unwrap());
            let began = Instant::now();
            let swaps = world.settle(&mut reconciler).await;
            let took = began.elapsed().as_secs_f64();
            let after = world.first().unwrap();
            changed_over = before.active != after.active;
            if swaps == 0 {
                continue;
            }
            let what = after.history.last().map(|entry| keyrota::event::Told(&entry.change).to_string()).unwrap();
            let what: String = what.split(' ').filter(|word| word.len() < 40).collect::<Vec<_>>().join(" ");
            let (rate, raw) = (swaps as f64 / took, raw_rate(directory.path(), size, swaps as usize));
            println!("{what:32} {swaps:>9} {rate:>8.0} {:>9.1} {raw:>8.0} {:>7.2}", size as f64 / 1024.0, rate / raw);
            before = after;
        }
    }
}

/// Rows per second.
fn raw_rate(directory: &Path, size: usize, rows: usize) -> f64 {
    let path = directory.join("raw.db");
    let mut connection = Connection::open(&path).unwrap();
    connection.pragma_update(None, "journal_mode", "WAL").unwrap();
    connection
        .execute_batch("PRAGMA synchronous = FULL; PRAGMA secure_delete = ON; CREATE TABLE raw (name TEXT PRIMARY KEY, bytes BLOB);")
        .unwrap();
    let bytes: Vec<u8> = (0..size).map(|n| (n * 7 + n / 251) as u8).collect();
    let names: Vec<_> = (0..rows).map(|n| world::name(n).to_string()).collect();
    let began = Instant::now();
    for batch in names.chunks(BATCH) {
        let transaction = connection.transaction().unwrap();
        for name in batch {
            transaction.prepare_cached("INSERT INTO raw VALUES (?1, ?2)").unwrap().execute(params![name, bytes]).unwrap();
        }
        transaction.commit().unwrap();
    }
    let rate = rows as f64 / began.elapsed().as_secs_f64();
    drop(connection);
    std::fs::remove_file(path).unwrap();
    rate
}
