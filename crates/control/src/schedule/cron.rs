//! Quartz cron expressions: which moments they name, in a zone of the zone database.
//!
//! An own matcher, because what connections store is Quartz as the original server reads it: seconds first, exactly one
//! of the two day fields is `?`, and `L`, `L-3`, `LW`, `15W`, `6L` and `6#3` have a meaning. Start with [`Cron::parse`]
//! and [`Cron::next_after`].

use std::ops::RangeInclusive;

use chrono::{
    DateTime, Datelike, Days, Months, NaiveDate, NaiveDateTime, TimeDelta, TimeZone, Timelike, Utc, Weekday,
    offset::LocalResult,
};
use chrono_tz::Tz;

/// The last year that Quartz knows.
const LAST_YEAR: i32 = 2099;
const FIRST_YEAR: i32 = 1970;
const MONTHS: [&str; 12] = ["JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC"];
const WEEKDAYS: [&str; 7] = ["SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT"];
const FORM: &str =
    "6 or 7 fields are expected: seconds, minutes, hours, day of month, month, day of week and, if wanted, year";

/// A parsed expression with its zone.
#[derive(Clone, Debug)]
pub struct Cron {
    zone: Tz,
    seconds: Numbers,
    minutes: Numbers,
    hours: Numbers,
    months: Numbers,
    days: DayRule,
    /// Empty = every year.
    years: Vec<i32>,
    /// The hours are `*` or have a step: such an expression means "every so often" and goes by the real clock where a
    /// zone changes its offset; one that names its hours means a time of day, which comes once a day.
    by_the_clock: bool,
}

/// A set of numbers below 64, one bit each.
#[derive(Clone, Copy, Debug, Default)]
struct Numbers(u64);

impl Numbers {
    fn add(&mut self, number: u32) {
        self.0 |= 1 << number;
    }

    fn has(self, number: u32) -> bool {
        number < 64 && self.0 >> number & 1 == 1
    }
}

#[derive(Clone, Debug)]
enum DayRule {
    OfMonth(Vec<MonthDay>),
    OfWeek(Vec<WeekDay>),
}

#[derive(Clone, Debug)]
enum MonthDay {
    Of(Numbers),
    /// `L`, `L-3`, `LW`, `L-3W`: so many days before the last one, moved to the nearest weekday if asked for.
    Last {
        before: u32,
        weekday: bool,
    },
    /// `15W`: the weekday nearest to that day, within the month.
    Nearest(u32),
}

#[derive(Clone, Debug)]
enum WeekDay {
    Of(Numbers),
    /// `6L`: the last Friday.
    Last(u32),
    /// `6#3`: the third Friday.
    Nth(u32, u32),
}

impl Cron {
    /// Reads a Quartz expression and the name of a zone. The message of a refusal shows the expression, or names the zone.
    pub fn parse(expression: &str, zone: &str) -> Result<Self, String> {
        let zone_name = zone.trim();
        let Ok(zone) = zone_name.parse::<Tz>() else {
            return Err(format!(
                "{zone_name:?} is no time zone; use a name of the zone database, as in Europe/Paris, US/Pacific or Etc/UTC"
            ));
        };
        let refuse = |why: String| format!("the cron expression {expression:?} is not valid: {why}");
        let fields: Vec<&str> = expression.split_whitespace().collect();
        if let Some(pasted) = fields.iter().find(|field| looks_like_a_zone(field)) {
            return Err(refuse(format!("the zone {pasted} does not belong here but into cronTimeZone; {FORM}")));
        }
        if !(6..=7).contains(&fields.len()) {
            return Err(refuse(format!(
                "it has {} field{}; {FORM}",
                fields.len(),
                if fields.len() == 1 { "" } else { "s" }
            )));
        }
        let days = match (fields[3], fields[5]) {
            ("?", "?") => Err("both day of month and day of week are `?`; exactly one of them has to be".to_owned()),
            (of_month, "?") => days_of_month(of_month).map(DayRule::OfMonth),
            ("?", of_week) => days_of_week(of_week).map(DayRule::OfWeek),
            _ => Err("exactly one of day of month and day of week has to be `?` (as in `0 0 6 * * ?`)".to_owned()),
        };
        let cron = Self {
            zone,
            seconds: Field::new("seconds", 0..=59, &[]).numbers(fields[0]).map_err(refuse)?,
            minutes: Field::new("minutes", 0..=59, &[]).numbers(fields[1]).map_err(refuse)?,
            hours: Field::new("hours", 0..=23, &[]).numbers(fields[2]).map_err(refuse)?,
            months: Field::new("month", 1..=12, &MONTHS).numbers(fields[4]).map_err(refuse)?,
            days: days.map_err(refuse)?,
            years: fields.get(6).map_or(Ok(Vec::new()), |text| years(text)).map_err(refuse)?,
            by_the_clock: fields[2].contains(['*', '/']),
        };
        let ever = NaiveDate::from_ymd_opt(FIRST_YEAR, 1, 1).and_then(|start| cron.next_date(start));
        if ever.is_none() {
            return Err(refuse("it names a day that never comes".to_owned()));
        }
        Ok(cron)
    }

    /// The first moment after `after` that the expression names; `None` if there is none up to the year 2099.
    ///
    /// A named time of day that a change of the clock leaves out comes at the end of the gap (02:30 at 03:00); one that
    /// happens twice counts the first time only. An expression with `*` or a step in its hours fires as often as the
    /// real clock shows a matching time.
    pub fn next_after(&self, after: DateTime<Utc>) -> Option<DateTime<Utc>> {
        let after = after.with_nanosecond(0)?;
        let local = after.with_timezone(&self.zone).naive_local();
        // Where local time runs twice, times of the last hours may still come a second time.
        let from = if self.by_the_clock { local - TimeDelta::hours(3) } else { local };
        let mut best: Option<DateTime<Utc>> = None;
        let mut date = from.date();
        let mut second = from.num_seconds_from_midnight();
        loop {
            let on = self.next_date(date)?;
            if on != date {
                second = 0;
            }
            while let Some(found) = self.next_second_of_day(second) {
                let time = on.and_hms_opt(found / 3600, found / 60 % 60, found % 60)?;
                let (first, again) = self.moments(time);
                if let (Some(best), Some(first)) = (best, first)
                    && first >= best
                {
                    return Some(best);
                }
                let sooner = first.into_iter().chain(again).filter(|moment| *moment > after).min();
                best = best.into_iter().chain(sooner).min();
                second = found + 1;
            }
            // The next day's times all come later: clocks that are set back cross midnight by less than a day, and
            // what they repeat of this day was looked at above.
            if best.is_some() {
                return best;
            }
            date = on.checked_add_days(Days::new(1))?;
            second = 0;
        }
    }

    /// When the zone's clock shows `time`: once, twice, or (a gap) not at all.
    fn moments(&self, time: NaiveDateTime) -> (Option<DateTime<Utc>>, Option<DateTime<Utc>>) {
        match self.zone.from_local_datetime(&time) {
            LocalResult::Single(only) => (Some(only.to_utc()), None),
            LocalResult::Ambiguous(first, again) => (Some(first.to_utc()), self.by_the_clock.then(|| again.to_utc())),
            LocalResult::None if self.by_the_clock => (None, None),
            LocalResult::None => (self.end_of_gap(time), None),
        }
    }

    /// The first moment after the local times that a change of the clock leaves out, `time` being one of them.
    fn end_of_gap(&self, time: NaiveDateTime) -> Option<DateTime<Utc>> {
        let exists = |seconds| {
            !matches!(self.zone.from_local_datetime(&(time + TimeDelta::seconds(seconds))), LocalResult::None)
        };
        // No gap is longer than a day and a bit (Samoa left out a whole one).
        let (mut missing, mut there) = (0, 25 * 3600);
        while there - missing > 1 {
            let middle = missing + (there - missing) / 2;
            if exists(middle) { there = middle } else { missing = middle }
        }
        self.zone.from_local_datetime(&(time + TimeDelta::seconds(there))).earliest().map(|moment| moment.to_utc())
    }

    /// The first matching second of a day, not before `from`.
    fn next_second_of_day(&self, from: u32) -> Option<u32> {
        let (mut hour, mut minute, mut second) = (from / 3600, from / 60 % 60, from % 60);
        while hour < 24 {
            while self.hours.has(hour) && minute < 60 {
                if self.minutes.has(minute)
                    && let Some(second) = (second..60).find(|second| self.seconds.has(*second))
                {
                    return Some(hour * 3600 + minute * 60 + second);
                }
                (minute, second) = (minute + 1, 0);
            }
            (hour, minute, second) = (hour + 1, 0, 0);
        }
        None
    }

    /// The first matching day, not before `date`.
    fn next_date(&self, mut date: NaiveDate) -> Option<NaiveDate> {
        while date.year() <= LAST_YEAR {
            if !self.years.is_empty() && !self.years.contains(&date.year()) {
                date = NaiveDate::from_ymd_opt(date.year() + 1, 1, 1)?;
            } else if !self.months.has(date.month()) {
                date = date.with_day(1)?.checked_add_months(Months::new(1))?;
            } else if self.days.has(date) {
                return Some(date);
            } else {
                date = date.succ_opt()?;
            }
        }
        None
    }
}

impl DayRule {
    fn has(&self, date: NaiveDate) -> bool {
        match self {
            Self::OfMonth(rules) => rules.iter().any(|rule| rule.has(date)),
            Self::OfWeek(rules) => rules.iter().any(|rule| rule.has(date)),
        }
    }
}

impl MonthDay {
    fn has(&self, date: NaiveDate) -> bool {
        let last = u32::from(date.num_days_in_month());
        match *self {
            Self::Of(days) => days.has(date.day()),
            Self::Last { before, weekday: false } => date.day() + before == last,
            Self::Last { before, weekday: true } => {
                before < last && nearest_weekday(date, last - before, last) == Some(date.day())
            }
            Self::Nearest(day) => day <= last && nearest_weekday(date, day, last) == Some(date.day()),
        }
    }
}

impl WeekDay {
    fn has(&self, date: NaiveDate) -> bool {
        let weekday = date.weekday().num_days_from_sunday() + 1;
        match *self {
            Self::Of(days) => days.has(weekday),
            Self::Last(day) => weekday == day && date.day() + 7 > u32::from(date.num_days_in_month()),
            Self::Nth(day, nth) => weekday == day && date.day().div_ceil(7) == nth,
        }
    }
}

/// The Monday-to-Friday nearest to `day` that lies in the same month.
fn nearest_weekday(month: NaiveDate, day: u32, last: u32) -> Option<u32> {
    Some(match month.with_day(day)?.weekday() {
        Weekday::Sat if day == 1 => 3,
        Weekday::Sat => day - 1,
        Weekday::Sun if day == last => day - 2,
        Weekday::Sun => day + 1,
        _ => day,
    })
}

fn looks_like_a_zone(field: &str) -> bool {
    let zone = field.trim_matches(['(', ')', '[', ']']);
    let areas = |(area, place): (&str, &str)| {
        area.len() > 3
            && area.bytes().all(|byte| byte.is_ascii_alphabetic())
            && place.starts_with(|c: char| c.is_ascii_alphabetic())
    };
    zone.parse::<Tz>().is_ok() || zone.split_once('/').is_some_and(areas)
}

fn days_of_month(text: &str) -> Result<Vec<MonthDay>, String> {
    let field = Field::new("day of month", 1..=31, &[]);
    text.split(',').map(|part| day_of_month(&field, &part.to_ascii_uppercase())).collect()
}

fn day_of_month(field: &Field, part: &str) -> Result<MonthDay, String> {
    let (rest, weekday) = part.strip_suffix('W').map_or((part, false), |rest| (rest, true));
    if rest == "L" {
        return Ok(MonthDay::Last { before: 0, weekday });
    }
    if let Some(before) = rest.strip_prefix("L-") {
        let before = before.parse().ok().filter(|days| (1..=30).contains(days));
        let before =
            before.ok_or_else(|| format!("{part:?} in day of month: 1 to 30 days before the last one can be named"))?;
        return Ok(MonthDay::Last { before, weekday });
    }
    if weekday {
        return field.number(rest).map(MonthDay::Nearest);
    }
    field.numbers(part).map(MonthDay::Of)
}

fn days_of_week(text: &str) -> Result<Vec<WeekDay>, String> {
    let field = Field::new("day of week", 1..=7, &WEEKDAYS);
    text.split(',').map(|part| day_of_week(&field, &part.to_ascii_uppercase())).collect()
}

fn day_of_week(field: &Field, part: &str) -> Result<WeekDay, String> {
    if part == "L" {
        return field.numbers("7").map(WeekDay::Of);
    }
    if let Some(day) = part.strip_suffix('L') {
        return field.number(day).map(WeekDay::Last);
    }
    if let Some((day, nth)) = part.split_once('#') {
        let nth = nth.parse().ok().filter(|nth| (1..=5).contains(nth));
        let nth = nth.ok_or_else(|| format!("{part:?} in day of week: after # a number from 1 to 5 is expected"))?;
        return Ok(WeekDay::Nth(field.number(day)?, nth));
    }
    field.numbers(part).map(WeekDay::Of)
}

fn years(text: &str) -> Result<Vec<i32>, String> {
    if text == "*" {
        return Ok(Vec::new());
    }
    let field = Field::new("year", FIRST_YEAR as u32..=LAST_YEAR as u32, &[]);
    let mut years = Vec::new();
    for part in text.split(',') {
        field.each(part, |year| years.push(year as i32))?;
    }
    Ok(years)
}

/// One field's name, range and words.
struct Field {
    name: &'static str,
    range: RangeInclusive<u32>,
    words: &'static [&'static str],
}

impl Field {
    fn new(name: &'static str, range: RangeInclusive<u32>, words: &'static [&'static str]) -> Self {
        Self { name, range, words }
    }

    fn numbers(&self, text: &str) -> Result<Numbers, String> {
        let mut numbers = Numbers::default();
        for part in text.split(',') {
            self.each(part, |number| numbers.add(number))?;
        }
        Ok(numbers)
    }

    /// One member of a list: `*`, `5`, `2-4`, `0/5`, `*/5`, `2-30/5`. A range may run over the end (`22-2`).
    fn each(&self, part: &str, mut take: impl FnMut(u32)) -> Result<(), String> {
        let (first, last) = (*self.range.start(), *self.range.end());
        let size = last - first + 1;
        let (base, step) = match part.split_once('/') {
            Some((base, step)) => {
                let step = step.parse().ok().filter(|step| (1..=size).contains(step));
                let step = step
                    .ok_or_else(|| format!("{part:?} in {}: after / a step from 1 to {size} is expected", self.name))?;
                (base, Some(step))
            }
            None => (part, None),
        };
        let (from, to) = match base.split_once('-') {
            _ if base == "*" || (base.is_empty() && step.is_some()) => (first, last),
            Some((from, to)) => (self.number(from)?, self.number(to)?),
            None if step.is_some() => (self.number(base)?, last),
            None => (self.number(base)?, self.number(base)?),
        };
        let length = if from <= to { to - from } else { to + size - from };
        for offset in (0..=length).step_by(step.unwrap_or(1) as usize) {
            take(first + (from - first + offset) % size);
        }
        Ok(())
    }

    fn number(&self, text: &str) -> Result<u32, String> {
        if let Some(index) = self.words.iter().position(|word| word.eq_ignore_ascii_case(text)) {
            return Ok(self.range.start() + index as u32);
        }
        let plain = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        match text.parse::<u32>() {
            Ok(number) if plain && self.range.contains(&number) => Ok(number),
            _ => {
                let words = self.words.first().zip(self.words.last());
                let words = words.map(|(first, last)| format!(" or {first} to {last}")).unwrap_or_default();
                Err(format!(
                    "{text:?} in {}: {} to {}{words} is expected",
                    self.name,
                    self.range.start(),
                    self.range.end()
                ))
            }
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn time(text: &str) -> DateTime<Utc> {
        text.parse().unwrap()
    }

    #[track_caller]
    fn check(expression: &str, zone: &str, after: &str, expected: &[&str]) {
        let cron = Cron::parse(expression, zone).unwrap();
        let mut at = time(after);
        let mut fires = Vec::new();
        for _ in expected {
            at = cron.next_after(at).unwrap();
            fires.push(at);
        }
        let expected: Vec<_> = expected.iter().map(|text| time(text)).collect();
        assert_eq!(fires, expected, "{expression} {zone} after {after}");
    }

    #[track_caller]
    fn refuse(expression: &str, zone: &str, words: &[&str]) {
        let message = Cron::parse(expression, zone).unwrap_err();
        for word in words {
            assert!(message.contains(word), "{message} should name {word}");
        }
    }

    #[test]
    fn plain_fields() {
        check("0 0 12 * * ?", "UTC", "2024-01-01T12:00:00Z", &["2024-01-02T12:00:00Z"]);
        check("0 0/5 * * * ?", "UTC", "2024-01-01T00:57:30Z", &["2024-01-01T01:00:00Z", "2024-01-01T01:05:00Z"]);
        check("0 /20 * * * ?", "UTC", "2024-01-01T00:00:00Z", &["2024-01-01T00:20:00Z"]);
        check("*/30 * * * * ?", "UTC", "2024-01-01T00:00:00.5Z", &["2024-01-01T00:00:30Z", "2024-01-01T00:01:00Z"]);
        check(
            "0 15,45 8-9 ? * MON-FRI",
            "UTC",
            "2024-01-05T09:45:00Z",
            &["2024-01-08T08:15:00Z", "2024-01-08T08:45:00Z"],
        );
        check("0 0 22-2/2 * * ?", "UTC", "2024-01-01T02:00:00Z", &["2024-01-01T22:00:00Z", "2024-01-02T00:00:00Z"]);
        check("0 0 0 ? * FRI-MON", "UTC", "2024-01-01T00:00:00Z", &["2024-01-05T00:00:00Z", "2024-01-06T00:00:00Z"]);
        check("0 0 0 1 jan,JUL ?", "UTC", "2024-01-01T00:00:00Z", &["2024-07-01T00:00:00Z"]);
        check("0 0 0 29 2 ?", "UTC", "2024-03-01T00:00:00Z", &["2028-02-29T00:00:00Z"]);
        check("0 0 0 ? * 1", "UTC", "2024-01-01T00:00:00Z", &["2024-01-07T00:00:00Z"]);
        check("0 0 0 1 1 ? 2030/5", "UTC", "2024-01-01T00:00:00Z", &["2030-01-01T00:00:00Z", "2035-01-01T00:00:00Z"]);
        check("0 0 0 1 1 ? *", "UTC", "2024-01-01T00:00:00Z", &["2025-01-01T00:00:00Z"]);
    }

    #[test]
    fn quartz_days() {
        check("0 0 0 L * ?", "UTC", "2024-02-01T00:00:00Z", &["2024-02-29T00:00:00Z", "2024-03-31T00:00:00Z"]);
        check("0 0 0 L-3 * ?", "UTC", "2024-02-01T00:00:00Z", &["2024-02-26T00:00:00Z", "2024-03-28T00:00:00Z"]);
        // 2024-03-31 is a Sunday, 2024-06-30 too; 2024-08-31 a Saturday.
        check(
            "0 0 0 LW 3,6,8 ?",
            "UTC",
            "2024-02-01T00:00:00Z",
            &["2024-03-29T00:00:00Z", "2024-06-28T00:00:00Z", "2024-08-30T00:00:00Z"],
        );
        check("0 0 0 L-1W 3 ?", "UTC", "2024-02-01T00:00:00Z", &["2024-03-29T00:00:00Z"]);
        // 2024-06-01 is a Saturday and moves forward, 2024-06-15 a Saturday and moves back.
        check("0 0 0 1W 6 ?", "UTC", "2024-02-01T00:00:00Z", &["2024-06-03T00:00:00Z"]);
        check("0 0 0 15W 6 ?", "UTC", "2024-02-01T00:00:00Z", &["2024-06-14T00:00:00Z"]);
        check("0 0 0 ? * 6L", "UTC", "2024-02-01T00:00:00Z", &["2024-02-23T00:00:00Z", "2024-03-29T00:00:00Z"]);
        check("0 0 0 ? * FRI#3", "UTC", "2024-02-01T00:00:00Z", &["2024-02-16T00:00:00Z", "2024-03-15T00:00:00Z"]);
        check("0 0 0 ? * 6#5", "UTC", "2024-02-01T00:00:00Z", &["2024-03-29T00:00:00Z", "2024-05-31T00:00:00Z"]);
        check("0 0 0 ? * L", "UTC", "2024-02-01T00:00:00Z", &["2024-02-03T00:00:00Z"]);
        check("0 0 0 31W * ?", "UTC", "2024-04-01T00:00:00Z", &["2024-05-31T00:00:00Z"]);
    }

    #[test]
    fn zones_and_changes_of_the_clock() {
        let pacific = "US/Pacific";
        check("0 0 6 * * ?", pacific, "2027-03-12T20:00:00Z", &["2027-03-13T14:00:00Z", "2027-03-14T13:00:00Z"]);
        check("0 0 6 * * ?", pacific, "2027-11-05T20:00:00Z", &["2027-11-06T13:00:00Z", "2027-11-07T14:00:00Z"]);
        check("0 0 6 * * ?", "Asia/Kathmandu", "2027-03-13T12:00:00Z", &["2027-03-14T00:15:00Z"]);
        check("0 0 6 * * ?", "Etc/GMT+3", "2027-03-13T12:00:00Z", &["2027-03-14T09:00:00Z"]);
        // A time of day in the gap comes at its end, once, however many of them there are.
        check("0 30 2 * * ?", pacific, "2027-03-13T12:00:00Z", &["2027-03-14T10:00:00Z", "2027-03-15T09:30:00Z"]);
        check("0 0,10,20 2 * * ?", pacific, "2027-03-14T09:00:00Z", &["2027-03-14T10:00:00Z", "2027-03-15T09:00:00Z"]);
        // A time of day that comes twice counts once.
        check("0 30 1 * * ?", pacific, "2027-11-06T12:00:00Z", &["2027-11-07T08:30:00Z", "2027-11-08T09:30:00Z"]);
        // What means "every so often" goes by the real clock.
        check(
            "0 0/30 * * * ?",
            pacific,
            "2027-11-07T07:30:00Z",
            &[
                "2027-11-07T08:00:00Z",
                "2027-11-07T08:30:00Z",
                "2027-11-07T09:00:00Z",
                "2027-11-07T09:30:00Z",
                "2027-11-07T10:00:00Z",
            ],
        );
        check("0 30 * * * ?", pacific, "2027-03-14T09:00:00Z", &["2027-03-14T09:30:00Z", "2027-03-14T10:30:00Z"]);
        check("0 30 2 * * ?", "Australia/Lord_Howe", "2027-10-02T00:00:00Z", &["2027-10-02T15:30:00Z"]);
        // Samoa had no 30 December 2011.
        check("0 0 6 * * ?", "Pacific/Apia", "2011-12-29T17:00:00Z", &["2011-12-30T10:00:00Z", "2011-12-30T16:00:00Z"]);
    }

    #[test]
    fn refusals_say_what_to_do() {
        refuse("0 27 * * * ? * US/Pacific", "UTC", &["\"0 27 * * * ? * US/Pacific\"", "cronTimeZone", "6 or 7 fields"]);
        refuse("0 0 6 * * ? UTC", "UTC", &["UTC", "cronTimeZone"]);
        refuse("0 0 6 * * ? Mars/Olympus", "UTC", &["Mars/Olympus", "cronTimeZone"]);
        refuse("0 0 6 * * ?", "Mars/Olympus", &["Mars/Olympus"]);
        refuse("0 0 6 * * ?", "", &["zone"]);
        refuse("0 6 * * *", "UTC", &["5 fields", "6 or 7"]);
        refuse("", "UTC", &["0 fields"]);
        refuse("0 0 6 * * *", "UTC", &["exactly one", "`?`"]);
        refuse("0 0 6 ? * ?", "UTC", &["exactly one"]);
        refuse("0 60 6 * * ?", "UTC", &["\"60\"", "minutes", "0 to 59"]);
        refuse("0 0 24 * * ?", "UTC", &["hours"]);
        refuse("? 0 6 * * ?", "UTC", &["seconds"]);
        refuse("0 0 6 ? * 0", "UTC", &["day of week", "1 to 7 or SUN to SAT"]);
        refuse("0 0 6 ? * 6#6", "UTC", &["1 to 5"]);
        refuse("0 0 6 L-31 * ?", "UTC", &["1 to 30"]);
        refuse("0 0/0 6 * * ?", "UTC", &["step"]);
        refuse("0 0/99999999999 6 * * ?", "UTC", &["step"]);
        refuse("0 +1 6 * * ?", "UTC", &["minutes"]);
        refuse("0 , 6 * * ?", "UTC", &["minutes"]);
        refuse("0 0 0 30 2 ?", "UTC", &["never comes"]);
        refuse("0 0 0 1 1 ? 2100", "UTC", &["year", "1970 to 2099"]);
        refuse("ä 0 0 1 1 ?", "UTC", &["seconds"]);
        refuse("0 0 0 W * ?", "UTC", &["day of month"]);
    }

    #[test]
    fn past_years_have_no_next_moment() {
        let cron = Cron::parse("0 0 0 1 1 ? 2020", "UTC").unwrap();
        assert_eq!(cron.next_after(time("2024-01-01T00:00:00Z")), None);
    }
}
