//! What the compiler does not hold together: which room may know which, how long files and functions grow, what every file and
//! every dependency says for itself, and what must not stand anywhere.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

/// The rooms of the house from the ground up. A room may use those of its own layer and of the layers below.
const LAYERS: [(&str, &[&str]); 5] = [
    (
        "words: values and their invariants",
        &["time", "digest", "name", "url", "secret", "key", "jwk", "document", "policy", "event", "clock", "observed", "rules"],
    ),
    ("decision: pure functions", &["waits", "lifecycle", "operator", "forecast"]),
    ("ports: what is outside", &["sqlite", "store", "witness", "publish", "keygen", "credential", "https", "probe", "webhook", "tokens"]),
    ("work: the passes and what they keep", &["freshness", "reconcile", "migrate", "board", "invariant"]),
    (
        "shell: processes and people",
        &["http", "metrics", "status_report", "picture", "cli", "daemon", "audit", "backup", "systemd", "main"],
    ),
];
const SHELL: usize = 4;

/// The only files of the two lowest layers that look outside: one reads clocks, one policy files.
const LOOK_OUTSIDE: [&str; 2] = ["src/clock.rs", "src/policy/files.rs"];
const OUTSIDE: [&str; 8] = ["std::fs", "std::net", "std::env", "std::process", "std::thread", "tokio", "SystemTime", "Instant"];

const LONGEST_FILE: usize = 430;
const LONGEST_TEST_FILE: usize = 600;
const LONGEST_FUNCTION: usize = 100;

/// Names that say nothing of what is inside.
const EMPTY_NAMES: [&str; 10] = ["util", "utils", "helper", "helpers", "manager", "managers", "common", "misc", "stuff", "mod"];
/// Written in two halves, so that this file does not contain them.
const UNFINISHED: [&str; 5] =
    [concat!("to", "do!"), concat!("unimple", "mented!"), concat!("FIX", "ME"), concat!("db", "g!("), concat!("XX", "X")];
/// Traces of the machine on which something was written.
const FOREIGN_PATHS: [&str; 4] = [concat!("/wo", "rk"), concat!("/tmp/", "bash"), concat!("/ro", "ot/"), concat!("/ho", "me/")];
const PUBLIC_INDEX: &str = "source = \"registry+https://github.com/rust-lang/crates.io-index\"";

struct Source {
    /// From the top of the repository.
    path: String,
    text: String,
}

fn top() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn walk(dir: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        if path.is_symlink() || [".git", "target", "node_modules", ".venv", "__pycache__"].contains(&name.as_str()) {
            continue;
        }
        if path.is_dir() { walk(&path, found) } else { found.push(path) }
    }
}

/// Every text below `dir` whose name ends so, in order.
fn texts(dir: &str, ending: &str) -> Vec<Source> {
    let mut paths = Vec::new();
    walk(&top().join(dir), &mut paths);
    paths.sort();
    let read = |path: PathBuf| {
        let text = fs::read_to_string(&path).ok()?;
        Some(Source { path: path.strip_prefix(top()).unwrap().to_string_lossy().into_owned(), text })
    };
    paths.into_iter().filter(|p| p.to_string_lossy().ends_with(ending)).filter_map(read).collect()
}

fn none(what: &str, found: &[String]) {
    assert!(found.is_empty(), "{what}:\n{}", found.join("\n"));
}

impl Source {
    /// The names of its module and those above it: `src/http/serve.rs` is `http`, `serve`.
    fn module(&self) -> Vec<&str> {
        self.path.trim_start_matches("src/").trim_end_matches(".rs").split('/').collect()
    }

    fn stem(&self) -> &str {
        self.path.rsplit('/').next().unwrap().split('.').next().unwrap()
    }

    /// Its lines without comments, numbered from one.
    fn code(&self) -> impl Iterator<Item = (usize, &str)> {
        let bare = |line: &'_ str| if line.trim_start().starts_with("//") { 0 } else { line.find(" // ").unwrap_or(line.len()) };
        self.text.lines().enumerate().map(move |(n, line)| (n + 1, &line[..bare(line)]))
    }

    /// The rooms that it names, by `crate::room` or by climbing to the top with `super::`. Whoever lists several behind one `crate::`
    /// counts as knowing all of them: each room is to stand in a line of its own.
    fn rooms_used(&self) -> Vec<(usize, String)> {
        let depth = self.module().len();
        let mut used = Vec::new();
        for (n, line) in self.code() {
            for (at, _) in line.match_indices("crate::") {
                let path = &line[at + "crate::".len()..];
                // A list could go on in the next line, where nobody would look.
                used.push((n, if path.starts_with('{') { "main".to_owned() } else { first_name(path) }));
            }
            let climbs = line.split(|c: char| !(c.is_alphanumeric() || c == '_' || c == ':')).filter(|path| path.starts_with("super::"));
            used.extend(climbs.filter_map(|path| {
                let names: Vec<_> = path.split("::").collect();
                let climbed = names.iter().take_while(|name| **name == "super").count();
                (climbed >= depth).then(|| (n, names.get(climbed).copied().unwrap_or_default().to_owned()))
            }));
        }
        used.retain(|(_, name)| layer(name).is_some());
        used
    }

    /// Each function's name with its length in lines. Relies on rustfmt: the closing brace stands where the signature began.
    fn functions(&self) -> Vec<(String, usize)> {
        let lines: Vec<&str> = self.text.lines().collect();
        let mut found = Vec::new();
        for (n, line) in lines.iter().enumerate() {
            let words = line.trim_start();
            let Some((before, name)) = words.split_once("fn ") else { continue };
            let qualifies = |w: &str| ["async", "const", "unsafe", "extern"].contains(&w) || w.starts_with("pub");
            if !before.split_whitespace().all(|w| qualifies(w) || w.ends_with(')')) || line.trim_end().ends_with(['}', ';']) {
                continue;
            }
            let closing = format!("{}}}", &line[..line.len() - words.len()]);
            if let Some(length) = lines[n..].iter().position(|l| *l == closing) {
                found.push((first_name(name), length + 1));
            }
        }
        found
    }
}

fn first_name(path: &str) -> String {
    path.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect()
}

fn layer(room: &str) -> Option<usize> {
    LAYERS.iter().position(|(_, rooms)| rooms.contains(&room))
}

#[test]
fn every_room_has_its_layer() {
    let rooms: Vec<_> = texts("src", ".rs").iter().map(|s| s.module()[0].to_owned()).filter(|room| room != "lib").collect();
    assert!(rooms.len() > 50, "the walk found the sources");
    let homeless: Vec<_> = rooms.into_iter().filter(|room| layer(room).is_none()).collect();
    none("rooms without a layer in this table", &homeless);
}

#[test]
fn rooms_know_only_what_is_below_them() {
    let mut upward = Vec::new();
    let mut seen = BTreeMap::new();
    for source in texts("src", ".rs") {
        let Some(own) = layer(source.module()[0]) else { continue };
        for (n, room) in source.rooms_used() {
            *seen.entry(room.clone()).or_insert(0) += 1;
            if layer(&room).is_some_and(|its| its > own) {
                upward.push(format!("{}:{n} is of the {} and uses {room}", source.path, LAYERS[own].0));
            }
        }
    }
    assert!(seen.get("document").is_some_and(|uses| *uses > 10), "the walk understood the sources: {seen:?}");
    none("imports that go upward", &upward);
}

#[test]
fn words_and_decisions_do_not_look_outside() {
    let mut found = Vec::new();
    for source in texts("src", ".rs") {
        if LOOK_OUTSIDE.contains(&source.path.as_str()) || layer(source.module()[0]).is_none_or(|its| its > 1) {
            continue;
        }
        for (n, line) in source.code() {
            let outside = OUTSIDE.iter().filter(|word| names(line, word));
            found.extend(outside.map(|word| format!("{}:{n} uses {word}", source.path)));
        }
    }
    none("rooms that must be pure", &found);
}

/// Whether the line names this, not a longer word around it.
fn names(line: &str, word: &str) -> bool {
    let part = |c: Option<char>| c.is_some_and(|c| c.is_alphanumeric() || c == '_');
    line.match_indices(word).any(|(at, _)| !part(line[..at].chars().next_back()) && !part(line[at + word.len()..].chars().next()))
}

#[test]
fn errors_without_a_type_stay_in_the_shell() {
    let sources = texts("src", ".rs");
    let below = sources.iter().filter(|s| layer(s.module()[0]).is_some_and(|its| its < SHELL));
    let found: Vec<_> =
        below.flat_map(|s| s.code().filter(|(_, line)| names(line, "anyhow")).map(|(n, _)| format!("{}:{n}", s.path))).collect();
    none("anyhow below the shell", &found);
}

#[test]
fn files_and_functions_stay_short() {
    let mut long = Vec::new();
    for (dir, longest) in [("src", LONGEST_FILE), ("tests", LONGEST_TEST_FILE)] {
        for source in texts(dir, ".rs") {
            let lines = source.text.lines().count();
            if lines > longest {
                long.push(format!("{} has {lines} lines, more than {longest}", source.path));
            }
            let functions = source.functions().into_iter().filter(|(_, lines)| *lines > LONGEST_FUNCTION);
            long.extend(functions.map(|(name, lines)| format!("{}: {name} has {lines} lines, more than {LONGEST_FUNCTION}", source.path)));
        }
    }
    none("too long", &long);
    let this = texts("tests", "tidy.rs").pop().unwrap();
    assert!(this.functions().iter().any(|(name, lines)| name == "functions" && *lines > 10), "functions are found: {:?}", this.functions());
}

#[test]
fn every_file_says_what_it_is_for() {
    let silent = texts("src", ".rs").into_iter().filter(|s| !s.text.starts_with("//! ")).map(|s| s.path).collect::<Vec<_>>();
    none("files in src that do not begin with `//! `", &silent);
}

#[test]
fn names_say_what_is_inside() {
    let all = texts("src", ".rs").into_iter().chain(texts("tests", ".rs"));
    // Of test binaries in folders, the shared parts must be called `mod` or else be binaries themselves.
    let empty = all.filter(|s| EMPTY_NAMES.contains(&s.stem()) && !(s.path.starts_with("tests/") && s.stem() == "mod"));
    none("names that say nothing", &empty.map(|s| s.path).collect::<Vec<_>>());
}

#[test]
fn nothing_is_left_unfinished() {
    let mut found = Vec::new();
    for source in texts("src", ".rs").into_iter().chain(texts("tests", ".rs")) {
        for (n, line) in source.text.lines().enumerate() {
            let words = UNFINISHED.iter().filter(|word| line.contains(**word));
            found.extend(words.map(|word| format!("{}:{} has {word}", source.path, n + 1)));
        }
    }
    none("unfinished", &found);
}

#[test]
fn every_dependency_says_why_it_is_here() {
    let manifest = fs::read_to_string(top().join("Cargo.toml")).unwrap();
    let (mut section, mut before, mut silent, mut count) = ("", "", Vec::new(), 0);
    for line in manifest.lines() {
        if line.starts_with('[') {
            section = line;
        } else if section.ends_with("dependencies]") && line.contains(" = ") && !line.starts_with('#') {
            count += 1;
            if !before.starts_with("# ") {
                silent.push(line.to_owned());
            }
        }
        before = line;
    }
    assert!(count > 20, "the dependencies were found");
    none("dependencies without a line above that says why", &silent);
}

#[test]
fn nothing_tells_of_the_machine_it_was_written_on() {
    let mut found = Vec::new();
    for source in texts("", "") {
        let place = |c: Option<char>| c.is_some_and(|c| c.is_alphanumeric() || "._-/}*".contains(c));
        for (n, line) in source.text.lines().enumerate() {
            let stands = |path: &&&str| {
                line.match_indices(**path).any(|(at, _)| {
                    let after = line[at + path.len()..].chars().next();
                    !place(line[..at].chars().next_back()) && (path.ends_with('/') || !after.is_some_and(char::is_alphanumeric))
                })
            };
            found.extend(FOREIGN_PATHS.iter().filter(stands).map(|path| format!("{}:{} has {path}", source.path, n + 1)));
        }
    }
    none("paths of one machine", &found);
}

#[test]
fn dependencies_come_from_the_public_index() {
    let lock = fs::read_to_string(top().join("Cargo.lock")).unwrap();
    let sources: Vec<_> = lock.lines().filter(|line| line.starts_with("source = ")).collect();
    assert!(sources.len() > 50, "the lock file was read");
    let elsewhere: Vec<_> = sources.into_iter().filter(|line| *line != PUBLIC_INDEX).map(str::to_owned).collect();
    none("packages from elsewhere", &elsewhere);
}
