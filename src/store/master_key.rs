//! The master key of the embedded store: where it comes from, in which forms it is accepted, and when one is made.
//!
//! Invariant: a key is made only beside a store that holds nothing, and never overwrites a file. Nothing in here reads the
//! environment of the process: paths are handed in.

use std::fmt;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use aws_lc_rs::aead::{AES_256_GCM, RandomizedNonceKey};
use aws_lc_rs::{hkdf, hmac, rand};
use base64::Engine as _;
use base64::alphabet;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use zeroize::Zeroizing;

use crate::digest::Digest;
use crate::sqlite::file::{self, FileError};

/// The name of the systemd credential (systemd.exec(5), `ImportCredential=keyrota.*`).
pub const CREDENTIAL_NAME: &str = "keyrota.master-key";

/// The name of the file in the state directory, where keyrota makes the key itself.
pub const FILE_NAME: &str = "master.key";

/// The length of the key in bytes.
const LENGTH: usize = 32;

/// The most that is read of a file that should hold a key.
const LARGEST_FILE: u64 = 1024;

/// Where the master key is to come from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum MasterKeySource {
    /// The systemd credential [`CREDENTIAL_NAME`] in this directory (`$CREDENTIALS_DIRECTORY`).
    Credential(PathBuf),
    /// This file: mode 0600 or 0400, no symbolic link.
    File(PathBuf),
    /// [`FILE_NAME`] in the state directory, which is made if the store holds nothing.
    Default,
}

/// Names a master key without telling about it: the first 128 bits of a digest of its own kind.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct MasterKeyId(pub [u8; 16]);

/// A master key, ready to wrap and unwrap data keys.
pub struct MasterKey {
    id: MasterKeyId,
    wrapping: RandomizedNonceKey,
    /// What keys for other purposes are derived from (RFC 5869).
    root: hkdf::Prk,
}

/// A master key with where it was found.
#[derive(Debug)]
pub struct FoundKey {
    /// The key.
    pub key: MasterKey,
    /// The file that holds it.
    pub path: PathBuf,
    /// Whether it has been made just now.
    pub created: bool,
}

/// Why there is no master key.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MasterKeyError {
    /// The file is not fit to hold it, or cannot be read.
    #[error("the master key: {0}")]
    File(#[from] FileError),
    /// A named source that is not there.
    #[error("there is no master key at {path}; hint: {hint}")]
    Missing {
        /// Where it should be.
        path: PathBuf,
        /// What to do.
        hint: &'static str,
    },
    /// A store with content, and no key beside it.
    #[error(
        "the store in {state_dir} holds keysets, and its master key {FILE_NAME} is not there; hint: put the key back from where it is \
         kept, or give it with --master-key-file; without it the keysets cannot be read by anybody, and no other key is made"
    )]
    LostBesideStore {
        /// Where the store is.
        state_dir: PathBuf,
    },
    /// A file that holds no key.
    #[error(
        "{path} holds {found}, and a master key is 32 random bytes, raw, as 64 hex digits or in base64; hint: make one with `openssl rand -hex 32`"
    )]
    NotAKey {
        /// Which file.
        path: PathBuf,
        /// What it holds, without quoting it.
        found: String,
    },
}

impl MasterKeySource {
    /// The source that holds, by what the shell was given: a named file, else the systemd credential if that is there, else the
    /// state directory.
    pub fn choose(named_file: Option<PathBuf>, credentials_directory: Option<&Path>) -> Self {
        match (named_file, credentials_directory) {
            (Some(path), _) => Self::File(path),
            (None, Some(directory)) if directory.join(CREDENTIAL_NAME).exists() => Self::Credential(directory.to_owned()),
            (None, _) => Self::Default,
        }
    }

    /// Finds the key, or makes it if this source allows and the store holds nothing.
    ///
    /// # Errors
    /// If it is not there, cannot be read, can be read by others, or is no key.
    pub fn find(&self, state_dir: &Path, store_is_empty: bool) -> Result<FoundKey, MasterKeyError> {
        let missing = |path: &Path, hint| MasterKeyError::Missing { path: path.to_owned(), hint };
        match self {
            Self::Credential(directory) => {
                let path = directory.join(CREDENTIAL_NAME);
                let hint = "ImportCredential= or LoadCredentialEncrypted= in the unit gives it, see docs/systemd.md";
                let key = read(&path, Privacy::BySystemd)?.ok_or_else(|| missing(&path, hint))?;
                Ok(FoundKey { key, path, created: false })
            }
            Self::File(path) => {
                let key = read(path, Privacy::ByMode)?;
                let key = key.ok_or_else(|| missing(path, "make it with `(umask 077; openssl rand -hex 32 > FILE)`, and keep a copy"))?;
                Ok(FoundKey { key, path: path.clone(), created: false })
            }
            Self::Default => {
                let path = state_dir.join(FILE_NAME);
                let _alone = file::alone_in(state_dir)?;
                let draft = path.with_extension("key.draft");
                remove(&draft)?; // of a process that was killed while it made one
                if let Some(key) = read(&path, Privacy::ByMode)? {
                    return Ok(FoundKey { key, path, created: false });
                }
                if !store_is_empty {
                    return Err(MasterKeyError::LostBesideStore { state_dir: state_dir.to_owned() });
                }
                let created = create(&draft, &path)?;
                // Whoever was first to make it: it is this one from now on.
                let key = read(&path, Privacy::ByMode)?.ok_or_else(|| missing(&path, "it was removed just now: start again"))?;
                Ok(FoundKey { key, path, created })
            }
        }
    }
}

impl MasterKey {
    /// A key of 32 bytes; `None` for another length.
    pub fn new(bytes: &[u8]) -> Option<Self> {
        let wrapping = RandomizedNonceKey::new(&AES_256_GCM, bytes).ok()?;
        let mut named = Zeroizing::new(b"keyrota master key id 1".to_vec());
        named.reserve_exact(bytes.len());
        named.extend_from_slice(bytes);
        let mut id = [0; 16];
        id.copy_from_slice(&Digest::of(&named).as_bytes()[..16]);
        let root = hkdf::Salt::new(hkdf::HKDF_SHA256, b"keyrota derived keys 1").extract(bytes);
        Some(Self { id: MasterKeyId(id), wrapping, root })
    }

    /// A key for message authentication, of its own for each purpose (HKDF, RFC 5869): it tells nothing about the master key or about
    /// those of other purposes. `None` if the back end fails.
    pub fn authentication_key(&self, purpose: &'static str) -> Option<hmac::Key> {
        let info = [purpose.as_bytes()];
        self.root.expand(&info, hmac::HMAC_SHA256).ok().map(hmac::Key::from)
    }

    /// Its name.
    pub const fn id(&self) -> MasterKeyId {
        self.id
    }

    /// What data keys are wrapped with.
    pub(super) const fn wrapping(&self) -> &RandomizedNonceKey {
        &self.wrapping
    }
}

impl fmt::Display for MasterKeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().take(8).try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for MasterKeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Shows its id only.
impl fmt::Debug for MasterKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "master key {}", self.id)
    }
}

/// Who sees to it that others cannot read the file.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Privacy {
    /// Owner and mode of the file.
    ByMode,
    /// The credential directory, which systemd mounts for the service alone; an access list there makes modes look wider.
    BySystemd,
}

/// The key in that file; `None` if there is no such file.
fn read(path: &Path, privacy: Privacy) -> Result<Option<MasterKey>, MasterKeyError> {
    let flags = i32::try_from(rustix::fs::OFlags::NONBLOCK.bits()).unwrap_or(0);
    let found = match fs::symlink_metadata(path) {
        Ok(found) => found,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(file::system("look at", path)(error).into()),
    };
    if privacy == Privacy::ByMode {
        file::check_private(path, &found)?;
    }
    let opened = OpenOptions::new().read(true).custom_flags(flags).open(path).map_err(file::system("open", path))?;
    if privacy == Privacy::ByMode {
        // Judged again by what was opened, in case the name was changed in between.
        file::check_private(path, &opened.metadata().map_err(file::system("look at", path))?)?;
    }
    let mut content = Zeroizing::new(Vec::with_capacity(2048));
    opened.take(LARGEST_FILE + 1).read_to_end(&mut content).map_err(file::system("read", path))?;
    let key = decode(&content).and_then(|bytes| MasterKey::new(bytes.as_ref()).ok_or_else(|| "no key".to_owned()));
    key.map(Some).map_err(|found| MasterKeyError::NotAKey { path: path.to_owned(), found })
}

/// The 32 bytes behind one of the accepted forms, or what the content is instead.
fn decode(content: &[u8]) -> Result<Zeroizing<[u8; LENGTH]>, String> {
    let text = content.trim_ascii();
    let key = if let Ok(raw) = <[u8; LENGTH]>::try_from(content) {
        if raw.iter().all(|b| b.is_ascii_graphic() || *b == b' ') {
            return Err("32 printable characters, which look like a passphrase".to_owned());
        }
        Zeroizing::new(raw)
    } else if text.len() == 2 * LENGTH && text.iter().all(u8::is_ascii_hexdigit) {
        from_hex(text)
    } else {
        from_base64(text).ok_or_else(|| match content.len() as u64 {
            0 => "nothing".to_owned(),
            length if length > LARGEST_FILE => format!("more than {LARGEST_FILE} bytes"),
            length => format!("{length} bytes that are none of these"),
        })?
    };
    if key.iter().all(|b| *b == key[0]) {
        return Err("32 equal bytes".to_owned());
    }
    Ok(key)
}

fn from_hex(digits: &[u8]) -> Zeroizing<[u8; LENGTH]> {
    let value = |digit: u8| char::from(digit).to_digit(16).and_then(|v| u8::try_from(v).ok()).unwrap_or(0);
    let mut key = Zeroizing::new([0; LENGTH]);
    for (byte, pair) in key.iter_mut().zip(digits.chunks_exact(2)) {
        *byte = value(pair[0]) << 4 | value(pair[1]);
    }
    key
}

/// Both alphabets of RFC 4648, with or without padding.
fn from_base64(text: &[u8]) -> Option<Zeroizing<[u8; LENGTH]>> {
    let config = GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent);
    [alphabet::STANDARD, alphabet::URL_SAFE].into_iter().find_map(|alphabet| {
        let bytes = Zeroizing::new(GeneralPurpose::new(&alphabet, config).decode(text).ok()?);
        let mut key = Zeroizing::new([0; LENGTH]);
        (bytes.len() == LENGTH).then(|| key.copy_from_slice(&bytes))?;
        Some(key)
    })
}

fn remove(path: &Path) -> Result<(), MasterKeyError> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(file::system("remove", path)(error).into()),
        _ => Ok(()),
    }
}

/// Makes a new key in that file, unless it was put there meanwhile. The key appears under its name whole and on disk, or not at all.
fn create(draft: &Path, path: &Path) -> Result<bool, MasterKeyError> {
    let mut key = Zeroizing::new([0u8; LENGTH]);
    let no_randomness =
        || FileError::System { verb: "make", path: path.to_owned(), cause: "the system has no randomness to give".to_owned() };
    rand::fill(key.as_mut()).map_err(|_| no_randomness())?;
    let mut text = Zeroizing::new(String::with_capacity(2 * LENGTH + 1));
    for byte in key.iter() {
        for digit in [byte >> 4, byte & 15] {
            text.push(char::from_digit(digit.into(), 16).unwrap_or('0'));
        }
    }
    text.push('\n');
    let written: io::Result<bool> = (|| {
        let mut new: File = OpenOptions::new().write(true).create_new(true).mode(0o600).open(draft)?;
        new.write_all(text.as_bytes())?;
        new.sync_all()?;
        match fs::hard_link(draft, path) {
            Ok(()) => Ok(true),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(false),
            Err(error) => Err(error),
        }
    })();
    let removed = remove(draft);
    let created = written.map_err(file::system("make", path))?;
    removed?;
    file::sync_parent(path)?;
    Ok(created)
}

#[cfg(test)]
mod tests;
