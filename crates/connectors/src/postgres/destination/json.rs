//! JSON texts that `jsonb` takes. Its parser ends the whole COPY at the first value that it does not like, so every value is
//! looked at before. Start with [`check`].

use crate::direct::value::{BAD, Flaw, STRIPPED, TOO_BIG};

/// The server's stack bounds the nesting; this is far below its limit.
const DEEPEST: usize = 1024;
/// An array or object takes 2^28 bytes in all.
const LONGEST: usize = 250_000_000;
/// Exponents that `numeric` may not hold.
const MOST_EXPONENT: i64 = 16_000;

/// The text, or in `out` the text without what `jsonb` cannot hold: `\u0000` is left out, half of a surrogate pair becomes
/// U+FFFD.
pub fn check<'a>(text: &'a str, out: &'a mut String) -> Result<(&'a str, Option<Flaw>), Flaw> {
    if text.len() > LONGEST {
        return Err(TOO_BIG);
    }
    let mut scan = Scan { bytes: text.as_bytes(), at: 0, odd: Vec::new() };
    scan.value(&mut Vec::new())?;
    scan.blank();
    if scan.at != text.len() {
        return Err(BAD);
    }
    if scan.odd.is_empty() {
        return Ok((text, None));
    }
    out.clear();
    let mut from = 0;
    for (at, replacement) in scan.odd {
        out.push_str(&text[from..at]);
        out.push_str(replacement);
        from = at + 6;
    }
    out.push_str(&text[from..]);
    Ok((out, Some(STRIPPED)))
}

struct Scan<'a> {
    bytes: &'a [u8],
    at: usize,
    /// Places of escapes that are replaced, and by what.
    odd: Vec<(usize, &'static str)>,
}

impl Scan<'_> {
    fn peek(&self) -> Option<u8> {
        self.bytes.get(self.at).copied()
    }

    fn blank(&mut self) {
        while matches!(self.peek(), Some(b' ' | b'\t' | b'\n' | b'\r')) {
            self.at += 1;
        }
    }

    /// One value with everything in it. `open` is the stack of what is open: `{` or `[`.
    fn value(&mut self, open: &mut Vec<u8>) -> Result<(), Flaw> {
        loop {
            self.blank();
            match self.peek().ok_or(BAD)? {
                b'{' | b'[' if open.len() == DEEPEST => return Err(TOO_BIG),
                b'{' => {
                    self.at += 1;
                    self.blank();
                    if self.peek() != Some(b'}') {
                        open.push(b'{');
                        self.name()?;
                        continue;
                    }
                    self.at += 1;
                }
                b'[' => {
                    self.at += 1;
                    self.blank();
                    if self.peek() != Some(b']') {
                        open.push(b'[');
                        continue;
                    }
                    self.at += 1;
                }
                b'"' => self.string()?,
                b'-' | b'0'..=b'9' => self.number()?,
                _ => self.word()?,
            }
            // A value ended: so may what it lies in.
            loop {
                let Some(inner) = open.last().copied() else { return Ok(()) };
                self.blank();
                match (inner, self.peek().ok_or(BAD)?) {
                    (b'{', b',') => {
                        self.at += 1;
                        self.name()?;
                        break;
                    }
                    (b'[', b',') => {
                        self.at += 1;
                        break;
                    }
                    (b'{', b'}') | (b'[', b']') => {
                        self.at += 1;
                        open.pop();
                    }
                    _ => return Err(BAD),
                }
            }
        }
    }

    fn name(&mut self) -> Result<(), Flaw> {
        self.blank();
        self.string()?;
        self.blank();
        if self.peek() != Some(b':') {
            return Err(BAD);
        }
        self.at += 1;
        Ok(())
    }

    fn word(&mut self) -> Result<(), Flaw> {
        for word in [b"true".as_slice(), b"false", b"null"] {
            if self.bytes[self.at..].starts_with(word) {
                self.at += word.len();
                return Ok(());
            }
        }
        Err(BAD)
    }

    fn digits(&mut self) -> Result<usize, Flaw> {
        let from = self.at;
        while self.peek().is_some_and(|byte| byte.is_ascii_digit()) {
            self.at += 1;
        }
        if self.at == from { Err(BAD) } else { Ok(self.at - from) }
    }

    fn number(&mut self) -> Result<(), Flaw> {
        if self.peek() == Some(b'-') {
            self.at += 1;
        }
        let zero = self.peek() == Some(b'0');
        let mut width = self.digits()?;
        if zero && width > 1 {
            return Err(BAD);
        }
        if self.peek() == Some(b'.') {
            self.at += 1;
            width = width.max(self.digits()?);
        }
        let mut exponent = 0;
        if matches!(self.peek(), Some(b'e' | b'E')) {
            self.at += 1;
            if matches!(self.peek(), Some(b'-' | b'+')) {
                self.at += 1;
            }
            let from = self.at;
            self.digits()?;
            let text = std::str::from_utf8(&self.bytes[from..self.at]).unwrap_or_default();
            exponent = text.parse().unwrap_or(i64::MAX);
        }
        if exponent.saturating_add(width as i64) > MOST_EXPONENT { Err(TOO_BIG) } else { Ok(()) }
    }

    fn string(&mut self) -> Result<(), Flaw> {
        if self.peek() != Some(b'"') {
            return Err(BAD);
        }
        self.at += 1;
        loop {
            match self.peek().ok_or(BAD)? {
                b'"' => {
                    self.at += 1;
                    return Ok(());
                }
                b'\\' => self.escape()?,
                0..0x20 => return Err(BAD),
                _ => self.at += 1,
            }
        }
    }

    fn escape(&mut self) -> Result<(), Flaw> {
        match self.bytes.get(self.at + 1) {
            Some(b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't') => self.at += 2,
            Some(b'u') => {
                let unit = self.unit(self.at)?;
                let is_low = |unit: u16| (0xDC00..0xE000).contains(&unit);
                match unit {
                    0 => self.odd.push((self.at, "")),
                    0xD800..0xDC00 if self.bytes.get(self.at + 6..self.at + 8) == Some(b"\\u") => {
                        if is_low(self.unit(self.at + 6)?) {
                            self.at += 6;
                        } else {
                            self.odd.push((self.at, "\u{fffd}"));
                        }
                    }
                    0xD800..0xE000 => self.odd.push((self.at, "\u{fffd}")),
                    _ => {}
                }
                self.at += 6;
            }
            _ => return Err(BAD),
        }
        Ok(())
    }

    /// The number of `\uXXXX` at a place.
    fn unit(&self, at: usize) -> Result<u16, Flaw> {
        let digits = self.bytes.get(at + 2..at + 6).ok_or(BAD)?;
        if !digits.iter().all(u8::is_ascii_hexdigit) {
            return Err(BAD);
        }
        let text = std::str::from_utf8(digits).map_err(|_| BAD)?;
        u16::from_str_radix(text, 16).map_err(|_| BAD)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn checked(text: &str) -> String {
        let mut out = String::new();
        match check(text, &mut out) {
            Ok((text, None)) => text.to_owned(),
            Ok((text, Some(_))) => format!("{text} !"),
            Err(flaw) if flaw == BAD => "bad".to_owned(),
            Err(_) => "big".to_owned(),
        }
    }

    #[test]
    fn what_jsonb_takes() {
        for text in [
            "{}",
            "[]",
            "0",
            "-0.5e+10",
            "\"\"",
            " [ 1 , { \"a\" : [ ] , \"b\" : null } ] ",
            "true",
            "\"\\ud83d\\ude00\"",
            "\"é\\\\u0000\"",
            "{\"a\":1.10}",
        ] {
            assert_eq!(checked(text), text);
        }
        for text in [
            "",
            " ",
            "{",
            "[1,]",
            "{\"a\"}",
            "{\"a\":}",
            "{,}",
            "[1 2]",
            "1 2",
            "01",
            "-",
            "1.",
            "1e",
            "tru",
            "\"",
            "\"\n\"",
            "\"\\x\"",
            "\"\\u12\"",
            "{1:2}",
            "nan",
            "]",
            "[}",
            "\u{feff}{}",
        ] {
            assert_eq!(checked(text), "bad", "{text}");
        }
        for text in ["1e20000", "1e-99999999999999999999", &"[".repeat(2000)] {
            assert_eq!(checked(text), "big");
        }
        assert_eq!(checked("[\"a\\u0000b\",\"\\ud800\"]"), "[\"ab\",\"\u{fffd}\"] !");
        assert_eq!(checked("\"\\ud800\\u0041\\udc00\""), "\"\u{fffd}\\u0041\u{fffd}\" !");
    }

    proptest! {
        #[test]
        fn no_text_panics_and_json_passes(text in "[\\[\\]{},:\"0-9eE.\\\\untrfalse -]{0,24}") {
            let valid = serde_json::from_str::<serde_json::Value>(&text).is_ok();
            let passed = check(&text, &mut String::new()).is_ok();
            prop_assert!(!valid || passed, "{}", text);
        }
    }
}
