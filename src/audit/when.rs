//! Points in time as people give them: a date, a time, or how long ago.

use super::entry::stamp;
use std::time::{Duration, SystemTime};
use time::format_description::well_known::Rfc3339;
use time::{Date, Month, OffsetDateTime, PrimitiveDateTime, Time, UtcOffset};

/// Which end of a span a point in time is: a date stands for the first moment of its day, or for the last.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// Where it begins.
    First,
    /// Where it ends; still within it.
    Last,
}

/// Not a point in time.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("not a time: give a date (2026-11-21, in UTC), a time (2026-11-21T18:00:00Z), or how long ago (90s, 15m, 2h, 3d, 4w)")]
pub struct NotATime;

/// The longest that anything can be ago: a hundred years.
const LONGEST_AGO: Duration = Duration::from_secs(100 * 365 * 24 * 3600);

/// Reads a point in time, and writes it as records do, so that the order of the texts is the order of time.
///
/// # Errors
/// [`NotATime`], also for what no calendar has.
pub fn parse(text: &str, end: End, now: SystemTime) -> Result<String, NotATime> {
    let moment = ago(text, now).or_else(|| date(text, end)).or_else(|| OffsetDateTime::parse(text, &Rfc3339).ok());
    let moment = moment.and_then(|moment| moment.checked_to_offset(UtcOffset::UTC)).ok_or(NotATime)?;
    // Records are written with four digits of the year.
    if (0..=9999).contains(&moment.year()) { Ok(stamp(moment.into())) } else { Err(NotATime) }
}

/// Now, as records write it.
pub fn now(now: SystemTime) -> String {
    stamp(now)
}

fn ago(text: &str, now: SystemTime) -> Option<OffsetDateTime> {
    let (count, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
    let seconds = match unit {
        "s" => 1,
        "m" => 60,
        "h" => 3600,
        "d" => 24 * 3600,
        "w" => 7 * 24 * 3600,
        _ => return None,
    };
    let count = Some(count).filter(|count| count.bytes().all(|b| b.is_ascii_digit()))?.parse::<u64>().ok()?;
    let ago = Duration::from_secs(count.checked_mul(seconds)?);
    (ago <= LONGEST_AGO).then(|| now.checked_sub(ago).map(OffsetDateTime::from))?
}

fn date(text: &str, end: End) -> Option<OffsetDateTime> {
    let mut parts = text.split('-').map(|part| part.bytes().all(|b| b.is_ascii_digit()).then(|| part.parse::<u16>().ok())?);
    let (year, month, day) = (parts.next()??, parts.next()??, parts.next()??);
    let month = Month::try_from(u8::try_from(month).ok()?).ok()?;
    let date = Date::from_calendar_date(year.into(), month, u8::try_from(day).ok()?).ok()?;
    let time = match end {
        End::First => Time::MIDNIGHT,
        End::Last => Time::from_hms_nano(23, 59, 59, 999_999_999).ok()?,
    };
    parts.next().is_none().then(|| PrimitiveDateTime::new(date, time).assume_utc())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::time::UNIX_EPOCH;

    const NOW: SystemTime = UNIX_EPOCH;

    #[test]
    fn every_form_becomes_the_time_of_records() {
        let now = NOW + Duration::from_secs(1_700_000_000);
        for (text, first, last) in [
            ("2h", "2023-11-14T20:13:20.000000000Z", "2023-11-14T20:13:20.000000000Z"),
            ("0s", "2023-11-14T22:13:20.000000000Z", "2023-11-14T22:13:20.000000000Z"),
            ("2026-11-21", "2026-11-21T00:00:00.000000000Z", "2026-11-21T23:59:59.999999999Z"),
            ("2026-11-21T18:00:00+02:00", "2026-11-21T16:00:00.000000000Z", "2026-11-21T16:00:00.000000000Z"),
        ] {
            assert_eq!(parse(text, End::First, now).as_deref(), Ok(first));
            assert_eq!(parse(text, End::Last, now).as_deref(), Ok(last));
        }
    }

    #[test]
    fn what_no_calendar_has_is_refused() {
        for text in
            ["", "h", "-2h", "2 h", "yesterday", "2026-02-30", "2026-13-01", "2026-1", "2026-11-21-1", "9999999999999w", "ü"]
        {
            assert_eq!(parse(text, End::First, NOW), Err(NotATime), "{text}");
        }
        for text in ["0000-01-01T00:00:00+23:00", "9999-12-31T23:59:59-23:00"] {
            assert_eq!(parse(text, End::First, NOW), Err(NotATime), "{text}");
        }
    }

    proptest! {
        #[test]
        fn no_text_panics_and_every_time_is_written_in_one_length(text in ".{0,30}|[0-9]{1,20}[smhdw]|[0-9]{4}-[0-9]{1,2}-[0-9]{1,2}") {
            if let Ok(moment) = parse(&text, End::Last, NOW) {
                prop_assert_eq!(moment.len(), 30);
            }
        }
    }
}
