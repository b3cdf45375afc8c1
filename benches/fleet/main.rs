//! How the daemon's work scales with the number of keysets.
//!
//! `cargo bench --bench fleet -- start`: start-up and memory with ten thousand. `-- swaps`: rotating as many that are all due, beside
//! bare SQLite. Without a word: both.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::disallowed_methods,
    reason = "a bench stops at the first thing that is wrong, and measures time"
)]
#![allow(clippy::cast_precision_loss, clippy::cast_possible_truncation, clippy::print_stdout, reason = "figures for people")]

mod start;
mod swaps;
mod world;

use std::path::Path;

#[tokio::main]
async fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).filter(|argument| argument != "--bench").collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match words.as_slice() {
        ["started", directory, moment] => start::started(Path::new(directory), moment.parse().unwrap()).await,
        ["start"] => start::start().await,
        ["swaps"] => swaps::swaps().await,
        [] => {
            start::start().await;
            swaps::swaps().await;
        }
        other => panic!("{other:?} is none of: start, swaps"),
    }
}
