//! Values and keys against columns, and serde_json as the oracle for everything else.
#![allow(clippy::unwrap_used)]

use arrow_array::{
    Array, BooleanArray, Date32Array, Int64Array, StringArray, Time64MicrosecondArray, TimestampMicrosecondArray,
};
use proptest::prelude::*;
use serde_json::{Value as Tree, json};

use super::*;

const UNFIT: Option<(&str, &str)> = Some(("NULLED", "DESTINATION_SERIALIZATION_ERROR"));
const TOO_LARGE: Option<(&str, &str)> = Some(("NULLED", "DESTINATION_FIELD_SIZE_LIMITATION"));
const CUT: Option<(&str, &str)> = Some(("TRUNCATED", "DESTINATION_FIELD_SIZE_LIMITATION"));
type Expected<'a> = (Option<&'a str>, Option<(&'static str, &'static str)>);

/// The only value of a batch, as text.
fn shown(array: &dyn Array) -> Option<String> {
    if array.is_null(0) {
        return None;
    }
    let any = array.as_any();
    any.downcast_ref::<StringArray>()
        .map(|array| array.value(0).to_owned())
        .or_else(|| any.downcast_ref::<Int64Array>().map(|array| array.value(0).to_string()))
        .or_else(|| any.downcast_ref::<BooleanArray>().map(|array| array.value(0).to_string()))
        .or_else(|| any.downcast_ref::<Date32Array>().map(|array| array.value(0).to_string()))
        .or_else(|| any.downcast_ref::<TimestampMicrosecondArray>().map(|array| array.value(0).to_string()))
        .or_else(|| any.downcast_ref::<Time64MicrosecondArray>().map(|array| array.value(0).to_string()))
}

fn check(column: ColumnType, value: &[u8], (expected, change): Expected<'_>) {
    let name = String::from_utf8_lossy(value).into_owned();
    let mut decoder = Decoder::new(&[("a".to_owned(), column)]);
    decoder.push(&[b"{\"a\":", value, b"}"].concat()).unwrap();
    let (rows, changes) = decoder.take().unwrap();
    assert_eq!(rows.num_rows(), 1);
    assert_eq!(shown(rows.column(0)).as_deref(), expected, "{column:?} {name}");
    let seen = changes.first().map(|change| (change.change, change.reason));
    assert_eq!(seen, change, "{column:?} {name}");
}

#[test]
fn values_meet_columns() {
    use ColumnType as T;
    let cases: &[(T, &str, Expected<'_>)] = &[
        (T::String, r#""x""#, (Some("x"), None)),
        (T::String, r#""\u00e9\n\ud83d\ude00\/""#, (Some("é\n😀/"), None)),
        (T::String, r#""a\u0000b""#, (Some("a\0b"), None)),
        (T::String, r#""\ud800""#, (None, UNFIT)),
        (T::String, "12.50", (Some("12.50"), None)),
        (T::String, "true", (Some("true"), None)),
        (T::String, r#"{"b": [1, 2]}"#, (Some(r#"{"b": [1, 2]}"#), None)),
        (T::String, "null", (None, None)),
        (T::Boolean, "true", (Some("true"), None)),
        (T::Boolean, "\"true\"", (None, UNFIT)),
        (T::Boolean, "1", (None, UNFIT)),
        (T::Integer, "12", (Some("12"), None)),
        (T::Integer, "12.0", (Some("12"), None)),
        (T::Integer, "12.5", (None, UNFIT)),
        (T::Integer, "\"12\"", (Some("12"), None)),
        (T::Integer, "\"1\\u0032\"", (Some("12"), None)),
        (T::Integer, "\"\"", (None, UNFIT)),
        (T::Integer, "\" 12\"", (None, UNFIT)),
        (T::Integer, "true", (None, UNFIT)),
        (T::Integer, "9223372036854775808", (None, TOO_LARGE)),
        (T::Integer, "1e400", (None, TOO_LARGE)),
        (T::Integer, "[1]", (None, UNFIT)),
        (T::Number, "0.1", (Some("0.1"), None)),
        (T::Number, "1.10", (Some("1.10"), None)),
        (
            T::Number,
            "123456789012345678901234567890.123456789",
            (Some("123456789012345678901234567890.123456789"), None),
        ),
        (T::Number, "1e400", (Some("1e400"), None)),
        (T::Number, "1e999999", (None, TOO_LARGE)),
        (T::Number, "\"+05.50\"", (Some("5.50"), None)),
        (T::Number, "\"NaN\"", (None, UNFIT)),
        (T::Number, "{}", (None, UNFIT)),
        (T::Date, "\"2024-02-09\"", (Some("19762"), None)),
        (T::Date, "\"not a date\"", (None, UNFIT)),
        (T::Date, "20240209", (None, UNFIT)),
        (T::TimestampTz, "\"2024-01-01T00:00:00\"", (Some("1704067200000000"), None)),
        (T::TimestampTz, "\"2024-01-01T00:00:00.000000001Z\"", (Some("1704067200000000"), CUT)),
        (T::TimestampTz, "\"999999-01-01T00:00:00Z\"", (None, TOO_LARGE)),
        (T::TimestampTz, "1704067200", (None, UNFIT)),
        (T::Timestamp, "\"2024-01-01T02:00:00+02:00\"", (Some("1704074400000000"), None)),
        (T::Time, "\"12:00:00\"", (Some("43200000000"), None)),
        (T::Time, "\"24:00:00\"", (None, TOO_LARGE)),
        (T::TimeTz, "\"12:00:00\"", (Some("12:00:00Z"), None)),
        (T::Array, "[1, {\"a\":null}]", (Some("[1, {\"a\":null}]"), None)),
        (T::Array, "{}", (None, UNFIT)),
        (T::Array, "\"[]\"", (None, UNFIT)),
        (T::Object, "{\"b\":1e5}", (Some("{\"b\":1e5}"), None)),
        (T::Object, "{\"b\":\"\\ud800\"}", (None, UNFIT)),
        (T::Object, "\"{}\"", (None, UNFIT)),
        (T::Union, "\"x\"", (Some("\"x\""), None)),
        (T::Union, "1.0", (Some("1.0"), None)),
        (T::Union, "null", (None, None)),
    ];
    for (column, value, expected) in cases {
        check(*column, value.as_bytes(), *expected);
    }
    check(T::String, b"\"a\xffb\"", (None, UNFIT));
    check(T::Object, b"{\"a\":\"\xc3\"}", (None, UNFIT));
    let deep = format!("{}{}", "[".repeat(5000), "]".repeat(5000));
    check(T::Array, deep.as_bytes(), (None, TOO_LARGE));
    check(T::String, deep.as_bytes(), (None, TOO_LARGE));
}

#[test]
fn keys_meet_columns() {
    let columns = [("a".to_owned(), ColumnType::Integer), ("é\"".to_owned(), ColumnType::Integer)];
    let mut decoder = Decoder::new(&columns);
    let rows: &[&str] = &[
        r#"{"a":1,"é\"":2}"#,
        r#"{"\u00e9\u0022":4,"\u0061":3}"#,
        r#"{"other":{"a":9},"a":5,"a":6}"#,
        "{}",
        r#"{"a":"wrong","a":7,"\ud800":1}"#,
        r#"{"a":8,"a":"wrong"}"#,
        r#"{"a":null,"A":1}"#,
    ];
    for row in rows {
        decoder.push(row.as_bytes()).unwrap();
    }
    assert!(decoder.push(b"{\"a\":1").is_err(), "nothing of a malformed row stays");
    assert!(decoder.bytes() > 0);
    decoder.note("a", "NULLED", "SOURCE_RETRIEVAL_ERROR");
    decoder.note("hidden", "NULLED", "SOURCE_RETRIEVAL_ERROR");
    let (batch, changes) = decoder.take().unwrap();
    let column = |at: usize| batch.column(at).as_any().downcast_ref::<Int64Array>().unwrap().iter().collect::<Vec<_>>();
    assert_eq!(column(0), [Some(1), Some(3), Some(6), None, Some(7), None, None]);
    assert_eq!(column(1), [Some(2), Some(4), None, None, None, None, None]);
    let changes: Vec<_> = changes.iter().map(|change| (change.row, &*change.field, change.reason)).collect();
    assert_eq!(changes, [(5, "a", "DESTINATION_SERIALIZATION_ERROR"), (6, "a", "SOURCE_RETRIEVAL_ERROR")]);
    assert_eq!((decoder.rows(), decoder.bytes()), (0, 0));
}

#[test]
fn a_stream_without_columns_still_has_rows() {
    let mut decoder = Decoder::new(&[]);
    decoder.push(b"{\"a\":1}").unwrap();
    decoder.push(b"{}").unwrap();
    assert_eq!(decoder.take().unwrap().0.num_rows(), 2);
}

#[test]
fn a_value_of_25_megabytes_is_kept() {
    let mut decoder = Decoder::new(&[("a".to_owned(), ColumnType::String)]);
    let body = "é".repeat(12_500_000);
    decoder.push(format!("{{\"a\":\"{body}\"}}").as_bytes()).unwrap();
    let (rows, changes) = decoder.take().unwrap();
    assert_eq!(rows.column(0).as_any().downcast_ref::<StringArray>().unwrap().value(0), body);
    assert!(changes.is_empty());
}

const EVERY: [ColumnType; 12] = [
    ColumnType::String,
    ColumnType::Boolean,
    ColumnType::Integer,
    ColumnType::Number,
    ColumnType::Date,
    ColumnType::TimestampTz,
    ColumnType::Timestamp,
    ColumnType::TimeTz,
    ColumnType::Time,
    ColumnType::Array,
    ColumnType::Object,
    ColumnType::Union,
];

fn every_column() -> Decoder {
    let columns: Vec<_> = EVERY.iter().map(|column| (format!("{column:?}"), *column)).collect();
    Decoder::new(&columns)
}

fn tree() -> impl Strategy<Value = Tree> {
    let leaf = prop_oneof![
        Just(Tree::Null),
        any::<bool>().prop_map(Tree::from),
        any::<i64>().prop_map(Tree::from),
        any::<f64>().prop_map(Tree::from),
        any::<String>().prop_map(Tree::from),
        "[0-9+.eE:TZ -]{0,30}".prop_map(Tree::from),
    ];
    leaf.prop_recursive(4, 24, 5, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..5).prop_map(Tree::from),
            prop::collection::btree_map(any::<String>(), inner, 0..5)
                .prop_map(|map| Tree::Object(map.into_iter().collect())),
        ]
    })
}

proptest! {
    /// serde_json is the oracle for what is text and what is JSON.
    #[test]
    fn values_are_what_serde_json_reads(value in tree(), pretty: bool) {
        let row = json!({"String": value, "Union": value, "Array": value, "Object": value, "Boolean": value, "Integer": value, "Number": value});
        let text = if pretty { serde_json::to_string_pretty(&row).unwrap() } else { row.to_string() };
        let mut decoder = every_column();
        decoder.push(text.as_bytes()).unwrap();
        let (rows, _) = decoder.take().unwrap();
        let column = |name: &str| shown(rows.column_by_name(name).unwrap());
        let parsed = |name: &str| column(name).map(|text| serde_json::from_str::<Tree>(&text).unwrap());
        if value.is_number() {
            prop_assert_eq!(column("Number"), Some(value.to_string()));
        }
        // The trees are compared after one reading, because reading a double may cost its last digit.
        let value: Tree = serde_json::from_str(&value.to_string()).unwrap();
        prop_assert_eq!(parsed("Union"), Some(value.clone()).filter(|value| !value.is_null()));
        prop_assert_eq!(parsed("Array"), Some(value.clone()).filter(Tree::is_array));
        prop_assert_eq!(parsed("Object"), Some(value.clone()).filter(Tree::is_object));
        prop_assert_eq!(column("Boolean"), value.as_bool().map(|value| value.to_string()));
        match &value {
            Tree::String(text) => prop_assert_eq!(column("String"), Some(text.clone())),
            Tree::Null => prop_assert_eq!(column("String"), None),
            other => prop_assert_eq!(parsed("String"), Some(other.clone())),
        }
        if let Some(whole) = value.as_i64() {
            prop_assert_eq!(column("Integer"), Some(whole.to_string()));
        }
    }

    /// Any bytes: the same verdict as serde_json where they are UTF-8, and never a panic.
    #[test]
    fn bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let mut decoder = every_column();
        let _ = decoder.push(&bytes);
        decoder.take().unwrap();
    }

    #[test]
    fn verdicts_agree(text in "[{}\\[\\]\":,\\\\ua1e0.tr-]{0,24}") {
        let verdict = every_column().push(text.as_bytes()).is_ok();
        let oracle = serde_json::from_str::<&serde_json::value::RawValue>(&text).is_ok_and(|raw| raw.get().starts_with('{'));
        prop_assert_eq!(verdict, oracle);
    }

    /// Whatever text stands in a value, the row stays and the batch is whole.
    #[test]
    fn texts_never_cost_a_row(texts in prop::collection::vec("\\PC*|[0-9]{1,9}[-/. ][0-9A-Za-z]{1,3}[-/. ][0-9]{1,2}[T ]?[0-9:.]{0,20}[Z+-]?[0-9:]{0,8}( BC)?", 12)) {
        let row: serde_json::Map<String, Tree> = EVERY.iter().zip(&texts).map(|(column, text)| (format!("{column:?}"), Tree::from(text.as_str()))).collect();
        let mut decoder = every_column();
        decoder.push(Tree::Object(row).to_string().as_bytes()).unwrap();
        let (rows, changes) = decoder.take().unwrap();
        prop_assert_eq!(rows.num_rows(), 1);
        for (at, array) in rows.columns().iter().enumerate() {
            let field = format!("{:?}", EVERY[at]);
            // Every text is something, so a NULL has its entry.
            prop_assert!(array.is_valid(0) || changes.iter().any(|change| *change.field == *field));
        }
    }
}
