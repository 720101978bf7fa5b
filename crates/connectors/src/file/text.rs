//! Bytes of a file as UTF-8: decompressed by what the file begins with, decoded by its byte order mark or the encoding
//! that was set.
//!
//! What cannot be decoded becomes the byte FF, which no UTF-8 text holds: the value in which it stands is found to be bad
//! later, becomes NULL and a change, and never a wrong letter.

use std::{
    fs::File,
    io::{self, Cursor, Read},
    path::Path,
};

use connector::{Error, Result};
use encoding_rs::{DecoderResult, Encoding, UTF_8, UTF_16BE, UTF_16LE};

use super::fault::{Place, unreadable};

/// A name of an encoding as web browsers know them: `utf-8`, `utf-16` (little-endian), `windows-1252`, `shift_jis`, ...
pub fn encoding(name: &str) -> Option<&'static Encoding> {
    Encoding::for_label(name.trim().as_bytes())
}

/// Opens a file. `encoding`: where the file has no byte order mark; `None` is UTF-8.
pub fn open(path: &Path, encoding: Option<&'static Encoding>) -> Result<Box<dyn Read + Send>> {
    let place = Place::of(path);
    let failed = |error| unreadable(&place, error);
    let file = File::open(path).map_err(failed)?;
    if file.metadata().map_err(failed)?.is_dir() {
        return Err(Error::config(format!("{place} is a folder, not a file")));
    }
    let (start, file) = peek(file).map_err(failed)?;
    let raw: Box<dyn Read + Send> = match start.as_slice() {
        [0x1F, 0x8B, ..] => Box::new(flate2::read::MultiGzDecoder::new(file)),
        [0x28, 0xB5, 0x2F, 0xFD] => Box::new(zstd::stream::read::Decoder::new(file).map_err(failed)?),
        _ => Box::new(file),
    };
    let (start, raw) = peek(raw).map_err(failed)?;
    let (marked, length) = match start.as_slice() {
        [0xEF, 0xBB, 0xBF, ..] => (Some(UTF_8), 3),
        [0xFF, 0xFE, ..] => (Some(UTF_16LE), 2),
        [0xFE, 0xFF, ..] => (Some(UTF_16BE), 2),
        _ => (None, 0),
    };
    let encoding = marked.or(encoding).unwrap_or(UTF_8);
    let mut raw = raw;
    raw.read_exact(&mut vec![0; length]).map_err(failed)?;
    if encoding == UTF_8 {
        return Ok(Box::new(raw));
    }
    Ok(Box::new(Decoded {
        input: raw,
        decoder: encoding.new_decoder_without_bom_handling(),
        bytes: vec![0; CHUNK],
        from: 0,
        to: 0,
        text: vec![0; 4 * CHUNK],
        start: 0,
        end: 0,
        is_end: false,
        is_done: false,
    }))
}

/// The first four bytes, and the whole again.
fn peek<R: Read>(mut input: R) -> io::Result<(Vec<u8>, impl Read + use<R>)> {
    let mut start = Vec::with_capacity(4);
    input.by_ref().take(4).read_to_end(&mut start)?;
    Ok((start.clone(), Cursor::new(start).chain(input)))
}

const CHUNK: usize = 64 << 10;

struct Decoded<R> {
    input: R,
    decoder: encoding_rs::Decoder,
    bytes: Vec<u8>,
    from: usize,
    to: usize,
    text: Vec<u8>,
    start: usize,
    end: usize,
    is_end: bool,
    is_done: bool,
}

impl<R: Read> Read for Decoded<R> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        while self.start == self.end {
            if self.is_done {
                return Ok(0);
            }
            if self.from == self.to && !self.is_end {
                self.to = self.input.read(&mut self.bytes)?;
                self.from = 0;
                self.is_end = self.to == 0;
            }
            let room = self.text.len() - 1;
            let (result, read, written) = self.decoder.decode_to_utf8_without_replacement(
                &self.bytes[self.from..self.to],
                &mut self.text[..room],
                self.is_end,
            );
            self.from += read;
            self.start = 0;
            self.end = written;
            match result {
                DecoderResult::Malformed(..) => {
                    self.text[written] = 0xFF;
                    self.end += 1;
                }
                DecoderResult::InputEmpty => self.is_done = self.is_end,
                DecoderResult::OutputFull => {}
            }
        }
        let length = out.len().min(self.end - self.start);
        out[..length].copy_from_slice(&self.text[self.start..self.start + length]);
        self.start += length;
        Ok(length)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::io::Write;

    use super::*;

    fn read(bytes: &[u8], name: Option<&str>) -> Vec<u8> {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(bytes).unwrap();
        let mut out = Vec::new();
        open(file.path(), name.map(|name| encoding(name).unwrap())).unwrap().read_to_end(&mut out).unwrap();
        out
    }

    #[test]
    fn marks_and_encodings() {
        let check = |bytes: &[u8], name: Option<&str>, expected: &[u8]| assert_eq!(read(bytes, name), expected);
        check(b"", None, b"");
        check(b"a", None, b"a");
        check(b"\xEF\xBB\xBFa\xC3\xB6", Some("windows-1252"), "aö".as_bytes());
        check(b"\xFF\xFEa\0\xF6\0", None, "aö".as_bytes());
        check(b"\xFE\xFF\0a\0\xF6", Some("utf-16"), "aö".as_bytes());
        check(b"a\0\xF6\0", Some("utf-16"), "aö".as_bytes());
        check(b"\x80\x96\xF6", Some("windows-1252"), "€–ö".as_bytes());
        // Half of a pair, and half of a letter.
        check(b"\xFF\xFE\x00\xD8a\0", None, b"\xFFa");
        check(b"\xFF\xFEa\0b", None, b"a\xFF");
        check(b"a\xF6", None, b"a\xF6");
    }

    #[test]
    fn long_and_compressed() {
        let text = "ö,1\n".repeat(100_000);
        let utf16: Vec<u8> = text.encode_utf16().flat_map(u16::to_le_bytes).collect();
        assert_eq!(read(&utf16, Some("utf-16")), text.as_bytes());
        let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        gzip.write_all(text.as_bytes()).unwrap();
        let mut twice = gzip.finish().unwrap();
        twice.extend(twice.clone());
        assert_eq!(read(&twice, None).len(), 2 * text.len());
        let zstd = zstd::encode_all(text.as_bytes(), 1).unwrap();
        assert_eq!(read(&zstd, None), text.as_bytes());
    }
}
