//! A scanner over the bytes of one JSON object: where its members lie, without building anything.
//!
//! It accepts exactly the grammar of RFC 8259, of any depth: nesting is kept on a heap-allocated stack, never on the
//! call stack. Bytes inside of strings are not checked to be UTF-8 here; whoever reads a string does that.

use std::fmt;

/// Nested deeper than this, a value is not handed to a table: parsers of databases give up there.
pub(super) const DEEPEST: usize = 1024;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Null,
    True,
    False,
    Number,
    String,
    Array,
    Object,
}

/// Where a value lies. The span of a string includes its quotes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Value {
    pub kind: Kind,
    pub start: usize,
    pub end: usize,
    /// A string with at least one backslash.
    pub escaped: bool,
    /// Holds half of a surrogate pair, here or in a nested string: no UTF-8 text says the same.
    pub lone_surrogate: bool,
    /// Nested deeper than [`DEEPEST`].
    pub too_deep: bool,
}

/// The bytes are not one JSON object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Malformed {
    /// Offset of the first byte that does not fit.
    pub at: usize,
    pub expected: &'static str,
}

impl fmt::Display for Malformed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "expected {} at byte {}", self.expected, self.at)
    }
}

impl std::error::Error for Malformed {}

/// Walks the top-level members of an object.
pub(super) struct Scanner<'a> {
    bytes: &'a [u8],
    at: usize,
    begun: bool,
    /// Brackets that are open, reused from row to row.
    open: &'a mut Vec<u8>,
}

impl<'a> Scanner<'a> {
    pub fn new(bytes: &'a [u8], open: &'a mut Vec<u8>) -> Self {
        Self { bytes, at: 0, begun: false, open }
    }

    /// The next member: its key and its value. `None` after the last one, once nothing but blanks follows the object.
    pub fn member(&mut self) -> Result<Option<(Value, Value)>, Malformed> {
        self.blanks();
        if !self.begun {
            self.expect(b'{', "an object")?;
            self.begun = true;
            self.blanks();
            if self.peek() == Some(b'}') {
                return self.end();
            }
        } else {
            match self.peek() {
                Some(b',') => self.at += 1,
                Some(b'}') => return self.end(),
                _ => return self.fail("`,` or `}`"),
            }
            self.blanks();
        }
        let key = self.key()?;
        let value = self.value()?;
        Ok(Some((key, value)))
    }

    fn end(&mut self) -> Result<Option<(Value, Value)>, Malformed> {
        self.at += 1;
        self.blanks();
        if self.at < self.bytes.len() { self.fail("the end") } else { Ok(None) }
    }

    /// A key with its colon; leaves the place at the value.
    fn key(&mut self) -> Result<Value, Malformed> {
        if self.peek() != Some(b'"') {
            return self.fail("a name in quotes");
        }
        let key = self.scalar()?;
        self.blanks();
        self.expect(b':', "`:`")?;
        self.blanks();
        Ok(key)
    }

    fn value(&mut self) -> Result<Value, Malformed> {
        let start = self.at;
        let kind = match self.peek() {
            Some(b'{') => Kind::Object,
            Some(b'[') => Kind::Array,
            _ => return self.scalar(),
        };
        let mut whole = Value { kind, start, end: start, escaped: false, lone_surrogate: false, too_deep: false };
        self.open.clear();
        loop {
            // A value begins here.
            match self.peek() {
                Some(bracket @ (b'{' | b'[')) => {
                    self.at += 1;
                    self.open.push(bracket);
                    whole.too_deep |= self.open.len() > DEEPEST;
                    self.blanks();
                    let is_empty = matches!((bracket, self.peek()), (b'{', Some(b'}')) | (b'[', Some(b']')));
                    if !is_empty {
                        if bracket == b'{' {
                            whole.lone_surrogate |= self.key()?.lone_surrogate;
                        }
                        continue;
                    }
                }
                _ => whole.lone_surrogate |= self.scalar()?.lone_surrogate,
            }
            // A value ended here: close what closes.
            loop {
                let Some(bracket) = self.open.last().copied() else {
                    whole.end = self.at;
                    return Ok(whole);
                };
                self.blanks();
                match (bracket, self.peek()) {
                    (b'{', Some(b'}')) | (b'[', Some(b']')) => {
                        self.at += 1;
                        self.open.pop();
                    }
                    (_, Some(b',')) => {
                        self.at += 1;
                        self.blanks();
                        if bracket == b'{' {
                            whole.lone_surrogate |= self.key()?.lone_surrogate;
                        }
                        break;
                    }
                    _ => return self.fail("`,` or a closing bracket"),
                }
            }
        }
    }

    fn scalar(&mut self) -> Result<Value, Malformed> {
        let start = self.at;
        let mut value =
            Value { kind: Kind::Null, start, end: start, escaped: false, lone_surrogate: false, too_deep: false };
        match self.peek() {
            Some(b'"') => {
                value.kind = Kind::String;
                self.string(&mut value)?;
            }
            Some(b'-' | b'0'..=b'9') => {
                value.kind = Kind::Number;
                self.number()?;
            }
            Some(b'n') => self.word(b"null")?,
            Some(b't') => {
                value.kind = Kind::True;
                self.word(b"true")?;
            }
            Some(b'f') => {
                value.kind = Kind::False;
                self.word(b"false")?;
            }
            _ => return self.fail("a value"),
        }
        value.end = self.at;
        Ok(value)
    }

    fn string(&mut self, value: &mut Value) -> Result<(), Malformed> {
        self.at += 1;
        loop {
            self.at = special(self.bytes, self.at);
            match self.peek() {
                Some(b'"') => {
                    self.at += 1;
                    return Ok(());
                }
                Some(b'\\') => {
                    value.escaped = true;
                    value.lone_surrogate |= self.escape()?;
                }
                Some(_) => return self.fail("no control character in a text"),
                None => return self.fail("a closing quote"),
            }
        }
    }

    /// One escape, or two that make a pair. True if half of a pair stands alone.
    fn escape(&mut self) -> Result<bool, Malformed> {
        self.at += 1;
        match self.peek() {
            Some(b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't') => {
                self.at += 1;
                Ok(false)
            }
            Some(b'u') => {
                self.at += 1;
                let unit = self.hex()?;
                if !(0xD800..0xDC00).contains(&unit) {
                    return Ok((0xDC00..0xE000).contains(&unit));
                }
                let rest = &self.bytes[self.at..];
                let low = if rest.starts_with(b"\\u") { hex(&rest[2..]) } else { None };
                if low.is_some_and(|low| (0xDC00..0xE000).contains(&low)) {
                    self.at += 6;
                    return Ok(false);
                }
                Ok(true)
            }
            _ => self.fail("an escape"),
        }
    }

    fn hex(&mut self) -> Result<u16, Malformed> {
        match hex(&self.bytes[self.at..]) {
            Some(unit) => {
                self.at += 4;
                Ok(unit)
            }
            None => self.fail("four hexadecimal digits"),
        }
    }

    fn number(&mut self) -> Result<(), Malformed> {
        if self.peek() == Some(b'-') {
            self.at += 1;
        }
        match self.peek() {
            Some(b'0') => self.at += 1,
            _ => self.digits()?,
        }
        if self.peek() == Some(b'.') {
            self.at += 1;
            self.digits()?;
        }
        if matches!(self.peek(), Some(b'e' | b'E')) {
            self.at += 1;
            if matches!(self.peek(), Some(b'+' | b'-')) {
                self.at += 1;
            }
            self.digits()?;
        }
        Ok(())
    }

    fn digits(&mut self) -> Result<(), Malformed> {
        let start = self.at;
        while self.peek().is_some_and(|byte| byte.is_ascii_digit()) {
            self.at += 1;
        }
        if self.at == start { self.fail("a digit") } else { Ok(()) }
    }

    fn word(&mut self, word: &[u8]) -> Result<(), Malformed> {
        if !self.bytes[self.at..].starts_with(word) {
            return self.fail("`null`, `true` or `false`");
        }
        self.at += word.len();
        Ok(())
    }

    fn expect(&mut self, byte: u8, expected: &'static str) -> Result<(), Malformed> {
        if self.peek() != Some(byte) {
            return self.fail(expected);
        }
        self.at += 1;
        Ok(())
    }

    fn blanks(&mut self) {
        while matches!(self.peek(), Some(b' ' | b'\t' | b'\n' | b'\r')) {
            self.at += 1;
        }
    }

    fn peek(&self) -> Option<u8> {
        self.bytes.get(self.at).copied()
    }

    fn fail<T>(&self, expected: &'static str) -> Result<T, Malformed> {
        Err(Malformed { at: self.at, expected })
    }
}

/// The first place from `at` on of a quote, a backslash or a control character; the length if there is none.
fn special(bytes: &[u8], mut at: usize) -> usize {
    const ONES: u64 = 0x0101_0101_0101_0101;
    const HIGH: u64 = 0x8080_8080_8080_8080;
    let has_zero = |word: u64| word.wrapping_sub(ONES) & !word & HIGH;
    while let Some(chunk) = bytes.get(at..at + 8) {
        let word = u64::from_le_bytes([chunk[0], chunk[1], chunk[2], chunk[3], chunk[4], chunk[5], chunk[6], chunk[7]]);
        let control = word.wrapping_sub(ONES * 0x20) & !word & HIGH;
        let hits = has_zero(word ^ (ONES * u64::from(b'"'))) | has_zero(word ^ (ONES * u64::from(b'\\'))) | control;
        if hits != 0 {
            // A borrow can only spoil bytes above the first hit, so the lowest one is right.
            return at + (hits.trailing_zeros() / 8) as usize;
        }
        at += 8;
    }
    while at < bytes.len() && !matches!(bytes[at], b'"' | b'\\' | 0..0x20) {
        at += 1;
    }
    at
}

/// Four hexadecimal digits at the beginning of `bytes`.
fn hex(bytes: &[u8]) -> Option<u16> {
    let mut unit = 0u16;
    for byte in bytes.get(..4)? {
        let digit = char::from(*byte).to_digit(16)?;
        unit = unit << 4 | digit as u16;
    }
    Some(unit)
}

/// Decodes the inside of an escaped string that the scanner accepted. `None` if it is not text: bytes that are not UTF-8,
/// half of a surrogate pair.
pub(super) fn unescape(inside: &[u8], text: &mut String) -> Option<()> {
    text.clear();
    let mut rest = inside;
    loop {
        let plain = rest.iter().position(|byte| *byte == b'\\').unwrap_or(rest.len());
        text.push_str(std::str::from_utf8(&rest[..plain]).ok()?);
        if plain == rest.len() {
            return Some(());
        }
        let letter = *rest.get(plain + 1)?;
        rest = &rest[plain + 2..];
        text.push(match letter {
            b'b' => '\u{8}',
            b'f' => '\u{c}',
            b'n' => '\n',
            b'r' => '\r',
            b't' => '\t',
            b'u' => {
                let first = u32::from(hex(rest)?);
                rest = &rest[4..];
                if (0xD800..0xDC00).contains(&first) {
                    let low = u32::from(hex(rest.strip_prefix(b"\\u")?)?);
                    rest = &rest[6..];
                    let offset = low.checked_sub(0xDC00).filter(|offset| *offset < 0x400)?;
                    char::from_u32(0x10000 + ((first - 0xD800) << 10) + offset)?
                } else {
                    char::from_u32(first)?
                }
            }
            other => char::from(other),
        });
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn scan(text: &[u8]) -> Result<Vec<(String, String)>, Malformed> {
        let mut open = Vec::new();
        let mut scanner = Scanner::new(text, &mut open);
        let mut found = Vec::new();
        let cut = |value: Value| String::from_utf8_lossy(&text[value.start..value.end]).into_owned();
        while let Some((key, value)) = scanner.member()? {
            found.push((cut(key), cut(value)));
        }
        Ok(found)
    }

    #[test]
    fn agrees_with_serde_json_on_what_is_an_object() {
        let texts = [
            "{}",
            " { } ",
            "{\"a\":1}",
            "{\"a\":1,}",
            "{\"a\" : [1 , 2,{\"b\":[]}] ,\"c\":{}}",
            "{\"a\":[1,]}",
            "{\"a\":{\"b\":1,}}",
            "{,}",
            "{\"a\"}",
            "{\"a\":}",
            "{a:1}",
            "[]",
            "1",
            "",
            "{",
            "{\"a\":1",
            "{\"a\":1}}",
            "{\"a\":01}",
            "{\"a\":-}",
            "{\"a\":-0}",
            "{\"a\":1.}",
            "{\"a\":.5}",
            "{\"a\":1e}",
            "{\"a\":1e+5}",
            "{\"a\":1E-5}",
            "{\"a\":+1}",
            "{\"a\":NaN}",
            "{\"a\":nul}",
            "{\"a\":nullx}",
            "{\"a\":truefalse}",
            "{\"a\":\"\\u12\"}",
            "{\"a\":\"\\x\"}",
            "{\"a\":\"\\ud800\\u0041\"}",
            "{\"a\":\"tab\there\"}",
            "{\"a\":\"unclosed}",
            "{\"a\":[}",
            "{\"a\":[1}",
            "{\"a\":{]}",
            "{\"a\":[[[[]]]]}",
            "{\"a\":1 \"b\":2}",
            "{\"12345678\":\"12345678\\\"9\"}",
            "{\"a\":\"\u{7f}é😀\"}",
        ];
        for text in texts {
            let expected =
                serde_json::from_str::<std::collections::BTreeMap<String, &serde_json::value::RawValue>>(text);
            assert_eq!(scan(text.as_bytes()).is_ok(), expected.is_ok(), "{text}");
        }
    }

    #[test]
    fn nesting_costs_heap_not_stack() {
        let depth = 1_000_000;
        let text = format!("{{\"a\":{}{}}}", "[".repeat(depth), "]".repeat(depth));
        let mut open = Vec::new();
        let (_, value) = Scanner::new(text.as_bytes(), &mut open).member().unwrap().unwrap();
        assert!(value.too_deep);
        assert_eq!(value.end, text.len() - 1);
    }

    #[test]
    fn half_a_pair_is_seen() {
        let cases = [
            (r#"{"a":"\ud83d\ude00"}"#, false),
            (r#"{"a":"\ud83d"}"#, true),
            (r#"{"a":"\ude00"}"#, true),
            (r#"{"a":"\ud83d\u0041"}"#, true),
            (r#"{"a":["x",{"\ud83d":1}]}"#, true),
        ];
        for (text, expected) in cases {
            let mut open = Vec::new();
            let (_, value) = Scanner::new(text.as_bytes(), &mut open).member().unwrap().unwrap();
            assert_eq!(value.lone_surrogate, expected, "{text}");
        }
    }
}
