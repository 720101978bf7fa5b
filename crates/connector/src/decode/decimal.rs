//! Decimal numbers as text, of any length, without rounding.

use super::Flaw;

/// No table holds numbers beyond this power of ten; expanding one would cost memory for nothing.
const GREATEST_EXPONENT: i64 = 200_000;

/// A number taken apart: (-)whole.fraction × 10^exponent. Leading zeros and a missing part are allowed.
#[derive(Clone, Copy, Debug)]
pub(super) struct Decimal<'a> {
    negative: bool,
    whole: &'a str,
    fraction: &'a str,
    exponent: i64,
}

impl<'a> Decimal<'a> {
    /// `12`, `+12`, `012`, `12.`, `.5`, `1.2e-3`; nothing around it. `NaN` and infinities are not numbers here.
    pub fn parse(text: &'a str) -> Option<Self> {
        let (negative, rest) = match text.as_bytes().first()? {
            b'-' => (true, &text[1..]),
            b'+' => (false, &text[1..]),
            _ => (false, text),
        };
        let (mantissa, exponent) = match rest.find(['e', 'E']) {
            Some(at) => (&rest[..at], exponent(&rest[at + 1..])?),
            None => (rest, 0),
        };
        let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
        let is_digits = |part: &str| part.bytes().all(|byte| byte.is_ascii_digit());
        if whole.len() + fraction.len() == 0 || !is_digits(whole) || !is_digits(fraction) {
            return None;
        }
        Some(Self { negative, whole, fraction, exponent })
    }

    pub fn is_sane(&self) -> bool {
        self.exponent.abs() <= GREATEST_EXPONENT
    }

    /// The number if it is whole: `12.0` and `1.2e1` are.
    pub fn to_i64(self) -> Result<i64, Flaw> {
        let digits = || self.whole.bytes().chain(self.fraction.bytes());
        let total = self.whole.len() + self.fraction.len();
        let leading = digits().take_while(|digit| *digit == b'0').count();
        if leading == total {
            return Ok(0);
        }
        let trailing = digits().rev().take_while(|digit| *digit == b'0').count();
        let significant = total - leading - trailing;
        // The power of ten of the last significant digit.
        let scale = self.exponent.saturating_sub(self.fraction.len() as i64).saturating_add(trailing as i64);
        if scale < 0 {
            return Err(Flaw::Unfit);
        }
        if scale.saturating_add(significant as i64) > 19 {
            return Err(Flaw::TooLarge);
        }
        let mut value = 0i128;
        for digit in digits().skip(leading).take(significant) {
            value = value * 10 + i128::from(digit - b'0');
        }
        for _ in 0..scale {
            value *= 10;
        }
        i64::try_from(if self.negative { -value } else { value }).map_err(|_| Flaw::TooLarge)
    }

    /// The same digits as a JSON number.
    pub fn write(&self, out: &mut String) {
        if self.negative {
            out.push('-');
        }
        let whole = self.whole.trim_start_matches('0');
        out.push_str(if whole.is_empty() { "0" } else { whole });
        if !self.fraction.is_empty() {
            out.push('.');
            out.push_str(self.fraction);
        }
        if self.exponent != 0 {
            out.push('e');
            out.push_str(&self.exponent.to_string());
        }
    }
}

/// Saturates: whatever is beyond 64 bits is equally absurd.
fn exponent(text: &str) -> Option<i64> {
    let (negative, digits) = match text.as_bytes().first()? {
        b'-' => (true, &text[1..]),
        b'+' => (false, &text[1..]),
        _ => (false, text),
    };
    if digits.is_empty() {
        return None;
    }
    let mut value = 0i64;
    for byte in digits.bytes() {
        if !byte.is_ascii_digit() {
            return None;
        }
        value = value.saturating_mul(10).saturating_add(i64::from(byte - b'0'));
    }
    Some(if negative { -value } else { value })
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn whole_numbers() {
        let cases = [
            ("12", Ok(12)),
            ("-12.0", Ok(-12)),
            ("12.5", Err(Flaw::Unfit)),
            ("1.2e1", Ok(12)),
            ("1200e-2", Ok(12)),
            ("1e-1", Err(Flaw::Unfit)),
            ("+007", Ok(7)),
            ("0e999999999999999999999", Ok(0)),
            ("1e999999999999999999999", Err(Flaw::TooLarge)),
            ("1e-999999999999999999999", Err(Flaw::Unfit)),
            ("9223372036854775807", Ok(i64::MAX)),
            ("9223372036854775808", Err(Flaw::TooLarge)),
            ("-9223372036854775808", Ok(i64::MIN)),
            ("-9223372036854775809", Err(Flaw::TooLarge)),
            ("922337203685477580.7e1", Ok(i64::MAX)),
            ("99999999999999999999", Err(Flaw::TooLarge)),
            ("-0.000", Ok(0)),
        ];
        for (text, expected) in cases {
            assert_eq!(Decimal::parse(text).unwrap().to_i64(), expected, "{text}");
        }
    }

    #[test]
    fn texts() {
        let cases = [
            ("+05.50", Some("5.50")),
            (".5", Some("0.5")),
            ("5.", Some("5")),
            ("-1E+3", Some("-1e3")),
            ("", None),
            ("-", None),
            (".", None),
            ("e5", None),
            ("1e", None),
            ("1 ", None),
            ("0x1", None),
            ("NaN", None),
            ("1_000", None),
            ("1,5", None),
            ("é", None),
        ];
        for (text, expected) in cases {
            let written = Decimal::parse(text).map(|decimal| {
                let mut out = String::new();
                decimal.write(&mut out);
                out
            });
            assert_eq!(written.as_deref(), expected, "{text}");
        }
    }
}
