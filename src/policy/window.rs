//! Rotation windows: recurring stretches of local time in which a signing key may change over.
//!
//! Which days and times of day an expression means is croner's judgement, the same as for `reconcile:`. How local times become
//! instants is decided here, so that it is the same in both directions and on every day of the year: a local time that comes twice
//! (clocks set back) opens the window once, at the first; one that is skipped (clocks set forward) opens it when the clocks have
//! gone on. Nothing here reads a clock.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use chrono::{Datelike as _, Days, LocalResult, NaiveDate, NaiveDateTime, NaiveTime, TimeDelta, TimeZone as _, Utc};
use chrono_tz::Tz;
use croner::Cron;
use croner::parser::{CronParser, Seconds, Year};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::time::{Span, Timestamp};

/// A recurring window in local time. Cheap to clone.
///
/// ```
/// use keyrota::{policy::Window, time::Span};
/// let window = Window::parse("0 0 3 * * Tue", Span::hours(2), "Europe/Paris").unwrap();
/// assert!(window.is_open("2026-03-03T02:00:00Z".parse().unwrap()));
/// assert!(!window.is_open("2026-03-03T04:00:00Z".parse().unwrap()));
/// assert_eq!(window.max_wait(), Span::days(7) + Span::hours(1));
/// assert_eq!(window.to_string(), "0 0 3 * * Tue for 2h Europe/Paris");
/// assert_eq!(window.to_string().parse(), Ok(window));
/// ```
#[derive(Clone)]
pub struct Window(Arc<Opening>);

struct Opening {
    text: String,
    cron: Cron,
    /// The times of day at which it opens on the days it opens at all; never empty, ascending.
    times: Vec<NaiveTime>,
    duration: Span,
    zone: Tz,
    max_wait: Span,
}

/// Why a window is refused. Each is a sentence with a hint.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum WindowError {
    /// The cron expression.
    #[error("{0}")]
    Cron(String),
    /// The time zone.
    #[error("`{0}` is not a time zone; hint: write an IANA name, for example Europe/Paris or UTC")]
    TimeZone(String),
    /// The duration.
    #[error("{0}")]
    Duration(String),
}

/// The years over which openings are enumerated: after 28 of them the calendar begins anew, so every gap that exists is in them.
const FIRST_YEAR: i32 = 2024;
const DAYS: u64 = 28 * 365 + 7;

/// Reads a cron expression with seconds, in the dialect of the scheduler that wakes the reconciler.
pub(super) fn parse_cron(text: &str) -> Result<Cron, String> {
    let fields = text.split_whitespace().count();
    if fields != 6 {
        return Err(format!(
            "`{text}` has {fields} fields, must have 6; hint: second minute hour day month weekday, for example \"0 0 3 * * Tue\""
        ));
    }
    let refused = |why: String| format!("`{text}` is not a cron expression: {why}; hint: for example \"0 0 3 * * Tue\"");
    if !text.is_ascii() {
        return Err(refused("it has characters that no expression has".to_owned()));
    }
    let cron = CronParser::builder()
        .seconds(Seconds::Required)
        .year(Year::Optional)
        .build()
        .parse(text)
        .map_err(|e| refused(e.to_string().trim_end_matches('.').to_owned()))?;
    if times_of_day(&cron, 1).is_empty() || !days().any(|day| opens_on(&cron, day)) {
        return Err(format!("`{text}` never comes; hint: look at its day and month"));
    }
    Ok(cron)
}

fn days() -> impl Iterator<Item = NaiveDate> {
    let first = NaiveDate::from_ymd_opt(FIRST_YEAR, 1, 1).unwrap_or_default();
    (0..DAYS).filter_map(move |n| first.checked_add_days(Days::new(n)))
}

fn opens_on(cron: &Cron, day: NaiveDate) -> bool {
    let pattern = &cron.pattern;
    pattern.day_match(day.year(), day.month(), day.day()).unwrap_or(false) && pattern.month_match(day.month()).unwrap_or(false)
}

/// The times of day of an expression, up to `most` of them. A day is sixty times sixty times twenty-four at most.
fn times_of_day(cron: &Cron, most: usize) -> Vec<NaiveTime> {
    let pattern = &cron.pattern;
    let hours = (0..24).filter(|h| pattern.hour_match(*h).unwrap_or(false));
    let minutes = hours.flat_map(|h| (0..60).filter(|m| pattern.minute_match(*m).unwrap_or(false)).map(move |m| (h, m)));
    let seconds = minutes.flat_map(|(h, m)| (0..60).filter(|s| pattern.second_match(*s).unwrap_or(false)).map(move |s| (h, m, s)));
    seconds.filter_map(|(h, m, s)| NaiveTime::from_hms_opt(h, m, s)).take(most).collect()
}

impl Window {
    /// A window that opens at every moment of `cron` (six fields, in `timezone`'s local time) and stays open for `duration`.
    ///
    /// # Errors
    /// An expression that is none, that never comes, or that opens more often than once a minute; an unknown time zone; a duration
    /// of zero or longer than the shortest time between two openings.
    pub fn parse(cron: &str, duration: Span, timezone: &str) -> Result<Self, WindowError> {
        let zone: Tz = timezone.parse().map_err(|_| WindowError::TimeZone(timezone.to_owned()))?;
        let parsed = parse_cron(cron).map_err(WindowError::Cron)?;
        let text = cron.split_whitespace().collect::<Vec<_>>().join(" ");
        if text.split(' ').next().is_none_or(|seconds| seconds.parse::<u8>().is_err()) {
            let error = format!("`{text}` opens more than once a minute; hint: let its first field, the seconds, be a plain 0");
            return Err(WindowError::Cron(error));
        }
        let mut opening = Opening { times: times_of_day(&parsed, usize::MAX), cron: parsed, text, duration, zone, max_wait: Span::ZERO };
        let Some((shortest, longest)) = opening.gaps() else {
            return Err(WindowError::Cron(format!("`{}` comes only once in {} years; hint: let it recur", opening.text, DAYS / 365)));
        };
        opening.max_wait = longest;
        if duration == Span::ZERO {
            return Err(WindowError::Duration("is 0s, so the window never opens; hint: for example 2h".to_owned()));
        }
        if duration > shortest {
            return Err(WindowError::Duration(format!(
                "is {duration}, longer than the {shortest} between two openings; hint: at most {shortest}, or open less often"
            )));
        }
        Ok(Self(Arc::new(opening)))
    }

    /// Whether it is open at `at`. It is open at the moment it opens, and closed at the moment it closes.
    pub fn is_open(&self, at: Timestamp) -> bool {
        self.opened_at(at).is_some()
    }

    /// When the window that is open at `at` opened; `None` if none is open. Names a window, so that no two scheduled activations
    /// fall into the same one.
    pub fn opened_at(&self, at: Timestamp) -> Option<Timestamp> {
        let opened = self.0.latest_until(at)?;
        (at < opened + self.0.duration).then_some(opened)
    }

    /// When it opens next, strictly after `after`. `None` only at the end of time.
    pub fn next_open(&self, after: Timestamp) -> Option<Timestamp> {
        self.0.first_after(after)
    }

    /// The longest time between two openings that follow each other, changes of the clocks included: nobody ever waits longer.
    pub fn max_wait(&self) -> Span {
        self.0.max_wait
    }

    /// How long it stays open.
    pub fn duration(&self) -> Span {
        self.0.duration
    }

    /// An instant in the window's time zone, for people: `Tue 03:00 Europe/Paris`.
    pub fn local(&self, at: Timestamp) -> String {
        format!("{} {}", self.0.zone.from_utc_datetime(&at.to_utc().naive_utc()).format("%a %H:%M"), self.0.zone.name())
    }
}

impl Opening {
    /// The instant of a local time. Never falls as `local` rises.
    fn instant(&self, local: NaiveDateTime) -> Option<Timestamp> {
        let mut at = local;
        // No zone has skipped more than a day; all of them skip whole minutes.
        for _ in 0..=25 * 60 {
            match self.zone.from_local_datetime(&at) {
                LocalResult::Single(found) | LocalResult::Ambiguous(found, _) => return Some(found.with_timezone(&Utc).into()),
                LocalResult::None => at = at.date().and_time(whole_minute(at.time())).checked_add_signed(TimeDelta::minutes(1))?,
            }
        }
        None
    }

    fn local_day(&self, at: Timestamp) -> NaiveDate {
        self.zone.from_utc_datetime(&at.to_utc().naive_utc()).date_naive()
    }

    /// How many days without an opening there can be in a row.
    fn reach(&self) -> u64 {
        self.max_wait.as_millis() / Span::days(1).as_millis() + 3
    }

    fn first_after(&self, after: Timestamp) -> Option<Timestamp> {
        let today = self.local_day(after);
        // Yesterday too: where a whole day is skipped, its openings come when the clocks have gone on.
        let days = (0..=self.reach() + 1).filter_map(|n| today.checked_sub_days(Days::new(1))?.checked_add_days(Days::new(n)));
        days.filter(|day| opens_on(&self.cron, *day)).find_map(|day| {
            let first = self.times.partition_point(|time| self.instant(day.and_time(*time)).is_some_and(|at| at <= after));
            self.instant(day.and_time(*self.times.get(first)?)).filter(|at| *at > after)
        })
    }

    fn latest_until(&self, at: Timestamp) -> Option<Timestamp> {
        let today = self.local_day(at);
        let days = (0..=self.reach() + 1).filter_map(|n| today.checked_add_days(Days::new(1))?.checked_sub_days(Days::new(n)));
        days.filter(|day| opens_on(&self.cron, *day)).find_map(|day| {
            let later = self.times.partition_point(|time| self.instant(day.and_time(*time)).is_some_and(|opened| opened <= at));
            self.instant(day.and_time(*self.times.get(later.checked_sub(1)?)?))
        })
    }

    /// The shortest and the longest time between two openings that follow each other.
    fn gaps(&self) -> Option<(Span, Span)> {
        let within: Vec<Span> = self.times.windows(2).filter_map(|pair| span(pair[1] - pair[0])).collect();
        let mut shortest = within.iter().min().copied();
        let mut longest = within.iter().max().copied();
        let mut note = |gap: Span| {
            if gap > Span::ZERO {
                shortest = Some(shortest.map_or(gap, |s| s.min(gap)));
                longest = Some(longest.map_or(gap, |l| l.max(gap)));
            }
        };
        let (first, last) = (*self.times.first()?, *self.times.last()?);
        let mut before: Option<Timestamp> = None;
        for day in days().filter(|day| opens_on(&self.cron, *day)) {
            let (Some(opens), Some(ends)) = (self.instant(day.and_time(first)), self.instant(day.and_time(last))) else { continue };
            if let Some(before) = before {
                note(opens.since(before));
            }
            if Some(ends.since(opens)) != span(last - first) {
                // The clocks change in between: the day is not like the others.
                let all: Vec<_> = self.times.iter().filter_map(|time| self.instant(day.and_time(*time))).collect();
                all.windows(2).for_each(|pair| note(pair[1].since(pair[0])));
            }
            before = Some(ends);
        }
        shortest.zip(longest)
    }
}

fn whole_minute(time: NaiveTime) -> NaiveTime {
    use chrono::Timelike as _;
    NaiveTime::from_hms_opt(time.hour(), time.minute(), 0).unwrap_or(time)
}

fn span(delta: TimeDelta) -> Option<Span> {
    u64::try_from(delta.num_milliseconds()).ok().map(Span::millis)
}

impl fmt::Display for Window {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} for {} {}", self.0.text, self.0.duration, self.0.zone.name())
    }
}

impl fmt::Debug for Window {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl PartialEq for Window {
    fn eq(&self, other: &Self) -> bool {
        self.0.text == other.0.text && self.0.duration == other.0.duration && self.0.zone == other.0.zone
    }
}

impl Eq for Window {}

impl Serialize for Window {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// Reads what `Display` writes.
impl FromStr for Window {
    type Err = WindowError;
    fn from_str(text: &str) -> Result<Self, WindowError> {
        let malformed = || WindowError::Cron(format!("`{text}` is not a window; hint: write CRON for DURATION TIMEZONE"));
        let (cron, rest) = text.rsplit_once(" for ").ok_or_else(malformed)?;
        let (duration, timezone) = rest.split_once(' ').ok_or_else(malformed)?;
        let duration = duration.parse().map_err(|e: crate::time::TimeError| WindowError::Duration(e.to_string()))?;
        Self::parse(cron, duration, timezone)
    }
}

impl<'de> Deserialize<'de> for Window {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests;
