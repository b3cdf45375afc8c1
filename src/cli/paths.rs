//! Where things are when no flag says so: systemd's directories if it gave us any, else the usual places.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};

/// The policies, where `--policies` does not say.
pub const POLICIES: &str = "/etc/keyrota/policies";
/// The store and what belongs to it, where neither `--state-dir` nor systemd says.
pub const STATE_DIR: &str = "/var/lib/keyrota";
/// The sockets, where neither `--runtime-dir` nor systemd says.
pub const RUNTIME_DIR: &str = "/run/keyrota";
/// The name of the socket for operators, in the runtime directory.
pub const CONTROL_SOCKET: &str = "control.sock";
/// The name of the socket for signers, in the runtime directory.
pub const SIGNER_SOCKET: &str = "signer.sock";
/// The name of the credential with the master key, in systemd's credentials directory.
pub const MASTER_KEY_CREDENTIAL: &str = "keyrota.master-key";

/// The flag if it was given, else systemd's directory, else the usual place.
pub fn choose(flag: Option<&Path>, variable: &str, usual: &str) -> PathBuf {
    let systemd = std::env::var_os(variable);
    flag.map(Path::to_owned).or_else(|| first(systemd.as_deref()?)).unwrap_or_else(|| usual.into())
}

/// The file with the master key that systemd handed over, if it did.
pub fn master_key_credential() -> Option<PathBuf> {
    let directory = std::env::var_os("CREDENTIALS_DIRECTORY").filter(|d| !d.is_empty())?;
    Some(Path::new(&directory).join(MASTER_KEY_CREDENTIAL)).filter(|file| file.exists())
}

/// systemd gives several directories with colons between them; the first is ours.
fn first(directories: &OsStr) -> Option<PathBuf> {
    use std::os::unix::ffi::OsStrExt as _;
    let first = directories.as_bytes().split(|b| *b == b':').next()?;
    (!first.is_empty()).then(|| PathBuf::from(OsStr::from_bytes(first)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flag_wins_and_the_usual_place_is_last() {
        assert_eq!(choose(Some(Path::new("/x")), "KEYROTA_NO_SUCH_VARIABLE", STATE_DIR), Path::new("/x"));
        assert_eq!(choose(None, "KEYROTA_NO_SUCH_VARIABLE", STATE_DIR), Path::new(STATE_DIR));
    }

    #[test]
    fn the_first_of_several_directories_is_ours() {
        assert_eq!(first(OsStr::new("/var/lib/keyrota:/var/lib/other")), Some("/var/lib/keyrota".into()));
        assert_eq!(first(OsStr::new("")), None);
    }
}
