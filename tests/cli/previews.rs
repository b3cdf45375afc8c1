//! What every verb says before it is done, as somebody reads it at three in the morning: one file, verb by verb.

use std::fmt::Write as _;

use keyrota::cli::rekey;
use keyrota::cli::style::Look;
use keyrota::cli::verbs::{announced, reported};
use keyrota::digest::Digest;
use keyrota::document::Intent;
use keyrota::name::Generation;
use keyrota::operator::preview::{of_purge, of_removal};
use keyrota::operator::{ImportRole, Preview, Verb, preview};
use keyrota::policy::{Mode, VerifierShape};
use keyrota::rules::Rules;
use keyrota::status_report::rekey::{RekeyPhase, RekeyReport};
use keyrota::status_report::verbs::{Refused, VerbAsked, VerbOutcome, VerbReport, VerbRequest};
use keyrota::time::Span;

use crate::fixture::{Scene, by_ada, keyless, kid, made, signing, t0, unstored};
use crate::golden::golden;

/// A quarter of an hour after the keys of the scenes were announced.
fn now() -> keyrota::time::Timestamp {
    t0() + Span::minutes(15)
}

fn request(verb: VerbAsked) -> VerbRequest {
    let (environment, keyset) = ("test".parse().unwrap(), Some("sessions".parse().unwrap()));
    VerbRequest { environment, keyset, verb, reason: String::new(), dry_run: true, seen: std::collections::BTreeMap::new() }
}

fn report(outcome: Option<Result<Preview, Refused>>, notes: Vec<String>) -> VerbReport {
    let keysets = outcome.map(|outcome| VerbOutcome {
        keyset: "sessions".parse().unwrap(),
        preview: outcome.as_ref().ok().cloned(),
        generation: None,
        refused: outcome.err(),
    });
    VerbReport { at: now(), by: "ada (1000)".to_owned(), keysets: keysets.into_iter().collect(), notes }
}

fn foretold(scene: &Scene, verb: &Verb) -> Result<Preview, Refused> {
    let scene = scene.clone().at(now());
    let intent = Intent::new("ada (1000)", now(), "because");
    preview(&scene.document, verb, &scene.rules, intent, &scene.observed)
        .map_err(|refusal| Refused::of(if refusal.is_unsafe() { "unsafe" } else { "pointless" }, &refusal.to_string()))
}

/// Everything in one text, with the case above each.
#[derive(Default)]
struct Pages(String);

impl Pages {
    fn page(&mut self, case: &str, text: &str) {
        assert!(!text.trim().is_empty(), "{case} says nothing");
        let _ = write!(self.0, "### {case}\n{text}\n");
    }

    fn verb(&mut self, case: &str, asked: VerbAsked, scene: &Scene, verb: &Verb) {
        let text = announced(&request(asked), &report(Some(foretold(scene, verb)), Vec::new()), &Look::PLAIN);
        self.page(case, &text);
    }
}

#[test]
fn every_verb_says_what_it_will_do() {
    let mut pages = Pages::default();
    rotations(&mut pages);
    emergencies(&mut pages);
    schedules(&mut pages);
    recoveries(&mut pages);
    materials(&mut pages);
    whole_store(&mut pages);
    golden("previews.txt", &pages.0);
}

fn rotations(pages: &mut Pages) {
    let rotate = |now| VerbAsked::Rotate { now };
    pages.verb("rotate", rotate(false), &signing(), &Verb::Rotate);
    pages.verb("rotate, a successor is published", rotate(false), &signing().published("k2"), &Verb::Rotate);
    pages.verb("rotate --now, a successor is published", rotate(true), &signing().published("k2"), &Verb::RotateNow);
    pages.verb("rotate --now, no successor", rotate(true), &signing(), &Verb::RotateNow);
    let frozen = signing()
        .with(|s| s.document.intents.freeze = Some(keyrota::document::Freeze { until: t0() + Span::days(1), intent: by_ada(t0()) }));
    pages.verb("rotate, frozen", rotate(false), &frozen, &Verb::Rotate);
    pages.verb("rollback, a successor is published", VerbAsked::Rollback, &signing().retiring("k0").published("k2"), &Verb::RollBack);
    pages.verb("rollback, too late", VerbAsked::Rollback, &signing().erased("k0"), &Verb::RollBack);
}

fn emergencies(pages: &mut Pages) {
    let revoke = |name: &str| (VerbAsked::Revoke { kid: kid(name) }, Verb::Revoke { kid: kid(name) });
    let scene = signing().retiring("k0").published("k2");
    for (case, name, scene) in [
        ("revoke the active key, a successor is published", "k1", &scene),
        ("revoke the active key, no successor", "k1", &signing()),
        ("revoke a retiring key", "k0", &scene),
        ("revoke a published key", "k2", &scene),
    ] {
        let (asked, verb) = revoke(name);
        pages.verb(case, asked, scene, &verb);
    }
    pages.verb("compromise", VerbAsked::Compromise, &scene, &Verb::Compromise);
}

fn schedules(pages: &mut Pages) {
    for (case, days) in [("freeze for two days", 2), ("freeze past max_age", 300)] {
        let until = now() + Span::days(days);
        pages.verb(case, VerbAsked::Freeze { until }, &signing().published("k2"), &Verb::Freeze { until });
    }
    let until = t0() + Span::days(2);
    let freeze = keyrota::document::Freeze { until, intent: by_ada(t0()) };
    let frozen = signing().published("k2").with(|s| s.document.intents.freeze = Some(freeze));
    pages.verb("unfreeze", VerbAsked::Unfreeze, &frozen, &Verb::Unfreeze);
    let (asked, verb) = (VerbAsked::Approve { kid: kid("k2") }, Verb::Approve { kid: kid("k2") });
    let waiting = signing().published("k2").with(|s| s.rules.mode = Mode::Approve);
    pages.verb("approve", asked.clone(), &waiting, &verb);
    let single = waiting.with(|s| s.rules.verifier = VerifierShape::SingleKey);
    pages.verb("approve, a verifier with a single key", asked, &single, &verb);
}

fn recoveries(pages: &mut Pages) {
    let revoked = vec![Digest::of(b"k0")];
    let seen = Generation(90);
    let scene = signing().retiring("k0").published("k2");
    let accept = |clock| VerbAsked::Accept { clock };
    pages.verb("accept", accept(false), &scene, &Verb::AcceptDocument { revoked: revoked.clone(), seen });
    let ahead = signing().published("k2").with(|s| {
        s.document.active.as_mut().unwrap().since = now() + Span::hours(1);
        s.document.updated_at = now() + Span::hours(1);
    });
    pages.verb("accept --clock", accept(true), &ahead, &Verb::AcceptClock);
    pages.verb("restored", VerbAsked::Restored, &scene, &Verb::Restored { revoked, seen });
    pages.verb("init", VerbAsked::Init, &unstored(), &Verb::Init);
}

fn materials(pages: &mut Pages) {
    let import = |role| {
        let key = Box::new(made(&signing().rules.spec, "k9", t0()));
        let material = keyrota::status_report::verbs::Material(keyrota::secret::SecretText::new("(the secret)".to_owned()));
        let asked = VerbAsked::Import { kid: None, role, expires: None, created: None, algorithm: None, material, passphrase: None };
        (asked, Verb::Import { key, role })
    };
    for (case, role, scene) in [
        ("import, as next", ImportRole::Next, signing()),
        ("import, as active", ImportRole::Active, keyless()),
        ("import, to be verified only", ImportRole::VerifyOnly, signing()),
        ("import, as active beside another", ImportRole::Active, signing()),
    ] {
        let (asked, verb) = import(role);
        pages.verb(case, asked, &scene, &verb);
    }
}

fn whole_store(pages: &mut Pages) {
    let orphan = signing().retiring("k0");
    let places = ["file /etc/sessions.jwks.json"];
    let gone = of_removal(
        &orphan.document,
        &Rules::orphan(&orphan.document),
        places.into_iter().map(|place| format!("{place} is removed")),
        now(),
    );
    pages.page("remove", &announced(&request(VerbAsked::Remove), &report(Some(Ok(gone)), Vec::new()), &Look::PLAIN));
    let whole = VerbRequest { keyset: None, ..request(VerbAsked::Purge) };
    pages.page("purge", &announced(&whole, &report(None, of_purge(&whole.environment)), &Look::PLAIN));
    let idle = RekeyReport {
        at: now(),
        by: "ada (1000)".to_owned(),
        phase: RekeyPhase::Idle,
        master_key: "0011223344556677".to_owned(),
        next_key: None,
        key_file: "/var/lib/keyrota/master.key".to_owned(),
        sealed: 0,
        values: 12,
        refused: None,
        notes: Vec::new(),
    };
    pages.page("rekey", &rekey::announced(&idle, &Look::PLAIN));
    let next_key = Some("8899aabbccddeeff".to_owned());
    let interrupted = RekeyReport { phase: RekeyPhase::Interrupted, next_key, ..idle.clone() };
    pages.page("rekey, interrupted before", &rekey::announced(&interrupted, &Look::PLAIN));
    pages.page("rekey, done", &rekey::reported(&RekeyReport { phase: RekeyPhase::Done, ..idle.clone() }, &Look::PLAIN));
    let refused = Some(Refused::of("store", "the disk is full; hint: make room"));
    pages.page("rekey, stopped", &rekey::reported(&RekeyReport { phase: RekeyPhase::Stopped, refused, ..idle }, &Look::PLAIN));
    let mut done = report(Some(foretold(&signing(), &Verb::Rotate)), Vec::new());
    done.keysets[0].generation = Some(Generation(8));
    pages.page("what was done", &reported(&request(VerbAsked::Rotate { now: false }), &done, &Look::PLAIN));
}
