//! Any bytes as a row of a stream with a column of each type: the decoder gives the verdict that serde_json gives, and a
//! batch that holds together.
#![no_main]

use std::str;

use connector::decode::Decoder;
use libfuzzer_sys::fuzz_target;
use protocol::ColumnType;
use serde_json::value::RawValue;

const COLUMNS: [(&str, ColumnType); 12] = [
    ("s", ColumnType::String),
    ("b", ColumnType::Boolean),
    ("i", ColumnType::Integer),
    ("n", ColumnType::Number),
    ("d", ColumnType::Date),
    ("z", ColumnType::TimestampTz),
    ("t", ColumnType::Timestamp),
    ("y", ColumnType::TimeTz),
    ("c", ColumnType::Time),
    ("a", ColumnType::Array),
    ("o", ColumnType::Object),
    ("u", ColumnType::Union),
];

fuzz_target!(|data: &[u8]| {
    let columns: Vec<_> = COLUMNS.iter().map(|(name, column)| ((*name).to_owned(), *column)).collect();
    let mut decoder = Decoder::new(&columns);
    let verdict = decoder.push(data).is_ok();
    // The same bytes again: what was learnt from the first row must not change the second.
    assert_eq!(decoder.push(data).is_ok(), verdict);
    if let Ok(text) = str::from_utf8(data) {
        let oracle = serde_json::from_str::<&RawValue>(text).is_ok_and(|raw| raw.get().starts_with('{'));
        assert_eq!(verdict, oracle);
    }
    let (rows, changes) = decoder.take().expect("the columns fit the schema");
    assert_eq!(rows.num_rows(), if verdict { 2 } else { 0 });
    assert_eq!(changes.iter().filter(|change| change.row == 0).count() * 2, changes.len());
});
