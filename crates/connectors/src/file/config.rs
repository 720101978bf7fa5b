//! The configurations of source and destination.

use connector::{Error, Result, config};
use encoding_rs::Encoding;
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::Value;

use super::{csv::Dialect, text};

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Format {
    /// By the ending of the file's name.
    #[default]
    Auto,
    Csv,
    #[serde(alias = "json", alias = "ndjson")]
    Jsonl,
    Parquet,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Ragged {
    /// A missing field is NULL, surplus fields are left out; each is an entry in the row's changes.
    #[default]
    Keep,
    /// The read stops with an error that names file and line.
    Fail,
}

/// Files of this machine: CSV, JSON lines and Parquet, plain or compressed.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[schemars(title = "Files")]
pub struct SourceConfig {
    /// A file, a folder, or a pattern with `*`, `?`, `[a-z]` and `**`. A relative path, and one that begins with
    /// `/local/`, lies in the folder `local` of the data directory. Files and folders whose names begin with `.` or `_`
    /// are passed over.
    #[serde(alias = "path")]
    #[schemars(title = "Path", extend("order" = 0), example = "/local/inbox/*.csv")]
    pub url: String,

    /// Name of the stream that the files of `url` are. Without it a folder has one stream per file name, and a file or
    /// pattern gives its own name.
    #[serde(default, alias = "name")]
    #[schemars(title = "Dataset name", extend("order" = 1))]
    pub dataset_name: Option<String>,

    #[serde(default)]
    #[schemars(title = "Format", extend("order" = 2))]
    pub format: Format,

    #[serde(default)]
    #[schemars(title = "CSV dialect", extend("order" = 3))]
    pub csv: Csv,

    /// Streams of the folder `url`, each with the pattern of its files.
    #[serde(default)]
    #[schemars(title = "Streams", extend("order" = 4))]
    pub streams: Vec<StreamConfig>,

    /// Upstream's choice of a storage; only `local` is known.
    #[serde(default)]
    #[schemars(title = "Storage provider", extend("order" = 5))]
    pub provider: Option<Provider>,

    /// Upstream's options for pandas; they are not read, so anything in them is refused.
    #[serde(default)]
    #[schemars(title = "Reader options", extend("order" = 6, "airbyte_hidden" = true))]
    pub reader_options: Option<String>,
}

#[derive(Clone, Debug, Deserialize, JsonSchema)]
pub struct Provider {
    #[serde(default)]
    pub storage: String,
}

/// A stream: files of one kind.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct StreamConfig {
    pub name: String,
    /// Pattern of its files below `url`.
    pub glob: String,
    #[serde(default)]
    pub format: Option<Format>,
    #[serde(default)]
    pub csv: Option<Csv>,
}

/// How delimited text is written.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Csv {
    /// One character; a tab where the file's name ends in `.tsv`, else a comma.
    pub delimiter: Option<String>,
    /// One character; empty: quotes mean nothing.
    pub quote: String,
    /// One character that stands before a quote inside quotes. A doubled quote always stands for one.
    pub escape: Option<String>,
    /// Whether the first record names the columns; otherwise they are `column_1`, `column_2`, ...
    pub header: bool,
    /// Encoding of files without a byte order mark, as `utf-8`, `utf-16`, `windows-1252`.
    pub encoding: Option<String>,
    /// Texts that mean NULL where they stand without quotes.
    pub null_values: Vec<String>,
    /// What becomes of a record with too few or too many fields.
    pub ragged_rows: Ragged,
}

impl Default for Csv {
    fn default() -> Self {
        Self {
            delimiter: None,
            quote: "\"".to_owned(),
            escape: None,
            header: true,
            encoding: None,
            null_values: vec![String::new()],
            ragged_rows: Ragged::Keep,
        }
    }
}

impl Csv {
    /// `is_tabbed`: the file's name ends in `.tsv`.
    pub fn dialect(&self, is_tabbed: bool) -> Result<Dialect> {
        let delimiter = match &self.delimiter {
            Some(text) if text == "\\t" => b'\t',
            Some(text) => one("delimiter", text)?
                .ok_or_else(|| Error::config("Configuration field `csv.delimiter` must be one character"))?,
            None if is_tabbed => b'\t',
            None => b',',
        };
        let quote = one("quote", &self.quote)?;
        let escape = self.escape.as_deref().map(|text| one("escape", text)).transpose()?.flatten();
        if Some(delimiter) == quote || Some(delimiter) == escape {
            return Err(Error::config("Configuration field `csv.delimiter` is the quote or the escape too"));
        }
        Ok(Dialect { delimiter, quote, escape })
    }

    pub fn encoding(&self) -> Result<Option<&'static Encoding>> {
        let Some(name) = self.encoding.as_deref().filter(|name| !name.trim().is_empty()) else { return Ok(None) };
        let known = text::encoding(name).ok_or_else(|| {
            Error::config(format!("Configuration field `csv.encoding` names no encoding that is known: `{name}`"))
                .with_hint("Use a name such as utf-8, utf-16, utf-16be, windows-1252, iso-8859-2 or shift_jis")
        })?;
        Ok(Some(known))
    }
}

fn one(field: &str, text: &str) -> Result<Option<u8>> {
    match text.as_bytes() {
        [] => Ok(None),
        [byte] if byte.is_ascii() && !matches!(byte, b'\n' | b'\r' | 0) => Ok(Some(*byte)),
        _ => Err(Error::config(format!("Configuration field `csv.{field}` must be one ASCII character"))),
    }
}

impl SourceConfig {
    pub fn read(value: &Value) -> Result<Self> {
        let config: Self = config::parse(value)?;
        if let Some(provider) = &config.provider
            && !provider.storage.is_empty()
            && !provider.storage.eq_ignore_ascii_case("local")
        {
            return Err(Error::config(format!(
                "Configuration field `provider.storage` is `{}`; only `local` is known",
                provider.storage
            ))
            .with_hint("Mount the storage and give its path"));
        }
        let options = config.reader_options.as_deref().unwrap_or_default().trim();
        if !matches!(options, "" | "{}") {
            return Err(Error::config("Configuration field `reader_options` is not supported")
                .with_hint("Use `csv` with delimiter, quote, escape, header, encoding and null_values"));
        }
        let mut dialects = vec![&config.csv];
        for (index, stream) in config.streams.iter().enumerate() {
            if stream.name.trim().is_empty() || stream.glob.trim().is_empty() {
                return Err(Error::config(format!("Configuration field `streams[{index}]` needs a name and a glob")));
            }
            if stream.glob.starts_with('/') || stream.glob.split('/').any(|part| part == "..") {
                return Err(Error::config(format!(
                    "Configuration field `streams[{index}].glob` leaves the folder `url`"
                ))
                .with_hint("Patterns are relative to `url` and may not hold `..`"));
            }
            if config.streams[..index].iter().any(|other| other.name == stream.name) {
                return Err(Error::config(format!("There are two streams `{}` in the configuration", stream.name)));
            }
            dialects.extend(&stream.csv);
        }
        for csv in dialects {
            csv.dialect(false)?;
            csv.encoding()?;
        }
        Ok(config)
    }
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum FileKind {
    #[default]
    Parquet,
    Csv,
    #[serde(alias = "json", alias = "ndjson")]
    Jsonl,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Compression {
    #[serde(alias = "uncompressed")]
    None,
    Snappy,
    Gzip,
    Zstd,
}

/// A folder of this machine with one folder of files per stream.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[schemars(title = "Files")]
pub struct DestinationConfig {
    /// The folder; it is created if it does not exist. A relative path, and one that begins with `/local/`, lies in the
    /// folder `local` of the data directory; every other absolute path is taken as given.
    #[serde(alias = "destination_path")]
    #[schemars(title = "Path", extend("order" = 0), example = "/local/lake")]
    pub path: String,

    #[serde(default)]
    #[schemars(title = "Format", extend("order" = 1))]
    pub format: FileKind,

    /// Parquet: zstd (default), snappy, gzip or none. CSV and JSON lines: none (default), gzip or zstd.
    #[serde(default)]
    #[schemars(title = "Compression", extend("order" = 2))]
    pub compression: Option<Compression>,
}

impl DestinationConfig {
    pub fn read(value: &Value) -> Result<Self> {
        let config: Self = config::parse(value)?;
        if config.format != FileKind::Parquet && config.compression == Some(Compression::Snappy) {
            return Err(Error::config("Configuration field `compression` is snappy, which only Parquet files have")
                .with_hint("Use gzip, zstd or none"));
        }
        // Upstream's CSV destination has a delimiter of its own; another one would change what is written.
        if let Some(delimiter) = value.get("delimiter_type") {
            let name = delimiter.get("delimiter").or(Some(delimiter)).and_then(Value::as_str).unwrap_or_default();
            if !matches!(name, "" | "," | "\\u002c") {
                return Err(Error::config("Configuration field `delimiter_type` is not supported: CSV has commas"));
            }
        }
        Ok(config)
    }

    pub fn compression(&self) -> Compression {
        self.compression.unwrap_or(match self.format {
            FileKind::Parquet => Compression::Zstd,
            FileKind::Csv | FileKind::Jsonl => Compression::None,
        })
    }

    /// Ending of the files, with its dot.
    pub fn ending(&self) -> &'static str {
        match (self.format, self.compression()) {
            (FileKind::Parquet, _) => ".parquet",
            (FileKind::Csv, Compression::Gzip) => ".csv.gz",
            (FileKind::Csv, Compression::Zstd) => ".csv.zst",
            (FileKind::Csv, _) => ".csv",
            (FileKind::Jsonl, Compression::Gzip) => ".jsonl.gz",
            (FileKind::Jsonl, Compression::Zstd) => ".jsonl.zst",
            (FileKind::Jsonl, _) => ".jsonl",
        }
    }
}
