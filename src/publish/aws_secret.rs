//! The public key set in a secret of its own in AWS Secrets Manager, shared by all replicas.
//!
//! [`crate::store::aws::key_sets`] knows how to put one version in the place of another; this room says which, and what is somebody
//! else's. The content is what a `jwks` file holds; a keyset without any key left has an empty set there, because a secret cannot be
//! taken away and made again like a file.

use super::holding::{self, Holding};
use super::{Brought, PublishError, ReadBack, format};
use crate::digest::Digest;
use crate::document::Document;
use crate::name::Kid;
use crate::policy::{AwsSecretTarget, TargetFormat};
use crate::secret::SecretText;
use crate::store::aws::AwsStore;
use crate::store::aws::calls::{Calls, VersionId};
use crate::store::aws::key_sets::{KeySetError, KeySetSecret, Shown, Wrote};
use crate::store::aws::pace::Time;

/// How often a secret is looked at again in one go because somebody changes it meanwhile.
const LOOKS: u32 = 4;

/// What somebody else's value is, if it is.
enum Judged {
    /// It is in line.
    Right,
    /// It may be written over. `altered`: somebody else had changed it.
    Wrong { altered: bool },
    /// It names keys that the document does not know, or nothing that can be read.
    Foreign { kids: Vec<Kid> },
}

/// What must stand in the secret.
struct Wanted {
    text: SecretText,
    content: Digest,
    empty: bool,
}

impl Wanted {
    fn of(document: &Document) -> Result<Self, PublishError> {
        let jwks = format::jwks(document)?;
        let text = String::from_utf8(jwks.expose().to_vec()).map_err(|_| PublishError::Format(TargetFormat::Jwks))?;
        let content = format::digest(std::iter::once((None, &jwks)));
        Ok(Self { text: SecretText::new(text), content, empty: document.live().next().is_none() })
    }

    fn agreed(&self, wrote: bool, drift: bool) -> Brought {
        Brought::Agreed { content: self.content, changed_at: None, wrote, drift, said: None, amiss: None }
    }
}

/// As [`super::Targets::bring`].
///
/// # Errors
/// As there.
pub async fn bring<C: Calls, T: Time>(
    store: &AwsStore<C, T>,
    target: &AwsSecretTarget,
    document: &Document,
    expected: Option<Digest>,
) -> Result<Brought, PublishError> {
    let wanted = Wanted::of(document)?;
    let (at, generation) = (secret(target, document), document.generation);
    if store.holds_key_set(at, generation, &wanted.text) {
        return Ok(wanted.agreed(false, false));
    }
    // What is known to be of an earlier generation, and not contradicted, need not be looked at before it is succeeded.
    let mut over = store.known_key_set(at).filter(|(_, known)| known.is_some_and(|known| known < generation)).map(|(version, _)| version);
    let mut drift = false;
    for looks in 0..LOOKS {
        if looks > 0 {
            store.rest_before_look(looks).await;
        }
        if over.is_none() {
            match store.look_at_key_set(at).await? {
                Shown::Nothing if wanted.empty && expected.is_none() => return Ok(wanted.agreed(false, false)),
                Shown::Nothing => drift = expected.is_some(),
                Shown::Value { generation: Some(ahead), .. } if ahead > generation => return Ok(Brought::Ahead { generation: ahead }),
                shown @ Shown::Value { .. } => match judge(&shown, document, &wanted, expected) {
                    Judged::Right => return Ok(wanted.agreed(false, false)),
                    Judged::Foreign { kids } => return Ok(Brought::Foreign { kids }),
                    Judged::Wrong { altered } => {
                        drift = altered;
                        over = version(shown);
                    }
                },
            }
        }
        match store.put_key_set(at, generation, &wanted.text, over.take().as_ref()).await? {
            Wrote::Ahead(generation) => return Ok(Brought::Ahead { generation }),
            Wrote::Changed => {}
            Wrote::InForce => {
                // Read back from the service itself: only that counts.
                if let shown @ Shown::Value { generation: Some(found), .. } = store.look_at_key_set(at).await?
                    && found == generation
                    && matches!(judge(&shown, document, &wanted, expected), Judged::Right)
                {
                    return Ok(wanted.agreed(true, drift));
                }
            }
        }
    }
    let (name, id) = (&target.name, &document.id);
    let what = format!("the secret `{name}` does not show the key set of {id} at generation {generation} yet");
    Err(PublishError::Secret(format!("{what}, or others change it at the same time; hint: it is looked at again in the next pass")))
}

/// What stands there now, compared with what must.
///
/// # Errors
/// If it cannot be read.
pub async fn look<C: Calls, T: Time>(
    store: &AwsStore<C, T>,
    target: &AwsSecretTarget,
    document: &Document,
) -> Result<ReadBack, PublishError> {
    let wanted = Wanted::of(document)?;
    let shown = store.look_at_key_set(secret(target, document)).await?;
    Ok(match judge(&shown, document, &wanted, None) {
        _ if matches!(shown, Shown::Nothing) => ReadBack::Missing,
        Judged::Right => ReadBack::Equal { changed_at: None },
        Judged::Foreign { kids } => ReadBack::Foreign { kids },
        Judged::Wrong { .. } => ReadBack::Differs { kids: held(&shown, document).known },
    })
}

/// Schedules the secret for deletion, if it is one that keyrota keeps for this keyset.
///
/// # Errors
/// If it is not, or may not be deleted.
pub async fn remove<C: Calls, T: Time>(
    store: &AwsStore<C, T>,
    keyset: &crate::name::KeysetName,
    target: &AwsSecretTarget,
    expected: Digest,
) -> Result<bool, PublishError> {
    let at = KeySetSecret { keyset, name: &target.name };
    match store.look_at_key_set(at).await? {
        Shown::Nothing => Ok(false),
        // Another replica may have written it last, and then it has moved on from what was expected.
        Shown::Value { generation: Some(_), .. } => Ok(store.delete_key_set(at).await?),
        Shown::Value { text, .. } if text.as_ref().is_some_and(|text| content(text) == expected) => Ok(store.delete_key_set(at).await?),
        Shown::Value { .. } => Err(PublishError::NotOurs(target.name.clone().into())),
    }
}

fn secret<'a>(target: &'a AwsSecretTarget, document: &'a Document) -> KeySetSecret<'a> {
    KeySetSecret { keyset: &document.id.keyset, name: &target.name }
}

fn version(shown: Shown) -> Option<VersionId> {
    match shown {
        Shown::Nothing => None,
        Shown::Value { version, .. } => Some(version),
    }
}

fn judge(shown: &Shown, document: &Document, wanted: &Wanted, expected: Option<Digest>) -> Judged {
    let Shown::Value { generation, text, .. } = shown else { return Judged::Wrong { altered: expected.is_some() } };
    let found = text.as_ref().map(content);
    let altered = expected.is_some() && found != expected;
    let held = held(shown, document);
    let foreign = held.nameless || !held.foreign.is_empty();
    match generation {
        Some(generation) if *generation == document.generation => {
            // A replica of another version of keyrota may write the same keys in another way: that is no reason to write them again.
            let right = found == Some(wanted.content) || (!foreign && held.known == live(document));
            if right { Judged::Right } else { Judged::Wrong { altered } }
        }
        // An earlier generation, by whichever replica: what the document has forgotten since is no stranger's.
        Some(_) => Judged::Wrong { altered: false },
        // As with files: what was ours and cannot be read any more is damage, and what is exactly what was last written is ours.
        None if foreign && (found.is_none() || found != expected) && (!held.foreign.is_empty() || expected.is_none()) => {
            Judged::Foreign { kids: held.foreign }
        }
        None => Judged::Wrong { altered },
    }
}

fn held(shown: &Shown, document: &Document) -> Holding {
    match shown {
        Shown::Value { text: Some(text), .. } => holding::of_text(TargetFormat::Jwks, text.expose().as_bytes(), document),
        Shown::Value { text: None, .. } => Holding { nameless: true, ..Holding::default() },
        Shown::Nothing => Holding::default(),
    }
}

fn live(document: &Document) -> Vec<Kid> {
    let mut kids: Vec<Kid> = document.jwks().keys.iter().map(|jwk| jwk.kid.clone()).collect();
    kids.sort_unstable();
    kids
}

fn content(text: &SecretText) -> Digest {
    let bytes = crate::secret::SecretBytes::new(text.expose().as_bytes().to_vec());
    format::digest(std::iter::once((None, &bytes)))
}

impl From<KeySetError> for PublishError {
    fn from(error: KeySetError) -> Self {
        Self::Secret(error.0)
    }
}
