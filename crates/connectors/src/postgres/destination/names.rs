//! Names of schemas, tables and columns.
//!
//! As in upstream's direct-load Postgres destination: whatever is not a letter, a digit or `_` becomes `_`, a leading digit
//! gets a `_` before it, what is longer than 63 bytes keeps its first 54 and gets a hash. Identifiers are quoted everywhere
//! and keep their case, so only names that are exactly equal collide; the order of the catalog decides who keeps the plain
//! one.

use std::{collections::HashSet, fmt};

use protocol::StreamDescriptor;

use crate::direct::names::clean;
pub use crate::direct::names::{Beside, METADATA, hash, list, quoted, stagings_of, tails_of};

/// PostgreSQL cuts longer names in silence.
const LONGEST: usize = 63;
const KEPT: usize = 54;

/// Numbers the rows of a staging table in the order in which they came.
pub const ORDER: &str = "_leat_order";

/// Schema and name of a table.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Place {
    pub schema: String,
    pub name: String,
}

impl Place {
    pub fn new(schema: &str, name: impl Into<String>) -> Self {
        Self { schema: schema.to_owned(), name: name.into() }
    }

    /// As SQL wants it.
    pub fn sql(&self) -> String {
        format!("{}.{}", quoted(&self.schema), quoted(&self.name))
    }
}

/// For messages.
impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.schema, self.name)
    }
}

fn shortened(name: String) -> String {
    if name.len() <= LONGEST {
        return name;
    }
    // Cleaned names are ASCII.
    format!("{}_{}", &name[..KEPT], &hash(&[&name])[..LONGEST - KEPT - 1])
}

/// Where suffixes tell names apart, they are not what is cut off.
fn suffixed(plain: &str, suffix: &str) -> String {
    let room = LONGEST - suffix.len() - 1;
    format!("{}_{suffix}", &plain[..plain.len().min(room)])
}

fn schema(namespace: &str) -> String {
    let cleaned = shortened(clean(namespace));
    // `pg_` is the server's.
    if cleaned.starts_with("pg_") || cleaned == "information_schema" { format!("_{cleaned}") } else { cleaned }
}

/// One table per stream, in order. `default` is the schema of streams without a namespace, named as it is.
pub fn tables(default: &str, streams: &[StreamDescriptor]) -> Vec<Place> {
    let mut taken = HashSet::new();
    let mut places = Vec::with_capacity(streams.len());
    for stream in streams {
        let schema = match stream.namespace.as_deref() {
            None => default.to_owned(),
            Some(namespace) if namespace == default => default.to_owned(),
            Some(namespace) => schema(namespace),
        };
        let mut plain = clean(&stream.name);
        if plain.starts_with("_leat_") {
            plain.insert(0, '_');
        }
        let plain = shortened(plain);
        let digest = hash(&[stream.namespace.as_deref().unwrap_or_default(), "&airbyte&", &stream.name]);
        let mut place = Place::new(&schema, plain.as_str());
        let mut length = 3;
        while !taken.insert(place.clone()) {
            // Only the very same stream twice comes to the end of the digits.
            let suffix = if length <= 32 { digest[..length].to_owned() } else { format!("{length}") };
            place.name = suffixed(&plain, &suffix);
            length += 1;
        }
        places.push(place);
    }
    places
}

/// One column name per field, in order; never one of ours.
pub fn columns<'a>(fields: impl IntoIterator<Item = &'a str>) -> Vec<String> {
    let mut taken: HashSet<String> = METADATA.iter().chain([&ORDER]).map(|name| (*name).to_owned()).collect();
    // Columns that every table of the server has.
    taken.extend(["ctid", "xmin", "xmax", "cmin", "cmax", "tableoid"].map(str::to_owned));
    let mut names = Vec::new();
    for field in fields {
        let plain = shortened(clean(field));
        let mut name = plain.clone();
        let mut suffix = 1;
        while !taken.insert(name.clone()) {
            name = suffixed(&plain, &suffix.to_string());
            suffix += 1;
        }
        names.push(name);
    }
    names
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn table_names() {
        let check = |streams: &[(Option<&str>, &str)], expected: &[&str]| {
            let streams: Vec<_> = streams.iter().map(|(space, name)| StreamDescriptor::new(*space, *name)).collect();
            let places = tables("My Schema", &streams);
            assert_eq!(places.len(), expected.len());
            for (place, expected) in places.iter().zip(expected) {
                let shown = place.to_string();
                match expected.strip_suffix('?') {
                    Some(start) => assert!(shown.starts_with(start) && shown.len() == start.len() + 3, "{shown}"),
                    None => assert_eq!(shown, *expected),
                }
            }
        };
        check(&[(None, "Users")], &["My Schema.Users"]);
        check(&[(Some("My Schema"), "Users")], &["My Schema.Users"]);
        check(&[(Some("Sales.EU"), "order")], &["Sales_EU.order"]);
        check(
            &[(Some("pg_catalog"), "x"), (Some("information_schema"), "x")],
            &["_pg_catalog.x", "_information_schema.x"],
        );
        check(
            &[(None, "_leat_fence"), (None, "2024"), (None, "")],
            &["My Schema.__leat_fence", "My Schema._2024", "My Schema._"],
        );
        check(&[(None, "a-b"), (None, "a_b"), (None, "A_B")], &["My Schema.a_b", "My Schema.a_b_?", "My Schema.A_B"]);
        check(&[(Some("x"), "t"), (Some("y"), "t")], &["x.t", "y.t"]);
        let long = "x".repeat(70);
        let places = tables("s", &[StreamDescriptor::new(None, &long), StreamDescriptor::new(None, &long)]);
        assert!(places.iter().all(|place| place.name.len() == LONGEST));
        assert!(places[0].name.starts_with(&format!("{}_", &long[..KEPT])));
        assert_ne!(places[0], places[1]);
        let same = vec![StreamDescriptor::new(None, "t"); 40];
        assert_eq!(tables("s", &same).iter().collect::<HashSet<_>>().len(), 40);
    }

    #[test]
    fn column_names() {
        let check = |fields: &[&str], expected: &[&str]| assert_eq!(columns(fields.iter().copied()), expected);
        check(&["id", "ID", "Id"], &["id", "ID", "Id"]);
        check(&["a b", "a-b", "a_b", "a_b_1"], &["a_b", "a_b_1", "a_b_2", "a_b_1_1"]);
        check(&["_airbyte_meta", "_leat_order", "ctid"], &["_airbyte_meta_1", "_leat_order_1", "ctid_1"]);
        check(&["", "1st", "é"], &["_", "_1st", "__1"]);
        let long = "x".repeat(64);
        let names = columns([long.as_str(), long.as_str()]);
        assert!(names.iter().all(|name| name.len() <= LONGEST) && names[0] != names[1]);
    }
}
