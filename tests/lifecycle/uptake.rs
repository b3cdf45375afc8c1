//! Signers that report, and the key that one of them still uses.

use keyrota::document::{Change, HistoryEntry, StateName, Trigger};
use keyrota::forecast::forecast;
use keyrota::lifecycle::{Decision, StepKind, laggards, overdue};
use keyrota::name::Generation;
use keyrota::observed::SignerReport;
use keyrota::time::{Span, Timestamp};

use crate::fixture::{RETENTION, Scene, kid, signing, t0};
use crate::table::{Instant, decide, now_does, waiting};

/// Tokens live 46 minutes, two clocks differ by two, and a minute of margin.
const TOKEN_LIFE: Span = Span::minutes(49);
const SIGNER_REFRESH: Span = Span::minutes(10);
const BOUND: Span = Span::hours(2);

fn due() -> Timestamp {
    t0() + RETENTION
}

/// `k0` signs no more since generation 5, and signers may keep it for two hours.
fn required() -> Scene {
    signing().erased("k0").with(|s| {
        s.rules.uptake_bound = Some(BOUND);
        let change = Change::KeyMoved { kid: kid("k0"), from: Some(StateName::Active), to: StateName::Retiring };
        let (generation, at, trigger) = (Generation(5), t0(), Trigger::Schedule);
        s.document.history.push(HistoryEntry { generation, at, trigger, reason: "due".into(), by: None, change });
    })
}

trait Reported {
    /// Last heard of at that moment; went to these generations.
    fn reported(self, name: &str, heard_at: Timestamp, moves: &[(u64, Timestamp)]) -> Self;
}

impl Reported for Scene {
    fn reported(self, name: &str, heard_at: Timestamp, moves: &[(u64, Timestamp)]) -> Self {
        let moves = moves.iter().map(|(generation, at)| (Generation(*generation), *at)).collect();
        self.with(|s| s.observed.uptake.push(SignerReport { name: name.parse().unwrap(), heard_at, moves }))
    }
}

fn by_signers() -> Vec<Instant> {
    let before = t0().minus(Span::hours(1));
    let moved = due() + Span::minutes(10);
    let silent_since = t0() + Span::minutes(30);
    let restarted = due().minus(Span::minutes(3));
    let instant = |rule, scene, at, waits| Instant { rule, scene, at, waits, step: "retire k0" };
    vec![
        instant("nobody reports", required(), due(), "retention"),
        instant("a signer that moved on at once", required().reported("a", due(), &[(4, before), (5, t0())]), due(), "retention"),
        instant("one that began later", required().reported("a", due(), &[(7, due())]), due(), "retention"),
        instant(
            "one that moved on too late: its last tokens",
            required().reported("a", moved + TOKEN_LIFE, &[(4, before), (7, moved)]),
            moved + TOKEN_LIFE,
            "retention",
        ),
        instant(
            "one that lagged and is heard of no more",
            required().reported("a", silent_since, &[(4, before)]),
            silent_since + SIGNER_REFRESH + TOKEN_LIFE,
            "retention",
        ),
        instant(
            "one that lags until the bound",
            required().reported("b", due(), &[(7, t0())]).reported("a", due() + BOUND, &[(4, before)]),
            due() + BOUND,
            "uptake",
        ),
        instant(
            "one that moved on just before the bound",
            required().reported("a", due() + BOUND, &[(4, before), (7, (due() + BOUND).minus(Span::millis(1)))]),
            due() + BOUND,
            "retention",
        ),
        instant(
            "a process that began lately knows nobody yet",
            required().with(move |s| s.observed.serving_since = restarted),
            restarted + SIGNER_REFRESH + Span::minutes(2),
            "uptake",
        ),
        instant(
            "where reports are only shown",
            required().reported("a", due(), &[(4, before)]).with(|s| s.rules.uptake_bound = None),
            due(),
            "retention",
        ),
        instant(
            "a key that never signed here",
            required().reported("a", due(), &[(4, before)]).with(|s| s.document.retiring[0].activated_at = None),
            due(),
            "retention",
        ),
    ]
}

#[test]
fn a_key_stays_while_a_signer_uses_it_and_its_tokens_live_but_no_longer_than_the_bound() {
    by_signers().iter().for_each(Instant::holds);
}

#[test]
fn a_signer_that_lags_is_named_and_somebody_is_told() {
    let scene = required().reported("web-1", due(), &[(4, t0().minus(Span::hours(1)))]).at(due());
    let wait = waiting("lags", &scene);
    let retire = wait.pending.iter().find(|p| p.step == StepKind::Retire).unwrap();
    assert_eq!((retire.at, wait.until), (Some(due() + BOUND), Some(due() + BOUND)));
    let said = retire.to_string();
    assert!(said.contains("signer web-1 still reports generation 4") && said.contains("since 5"), "{said}");
    let late = overdue::overdue(&scene.document, &scene.rules, &scene.observed).unwrap();
    assert_eq!((late.since, late.because.label()), (due(), "uptake"));
    let before = scene.clone().at(due().minus(Span::millis(1)));
    assert_eq!(overdue::overdue(&before.document, &before.rules, &before.observed), None, "in time until then");

    let over = scene.with(|s| s.observed.uptake[0].heard_at = due() + BOUND).at(due() + BOUND);
    now_does("the bound is over", &over, "retire k0");
    assert_eq!(laggards(&over.document, &over.rules, &over.observed, &kid("k0")).len(), 1);
    let Decision::Do(_, reason) = decide(&over) else { panic!("it retires") };
    assert_eq!(reason.text, "signer web-1 still reports generation 4, and uptake_bound 2h is over");
}

#[test]
fn a_history_that_does_not_reach_back_is_no_excuse() {
    let forgotten = |s: &mut Scene| {
        s.document.history[0].change = Change::FactsAdopted;
        s.document.history[0].generation = Generation(6);
    };
    let scene = required().with(forgotten).reported("a", due(), &[(5, t0())]).at(due());
    let held = waiting("nobody knows", &scene);
    assert!(held.pending.iter().any(|p| p.because.name() == "uptake"), "the earliest generation that is known is asked for: {held:?}");
}

#[test]
fn a_forecast_trusts_that_signers_move_on() {
    let scene = required().reported("a", t0(), &[(4, t0())]);
    let told = forecast(&scene.document, &scene.rules, &scene.observed, t0() + Span::hours(2));
    assert_eq!(told.steps.iter().map(|s| (s.step, s.at)).collect::<Vec<_>>(), [(StepKind::Retire, due())]);
}
