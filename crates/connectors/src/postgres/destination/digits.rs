//! Decimal numbers of any size into the binary form of `numeric`: digits to the base 10,000, the weight of the first, a
//! sign, and how many decimal digits follow the point. Start with [`Decimal::parse`]; [`write_scaled`] is the way of
//! numbers that fit a machine word.

use crate::direct::value::{BAD, CUT, Flaw, TOO_BIG};

const NEGATIVE: u16 = 0x4000;
const NAN: u16 = 0xC000;
const PLUS_INFINITY: u16 = 0xD000;
const MINUS_INFINITY: u16 = 0xF000;
/// What PostgreSQL keeps of an unconstrained numeric before and after the point.
const MOST_WHOLE: i64 = 131_072;
const MOST_FRACTION: i64 = 16_383;
const MOST_GROUPS: usize = 16;

/// Precision and scale of a column.
pub type Limit = Option<(i32, i32)>;

/// A number in digits: 0.DIGITS × 10^(digits − scale).
#[derive(Debug, Default)]
pub struct Decimal {
    negative: bool,
    /// 0 to 9, without leading zeros.
    digits: Vec<u8>,
    /// Digits after the point; never negative.
    scale: i64,
}

impl Decimal {
    /// `12`, `+12`, `012`, `12.`, `.5`, `1.2e-3`. Replaces what was here.
    pub fn parse(&mut self, text: &str) -> Result<(), Flaw> {
        self.digits.clear();
        self.scale = 0;
        let bytes = text.as_bytes();
        let (mut at, mut any, mut point) = (0, false, false);
        self.negative = bytes.first() == Some(&b'-');
        if matches!(bytes.first(), Some(b'-' | b'+')) {
            at = 1;
        }
        while let Some(byte) = bytes.get(at) {
            match byte {
                b'0'..=b'9' => {
                    any = true;
                    if *byte != b'0' || !self.digits.is_empty() {
                        self.digits.push(byte - b'0');
                    }
                    self.scale += i64::from(point);
                }
                b'.' if !point => point = true,
                b'e' | b'E' => break,
                _ => return Err(BAD),
            }
            at += 1;
        }
        if !any {
            return Err(BAD);
        }
        if at < bytes.len() {
            let exponent = text[at + 1..].strip_prefix('+').unwrap_or(&text[at + 1..]);
            let digits = text[at + 1..].strip_prefix(['-', '+']).unwrap_or(exponent);
            if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
                return Err(BAD);
            }
            let exponent = exponent.parse::<i64>().map_err(|_| TOO_BIG)?;
            if self.digits.is_empty() {
                return Ok(());
            }
            if exponent.unsigned_abs() > 2 * MOST_WHOLE.unsigned_abs() {
                return Err(TOO_BIG);
            }
            self.scale -= exponent;
            if self.scale < 0 {
                self.digits.resize(self.digits.len() + self.scale.unsigned_abs() as usize, 0);
                self.scale = 0;
            }
        }
        Ok(())
    }

    /// A whole number within 64 bits: 12.0 is one.
    pub fn to_i64(&self) -> Result<i64, Flaw> {
        let whole = self.digits.len() as i64 - self.scale;
        let fraction = &self.digits[whole.clamp(0, self.digits.len() as i64) as usize..];
        if fraction.iter().any(|digit| *digit != 0) {
            return Err(BAD);
        }
        if whole > 19 {
            return Err(TOO_BIG);
        }
        let mut value = 0_i128;
        for digit in self.digits.iter().take(whole.max(0) as usize) {
            value = value * 10 + i128::from(*digit);
        }
        i64::try_from(if self.negative { -value } else { value }).map_err(|_| TOO_BIG)
    }

    /// The same value, however many zeros are written.
    pub fn equals(&self, other: &Self) -> bool {
        let significant =
            |decimal: &Self| decimal.digits.iter().rposition(|digit| *digit != 0).map_or(0, |last| last + 1);
        let (own, their) = (significant(self), significant(other));
        let place = |decimal: &Self| decimal.digits.len() as i64 - decimal.scale;
        own == their
            && self.digits[..own] == other.digits[..their]
            && (own == 0 || (self.negative == other.negative && place(self) == place(other)))
    }

    /// Rounds to what the column keeps, half away from zero; `Ok(Some)` where digits were lost.
    fn fit(&mut self, limit: Limit) -> Result<Option<Flaw>, Flaw> {
        let (most_whole, most_scale) = match limit {
            Some((precision, scale)) => (i64::from(precision - scale), i64::from(scale)),
            None => (MOST_WHOLE, MOST_FRACTION),
        };
        let mut flaw = None;
        if self.scale > most_scale {
            let lost = (self.scale - most_scale) as usize;
            let kept = self.digits.len().saturating_sub(lost);
            // The first digit that goes; a zero stands before the first one of a small number.
            let first = if lost <= self.digits.len() { self.digits[kept] } else { 0 };
            flaw = self.digits[kept..].iter().any(|digit| *digit != 0).then_some(CUT);
            self.digits.truncate(kept);
            self.scale = most_scale;
            if first >= 5 {
                self.add_one();
            }
            if most_scale < 0 {
                self.digits.resize(self.digits.len() + most_scale.unsigned_abs() as usize, 0);
                self.scale = 0;
            }
        }
        if self.digits.len() as i64 - self.scale > most_whole {
            return Err(TOO_BIG);
        }
        Ok(flaw)
    }

    fn add_one(&mut self) {
        for digit in self.digits.iter_mut().rev() {
            *digit += 1;
            if *digit < 10 {
                return;
            }
            *digit = 0;
        }
        self.digits.insert(0, 1);
    }

    /// The field of a binary row, with its length. Nothing is written on `Err`.
    pub fn write(&mut self, limit: Limit, out: &mut Vec<u8>) -> Result<Option<Flaw>, Flaw> {
        let flaw = self.fit(limit)?;
        let start = head(out);
        let whole = self.digits.len() as i64 - self.scale;
        let first = (whole - 1).div_euclid(4);
        // Zeros that fill up the first group.
        let mut place = 3 - (whole - 1).rem_euclid(4);
        let (mut group, mut groups, mut kept) = (0_u16, 0_u16, out.len());
        for digit in &self.digits {
            group = group * 10 + u16::from(*digit);
            place += 1;
            if place == 4 {
                out.extend_from_slice(&group.to_be_bytes());
                groups += 1;
                if group != 0 {
                    kept = out.len();
                }
                (group, place) = (0, 0);
            }
        }
        if place > 0 && !self.digits.is_empty() {
            let filled = group * 10_u16.pow((4 - place) as u32);
            out.extend_from_slice(&filled.to_be_bytes());
            groups += 1;
            if filled != 0 {
                kept = out.len();
            }
        }
        groups -= ((out.len() - kept) / 2) as u16;
        out.truncate(kept);
        let sign = if self.negative && groups > 0 { NEGATIVE } else { 0 };
        let weight = if groups == 0 { 0 } else { first as i16 };
        finish(out, start, groups, weight, sign, self.scale as u16);
        Ok(flaw)
    }
}

/// `magnitude` × 10^-`scale`, which fits a column without a limit. `false`: too long for this way; nothing was written.
#[inline]
pub fn write_scaled(negative: bool, magnitude: u128, scale: u16, out: &mut Vec<u8>) -> bool {
    let pad = (4 - scale % 4) % 4;
    let Some(mut rest) = magnitude.checked_mul(10_u128.pow(u32::from(pad))) else { return false };
    let mut groups = [0_u16; MOST_GROUPS];
    let mut count = 0;
    while rest > u128::from(u64::MAX) {
        groups[count] = (rest % 10_000) as u16;
        rest /= 10_000;
        count += 1;
    }
    let mut rest = rest as u64;
    while rest > 0 {
        groups[count] = (rest % 10_000) as u16;
        rest /= 10_000;
        count += 1;
    }
    let fraction = usize::from(scale.div_ceil(4));
    let zeros = groups[..count].iter().take_while(|group| **group == 0).count();
    let start = head(out);
    for group in groups[zeros..count].iter().rev() {
        out.extend_from_slice(&group.to_be_bytes());
    }
    let weight = if count == 0 { 0 } else { count as i16 - 1 - fraction as i16 };
    finish(out, start, (count - zeros) as u16, weight, if negative && count > 0 { NEGATIVE } else { 0 }, scale);
    true
}

pub fn write_nan(out: &mut Vec<u8>) {
    let start = head(out);
    finish(out, start, 0, 0, NAN, 0);
}

pub fn write_infinity(negative: bool, out: &mut Vec<u8>) {
    let start = head(out);
    finish(out, start, 0, 0, if negative { MINUS_INFINITY } else { PLUS_INFINITY }, 0);
}

/// Leaves room for length, count, weight, sign and scale.
fn head(out: &mut Vec<u8>) -> usize {
    let start = out.len();
    out.resize(start + 12, 0);
    start
}

fn finish(out: &mut [u8], start: usize, groups: u16, weight: i16, sign: u16, scale: u16) {
    let length = 8 + 2 * i32::from(groups);
    out[start..start + 4].copy_from_slice(&length.to_be_bytes());
    for (at, word) in [groups, weight as u16, sign, scale].into_iter().enumerate() {
        out[start + 4 + 2 * at..start + 6 + 2 * at].copy_from_slice(&word.to_be_bytes());
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::postgres::numeric::Digits;

    fn shown(bytes: &[u8]) -> String {
        assert_eq!(i32::from_be_bytes(bytes[..4].try_into().unwrap()) as usize, bytes.len() - 4);
        let mut text = Vec::new();
        Digits::parse(&bytes[4..]).unwrap().write(&mut text);
        String::from_utf8(text).unwrap()
    }

    fn written(text: &str, limit: Limit) -> String {
        let mut decimal = Decimal::default();
        let mut out = Vec::new();
        match decimal.parse(text).and_then(|()| decimal.write(limit, &mut out)) {
            Ok(None) => shown(&out),
            Ok(Some(_)) => format!("{} cut", shown(&out)),
            Err(flaw) if flaw == BAD => "bad".to_owned(),
            Err(_) => "big".to_owned(),
        }
    }

    #[test]
    fn texts() {
        for (text, expected) in [
            ("0", "0"),
            ("-0", "0"),
            ("0.000", "0.000"),
            ("12", "12"),
            ("+012.50", "12.50"),
            (".5", "0.5"),
            ("5.", "5"),
            ("1e3", "1000"),
            ("1.2e-3", "0.0012"),
            ("-10000.0001", "-10000.0001"),
            ("1e-12", "0.000000000001"),
            ("0e999999", "0"),
            (
                "123456789012345678901234567890.000000000000000000001",
                "123456789012345678901234567890.000000000000000000001",
            ),
            ("1e131072", "big"),
            ("1e999999999999999999999", "big"),
            ("", "bad"),
            ("-", "bad"),
            (".", "bad"),
            ("1e", "bad"),
            ("1e+-5", "bad"),
            ("1.2.3", "bad"),
            ("0x10", "bad"),
            ("1,5", "bad"),
        ] {
            assert_eq!(written(text, None), expected, "{text}");
        }
        assert!(written("1e-16384", None).ends_with("cut"));
    }

    #[test]
    fn limits_round_and_refuse() {
        for (text, expected) in [
            ("1.005", "1.01 cut"),
            ("1.004", "1.00 cut"),
            ("1.000", "1.00"),
            ("-9.995", "-10.00 cut"),
            ("0.005", "0.01 cut"),
            ("0.0005", "0.00 cut"),
            ("999.99", "999.99"),
            ("999.995", "big"),
            ("1000", "big"),
            ("7", "7"),
        ] {
            assert_eq!(written(text, Some((5, 2))), expected, "{text}");
        }
        assert_eq!(written("1250", Some((2, -2))), "1250 cut".replace("1250", "1300"));
    }

    #[test]
    fn whole_numbers() {
        let whole = |text: &str| {
            let mut decimal = Decimal::default();
            decimal.parse(text).and_then(|()| decimal.to_i64())
        };
        assert_eq!(whole("12.0"), Ok(12));
        assert_eq!(whole("-9223372036854775808"), Ok(i64::MIN));
        assert_eq!(whole("9223372036854775808"), Err(TOO_BIG));
        assert_eq!(whole("1e30"), Err(TOO_BIG));
        assert_eq!(whole("12.5"), Err(BAD));
        assert_eq!(whole("0.05"), Err(BAD));
        assert_eq!(whole("0.00"), Ok(0));
    }

    proptest! {
        #[test]
        fn scaled_values_are_what_their_text_is(value: i128, scale in 0_u16..40) {
            let magnitude = value.unsigned_abs() >> (scale as u32 % 90);
            let mut out = Vec::new();
            if write_scaled(value < 0, magnitude, scale, &mut out) {
                let digits = format!("{magnitude:0>width$}", width = usize::from(scale) + 1);
                let (whole, fraction) = digits.split_at(digits.len() - usize::from(scale));
                let sign = if value < 0 && magnitude > 0 { "-" } else { "" };
                let point = if scale > 0 { "." } else { "" };
                let text = format!("{sign}{whole}{point}{fraction}");
                prop_assert_eq!(shown(&out), text.clone());
                prop_assert_eq!(written(&text, None), text);
            } else {
                prop_assert!(out.is_empty());
            }
        }

        #[test]
        fn no_text_panics(text in "[-+0-9.eE]{0,12}|\\PC{0,6}") {
            let _ = written(&text, None);
            let _ = written(&text, Some((5, 2)));
        }
    }
}
