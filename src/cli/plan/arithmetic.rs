//! Where the waits come from: each as the sum it is, with the facts by name.

use super::KeysetPlan;
use crate::cli::moment;
use crate::cli::style::Look;
use crate::cli::table::Table;
use crate::document::FactName;
use crate::policy::{VerifierShape, most_live_keys};
use crate::time::Span;

/// The facts that a wait is made of, each with how often it counts.
type Sum = [(FactName, u64)];

const PROPAGATION: &Sum = &[
    (FactName::StoreRefresh, 1),
    (FactName::CacheMaxAge, 1),
    (FactName::VerifierRefresh, 1),
    (FactName::ClockSkew, 2),
    (FactName::Margin, 1),
];
const RETENTION: &Sum =
    &[(FactName::StoreRefresh, 1), (FactName::SignerRefresh, 1), (FactName::TokenTtl, 1), (FactName::ClockSkew, 2), (FactName::Margin, 1)];

/// The waits of one keyset, a line each.
pub fn text(plan: &KeysetPlan, look: &Look) -> String {
    let (waits, rules) = (&plan.waits, &plan.rules);
    let mut table = Table::default().indented(4);
    let mut line = |name: &str, length: String, how: String| table.row([name.into(), length.into(), how.into()]);
    line("propagation", waits.propagation.to_string(), format!("= {}", sum(plan, PROPAGATION)));
    line("retention", waits.retention.to_string(), format!("= {}", sum(plan, RETENTION)));
    if !rules.is_orphaned() {
        if let Some(window) = &rules.window {
            line("window", format!("up to {}", waits.window), window.to_string());
        }
        if rules.probed.places > 0 {
            let how = format!("until {} has looked once more; each must show a key before it signs", probes(rules.probed.places));
            line("probes", format!("up to {}", rules.probed.within), how);
        }
        let lead = waits.propagation + waits.window + rules.probed.within;
        line("new key", rules.rotate_every.saturating_sub(lead).to_string(), new_key(plan));
        if let Some(most) = most_live_keys(&waits.facts, rules.rotate_every, waits.window, rules.uptake_bound) {
            line("live keys", format!("at most {most}"), String::new());
        }
    }
    table.render(look) + &draining(plan) + &single_key(plan)
}

fn sum(plan: &KeysetPlan, terms: &Sum) -> String {
    let term = |(name, times): &(FactName, u64)| {
        let value = plan.waits.facts.get(*name);
        let factor = if *times == 1 { String::new() } else { format!("{times} × ") };
        (value > Span::ZERO).then(|| format!("{factor}{} {value}", name.as_str()))
    };
    let terms: Vec<String> = terms.iter().filter_map(term).collect();
    if terms.is_empty() { "nothing to wait for".to_owned() } else { terms.join(" + ") }
}

fn new_key(plan: &KeysetPlan) -> String {
    let (waits, rules) = (&plan.waits, &plan.rules);
    let window = if waits.window > Span::ZERO { format!(" - window {}", waits.window) } else { String::new() };
    let look = if rules.probed.places > 0 { format!(" - probes {}", rules.probed.within) } else { String::new() };
    let jitter = if rules.jitter > Span::ZERO { format!(", less up to {} of jitter", rules.jitter) } else { String::new() };
    format!("after each change-over = rotate_every {} - propagation {}{window}{look}{jitter}", rules.rotate_every, waits.propagation)
}

fn probes(places: usize) -> String {
    if places == 1 { "1 probe".to_owned() } else { format!("each of {places} probes") }
}

/// Facts that count at an older, greater value for a while.
fn draining(plan: &KeysetPlan) -> String {
    let mut out = String::new();
    for name in FactName::ALL {
        for draining in plan.document.facts.of(name).draining.iter().filter(|d| plan.now < d.until) {
            out.push_str(&format!("    {} counts as {} until {}\n", name.as_str(), draining.value, moment::full(draining.until)));
        }
    }
    out
}

fn single_key(plan: &KeysetPlan) -> String {
    if plan.rules.verifier == VerifierShape::Overlapping {
        return String::new();
    }
    let longest = plan.waits.facts.signer_refresh + plan.waits.facts.token_ttl;
    format!("    single-key: its verifier holds one key, so at each change-over every token of the last {longest} dies\n")
}
