//! Dates and times as text of one width, and the spellings that are read.

use chrono::{DateTime, Datelike, NaiveDate, NaiveTime, Timelike};

use super::types::{BAD, CUT, Flaw, TOO_BIG, Written};

pub fn from_days(days: i32) -> Result<NaiveDate, Flaw> {
    DateTime::from_timestamp(i64::from(days) * 86_400, 0).map(|instant| instant.date_naive()).ok_or(TOO_BIG)
}

fn two(out: &mut String, number: u32) {
    out.push(char::from(b'0' + (number / 10 % 10) as u8));
    out.push(char::from(b'0' + (number % 10) as u8));
}

/// SQLite's date functions, and text order, end with year 9999.
pub fn write_date(out: &mut String, date: NaiveDate) -> Written {
    let year = u32::try_from(date.year()).ok().filter(|year| (1..=9999).contains(year)).ok_or(TOO_BIG)?;
    two(out, year / 100);
    two(out, year % 100);
    out.push('-');
    two(out, date.month());
    out.push('-');
    two(out, date.day());
    Ok(None)
}

fn write_clock(out: &mut String, time: NaiveTime) -> Option<Flaw> {
    two(out, time.hour());
    out.push(':');
    two(out, time.minute());
    out.push(':');
    two(out, time.second());
    out.push('.');
    let nanos = time.nanosecond() % 1_000_000_000;
    let micros = nanos / 1000;
    two(out, micros / 10_000);
    two(out, micros / 100);
    two(out, micros);
    (!nanos.is_multiple_of(1000)).then_some(CUT)
}

pub fn write_instant(out: &mut String, nanos: i128, zoned: bool) -> Written {
    let seconds = i64::try_from(nanos.div_euclid(1_000_000_000)).map_err(|_| TOO_BIG)?;
    let part = nanos.rem_euclid(1_000_000_000) as u32;
    let instant = DateTime::from_timestamp(seconds, part).ok_or(TOO_BIG)?;
    write_date(out, instant.date_naive())?;
    out.push('T');
    let flaw = write_clock(out, instant.time());
    if zoned {
        out.push('Z');
    }
    Ok(flaw)
}

pub fn write_time(out: &mut String, nanos: i64, offset: Option<i32>) -> Written {
    let seconds = u32::try_from(nanos.div_euclid(1_000_000_000)).map_err(|_| BAD)?;
    let part = nanos.rem_euclid(1_000_000_000) as u32;
    let time = NaiveTime::from_num_seconds_from_midnight_opt(seconds, part).ok_or(BAD)?;
    let flaw = write_clock(out, time);
    if let Some(offset) = offset {
        out.push(if offset < 0 { '-' } else { '+' });
        let minutes = offset.unsigned_abs() / 60;
        two(out, minutes / 60);
        out.push(':');
        two(out, minutes % 60);
    }
    Ok(flaw)
}

fn taken(text: &str, least: usize, most: usize) -> Result<(u32, &str), Flaw> {
    let length = text.bytes().take(most).take_while(u8::is_ascii_digit).count();
    if length < least {
        return Err(BAD);
    }
    let number = text[..length].parse().map_err(|_| BAD)?;
    Ok((number, &text[length..]))
}

/// `loose`: also `/`, `.` and a space between the parts.
pub fn parse_date(text: &str, loose: bool) -> Result<(NaiveDate, &str), Flaw> {
    if text.ends_with(" BC") || text.starts_with(['+', '-']) {
        return Err(TOO_BIG);
    }
    let separator = |text: &str| {
        let first = text.chars().next().filter(|c| *c == '-' || (loose && "/. ".contains(*c)));
        first.ok_or(BAD)
    };
    let (year, rest) = taken(text, 4, 9)?;
    let mark = separator(rest)?;
    let (month, rest) = taken(&rest[1..], 1, 2)?;
    if separator(rest)? != mark {
        return Err(BAD);
    }
    let (day, rest) = taken(&rest[1..], 1, 2)?;
    if year > 9999 {
        return Err(TOO_BIG);
    }
    let date = NaiveDate::from_ymd_opt(year as i32, month, day).ok_or(BAD)?;
    Ok((date, rest))
}

/// Nanoseconds since midnight.
pub fn parse_time(text: &str) -> Result<(i64, &str), Flaw> {
    let (hour, rest) = taken(text, 1, 2)?;
    let rest = rest.strip_prefix(':').ok_or(BAD)?;
    let (minute, rest) = taken(rest, 2, 2)?;
    let (second, rest) = match rest.strip_prefix(':') {
        Some(rest) => taken(rest, 2, 2)?,
        None => (0, rest),
    };
    if hour > 23 || minute > 59 || second > 59 {
        return Err(BAD);
    }
    let mut nanos = 0;
    let mut rest = rest;
    if let Some(fraction) = rest.strip_prefix(['.', ',']) {
        let length = fraction.bytes().take_while(u8::is_ascii_digit).count();
        if length == 0 {
            return Err(BAD);
        }
        let digits: String = format!("{fraction:0<9}", fraction = &fraction[..length.min(9)]);
        nanos = digits.parse::<i64>().map_err(|_| BAD)?;
        rest = &fraction[length..];
    }
    Ok((i64::from(hour * 3600 + minute * 60 + second) * 1_000_000_000 + nanos, rest))
}

/// Seconds east of UTC; `None` where nothing is said.
pub fn parse_zone(text: &str) -> Result<Option<i32>, Flaw> {
    let text = text.trim_start();
    if text.is_empty() {
        return Ok(None);
    }
    if matches!(text, "Z" | "z" | "UTC") {
        return Ok(Some(0));
    }
    let sign = match text.as_bytes()[0] {
        b'+' => 1,
        b'-' => -1,
        _ => return Err(BAD),
    };
    let (hours, rest) = taken(&text[1..], 2, 2)?;
    let rest = rest.strip_prefix(':').unwrap_or(rest);
    let (minutes, rest) = if rest.is_empty() { (0, rest) } else { taken(rest, 2, 2)? };
    if !rest.is_empty() || hours > 18 || minutes > 59 {
        return Err(BAD);
    }
    Ok(Some(sign * (hours * 3600 + minutes * 60) as i32))
}

/// The clock's reading in nanoseconds since 1970, and the seconds that it is east of UTC.
pub fn parse_timestamp(text: &str) -> Result<(i128, i32), Flaw> {
    let (date, rest) = parse_date(text, false)?;
    let days = i128::from(date.signed_duration_since(NaiveDate::default()).num_days());
    let midnight = days * 86_400 * 1_000_000_000;
    if rest.is_empty() {
        return Ok((midnight, 0));
    }
    let rest = rest.strip_prefix(['T', 't', ' ']).ok_or(BAD)?;
    let (nanos, rest) = parse_time(rest)?;
    Ok((midnight + i128::from(nanos), parse_zone(rest)?.unwrap_or(0)))
}
