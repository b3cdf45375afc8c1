//! Claims: the place in the version history of a secret that a successor of one version takes, and whether somebody else's successor
//! can stand for one's own.

use uuid::Uuid;

use super::calls::VersionId;
use crate::document::{Change, Document};
use crate::time::Span;

/// How far the decisions of two replicas may lie apart in time for one of them to stand for both.
pub(super) const FRESH: Span = Span::seconds(5);

/// The token of the `n`-th claim on the place after `parent`. Everybody who would succeed `parent` computes the same, so that they
/// meet. From the ARN, not the name, because a secret that was deleted and made again has another ARN.
pub(super) fn token(arn: &str, parent: &VersionId, n: u64) -> VersionId {
    let name = format!("{arn}|{parent}|{n}");
    VersionId(Uuid::new_v5(&Uuid::NAMESPACE_URL, name.as_bytes()).to_string())
}

/// Whether `found`, claimed by somebody else, is the step that `own` is: taken from the same document, under the same facts, at the
/// same time, for the same change. Which key it brings may differ, because every replica generates its own.
///
/// Its times are then those that `own` has, within [`FRESH`], so committing it is as good as committing `own`.
pub(super) fn same_step(found: &Document, own: &Document) -> bool {
    let apart =
        if found.updated_at > own.updated_at { found.updated_at.since(own.updated_at) } else { own.updated_at.since(found.updated_at) };
    apart <= FRESH
        && found.id == own.id
        && found.class == own.class
        && found.generation == own.generation
        && found.lineage == own.lineage
        && found.facts.promised(own.updated_at) == own.facts.promised(own.updated_at)
        && found.intents == own.intents
        && found.started_specs == own.started_specs
        && alike(&last_changes(found), &last_changes(own))
}

fn last_changes(document: &Document) -> Vec<&Change> {
    document.history.iter().filter(|entry| entry.generation == document.generation).map(|entry| &entry.change).collect()
}

/// Whether the changes are the same but for the names of new keys.
fn alike(found: &[&Change], own: &[&Change]) -> bool {
    let same = |(found, own): (&&Change, &&Change)| match (found, own) {
        (Change::KeyMoved { from: None, to: found, .. }, Change::KeyMoved { from: None, to: own, .. }) => found == own,
        (found, own) => found == own,
    };
    found.len() == own.len() && found.iter().zip(own).all(same)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_are_what_the_service_takes_and_differ() {
        let parent = VersionId("not-a-uuid, and it need not be one".into());
        let one = token("arn:1", &parent, 0);
        assert_eq!(one, token("arn:1", &parent, 0));
        assert_eq!(one.0.len(), 36, "32 to 64 characters are lawful");
        for other in [token("arn:2", &parent, 0), token("arn:1", &one, 0), token("arn:1", &parent, 1)] {
            assert_ne!(one, other);
        }
    }
}
