//! What the exit status of every command means.

use std::process::ExitCode;

/// How a command ended. Scripts may rely on the numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Exit {
    /// It did what it was asked to do.
    Done = 0,
    /// It could not: a fault in a policy, no daemon, a file that cannot be read.
    Error = 1,
    /// The command line itself was wrong.
    Usage = 2,
    /// `status`, `doctor` or `audit verify` found something overdue or broken.
    Broken = 3,
    /// What was asked for is refused as unsafe: it would break a promise to signers or verifiers, or go against a freeze.
    Refused = 4,
    /// `run` found policies or settings that no restart will mend (`EX_CONFIG` of sysexits.h: systemd's `RestartPreventExitStatus`).
    Config = 78,
}

/// The same for `--help` and the manual.
pub const EXIT_HELP: &str = "Exit status:
   0  done
   1  error: a fault in a policy, no daemon, an unreadable file
   2  the command line was wrong
   3  status, doctor, audit verify: something is overdue or broken
   4  refused as unsafe: it would break a promise to signers or verifiers
  78  run: policies or settings that no restart will mend";

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_status_is_in_the_help() {
        for exit in [Exit::Done, Exit::Error, Exit::Usage, Exit::Broken, Exit::Refused, Exit::Config] {
            let number = format!("{:>4}  ", exit as u8);
            assert!(EXIT_HELP.lines().any(|line| line.starts_with(&number)), "{number:?}");
        }
    }
}
