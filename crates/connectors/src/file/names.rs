//! Names of folders and columns.
//!
//! A stream's folder is `name`, or `namespace_name`. What is not a letter, a digit, `_`, `-` or `.` becomes `_`; a name that
//! readers would pass over (it begins with `.` or `_`) gets a `t` before it. Columns keep their names, which all three
//! formats can spell; only the metadata columns are reserved.

use std::collections::HashSet;

use protocol::StreamDescriptor;

use crate::direct::names::{METADATA, hash};

/// A file system's limit is 255 bytes.
const MOST_NAME: usize = 150;

/// Files that a sync wrote begin with this; others in the folder are left alone.
pub const OURS: &str = "leat-";

/// One folder per stream, in order; file systems may ignore case, so names do too.
pub fn folders(streams: &[StreamDescriptor]) -> Vec<String> {
    let mut taken = HashSet::new();
    let mut names = Vec::with_capacity(streams.len());
    for stream in streams {
        let plain = match &stream.namespace {
            Some(namespace) => clean(&format!("{namespace}_{}", stream.name)),
            None => clean(&stream.name),
        };
        let digest = hash(&[stream.namespace.as_deref().unwrap_or_default(), &stream.name]);
        let mut name = plain.clone();
        let mut length = 3;
        while !taken.insert(name.to_lowercase()) {
            name = match digest.get(..length) {
                Some(part) => format!("{plain}_{part}"),
                // Only the very same stream twice gets here.
                None => format!("{plain}_{digest}_{}", names.len()),
            };
            length += 1;
        }
        names.push(name);
    }
    names
}

fn clean(name: &str) -> String {
    let keeps = |letter: char| letter.is_alphanumeric() || matches!(letter, '_' | '-' | '.');
    let mut cleaned: String = name.chars().map(|letter| if keeps(letter) { letter } else { '_' }).collect();
    if cleaned.is_empty() || cleaned.starts_with(['.', '_']) {
        cleaned.insert(0, 't');
    }
    if cleaned.len() > MOST_NAME {
        let end = (0..=MOST_NAME).rev().find(|end| cleaned.is_char_boundary(*end)).unwrap_or_default();
        cleaned.truncate(end);
        cleaned.push_str(&format!("_{}", &hash(&[name])[..12]));
    }
    cleaned
}

/// One column name per field, in order; never one of the metadata columns.
pub fn columns<'a>(fields: impl IntoIterator<Item = &'a str>) -> Vec<String> {
    let mut taken: HashSet<String> = METADATA.iter().map(|name| (*name).to_owned()).collect();
    let mut names = Vec::new();
    for field in fields {
        let mut name = field.to_owned();
        let mut suffix = 1;
        while !taken.insert(name.clone()) {
            name = format!("{field}_{suffix}");
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
    fn folder_names() {
        let check = |streams: &[(Option<&str>, &str)], expected: &[&str]| {
            let streams: Vec<_> = streams.iter().map(|(space, name)| StreamDescriptor::new(*space, *name)).collect();
            let names = folders(&streams);
            assert_eq!(names.len(), expected.len());
            for (name, expected) in names.iter().zip(expected) {
                match expected.strip_suffix('?') {
                    Some(start) => assert!(name.starts_with(start) && name.len() == start.len() + 3, "{name}"),
                    None => assert_eq!(name, expected),
                }
            }
        };
        check(&[(None, "users"), (Some("public"), "users")], &["users", "public_users"]);
        check(&[(None, "../etc/x y")], &["t.._etc_x_y"]);
        check(&[(None, "_leat"), (None, ""), (None, "Größe")], &["t_leat", "t", "Größe"]);
        check(&[(None, "a b"), (None, "A_B"), (Some("a"), "b")], &["a_b", "A_B_?", "a_b_?"]);
        let same = vec![StreamDescriptor::new(None, "t"); 3];
        assert_eq!(folders(&same).iter().collect::<HashSet<_>>().len(), 3);
        assert!(folders(&[StreamDescriptor::new(None, "ö".repeat(300))])[0].len() < 200);
    }

    #[test]
    fn column_names() {
        assert_eq!(columns(["id", "ID", "_airbyte_meta"]), ["id", "ID", "_airbyte_meta_1"]);
    }
}
