//! The command line as clap reads it. Help texts are for somebody who meets keyrota for the first time: what a command is for, and
//! one example.

#![allow(clippy::doc_markdown, rustdoc::invalid_html_tags, reason = "these comments are the help texts")]

mod handed;
mod migrate;
mod run;
pub mod token;
mod trail;
pub mod verbs;
mod whole_store;

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};
use clap_complete::Shell;

pub use migrate::{MigrateArgs, StoreKind};
pub use run::{LogFormat, RunArgs};

use super::client::Client;
use super::exit::EXIT_HELP;
use super::paths;
use crate::name::{EnvironmentName, KeysetId};
use crate::time::{Span, Timestamp};

/// keyrota keeps the roster of a system's signing keys: which kid signs, which one is being announced, which one is seeing out its
/// last tokens, and when they change over.
///
/// Policies state facts (how long a token lives, how long a verifier may cache a key set); keyrota computes the waits, generates
/// the keys, publishes them, and runs old and new kids side by side for exactly as long as the facts require.
#[derive(Debug, Parser)]
#[command(
    name = "keyrota",
    version,
    arg_required_else_help = true,
    after_help = EXIT_HELP,
    after_long_help = EXIT_HELP,
    max_term_width = 110
)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run the daemon: rotate keys, serve key sets and metrics, until SIGTERM
    ///
    /// Reads the policies, generates what is missing, keeps everything in the encrypted store of --state-dir, and serves the key
    /// sets. SIGHUP (or `keyrota reload`) takes edited policies; SIGTERM ends it within seconds. Killing it loses nothing.
    #[command(after_help = "Example:
  keyrota run --policies policies --environment demo \\
      --state-dir /tmp/demo --runtime-dir /tmp/demo")]
    Run(RunArgs),
    /// Judge the policies: every fault at once, with its line and a hint
    ///
    /// Touches nothing but the policy files, so it can run anywhere: in an editor, in the CI of a policy repository, before a reload.
    /// With --online it also asks AWS, where a policy names it, what the identity in use may do; exits with 3 if something is missing.
    #[command(after_help = "Examples:
  keyrota check --policies policies
  keyrota check --policies policies --environment production --online")]
    Check(CheckArgs),
    /// Show what will happen to which key and when; for edited policies, what the edit changes
    ///
    /// The plan is made by the daemon's own decision on a clock that runs ahead, over the real keys: of the daemon that runs here, or
    /// of one elsewhere (--state, a file with its `keyrota status --output json`; it holds no secrets), or from a fresh start if there
    /// is neither. Old and new kids can be seen to overlap in its timeline.
    #[command(after_help = "Examples:
  keyrota plan                                     what comes, by the policies in force
  keyrota plan development/user-sessions           the same for one keyset
  keyrota plan --policies edited/                  what the edited policies would change
  keyrota plan --policies . --state status.json    the same in CI, far from the daemon
  keyrota plan --policies edited/ --svg plan.svg   a picture of it for a pull request")]
    Plan(PlanArgs),
    /// Say in one screen what is wrong, since when, what happens next and when, and what to type
    ///
    /// Exits with 3 if something is overdue or broken. With ENVIRONMENT/KEYSET it shows every key of that keyset.
    #[command(after_help = "Examples:
  keyrota status
  keyrota status development/user-sessions
  keyrota status --output json > status.json       for `keyrota plan --state`; holds no secrets")]
    Status(StatusArgs),
    /// Print the JSON Schema of policy files, for editors
    #[command(after_help = "Example: keyrota schema > policies/policy.schema.json
A policy whose first line is `# yaml-language-server: $schema=policy.schema.json` is then checked as you type.")]
    Schema,
    /// Print the key set that verifiers fetch, or its address
    #[command(after_help = "Example: keyrota jwks development/user-sessions")]
    Jwks(JwksArgs),
    /// Make the running daemon read its policies again
    ///
    /// All or nothing for each environment: an environment with a fault keeps the policy it had. `keyrota check` and
    /// `keyrota plan --policies DIR` say beforehand what would happen.
    #[command(after_help = "Example: keyrota reload --wait")]
    Reload(ReloadArgs),
    /// Bring the next rotation of a keyset forward
    ///
    /// Every wait still holds, so no token is rejected. With --now the successor signs at once, and tokens that it signs may be
    /// rejected until verifiers have fetched it.
    #[command(after_help = "Examples:
  keyrota rotate production/user-sessions
  keyrota rotate production/user-sessions --now --reason \"old algorithm found weak\"")]
    Rotate(verbs::RotateArgs),
    /// Say that one key is compromised: out of every key set, now
    ///
    /// If it signs, its published successor takes over in the same change; if there is none, one is made. Its tokens die with it,
    /// in each verifier when that next fetches the key set.
    #[command(after_help = "Example: keyrota revoke production/user-sessions KID --reason \"found in a log\"")]
    Revoke(verbs::RevokeArgs),
    /// Say that a whole keyset may have leaked: every key is replaced
    ///
    /// Keys that have not signed yet are replaced too. All tokens of the keyset die.
    #[command(after_help = "Example: keyrota compromise production/user-sessions --reason \"laptop stolen, document on it\"")]
    Compromise(verbs::ReasonedArgs),
    /// Undo the last change-over: the key before signs again
    ///
    /// Possible within rollback_window. Incoming keys are held until they are approved.
    #[command(after_help = "Example: keyrota rollback production/user-sessions")]
    Rollback(verbs::KeysetArgs),
    /// Let nothing scheduled happen until a moment
    #[command(after_help = "Examples:
  keyrota freeze production --until 2026-01-02T08:00:00Z --reason \"holidays\"
  keyrota freeze production/user-sessions --until 36h --reason \"release\"")]
    Freeze(verbs::FreezeArgs),
    /// Let scheduled steps go on
    #[command(after_help = "Example: keyrota unfreeze production")]
    Unfreeze(verbs::TargetArgs),
    /// Let an incoming key take over, where that needs an operator's word
    ///
    /// For `mode: approve`, for verifiers with a single key, and after a rollback.
    #[command(after_help = "Example: keyrota approve production/user-sessions KID")]
    Approve(verbs::ApproveArgs),
    /// Go on from what is there now, although this host had seen something else
    ///
    /// After a document vanished, went back or was replaced; with --clock after the wall clock was set.
    #[command(after_help = "Examples:
  keyrota accept production/user-sessions
  keyrota accept production --clock")]
    Accept(verbs::AcceptArgs),
    /// Create a keyset although its inception is another day
    #[command(after_help = "Example: keyrota init production/user-sessions")]
    Init(verbs::KeysetArgs),
    /// Remove a keyset that is in no policy any more, with everything it wrote
    ///
    /// In AWS Secrets Manager its secret is scheduled for deletion, and `aws secretsmanager restore-secret` brings it back until then.
    #[command(after_help = "Example: keyrota remove production/old-sessions --reason \"service is gone\"")]
    Remove(verbs::RemoveArgs),
    /// Say that a back-up was put back: what it revived goes, and everything is rotated
    #[command(after_help = "Example: keyrota restored production --reason \"disk failed, restored from Monday\"")]
    Restored(verbs::RestoredArgs),
    /// Take in a key that somebody else made
    ///
    /// The key comes on standard input or a file descriptor, never on the command line: PEM (PKCS#8, PKCS#1, SEC 1, encrypted PKCS#8),
    /// JWK, or a plain secret. By default it becomes the next key: announced, waited for, then signing.
    #[command(after_help = "Examples:
  keyrota import production/search --kid SK-ALG-1234 --expires 2027-01-01T00:00:00Z --yes < secret.txt
  keyrota import production/user-sessions --as active --yes < old-key.pem
  keyrota import production/user-sessions --fd 3 --passphrase-fd 4 --yes 3< key.pem 4< passphrase")]
    Import(verbs::ImportArgs),
    /// Print the active key for a consumer that reads files or variables
    ///
    /// Asks the signer socket, so whoever may read the document there may export it. With --public only the public half.
    #[command(after_help = "Examples:
  keyrota export production/inkeep --format pem --public > public_key.pem
  keyrota export production/search --format env --kid-name ALGOLIA_KEY_ID --key-name ALGOLIA_SECRET_KEY > algolia.env")]
    Export(verbs::ExportArgs),
    /// Mint a token, verify one, or look into one
    #[command(after_help = "Examples:
  keyrota token mint production/user-sessions --sub ada --ttl 15m
  keyrota token verify - production/user-sessions < token
  keyrota token inspect - < token")]
    Token {
        /// What to do with it
        #[command(subcommand)]
        command: token::TokenCommand,
    },
    /// Leave nothing behind: targets, freed pages, write-ahead log
    #[command(after_help = "Example: keyrota purge production")]
    Purge(verbs::PurgeArgs),
    /// Move an environment's keysets to another store, kids and times intact
    ///
    /// First, with the edited policy in a folder of its own: --to seals every keyset here, copies it there and reads it back. Then merge
    /// the edit and `keyrota reload --wait`. Last, when no replica, signer or verifier reads the old store any more: --erase-source.
    /// Signers and verifiers see the same kids throughout; nothing rotates until the last step. It may be killed anywhere and repeated.
    #[command(after_help = "Examples:
  keyrota migrate production --to aws-secrets-manager --policies edited/ --dry-run
  keyrota migrate production --to aws-secrets-manager --policies edited/
  keyrota migrate production --back --policies edited/       before the policy has switched
  keyrota migrate production --erase-source                  after it has, on every replica")]
    Migrate(MigrateArgs),
    /// Put a new master key in the place of the embedded store's
    ///
    /// Every sealed document is sealed anew while everything goes on; no signing key changes. Interrupted, it goes on when it is asked
    /// for again; both key files are needed until then.
    #[command(after_help = "Example: keyrota rekey --reason \"an administrator left\"")]
    Rekey(verbs::RekeyArgs),
    /// Write everything that is needed to come back into one encrypted file
    ///
    /// The documents of all environments in the embedded store, what this host has seen, the last good policies. Only the recipients
    /// can open it, with keyrota or with any age tool. Documents in AWS are not in it.
    #[command(after_help = "Examples:
  keyrota backup --to age1… --output keyrota.backup
  keyrota backup --to age1… --to age1… | ssh vault 'cat > keyrota.backup'")]
    Backup(verbs::BackupArgs),
    /// Put a back-up into an empty state directory
    ///
    /// All of it or nothing. What comes back is held until `keyrota restored` or `keyrota accept` says how to go on.
    #[command(after_help = "Examples:
  keyrota restore keyrota.backup --identity identity.txt --state-dir /var/lib/keyrota
  age -d identity.age | keyrota restore keyrota.backup --identity - --dry-run")]
    Restore(verbs::RestoreArgs),
    /// Look at everything that could go wrong, now
    ///
    /// Each line is ok, warning or broken, with a hint; exits with 3 if something is broken.
    #[command(after_help = "Example: keyrota doctor production")]
    Doctor(verbs::DoctorArgs),
    /// Read the audit trail, or prove that it is as it was written
    #[command(after_help = "Examples:
  keyrota audit tail --since 24h
  keyrota audit verify")]
    Audit {
        /// What to do with it
        #[command(subcommand)]
        command: verbs::AuditCommand,
    },
    /// Print the completions of a shell
    #[command(after_help = "Example: keyrota completions bash > /etc/bash_completion.d/keyrota")]
    Completions {
        /// Whose
        shell: Shell,
    },
    /// Print the manual page, or write one for each command
    #[command(after_help = "Example: keyrota man --dir /usr/local/share/man/man1")]
    Man {
        /// Write keyrota.1, keyrota-run.1 and so on into this folder
        #[arg(long, value_name = "DIR")]
        dir: Option<PathBuf>,
    },
}

/// Where the running daemon is.
#[derive(Debug, Clone, Args)]
pub struct DaemonArgs {
    /// Where the daemon's sockets are [default: systemd's RUNTIME_DIRECTORY, else /run/keyrota]
    #[arg(long, value_name = "DIR", env = "KEYROTA_RUNTIME_DIR", hide_env_values = true)]
    pub runtime_dir: Option<PathBuf>,
}

/// Which policies.
#[derive(Debug, Clone, Args)]
pub struct PolicyArgs {
    /// The folder with one <environment>.yaml per environment [default: /etc/keyrota/policies]
    #[arg(long, value_name = "DIR")]
    pub policies: Option<PathBuf>,
    /// Only this environment; may be given several times [default: all]
    #[arg(long = "environment", value_name = "NAME")]
    pub environments: Vec<EnvironmentName>,
}

/// In what form state is printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Output {
    /// For people.
    Table,
    /// For programs; fields are only ever added.
    Json,
}

/// In what form.
#[derive(Debug, Clone, Args)]
pub struct OutputArgs {
    /// For people, or for programs
    #[arg(long, value_enum, value_name = "FORM", default_value = "table")]
    pub output: Output,
}

/// `keyrota check`.
#[derive(Debug, Args)]
pub struct CheckArgs {
    #[command(flatten)]
    #[allow(missing_docs)]
    pub policies: PolicyArgs,
    /// Try the permissions of AWS stores too, as whoever runs this, by calls that change nothing
    #[arg(long)]
    pub online: bool,
    #[command(flatten)]
    #[allow(missing_docs)]
    pub output: OutputArgs,
}

/// `keyrota plan`.
#[derive(Debug, Args)]
pub struct PlanArgs {
    /// Only these keysets [default: all]
    #[arg(value_name = "ENVIRONMENT/KEYSET")]
    pub keysets: Vec<KeysetId>,
    #[command(flatten)]
    #[allow(missing_docs)]
    pub policies: PolicyArgs,
    /// Look ahead this far
    #[arg(long, value_name = "DURATION", default_value = "90d")]
    pub horizon: Span,
    /// Take the keys from this `keyrota status --output json` instead of a running daemon (`-`: standard input)
    #[arg(long, value_name = "FILE")]
    pub state: Option<PathBuf>,
    /// Plan as if no keyset had a key yet, even if a daemon runs
    #[arg(long, conflicts_with = "state")]
    pub fresh: bool,
    /// Plan from this moment instead of now (RFC 3339)
    #[arg(long, value_name = "TIME")]
    pub now: Option<Timestamp>,
    /// Draw it too, as a picture for a pull request: one SVG file
    #[arg(long, value_name = "FILE")]
    pub svg: Option<PathBuf>,
    #[command(flatten)]
    #[allow(missing_docs)]
    pub daemon: DaemonArgs,
    #[command(flatten)]
    #[allow(missing_docs)]
    pub output: OutputArgs,
}

/// `keyrota status`.
#[derive(Debug, Args)]
pub struct StatusArgs {
    /// Every key of one keyset
    #[arg(value_name = "ENVIRONMENT/KEYSET")]
    pub keyset: Option<KeysetId>,
    /// Only this environment; may be given several times [default: all]
    #[arg(long = "environment", value_name = "NAME", conflicts_with = "keyset")]
    pub environments: Vec<EnvironmentName>,
    #[command(flatten)]
    #[allow(missing_docs)]
    pub daemon: DaemonArgs,
    #[command(flatten)]
    #[allow(missing_docs)]
    pub output: OutputArgs,
}

/// `keyrota jwks`.
#[derive(Debug, Args)]
pub struct JwksArgs {
    /// Which keyset
    #[arg(value_name = "ENVIRONMENT/KEYSET")]
    pub keyset: KeysetId,
    /// Print the address that verifiers fetch it from instead
    #[arg(long)]
    pub url: bool,
    /// The address of the daemon's listener, for --url
    #[arg(long, value_name = "URL", default_value = "http://127.0.0.1:8480", requires = "url")]
    pub base: String,
    #[command(flatten)]
    #[allow(missing_docs)]
    pub daemon: DaemonArgs,
}

/// `keyrota reload`.
#[derive(Debug, Args)]
pub struct ReloadArgs {
    /// Wait until the policies are in force or refused, and say which
    #[arg(long)]
    pub wait: bool,
    #[command(flatten)]
    #[allow(missing_docs)]
    pub daemon: DaemonArgs,
}

impl DaemonArgs {
    /// Where the sockets are.
    pub fn runtime_dir(&self) -> PathBuf {
        paths::choose(self.runtime_dir.as_deref(), "RUNTIME_DIRECTORY", paths::RUNTIME_DIR)
    }

    /// The daemon that is there.
    pub fn client(&self) -> Client {
        Client::new(&self.runtime_dir())
    }

    /// Its signer socket.
    pub fn signers(&self) -> Client {
        Client::signers(&self.runtime_dir())
    }
}

impl PolicyArgs {
    /// The folder.
    pub fn folder(&self) -> PathBuf {
        self.policies.clone().unwrap_or_else(|| paths::POLICIES.into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory as _;

    #[test]
    fn the_definition_is_sound_and_every_command_teaches() {
        let mut command = Cli::command();
        command.build();
        command.clone().debug_assert();
        for sub in command.get_subcommands().filter(|s| s.get_name() != "help") {
            assert!(sub.get_about().is_some(), "{} says what it is for", sub.get_name());
            let example = sub.get_after_help().map(ToString::to_string).unwrap_or_default();
            assert!(example.contains(&format!("keyrota {}", sub.get_name())), "{} has an example", sub.get_name());
            for arg in sub.get_arguments() {
                assert!(arg.get_help().is_some(), "{} {} has a help text", sub.get_name(), arg.get_id());
            }
        }
    }
}
