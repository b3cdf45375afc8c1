//! `keyrota backup` and `keyrota restore`: files in and out. What is in a back-up is clear to its recipients only; this command sees
//! the file that the daemon has encrypted.

use std::fs::{self, OpenOptions};
use std::io::{self, IsTerminal as _, Read as _, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, anyhow, bail};
use zeroize::Zeroizing;

use super::args::verbs::{BackupArgs, RestoreArgs};
use super::exit::Exit;
use super::style::{Look, Tone};
use super::{moment, paths, say, status};
use crate::audit::{self, Audit, TrailKey};
use crate::backup::restore::Restoring;
use crate::backup::{Contents, Identities, open};
use crate::clock::Reading;
use crate::event::Event;
use crate::sqlite::file;
use crate::status_report::backup::{BackupReport, BackupRequest};
use crate::store::master_key::MasterKeySource;

const BACKUP: &str = "/v1/backup";

/// The most of an identity file that is read.
const LARGEST_IDENTITY: u64 = 1 << 20;

/// Takes a back-up.
///
/// # Errors
/// If the daemon cannot be asked, or the file cannot be written. Nothing is left behind then.
pub fn backup(args: &BackupArgs) -> anyhow::Result<Exit> {
    let to_stdout = args.output.as_os_str() == "-";
    if to_stdout && io::stdout().is_terminal() {
        bail!("a back-up is not printed on a terminal; hint: --output FILE, or a pipe; nothing was done");
    }
    if !to_stdout && !args.force && fs::symlink_metadata(&args.output).is_ok() {
        bail!("{} is there already; hint: another name, or --force to replace it; nothing was done", args.output.display());
    }
    let client = args.daemon.client().patient(Duration::from_mins(10));
    let ask = |dry_run| {
        let request = BackupRequest { recipients: args.recipients.clone(), dry_run };
        let answer = client.post_json(BACKUP, serde_json::to_vec(&request)?)?;
        status::accepted(&answer)?;
        anyhow::Ok(answer.body)
    };
    let report: BackupReport = serde_json::from_slice(&ask(true)?).context("the daemon's answer cannot be read")?;
    let sealed = ask(false)?;
    if to_stdout {
        let mut out = io::stdout().lock();
        out.write_all(&sealed).and_then(|()| out.flush()).context("the back-up was not written whole")?;
    } else {
        write(&args.output, &sealed, args.force)?;
    }
    // Standard output may be the back-up itself.
    eprint!("{}", told(&report, args, &Look::PLAIN));
    Ok(Exit::Done)
}

fn told(report: &BackupReport, args: &BackupArgs, look: &Look) -> String {
    let names: Vec<_> = report.environments.iter().map(ToString::to_string).collect();
    let mut out = format!("{} documents of {} as of {}", report.documents, listed(&names), moment::full(report.made_at));
    let openers = args.recipients.len();
    out.push_str(&format!(", for {openers} {}\n", if openers == 1 { "recipient" } else { "recipients" }));
    if !report.elsewhere.is_empty() {
        let names: Vec<_> = report.elsewhere.iter().map(ToString::to_string).collect();
        let note = look.paint(Tone::Warn, "note:");
        out.push_str(&format!("  {note} the documents of {} live in AWS Secrets Manager and are not in it\n", listed(&names)));
    }
    out
}

fn listed(names: &[String]) -> String {
    if names.is_empty() { "no environment".to_owned() } else { names.join(", ") }
}

/// Seen whole under its name or not at all, and durable when this returns. What is there is replaced only if that is asked for.
fn write(path: &Path, content: &[u8], replace: bool) -> anyhow::Result<()> {
    let mut name = path.file_name().with_context(|| format!("{} names no file", path.display()))?.to_owned();
    name.push(format!(".{}.draft", std::process::id()));
    let draft = path.with_file_name(name);
    let written = (|| {
        let flags = i32::try_from(rustix::fs::OFlags::NOFOLLOW.bits()).unwrap_or(0);
        let mut new = OpenOptions::new().write(true).create_new(true).mode(0o600).custom_flags(flags).open(&draft)?;
        new.write_all(content)?;
        new.sync_all()?;
        if replace { fs::rename(&draft, path) } else { fs::hard_link(&draft, path) }
    })();
    let _ = fs::remove_file(&draft); // gone already where it was renamed
    written.with_context(|| format!("cannot write {}; hint: is there room, and may you write there?", path.display()))?;
    file::sync_parent(&std::path::absolute(path)?)?;
    Ok(())
}

/// Puts a back-up into an empty state directory.
///
/// # Errors
/// Why nothing was restored.
pub fn restore(args: &RestoreArgs) -> anyhow::Result<Exit> {
    let identities = Identities::read(&identity(&args.identity)?)?;
    let sealed =
        fs::read(&args.file).with_context(|| format!("cannot read {}; hint: the file that `keyrota backup` wrote", args.file.display()))?;
    let contents = open(&sealed, &identities).map_err(|e| anyhow!("{}: {e}", args.file.display()))?;
    let state_dir = std::path::absolute(args.state_dir()).context("the state directory has no absolute path")?;
    if args.dry_run {
        return say(&inside(&contents), Exit::Done);
    }
    let source = args.master_key_file.clone().or_else(paths::master_key_credential);
    let source = source.map_or(MasterKeySource::Default, MasterKeySource::File);
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().context("cannot start the runtime")?;
    let restoring = Restoring::into_empty(&contents, &state_dir)?;
    let event = Event::RestoredFromBackup {
        by: whoever(),
        made_at: contents.made_at,
        documents: contents.documents.len(),
        trail: contents.trail.as_ref().map(|head| (head.number, head.code.clone())),
    };
    // The new trail begins with where it comes from.
    let tell = |store: crate::store::embedded::EmbeddedStore, witness, directory: PathBuf| async move {
        let keys = Arc::new(move || store.derived_keys(audit::PURPOSE).into_iter().map(TrailKey::new).collect());
        let trail = Audit::start(&directory, keys, witness, audit::Limits::default()).await?;
        trail.record(Reading::now().wall, vec![event]);
        trail.end().await;
        Ok(())
    };
    runtime.block_on(restoring.write(&source, tell))?;
    say(&restored(&contents, &state_dir, &Look::of_stdout()), Exit::Done)
}

/// Who restores, for the trail.
fn whoever() -> String {
    let uid = nix::unistd::Uid::effective();
    let user = nix::unistd::User::from_uid(uid).ok().flatten();
    user.map_or_else(|| format!("uid {uid}"), |user| format!("{} ({uid})", user.name))
}

fn identity(path: &Path) -> anyhow::Result<Zeroizing<Vec<u8>>> {
    let mut text = Zeroizing::new(Vec::with_capacity(64 * 1024));
    let read = if path.as_os_str() == "-" {
        io::stdin().lock().take(LARGEST_IDENTITY).read_to_end(&mut text)
    } else {
        fs::File::open(path).and_then(|file| file.take(LARGEST_IDENTITY).read_to_end(&mut text))
    };
    read.with_context(|| format!("cannot read the identity {}; hint: `age-keygen` writes one, `-` is standard input", path.display()))?;
    Ok(text)
}

fn inside(contents: &Contents) -> String {
    let mut out = format!("a back-up of {}, taken by {}\n", moment::full(contents.made_at), contents.made_by);
    for document in &contents.documents {
        let keys = document.live().count();
        out.push_str(&format!("  {}  generation {}, {keys} live keys\n", document.id, document.generation));
    }
    let policies: Vec<_> = contents.policies.keys().map(ToString::to_string).collect();
    out.push_str(&format!("  the last good policies of {}\n", listed(&policies)));
    out
}

fn restored(contents: &Contents, state_dir: &Path, look: &Look) -> String {
    let (documents, at) = (contents.documents.len(), moment::full(contents.made_at));
    let done = look.paint(Tone::Good, "restored");
    let mut out = format!("{done}: {documents} documents, as of {at}, in {}\n", state_dir.display());
    out.push_str("  what happened since then is not known, so nothing of it is served until you say how to go on. Start keyrota, then:\n");
    for environment in contents.environments() {
        out.push_str(&format!(
            "    keyrota restored {environment} --reason \"…\"    every key is replaced by and by; tokens stay accepted\n"
        ));
        out.push_str(&format!("    keyrota accept {environment}                  if you know that nothing has changed since\n"));
    }
    out.push_str(&format!("  the policies that were good last are in {}\n", state_dir.join("policies").display()));
    for name in &contents.elsewhere {
        out.push_str(&format!("  the documents of {name} live in AWS Secrets Manager: they were not in the back-up\n"));
    }
    out
}
