//! Moments and lengths of time for people.

use crate::time::{Span, Timestamp};

/// `Tue 2026-03-03 02:00:00Z`: a moment to the second.
pub fn full(at: Timestamp) -> String {
    at.to_utc().format("%a %Y-%m-%d %H:%M:%SZ").to_string()
}

/// `in 3h12m`, `3h12m ago`, `now`.
pub fn relative(now: Timestamp, at: Timestamp) -> String {
    match at {
        at if at > now => format!("in {}", at.since(now).rounded()),
        at if at < now => format!("{} ago", now.since(at).rounded()),
        _ => "now".to_owned(),
    }
}

/// `Tue 03:12Z` within a week, else `2026-03-31 03:12Z`.
pub fn near(now: Timestamp, at: Timestamp) -> String {
    let week = Span::days(7);
    let close = at.since(now) < week && now.since(at) < week;
    at.to_utc().format(if close { "%a %H:%MZ" } else { "%Y-%m-%d %H:%MZ" }).to_string()
}

/// For an axis: as exact as its whole length lets one see.
pub fn on_axis(at: Timestamp, whole: Span) -> String {
    let format = match whole {
        whole if whole <= Span::hours(2) => "%H:%M:%S",
        whole if whole <= Span::days(2) => "%a %H:%M",
        whole if whole <= Span::days(300) => "%b %d %H:%M",
        _ => "%Y-%m-%d",
    };
    at.to_utc().format(format).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_read_well() {
        let at: Timestamp = "2026-03-03T02:00:05.400Z".parse().unwrap();
        assert_eq!(full(at), "Tue 2026-03-03 02:00:05Z");
        assert_eq!(relative(at, at + Span::minutes(192)), "in 3h12m");
        assert_eq!(relative(at + Span::minutes(192), at), "3h12m ago");
        assert_eq!(relative(at, at), "now");
        assert_eq!(on_axis(at, Span::days(90)), "Mar 03 02:00");
        assert_eq!(on_axis(at, Span::minutes(3)), "02:00:05");
    }
}
