//! The binary form of `numeric`, which has no bound: digits to the base 10,000, the weight of the first, sign, and how
//! many decimal digits follow the point. Start with [`Digits::parse`].

const POSITIVE: u16 = 0x0000;
const NEGATIVE: u16 = 0x4000;
const NAN: u16 = 0xC000;
const PLUS_INFINITY: u16 = 0xD000;
const MINUS_INFINITY: u16 = 0xF000;

/// A value, not unpacked.
#[derive(Clone, Copy, Debug)]
pub struct Digits<'a> {
    /// Two bytes each.
    groups: &'a [u8],
    /// Power of 10,000 of the first group.
    weight: i32,
    sign: u16,
    scale: u16,
}

impl<'a> Digits<'a> {
    /// `None` where the bytes are no numeric.
    pub fn parse(bytes: &'a [u8]) -> Option<Self> {
        let (head, groups) = bytes.split_first_chunk::<8>()?;
        let word = |at: usize| u16::from_be_bytes([head[at], head[at + 1]]);
        let known = matches!(word(4), POSITIVE | NEGATIVE | NAN | PLUS_INFINITY | MINUS_INFINITY);
        if !known || groups.len() != usize::from(word(0)) * 2 || word(6) > 0x3fff {
            return None;
        }
        let weight = i32::from(i16::from_be_bytes([head[2], head[3]]));
        let digits = Self { groups, weight, sign: word(4), scale: word(6) };
        digits.groups().all(|group| group < 10_000).then_some(digits)
    }

    fn groups(&self) -> impl Iterator<Item = u16> + 'a {
        self.groups.chunks_exact(2).map(|pair| u16::from_be_bytes([pair[0], pair[1]]))
    }

    /// The value times 10^scale. `None` for NaN and infinities, and where it does not fit.
    pub fn scaled(&self, scale: i8) -> Option<i128> {
        if !matches!(self.sign, POSITIVE | NEGATIVE) {
            return None;
        }
        let mut magnitude = 0_i128;
        // Power of ten of the group at hand, in the units of the result.
        let mut exponent = self.weight * 4 + i32::from(scale);
        for group in self.groups() {
            let group = i128::from(group);
            if exponent >= 0 {
                magnitude = magnitude.checked_mul(10_000)?.checked_add(group)?;
            } else {
                // Digits beyond the scale must be the zeros that fill up the last group.
                let beyond = 10_i128.pow(exponent.unsigned_abs().min(4));
                if group % beyond != 0 {
                    return None;
                }
                magnitude = magnitude.checked_mul(10_000 / beyond)?.checked_add(group / beyond)?;
            }
            exponent -= 4;
        }
        if magnitude != 0 && exponent > -4 {
            magnitude = magnitude.checked_mul(10_i128.checked_pow((exponent + 4).unsigned_abs())?)?;
        }
        Some(if self.sign == NEGATIVE { -magnitude } else { magnitude })
    }

    /// All digits, as the server prints them.
    pub fn write(&self, out: &mut Vec<u8>) {
        match self.sign {
            NAN => return out.extend_from_slice(b"NaN"),
            PLUS_INFINITY => return out.extend_from_slice(b"Infinity"),
            MINUS_INFINITY => return out.extend_from_slice(b"-Infinity"),
            NEGATIVE => out.push(b'-'),
            _ => {}
        }
        let group = |at: i32| -> u16 {
            let pair = usize::try_from(at).ok().and_then(|at| self.groups.get(at * 2..at * 2 + 2));
            pair.map_or(0, |pair| u16::from_be_bytes([pair[0], pair[1]]))
        };
        if self.weight < 0 {
            out.push(b'0');
        }
        for at in 0..=self.weight {
            let digits = four(group(at));
            let skip = if at == 0 { digits.iter().take(3).take_while(|digit| **digit == b'0').count() } else { 0 };
            out.extend_from_slice(&digits[skip..]);
        }
        let mut left = usize::from(self.scale);
        if left > 0 {
            out.push(b'.');
        }
        let mut at = self.weight + 1;
        while left > 0 {
            let digits = four(group(at));
            let take = left.min(4);
            out.extend_from_slice(&digits[..take]);
            left -= take;
            at += 1;
        }
    }
}

fn four(group: u16) -> [u8; 4] {
    let digit = |number: u16| b'0' + (number % 10) as u8;
    [digit(group / 1000), digit(group / 100), digit(group / 10), digit(group)]
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn encode(groups: &[u16], weight: i16, sign: u16, scale: u16) -> Vec<u8> {
        let mut bytes = Vec::new();
        for word in [groups.len() as u16, weight as u16, sign, scale].iter().chain(groups) {
            bytes.extend_from_slice(&word.to_be_bytes());
        }
        bytes
    }

    #[test]
    fn texts_and_scaled_values() {
        let check = |groups: &[u16], weight: i16, sign: u16, scale: u16, text: &str, scaled: (i8, Option<i128>)| {
            let bytes = encode(groups, weight, sign, scale);
            let digits = Digits::parse(&bytes).unwrap();
            let mut out = Vec::new();
            digits.write(&mut out);
            assert_eq!(String::from_utf8(out).unwrap(), text);
            assert_eq!(digits.scaled(scaled.0), scaled.1, "{text}");
        };
        check(&[], 0, POSITIVE, 0, "0", (2, Some(0)));
        check(&[], 0, POSITIVE, 3, "0.000", (0, Some(0)));
        check(&[1234, 5600], 0, POSITIVE, 2, "1234.56", (2, Some(123_456)));
        check(&[1], 1, NEGATIVE, 1, "-10000.0", (1, Some(-100_000)));
        check(&[5], -1, POSITIVE, 4, "0.0005", (4, Some(5)));
        check(&[5], -1, POSITIVE, 4, "0.0005", (2, None));
        check(&[1], -3, POSITIVE, 12, "0.000000000001", (12, Some(1)));
        check(&[1], 20, POSITIVE, 0, &format!("1{}", "0".repeat(80)), (0, None));
        check(&[9999; 10], 9, POSITIVE, 0, &"9999".repeat(10), (0, None));
        check(
            &[99, 9999, 9999, 9999, 9999, 9999, 9999, 9999, 9999, 9999],
            9,
            POSITIVE,
            0,
            &"9".repeat(38),
            (0, Some(10_i128.pow(38) - 1)),
        );
        check(&[99, 9999, 9999, 9900], 2, POSITIVE, 2, "9999999999.99", (2, Some(999_999_999_999)));
        check(
            &[9999, 9999, 9999, 9999, 9999, 9999, 9999, 9999, 9999, 9900],
            6,
            POSITIVE,
            10,
            &format!("{}.{}", "9".repeat(28), "9".repeat(10)),
            (10, Some(10_i128.pow(38) - 1)),
        );
        check(&[], 0, NAN, 0, "NaN", (0, None));
        check(&[], 0, PLUS_INFINITY, 0, "Infinity", (0, None));
        check(&[], 0, MINUS_INFINITY, 0, "-Infinity", (0, None));
    }

    #[test]
    fn bytes_that_are_no_numeric() {
        for bytes in [
            vec![],
            vec![0; 7],
            encode(&[1], 0, 0x1234, 0),
            encode(&[10_000], 0, POSITIVE, 0),
            encode(&[1], 0, POSITIVE, 0x4000),
            encode(&[1, 2], 0, POSITIVE, 0)[..10].to_vec(),
        ] {
            assert!(Digits::parse(&bytes).is_none(), "{bytes:?}");
        }
    }
}
