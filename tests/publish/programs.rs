//! Targets that are programs, as real processes: taken, refused, hung, silent about secrets, read back.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use keyrota::digest::Digest;
use keyrota::document::Document;
use keyrota::key::KeyClass;
use keyrota::name::KeysetName;
use keyrota::policy::{Audience, ExecTarget, TargetFormat};
use keyrota::publish::{Brought, Handing, Programs, PublishError, ReadBack};
use keyrota::time::Span;
use tokio::sync::mpsc;

use crate::fixtures::{ED_ONE, JWK_ONE, KID_ONE, document, folder, hmac, pair, pairs};

struct World {
    folder: tempfile::TempDir,
    programs: Programs,
    done: mpsc::UnboundedReceiver<KeysetName>,
}

impl World {
    fn new() -> Self {
        let (done, heard) = mpsc::unbounded_channel();
        Self { folder: folder(), programs: Programs::new(done), done: heard }
    }

    /// A process that has seen nothing, in the same folder.
    fn start_anew(&mut self) {
        let (done, heard) = mpsc::unbounded_channel();
        (self.programs, self.done) = (Programs::new(done), heard);
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn text(&self, name: &str) -> String {
        fs::read_to_string(self.path(name)).unwrap_or_default()
    }

    /// A script in the folder, which it finds as `$1`.
    fn script(&self, name: &str, body: &str) -> Vec<String> {
        let path = self.path(name);
        fs::write(&path, format!("#!/bin/sh\n{body}\n")).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
        // Not as a program of its own: while another test starts a process, the file may be open for writing there.
        vec!["/bin/sh".into(), path.display().to_string(), self.folder.path().display().to_string()]
    }

    fn target(&self, format: TargetFormat, body: &str) -> ExecTarget {
        let (timeout, read_back_every) = (Span::seconds(20), Span::hours(1));
        ExecTarget { argv: self.script("take", body), format, audience: Audience::Verifiers, timeout, read_back: None, read_back_every }
    }

    fn ask(&self, target: &ExecTarget, document: &Document, expected: Option<Digest>) -> Result<Brought, PublishError> {
        self.programs.bring(&Handing::of(&document.id, target, document).unwrap(), expected)
    }

    /// Asks, waits for the program, and asks again.
    async fn bring(&mut self, target: &ExecTarget, document: &Document, expected: Option<Digest>) -> Result<Brought, PublishError> {
        match self.ask(target, document, expected) {
            Ok(Brought::UnderWay { unsure }) => {
                assert_eq!(unsure, target.read_back.is_none());
                assert_eq!(self.done.recv().await.unwrap(), document.id.keyset);
                self.ask(target, document, expected)
            }
            at_once => at_once,
        }
    }

    async fn agrees(&mut self, target: &ExecTarget, document: &Document, expected: Option<Digest>) -> (bool, bool, Digest) {
        match self.bring(target, document, expected).await {
            Ok(Brought::Agreed { content, changed_at: None, wrote, drift, .. }) => (wrote, drift, content),
            other => panic!("{other:?}"),
        }
    }

    async fn fails(&mut self, target: &ExecTarget, document: &Document) -> String {
        let error = self.bring(target, document, None).await.unwrap_err().to_string();
        assert!(error.contains("; hint: "), "{error}");
        error
    }
}

fn one() -> Document {
    document(KeyClass::Asymmetric, Some(pair(ED_ONE)), None)
}

const TAKE: &str = r#"cat > "$1/taken"; echo run >> "$1/runs""#;

#[tokio::test]
async fn a_program_is_handed_the_content_once_and_again_when_it_changes() {
    let mut world = World::new();
    let target = world.target(TargetFormat::Jwks, TAKE);
    let (wrote, drift, expected) = world.agrees(&target, &one(), None).await;
    assert_eq!((wrote, drift), (true, false));
    assert_eq!(world.text("taken"), format!(r#"{{"keys":[{JWK_ONE}]}}"#), "what a file would hold");
    assert_eq!(world.ask(&target, &one(), Some(expected)).map(|b| matches!(b, Brought::Agreed { wrote: false, .. })), Ok(true));
    let (_, _, changed) = world.agrees(&target, &pairs(), Some(expected)).await;
    assert_ne!(expected, changed);
    assert_eq!(world.text("runs"), "run\nrun\n");
    // Another process of the same host remembers what was taken.
    world.start_anew();
    assert!(!world.agrees(&target, &pairs(), Some(changed)).await.0);
    assert_eq!(world.text("runs"), "run\nrun\n");
    // What was handed over is taken back by handing over nothing.
    let nothing = document(KeyClass::Asymmetric, None, None);
    assert!(world.agrees(&target, &nothing, Some(changed)).await.0);
    assert_eq!(world.text("taken"), "");
}

#[tokio::test]
async fn its_environment_is_empty_but_for_what_is_documented() {
    let mut world = World::new();
    let target = world.target(TargetFormat::Jwks, r#"env > "$1/environment"; pwd > "$1/at""#);
    world.agrees(&target, &one(), None).await;
    let names: Vec<String> = world.text("environment").lines().filter_map(|l| Some(l.split_once('=')?.0.to_owned())).collect();
    let lawful = ["PATH", "LANG", "HOME", "KEYROTA_ENVIRONMENT", "KEYROTA_KEYSET", "KEYROTA_GENERATION", "KEYROTA_FORMAT"];
    // The shell adds names of its own.
    let strange: Vec<_> =
        names.iter().filter(|n| !lawful.contains(&n.as_str()) && !["PWD", "SHLVL", "_", "OLDPWD"].contains(&n.as_str())).collect();
    assert!(strange.is_empty(), "{strange:?}");
    let environment = world.text("environment");
    for says in ["KEYROTA_ENVIRONMENT=demo", "KEYROTA_KEYSET=user-sessions", "KEYROTA_GENERATION=3", "KEYROTA_FORMAT=jwks"] {
        assert!(environment.lines().any(|line| line == says), "{says}: {environment}");
    }
    assert_eq!(world.text("at"), "/\n");
}

#[tokio::test]
async fn a_failure_is_a_sentence_and_rests_and_other_content_does_not_wait() {
    let mut world = World::new();
    let target = world.target(TargetFormat::Jwks, r#"echo run >> "$1/runs"; echo "no route to the edge" >&2; exit 3"#);
    let error = world.fails(&target, &one()).await;
    assert!(
        error.contains("exit status: 3") && error.contains("it said: no route to the edge") && error.contains("tried again in 2s"),
        "{error}"
    );
    let again = world.ask(&target, &one(), None).unwrap_err().to_string();
    assert_eq!((again, world.text("runs").lines().count()), (error, 1), "it rests");
    let Ok(Brought::UnderWay { .. }) = world.ask(&target, &pairs(), None) else { panic!("other content is tried at once") };
    world.done.recv().await.unwrap();
    assert!(world.fails(&target, &pairs()).await.contains("failure 2 in a row, tried again in 4s"));
    assert!(matches!(world.programs.known(&one().id, &target), ReadBack::Known { good: false, .. }));
    // What it did before it failed is not known, so what it took once is handed over again.
    let fickle = world.target(TargetFormat::Jwks, r#"cat > "$1/taken"; grep -q kPrK "$1/taken" && exit 1; echo run >> "$1/fickle""#);
    let (_, _, expected) = world.agrees(&fickle, &one(), None).await;
    world.bring(&fickle, &pairs(), Some(expected)).await.unwrap_err();
    assert!(world.agrees(&fickle, &one(), None).await.0);
    assert!(!world.text("taken").contains("kPrK"));
}

#[tokio::test]
async fn one_that_hangs_is_killed_with_what_it_started() {
    let mut world = World::new();
    let hang = r#"sleep 600 & echo $! > "$1/child"; echo $$ > "$1/self"; wait"#;
    let target = ExecTarget { timeout: Span::seconds(5), ..world.target(TargetFormat::Jwks, hang) };
    let error = world.fails(&target, &one()).await;
    assert!(error.contains("did not end within 5s and was killed with everything it started"), "{error}");
    for who in ["self", "child"] {
        let pid: i32 = world.text(who).trim().parse().unwrap();
        // The child is nobody's any more: whoever takes it over may leave it as a zombie, which runs no more.
        let gone = || {
            let state = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
            state.rsplit(')').next().is_none_or(|rest| rest.is_empty() || rest.trim_start().starts_with(['Z', 'X']))
        };
        for _ in 0..500 {
            if gone() {
                break;
            }
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
        assert!(gone(), "{who} is alive");
    }
}

#[tokio::test]
async fn what_a_program_prints_that_was_handed_secrets_is_not_shown() {
    let secret = "a-secret-of-thirty-two-characters";
    let document = document(KeyClass::Hmac, Some(hmac("h1", secret)), None);
    for (format, body) in [
        (TargetFormat::Env, "cat; exit 1"),
        (TargetFormat::Document, "cat >&2; exit 1"),
        (TargetFormat::Env, "base64; exit 1"),
        (TargetFormat::Document, "cat > /dev/null; echo harmless; exit 1"),
    ] {
        let mut world = World::new();
        let error = world.fails(&world.target(format, body), &document).await;
        assert!(error.contains("is not shown, because it was handed secrets") && !error.contains("said"), "{error}");
        assert!(!error.contains(secret) && !error.contains("harmless"), "{error}");
    }
    let mut world = World::new();
    let chatty = world.target(TargetFormat::Env, "cat");
    let Ok(Brought::Agreed { said, .. }) = world.bring(&chatty, &document, None).await else { panic!() };
    assert_eq!(said, None);
}

#[tokio::test]
async fn what_it_prints_otherwise_is_told_and_shortened() {
    let mut world = World::new();
    let target = world.target(TargetFormat::Jwks, r"printf 'pushed\n\033[31mto  edge\n'; yes | head -c 200000");
    let Ok(Brought::Agreed { said: Some(said), .. }) = world.bring(&target, &one(), None).await else { panic!() };
    assert!(said.starts_with("pushed [31mto edge y y") && said.chars().count() <= 1000, "{said}");
}

#[tokio::test]
async fn what_is_read_back_counts_and_drift_is_repaired() {
    let mut world = World::new();
    let read_back = Some(world.script("show", r#"cat "$1/taken" 2>/dev/null; exit 0"#));
    // Every look is due at once.
    let target = ExecTarget { read_back, read_back_every: Span::ZERO, ..world.target(TargetFormat::Jwks, TAKE) };
    let (wrote, drift, expected) = world.agrees(&target, &one(), None).await;
    assert_eq!((wrote, drift), (true, false));
    let (wrote, drift, _) = world.agrees(&target, &one(), Some(expected)).await;
    assert_eq!((wrote, drift), (false, false));
    assert_eq!(world.text("runs"), "run\n");
    let right = world.text("taken");
    for altered in ["{}", "", r#"{"keys":[]}"#] {
        fs::write(world.path("taken"), altered).unwrap();
        let (wrote, drift, _) = world.agrees(&target, &one(), Some(expected)).await;
        assert_eq!((wrote, drift), (true, true), "{altered}");
        assert_eq!(world.text("taken"), right);
    }
    // A process that knows nothing finds it in line, and hands over nothing.
    let mut later = World::new();
    assert!(!later.agrees(&target, &one(), None).await.0);
}

#[tokio::test]
async fn what_does_not_read_back_equal_is_not_published() {
    let mut world = World::new();
    let read_back = Some(world.script("show", r#"cat "$1/taken" 2>/dev/null && echo"#));
    let target = ExecTarget { read_back: read_back.clone(), ..world.target(TargetFormat::Jwks, TAKE) };
    let error = world.fails(&target, &one()).await;
    assert!(error.contains("ended with exit status: 1"), "nothing there must be nothing printed: {error}");
    fs::write(world.path("taken"), "").unwrap();
    world.start_anew();
    let adds_a_line =
        ExecTarget { read_back: Some(world.script("show", r#"test -s "$1/taken" && { cat "$1/taken"; echo; }; exit 0"#)), ..target };
    let error = world.fails(&adds_a_line, &one()).await;
    assert!(error.contains("prints something else than it was handed"), "{error}");
}

#[tokio::test]
async fn keys_that_nobody_knows_are_left_alone() {
    let mut world = World::new();
    let read_back = Some(world.script("show", r#"cat "$1/taken""#));
    let target = ExecTarget { read_back, ..world.target(TargetFormat::Jwks, TAKE) };
    let stranger = format!(r#"{{"keys":[{}]}}"#, JWK_ONE.replace(KID_ONE, "theirs"));
    for (found, kids) in [(stranger.as_str(), vec!["theirs".parse().unwrap()]), ("who knows", Vec::new())] {
        fs::write(world.path("taken"), found).unwrap();
        world.start_anew();
        assert_eq!(world.bring(&target, &pairs(), None).await, Ok(Brought::Foreign { kids }));
        assert_eq!(world.text("taken"), found);
    }
}

#[tokio::test]
async fn a_program_that_others_may_change_is_not_run() {
    let mut world = World::new();
    let target = world.target(TargetFormat::Jwks, TAKE);
    let program = PathBuf::from(&target.argv[1]);
    let open = world.path("open");
    fs::create_dir(&open).unwrap();
    let in_open = open.join("take");
    fs::copy(&program, &in_open).unwrap();
    fs::set_permissions(&open, fs::Permissions::from_mode(0o777)).unwrap();
    let with =
        |path: &Path| ExecTarget { argv: vec![path.display().to_string(), world.folder.path().display().to_string()], ..target.clone() };
    let (open, elsewhere) = (with(&program), with(&in_open));
    let (absent, plain) = (with(&world.path("absent")), with(&world.path("plain")));
    fs::write(world.path("plain"), "#!/bin/sh\n").unwrap();
    fs::set_permissions(&program, fs::Permissions::from_mode(0o757)).unwrap();
    for (target, says) in [
        (open, "everybody may write to"),
        (elsewhere, "everybody may write to the directory"),
        (absent, "cannot be run"),
        (plain, "is no program"),
    ] {
        let error = world.fails(&target, &one()).await;
        assert!(error.contains(says), "{error}");
    }
    assert_eq!(world.text("runs"), "", "none was run");
}

#[tokio::test]
async fn what_was_handed_over_is_not_undone_and_said_to_be_so() {
    let mut world = World::new();
    let target = world.target(TargetFormat::Jwks, TAKE);
    world.agrees(&target, &one(), None).await;
    let said = world.programs.let_go(&one().id, &target).to_string();
    assert!(said.contains("is not undone") && said.contains("; hint: undo it by hand"), "{said}");
}
