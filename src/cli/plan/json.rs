//! A plan for programs. Fields are only ever added.

use serde::Serialize;

use super::{Change, KeysetPlan, Plan, Standing};
use crate::document::FactName;
use crate::name::KeysetId;
use crate::policy::most_live_keys;
use crate::time::{Span, Timestamp};

#[derive(Serialize)]
struct PlanReport<'a> {
    version: u32,
    now: Timestamp,
    horizon: Span,
    basis: &'a str,
    notes: &'a [String],
    refused: bool,
    keysets: Vec<KeysetReport<'a>>,
}

#[derive(Serialize)]
struct KeysetReport<'a> {
    #[serde(flatten)]
    id: IdReport<'a>,
    standing: &'static str,
    until: Timestamp,
    #[serde(skip_serializing_if = "Option::is_none")]
    refused: Option<&'a str>,
    algorithm: &'static str,
    rotate_every: Span,
    propagation: Span,
    retention: Span,
    max_window_wait: Span,
    #[serde(skip_serializing_if = "Option::is_none")]
    most_live_keys: Option<u64>,
    facts: std::collections::BTreeMap<&'static str, Span>,
    changes: &'a [Change],
    calendar: Vec<StepReport<'a>>,
    stuck: Vec<crate::status_report::PendingReport>,
    troubles: &'a [String],
}

#[derive(Serialize)]
struct IdReport<'a> {
    environment: &'a str,
    keyset: &'a str,
}

#[derive(Serialize)]
struct StepReport<'a> {
    at: Timestamp,
    step: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    kid: Option<&'a str>,
    trigger: crate::document::Trigger,
    reason: &'a str,
}

/// The whole plan.
///
/// # Errors
/// None that writing to memory could make.
pub fn json(plan: &Plan) -> serde_json::Result<String> {
    let report = PlanReport {
        version: 1,
        now: plan.now,
        horizon: plan.horizon,
        basis: &plan.basis,
        notes: &plan.notes,
        refused: plan.is_refused(),
        keysets: plan.keysets.iter().map(KeysetReport::from).collect(),
    };
    serde_json::to_string_pretty(&report).map(|text| text + "\n")
}

impl<'a> From<&'a KeysetId> for IdReport<'a> {
    fn from(id: &'a KeysetId) -> Self {
        Self { environment: id.environment.as_str(), keyset: id.keyset.as_str() }
    }
}

impl<'a> From<&'a KeysetPlan> for KeysetReport<'a> {
    fn from(plan: &'a KeysetPlan) -> Self {
        let (standing, refused) = match &plan.standing {
            Standing::New => ("new", None),
            Standing::Kept => ("kept", None),
            Standing::Orphaned => ("orphaned", None),
            Standing::Refused { why } => ("refused", Some(why.as_str())),
        };
        let steps = plan.forecast.steps.iter().map(|s| StepReport {
            at: s.at,
            step: s.step.as_str(),
            kid: s.kid.as_ref().map(crate::name::Kid::as_str),
            trigger: s.reason.trigger,
            reason: &s.reason.text,
        });
        Self {
            id: IdReport::from(&plan.id),
            standing,
            until: plan.until,
            refused,
            algorithm: plan.rules.spec.algorithm().as_str(),
            rotate_every: plan.rules.rotate_every,
            propagation: plan.waits.propagation,
            retention: plan.waits.retention,
            max_window_wait: plan.waits.window,
            most_live_keys: most_live_keys(&plan.waits.facts, plan.rules.rotate_every, plan.waits.window, plan.rules.uptake_bound)
                .filter(|_| !plan.rules.is_orphaned()),
            facts: FactName::ALL.into_iter().map(|name| (name.as_str(), plan.waits.facts.get(name))).collect(),
            changes: &plan.changes,
            calendar: steps.collect(),
            stuck: plan.forecast.stuck.iter().map(Into::into).collect(),
            troubles: &plan.troubles,
        }
    }
}
