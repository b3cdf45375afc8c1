//! The smallest values of a policy: texts of a certain form, each with the check that the walk makes and the pattern that editors use.

use std::borrow::Cow;
use std::str::FromStr as _;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};

use super::fault::nearest;
use super::{Rate, window};
use crate::name::KeysetName;
use crate::time::Span;

/// The check behind a `format` of the schema: an error text, perhaps with `; hint: `.
pub(super) fn check(format: &str, text: &str) -> Result<(), String> {
    match format {
        "keyrota-span" => text.parse::<Span>().map(drop).map_err(|e| e.to_string()),
        "keyrota-cron" => window::parse_cron(text).map(drop),
        "keyrota-timezone" => timezone(text),
        "keyrota-mode" => octal(text).map(drop),
        "keyrota-name" => text.parse::<KeysetName>().map(drop).map_err(|e| e.to_string()),
        "keyrota-rate" => text.parse::<Rate>().map(drop),
        "date" => date(text).map(drop),
        _ => Ok(()),
    }
}

/// Reads file permissions.
pub(super) fn octal(text: &str) -> Result<u32, String> {
    let wrong = || format!("`{text}` is not a file mode; hint: write four octal digits in quotes, \"0640\" or \"0600\"");
    if !matches!(text.len(), 3 | 4) || !text.bytes().all(|b| (b'0'..=b'7').contains(&b)) {
        return Err(wrong());
    }
    let mode = u32::from_str_radix(text, 8).map_err(|_| wrong())?;
    if mode > 0o777 {
        return Err(format!("`{text}` sets setuid, setgid or sticky; hint: use permissions only, for example \"0640\""));
    }
    Ok(mode)
}

/// Reads a calendar day.
pub(super) fn date(text: &str) -> Result<chrono::NaiveDate, String> {
    let wrong = || format!("`{text}` is not a date; hint: write year-month-day, for example 2026-03-01");
    if text.len() != 10 {
        return Err(wrong());
    }
    chrono::NaiveDate::parse_from_str(text, "%Y-%m-%d").map_err(|_| wrong())
}

fn timezone(text: &str) -> Result<(), String> {
    if chrono_tz::Tz::from_str(text).is_ok() {
        return Ok(());
    }
    let names = || chrono_tz::TZ_VARIANTS.iter().map(|zone| zone.name());
    let city = |name: &&str| name.rsplit('/').next().is_some_and(|last| last.eq_ignore_ascii_case(text));
    let near = names().find(city).or_else(|| nearest(text, names()));
    let hint =
        near.map_or_else(|| "write an IANA name, for example Europe/Paris or UTC".to_owned(), |name| format!("did you mean {name}?"));
    Err(format!("`{text}` is not a time zone; hint: {hint}"))
}

macro_rules! text_of_a_form {
    ($(#[$doc:meta])* $name:ident, $format:literal, $pattern:literal, $example:literal) => {
        $(#[$doc])*
        pub(super) struct $name;

        impl JsonSchema for $name {
            fn schema_name() -> Cow<'static, str> {
                stringify!($name).into()
            }
            fn inline_schema() -> bool {
                true
            }
            fn json_schema(_: &mut SchemaGenerator) -> Schema {
                json_schema!({ "type": "string", "format": $format, "pattern": $pattern, "examples": [$example] })
            }
        }
    };
}
text_of_a_form!(
    /// A duration with units.
    SpanText, "keyrota-span", "^([0-9]+(ms|s|m|h|d|w))+$", "15m"
);
text_of_a_form!(
    /// A cron expression with seconds.
    CronText, "keyrota-cron", r"^\s*\S+(\s+\S+){5}\s*$", "0 0 3 * * Tue"
);
text_of_a_form!(
    /// An IANA time zone.
    TimeZoneText, "keyrota-timezone", "^[A-Za-z0-9_+/-]+$", "Europe/Paris"
);
text_of_a_form!(
    /// File permissions in octal.
    OctalText, "keyrota-mode", "^0?[0-7]{3}$", "0640"
);
text_of_a_form!(
    /// The name of an environment or a keyset.
    NameText, "keyrota-name", "^[a-z][a-z0-9-]{0,62}$", "user-sessions"
);
text_of_a_form!(
    /// Requests in a length of time.
    RateText, "keyrota-rate", "^[0-9]+/([0-9]+(ms|s|m|h|d))+$", "600/1m"
);
text_of_a_form!(
    /// A calendar day.
    DateText, "date", "^[0-9]{4}-[0-9]{2}-[0-9]{2}$", "2026-03-01"
);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn modes_are_octal_and_plain() {
        assert_eq!(octal("0640"), Ok(0o640));
        assert_eq!(octal("777"), Ok(0o777));
        for bad in ["", "64", "0o640", "0840", "4755", "1777", "06400", "-640"] {
            assert!(octal(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn dates_exist() {
        assert!(date("2028-02-29").is_ok());
        for bad in ["2027-02-29", "2026-3-1", "01.03.2026", "2026-13-01", "", "20260-3-01"] {
            assert!(date(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_wrong_zone_names_the_right_one() {
        for (wrong, right) in [("Europe/Pariss", "Europe/Paris"), ("paris", "Europe/Paris"), ("europe/berlin", "Europe/Berlin")] {
            let error = timezone(wrong).unwrap_err();
            assert!(error.ends_with(&format!("did you mean {right}?")), "{error}");
        }
        assert!(timezone("Mars/Olympus Mons").is_err());
    }
}
