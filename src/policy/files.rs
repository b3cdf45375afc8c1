//! The folder of policies: one file per environment, read whole and judged file by file.
//!
//! The only room of policies that does I/O. A file that others may write is not believed, since whoever edits a policy decides
//! which keys sign.

use std::collections::BTreeMap;
use std::fs::{self, File, Metadata};
use std::io::Read as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use super::{Fault, LONGEST_FILE, Policy, Warning, parse};
use crate::name::EnvironmentName;

/// What one file came to.
pub type Loaded = Result<(Policy, Vec<Warning>), Vec<Fault>>;

/// What a folder holds.
#[derive(Debug, Default)]
pub struct Folder {
    /// Every environment that was asked for and has a file.
    pub environments: BTreeMap<EnvironmentName, Loaded>,
    /// What is wrong with the folder itself, and with files that are no environment's.
    pub faults: Vec<Fault>,
    /// What is worth knowing about the folder itself.
    pub warnings: Vec<Warning>,
}

impl Folder {
    /// Whether everything in it is in order.
    pub fn is_sound(&self) -> bool {
        self.faults.is_empty() && self.environments.values().all(Result::is_ok)
    }

    /// Every fault: of the folder first, then file by file.
    pub fn all_faults(&self) -> impl Iterator<Item = &Fault> {
        self.faults.iter().chain(self.environments.values().filter_map(|loaded| loaded.as_ref().err()).flatten())
    }
}

const CHMOD: &str = "take away the write permission of others: chmod o-w";

/// Reads the policies in `dir`: every `*.yaml` whose stem is in `only`, or all of them if `only` is empty. Other files are left
/// alone, but for `.yml` ones, which are probably meant to be policies. Hidden files are left alone too.
pub fn load_folder(dir: &Path, only: &[EnvironmentName]) -> Folder {
    let mut folder = Folder::default();
    let files = match listed(dir, &mut folder) {
        Ok(files) => files,
        Err(fault) => {
            folder.faults.push(fault);
            return folder;
        }
    };
    let mut seen_any = false;
    for name in files {
        let path = dir.join(&name);
        if let Some(stem) = name.strip_suffix(".yml") {
            let what = "ends in .yml and is not read";
            folder.faults.push(Fault::of_file(&path, what, format!("call it {stem}.yaml, or remove it")));
            continue;
        }
        let Some(stem) = name.strip_suffix(".yaml") else { continue };
        seen_any = true;
        match stem.parse::<EnvironmentName>() {
            Ok(environment) if only.is_empty() || only.contains(&environment) => {
                folder.environments.insert(environment, load_file(&path));
            }
            Ok(_) => {}
            Err(error) => {
                let error = error.to_string();
                let (what, hint) = error.split_once("; hint: ").unwrap_or((&error, ""));
                folder.faults.push(Fault::of_file(&path, format!("the file's name is no environment: {what}"), hint));
            }
        }
    }
    if !seen_any {
        let hint = "put one <environment>.yaml per environment there, or name another folder with --policies";
        folder.faults.push(Fault::of_file(dir, "holds no policy (*.yaml)", hint));
    }
    for missing in only.iter().filter(|name| seen_any && !folder.environments.contains_key(*name)) {
        let what = format!("holds no {missing}.yaml, and the environment {missing} was asked for");
        folder.faults.push(Fault::of_file(dir, what, "look at --environment and --policies"));
    }
    folder
}

/// The names of the files in a folder that can be trusted, sorted.
fn listed(dir: &Path, folder: &mut Folder) -> Result<Vec<String>, Fault> {
    let unreadable =
        |error: std::io::Error| Fault::of_file(dir, format!("cannot be read: {error}"), "look at --policies and its permissions");
    let about = fs::metadata(dir).map_err(unreadable)?;
    if !about.is_dir() {
        return Err(Fault::of_file(dir, "is not a folder", "name the folder that holds the policies"));
    }
    folder.warnings.extend(writable(dir, &about, "the folder")?);
    let mut names = Vec::new();
    for entry in fs::read_dir(dir).map_err(unreadable)? {
        let name = entry.map_err(unreadable)?.file_name();
        // A name that is no UTF-8 is no environment's either.
        if let Some(name) = name.to_str().filter(|name| !name.starts_with('.')) {
            names.push(name.to_owned());
        }
    }
    names.sort();
    Ok(names)
}

/// A fault if everybody may write it, a warning if a group may.
fn writable(path: &Path, about: &Metadata, what: &str) -> Result<Option<Warning>, Fault> {
    let mode = about.permissions().mode() & 0o7777;
    if mode & 0o002 != 0 {
        return Err(Fault::of_file(path, format!("{what} may be written by everybody (mode {mode:04o})"), CHMOD));
    }
    Ok((mode & 0o020 != 0).then(|| Warning {
        file: path.to_owned(),
        line: 1,
        field: String::new(),
        what: format!("{what} may be written by its group (mode {mode:04o}): every member decides which keys sign"),
        hint: "chmod g-w, unless the group is meant to".to_owned(),
    }))
}

fn load_file(path: &Path) -> Loaded {
    let (text, warning) = text_of(path).map_err(|fault| vec![fault])?;
    let (policy, mut warnings) = parse(path, &text)?;
    warnings.splice(0..0, warning);
    Ok((policy, warnings))
}

fn text_of(path: &Path) -> Result<(String, Option<Warning>), Fault> {
    let unreadable = |error: std::io::Error| Fault::of_file(path, format!("cannot be read: {error}"), "look at its permissions");
    // Asked before opening, because opening a named pipe would wait for its writer.
    if !fs::metadata(path).map_err(unreadable)?.is_file() {
        return Err(Fault::of_file(path, "is not a file", "remove it, or call it otherwise"));
    }
    let file = File::open(path).map_err(unreadable)?;
    // Of the opened file, so that what is judged is what is read.
    let warning = writable(path, &file.metadata().map_err(unreadable)?, "the file")?;
    let mut bytes = Vec::new();
    file.take(LONGEST_FILE as u64 + 1).read_to_end(&mut bytes).map_err(unreadable)?;
    let text = String::from_utf8(bytes).map_err(|error| {
        let good = error.utf8_error().valid_up_to();
        let line = 1 + error.as_bytes().iter().take(good).filter(|b| **b == b'\n').count();
        Fault { line, ..Fault::of_file(path, "is not UTF-8 text", "save it as UTF-8") }
    })?;
    Ok((text, warning))
}
