//! Reading columns of a row into the types of the rows, and writing words and ids the way they are stored.

use protocol::{Json, StreamDescriptor};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::Value;
use sqlx::{Row, any::AnyRow};
use uuid::Uuid;

use crate::{Error, Result};

/// Columns by name; a value of the wrong kind is a corrupt store, never a panic.
pub(crate) trait Columns {
    fn text(&self, name: &str) -> Result<String>;
    fn opt_text(&self, name: &str) -> Result<Option<String>>;
    fn int(&self, name: &str) -> Result<i64>;
    fn opt_int(&self, name: &str) -> Result<Option<i64>>;
    fn bytes(&self, name: &str) -> Result<Vec<u8>>;

    fn flag(&self, name: &str) -> Result<bool> {
        Ok(self.int(name)? != 0)
    }

    fn uuid(&self, name: &str) -> Result<Uuid> {
        parse_uuid(&self.text(name)?)
    }

    fn opt_uuid(&self, name: &str) -> Result<Option<Uuid>> {
        self.opt_text(name)?.as_deref().map(parse_uuid).transpose()
    }

    fn json(&self, name: &str) -> Result<Json> {
        parse_json(name, self.text(name)?)
    }

    fn opt_json(&self, name: &str) -> Result<Option<Json>> {
        self.opt_text(name)?.map(|text| parse_json(name, text)).transpose()
    }

    /// An enum that is stored as its word.
    fn word<T: DeserializeOwned>(&self, name: &str) -> Result<T> {
        let text = self.text(name)?;
        serde_json::from_value(Value::String(text)).map_err(|error| Error::corrupt(name).with_source(error))
    }

    /// The columns `namespace` and `name`.
    fn stream(&self) -> Result<StreamDescriptor> {
        Ok(StreamDescriptor::new(Some(&self.text("namespace")?), self.text("name")?))
    }
}

impl Columns for AnyRow {
    fn text(&self, name: &str) -> Result<String> {
        Ok(self.try_get(name)?)
    }

    fn opt_text(&self, name: &str) -> Result<Option<String>> {
        Ok(self.try_get(name)?)
    }

    fn int(&self, name: &str) -> Result<i64> {
        Ok(self.try_get(name)?)
    }

    fn opt_int(&self, name: &str) -> Result<Option<i64>> {
        Ok(self.try_get(name)?)
    }

    fn bytes(&self, name: &str) -> Result<Vec<u8>> {
        Ok(self.try_get(name)?)
    }
}

fn parse_uuid(text: &str) -> Result<Uuid> {
    Uuid::parse_str(text).map_err(|error| Error::corrupt("an id").with_source(error))
}

fn parse_json(name: &str, text: String) -> Result<Json> {
    Json::parse(text).map_err(|error| Error::corrupt(name).with_source(error))
}

/// The word of an enum whose serde form is a text.
pub(crate) fn word<T: Serialize>(value: T) -> String {
    match serde_json::to_value(value) {
        Ok(Value::String(text)) => text,
        _ => String::new(),
    }
}

/// The namespace as it is stored: `''` for none.
pub(crate) fn namespace(stream: &StreamDescriptor) -> &str {
    stream.namespace.as_deref().unwrap_or("")
}

/// `$first, $first+1, …`: `count` placeholders.
pub(crate) fn placeholders(first: usize, count: usize) -> String {
    let list: Vec<String> = (first..first + count).map(|n| format!("${n}")).collect();
    list.join(", ")
}
