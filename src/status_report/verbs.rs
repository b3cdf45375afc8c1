//! What `POST /v1/verbs` on the control socket takes and answers: an operator's verb, what it would do, what became of it.

use std::collections::BTreeMap;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::ErrorReport;
use crate::digest::Digest;
use crate::document::Grants;
use crate::key::Algorithm;
use crate::name::{EnvironmentName, Generation, KeysetName, Kid};
use crate::operator::{ImportRole, Preview};
use crate::secret::SecretText;
use crate::time::{Span, Timestamp};

/// An operator's verb.
#[derive(Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct VerbRequest {
    /// In which environment.
    pub environment: EnvironmentName,
    /// On which keyset; absent: on all of the environment, where the verb allows that.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub keyset: Option<KeysetName>,
    /// What.
    pub verb: VerbAsked,
    /// Why, in the operator's words; cut to 300 characters.
    #[serde(default)]
    pub reason: String,
    /// Only say what would happen.
    #[serde(default)]
    pub dry_run: bool,
    /// The fingerprints of the previews that the operator agreed to. A keyset that is missing here is changed whatever it is like.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub seen: BTreeMap<KeysetName, Digest>,
}

/// What is asked for. Each is explained at [`crate::operator::Verb`].
#[derive(Clone, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "name", deny_unknown_fields)]
#[allow(missing_docs, reason = "each is explained at the verb that it becomes")]
pub enum VerbAsked {
    Rotate {
        #[serde(default)]
        now: bool,
    },
    Revoke {
        kid: Kid,
    },
    Compromise,
    Rollback,
    Freeze {
        until: Timestamp,
    },
    Unfreeze,
    Approve {
        kid: Kid,
    },
    RevokeGrants {
        whom: Grants,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        before: Option<Timestamp>,
    },
    Accept {
        #[serde(default)]
        clock: bool,
    },
    Restored,
    Init,
    Remove {
        /// For how long the store lets it be undone, if it has such a thing; absent: 30 days.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        recovery: Option<Span>,
    },
    Purge,
    Import {
        /// The key's name; absent: its thumbprint, for key pairs.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        kid: Option<Kid>,
        /// What it is to be.
        role: ImportRole,
        /// When its vendor stops accepting it.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        expires: Option<Timestamp>,
        /// When it was made, where that is known.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        created: Option<Timestamp>,
        /// For which algorithm; absent: the policy's.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        algorithm: Option<Algorithm>,
        /// The key itself.
        material: Material,
        /// What opens an encrypted PEM block.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        passphrase: Option<Material>,
    },
}

impl VerbAsked {
    /// Its name on the command line.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Rotate { .. } => "rotate",
            Self::Revoke { .. } => "revoke",
            Self::Compromise => "compromise",
            Self::Rollback => "rollback",
            Self::Freeze { .. } => "freeze",
            Self::Unfreeze => "unfreeze",
            Self::Approve { .. } => "approve",
            Self::RevokeGrants { .. } => "token revoke",
            Self::Accept { .. } => "accept",
            Self::Restored => "restored",
            Self::Init => "init",
            Self::Remove { .. } => "remove",
            Self::Purge => "purge",
            Self::Import { .. } => "import",
        }
    }
}

/// A secret on its way through the control socket, which never shows itself otherwise.
#[derive(Clone)]
pub struct Material(pub SecretText);

/// What became of a verb, keyset by keyset.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct VerbReport {
    /// The daemon's wall clock.
    pub at: Timestamp,
    /// Who asked, as the daemon saw it.
    pub by: String,
    /// Every keyset that was asked about.
    pub keysets: Vec<VerbOutcome>,
    /// What concerns the environment as a whole, as sentences.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub notes: Vec<String>,
}

/// What became of a verb on one keyset.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct VerbOutcome {
    /// Which.
    pub keyset: KeysetName,
    /// What happens, or would; absent if it was refused.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub preview: Option<Preview>,
    /// The generation that it made; absent if it was only asked about or refused.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub generation: Option<Generation>,
    /// Why it was not done.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub refused: Option<Refused>,
}

/// Why a verb was not carried out.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refused {
    /// In a word: `unknown`, `pointless`, `unsafe`, `moved`, `fault`, `store`, `indeterminate`, `keygen`, `busy`, `invalid`.
    pub kind: String,
    /// As a sentence, with what to do.
    #[serde(flatten)]
    pub said: ErrorReport,
}

impl Refused {
    /// Whether it would have done harm.
    pub fn is_unsafe(&self) -> bool {
        self.kind == "unsafe"
    }

    /// A refusal out of a sentence that ends with `; hint: …`.
    pub fn of(kind: &str, sentence: &str) -> Self {
        let (error, hint) = sentence.split_once("; hint: ").unwrap_or((sentence, "the daemon's log says more"));
        Self { kind: kind.to_owned(), said: ErrorReport { error: error.to_owned(), hint: hint.to_owned() } }
    }
}

impl Serialize for Material {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.0.expose())
    }
}

impl<'de> Deserialize<'de> for Material {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer).map(|text| Self(SecretText::new(text)))
    }
}
