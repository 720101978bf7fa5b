//! When a connection runs next: manual, every so often, or by a Quartz cron.
//!
//! Pure functions over a time that is passed in; the loop that starts what is due is in [`crate::scheduler`]. Start
//! with [`next_run`].

pub mod cron;

use chrono::{DateTime, TimeDelta, Utc};

pub use cron::Cron;

use crate::connections::{ConnectionStatus, Schedule, TimeUnit};

/// The shortest interval of a basic schedule, and the least distance of two scheduled starts.
const SHORTEST_SECONDS: i64 = 60;
/// The longest one: a hundred years.
const LONGEST_SECONDS: i64 = 36_525 * 86_400;

/// The distance of two starts of a basic schedule, a week being 7 days and a month 30. Refuses less than 1 minute and more than
/// 100 years, saying so.
pub fn interval(units: i64, unit: TimeUnit) -> Result<TimeDelta, String> {
    match units.checked_mul(unit.seconds()) {
        Some(seconds) if (SHORTEST_SECONDS..=LONGEST_SECONDS).contains(&seconds) => Ok(TimeDelta::seconds(seconds)),
        _ => {
            let unit = format!("{unit:?}").to_lowercase();
            Err(format!("{units} {unit} is no usable interval; from 1 minute to 100 years is expected"))
        }
    }
}

/// When the next job is due, `now` being past that moment or not; `None` = it waits for somebody.
///
/// `last_run_start` is the creation of the last job of the connection that was not cancelled. A basic schedule goes from
/// start to start and its first run is due at once; a cron does not catch up on what it missed.
pub fn next_run(
    schedule: &Schedule,
    status: ConnectionStatus,
    last_run_start: Option<DateTime<Utc>>,
    now: DateTime<Utc>,
) -> Option<DateTime<Utc>> {
    if status != ConnectionStatus::Active {
        return None;
    }
    match schedule {
        Schedule::Manual => None,
        Schedule::Basic { units, unit } => {
            let Some(start) = last_run_start else { return Some(now) };
            Some(start.checked_add_signed(interval(*units, *unit).ok()?)?.max(now))
        }
        Schedule::Cron { expression, zone } => {
            let earliest =
                last_run_start.and_then(|start| start.checked_add_signed(TimeDelta::seconds(SHORTEST_SECONDS)));
            Cron::parse(expression, zone).ok()?.next_after(earliest.map_or(now, |earliest| earliest.max(now)))
        }
    }
}

/// The next `n` moments after `after` at which the schedule would start a job that ends at once: a preview.
pub fn fire_times(schedule: &Schedule, after: DateTime<Utc>, n: usize) -> Vec<DateTime<Utc>> {
    let mut times: Vec<DateTime<Utc>> = Vec::new();
    while times.len() < n {
        let last = times.last().copied().or(matches!(schedule, Schedule::Basic { .. }).then_some(after));
        let Some(next) = next_run(schedule, ConnectionStatus::Active, last, last.unwrap_or(after)) else { break };
        times.push(next);
    }
    times
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn time(text: &str) -> DateTime<Utc> {
        text.parse().unwrap()
    }

    fn cron(expression: &str) -> Schedule {
        Schedule::Cron { expression: expression.into(), zone: "UTC".into() }
    }

    #[test]
    fn basic_intervals_are_checked() {
        for (units, unit, fine) in [
            (1, TimeUnit::Minutes, true),
            (0, TimeUnit::Minutes, false),
            (-1, TimeUnit::Hours, false),
            (i64::MIN, TimeUnit::Minutes, false),
            (i64::MAX, TimeUnit::Months, false),
            (i64::MAX, TimeUnit::Minutes, false),
            (36_525, TimeUnit::Days, true),
            (36_526, TimeUnit::Days, false),
            (1_217, TimeUnit::Months, true),
            (1_218, TimeUnit::Months, false),
            (5_217, TimeUnit::Weeks, true),
            (876_600, TimeUnit::Hours, true),
            (876_601, TimeUnit::Hours, false),
        ] {
            let every = interval(units, unit);
            assert_eq!(every.is_ok(), fine, "{units} {unit:?}");
            if let Err(message) = every {
                assert!(message.contains(&units.to_string()) && message.contains("1 minute to 100 years"), "{message}");
            }
        }
    }

    #[test]
    fn basic_goes_from_start_to_start() {
        for (unit, next) in [
            (TimeUnit::Minutes, "2024-01-31T00:02:00Z"),
            (TimeUnit::Hours, "2024-01-31T02:00:00Z"),
            (TimeUnit::Days, "2024-02-02T00:00:00Z"),
            (TimeUnit::Weeks, "2024-02-14T00:00:00Z"),
            (TimeUnit::Months, "2024-03-31T00:00:00Z"),
        ] {
            let schedule = Schedule::Basic { units: 2, unit };
            let start = time("2024-01-31T00:00:00Z");
            let now = time("2024-01-31T00:01:00Z");
            assert_eq!(next_run(&schedule, ConnectionStatus::Active, Some(start), now), Some(time(next)), "{unit:?}");
            assert_eq!(
                next_run(&schedule, ConnectionStatus::Active, None, now),
                Some(now),
                "the first run is due at once"
            );
            let late = time("2030-01-01T00:00:00Z");
            assert_eq!(
                next_run(&schedule, ConnectionStatus::Active, Some(start), late),
                Some(late),
                "a long run is followed at once"
            );
            assert_eq!(next_run(&schedule, ConnectionStatus::Inactive, Some(start), now), None);
        }
        assert_eq!(next_run(&Schedule::Manual, ConnectionStatus::Active, None, time("2024-01-31T00:00:00Z")), None);
        let far = Schedule::Basic { units: 36_525, unit: TimeUnit::Days };
        assert_eq!(
            next_run(&far, ConnectionStatus::Active, Some(DateTime::<Utc>::MAX_UTC), time("2024-01-31T00:00:00Z")),
            None
        );
    }

    #[test]
    fn a_cron_starts_at_most_once_a_minute_and_catches_nothing_up() {
        let every_second = cron("* * * * * ?");
        let start = time("2024-01-01T00:00:00Z");
        assert_eq!(
            next_run(&every_second, ConnectionStatus::Active, Some(start), start + TimeDelta::seconds(5)),
            Some(time("2024-01-01T00:01:01Z"))
        );
        assert_eq!(next_run(&every_second, ConnectionStatus::Active, None, start), Some(time("2024-01-01T00:00:01Z")));
        let daily = cron("0 0 6 * * ?");
        assert_eq!(
            next_run(&daily, ConnectionStatus::Active, Some(start), time("2024-02-01T07:00:00Z")),
            Some(time("2024-02-02T06:00:00Z"))
        );
    }

    #[test]
    fn preview() {
        let hourly = Schedule::Basic { units: 1, unit: TimeUnit::Hours };
        let after = time("2024-01-01T00:00:00Z");
        assert_eq!(fire_times(&hourly, after, 2), [time("2024-01-01T01:00:00Z"), time("2024-01-01T02:00:00Z")]);
        let once = cron("0 0 0 1 6 ? 2024");
        assert_eq!(fire_times(&once, after, 3), [time("2024-06-01T00:00:00Z")]);
        assert!(fire_times(&Schedule::Manual, after, 3).is_empty());
    }
}
