//! `keyrota plan`: what will happen to which key and when, and what an edited policy changes about that.
//!
//! Pure from [`lay_out`] on: documents, rules and a moment go in, a [`Plan`] comes out, and [`text`] and [`json`] show it. The steps
//! are those of [`crate::forecast`], which asks the daemon's own decision; nothing here knows when anything is due. [`source`] alone
//! does I/O.

mod arithmetic;
mod calendar;
mod changes;
mod json;
mod life;
pub mod source;
pub mod stretch;
mod text;
pub mod timeline;

use std::collections::BTreeMap;

pub use changes::Change;
pub use json::json;
pub use life::{Life, Phase, gone, lives};
pub use text::text;

use crate::document::Document;
use crate::forecast::{Forecast, forecast};
use crate::key::KeyClass;
use crate::name::KeysetId;
use crate::observed::Observed;
use crate::policy::KeysetPolicy;
use crate::rules::Rules;
use crate::time::{Span, Timestamp};
use crate::waits::Waits;

/// How many rotations ahead a plan looks at most, because what comes later looks the same.
pub const MOST_ROTATIONS: u64 = 50;

/// What is there already.
#[derive(Debug, Clone, Default)]
pub struct Known {
    /// The document, without its secrets; `None` if the keyset has never been stored, or the daemon cannot read it.
    pub document: Option<Document>,
    /// The rules in force, where whoever told us about the keyset also said that.
    pub rules: Option<Rules>,
    /// Since when the daemon has served it without a gap.
    pub serving_since: Option<Timestamp>,
    /// What the daemon says does not work.
    pub troubles: Vec<String>,
}

/// What a policy asks for.
#[derive(Debug, Clone)]
pub struct Wish {
    /// The rules.
    pub rules: Rules,
    /// The only day on which it is created without an operator's word, if the policy names one.
    pub inception: Option<chrono::NaiveDate>,
}

/// A plan for everything that was asked about.
#[derive(Debug, Clone)]
pub struct Plan {
    /// From when.
    pub now: Timestamp,
    /// How far.
    pub horizon: Span,
    /// From which state and by which policies, as a sentence.
    pub basis: String,
    /// What else is worth knowing, as sentences.
    pub notes: Vec<String>,
    /// Whether it shows what an edit changes.
    pub is_edit: bool,
    /// Keyset by keyset.
    pub keysets: Vec<KeysetPlan>,
}

/// The plan for one keyset.
#[derive(Debug, Clone)]
pub struct KeysetPlan {
    /// Which.
    pub id: KeysetId,
    /// From when.
    pub now: Timestamp,
    /// Until when: the horizon, or [`MOST_ROTATIONS`] rotations ahead.
    pub until: Timestamp,
    /// How policy and state stand to each other.
    pub standing: Standing,
    /// What is there.
    pub document: Document,
    /// What it is to be judged by.
    pub rules: Rules,
    /// The waits at the plan's beginning.
    pub waits: Waits,
    /// What an edit changes.
    pub changes: Vec<Change>,
    /// What happens; nothing if the policy is refused.
    pub forecast: Forecast,
    /// What the daemon says does not work.
    pub troubles: Vec<String>,
}

/// How policy and state stand to each other.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Standing {
    /// The keyset is not there yet.
    New,
    /// It is there, perhaps without a key yet, and goes on.
    Kept,
    /// It is there and in no policy any more.
    Orphaned,
    /// The policy cannot be applied to it.
    Refused {
        /// Why, as a sentence.
        why: String,
    },
}

impl Plan {
    /// Whether it holds something that a daemon would refuse.
    pub fn is_refused(&self) -> bool {
        self.keysets.iter().any(|k| matches!(k.standing, Standing::Refused { .. }))
    }
}

impl Wish {
    /// What a policy asks for.
    pub fn of(policy: &KeysetPolicy, store: &crate::policy::StoreConfig) -> Self {
        Self { rules: Rules::of(policy, store), inception: policy.inception }
    }
}

/// Lays out every keyset that is known or wished for. Without wishes the rules that are in force go on.
pub fn lay_out(
    known: &BTreeMap<KeysetId, Known>,
    wishes: Option<&BTreeMap<KeysetId, Wish>>,
    now: Timestamp,
    horizon: Span,
) -> Vec<KeysetPlan> {
    let nothing = Known::default();
    let mut ids: Vec<&KeysetId> = known.keys().chain(wishes.into_iter().flat_map(BTreeMap::keys)).collect();
    ids.sort();
    ids.dedup();
    let plan = |id: &KeysetId| {
        let known = known.get(id).unwrap_or(&nothing);
        let wish = match wishes {
            Some(wishes) => wishes.get(id).cloned(),
            None => known.rules.clone().map(|rules| Wish { rules, inception: None }),
        };
        one(id, known, wish, wishes.is_some(), now, horizon)
    };
    ids.into_iter().filter_map(plan).collect()
}

fn one(id: &KeysetId, known: &Known, wish: Option<Wish>, edited: bool, now: Timestamp, horizon: Span) -> Option<KeysetPlan> {
    let inception = wish.as_ref().and_then(|w| w.inception);
    let document = known.document.clone();
    let (rules, document) = match (wish, document) {
        (Some(wish), Some(document)) => (wish.rules, document),
        (Some(wish), None) => (wish.rules.clone(), Document::empty(id.clone(), wish.rules.spec.class())),
        (None, Some(document)) => (Rules::orphan(&document), document),
        (None, None) => return None, // neither there nor wanted, or not looked at yet
    };
    let standing = standing(&document, &rules, known.rules.is_some());
    let from = beginning(&document, inception, now);
    let waits = Waits::at(&document, &rules, now);
    let ahead = (rules.rotate_every * MOST_ROTATIONS).max((waits.propagation + waits.retention) * 2).min(horizon);
    let until = from.unwrap_or(now) + ahead;
    let mut observed = Observed::quiet(from.unwrap_or(now));
    observed.may_create = from.is_some();
    observed.serving_since = known.serving_since.unwrap_or(Timestamp::EPOCH);
    let forecast = match &standing {
        Standing::Refused { .. } => Forecast { steps: Vec::new(), end: document.clone(), stuck: Vec::new() },
        _ => forecast(&document, &rules, &observed, until),
    };
    let changes = if edited { changes::between(known, &document, &rules, &forecast, now, until) } else { Vec::new() };
    Some(KeysetPlan { id: id.clone(), now, until, standing, document, rules, waits, changes, forecast, troubles: known.troubles.clone() })
}

fn standing(document: &Document, rules: &Rules, in_force: bool) -> Standing {
    let (held, asked) = (document.class, rules.spec.class());
    match () {
        () if rules.is_orphaned() => Standing::Orphaned,
        () if !document.is_stored() && in_force => Standing::Kept,
        () if !document.is_stored() => Standing::New,
        () if held != asked => {
            let why = format!("the keyset holds {}, and the policy asks for {}; hint: {ANOTHER_NAME}", plural(held), plural(asked));
            Standing::Refused { why }
        }
        () => Standing::Kept,
    }
}

const ANOTHER_NAME: &str = "another class of keys is another keyset: give it a new name beside this one";

const fn plural(class: KeyClass) -> &'static str {
    match class {
        KeyClass::Asymmetric => "key pairs",
        KeyClass::Hmac => "HMAC secrets",
        KeyClass::ApiKey => "API keys",
    }
}

/// When a keyset that is not there yet may be created: now, at the beginning of its inception day, or never by itself.
fn beginning(document: &Document, inception: Option<chrono::NaiveDate>, now: Timestamp) -> Option<Timestamp> {
    let Some(day) = inception.filter(|_| !document.is_stored()) else { return Some(now) };
    let today = now.to_utc().date_naive();
    let midnight = day.and_time(chrono::NaiveTime::MIN).and_utc();
    (day >= today).then(|| now.max(midnight.into()))
}
