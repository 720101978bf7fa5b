//! Dates, times and timestamps in the spellings that connectors use.
//!
//! A date is year, month and day with `-`, `/`, `.` or a blank between them (or eight digits), the month a number or an
//! English three-letter name, the year of four digits or more, with a sign (astronomical) or ` BC` behind. A timestamp adds
//! `T` or a blank, a time and perhaps a zone (`Z`, `UTC`, `GMT`, `+02`, `+0200`, `+02:00`, `+02:00:30`); without a time it
//! is midnight. Seconds of 60 and 24:00:00 mean the next minute and the next day. Microseconds are kept; further digits
//! that are not zero are cut, which is a change.

use super::Flaw;

const DAY: i64 = 86_400_000_000;

/// A date with what came behind it.
#[derive(Clone, Copy, Debug)]
struct Moment {
    /// Since 1970-01-01.
    days: i64,
    clock: Clock,
    zone: Option<i64>,
}

/// A reading of a clock.
#[derive(Clone, Copy, Debug, Default)]
struct Clock {
    hour: i64,
    minute: i64,
    second: i64,
    micros: i64,
    /// Digits beyond microseconds were lost.
    cut: bool,
}

impl Clock {
    fn total(self) -> i64 {
        ((self.hour * 60 + self.minute) * 60 + self.second) * 1_000_000 + self.micros
    }
}

/// A value, and perhaps what was lost of it.
pub type Read<T> = Result<(T, Option<Flaw>), Flaw>;

/// Days since 1970-01-01; a time behind the date is left out, as upstream does.
pub fn date(text: &str) -> Result<i32, Flaw> {
    let moment = moment(text).ok_or(Flaw::Unfit)?;
    i32::try_from(moment.days).map_err(|_| Flaw::TooLarge)
}

/// Microseconds since 1970-01-01T00:00:00Z; without a zone it is UTC.
pub fn timestamp_tz(text: &str) -> Read<i64> {
    let moment = moment(text).ok_or(Flaw::Unfit)?;
    micros(moment, moment.zone.unwrap_or(0))
}

/// Microseconds since 1970-01-01T00:00:00 on the same wall; a zone is left out.
pub fn timestamp(text: &str) -> Read<i64> {
    micros(moment(text).ok_or(Flaw::Unfit)?, 0)
}

fn micros(moment: Moment, zone: i64) -> Read<i64> {
    let total = i128::from(moment.days) * i128::from(DAY) + i128::from(moment.clock.total() - zone * 1_000_000);
    let value = i64::try_from(total).map_err(|_| Flaw::TooLarge)?;
    Ok((value, moment.clock.cut.then_some(Flaw::Cut)))
}

/// Microseconds since midnight, up to 24:00:00, and the seconds east of UTC where a zone is there.
pub fn time_and_zone(text: &str) -> Read<(i64, Option<i64>)> {
    let mut place = Place::new(text);
    let clock = place.clock().ok_or(Flaw::Unfit)?;
    let zone = place.zone().ok_or(Flaw::Unfit)?;
    place.end().ok_or(Flaw::Unfit)?;
    Ok(((clock.total().min(DAY), zone), clock.cut.then_some(Flaw::Cut)))
}

/// Microseconds since midnight; a zone is left out. 24:00:00 has no place in an Arrow time.
pub(super) fn time(text: &str) -> Read<i64> {
    let mut place = Place::new(text);
    let clock = place.clock().ok_or(Flaw::Unfit)?;
    place.zone().ok_or(Flaw::Unfit)?;
    place.end().ok_or(Flaw::Unfit)?;
    if clock.total() >= DAY {
        return Err(Flaw::TooLarge);
    }
    Ok((clock.total(), clock.cut.then_some(Flaw::Cut)))
}

/// `HH:MM:SS[.fraction]` with `Z` or `+HH:MM`; without a zone it is UTC.
pub(super) fn time_tz(text: &str, out: &mut String) -> Result<Option<Flaw>, Flaw> {
    use std::fmt::Write as _;
    let mut place = Place::new(text);
    let clock = place.clock().ok_or(Flaw::Unfit)?;
    let zone = place.zone().ok_or(Flaw::Unfit)?;
    place.end().ok_or(Flaw::Unfit)?;
    out.clear();
    // Writing to a text does not fail.
    let _ = write!(out, "{:02}:{:02}:{:02}", clock.hour, clock.minute, clock.second);
    if clock.micros > 0 {
        let fraction = format!("{:06}", clock.micros);
        let _ = write!(out, ".{}", fraction.trim_end_matches('0'));
    }
    match zone.unwrap_or(0) {
        0 => out.push('Z'),
        zone => {
            let sign = if zone < 0 { '-' } else { '+' };
            let (hours, minutes, seconds) = (zone.abs() / 3600, zone.abs() / 60 % 60, zone.abs() % 60);
            let _ = write!(out, "{sign}{hours:02}:{minutes:02}");
            if seconds > 0 {
                let _ = write!(out, ":{seconds:02}");
            }
        }
    }
    Ok(clock.cut.then_some(Flaw::Cut))
}

fn moment(text: &str) -> Option<Moment> {
    let mut place = Place::new(text);
    let (year, month, day) = place.date()?;
    let mut is_bc = place.era()?;
    let mut clock = Clock::default();
    let mut zone = None;
    if place.begins_clock() {
        clock = place.clock()?;
        zone = place.zone()?;
        is_bc = place.era()? || is_bc;
    }
    place.end()?;
    // There is no year 0 in the count with eras: 1 BC is the astronomical year 0.
    let year = if is_bc { 1 - year } else { year };
    if day > days_of_month(year, month) {
        return None;
    }
    Some(Moment { days: days_from_civil(year, month, day), clock, zone })
}

fn days_of_month(year: i64, month: i64) -> i64 {
    let is_leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    match month {
        4 | 6 | 9 | 11 => 30,
        2 => 28 + i64::from(is_leap),
        _ => 31,
    }
}

/// Days since 1970-01-01 in the proleptic Gregorian calendar. Years are counted from March, so that a leap day is the
/// last of its year.
fn days_from_civil(year: i64, month: i64, day: i64) -> i64 {
    let year = year - i64::from(month <= 2);
    let era = year.div_euclid(400);
    let year_of_era = year.rem_euclid(400);
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    era * 146_097 + day_of_era - 719_468
}

/// A place in a text; every method that finds nothing fitting returns `None` for "not such a value".
struct Place<'a> {
    rest: &'a [u8],
}

impl<'a> Place<'a> {
    fn new(text: &'a str) -> Self {
        Self { rest: text.trim_matches(' ').as_bytes() }
    }

    fn date(&mut self) -> Option<(i64, i64, i64)> {
        let sign = match self.rest.first()? {
            b'-' => -1,
            b'+' => 1,
            _ => 0,
        };
        if sign != 0 {
            self.rest = &self.rest[1..];
        }
        let (year, width) = self.number(4, 9)?;
        let is_separator = |byte: &u8| matches!(byte, b'-' | b'/' | b'.' | b' ');
        if width == 8 && sign == 0 && !self.rest.first().is_some_and(|byte| matches!(byte, b'-' | b'/' | b'.')) {
            return Self::checked(year / 10_000, year / 100 % 100, year % 100);
        }
        self.rest.first().filter(|byte| is_separator(byte))?;
        self.rest = &self.rest[1..];
        let month = match self.rest.first()? {
            byte if byte.is_ascii_alphabetic() => self.month_name()?,
            _ => self.number(1, 2)?.0,
        };
        self.rest.first().filter(|byte| is_separator(byte))?;
        self.rest = &self.rest[1..];
        let (day, _) = self.number(1, 2)?;
        Self::checked(if sign < 0 { -year } else { year }, month, day)
    }

    fn checked(year: i64, month: i64, day: i64) -> Option<(i64, i64, i64)> {
        ((1..=12).contains(&month) && (1..=31).contains(&day)).then_some((year, month, day))
    }

    fn month_name(&mut self) -> Option<i64> {
        const NAMES: [&[u8]; 12] =
            [b"jan", b"feb", b"mar", b"apr", b"may", b"jun", b"jul", b"aug", b"sep", b"oct", b"nov", b"dec"];
        let name = self.rest.get(..3)?;
        let at = NAMES.iter().position(|known| name.eq_ignore_ascii_case(known))?;
        self.rest = &self.rest[3..];
        Some(at as i64 + 1)
    }

    /// ` BC` or ` AD`, if it is there.
    fn era(&mut self) -> Option<bool> {
        let rest = self.rest.trim_ascii_start();
        let Some(word) = rest.get(..2) else { return Some(false) };
        let is_bc = word.eq_ignore_ascii_case(b"bc");
        if is_bc || word.eq_ignore_ascii_case(b"ad") {
            self.rest = &rest[2..];
        }
        Some(is_bc)
    }

    fn begins_clock(&mut self) -> bool {
        match self.rest {
            [b'T' | b't', ..] => self.rest = &self.rest[1..],
            [b' ', ..] => self.rest = self.rest.trim_ascii_start(),
            _ => return false,
        }
        true
    }

    fn clock(&mut self) -> Option<Clock> {
        let (hour, _) = self.number(1, 2)?;
        self.skip(b':')?;
        let (minute, _) = self.number(2, 2)?;
        let mut clock = Clock { hour, minute, ..Clock::default() };
        if self.skip(b':').is_some() {
            clock.second = self.number(2, 2)?.0;
            if self.skip(b'.').or_else(|| self.skip(b',')).is_some() {
                self.fraction(&mut clock)?;
            }
        }
        let is_midnight = hour == 24 && clock.total() == DAY;
        ((hour < 24 || is_midnight) && minute < 60 && clock.second <= 60).then_some(clock)
    }

    fn fraction(&mut self, clock: &mut Clock) -> Option<()> {
        let width = self.rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
        if width == 0 {
            return None;
        }
        for at in 0..width.max(6) {
            let digit = if at < width { i64::from(self.rest[at] - b'0') } else { 0 };
            if at < 6 {
                clock.micros = clock.micros * 10 + digit;
            } else {
                clock.cut |= digit != 0;
            }
        }
        self.rest = &self.rest[width..];
        Some(())
    }

    /// Seconds east of UTC, if a zone is there. `None`: something is there that is no zone.
    #[allow(clippy::option_option)]
    fn zone(&mut self) -> Option<Option<i64>> {
        let rest = self.rest.trim_ascii_start();
        for word in [b"UTC".as_slice(), b"GMT", b"Z"] {
            if rest.get(..word.len()).is_some_and(|start| start.eq_ignore_ascii_case(word)) {
                self.rest = &rest[word.len()..];
                return Some(Some(0));
            }
        }
        let sign = match rest.first() {
            Some(b'+') => 1,
            Some(b'-') => -1,
            _ => return Some(None),
        };
        self.rest = &rest[1..];
        let (hours, _) = self.number(2, 2)?;
        let mut parts = [0, 0];
        for part in &mut parts {
            let colon = self.skip(b':').is_some();
            if colon || self.rest.first().is_some_and(u8::is_ascii_digit) {
                *part = self.number(2, 2)?.0;
            }
        }
        let [minutes, seconds] = parts;
        (hours <= 18 && minutes < 60 && seconds < 60).then_some(Some(sign * ((hours * 60 + minutes) * 60 + seconds)))
    }

    /// Between `least` and `most` digits; takes as many as there are. The second value is their count.
    fn number(&mut self, least: usize, most: usize) -> Option<(i64, usize)> {
        let width = self.rest.iter().take(most).take_while(|byte| byte.is_ascii_digit()).count();
        if width < least {
            return None;
        }
        let value = self.rest[..width].iter().fold(0, |value, digit| value * 10 + i64::from(digit - b'0'));
        self.rest = &self.rest[width..];
        Some((value, width))
    }

    fn skip(&mut self, byte: u8) -> Option<()> {
        self.rest = self.rest.strip_prefix(&[byte])?;
        Some(())
    }

    fn end(&self) -> Option<()> {
        self.rest.is_empty().then_some(())
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn dates() {
        let cases = [
            ("1970-01-01", Ok(0)),
            ("2024-02-29", Ok(19_782)),
            ("2023-02-29", Err(Flaw::Unfit)),
            ("2024/2/9", Ok(19_762)),
            ("2024.02.09", Ok(19_762)),
            ("2024 Feb 09", Ok(19_762)),
            ("20240209", Ok(19_762)),
            ("2024-02-09T23:59:59-11:00", Ok(19_762)),
            ("0001-01-01", Ok(-719_162)),
            ("0001-12-31 BC", Ok(-719_163)),
            ("0044-03-15 BC", Ok(-735_160)),
            ("-0043-03-15", Ok(-735_160)),
            ("0000-12-31", Ok(-719_163)),
            ("10000-01-01", Ok(2_932_897)),
            ("+10000-01-01", Ok(2_932_897)),
            ("999999999-01-01", Err(Flaw::TooLarge)),
            ("24-02-09", Err(Flaw::Unfit)),
            ("2024-13-01", Err(Flaw::Unfit)),
            ("2024-00-01", Err(Flaw::Unfit)),
            ("2024-02-09x", Err(Flaw::Unfit)),
            ("infinity", Err(Flaw::Unfit)),
            ("", Err(Flaw::Unfit)),
            ("é", Err(Flaw::Unfit)),
            ("2024-0é", Err(Flaw::Unfit)),
        ];
        for (text, expected) in cases {
            assert_eq!(date(text), expected, "{text}");
        }
    }

    #[test]
    fn timestamps() {
        let base = 1_704_067_200_000_000;
        let cases = [
            ("2024-01-01T00:00:00Z", Ok((base, None)), Ok((base, None))),
            ("2024-01-01", Ok((base, None)), Ok((base, None))),
            ("2024-01-01 02:00:00+02", Ok((base, None)), Ok((base + 7_200_000_000, None))),
            ("2024-01-01T02:00:00.5+0200", Ok((base + 500_000, None)), Ok((base + 7_200_500_000, None))),
            ("2024-01-01T00:00", Ok((base, None)), Ok((base, None))),
            ("2024-01-01t00:00:00 UTC", Ok((base, None)), Ok((base, None))),
            ("2023-12-31T24:00:00Z", Ok((base, None)), Ok((base, None))),
            ("2023-12-31T23:59:60Z", Ok((base, None)), Ok((base, None))),
            (
                "2024-01-01T00:00:00.1234567Z",
                Ok((base + 123_456, Some(Flaw::Cut))),
                Ok((base + 123_456, Some(Flaw::Cut))),
            ),
            ("2024-01-01T00:00:00.123456000Z", Ok((base + 123_456, None)), Ok((base + 123_456, None))),
            ("2024-01-01T25:00:00Z", Err(Flaw::Unfit), Err(Flaw::Unfit)),
            ("2024-01-01T00:00:00 CET", Err(Flaw::Unfit), Err(Flaw::Unfit)),
            ("2024-01-01T00:00:00+99", Err(Flaw::Unfit), Err(Flaw::Unfit)),
            ("2024-01-01T", Err(Flaw::Unfit), Err(Flaw::Unfit)),
            ("1704067200", Err(Flaw::Unfit), Err(Flaw::Unfit)),
            ("300000-01-01T00:00:00Z", Err(Flaw::TooLarge), Err(Flaw::TooLarge)),
            ("0001-01-01T00:00:00Z BC", Ok((-62_167_219_200_000_000, None)), Ok((-62_167_219_200_000_000, None))),
            ("0001-01-01 BC T00:00:00", Err(Flaw::Unfit), Err(Flaw::Unfit)),
        ];
        for (text, with, without) in cases {
            assert_eq!(timestamp_tz(text), with, "{text}");
            assert_eq!(timestamp(text), without, "{text}");
        }
    }

    #[test]
    fn times() {
        let cases = [
            ("00:00:00", Ok((0, None)), Ok("00:00:00Z")),
            ("9:05", Ok((32_700_000_000, None)), Ok("09:05:00Z")),
            ("12:00:00.25+02:00", Ok((43_200_250_000, None)), Ok("12:00:00.25+02:00")),
            ("12:00:00-0330", Ok((43_200_000_000, None)), Ok("12:00:00-03:30")),
            ("24:00:00", Err(Flaw::TooLarge), Ok("24:00:00Z")),
            ("24:00:01", Err(Flaw::Unfit), Err(Flaw::Unfit)),
            ("12", Err(Flaw::Unfit), Err(Flaw::Unfit)),
            ("12:60:00", Err(Flaw::Unfit), Err(Flaw::Unfit)),
        ];
        for (text, without, with) in cases {
            assert_eq!(time(text), without, "{text}");
            let mut out = String::new();
            assert_eq!(time_tz(text, &mut out).map(|_| out.as_str()), with, "{text}");
        }
    }

    #[test]
    fn every_day_follows_the_one_before() {
        let mut expected = days_from_civil(-401, 1, 1);
        for year in -401..=2401 {
            for month in 1..=12 {
                for day in 1..=days_of_month(year, month) {
                    assert_eq!(days_from_civil(year, month, day), expected, "{year}-{month}-{day}");
                    expected += 1;
                }
            }
        }
    }
}
