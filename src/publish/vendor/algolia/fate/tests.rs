//! Documents with a past against lists of any kind.

use super::*;
use crate::document::change::{Cause, Draft, Promise};
use crate::document::{Facts, Trigger};
use crate::key::{Algorithm, Key, KeyClass, Material};
use crate::name::Generation;

const NOW: &str = "2026-03-01T12:00:00Z";

fn at(minutes: u64) -> Timestamp {
    NOW.parse::<Timestamp>().unwrap() + Span::minutes(minutes)
}

fn secret(kid: &str) -> SecretText {
    SecretText::new(format!("sk-alg-{kid}-0123456789012345678901234567890123456789"))
}

fn key(kid: &str) -> Key {
    let material = Material::Hmac { secret: secret(kid) };
    let (algorithm, origin) = (Algorithm::HS256, Origin::Imported);
    Key { kid: kid.parse().unwrap(), algorithm, bits: 256, created_at: at(0), origin, expires_at: None, material }
}

fn changed(document: &Document, minutes: u64, change: impl FnOnce(&mut Draft)) -> Document {
    let cause = Cause { now: at(minutes), trigger: Trigger::Schedule, reason: "a test".into(), by: None };
    let mut draft = Draft::of(document, None, cause, Promise::default());
    change(&mut draft);
    draft.finish()
}

/// `old` was made for generation 1, signed, retired at minute 60 and left the key set; `revoked` was; `new` signs. Tokens live for ten
/// minutes.
fn past() -> Document {
    let facts = Facts { token_ttl: Span::minutes(10), clock_skew: Span::minutes(1), ..Facts::default() };
    let mut document = Document::empty("test/search".parse().unwrap(), KeyClass::Hmac);
    document.facts = document.facts.adopting(&facts, at(0)).unwrap();
    let kids = ["old", "revoked", "new"].map(|kid| kid.parse::<Kid>().unwrap());
    let document = changed(&document, 0, |draft| draft.stage(key("old")).unwrap());
    let document = changed(&document, 0, |draft| {
        draft.confirm_published(&kids[0]).unwrap();
        draft.activate(&kids[0]).unwrap();
    });
    let document = changed(&document, 50, |draft| draft.stage(key("revoked")).unwrap());
    let document = changed(&document, 51, |draft| draft.revoke(&kids[1], "leaked").unwrap());
    let document = changed(&document, 52, |draft| draft.stage(key("new")).unwrap());
    let document = changed(&document, 60, |draft| {
        draft.confirm_published(&kids[2]).unwrap();
        draft.activate(&kids[2]).unwrap();
    });
    changed(&document, 80, |draft| draft.retire(&kids[0]).unwrap())
}

fn agents() -> BTreeSet<String> {
    BTreeSet::from(["a".to_owned(), "b".to_owned()])
}

fn shown(kid: &str, name: &str) -> Shown {
    let (value, agent_ids) = (secret(kid), agents());
    let (id, name) = (kid.to_owned(), name.to_owned());
    Shown { id, name, value, created_at: Some(at(0)), last_used_at: None, is_default: Some(false), agent_ids }
}

fn named(kid: &str, generation: u64) -> Shown {
    shown(kid, &format!("keyrota/test/search/{generation}"))
}

fn used(shown: Shown, minutes: u64) -> Shown {
    Shown { last_used_at: Some(at(minutes)), ..shown }
}

#[test]
fn a_key_is_deleted_only_if_it_is_ours_and_nothing_can_need_it_any_more() {
    let document = past();
    assert_eq!(document.generation, Generation(7));
    let fate = |shown: &Shown| Wanted::of(&document, Leaving::Stays).fate(shown, at(90));
    for (what, shown, expected) in [
        ("it signs", named("new", 5), Fate::Lives),
        ("it signs, and was handed in", shown("new", "by hand"), Fate::Lives),
        ("it is retired", named("old", 1), Fate::Dead),
        ("it is retired, and was used while its tokens lived", used(named("old", 1), 72), Fate::Dead),
        ("it is retired, and was used later", used(named("old", 1), 88), Fate::Held(at(100))),
        ("it is retired, was used later, and no token of that is left", used(named("old", 1), 76), Fate::Dead),
        ("it is retired, and was handed in", shown("old", "by hand"), Fate::Left),
        ("it is revoked", named("revoked", 3), Fate::Dead),
        ("it is revoked and in use", used(named("revoked", 3), 89), Fate::Dead),
        ("it is revoked, and was handed in", shown("revoked", "by hand"), Fate::Dead),
        ("it was made for an order that is over", named("never-recorded", 7), Fate::Dead),
        ("it was made for an order that is over, and is used", used(named("lost", 4), 89), Fate::Held(at(101))),
        ("it was made for the next generation", named("just-made", 8), Fate::Ordered),
        ("it was made by a replica that is ahead", named("ahead", 12), Fate::Ordered),
        ("it is of another keyset", shown("other", "keyrota/test/search-2/1"), Fate::Left),
        ("it is of another environment", shown("other", "keyrota/prod/search/1"), Fate::Left),
        ("it is somebody else's", shown("other", "Production key"), Fate::Left),
        ("its id cannot be a kid", shown("a b", "keyrota/test/search/1"), Fate::Left),
    ] {
        assert_eq!(fate(&shown), expected, "{what}");
    }
}

#[test]
fn what_goes_depends_on_what_is_left() {
    let document = past();
    let fate = |leaving, shown: &Shown| Wanted::of(&document, leaving).fate(shown, at(90));
    for (shown, source, keyset) in [
        (named("new", 5), Fate::Lives, Fate::Dead),
        (shown("new", "by hand"), Fate::Lives, Fate::Lives),
        (named("old", 1), Fate::Dead, Fate::Dead),
        (used(named("old", 1), 89), Fate::Held(at(101)), Fate::Dead),
        (named("just-made", 8), Fate::Ordered, Fate::Dead),
        (named("ahead", 9), Fate::Ordered, Fate::Ordered),
        (shown("other", "Production key"), Fate::Left, Fate::Left),
    ] {
        assert_eq!((fate(Leaving::Source, &shown), fate(Leaving::Keyset, &shown)), (source, keyset), "{} {}", shown.id, shown.name);
    }
}

#[test]
fn an_order_is_filled_by_the_key_that_was_made_for_it_and_everybody_takes_the_same() {
    let document = past();
    let name = "keyrota/test/search/8";
    let adopted = |listed: &[Shown]| adopted(&document, name, &agents(), listed).map(|shown| shown.id.clone());
    assert_eq!(adopted(&[named("new", 5), named("b", 7), named("c", 9), shown("d", "by hand")]), None, "for another order");
    let (early, late) = (named("late-id", 8), Shown { created_at: Some(at(1)), ..named("early-id", 8) });
    for listed in [[early.clone(), late.clone()], [late.clone(), early.clone()]] {
        assert_eq!(adopted(&listed).as_deref(), Some("late-id"), "the oldest");
    }
    let twin = named("a-twin", 8);
    assert_eq!(adopted(&[early.clone(), twin.clone()]), adopted(&[twin, early.clone()]), "of the same moment: whichever, but the same");
    for (what, unfit) in [
        ("it is for other agents", Shown { agent_ids: BTreeSet::from(["a".to_owned()]), ..early.clone() }),
        ("somebody signs with it already", used(early.clone(), 1)),
        ("it is the application's own", Shown { is_default: Some(true), ..early.clone() }),
        ("it was revoked", named("revoked", 8)),
        ("it has retired", named("old", 8)),
        ("it lives", named("new", 8)),
    ] {
        assert_eq!(adopted(&[unfit]), None, "{what}");
    }
}

#[test]
fn what_is_amiss_is_told_with_what_to_do() {
    let document = past();
    let told = |leaving, listed: &[Shown]| {
        let wanted = Wanted::of(&document, leaving);
        Findings::of(&wanted, &agents(), listed, at(90)).amiss(None)
    };
    assert_eq!(told(Leaving::Stays, &[named("new", 5), shown("other", "Production key")]), None);
    let lacks = vec!["new".parse::<Kid>().unwrap()];
    let gone = told(Leaving::Stays, &[]).unwrap();
    assert_eq!((&gone.lacks, gone.expected), (&lacks, false));
    assert!(gone.what.contains("new (active) is not there any more") && gone.what.contains("`keyrota revoke test/search new`"), "{gone:?}");
    let altered = told(Leaving::Stays, &[Shown { value: secret("x"), ..named("new", 5) }]).unwrap();
    assert!(altered.lacks == lacks && altered.what.contains("another secret"), "{altered:?}");
    let narrowed = told(Leaving::Stays, &[Shown { agent_ids: BTreeSet::new(), ..named("new", 5) }]).unwrap();
    assert!(narrowed.lacks.is_empty() && narrowed.what.contains("for other agents"), "{narrowed:?}");
    let held = told(Leaving::Stays, &[named("new", 5), used(named("old", 1), 89)]).unwrap();
    assert!(held.what.contains("old signs no more and was used") && held.what.contains("not deleted before 2026-03-01T13:41"), "{held:?}");
    let revoked = told(Leaving::Stays, &[named("new", 5), named("revoked", 3)]).unwrap();
    assert_eq!((revoked.still.len(), revoked.what.contains("there still")), (1, true), "{revoked:?}");
    let leaving = told(Leaving::Source, &[named("new", 5)]).unwrap();
    assert!(leaving.expected && leaving.what.contains("1 keys that it made are there"), "{leaving:?}");
    assert_eq!(told(Leaving::Source, &[]), None);
    assert_eq!(told(Leaving::Keyset, &[]), None);
}

#[test]
fn what_is_told_of_a_key_in_use_stays_the_same_for_a_while() {
    let day = Span::hours(24);
    assert_eq!(coarse(at(1), day), coarse(at(59), day));
    assert!(coarse(at(1), day) >= at(1) && coarse(at(1), day) <= at(61));
    assert!(coarse(at(0), Span::seconds(1)) == at(0));
}
