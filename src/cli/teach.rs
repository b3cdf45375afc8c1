//! `keyrota completions` and `keyrota man`: from the definition that is also the help, so that they cannot disagree.

use std::io;
use std::path::Path;

use clap::CommandFactory as _;
use clap_complete::Shell;
use clap_mangen::Man;

use super::args::Cli;

/// The completions of a shell.
pub fn completions(shell: Shell) -> Vec<u8> {
    let mut out = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), "keyrota", &mut out);
    out
}

/// The manual page of the whole.
///
/// # Errors
/// None that writing to memory could make.
pub fn manual() -> io::Result<Vec<u8>> {
    let mut out = Vec::new();
    Man::new(Cli::command()).render(&mut out)?;
    Ok(out)
}

/// Writes the manual pages of the whole and of each command into a folder.
///
/// # Errors
/// If the folder is missing or cannot be written.
pub fn write_manuals(dir: &Path) -> io::Result<()> {
    clap_mangen::generate_to(Cli::command(), dir)
}
