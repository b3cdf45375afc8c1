//! One run of one program: no shell, an empty environment but for a few names, a time limit for everything it starts.
//!
//! What it prints may be shown only if it was handed nothing secret: no search for secrets in it could find those that were turned
//! into another form, so of a program that was handed any, nothing is shown at all.

use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::Path;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWriteExt as _};
use tokio::process::{Child, Command};

use crate::secret::SecretBytes;
use crate::time::Span;

/// The most bytes that are read back. More is nothing that keyrota handed over.
pub const LARGEST: usize = 4 * 1024 * 1024;

/// The most characters of what it printed that are told.
const MOST_SAID: usize = 1000;

/// How long the ends of its pipes are waited for after it has ended: somebody whom it left behind may hold them.
const LEFT_OPEN: Duration = Duration::from_secs(1);

/// Where programs find other programs.
const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// A program that is to be run.
pub struct Run<'a> {
    /// Its path and its arguments.
    pub argv: &'a [String],
    /// What it finds on its standard input.
    pub input: Option<&'a SecretBytes>,
    /// What it finds in its environment besides.
    pub about: [(&'static str, String); 4],
    /// How long it may take.
    pub timeout: Span,
    /// Whether what it prints must not be shown.
    pub withheld: bool,
}

/// How a run went that went well.
pub struct Ended {
    /// What it printed to its standard output.
    pub printed: SecretBytes,
    /// What may be told of what it said.
    pub said: Option<String>,
}

/// What came through a pipe: the beginning, and how long it was.
struct Heard {
    kept: Vec<u8>,
    length: usize,
}

impl Run<'_> {
    /// Runs it. `keep`: how many bytes of its output are wanted; none: whatever can be told.
    ///
    /// # Errors
    /// A sentence, if it cannot be started, does not end in time, ends with another status than 0, or prints more than is wanted.
    pub async fn go(&self, keep: usize) -> Result<Ended, String> {
        let Some((program, arguments)) = self.argv.split_first() else { return Err("there is no program".into()) };
        may_be_run(Path::new(program))?;
        let mut command = Command::new(program);
        command.args(arguments).env_clear().env("PATH", PATH).env("LANG", "C.UTF-8").envs(std::env::var_os("HOME").map(|h| ("HOME", h)));
        command.envs(self.about.iter().map(|(name, value)| (name, value))).current_dir("/");
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).process_group(0).kill_on_drop(true);
        let spawned = command.spawn();
        let mut child = spawned.map_err(|e| format!("`{program}` cannot be started: {e}; hint: has it `#!` and the right mode?"))?;
        let kept = if keep == 0 { MOST_SAID * 4 } else { keep };
        let (status, printed, complained) = self.follow(program, &mut child, kept).await?;
        let said = self.said(&[if keep == 0 { printed.kept.as_slice() } else { &[] }, &complained.kept]);
        if !status.success() {
            let told = match said {
                Some(said) => format!("; it said: {said}"),
                None if self.withheld && printed.length + complained.length > 0 => {
                    let length = printed.length + complained.length;
                    format!("; what it printed ({length} bytes) is not shown, because it was handed secrets")
                }
                None => String::new(),
            };
            return Err(format!("`{program}` ended with {status}{told}; hint: run it by hand as keyrota's user"));
        }
        if keep > 0 && printed.length > keep {
            let what = format!("`{program}` printed {} bytes, more than keyrota ever hands over", printed.length);
            return Err(format!("{what}; hint: it must print exactly what is there"));
        }
        Ok(Ended { printed: SecretBytes::new(printed.kept), said })
    }

    /// Waits for its end, and kills it with everything in its process group when its time is over.
    async fn follow(&self, program: &str, child: &mut Child, kept: usize) -> Result<(ExitStatus, Heard, Heard), String> {
        let mut group = Group(child.id().and_then(|id| Pid::from_raw(i32::try_from(id).ok()?)));
        let (input, output, errors) = (child.stdin.take(), child.stdout.take(), child.stderr.take());
        let write = async {
            if let (Some(mut pipe), Some(input)) = (input, self.input) {
                // Whoever does not read what it is handed has its own reasons: its status is what counts.
                let _ = pipe.write_all(input.expose()).await;
                let _ = pipe.shutdown().await;
            }
        };
        let mut pipes = std::pin::pin!(futures_util::future::join3(write, hear(output, kept), hear(errors, MOST_SAID * 4)));
        let mut heard = None;
        let mut end = std::pin::pin!(tokio::time::sleep(self.timeout.to_std()));
        let status = loop {
            tokio::select! {
                status = child.wait() => break Some(status),
                all = &mut pipes, if heard.is_none() => heard = Some(all),
                () = &mut end => break None,
            }
        };
        let Some(status) = status else {
            drop(group);
            let _ = child.kill().await;
            let what = format!("`{program}` did not end within {} and was killed with everything it started", self.timeout);
            return Err(format!("{what}; hint: `timeout:` gives it longer"));
        };
        // It has been waited for, so its number may be another's soon.
        group.0 = None;
        let status = status.map_err(|e| format!("how `{program}` ended is not known: {e}; hint: see the kernel's log"))?;
        let heard = match heard {
            Some(heard) => Some(heard),
            None => tokio::time::timeout(LEFT_OPEN, pipes).await.ok(),
        };
        let Some(((), printed, complained)) = heard else {
            let what = format!("`{program}` ended with {status} and left somebody behind who holds its output");
            return Err(format!("{what}; hint: let what it starts end before it does, or write elsewhere"));
        };
        Ok((status, printed, complained))
    }

    fn said(&self, parts: &[&[u8]]) -> Option<String> {
        let text: String = parts.iter().map(|part| String::from_utf8_lossy(part)).collect::<Vec<_>>().join(" ");
        let line = text.split_whitespace().collect::<Vec<_>>().join(" ");
        let line: String = line.chars().filter(|c| !c.is_control()).take(MOST_SAID).collect();
        Some(line).filter(|line| !line.is_empty() && !self.withheld)
    }
}

/// The process group of a program that has not ended: killed when nobody waits for it any more.
struct Group(Option<Pid>);

impl Drop for Group {
    fn drop(&mut self) {
        if let Some(group) = self.0 {
            let _ = rustix::process::kill_process_group(group, Signal::KILL);
        }
    }
}

/// Reads a pipe to its end and keeps its beginning.
async fn hear(pipe: Option<impl AsyncRead + Unpin>, keep: usize) -> Heard {
    let mut heard = Heard { kept: Vec::new(), length: 0 };
    let Some(mut pipe) = pipe else { return heard };
    let mut part = zeroize::Zeroizing::new(vec![0; 8192]);
    while let Ok(length @ 1..) = pipe.read(part.as_mut_slice()).await {
        let room = keep.saturating_sub(heard.kept.len()).min(length);
        heard.kept.extend_from_slice(&part[..room]);
        heard.length += length;
    }
    heard
}

/// Whether only those can change the program who may be trusted with keys.
fn may_be_run(program: &Path) -> Result<(), String> {
    let shown = program.display();
    let found = program.canonicalize().and_then(|path| path.metadata().map(|about| (path, about)));
    let (path, about) = found.map_err(|e| format!("`{shown}` cannot be run: {e}; hint: is it installed on this host?"))?;
    if !about.is_file() || about.permissions().mode() & 0o111 == 0 {
        return Err(format!("`{shown}` is no program; hint: chmod +x it, or correct the policy"));
    }
    if about.mode() & 0o002 != 0 {
        return Err(format!("everybody may write to `{shown}`, so it is not run; hint: chmod o-w on it"));
    }
    // Whoever may swap the file may swap the program.
    let open = path.ancestors().skip(1).find(|folder| {
        let mode = folder.metadata().map_or(0o002, |about| about.mode());
        mode & 0o002 != 0 && mode & 0o1000 == 0
    });
    match open {
        None => Ok(()),
        Some(folder) => {
            let folder = folder.display();
            Err(format!("everybody may write to the directory {folder} above `{shown}`, so it is not run; hint: chmod o-w on it"))
        }
    }
}
