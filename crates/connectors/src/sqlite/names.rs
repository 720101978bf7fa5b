//! Names of tables and columns.
//!
//! As in upstream's direct-load destinations: whatever is not a letter, a digit or `_` becomes `_`, a leading digit gets a
//! `_` before it. SQLite compares names ignoring the case of ASCII letters; so do the rules for collisions. The order of
//! the catalog decides who keeps the plain name.

use std::collections::HashSet;

use protocol::StreamDescriptor;

use crate::direct::names::clean;
pub use crate::direct::names::{Beside, METADATA, hash, list, quoted, stagings_of, tails_of};

/// One table name per stream, in order.
pub fn tables(streams: &[StreamDescriptor]) -> Vec<String> {
    let mut taken = HashSet::new();
    let mut names = Vec::with_capacity(streams.len());
    for stream in streams {
        let mut name = match &stream.namespace {
            Some(namespace) => clean(&format!("{namespace}_{}", stream.name)),
            None => clean(&stream.name),
        };
        let folded = name.to_ascii_lowercase();
        // `sqlite_` is SQLite's, `_leat_` is ours.
        if folded.starts_with("sqlite_") || folded.starts_with("_leat_") {
            name.insert(0, '_');
        }
        let digest = hash(&[stream.namespace.as_deref().unwrap_or_default(), "&airbyte&", &stream.name]);
        let plain = name.clone();
        let mut length = 3;
        while !taken.insert(name.to_ascii_lowercase()) {
            name = format!("{plain}_{}", &digest[..length.min(digest.len())]);
            length += 1;
            if length > digest.len() {
                // Only the very same stream twice gets here.
                name = format!("{plain}_{digest}_{}", names.len());
            }
        }
        names.push(name);
    }
    names
}

/// One column name per field, in order; never one of the metadata columns.
pub fn columns<'a>(fields: impl IntoIterator<Item = &'a str>) -> Vec<String> {
    let mut taken: HashSet<String> = METADATA.iter().map(|name| (*name).to_owned()).collect();
    let mut names = Vec::new();
    for field in fields {
        let plain = clean(field);
        let mut name = plain.clone();
        let mut suffix = 1;
        while !taken.insert(name.to_ascii_lowercase()) {
            name = format!("{plain}_{suffix}");
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
            let names = tables(&streams);
            assert_eq!(names.len(), expected.len());
            for (name, expected) in names.iter().zip(expected) {
                match expected.strip_suffix('?') {
                    Some(start) => assert!(name.starts_with(start) && name.len() == start.len() + 3, "{name}"),
                    None => assert_eq!(name, expected),
                }
            }
            assert_eq!(names, tables(&streams), "the same every time");
        };
        check(&[(None, "users")], &["users"]);
        check(&[(Some("public"), "users")], &["public_users"]);
        check(&[(None, "Größe in %")], &["Gr__e_in__"]);
        check(&[(None, "2024")], &["_2024"]);
        check(&[(None, "select")], &["select"]);
        check(&[(None, "a\"b; drop table x")], &["a_b__drop_table_x"]);
        check(
            &[(None, "sqlite_master"), (None, "_leat_fence"), (None, "SQLite_x")],
            &["_sqlite_master", "__leat_fence", "_SQLite_x"],
        );
        check(&[(None, "a-b"), (None, "a_b"), (None, "A_B")], &["a-b".replace('-', "_").as_str(), "a_b_?", "A_B_?"]);
        check(&[(Some("a"), "b_c"), (Some("a_b"), "c")], &["a_b_c", "a_b_c_?"]);
        let long = "x".repeat(300);
        check(&[(None, &long)], &[&long]);
        let twice =
            [StreamDescriptor::new(None, "t"), StreamDescriptor::new(None, "t"), StreamDescriptor::new(None, "t")];
        assert_eq!(tables(&twice).iter().collect::<HashSet<_>>().len(), 3);
    }

    #[test]
    fn column_names() {
        let check = |fields: &[&str], expected: &[&str]| assert_eq!(columns(fields.iter().copied()), expected);
        check(&["id", "ID", "Id"], &["id", "ID_1", "Id_2"]);
        check(&["a b", "a-b", "a_b", "a_b_1"], &["a_b", "a_b_1", "a_b_2", "a_b_1_1"]);
        check(&["_airbyte_meta", "_AIRBYTE_RAW_ID"], &["_airbyte_meta_1", "_AIRBYTE_RAW_ID_1"]);
        check(&["", "1st", "é"], &["_", "_1st", "__1"]);
        check(&["rowid", "order"], &["rowid", "order"]);
    }

    #[test]
    fn quotes_are_doubled() {
        assert_eq!(quoted("a\"b"), "\"a\"\"b\"");
    }
}
