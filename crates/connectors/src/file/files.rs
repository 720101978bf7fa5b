//! Which files belong to which stream: folders, patterns, endings.

use std::{
    collections::BTreeMap,
    fs, io,
    path::{Path, PathBuf},
    time::SystemTime,
};

use chrono::{DateTime, SecondsFormat, Utc};
use connector::{Error, Result};

use super::{
    config::{Csv, Format, SourceConfig},
    fault::{Place, unreadable},
    places::Places,
};

/// More files than anybody wants to list in one go; a pattern that finds them is a mistake.
const MOST_FILES: usize = 100_000;
/// Folders below folders; deeper ones are a loop of mounts.
const MOST_DEPTH: usize = 32;

/// A stream and where its files are.
#[derive(Clone, Debug)]
pub struct Dataset {
    pub name: String,
    base: PathBuf,
    pattern: String,
    format: Format,
    pub csv: Csv,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    pub path: PathBuf,
    /// Relative to the base of its stream, with `/`: what the state calls it.
    pub name: String,
    pub modified: SystemTime,
    pub kind: Kind,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Csv { is_tabbed: bool },
    Jsonl,
    Parquet,
}

/// RFC 3339 with nanoseconds: what a state holds.
pub fn stamp(modified: SystemTime) -> String {
    DateTime::<Utc>::from(modified).to_rfc3339_opts(SecondsFormat::Nanos, true)
}

/// The streams of a configuration.
pub fn datasets(config: &SourceConfig, places: &Places) -> Result<Vec<Dataset>> {
    let url = config.url.strip_prefix("file://").unwrap_or(&config.url);
    let is_pattern = |part: &str| part.contains(['*', '?', '[']);
    let parts: Vec<&str> = url.split('/').collect();
    let dataset = |name: String, base: PathBuf, pattern: &str| Dataset {
        name,
        base,
        pattern: pattern.to_owned(),
        format: config.format,
        csv: config.csv.clone(),
    };
    let as_is = places.find("url", url)?;
    if let Some(at) = parts.iter().position(|part| is_pattern(part))
        && !as_is.exists()
    {
        if !config.streams.is_empty() {
            return Err(Error::config(
                "Configuration field `url` is a pattern, and `streams` have patterns of their own",
            )
            .with_hint("Let `url` be the folder that the patterns of `streams` begin in"));
        }
        let before = if at == 0 { ".".to_owned() } else { parts[..at].join("/") };
        let base = places.find("url", if before.is_empty() { "/" } else { &before })?;
        let pattern = parts[at..].join("/");
        let name = config.dataset_name.clone().unwrap_or_else(|| name_of_pattern(&pattern));
        return Ok(vec![dataset(name, base, &pattern)]);
    }
    let found = fs::metadata(&as_is).map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => Error::config(format!("There is no file or folder `{}`", as_is.display()))
            .with_hint("Correct `url`; a relative path lies in the folder `local` of the data directory"),
        _ => unreadable(&Place::of(&as_is), error),
    })?;
    if !found.is_dir() {
        if !config.streams.is_empty() {
            return Err(Error::config("Configuration field `url` is a file, so `streams` find nothing in it")
                .with_hint("Let `url` be the folder that the patterns of `streams` begin in"));
        }
        let file = as_is.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let base = as_is.parent().unwrap_or(Path::new("/")).to_owned();
        let name = config.dataset_name.clone().unwrap_or_else(|| stem(&file).to_owned());
        return Ok(vec![dataset(name, base, &escaped(&file))]);
    }
    if !config.streams.is_empty() {
        let each = config.streams.iter().map(|stream| Dataset {
            name: stream.name.clone(),
            base: as_is.clone(),
            pattern: stream.glob.clone(),
            format: stream.format.unwrap_or(config.format),
            csv: stream.csv.clone().unwrap_or_else(|| config.csv.clone()),
        });
        return Ok(each.collect());
    }
    if let Some(name) = &config.dataset_name {
        return Ok(vec![dataset(name.clone(), as_is, "*")]);
    }
    // One stream for each name, whatever the ending.
    let all = dataset(String::new(), as_is.clone(), "*").files(places)?;
    let mut names: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for file in all {
        names.entry(stem(&file.name).to_owned()).or_default().push(file.name);
    }
    let each = names.into_iter().map(|(name, files)| {
        let pattern = if let [one] = files.as_slice() { escaped(one) } else { format!("{}.*", escaped(&name)) };
        dataset(name, as_is.clone(), &pattern)
    });
    Ok(each.collect())
}

/// A pattern that finds exactly this name.
fn escaped(name: &str) -> String {
    let mut pattern = String::new();
    for letter in name.chars() {
        match letter {
            '*' | '?' | '[' => pattern.extend(['[', letter, ']']),
            _ => pattern.push(letter),
        }
    }
    pattern
}

fn name_of_pattern(pattern: &str) -> String {
    let last = pattern.rsplit('/').next().unwrap_or_default();
    let name: String = stem(last).chars().filter(|letter| letter.is_alphanumeric() || *letter == '_').collect();
    let name = name.trim_matches('_');
    if name.is_empty() { "files".to_owned() } else { name.to_owned() }
}

/// The name without the endings that speak of format and compression.
fn stem(name: &str) -> &str {
    let bare = plain(name);
    let at = bare.rfind('.').filter(|at| *at > 0 && kind_of(&bare[*at..]).is_some());
    &bare[..at.unwrap_or(bare.len())]
}

fn plain(name: &str) -> &str {
    let lower = name.to_ascii_lowercase();
    let cut = [".gz", ".gzip", ".zst", ".zstd"].iter().find(|ending| lower.ends_with(*ending));
    &name[..name.len() - cut.map_or(0, |ending| ending.len())]
}

fn kind_of(name: &str) -> Option<Kind> {
    let lower = name.to_ascii_lowercase();
    Some(match lower.rsplit('.').next()? {
        "csv" | "txt" => Kind::Csv { is_tabbed: false },
        "tsv" | "tab" => Kind::Csv { is_tabbed: true },
        "jsonl" | "ndjson" | "json" => Kind::Jsonl,
        "parquet" | "pq" => Kind::Parquet,
        _ => return None,
    })
}

impl Dataset {
    /// Its files, oldest first. In a whole folder (`*`) files of unknown endings are passed over; a pattern that finds one
    /// is asked for its format.
    pub fn files(&self, places: &Places) -> Result<Vec<Found>> {
        let pattern: Vec<&str> = self.pattern.split('/').filter(|part| !part.is_empty()).collect();
        let mut found = Vec::new();
        self.walk(&self.base, "", &pattern, places, &mut found, 0)?;
        found.sort_by(|a, b| (a.modified, &a.name).cmp(&(b.modified, &b.name)));
        found.dedup_by(|a, b| a.path == b.path);
        Ok(found)
    }

    fn walk(
        &self,
        folder: &Path,
        prefix: &str,
        pattern: &[&str],
        places: &Places,
        found: &mut Vec<Found>,
        depth: usize,
    ) -> Result<()> {
        let Some((first, rest)) = pattern.split_first() else { return Ok(()) };
        if depth > MOST_DEPTH {
            return Ok(());
        }
        if *first == "**" {
            self.walk(folder, prefix, rest, places, found, depth)?;
        }
        let failed = |error| unreadable(&Place::of(folder), error);
        let entries = match fs::read_dir(folder) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound && depth > 0 => return Ok(()),
            Err(error) => return Err(failed(error)),
        };
        for entry in entries {
            let entry = entry.map_err(failed)?;
            let Ok(name) = entry.file_name().into_string() else { continue };
            let is_hidden = name.starts_with(['.', '_']) && !first.starts_with(['.', '_']);
            let is_deep = *first == "**";
            if is_hidden || !(is_deep || matches(first, &name)) {
                continue;
            }
            // A link that leads nowhere, or a file that went meanwhile.
            let Ok(path) = fs::canonicalize(entry.path()) else { continue };
            let Ok(metadata) = fs::metadata(&path) else { continue };
            let full = format!("{prefix}{name}");
            if metadata.is_dir() {
                let below = if is_deep { pattern } else { rest };
                self.walk(&path, &format!("{full}/"), below, places, found, depth + 1)?;
            } else if metadata.is_file() && !is_deep && rest.is_empty() {
                let Some(kind) = self.kind(&full)? else { continue };
                places.allow(&path)?;
                let modified = metadata.modified().map_err(failed)?;
                found.push(Found { path, name: full, modified, kind });
                if found.len() > MOST_FILES {
                    return Err(Error::config(format!("Stream `{}` has more than {MOST_FILES} files", self.name))
                        .with_hint("Use a narrower pattern, or several streams"));
                }
            }
        }
        Ok(())
    }

    fn kind(&self, name: &str) -> Result<Option<Kind>> {
        let bare = plain(name);
        match self.format {
            Format::Csv => Ok(Some(match kind_of(bare) {
                Some(Kind::Csv { is_tabbed }) => Kind::Csv { is_tabbed },
                _ => Kind::Csv { is_tabbed: false },
            })),
            Format::Jsonl => Ok(Some(Kind::Jsonl)),
            Format::Parquet => Ok(Some(Kind::Parquet)),
            Format::Auto => match kind_of(bare) {
                Some(kind) => Ok(Some(kind)),
                None if self.pattern == "*" => Ok(None),
                None => Err(Error::config(format!("The ending of file `{name}` does not say its format"))
                    .with_hint("Set `format` to csv, jsonl or parquet, or use a narrower pattern")),
            },
        }
    }

    /// The error where no file is found.
    pub fn nothing(&self) -> Error {
        Error::config(format!(
            "Stream `{}` has no files: nothing in {} matches `{}`",
            self.name,
            self.base.display(),
            self.pattern
        ))
        .with_hint("Check that the folder is mounted and that the pattern is right")
    }
}

/// Whether a name fits one part of a pattern: `*`, `?`, `[abc]`, `[a-z]`, `[!a]`.
fn matches(pattern: &str, name: &str) -> bool {
    let pattern: Vec<char> = pattern.chars().collect();
    let name: Vec<char> = name.chars().collect();
    let (mut p, mut n) = (0, 0);
    // Where the last star stood, and how much it has eaten.
    let mut star: Option<(usize, usize)> = None;
    while n < name.len() {
        let step = match pattern.get(p) {
            Some('*') => {
                star = Some((p, n));
                p += 1;
                continue;
            }
            Some('?') => Some(p + 1),
            Some('[') => class(&pattern[p..], name[n]).map(|length| p + length),
            Some(letter) if *letter == name[n] => Some(p + 1),
            _ => None,
        };
        match (step, star) {
            (Some(next), _) => {
                p = next;
                n += 1;
            }
            (None, Some((at, eaten))) => {
                star = Some((at, eaten + 1));
                p = at + 1;
                n = eaten + 1;
            }
            (None, None) => return false,
        }
    }
    pattern[p..].iter().all(|letter| *letter == '*')
}

/// The length of the class at the start of `pattern` if it holds `letter`. A bracket that is never closed is a letter.
fn class(pattern: &[char], letter: char) -> Option<usize> {
    let is_not = matches!(pattern.get(1), Some('!' | '^'));
    let first = 1 + usize::from(is_not);
    let Some(close) = pattern.iter().skip(first + 1).position(|c| *c == ']').map(|at| at + first + 1) else {
        return (letter == '[').then_some(1);
    };
    let set = &pattern[first..close];
    let mut at = 0;
    let mut holds = false;
    while at < set.len() {
        if at + 2 < set.len() && set[at + 1] == '-' {
            holds |= (set[at]..=set[at + 2]).contains(&letter);
            at += 3;
        } else {
            holds |= set[at] == letter;
            at += 1;
        }
    }
    (holds != is_not).then_some(close + 1)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn patterns() {
        let check = |pattern: &str, name: &str, expected: bool| {
            assert_eq!(matches(pattern, name), expected, "{pattern} {name}");
        };
        check("*", "", true);
        check("*.csv", "a.csv", true);
        check("*.csv", "a.csv.gz", false);
        check("a*b*c", "aXbYbZc", true);
        check("a*b*c", "aXbYbZ", false);
        check("?", "ö", true);
        check("shops_[0-9][!a]", "shops_1b", true);
        check("shops_[0-9][!a]", "shops_1a", false);
        check("[", "[", true);
        check("a[]]b", "a]b", true);
        for odd in ["a*b?c[d].csv", "[x", "**"] {
            check(&escaped(odd), odd, true);
            check(&escaped(odd), "a1b2cd.csv", false);
        }
    }

    #[test]
    fn names() {
        let check = |name: &str, expected: &str| assert_eq!(stem(name), expected);
        check("orders.csv.gz", "orders");
        check("orders.2025.parquet", "orders.2025");
        check("orders", "orders");
        check("v1.2", "v1.2");
        check(".csv", ".csv");
        assert_eq!(name_of_pattern("2025/shops_*.csv"), "shops");
        assert_eq!(name_of_pattern("**/*.parquet"), "files");
    }
}
