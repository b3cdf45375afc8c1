//! The `keyrota` command. Everything is in the library, so that tests and benches can reach it.

use std::process::ExitCode;

/// Documents are loaded on one thread and replaced on another: with this allocator what is freed goes back to use.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    keyrota::cli::main()
}
