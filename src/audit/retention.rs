//! Which sealed segments may go: whole ones only, the oldest first, never early, and none that a legal hold names.
//!
//! Retention is about time, and clocks jump. What counts is therefore the time of the log itself: the newest record of the last
//! process plus how long this one has run. The system's clock is believed only where it says no more than that, or once it has
//! said the same for a day.

use super::sealed::Sealed;
use super::sealed::index::Index;
use super::{AuditError, holds::Hold};
use std::time::{Duration, Instant, SystemTime};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

/// How far the clock may be ahead of the log at a start: a gateway that rested over a weekend.
const REST: Duration = Duration::from_secs(4 * 24 * 3600);
/// How long a clock must have run evenly to be believed beyond that.
const TRIAL: Duration = Duration::from_secs(24 * 3600);
/// How far two clocks may drift apart while this process runs.
const DRIFT: Duration = Duration::from_secs(300);

/// The time by which records grow old.
#[derive(Debug)]
pub(super) struct Age {
    /// When this process began to look, by both clocks.
    began: (SystemTime, Instant),
    /// The newest record of the log then.
    newest: Option<SystemTime>,
}

impl Age {
    pub(super) fn new(newest: Option<SystemTime>) -> Age {
        Age { began: (SystemTime::now(), Instant::now()), newest }
    }

    /// The latest time that is safe to believe; `wall` and `steady` are now, by both clocks.
    pub(super) fn now(&mut self, wall: SystemTime, steady: Instant) -> SystemTime {
        let ran = steady.saturating_duration_since(self.began.1);
        let expected = self.began.0 + ran;
        let jumped = wall.duration_since(expected).unwrap_or_else(|late| late.duration()) > DRIFT;
        if jumped {
            // What was believed so far stays; the new time must prove itself from here on.
            let believed = self.believed(expected, ran);
            *self = Age { began: (wall, steady), newest: Some(believed) };
            return wall.min(believed);
        }
        self.believed(expected, ran)
    }

    fn believed(&self, expected: SystemTime, ran: Duration) -> SystemTime {
        match self.newest {
            Some(newest) if expected > newest + REST + ran && ran < TRIAL => newest + ran,
            _ => expected,
        }
    }
}

/// The segments that may go now: a prefix of the log, and never the last one, which knows what was open behind it.
pub(super) fn due(sealed: &[Sealed], keep: Duration, now: SystemTime, holds: &[Hold]) -> Result<Vec<Sealed>, AuditError> {
    let mut due = Vec::new();
    for segment in sealed.iter().take(sealed.len().saturating_sub(1)) {
        let index = Index::read(segment).map_err(AuditError::at(&segment.files()[2]))?;
        let (Some(from), Some(to)) = (index.runs.iter().map(|run| &run.from).min(), index.runs.iter().map(|run| &run.to).max())
        else {
            break;
        };
        let old = moment(to).is_some_and(|newest| newest + keep < now);
        if !old || holds.iter().any(|hold| hold.covers(from, to)) {
            break;
        }
        due.push(segment.clone());
    }
    Ok(due)
}

/// A time as records write it.
pub(super) fn moment(text: &str) -> Option<SystemTime> {
    OffsetDateTime::parse(text, &Rfc3339).ok().map(SystemTime::from)
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY: Duration = Duration::from_secs(24 * 3600);

    fn age(newest_days_ago: u64) -> (Age, SystemTime, Instant) {
        let (wall, steady) = (SystemTime::now(), Instant::now());
        (Age { began: (wall, steady), newest: Some(wall - newest_days_ago as u32 * DAY) }, wall, steady)
    }

    #[test]
    fn a_clock_that_agrees_with_the_log_is_believed_at_once() {
        let (mut age, wall, steady) = age(3);
        assert_eq!(age.now(wall, steady), wall);
    }

    #[test]
    fn a_clock_a_year_ahead_of_the_log_is_believed_after_a_day() {
        let (mut age, wall, steady) = age(365);
        assert_eq!(age.now(wall, steady), wall - 365 * DAY);
        assert_eq!(age.now(wall + DAY / 2, steady + DAY / 2), wall - 365 * DAY + DAY / 2);
        assert_eq!(age.now(wall + DAY, steady + DAY), wall + DAY);
    }

    #[test]
    fn a_clock_that_jumps_while_we_run_makes_nothing_older() {
        let (mut age, wall, steady) = age(0);
        let hour = Duration::from_secs(3600);
        assert_eq!(age.now(wall + hour, steady + hour), wall + hour);
        let jumped = wall + 1000 * DAY;
        assert!(age.now(jumped, steady + hour) <= wall + hour);
        assert!(age.now(jumped + hour, steady + 2 * hour) <= wall + 2 * hour);
        assert_eq!(age.now(jumped + DAY, steady + hour + DAY), jumped + DAY, "a day of it going evenly is believed");
        let back = age.now(wall, steady + hour + DAY);
        assert!(back <= wall, "a clock set back makes nothing older either");
    }
}
