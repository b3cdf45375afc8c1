//! Tests: where the master key comes from, and what is refused.

use super::*;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, symlink};

fn write(dir: &Path, content: &[u8], mode: u32) -> PathBuf {
    let path = dir.join("key");
    let _ = fs::remove_file(&path);
    fs::write(&path, content).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
    path
}

fn id_of(content: &[u8]) -> Result<MasterKeyId, String> {
    let dir = tempfile::tempdir().unwrap();
    let path = write(dir.path(), content, 0o400);
    MasterKeySource::File(path).find(dir.path(), true).map(|f| f.key.id()).map_err(|e| e.to_string())
}

#[test]
fn every_form_of_one_key_is_the_same_key() {
    let raw: Vec<u8> = (0..32).map(|n| 251 - n).collect();
    let id = id_of(&raw).unwrap();
    let hex = raw.iter().fold(String::new(), |hex, byte| hex + &format!("{byte:02x}"));
    let standard = base64::engine::general_purpose::STANDARD.encode(&raw);
    let url = base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(&raw);
    assert_ne!(standard.trim_end_matches('='), url, "the key must tell the alphabets apart");
    for text in [hex.clone(), hex.to_uppercase() + "\n", standard, url + "\r\n"] {
        assert_eq!(id_of(text.as_bytes()), Ok(id), "{text}");
    }
    assert_ne!(id_of(&[raw.as_slice()[1..].to_vec(), vec![3]].concat()).unwrap(), id);
}

#[test]
fn what_is_no_key_is_refused_without_being_quoted() {
    for (content, what) in [
        (b"".as_slice(), "nothing"),
        (b"correct horse battery staple 123", "passphrase"),
        (b"hunter2", "7 bytes"),
        (&[7; 31], "31 bytes"),
        (&[7; 32], "equal"),
        (&[7; 2000], "more than"),
        (&[b'0'; 64], "equal"),
    ] {
        let error = id_of(content).unwrap_err();
        assert!(error.contains(what) && error.contains("hint: "), "{error}");
        assert!(!error.contains("horse") && !error.contains("hunter2"));
    }
}

#[test]
fn a_key_that_others_can_reach_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let path = write(dir.path(), &[b'a'; 64], 0o644);
    let refused = |path: &Path| MasterKeySource::File(path.to_owned()).find(dir.path(), true).unwrap_err().to_string();
    assert!(refused(&path).contains("0644"));
    let path = write(dir.path(), b"ab".repeat(32).as_slice(), 0o600);
    symlink(&path, dir.path().join("link")).unwrap();
    assert!(refused(&dir.path().join("link")).contains("symbolic link"));
    assert!(refused(dir.path()).contains("not a regular file"));
    assert!(refused(&dir.path().join("absent")).contains("no master key at"));
}

#[test]
fn a_key_is_made_once_and_only_beside_an_empty_store() {
    let dir = tempfile::tempdir().unwrap();
    let lost = MasterKeySource::Default.find(dir.path(), false).unwrap_err();
    assert!(matches!(lost, MasterKeyError::LostBesideStore { .. }), "{lost}");
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);

    let made = MasterKeySource::Default.find(dir.path(), true).unwrap();
    assert!(made.created);
    let found = fs::metadata(&made.path).unwrap();
    assert_eq!((found.mode() & 0o7777, found.nlink()), (0o600, 1));
    for empty in [true, false] {
        let again = MasterKeySource::Default.find(dir.path(), empty).unwrap();
        assert!(!again.created);
        assert_eq!(again.key.id(), made.key.id());
    }
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1, "no draft is left");
    let draft = made.path.with_extension("key.draft");
    assert!(!create(&draft, &made.path).unwrap(), "an existing key is never overwritten");
    assert_eq!(MasterKeySource::Default.find(dir.path(), true).unwrap().key.id(), made.key.id());
}

#[test]
fn what_a_killed_process_was_making_goes() {
    let dir = tempfile::tempdir().unwrap();
    let draft = dir.path().join("master.key.draft");
    fs::write(&draft, "half a ke").unwrap();
    let made = MasterKeySource::Default.find(dir.path(), true).unwrap();
    assert!(made.created && !draft.exists());
    fs::hard_link(&made.path, &draft).unwrap();
    let found = MasterKeySource::Default.find(dir.path(), false).unwrap();
    assert!(found.key.id() == made.key.id() && !draft.exists(), "the second name of the key is gone, the key is not");
}

#[test]
fn a_race_for_the_first_key_has_one_winner() {
    let dir = tempfile::tempdir().unwrap();
    let found: Vec<_> = std::thread::scope(|scope| {
        let racers: Vec<_> = (0..8).map(|_| scope.spawn(|| MasterKeySource::Default.find(dir.path(), true).unwrap())).collect();
        racers.into_iter().map(|r| r.join().unwrap()).collect()
    });
    assert_eq!(found.iter().filter(|f| f.created).count(), 1);
    assert!(found.iter().all(|f| f.key.id() == found[0].key.id()));
}

#[test]
fn the_source_is_chosen_by_what_is_given() {
    let dir = tempfile::tempdir().unwrap();
    let credentials = Some(dir.path());
    assert_eq!(MasterKeySource::choose(None, None), MasterKeySource::Default);
    assert_eq!(MasterKeySource::choose(None, credentials), MasterKeySource::Default, "other credentials only");
    fs::write(dir.path().join(CREDENTIAL_NAME), "0123456789abcdef".repeat(4)).unwrap();
    fs::set_permissions(dir.path().join(CREDENTIAL_NAME), fs::Permissions::from_mode(0o440)).unwrap();
    let chosen = MasterKeySource::choose(None, credentials);
    assert_eq!(chosen, MasterKeySource::Credential(dir.path().to_owned()));
    assert!(chosen.find(Path::new("/nowhere"), false).is_ok_and(|found| !found.created), "systemd's access list may widen the mode");
    assert_eq!(MasterKeySource::choose(Some("/k".into()), credentials), MasterKeySource::File("/k".into()));
}
