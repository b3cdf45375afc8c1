//! A policy file as it is written: the types that `serde_yaml` reads and that the JSON Schema is made from.
//!
//! The doc comments below are what editors show beside a field, so they speak to whoever writes policies. Nothing is judged here
//! beyond what a single value must look like.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::Deserialize;

use super::leaf::{CronText, DateText, NameText, OctalText, SpanText, TimeZoneText};
use super::profile::{SignerProfile, VerifierProfile};
use super::target::{Audience, TargetFormat};
use super::token::RawToken;
use super::webhook::SecretPlace;
use super::{Mode, SignerAccess, Stale, Start, Sweep, Uptake, VerifierShape};
use crate::event::EventKind;
use crate::key::{Algorithm, KidFormat, SecretEncoding};
use crate::time::Span;

/// A keyrota policy: one environment, its keysets, and the facts from which keyrota computes every wait.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(title = "keyrota policy")]
#[allow(dead_code, reason = "part by part this is read from the tree, so that one fault does not hide the next; the whole is the schema")]
pub(super) struct RawPolicy {
    /// The version of this format: 1.
    #[schemars(extend("const" = 1))]
    pub version: u8,
    /// The environment's name; the file is called `<environment>.yaml`.
    #[schemars(with = "NameText")]
    pub environment: String,
    /// How often this environment is looked at: cron with seconds, six fields. Default: every five seconds.
    #[schemars(with = "Option<CronText>")]
    pub reconcile: Option<String>,
    /// Where keyset documents are kept. Default: the embedded store.
    pub store: Option<RawStore>,
    /// What holds for every keyset that does not say otherwise.
    pub defaults: Option<RawDefaults>,
    /// The keysets by name. A name never changes: another name is another keyset.
    pub keysets: BTreeMap<String, RawKeyset>,
}

/// Where keyset documents are kept.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct RawStore {
    /// `embedded`: an encrypted SQLite file in the state directory. `aws-secrets-manager`: one secret per keyset, shared by replicas.
    pub kind: RawStoreKind,
    /// AWS: what stands in front of the keyset's name. Default: `keyrota/<environment>/`.
    pub prefix: Option<String>,
    /// AWS: the region. Default: what the AWS SDK finds.
    pub region: Option<String>,
    /// AWS: another address of the service, for tests or private endpoints.
    pub endpoint_url: Option<String>,
    /// AWS: the KMS key that encrypts the secrets. Default: the account's own.
    pub kms_key_id: Option<String>,
    /// AWS: tags of every secret.
    pub tags: Option<BTreeMap<String, String>>,
    /// AWS: regions that secrets are replicated to.
    pub replica_regions: Option<Vec<String>>,
    /// AWS: the profile in the AWS configuration files.
    pub profile: Option<String>,
    /// AWS: how replicas notice each other's changes. Default: list.
    pub sweep: Option<Sweep>,
    /// AWS: how often. Default: 1m. Every wait counts twice that in.
    #[schemars(with = "Option<SpanText>")]
    pub sweep_every: Option<Span>,
}

/// The kinds of stores.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub(super) enum RawStoreKind {
    /// An encrypted SQLite file in the state directory.
    Embedded,
    /// AWS Secrets Manager: one secret per keyset.
    AwsSecretsManager,
}

/// Declares a struct with its own fields, then those that a keyset and `defaults:` have in common.
macro_rules! with_common_fields {
    ($(#[$attribute:meta])* $name:ident { $($own:tt)* }) => {
        $(#[$attribute])*
        #[derive(Debug, Deserialize, JsonSchema)]
        #[serde(deny_unknown_fields)]
        pub(super) struct $name {
            $($own)*
            /// The longest life of any token this keyset signs. No default: only you know it. Not for API keys.
            #[schemars(with = "Option<SpanText>")]
            pub token_ttl: Option<Span>,
            /// The longest a verifier may go on using a key set (or secret) it fetched. No default: state it or name a `verifier_profile`.
            #[schemars(with = "Option<SpanText>")]
            pub verifier_refresh: Option<Span>,
            /// The longest a signer may go on using a document it read. No default: state it or name a `signer_profile`.
            #[schemars(with = "Option<SpanText>")]
            pub signer_refresh: Option<Span>,
            /// What your verifiers are; gives `verifier_refresh`.
            pub verifier_profile: Option<VerifierProfile>,
            /// How your signers read their document; gives `signer_refresh`.
            pub signer_profile: Option<SignerProfile>,
            /// How often the signing key changes. Default: 30d.
            #[schemars(with = "Option<SpanText>")]
            pub rotate_every: Option<Span>,
            /// A verifier whose refresh failed tries again within this. Default: 2m.
            #[schemars(with = "Option<SpanText>")]
            pub verifier_retry: Option<Span>,
            /// Any two clocks differ by at most this. Default: 60s.
            #[schemars(with = "Option<SpanText>")]
            pub clock_skew: Option<Span>,
            /// What you add to every wait for your own peace of mind. Default: 1m.
            #[schemars(with = "Option<SpanText>")]
            pub margin: Option<Span>,
            /// The `Cache-Control: max-age` that the key set is served with. Default: 60s.
            #[schemars(with = "Option<SpanText>")]
            pub cache_max_age: Option<Span>,
            /// Spreads the rotations of many keysets over this length of time. Default: none.
            #[schemars(with = "Option<SpanText>")]
            pub jitter: Option<Span>,
            /// How long the old private half is kept after a rotation, so that it can be undone. Default: 1h, or less if tokens live shorter.
            #[schemars(with = "Option<SpanText>")]
            pub rollback_window: Option<Span>,
            /// Who starts a rotation. Default: auto.
            pub mode: Option<Mode>,
            /// The only times at which a signing key may change over by schedule. Default: at any time.
            pub rotation_window: Option<RawWindow>,
            /// Who may read this keyset's private material on the signer socket, besides root and the daemon's user.
            pub signers: Option<Vec<SignerAccess>>,
            /// What signers' reports of the generation they use are for. Default: reported.
            pub uptake: Option<Uptake>,
            /// With `uptake: required`: how much longer than its retention a key stays at most for signers that lag. Default: as long again.
            #[schemars(with = "Option<SpanText>")]
            pub uptake_bound: Option<Span>,
            /// What the key set is served with while this process cannot reach its store. Default: serve.
            pub stale: Option<Stale>,
            /// The only day on which a keyset that is missing from the store is created without an operator's word.
            #[schemars(with = "Option<DateText>")]
            pub inception: Option<String>,
            /// Accepts figures that would otherwise be refused.
            #[serde(rename = "unsafe")]
            pub excuse: Option<RawUnsafe>,
        }
    };
}

with_common_fields! {
    /// What holds for every keyset that does not say otherwise.
    #[allow(dead_code, reason = "keysets inherit field by field, so these are read as fields of a keyset")]
    RawDefaults {}
}

with_common_fields! {
    /// One keyset: keys that serve one purpose, of which exactly one signs.
    RawKeyset {
        /// What tokens are signed with, or `api-key` for opaque credentials. Its class (pair, HMAC, API key) never changes.
        pub algorithm: Algorithm,
        /// The modulus length of RSA keys. Default: 3072.
        #[schemars(extend("enum" = [2048, 3072, 4096]))]
        pub rsa_bits: Option<u16>,
        /// Random bytes of an HMAC secret, at least the hash's length (RFC 7518 §3.2). Default: the hash's length.
        pub hmac_bytes: Option<u16>,
        /// How secrets and API keys are written as text.
        pub secret_format: Option<RawSecretFormat>,
        /// How kids are made. Default: thumbprint for key pairs, uuid for secrets and API keys.
        pub kid: Option<KidFormat>,
        /// The age beyond which the signing key counts as stale. Default: `rotate_every` and the waits.
        #[schemars(with = "Option<SpanText>")]
        pub max_age: Option<Span>,
        /// Who makes the keys. Default: generated.
        pub source: Option<RawSource>,
        /// A self-signed X.509 certificate around each public key (`x5c`, `x5t#S256`).
        pub certificate: Option<RawCertificate>,
        /// Places outside the store that keyrota writes and reads back.
        pub publish: Option<Vec<RawTarget>>,
        /// Key sets to be looked at from outside: no new key signs before each has shown it. Only for key pairs.
        pub probe: Option<Vec<RawProbe>>,
        /// Where the first key comes from. Default: generate.
        pub start: Option<Start>,
        /// Whether verifiers can hold old and new keys side by side. Default: overlapping.
        pub verifier: Option<VerifierShape>,
        /// What the tokens look like that keyrota mints with this keyset. Without it, it mints none.
        pub token: Option<RawToken>,
    }
}

/// Who makes keys.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub(super) enum RawSource {
    /// keyrota.
    Generated,
    /// A vendor or an operator; keys are handed in.
    External,
    /// keyrota, and an app at Inkeep is given their public halves: the same as `inkeep_agents` under `publish:`.
    #[serde(rename = "inkeep_agents")]
    InkeepAgents(RawInkeepAgents),
    /// Algolia's Agent Studio: it makes each key when keyrota asks for the next one. Only for HS256.
    Algolia(RawAlgolia),
}

/// When a signing key may change over by schedule.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct RawWindow {
    /// When the window opens: cron with seconds, six fields, the seconds a plain number.
    #[schemars(with = "CronText")]
    pub cron: String,
    /// How long it stays open.
    #[schemars(with = "SpanText")]
    pub duration: Span,
    /// The IANA time zone of `cron`, for example Europe/Paris. Default: UTC.
    #[schemars(with = "Option<TimeZoneText>")]
    pub timezone: Option<String>,
}

/// Accepts figures that would otherwise be refused.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct RawUnsafe {
    /// Why that is acceptable here, for whoever reads this in a year.
    pub reason: String,
}

/// How secrets and API keys are written as text.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct RawSecretFormat {
    /// What stands in front, so that people and scanners recognise it. Part of the secret.
    pub prefix: Option<String>,
    /// How the random bytes are written. Default: base64url; API keys are always base62.
    pub encoding: Option<SecretEncoding>,
}

/// A self-signed X.509 certificate.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct RawCertificate {
    /// The subject's common name, up to 64 characters.
    pub common_name: String,
    /// How long each certificate is valid.
    #[schemars(with = "SpanText")]
    pub validity: Span,
}

/// A key set that is looked at from outside.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct RawProbe {
    /// Where verifiers fetch it: `https://…`. Redirects are not followed.
    pub jwks_url: String,
    /// How often. A key must be shown without a break, and what lies between two looks is not seen. Default: 30s.
    #[schemars(with = "Option<SpanText>")]
    pub every: Option<Span>,
    /// How long a look may take. Default: 5s.
    #[schemars(with = "Option<SpanText>")]
    pub timeout: Option<Span>,
    /// A PEM file with the only authorities that are believed there. Default: those that the machine trusts.
    pub ca_file: Option<String>,
    /// Plain http to another machine: whoever is in between can answer instead. Default: false.
    pub allow_http: Option<bool>,
}

/// A place outside the store that keyrota writes.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub(super) enum RawTarget {
    /// A file, or for `pem` a directory.
    File(RawFile),
    /// A second secret in AWS Secrets Manager, with the public key set alone.
    #[serde(rename = "aws_secret")]
    AwsSecret(RawAwsSecret),
    /// A program that is handed the content on its standard input.
    Exec(RawExec),
    /// The public keys of an app at Inkeep, whose agents check the tokens. Only for key pairs.
    #[serde(rename = "inkeep_agents")]
    InkeepAgents(RawInkeepAgents),
    /// An address that is told what happens. No key waits for it.
    Webhook(RawWebhook),
}

/// A second secret in AWS Secrets Manager, with the public key set alone: for verifiers who must not reach private keys. Everything
/// else about it is as `store:` says.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct RawAwsSecret {
    /// The secret's whole name, which begins with the store's prefix. Default: the prefix, the keyset's name and `.jwks`.
    pub name: Option<String>,
    /// What is written: `jwks`.
    pub format: TargetFormat,
}

/// A program that is handed the content on its standard input, whenever that differs from what it took last.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct RawExec {
    /// The program's absolute path and its arguments, as a list: there is no shell.
    pub argv: Vec<String>,
    /// What it is handed. `jwks` has nothing secret in it; of any other, what the program prints is not logged.
    pub format: TargetFormat,
    /// Who reads what it writes. Default: verifiers for jwks, signers otherwise.
    #[serde(rename = "for")]
    pub audience: Option<Audience>,
    /// How long it may take before it is killed with everything it started. Default: 30s.
    #[schemars(with = "Option<SpanText>")]
    pub timeout: Option<Span>,
    /// A program that prints exactly what was handed over, and nothing if there is nothing yet. Without it, that the first program
    /// ends with 0 counts as having been read back.
    pub read_back: Option<Vec<String>>,
    /// How often `read_back` is run while nothing changes. Default: 1m.
    #[schemars(with = "Option<SpanText>")]
    pub read_back_every: Option<Span>,
}

/// The public keys of an app at Inkeep: every living key is uploaded under its kid, and deleted when it lives no more. Keys that this
/// keyset never had are left alone.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct RawInkeepAgents {
    /// The address of the app's keys: `https://…/apps/<app>/auth/keys`. Redirects are not followed.
    pub url: String,
    /// Where the API key stands that may edit them. It is read for every look, so it can be replaced without a reload.
    pub api_key: SecretPlace,
    /// How often the keys there are looked at while nothing changes. Default: 1m.
    #[schemars(with = "Option<SpanText>")]
    pub every: Option<Span>,
    /// How long a call may take. Default: 10s.
    #[schemars(with = "Option<SpanText>")]
    pub timeout: Option<Span>,
    /// A PEM file with the only authorities that are believed there. Default: those that the machine trusts.
    pub ca_file: Option<String>,
}

/// Secret keys of an application at Algolia, for its Agent Studio. Each is created there, recorded, and deleted there when its last token
/// is dead. Keys that keyrota did not have made are left alone.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct RawAlgolia {
    /// The application's id, letters and digits.
    pub application_id: String,
    /// Where the API key stands that may edit secret keys (ACL `settings`). It is read for every look, so it can be replaced without a
    /// reload.
    pub admin_key: SecretPlace,
    /// The ids of the agents that take tokens signed with these keys. Keys that are there already keep those that they were made for.
    pub agents: Vec<String>,
    /// The API's address, without a path. Default: `https://<application_id>.algolia.net`. Redirects are not followed.
    pub url: Option<String>,
    /// How often the keys there are looked at while nothing changes. Default: 1m.
    #[schemars(with = "Option<SpanText>")]
    pub every: Option<Span>,
    /// How long a call may take. Default: 10s.
    #[schemars(with = "Option<SpanText>")]
    pub timeout: Option<Span>,
    /// A PEM file with the only authorities that are believed there. Default: those that the machine trusts.
    pub ca_file: Option<String>,
}

/// An address that is told what happens to the keyset, signed by the Standard Webhooks convention.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct RawWebhook {
    /// Where messages are posted: `https://…`. Redirects are not followed.
    pub url: String,
    /// Where the secret stands that signs them: `whsec_` and base64.
    pub secret: SecretPlace,
    /// What is told. Default: everything that happens to the keyset.
    pub events: Option<Vec<EventKind>>,
    /// How long an attempt may take. Default: 10s.
    #[schemars(with = "Option<SpanText>")]
    pub timeout: Option<Span>,
    /// A PEM file with the only authorities that are believed there. Default: those that the machine trusts.
    pub ca_file: Option<String>,
    /// Plain http to another machine: whoever is in between can read it. Default: false.
    pub allow_http: Option<bool>,
}

/// A file that keyrota writes.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct RawFile {
    /// An absolute path, or one under the daemon's own state directory: `{state_dir}/…`.
    pub path: String,
    /// What is written.
    pub format: TargetFormat,
    /// Who reads it. Default: verifiers for jwks, signers otherwise.
    #[serde(rename = "for")]
    pub audience: Option<Audience>,
    /// The permissions as octal text, `"0640"`. Default: 0644 for a jwks, 0600 otherwise.
    #[schemars(with = "Option<OctalText>")]
    pub mode: Option<String>,
    /// The group that owns it. Default: the daemon's.
    pub group: Option<String>,
    /// Overwrite a file that holds keys keyrota does not know. Default: false.
    pub replace: Option<bool>,
}
