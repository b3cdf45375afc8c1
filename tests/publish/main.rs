//! File targets from outside: what is written, what is left alone, and what a reader, a crash or a stranger can see or do.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test may fail by panicking")]

mod fixtures;
mod formats;
mod programs;

use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, symlink};
use std::path::PathBuf;

use fixtures::{ED_ONE, ED_TWO, JWK_ONE, JWK_TWO, KID_ONE, KID_TWO};
use fixtures::{agreed, at, content, document, folder, hmac, jwks_target, names, pair, pairs, target, text};
use keyrota::document::Trigger;
use keyrota::document::change::{Cause, Draft, Promise};
use keyrota::jwk::PublicNumbers;
use keyrota::key::{Algorithm, KeyClass};
use keyrota::keygen::KeyPair;
use keyrota::policy::{Audience, FileTarget, TargetFormat};
use keyrota::publish::{Brought, Files, PublishError, ReadBack, bring, read_back};
use keyrota::secret::SecretText;
use proptest::prelude::*;

#[test]
fn a_second_bring_changes_nothing_and_an_edit_is_no_drift() {
    let folder = folder();
    let (target, first) = (jwks_target(&folder), document(KeyClass::Asymmetric, Some(pair(ED_ONE)), None));
    assert_eq!(read_back(&target, &first), Ok(ReadBack::Missing));
    let brought = bring(&target, &first, None).unwrap();
    assert_eq!(agreed(&brought), (true, false));
    let inode = fs::metadata(&target.path).unwrap().ino();
    let again = bring(&target, &first, content(&brought)).unwrap();
    assert_eq!(agreed(&again), (false, false));
    let (Brought::Agreed { changed_at: Some(changed_at), .. }, Brought::Agreed { changed_at: Some(later), .. }) = (&brought, &again) else {
        panic!()
    };
    assert_eq!(changed_at, later);
    assert_eq!(fs::metadata(&target.path).unwrap().ino(), inode);
    assert_eq!(read_back(&target, &first), Ok(ReadBack::Equal { changed_at: Some(*changed_at) }));

    let edited = bring(&target, &pairs(), content(&brought)).unwrap();
    assert_eq!(agreed(&edited), (true, false));
    assert_ne!(content(&edited), content(&brought));
}

#[test]
fn drift_is_seen_and_mended() {
    let folder = folder();
    let (target, document) = (jwks_target(&folder), pairs());
    let written = content(&bring(&target, &document, None).unwrap());
    let only_one = format!(r#"{{"keys":[{JWK_ONE}]}}"#);
    for altered in [only_one.as_str(), r#"{"keys":[]}"#, "", "{\"keys\":[{\"ki"] {
        fs::write(&target.path, altered).unwrap();
        assert_eq!(agreed(&bring(&target, &document, written).unwrap()), (true, true), "{altered}");
        assert!(fs::read_to_string(&target.path).unwrap().contains(KID_TWO));
    }
    fs::write(&target.path, only_one).unwrap();
    assert_eq!(read_back(&target, &document), Ok(ReadBack::Differs { kids: vec![KID_ONE.parse().unwrap()] }));
    fs::remove_file(&target.path).unwrap();
    assert_eq!(agreed(&bring(&target, &document, written).unwrap()), (true, true), "removed by somebody");
    // Permissions are mended too; nobody altered the content.
    fs::set_permissions(&target.path, fs::Permissions::from_mode(0o666)).unwrap();
    assert_eq!(agreed(&bring(&target, &document, written).unwrap()), (true, false));
    assert_eq!(fs::metadata(&target.path).unwrap().mode() & 0o7777, 0o640);
}

#[test]
fn foreign_keys_are_left_alone() {
    let folder = folder();
    let document = document(KeyClass::Asymmetric, Some(pair(ED_ONE)), None);
    let stranger = r#"{"keys":[{"kid":"vendor-1","kty":"RSA","n":"AQ","e":"AQAB"}]}"#.to_owned();
    let unnamed = r#"{"keys":[{"kty":"OKP","crv":"Ed25519","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}]}"#.to_owned();
    let imposter = JWK_TWO.replace(KID_TWO, KID_ONE);
    let env = format!("KEYROTA_KID={KID_TWO}\nKEYROTA_SECRET=x\n");
    let file = |format, name: &str| target(folder.path().join(name), format, Audience::Signers);
    let (jwks, env_file, pem) = (jwks_target(&folder), file(TargetFormat::Env, "env"), file(TargetFormat::Pem, "pem"));
    fs::create_dir(&pem.path).unwrap();
    for (target, path, content, kids) in [
        (&jwks, jwks.path.clone(), stranger, vec!["vendor-1"]),
        (&jwks, jwks.path.clone(), unnamed, vec![KID_TWO]),
        (&jwks, jwks.path.clone(), format!(r#"{{"keys":[{imposter}]}}"#), vec![KID_ONE]),
        (&jwks, jwks.path.clone(), "what is this".to_owned(), vec![]),
        (&env_file, env_file.path.clone(), env, vec![KID_TWO]),
        (&env_file, env_file.path.clone(), "DATABASE_URL=x\n".to_owned(), vec![]),
        (&pem, pem.path.join("private_key.pem"), ED_TWO.to_owned(), vec![KID_TWO]),
    ] {
        fs::write(&path, &content).unwrap();
        let kids: Vec<_> = kids.into_iter().map(|kid| kid.parse().unwrap()).collect();
        assert_eq!(read_back(target, &document), Ok(ReadBack::Foreign { kids: kids.clone() }), "{content}");
        let brought = bring(target, &document, None).unwrap();
        assert_eq!(brought, Brought::Foreign { kids }, "{content}");
        assert_eq!(fs::read_to_string(&path).unwrap(), content);
        let replacing = FileTarget { replace: true, ..target.clone() };
        assert_eq!(agreed(&bring(&replacing, &document, None).unwrap()), (true, false));
        assert_ne!(fs::read_to_string(&path).unwrap(), content);
    }
}

#[test]
fn a_revoked_key_vanishes_from_its_places() {
    let folder = folder();
    let pem = target(folder.path().join("pair"), TargetFormat::Pem, Audience::Signers);
    let brought = bring(&pem, &pairs(), None).unwrap();
    assert_eq!(names(&pem.path), ["private_key.pem", "public_key.pem"]);
    let mode = |name: &str| fs::metadata(pem.path.join(name)).unwrap().mode() & 0o7777;
    assert_eq!((mode("private_key.pem"), mode("public_key.pem")), (0o640, 0o644));
    let signs = fs::read_to_string(pem.path.join("private_key.pem")).unwrap();
    assert!(KeyPair::from_pkcs8_pem(&SecretText::new(signs), Algorithm::EdDsa).is_ok());
    let read = fs::read_to_string(pem.path.join("public_key.pem")).unwrap();
    assert_eq!(PublicNumbers::from_spki_pem(&read).unwrap().thumbprint().to_string(), KID_ONE);

    let cause = Cause { now: at(), trigger: Trigger::Operator, reason: "leaked".to_owned(), by: None };
    let mut draft = Draft::of(&pairs(), None, cause, Promise::default());
    draft.revoke(&KID_ONE.parse().unwrap(), "leaked").unwrap();
    let revoked = draft.finish();
    let gone = bring(&pem, &revoked, content(&brought)).unwrap();
    assert_eq!(agreed(&gone), (true, false));
    assert!(names(&pem.path).is_empty());
    assert_eq!(agreed(&bring(&pem, &revoked, content(&gone)).unwrap()), (false, false));
    assert_eq!(agreed(&bring(&pem, &revoked, content(&brought)).unwrap()), (false, true), "gone, and nobody knows since when");
}

#[test]
fn leftovers_of_a_crash_are_removed_and_nothing_else() {
    let folder = folder();
    let (target, document) = (jwks_target(&folder), pairs());
    let left = [".jwks.json.keyrota-tmp-0123456789abcdef", ".jwks.json.keyrota-tmp-ffffffffffffffff"];
    let other = [".jwks.json.keyrota-tmp-0123", ".jwks.json.keyrota-tmp-0123456789abcdeg", ".other.keyrota-tmp-0123456789abcdef"];
    for name in left.into_iter().chain(other) {
        fs::write(folder.path().join(name), "half").unwrap();
    }
    // The second one belongs to a writer that is still at work.
    let at_work = fs::File::open(folder.path().join(left[1])).unwrap();
    at_work.try_lock().unwrap();
    bring(&target, &document, None).unwrap();
    let mut expected: Vec<_> = other.into_iter().chain([left[1], "jwks.json"]).collect();
    expected.sort_unstable();
    assert_eq!(names(folder.path()), expected);
}

#[test]
fn links_and_open_directories_are_refused() {
    let folder = folder();
    let document = pairs();
    let jwks = jwks_target(&folder);
    let victim = folder.path().join("victim");
    fs::write(&victim, "").unwrap();
    symlink(&victim, &jwks.path).unwrap();
    assert_eq!(bring(&jwks, &document, None), Err(PublishError::Symlink(jwks.path.clone())));
    assert_eq!(fs::read(&victim).unwrap(), b"");

    let open = folder.path().join("open");
    fs::create_dir_all(open.join("below")).unwrap();
    let within = target(open.join("jwks.json"), TargetFormat::Jwks, Audience::Verifiers);
    let below = target(open.join("below/jwks.json"), TargetFormat::Jwks, Audience::Verifiers);
    for (mode, refused_below) in [(0o777, true), (0o1777, false)] {
        fs::set_permissions(&open, fs::Permissions::from_mode(mode)).unwrap();
        assert_eq!(bring(&within, &document, None), Err(PublishError::WorldWritable(open.clone())));
        assert_eq!(bring(&below, &document, None).is_err(), refused_below, "{mode:o}");
    }
    // Our own link on the way is followed; somebody else's is not.
    let link = folder.path().join("link");
    symlink(folder.path().join("open/below"), &link).unwrap();
    let through = target(link.join("through.json"), TargetFormat::Jwks, Audience::Verifiers);
    assert_eq!(agreed(&bring(&through, &document, None).unwrap()), (true, false));
    if rustix::process::geteuid().is_root() {
        std::os::unix::fs::lchown(&link, Some(12345), None).unwrap();
        assert_eq!(bring(&through, &document, None), Err(PublishError::ForeignSymlink { path: link, owner: 12345 }));
    }
}

#[test]
fn what_is_no_file_or_no_path_is_refused() {
    let folder = folder();
    let document = pairs();
    let at = |path: PathBuf| target(path, TargetFormat::Jwks, Audience::Verifiers);
    let directory = folder.path().join("directory");
    fs::create_dir(&directory).unwrap();
    assert_eq!(bring(&at(directory.clone()), &document, None), Err(PublishError::NotAFile(directory)));
    let pipe = folder.path().join("pipe");
    rustix::fs::mknodat(rustix::fs::CWD, &pipe, rustix::fs::FileType::Fifo, rustix::fs::Mode::RWXU, 0).unwrap();
    assert_eq!(bring(&at(pipe.clone()), &document, None), Err(PublishError::NotAFile(pipe)));
    for path in ["relative/jwks.json", "/", "/tmp/../etc/jwks.json"] {
        assert!(matches!(bring(&at(path.into()), &document, None), Err(PublishError::Path(_))), "{path}");
    }
    let behind_a_file = at(PathBuf::from("/proc/version/jwks.json"));
    assert!(matches!(bring(&behind_a_file, &document, None), Err(PublishError::Io { .. })));
}

#[test]
fn directories_modes_and_groups_are_made_as_asked() {
    let folder = folder();
    // Root may give files to any group, others to their own.
    let gid = if rustix::process::geteuid().is_root() { 1 } else { rustix::process::getegid().as_raw() };
    let group = nix::unistd::Group::from_gid(gid.into()).unwrap().unwrap();
    let path = folder.path().join("a/b/env");
    let env = FileTarget { group: Some(group.name), ..target(&path, TargetFormat::Env, Audience::Signers) };
    let document = document(KeyClass::Hmac, Some(hmac("one", "secret")), None);
    assert_eq!(agreed(&bring(&env, &document, None).unwrap()), (true, false));
    for (path, mode) in [(path.as_path(), 0o640), (path.parent().unwrap(), 0o750), (&folder.path().join("a"), 0o750)] {
        let about = fs::metadata(path).unwrap();
        assert_eq!((about.mode() & 0o7777, about.gid()), (mode, gid), "{}", path.display());
    }
    let unknown = FileTarget { group: Some("no-such-group".to_owned()), ..env };
    let refusal = bring(&unknown, &document, None).unwrap_err();
    assert_eq!(refusal, PublishError::UnknownGroup("no-such-group".to_owned()));
    assert!(refusal.to_string().contains("hint: groupadd"));
}

/// A reader that looks as often as it can sees one of the two contents, whole, and never an absent file.
#[test]
fn a_reader_never_sees_a_part() {
    let folder = folder();
    let jwks = jwks_target(&folder);
    let documents = [pairs(), document(KeyClass::Asymmetric, Some(pair(ED_ONE)), None)];
    let contents = documents.each_ref().map(|document| text(&jwks, document).remove(0).unwrap());
    bring(&jwks, &documents[0], None).unwrap();
    std::thread::scope(|scope| {
        let reader = scope.spawn(|| {
            for _ in 0..3000 {
                let read = fs::read_to_string(&jwks.path).unwrap();
                assert!(contents.contains(&read), "{read}");
            }
        });
        for round in 1.. {
            bring(&jwks, &documents[round % 2], None).unwrap();
            if reader.is_finished() {
                break;
            }
        }
        reader.join().unwrap();
    });
    assert_eq!(names(folder.path()), ["jwks.json"]);
}

/// Runs itself again under a file-size limit of nothing: the one way to a full disk that needs neither root nor a mount.
#[test]
fn without_room_the_old_content_stays() {
    const CHILD: &str = "KEYROTA_TEST_WITHOUT_ROOM";
    if let Ok(path) = std::env::var(CHILD) {
        let full = target(path, TargetFormat::Jwks, Audience::Verifiers);
        let refusal = bring(&full, &pairs(), None).unwrap_err();
        assert_eq!(refusal, PublishError::NoRoom(full.path));
        return;
    }
    let folder = folder();
    let jwks = jwks_target(&folder);
    let old = document(KeyClass::Asymmetric, Some(pair(ED_ONE)), None);
    bring(&jwks, &old, None).unwrap();
    let before = fs::read(&jwks.path).unwrap();
    let limited = r#"trap "" XFSZ; ulimit -f 0; exec "$0" --exact without_room_the_old_content_stays"#;
    let child =
        std::process::Command::new("sh").args(["-c", limited]).arg(std::env::current_exe().unwrap()).env(CHILD, &jwks.path).output();
    let child = child.unwrap();
    let said = String::from_utf8_lossy(&child.stdout).into_owned();
    assert!(child.status.success() && said.contains("1 passed"), "{said} {}", String::from_utf8_lossy(&child.stderr));
    assert_eq!(fs::read(&jwks.path).unwrap(), before);
    assert_eq!(names(folder.path()), ["jwks.json"], "no leftover");
}

#[tokio::test]
async fn the_port_resolves_the_state_directory_and_removes_only_what_is_ours() {
    let folder = folder();
    let files = Files;
    let jwks = target("{state_dir}/out/jwks.json", TargetFormat::Jwks, Audience::Verifiers).beside(folder.path());
    let document = pairs();
    let brought = files.bring(&jwks, &document, None).await.unwrap();
    assert_eq!(agreed(&brought), (true, false));
    let written = content(&brought).unwrap();
    let path = folder.path().join("out/jwks.json");
    let bytes = fs::read(&path).unwrap();
    fs::write(&path, "edited").unwrap();
    assert_eq!(files.remove(&jwks, written).await, Err(PublishError::NotOurs(path.clone())));
    fs::write(&path, bytes).unwrap();
    assert_eq!(files.remove(&jwks, written).await, Ok(true));
    assert_eq!(files.remove(&jwks, written).await, Ok(false));
    assert!(!path.exists());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Whatever somebody left in a place, it is judged without a panic, and stays unless it names nothing but our own keys.
    #[test]
    fn anything_may_stand_in_a_place(
        bytes in prop_oneof![
            prop::collection::vec(any::<u8>(), 1..200),
            r#"\{"keys":\[(\{"kid":"[a-z/]{0,3}"(,"kty":"(RSA|EC|OKP)")?(,"x":"[A-Za-z_=]{0,4}")?\},?){0,3}\]\}"#.prop_map(String::into_bytes),
            r#"KEYROTA_KID=[a-z "]{0,4}"#.prop_map(String::into_bytes),
            "-----BEGIN (PUBLIC|PRIVATE) KEY-----\n[A-Za-z+/=]{0,70}\n-----END (PUBLIC|PRIVATE) KEY-----\n".prop_map(String::into_bytes),
        ],
    ) {
        let folder = folder();
        let document = pairs();
        for format in [TargetFormat::Jwks, TargetFormat::Env, TargetFormat::Pem, TargetFormat::Document] {
            let target = target(folder.path().join(format!("{format:?}")), format, Audience::Signers);
            let file = if format == TargetFormat::Pem { target.path.join("private_key.pem") } else { target.path.clone() };
            fs::create_dir_all(file.parent().unwrap()).unwrap();
            fs::write(&file, &bytes).unwrap();
            let before = read_back(&target, &document).unwrap();
            let after = bring(&target, &document, None).unwrap();
            match before {
                ReadBack::Foreign { kids } => {
                    prop_assert_eq!(after, Brought::Foreign { kids });
                    prop_assert_eq!(&fs::read(&file).unwrap(), &bytes);
                }
                ReadBack::Differs { .. } => prop_assert_eq!(agreed(&after), (true, false)),
                ReadBack::Missing | ReadBack::Equal { .. } | ReadBack::Known { .. } => prop_assert!(false, "{:?}", before),
            }
        }
    }
}
