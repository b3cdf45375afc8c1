//! The files of the trail: appended to, synced, and put aside when they are large; the chain goes on across them.

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read as _, Seek as _, SeekFrom, Write as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use super::key::TrailKey;
use super::{KeysInUse, Kind, Line, Shared, chain};
use crate::clock::Reading;
use crate::name::{Generation, KeysetId};
use crate::time::Timestamp;
use crate::witness::book::TrailHead;

/// The file that is written now; older ones have `.1`, `.2` and so on behind it, the highest being the oldest.
pub const FILE_NAME: &str = "audit.log";

/// When files are put aside, and how many are kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// A file larger than this is put aside.
    pub bytes: u64,
    /// How many are kept besides the one that is written.
    pub files: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { bytes: 16 * 1024 * 1024, files: 16 }
    }
}

/// The trail as it is written.
#[derive(Clone)]
pub struct Trail(Shared<Writing>);

struct Writing {
    directory: PathBuf,
    /// The directory, locked while lines are written: another daemon may write the same trail.
    lock: File,
    key: TrailKey,
    /// Where the keys of today are asked for, should another daemon have changed over.
    keys: KeysInUse,
    /// The key that the trail is proven by now, where that is not ours.
    changed_to: Option<String>,
    limits: Limits,
    file: File,
    /// Device and inode of the file.
    identity: (u64, u64),
    /// How much of the file this process knows.
    length: u64,
    head: TrailHead,
    known: Known,
}

/// The latest generation of each keyset that is in the trail.
type Known = BTreeMap<KeysetId, Generation>;

/// What was found when the trail was opened.
pub struct Found {
    /// The latest generation of each keyset.
    pub known: Known,
    /// When the last line says that it happened; `None` for an empty trail.
    pub last_at: Option<Timestamp>,
    /// What is to be said first of all.
    pub notes: Vec<Line>,
}

/// The files that exist, the oldest first.
pub fn existing(directory: &Path) -> Result<Vec<PathBuf>, String> {
    let mut numbered = Vec::new();
    let entries = fs::read_dir(directory).map_err(|e| format!("cannot read {}: {e}", directory.display()))?;
    for entry in entries.flatten() {
        let name = entry.file_name();
        let Some(rest) = name.to_str().and_then(|name| name.strip_prefix(FILE_NAME)) else { continue };
        let number = if rest.is_empty() { Some(0) } else { rest.strip_prefix('.').and_then(|n| n.parse::<u32>().ok()) };
        numbered.extend(number.map(|number| (std::cmp::Reverse(number), entry.path())));
    }
    numbered.sort();
    Ok(numbered.into_iter().map(|(_, path)| path).collect())
}

impl Trail {
    /// Opens the trail, or begins it. A last line that a crash cut off is cut away and spoken of.
    pub fn open(directory: &Path, keys: KeysInUse, head: Option<TrailHead>, limits: Limits) -> Result<(Self, Found), String> {
        let mut found = Found { known: BTreeMap::new(), last_at: None, notes: Vec::new() };
        let now = Reading::now().wall;
        let (mut last, mut oldest, mut changed_to) = (None, None, None);
        let lock = File::open(directory).map_err(|e| failed("open", directory, &e))?;
        let locked = locked(&lock, directory)?;
        for path in existing(directory)? {
            let text = fs::read(&path).map_err(|e| failed("read", &path, &e))?;
            for line in read_lines(&text) {
                oldest.get_or_insert(line.n);
                found.last_at = Some(line.at);
                note(&mut found.known, &line);
                changed_to = line.trail_key.or(changed_to);
                last = Some((line.n, line.mac));
            }
        }
        let path = directory.join(FILE_NAME);
        let mut file = open(&path)?;
        let (length, torn) = cut(&mut file).map_err(|e| failed("mend", &path, &e))?;
        if torn > 0 {
            let says = format!("a last line of {torn} bytes that a crash had cut off was taken away");
            found.notes.push(Line::of_trail(now, Kind::TrailMended, says));
        }
        let (number, code) = match (last, &head) {
            // What was noted and is not there any more leaves a gap that shows.
            (Some((number, _)), Some(head)) if head.number > number => (head.number, head.code.clone()),
            (None, Some(head)) => (head.number, head.code.clone()),
            (Some(last), _) => last,
            (None, None) => (0, chain::GENESIS.to_owned()),
        };
        // What was noted counts: whoever removed the first lines meanwhile is not to be believed.
        let oldest = head.map(|head| head.oldest).or(oldest).unwrap_or(number + 1);
        let began = TrailHead { number, code, oldest };
        if number == 0 {
            found.notes.push(Line::of_trail(now, Kind::TrailBegun, "the audit trail begins".to_owned()));
        }
        drop(locked);
        let (identity, known) = (identity(&file, &path)?, found.known.clone());
        let key = keys().into_iter().next().ok_or("there is no key to prove the trail with")?;
        let changed_to = changed_to.filter(|id| *id != key.id());
        let directory = directory.to_owned();
        let mut writing = Writing { directory, lock, key, keys, changed_to, limits, file, identity, length, head: began, known };
        if let Err(why) = writing.change_over() {
            // Whatever happened to the trail, what happens from now on is written down; the examination says where it broke.
            let what = why.split_once("; hint: ").map_or(why.as_str(), |(what, _)| what);
            found.notes.push(Line::of_trail(now, Kind::TrailBroken, what.to_owned()));
            writing.changed_to = None;
        }
        Ok((Self(Arc::new(Mutex::new(writing))), found))
    }

    /// The trail is proven by the last of the keys in use from now on, if it is not so already; how far it reaches then.
    pub fn change_key(&self, at: Timestamp, by: &str, reason: &str) -> Result<TrailHead, String> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).change_key(at, by, reason)
    }

    /// Writes lines and waits for the disk; how far the trail reaches then. If it fails, none of them counts as written.
    pub fn append(&self, lines: &[Line]) -> Result<TrailHead, String> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).append(lines)
    }
}

impl Writing {
    fn append(&mut self, lines: &[Line]) -> Result<TrailHead, String> {
        let lock = self.lock.try_clone().map_err(|e| failed("lock", &self.directory, &e))?;
        let _locked = locked(&lock, &self.directory)?;
        self.catch_up()?;
        self.change_over()?;
        if self.length >= self.limits.bytes {
            self.put_aside()?;
        }
        self.write(lines)
    }

    fn change_key(&mut self, at: Timestamp, by: &str, reason: &str) -> Result<TrailHead, String> {
        let lock = self.lock.try_clone().map_err(|e| failed("lock", &self.directory, &e))?;
        let _locked = locked(&lock, &self.directory)?;
        self.catch_up()?;
        self.change_over()?;
        let next = (self.keys)().pop().filter(|next| next.id() != self.key.id());
        let Some(next) = next else { return Ok(self.head.clone()) };
        let sealed = next.seal(&self.key, self.head.number + 1).ok_or("the key of the trail could not be sealed")?;
        let line = Line::of_key_change(at, (next.id().to_owned(), sealed), by, reason);
        // The line that changes over is the first that the new key proves.
        let before = std::mem::replace(&mut self.key, next);
        self.write(&[line]).inspect_err(|_| self.key = before)
    }

    /// Takes up the key that the trail says it is proven by.
    fn change_over(&mut self) -> Result<(), String> {
        let Some(wanted) = &self.changed_to else { return Ok(()) };
        let found = (self.keys)().into_iter().find(|key| key.id() == wanted);
        let unknown = "it is proven by a key that comes from another master key than is here; hint: was the state directory put together \
                       from two?";
        self.key = found.ok_or(unknown)?;
        self.changed_to = None;
        Ok(())
    }

    fn write(&mut self, lines: &[Line]) -> Result<TrailHead, String> {
        let (mut head, mut text) = (self.head.clone(), String::new());
        // What another daemon has written first-hand need not be told again by one that only saw it.
        for line in lines.iter().filter(|line| !(line.recovered && self.knows(line))) {
            // Another daemon of this directory may have begun it since this one looked.
            if line.kind == Kind::TrailBegun && head.number > 0 {
                continue;
            }
            let placed = chain::placed(self.key.mac(), head.number + 1, &head.code, line);
            let Some((line, code)) = placed else { return Err("a line could not be written as JSON".to_owned()) };
            text.push_str(&line);
            (head.number, head.code) = (head.number + 1, code);
        }
        let path = self.directory.join(FILE_NAME);
        let written = self.file.write_all(text.as_bytes()).and_then(|()| self.file.sync_data());
        if let Err(error) = written {
            // Whatever of it reached the file is taken back, so that the next try does not follow half a line.
            let _ = self.file.set_len(self.length).and_then(|()| self.file.seek(SeekFrom::End(0)).map(drop));
            return Err(failed("write", &path, &error));
        }
        self.length += text.len() as u64;
        self.head = head.clone();
        read_lines(text.as_bytes()).for_each(|line| note(&mut self.known, &line));
        Ok(head)
    }

    fn knows(&self, line: &Line) -> bool {
        let (Some(environment), Some(keyset)) = (&line.environment, &line.keyset) else { return false };
        let id = KeysetId { environment: environment.clone(), keyset: keyset.clone() };
        line.generation.is_some_and(|generation| self.known.get(&id).is_some_and(|known| generation <= *known))
    }

    /// Takes in what another daemon of the same state directory has written since.
    fn catch_up(&mut self) -> Result<(), String> {
        let path = self.directory.join(FILE_NAME);
        let there = fs::metadata(&path).map(|found| ((found.dev(), found.ino()), found.len())).unwrap_or_default();
        if there == (self.identity, self.length) {
            return Ok(());
        }
        if there.0 != self.identity {
            // Put aside by the other: what stands at the end of the file before may not be known here.
            let before = self.directory.join(format!("{FILE_NAME}.1"));
            self.learn(&fs::read(&before).unwrap_or_default());
            self.file = open(&path)?;
            (self.identity, self.length) = (identity(&self.file, &path)?, 0);
        }
        let (whole, _) = cut(&mut self.file).map_err(|e| failed("mend", &path, &e))?;
        let text = fs::read(&path).map_err(|e| failed("read", &path, &e))?;
        let new = text.get(usize::try_from(self.length.min(whole)).unwrap_or(0)..).unwrap_or_default();
        self.learn(new);
        self.length = whole;
        Ok(())
    }

    fn learn(&mut self, text: &[u8]) {
        for line in read_lines(text) {
            note(&mut self.known, &line);
            if line.n > self.head.number {
                self.changed_to = line.trail_key.filter(|id| id != self.key.id()).or(self.changed_to.take());
                (self.head.number, self.head.code) = (line.n, line.mac);
            }
        }
    }

    /// `audit.log` becomes `audit.log.1`, and so on. The oldest beyond the limit stays until the next time, when the witness has noted
    /// that nothing before the others is missed.
    fn put_aside(&mut self) -> Result<(), String> {
        let path = self.directory.join(FILE_NAME);
        let numbered = |number: usize| self.directory.join(format!("{FILE_NAME}.{number}"));
        let excess = numbered(self.limits.files + 1);
        if excess.exists() {
            fs::remove_file(&excess).map_err(|e| failed("remove", &excess, &e))?;
        }
        let rename = |from: &Path, to: &Path| match fs::rename(from, to) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(failed("put aside", from, &error)),
            _ => Ok(()),
        };
        for number in (1..=self.limits.files).rev() {
            rename(&numbered(number), &numbered(number + 1))?;
        }
        rename(&path, &numbered(1))?;
        self.file = open(&path)?;
        (self.identity, self.length) = (identity(&self.file, &path)?, 0);
        let first = existing(&self.directory)?.iter().filter(|path| **path != excess).find_map(|path| first_number(path));
        self.head.oldest = first.unwrap_or(self.head.number + 1);
        Ok(())
    }
}

/// Holds the lock of a directory until it is dropped.
struct Locked<'a>(&'a File);

fn locked<'a>(lock: &'a File, directory: &Path) -> Result<Locked<'a>, String> {
    let taken = rustix::fs::flock(lock, rustix::fs::FlockOperation::LockExclusive);
    taken.map(|()| Locked(lock)).map_err(|e| failed("lock", directory, &e.into()))
}

impl Drop for Locked<'_> {
    fn drop(&mut self) {
        let _ = rustix::fs::flock(self.0, rustix::fs::FlockOperation::Unlock);
    }
}

/// The lines that can be read.
fn read_lines(text: &[u8]) -> impl Iterator<Item = chain::Read> + '_ {
    text.split(|byte| *byte == b'\n').filter_map(|line| chain::read(std::str::from_utf8(line).ok()?))
}

fn note(known: &mut Known, line: &chain::Read) {
    if let (Some(environment), Some(keyset), Some(generation)) = (&line.environment, &line.keyset, line.generation) {
        let id = KeysetId { environment: environment.clone(), keyset: keyset.clone() };
        let latest = known.entry(id).or_insert(generation);
        *latest = generation.max(*latest);
    }
}

fn identity(file: &File, path: &Path) -> Result<(u64, u64), String> {
    file.metadata().map(|found| (found.dev(), found.ino())).map_err(|e| failed("look at", path, &e))
}

fn first_number(path: &Path) -> Option<u64> {
    let text = fs::read_to_string(path).ok()?;
    chain::read(text.lines().next()?).map(|line| line.n)
}

fn open(path: &Path) -> Result<File, String> {
    let flags = i32::try_from((rustix::fs::OFlags::NOFOLLOW | rustix::fs::OFlags::NONBLOCK).bits()).unwrap_or(0);
    let opened = OpenOptions::new().read(true).append(true).create(true).mode(0o600).custom_flags(flags).open(path);
    let file = opened.map_err(|e| failed("open", path, &e))?;
    let about = file.metadata().map_err(|e| failed("look at", path, &e))?;
    if about.is_file() { Ok(file) } else { Err(format!("{} is no regular file; hint: move it away", path.display())) }
}

/// Cuts off what follows the last line feed; the length that is left, and how much was cut.
fn cut(file: &mut File) -> io::Result<(u64, u64)> {
    let mut text = Vec::new();
    file.seek(SeekFrom::Start(0))?;
    file.read_to_end(&mut text)?;
    let whole = text.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
    let torn = text.len() - whole;
    if torn > 0 {
        file.set_len(whole as u64)?;
    }
    Ok((whole as u64, torn as u64))
}

fn failed(doing: &str, path: &Path, error: &io::Error) -> String {
    format!("cannot {doing} {}: {error}; hint: the state directory must be writable and have room", path.display())
}
