//! Records out of delimited text: RFC 4180 and the dialects that are met in the wild.
//!
//! [`Splitter`] knows what the usual libraries forget: whether a field was quoted (`""` is an empty text, nothing at all
//! is NULL), and in which line a record begins. Records end with `\n`, `\r\n` or `\r`; blank lines are no records. A quote
//! inside an unquoted field is a letter. A field with letters behind its closing quote is taken with its quotes, as it
//! stands: nothing is lost, and its type will complain where it has one.

use std::io::Read;

use super::fault::{Place, unreadable};
use connector::{Error, Result};

/// A record may not be larger: a quote that nobody closes would read the whole file into memory.
const MOST_RECORD: usize = 512 << 20;
const BUFFER: usize = 256 << 10;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Dialect {
    pub delimiter: u8,
    /// `None`: quotes mean nothing.
    pub quote: Option<u8>,
    /// Besides a doubled quote, which always stands for one.
    pub escape: Option<u8>,
}

#[derive(Clone, Copy, Debug)]
struct Span {
    start: usize,
    end: usize,
    quoted: bool,
    escaped: bool,
}

/// A field of the record at hand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Field<'a> {
    pub bytes: &'a [u8],
    pub quoted: bool,
}

pub struct Splitter<R> {
    input: R,
    place: Place,
    dialect: Dialect,
    buffer: Vec<u8>,
    start: usize,
    end: usize,
    is_end: bool,
    /// Line in which the record at hand begins, and the next one.
    line: u64,
    next_line: u64,
    records: u64,
    spans: Vec<Span>,
}

enum Step {
    /// The record is whole; the next one begins here.
    Whole(usize),
    More,
}

impl<R: Read> Splitter<R> {
    pub fn new(input: R, place: Place, dialect: Dialect) -> Self {
        let buffer = vec![0; BUFFER];
        Self {
            input,
            place,
            dialect,
            buffer,
            start: 0,
            end: 0,
            is_end: false,
            line: 1,
            next_line: 1,
            records: 0,
            spans: vec![],
        }
    }

    /// Goes to the next record; `false` at the end.
    pub fn advance(&mut self) -> Result<bool> {
        loop {
            while self.start < self.end && matches!(self.buffer[self.start], b'\n' | b'\r') {
                let is_pair = self.buffer[self.start] == b'\r';
                if is_pair && self.start + 1 == self.end && !self.is_end {
                    break;
                }
                let pair = is_pair && self.start + 1 < self.end && self.buffer[self.start + 1] == b'\n';
                self.start += 1 + usize::from(pair);
                self.next_line += 1;
            }
            if self.start == self.end && self.is_end {
                return Ok(false);
            }
            if self.start < self.end
                && let Step::Whole(next) = self.split()?
            {
                self.line = self.next_line;
                let inside = &self.buffer[self.start..next];
                let breaks = match self.spans.iter().any(|span| span.quoted) {
                    true => inside.iter().filter(|byte| **byte == b'\n').count() as u64,
                    false => 1,
                };
                self.next_line += breaks.max(1);
                self.start = next;
                self.records += 1;
                return Ok(true);
            }
            self.fill()?;
        }
    }

    fn fill(&mut self) -> Result<()> {
        if self.start > 0 {
            self.buffer.copy_within(self.start..self.end, 0);
            self.end -= self.start;
            self.start = 0;
        }
        if self.end == self.buffer.len() {
            if self.end >= MOST_RECORD {
                return Err(Error::config(format!(
                    "The record that begins in {} is larger than 512 MiB",
                    self.place.line(self.next_line)
                ))
                .with_hint("A quote that is never closed does this: correct the line, or set another `quote`"));
            }
            self.buffer.resize(self.end * 2, 0);
        }
        let read = self.input.read(&mut self.buffer[self.end..]).map_err(|error| unreadable(&self.place, error))?;
        self.end += read;
        self.is_end = read == 0;
        Ok(())
    }

    fn split(&mut self) -> Result<Step> {
        let bytes = &self.buffer[..self.end];
        let Dialect { delimiter, quote, escape } = self.dialect;
        let is_stop = |byte: u8| byte == delimiter || byte == b'\n' || byte == b'\r';
        self.spans.clear();
        let mut at = self.start;
        loop {
            let start = at;
            let mut span = Span { start, end: start, quoted: false, escaped: false };
            if quote.is_some() && bytes.get(at).copied() == quote {
                at += 1;
                loop {
                    let found = bytes[at..].iter().position(|byte| Some(*byte) == quote || Some(*byte) == escape);
                    let Some(found) = found.map(|found| at + found) else {
                        return self.unclosed();
                    };
                    let follower = bytes.get(found + 1).copied();
                    if follower.is_none() && !self.is_end {
                        return Ok(Step::More);
                    }
                    let is_escape = Some(bytes[found]) == escape && escape != quote;
                    if is_escape && follower.is_none() {
                        return self.unclosed();
                    }
                    if is_escape || follower == quote {
                        span.escaped = true;
                        at = found + 2;
                        continue;
                    }
                    at = found + 1;
                    break;
                }
                if bytes.get(at).is_none_or(|byte| is_stop(*byte)) {
                    span = Span { start: start + 1, end: at - 1, quoted: true, ..span };
                } else {
                    at += bytes[at..].iter().position(|byte| is_stop(*byte)).unwrap_or(bytes.len() - at);
                    span = Span { start, end: at, quoted: false, escaped: false };
                }
            } else {
                at += bytes[at..].iter().position(|byte| is_stop(*byte)).unwrap_or(bytes.len() - at);
                span.end = at;
            }
            self.spans.push(span);
            match bytes.get(at) {
                None if self.is_end => return Ok(Step::Whole(at)),
                None => return Ok(Step::More),
                Some(b'\n') => return Ok(Step::Whole(at + 1)),
                Some(b'\r') if delimiter != b'\r' => match bytes.get(at + 1) {
                    None if !self.is_end => return Ok(Step::More),
                    Some(b'\n') => return Ok(Step::Whole(at + 2)),
                    _ => return Ok(Step::Whole(at + 1)),
                },
                Some(_) => at += 1,
            }
        }
    }

    fn unclosed(&self) -> Result<Step> {
        if !self.is_end {
            return Ok(Step::More);
        }
        Err(Error::config(format!(
            "The file ends within quotes; the record begins in {}",
            self.place.line(self.next_line)
        ))
        .with_hint("The file was cut short, or its quotes do not fit: correct it, or set another `quote`"))
    }

    pub fn len(&self) -> usize {
        self.spans.len()
    }

    /// Line of the record at hand.
    pub fn line(&self) -> u64 {
        self.line
    }

    /// Records so far.
    pub fn records(&self) -> u64 {
        self.records
    }

    /// A field of the record at hand; `scratch` carries its bytes where it has escapes.
    pub fn field<'a>(&'a self, index: usize, scratch: &'a mut Vec<u8>) -> Option<Field<'a>> {
        let span = self.spans.get(index)?;
        let bytes = &self.buffer[span.start..span.end];
        if !span.escaped {
            return Some(Field { bytes, quoted: span.quoted });
        }
        scratch.clear();
        let mut rest = bytes.iter();
        while let Some(byte) = rest.next() {
            let is_mark = Some(*byte) == self.dialect.escape || Some(*byte) == self.dialect.quote;
            match (is_mark, is_mark.then(|| rest.next()).flatten()) {
                (true, Some(meant)) => scratch.push(*meant),
                _ => scratch.push(*byte),
            }
        }
        Some(Field { bytes: scratch, quoted: span.quoted })
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    const PLAIN: Dialect = Dialect { delimiter: b',', quote: Some(b'"'), escape: None };

    /// Gives one byte at a time.
    struct Slow<'a>(&'a [u8]);

    impl Read for Slow<'_> {
        fn read(&mut self, out: &mut [u8]) -> std::io::Result<usize> {
            let Some((first, rest)) = self.0.split_first() else { return Ok(0) };
            out[0] = *first;
            self.0 = rest;
            Ok(1)
        }
    }

    fn records(input: impl Read, dialect: Dialect) -> Result<Vec<String>> {
        let mut splitter = Splitter::new(input, Place::of("f.csv"), dialect);
        let mut all = Vec::new();
        while splitter.advance()? {
            let fields: Vec<String> = (0..splitter.len())
                .map(|index| {
                    let mut scratch = Vec::new();
                    let field = splitter.field(index, &mut scratch).unwrap();
                    let text = String::from_utf8(field.bytes.to_vec()).unwrap();
                    if field.quoted { format!("<{text}>") } else { text }
                })
                .collect();
            all.push(format!("{}:{}", splitter.line(), fields.join("|")));
        }
        Ok(all)
    }

    fn check(text: &str, dialect: Dialect, expected: &[&str]) {
        assert_eq!(records(text.as_bytes(), dialect).unwrap(), expected, "{text:?}");
        assert_eq!(records(Slow(text.as_bytes()), dialect).unwrap(), expected, "{text:?}, byte by byte");
    }

    #[test]
    fn records_and_fields() {
        check("a,b\n1,2\n", PLAIN, &["1:a|b", "2:1|2"]);
        check("a,b\r\n1,2", PLAIN, &["1:a|b", "2:1|2"]);
        check("a,b\r1,2\r", PLAIN, &["1:a|b", "2:1|2"]);
        check("", PLAIN, &[]);
        check("\n\r\n\n", PLAIN, &[]);
        check("a,\n,\n", PLAIN, &["1:a|", "2:|"]);
        check("a\n\n\nb\n", PLAIN, &["1:a", "4:b"]);
        check("\"\",x\n", PLAIN, &["1:<>|x"]);
        check("\"a,\"\"b\"\"\nc\",d\ne\n", PLAIN, &["1:<a,\"b\"\nc>|d", "3:e"]);
        check("a\"b,5\" x\n", PLAIN, &["1:a\"b|5\" x"]);
        check("\"a\"b,c\n", PLAIN, &["1:\"a\"b|c"]);
        check("\"a\"", PLAIN, &["1:<a>"]);
        check("a,", PLAIN, &["1:a|"]);
        let slash = Dialect { escape: Some(b'\\'), ..PLAIN };
        check("\"a\\\"b\\\\\",\"c\"\"d\"\n", slash, &["1:<a\"b\\>|<c\"d>"]);
        let single = Dialect { delimiter: b'\t', quote: Some(b'\''), escape: None };
        check("'a\tb'\t\"c\"\n", single, &["1:<a\tb>|\"c\""]);
        let none = Dialect { quote: None, ..PLAIN };
        check("\"a,b\"\n", none, &["1:\"a|b\""]);
    }

    #[test]
    fn a_record_larger_than_the_buffer() {
        let long = format!("\"{}\",2\n3,4\n", "x".repeat(3 * BUFFER));
        let found = records(long.as_bytes(), PLAIN).unwrap();
        assert_eq!(found[0].len(), 3 * BUFFER + 6);
        assert_eq!(found[1], "2:3|4");
    }

    #[test]
    fn an_open_quote_names_its_line() {
        for text in ["a\n\"b\nc\n", "a\n\"b\"\"", "a\n\""] {
            let error = records(text.as_bytes(), PLAIN).unwrap_err();
            assert!(error.message.contains("f.csv, line 2"), "{}", error.message);
        }
    }
}
