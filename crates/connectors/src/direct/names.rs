//! The names that every direct-load destination gives: metadata columns, cleaned names, and the tables that stand beside a
//! final table. Where names collide is each database's own affair.

use protocol::StreamDescriptor;
use sha2::{Digest, Sha256};

/// Columns that come first in every table.
pub const METADATA: [&str; 4] = ["_airbyte_raw_id", "_airbyte_extracted_at", "_airbyte_meta", "_airbyte_generation_id"];

pub fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

pub fn list<'a>(names: impl IntoIterator<Item = &'a str>) -> String {
    names.into_iter().map(quoted).collect::<Vec<_>>().join(", ")
}

/// As in upstream's direct-load destinations: whatever is not a letter, a digit or `_` becomes `_`, a leading digit gets a
/// `_` before it.
pub fn clean(name: &str) -> String {
    let mut cleaned: String = name.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '_' }).collect();
    if cleaned.is_empty() || cleaned.starts_with(|c: char| c.is_ascii_digit()) {
        cleaned.insert(0, '_');
    }
    cleaned
}

/// Hexadecimal digits of the texts, each ended by U+0000.
pub fn hash(texts: &[&str]) -> String {
    let mut hasher = Sha256::new();
    for text in texts {
        hasher.update(text.as_bytes());
        hasher.update([0]);
    }
    hasher.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Names of the tables that stand beside a final table: they follow the connection and the stream in the source, never
/// the name in the destination, which users edit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Beside {
    connection: String,
    stream: String,
}

impl Beside {
    pub fn new(connection: &str, stream: &StreamDescriptor) -> Self {
        let namespace = stream.namespace.as_deref().unwrap_or_default();
        Self {
            connection: hash(&[connection])[..12].to_owned(),
            stream: hash(&[namespace, &stream.name])[..16].to_owned(),
        }
    }

    /// Carries its generation in its name.
    pub fn staging(&self, generation: i64) -> String {
        format!("{}{generation}", self.stagings())
    }

    /// Prefix of the staging tables of this stream.
    pub fn stagings(&self) -> String {
        format!("_leat_staging_{}_{}_g", self.connection, self.stream)
    }

    pub fn tail(&self) -> String {
        format!("_leat_tail_{}_{}", self.connection, self.stream)
    }

    /// A new final table in the making, within one transaction.
    pub fn next(&self) -> String {
        format!("_leat_next_{}_{}", self.connection, self.stream)
    }
}

/// Prefixes of the tables of one connection.
pub fn stagings_of(connection: &str) -> String {
    format!("_leat_staging_{}_", &hash(&[connection])[..12])
}

pub fn tails_of(connection: &str) -> String {
    format!("_leat_tail_{}_", &hash(&[connection])[..12])
}
