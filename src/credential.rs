//! Secrets that are somebody else's: what a webhook's receiver or a vendor's API gave this daemon to prove itself with.
//!
//! They stand in a file or in a systemd credential, are read anew for each use, so that they can be replaced without a reload, and
//! go nowhere but into the request that they are for.

use std::path::PathBuf;

use crate::policy::SecretPlace;
use crate::secret::SecretText;

/// Why a secret cannot be read. Each is a sentence that goes on from what it is for.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CredentialError {
    /// It is not there, or not for us.
    #[error("its secret {} cannot be read: {why}; hint: keyrota's user must be able to", path.display())]
    Unreadable {
        /// Where it should stand.
        path: PathBuf,
        /// Why not.
        why: String,
    },
    /// There are no credentials.
    #[error("there are no systemd credentials; hint: LoadCredential={0}:… in the unit, or `{{file: …}}` in the policy")]
    NoCredentials(String),
}

/// Where it stands on this host.
///
/// # Errors
/// [`CredentialError::NoCredentials`]: the service manager handed over none.
pub fn path_of(place: &SecretPlace) -> Result<PathBuf, CredentialError> {
    match place {
        SecretPlace::File(path) => Ok(path.clone()),
        SecretPlace::Credential(name) => {
            let folder = std::env::var_os("CREDENTIALS_DIRECTORY").ok_or_else(|| CredentialError::NoCredentials(name.clone()))?;
            Ok(PathBuf::from(folder).join(name))
        }
    }
}

/// What stands there now.
///
/// # Errors
/// If it cannot be read.
pub async fn read(place: &SecretPlace) -> Result<SecretText, CredentialError> {
    let path = path_of(place)?;
    let read = tokio::fs::read_to_string(&path).await;
    read.map(SecretText::new).map_err(|e| CredentialError::Unreadable { path, why: e.to_string() })
}
