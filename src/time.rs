//! Instants and lengths of time as the rest of keyrota uses them: whole milliseconds, by value.
//!
//! Nothing in here reads a clock. [`Timestamp`] is wall time (UTC), [`Span`] is a length that is never negative.
//! All arithmetic saturates, so that no fact of a policy, however large, can overflow a decision.

use std::fmt;
use std::ops::{Add, Mul};
use std::str::FromStr;

use chrono::{DateTime, SecondsFormat, Utc};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A moment of wall time in milliseconds since 1970-01-01T00:00:00Z, between the years 1970 and 9999.
///
/// Written as RFC 3339 in UTC with milliseconds.
///
/// ```
/// use keyrota::time::{Span, Timestamp};
/// let at: Timestamp = "2026-03-01T12:00:00Z".parse().unwrap();
/// assert_eq!((at + Span::minutes(90)).to_string(), "2026-03-01T13:30:00.000Z");
/// ```
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(i64);

/// A length of time in milliseconds, never negative. Written with units: `15m`, `30d`, `1h30m`, `500ms`.
///
/// ```
/// use keyrota::time::Span;
/// assert_eq!("1h30m".parse::<Span>().unwrap(), Span::minutes(90));
/// assert_eq!(Span::hours(36).to_string(), "1d12h");
/// assert!("15".parse::<Span>().is_err(), "a bare number has no unit");
/// ```
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Span(u64);

/// What is wrong with a text that should be a moment or a length of time.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TimeError {
    /// A number stands without `ms`, `s`, `m`, `h`, `d` or `w`.
    #[error("`{0}` has no unit; hint: write 15m, 12h, 30d (units: ms s m h d w)")]
    NoUnit(String),
    /// The text is no length of time at all.
    #[error("`{0}` is not a duration; hint: write 15m, 12h, 30d or 1h30m (units: ms s m h d w)")]
    NotADuration(String),
    /// The length is beyond a thousand years.
    #[error("`{0}` is longer than 1000 years")]
    TooLong(String),
    /// The text is no RFC 3339 moment.
    #[error("`{0}` is not a time; hint: write RFC 3339, for example 2026-03-01T12:00:00Z")]
    NotATime(String),
}

const SECOND: u64 = 1_000;
const MINUTE: u64 = 60 * SECOND;
const HOUR: u64 = 60 * MINUTE;
const DAY: u64 = 24 * HOUR;
const WEEK: u64 = 7 * DAY;
const LONGEST: u64 = 366 * 1000 * DAY;

impl Timestamp {
    /// 1970-01-01T00:00:00Z.
    pub const EPOCH: Self = Self(0);
    /// 9999-12-31T23:59:59.999Z, the last moment RFC 3339 can write.
    pub const MAX: Self = Self(253_402_300_799_999);

    /// The moment `millis` milliseconds after 1970, clamped to what RFC 3339 can write.
    #[inline]
    pub fn from_millis(millis: i64) -> Self {
        Self(millis.clamp(0, Self::MAX.0))
    }

    /// Milliseconds since 1970.
    pub fn as_millis(self) -> i64 {
        self.0
    }

    /// Seconds since 1970 as Prometheus wants them.
    #[allow(clippy::cast_precision_loss)] // exact to the millisecond far beyond the year 9999
    pub fn as_seconds_f64(self) -> f64 {
        self.0 as f64 / 1000.0
    }

    /// How long `earlier` lies before `self`; zero when it does not.
    pub fn since(self, earlier: Self) -> Span {
        Span(u64::try_from(self.0.saturating_sub(earlier.0)).unwrap_or(0))
    }

    /// The moment `span` before this one, not before 1970.
    #[must_use]
    pub fn minus(self, span: Span) -> Self {
        Self::from_millis(self.0.saturating_sub(span.signed()))
    }

    /// The same moment for calendar arithmetic.
    pub fn to_utc(self) -> DateTime<Utc> {
        DateTime::from_timestamp_millis(self.0).unwrap_or(DateTime::UNIX_EPOCH)
    }
}

impl From<DateTime<Utc>> for Timestamp {
    fn from(at: DateTime<Utc>) -> Self {
        Self::from_millis(at.timestamp_millis())
    }
}

impl Add<Span> for Timestamp {
    type Output = Self;
    #[inline]
    fn add(self, span: Span) -> Self {
        Self::from_millis(self.0.saturating_add(span.signed()))
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.to_utc().to_rfc3339_opts(SecondsFormat::Millis, true))
    }
}

impl fmt::Debug for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for Timestamp {
    type Err = TimeError;
    fn from_str(text: &str) -> Result<Self, TimeError> {
        let at = DateTime::parse_from_rfc3339(text).map_err(|_| TimeError::NotATime(text.to_owned()))?;
        let millis = at.timestamp_millis();
        if (0..=Self::MAX.0).contains(&millis) { Ok(Self(millis)) } else { Err(TimeError::NotATime(text.to_owned())) }
    }
}

impl Span {
    /// No time at all.
    pub const ZERO: Self = Self(0);

    /// `n` milliseconds.
    pub const fn millis(n: u64) -> Self {
        Self(n)
    }
    /// `n` seconds.
    pub const fn seconds(n: u64) -> Self {
        Self(n.saturating_mul(SECOND))
    }
    /// `n` minutes.
    pub const fn minutes(n: u64) -> Self {
        Self(n.saturating_mul(MINUTE))
    }
    /// `n` hours.
    pub const fn hours(n: u64) -> Self {
        Self(n.saturating_mul(HOUR))
    }
    /// `n` days of 24 hours.
    pub const fn days(n: u64) -> Self {
        Self(n.saturating_mul(DAY))
    }

    /// Milliseconds.
    pub const fn as_millis(self) -> u64 {
        self.0
    }

    /// Seconds as Prometheus wants them.
    #[allow(clippy::cast_precision_loss)] // exact to the millisecond for 285,000 years
    pub fn as_seconds_f64(self) -> f64 {
        self.0 as f64 / 1000.0
    }

    /// Whole seconds, rounded down: what `Cache-Control: max-age` takes.
    pub const fn whole_seconds(self) -> u64 {
        self.0 / SECOND
    }

    /// `self - other`, zero where that would be negative.
    #[must_use]
    pub const fn saturating_sub(self, other: Self) -> Self {
        Self(self.0.saturating_sub(other.0))
    }

    /// How many times `other` goes into `self`, rounded up; `None` when `other` is zero.
    pub const fn div_ceil(self, other: Self) -> Option<u64> {
        if other.0 == 0 { None } else { Some(self.0.div_ceil(other.0)) }
    }

    /// The same length for the standard library.
    pub const fn to_std(self) -> std::time::Duration {
        std::time::Duration::from_millis(self.0)
    }

    /// At most two units, for people: `6d4h`, `12m30s`. Exact text is [`Span`]'s `Display`.
    pub fn rounded(self) -> String {
        let coarse = match self.0 {
            ms if ms >= WEEK => ms / DAY * DAY,
            ms if ms >= DAY => ms / HOUR * HOUR,
            ms if ms >= HOUR => ms / MINUTE * MINUTE,
            ms if ms >= SECOND => ms / SECOND * SECOND,
            ms => ms,
        };
        Self(coarse).to_string()
    }

    fn signed(self) -> i64 {
        i64::try_from(self.0).unwrap_or(i64::MAX)
    }
}

impl Add for Span {
    type Output = Self;
    fn add(self, other: Self) -> Self {
        Self(self.0.saturating_add(other.0))
    }
}

impl Mul<u64> for Span {
    type Output = Self;
    fn mul(self, times: u64) -> Self {
        Self(self.0.saturating_mul(times))
    }
}

impl std::iter::Sum for Span {
    fn sum<I: Iterator<Item = Self>>(spans: I) -> Self {
        spans.fold(Self::ZERO, Add::add)
    }
}

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0 == 0 {
            return f.write_str("0s");
        }
        let mut rest = self.0;
        for (unit, name) in [(DAY, "d"), (HOUR, "h"), (MINUTE, "m"), (SECOND, "s"), (1, "ms")] {
            if rest >= unit {
                write!(f, "{}{name}", rest / unit)?;
                rest %= unit;
            }
        }
        Ok(())
    }
}

impl fmt::Debug for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for Span {
    type Err = TimeError;
    fn from_str(text: &str) -> Result<Self, TimeError> {
        let wrong = || TimeError::NotADuration(text.to_owned());
        let mut total = 0u64;
        let mut rest = text;
        while !rest.is_empty() {
            let digits = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
            let (number, tail) = rest.split_at(digits);
            if number.is_empty() {
                return Err(wrong());
            }
            if tail.is_empty() {
                return Err(TimeError::NoUnit(text.to_owned()));
            }
            let letters = tail.find(|c: char| c.is_ascii_digit()).unwrap_or(tail.len());
            let (unit, tail) = tail.split_at(letters);
            let unit = match unit {
                "ms" => 1,
                "s" => SECOND,
                "m" => MINUTE,
                "h" => HOUR,
                "d" => DAY,
                "w" => WEEK,
                _ => return Err(wrong()),
            };
            let number: u64 = number.parse().map_err(|_| TimeError::TooLong(text.to_owned()))?;
            total = number
                .checked_mul(unit)
                .and_then(|part| total.checked_add(part))
                .filter(|total| *total <= LONGEST)
                .ok_or_else(|| TimeError::TooLong(text.to_owned()))?;
            rest = tail;
        }
        if text.is_empty() { Err(wrong()) } else { Ok(Self(total)) }
    }
}

macro_rules! text_serde {
    ($type:ty) => {
        impl Serialize for $type {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }
        impl<'de> Deserialize<'de> for $type {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
                text.parse().map_err(serde::de::Error::custom)
            }
        }
    };
}
text_serde!(Timestamp);
text_serde!(Span);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_printed_span_reads_back() {
        for ms in [0, 1, 999, 1000, 61_000, 3_600_001, DAY, 8 * DAY + 5 * HOUR, LONGEST] {
            let span = Span::millis(ms);
            assert_eq!(span.to_string().parse::<Span>(), Ok(span));
        }
    }

    #[test]
    fn faults_of_spans_are_told_apart() {
        assert!(matches!("15".parse::<Span>(), Err(TimeError::NoUnit(_))));
        assert!(matches!("1h15".parse::<Span>(), Err(TimeError::NoUnit(_))));
        for text in ["", "h", "-5m", "5 m", "5y", "1.5h"] {
            assert!(matches!(text.parse::<Span>(), Err(TimeError::NotADuration(_))), "{text}");
        }
        assert!(matches!("99999999999999999999d".parse::<Span>(), Err(TimeError::TooLong(_))));
        assert!(matches!("400000w".parse::<Span>(), Err(TimeError::TooLong(_))));
    }

    #[test]
    fn arithmetic_saturates() {
        assert_eq!(Timestamp::MAX + Span::days(1), Timestamp::MAX);
        assert_eq!(Timestamp::EPOCH.minus(Span::days(1)), Timestamp::EPOCH);
        assert_eq!(Timestamp::EPOCH.since(Timestamp::MAX), Span::ZERO);
        assert_eq!(Timestamp::MAX.to_string(), "9999-12-31T23:59:59.999Z");
    }

    #[test]
    fn rounded_keeps_two_units() {
        assert_eq!((Span::days(6) + Span::minutes(250)).rounded(), "6d4h");
        assert_eq!((Span::minutes(12) + Span::millis(30_400)).rounded(), "12m30s");
    }
}
