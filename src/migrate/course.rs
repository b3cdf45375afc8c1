//! What is to be done next so that one keyset gets from one store to another: pure, from what both hold now.
//!
//! It is decided anew before every swap, from nothing but the two documents, so a move that was interrupted anywhere goes on where it
//! stood, and one that is done stays done.

use crate::document::change::{Cause, Draft, Promise};
use crate::document::{Document, Intent, Journey, Moved, Trigger};
use crate::lifecycle::moved_to;

/// From where to where, by [`crate::policy::StoreConfig::name`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Route {
    /// The store that the keysets leave.
    pub source: String,
    /// The store that they go to.
    pub target: String,
}

impl Route {
    /// The way back.
    #[must_use]
    pub fn reversed(&self) -> Self {
        Self { source: self.target.clone(), target: self.source.clone() }
    }
}

/// The next thing to do on the way.
#[derive(Debug, PartialEq, Eq)]
pub enum Course {
    /// Neither store has the keyset.
    Nothing,
    /// The source is to hold this: the same, sealed.
    Seal(Box<Document>),
    /// The target is to hold this: the sealed document's successor, the same but for the seal.
    Copy(Box<Document>),
    /// The target is to hold this: the same without its seal, because nothing has arrived where it pointed.
    Unseal(Box<Document>),
    /// The target holds the copy, or what has become of it.
    There,
}

/// The next thing to do when nobody reads the source any more.
#[derive(Debug, PartialEq, Eq)]
pub enum Ending {
    /// The target is to hold this: scheduled steps begin again.
    Settle(Box<Document>),
    /// The source is to hold nothing.
    Erase,
    /// All is done.
    Over,
}

/// Why a keyset cannot go there. Ends with a hint.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{what}; hint: {hint}")]
pub struct Blocked {
    /// What is in the way, as a sentence.
    pub what: String,
    /// What to do.
    pub hint: String,
}

fn blocked(document: &Document, what: impl std::fmt::Display, hint: impl Into<String>) -> Blocked {
    Blocked { what: format!("keyset {}: {what}", document.id), hint: hint.into() }
}

/// What is next on the way. `intent` goes into the seal.
///
/// # Errors
/// If the target holds what the move must not overwrite, or the source is on its way elsewhere.
pub fn course(source: Option<&Document>, target: Option<&Document>, route: &Route, intent: &Intent) -> Result<Course, Blocked> {
    let returns = |document: &Document| document.intents.moved_to().is_some_and(|journey| journey.store == route.source);
    let Some(source) = source else {
        return Ok(match target {
            None => Course::Nothing,
            Some(target) if returns(target) => Course::Unseal(Box::new(successor(target, None, intent))),
            Some(_) => Course::There,
        });
    };
    let replaceable = target.is_none_or(|target| returns(target) && follows(source, target));
    match source.intents.moved_to() {
        Some(journey) if journey.store != route.target => {
            let sentence = moved_to(&source.id, journey);
            let (what, _) = sentence.split_once("; hint: ").unwrap_or((&sentence, ""));
            Err(blocked(source, what, "migrate it to that store, or --back from it, first"))
        }
        Some(journey) => match target {
            Some(target) if has_arrived(source, target) => Ok(Course::There),
            _ if replaceable => Ok(Course::Copy(Box::new(copy(source, route, &journey.intent)))),
            target => Err(occupied(source, target, route)),
        },
        None if !replaceable => Err(occupied(source, target, route)),
        None => {
            if let Some(journey) = source.intents.moved_from().filter(|journey| journey.store != route.target) {
                let hint = format!("end that first: `keyrota migrate {} --erase-source`", source.id.environment);
                return Err(blocked(source, format!("its move from the {} has not ended", journey.store), hint));
            }
            let journey = Journey { store: route.target.clone(), intent: intent.clone() };
            Ok(Course::Seal(Box::new(successor(source, Some(Moved::MovedTo(journey)), intent))))
        }
    }
}

/// What is next at the end of the move: the source, which nobody reads any more, is emptied, unless it is to be kept.
///
/// # Errors
/// If the source is not sealed, or the target does not hold what it held.
pub fn ending(source: Option<&Document>, target: Option<&Document>, route: &Route, keep: bool, intent: &Intent) -> Result<Ending, Blocked> {
    if let Some(source) = source {
        let sealed = source.intents.moved_to().is_some_and(|journey| journey.store == route.target);
        if !sealed || !target.is_some_and(|target| has_arrived(source, target)) {
            let what = format!("it has not moved from the {} to the {}", route.source, route.target);
            let hint = format!("`keyrota migrate {} --to … --policy …` first", source.id.environment);
            return Err(blocked(source, what, hint));
        }
    }
    if let Some(target) = target.filter(|t| t.intents.moved_from().is_some_and(|journey| journey.store == route.source)) {
        return Ok(Ending::Settle(Box::new(successor(target, None, intent))));
    }
    Ok(if source.is_some() && !keep { Ending::Erase } else { Ending::Over })
}

/// Whether the target holds the copy of a sealed source, or what has become of it.
pub fn has_arrived(source: &Document, target: &Document) -> bool {
    if source.intents.moved_to().is_none() || target.generation <= source.generation {
        return false;
    }
    // Beyond its lineage a document still remembers its keys.
    let remembers = || source.live().any(|live| target.knows(&live.key.kid));
    target.lineage.contains(&(source.generation, source.digest())) || beyond_lineage(target, source) && remembers()
}

/// Whether one document descends from another, as far as its lineage reaches.
fn follows(later: &Document, earlier: &Document) -> bool {
    let then = later.lineage.iter().find(|(generation, _)| *generation == earlier.generation);
    then.map_or_else(|| beyond_lineage(later, earlier), |(_, digest)| *digest == earlier.digest())
}

/// Whether a document is so much later than another that its lineage no longer reaches back to it.
fn beyond_lineage(later: &Document, earlier: &Document) -> bool {
    later.lineage.last().is_some_and(|(oldest, _)| *oldest > earlier.generation)
}

/// What the target is to hold. Made from the sealed document alone, so that it is the same whoever makes it and whenever.
fn copy(sealed: &Document, route: &Route, intent: &Intent) -> Document {
    let journey = Journey { store: route.source.clone(), intent: intent.clone() };
    successor(sealed, Some(Moved::MovedFrom(journey)), intent)
}

fn successor(document: &Document, moved: Option<Moved>, intent: &Intent) -> Document {
    let cause = Cause { now: intent.at, trigger: Trigger::Operator, reason: intent.reason.clone(), by: Some(intent.by.clone()) };
    let mut draft = Draft::of(document, Some(document.digest()), cause, Promise::default());
    draft.move_between_stores(moved);
    draft.finish()
}

fn occupied(source: &Document, target: Option<&Document>, route: &Route) -> Blocked {
    let generation = target.map(|target| target.generation).unwrap_or_default();
    let what =
        format!("the {} holds generation {generation} of it already, which is no copy of what the {} holds", route.target, route.source);
    blocked(source, what, "choose another prefix, or remove that keyset there first; nothing is overwritten")
}
