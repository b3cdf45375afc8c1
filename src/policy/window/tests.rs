//! Tests: windows on every day of the year.

use super::*;

fn at(text: &str) -> Timestamp {
    text.parse().unwrap()
}

fn paris(cron: &str, duration: Span) -> Window {
    Window::parse(cron, duration, "Europe/Paris").unwrap()
}

#[test]
fn the_edges_of_a_window() {
    let window = paris("0 0 3 * * Tue", Span::hours(2));
    let (opens, closes) = (at("2026-01-06T02:00:00Z"), at("2026-01-06T04:00:00Z"));
    let tick = Span::millis(1);
    assert!(!window.is_open(opens.minus(tick)));
    assert!(window.is_open(opens));
    assert!(window.is_open(closes.minus(tick)));
    assert!(!window.is_open(closes));
    assert_eq!(window.opened_at(opens + Span::minutes(61)), Some(opens));
    assert_eq!(window.opened_at(closes), None);
    assert_eq!(window.next_open(opens.minus(tick)), Some(opens));
    assert_eq!(window.next_open(opens), Some(opens + Span::days(7)), "strictly after");
    assert_eq!(window.local(opens), "Tue 03:00 Europe/Paris");
}

#[test]
fn a_weekly_window_keeps_its_local_hour() {
    let window = paris("0 0 3 * * Tue", Span::hours(2));
    assert_eq!(window.max_wait(), Span::days(7) + Span::hours(1));
    assert_eq!(
        window.next_open(at("2026-03-24T02:00:00Z")),
        Some(at("2026-03-31T01:00:00Z")),
        "an hour early in UTC after the spring change"
    );
    assert_eq!(
        window.next_open(at("2026-10-20T01:00:00Z")),
        Some(at("2026-10-27T02:00:00Z")),
        "an hour late in UTC after the autumn change"
    );
}

#[test]
fn a_skipped_local_time_opens_when_the_clocks_have_gone_on() {
    // On 2026-03-29 the clocks of Paris go from 02:00 to 03:00 at 01:00Z.
    let window = paris("0 30 2 * * *", Span::minutes(20));
    let jump = at("2026-03-29T01:00:00Z");
    assert_eq!(window.next_open(at("2026-03-28T12:00:00Z")), Some(jump));
    assert_eq!(window.next_open(jump), Some(at("2026-03-30T00:30:00Z")));
    assert!(window.is_open(jump) && !window.is_open(jump.minus(Span::millis(1))));
    assert!(!window.is_open(jump + Span::minutes(20)));
}

#[test]
fn a_local_time_that_comes_twice_opens_once() {
    // On 2026-10-25 the clocks of Paris go from 03:00 to 02:00 at 01:00Z: 02:30 is at 00:30Z and at 01:30Z.
    let window = paris("0 30 2 * * *", Span::minutes(20));
    let first = at("2026-10-25T00:30:00Z");
    assert_eq!(window.next_open(at("2026-10-24T12:00:00Z")), Some(first));
    for second_pass in ["2026-10-25T01:00:00Z", "2026-10-25T01:30:00Z", "2026-10-25T01:45:00Z"] {
        assert!(!window.is_open(at(second_pass)), "{second_pass}");
        assert_eq!(window.next_open(at(second_pass)), Some(at("2026-10-26T01:30:00Z")), "{second_pass}");
    }
    assert_eq!(window.next_open(first), Some(at("2026-10-26T01:30:00Z")));
    assert_eq!(window.max_wait(), Span::hours(25));
}

#[test]
fn many_openings_a_day() {
    let window = paris("0 0,30 1-3 * * Mon-Fri", Span::minutes(30));
    assert_eq!(window.max_wait(), Span::hours(24 * 2 + 21) + Span::minutes(30) + Span::hours(1));
    assert!(Window::parse("0 0,30 1-3 * * *", Span::minutes(31), "UTC").is_err());
    let every_ten = Window::parse("0 */10 * * * *", Span::minutes(10), "UTC").unwrap();
    assert_eq!(every_ten.max_wait(), Span::minutes(10));
    assert!(every_ten.is_open(at("2026-05-05T12:34:56Z")));
}

#[test]
fn rare_openings() {
    let leap = Window::parse("0 0 0 29 2 *", Span::hours(1), "UTC").unwrap();
    assert_eq!(leap.max_wait(), Span::days(366 + 3 * 365));
    assert_eq!(leap.next_open(at("2026-01-01T00:00:00Z")), Some(at("2028-02-29T00:00:00Z")));
    assert_eq!(leap.opened_at(at("2028-02-29T00:59:59Z")), Some(at("2028-02-29T00:00:00Z")));
    let first_tuesday = Window::parse("0 0 3 * * Tue#1", Span::hours(1), "UTC").unwrap();
    assert_eq!(first_tuesday.max_wait(), Span::days(35));
    let last_day = Window::parse("0 0 3 L * *", Span::hours(1), "UTC").unwrap();
    assert_eq!(last_day.max_wait(), Span::days(31));
}

#[test]
fn what_is_no_window() {
    let hour = Span::hours(1);
    for (cron, says) in [
        ("0 3 * * Tue", "has 5 fields"),
        ("0 0 3 * * Tue 2026", "has 7 fields"),
        ("", "has 0 fields"),
        ("0 0 25 * * *", "not a cron expression"),
        ("0 0 3 * * Foo", "not a cron expression"),
        ("0 0 3 30 2 *", "never comes"),
        ("* 0 3 * * *", "more than once a minute"),
        ("0 0 3 * * Dïe", "not a cron expression"),
    ] {
        let error = Window::parse(cron, hour, "UTC").unwrap_err().to_string();
        assert!(error.contains(says) && error.contains("; hint: "), "{cron}: {error}");
    }
    assert!(matches!(Window::parse("0 0 3 * * *", hour, "Mars"), Err(WindowError::TimeZone(_))));
    assert!(matches!(Window::parse("0 0 3 * * *", Span::ZERO, "UTC"), Err(WindowError::Duration(_))));
    assert!(Window::parse("0 0 3 * * *", Span::hours(24), "UTC").is_ok());
    assert!(Window::parse("0 0 3 * * *", Span::hours(24), "Europe/Paris").is_err(), "23h from one to the next in spring");
}

#[test]
fn both_directions_agree_through_a_year_of_changes() {
    for zone in ["Europe/Paris", "America/New_York", "Australia/Lord_Howe", "Pacific/Apia", "UTC"] {
        for cron in ["0 30 2 * * *", "0 15 */2 * * *", "30 59 1 * * Sun"] {
            let window = Window::parse(cron, Span::minutes(10), zone).unwrap();
            let mut now = at("2026-01-01T00:00:00Z");
            while now < at("2027-01-01T00:00:00Z") {
                let next = window.next_open(now).unwrap();
                assert!(next > now && next.since(now) <= window.max_wait(), "{zone} {cron} {now}");
                assert_eq!(window.opened_at(next), Some(next), "{zone} {cron} {next}");
                assert_eq!(window.next_open(next.minus(Span::millis(1))), Some(next), "{zone} {cron} {next}");
                assert!(!window.is_open(next.minus(Span::millis(1))), "{zone} {cron} {next}");
                now = next;
            }
        }
    }
}

proptest::proptest! {
    #[test]
    fn nothing_panics_on_any_expression(cron in "[0-9*/,#LWTueMon?+@ -]{0,24}", ms in 0..253_402_300_799_999i64) {
        if let Ok(window) = Window::parse(&cron, Span::seconds(1), "Europe/Paris") {
            let now = Timestamp::from_millis(ms);
            let _ = (window.opened_at(now), window.next_open(now));
        }
        let _ = parse_cron(&cron);
    }
}
