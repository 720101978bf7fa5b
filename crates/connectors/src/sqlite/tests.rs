//! The matrix of types: Arrow value × column type → what SQLite stores, and which changes are noted.
#![allow(clippy::unwrap_used)]

use std::sync::Arc;

use arrow_array::{
    ArrayRef, BooleanArray, Date32Array, Decimal128Array, Float32Array, Float64Array, Int8Array, Int64Array,
    LargeStringArray, NullArray, StringArray, StringViewArray, Time32SecondArray, Time64NanosecondArray,
    TimestampMicrosecondArray, TimestampMillisecondArray, TimestampNanosecondArray, TimestampSecondArray, UInt64Array,
    types::Int64Type,
};
use proptest::prelude::*;
use protocol::ColumnType;
use rusqlite::{Connection, types::ValueRef};

use super::types::{Cell, Flaw, Reader, convert, declared, fits};

/// What is stored, as text; `!` and the change's letters where there is one.
fn stored(array: &ArrayRef, column: ColumnType) -> String {
    let reader = Reader::of("field", array.as_ref()).unwrap();
    let (mut scratch, mut out) = (String::new(), String::new());
    let (cell, flaw) = convert(reader.value(0, &mut scratch), column, &mut out);
    let cell = match cell {
        Cell::Null => "NULL".to_owned(),
        Cell::Integer(number) => number.to_string(),
        Cell::Real(number) => format!("{number:?}"),
        Cell::Text(text) => format!("'{text}'"),
    };
    let flaw = match flaw {
        None => "",
        Some(Flaw { change: "NULLED", reason: "DESTINATION_SERIALIZATION_ERROR" }) => " !bad",
        Some(Flaw { change: "NULLED", reason: "DESTINATION_FIELD_SIZE_LIMITATION" }) => " !big",
        Some(Flaw { change: "TRUNCATED", reason: "DESTINATION_FIELD_SIZE_LIMITATION" }) => " !cut",
        Some(other) => panic!("{other:?}"),
    };
    format!("{cell}{flaw}")
}

fn check(array: impl arrow_array::Array + 'static, cases: &[(ColumnType, &str)]) {
    let array: ArrayRef = Arc::new(array);
    for (column, expected) in cases {
        assert_eq!(stored(&array, *column), *expected, "{array:?} as {column:?}");
    }
}

use ColumnType::{
    Array as Arr, Boolean, Date, Integer, Number, Object, String as Text, Time, TimeTz, Timestamp, TimestampTz, Union,
};

#[test]
fn integers() {
    let cases = [
        (Text, "'7'"),
        (Boolean, "NULL !bad"),
        (Integer, "7"),
        (Number, "7"),
        (Date, "NULL !bad"),
        (TimestampTz, "NULL !bad"),
        (Time, "NULL !bad"),
        (Arr, "NULL !bad"),
        (Object, "NULL !bad"),
        (Union, "'7'"),
    ];
    check(Int8Array::from(vec![7]), &cases);
    check(Int64Array::from(vec![7]), &cases);
    check(UInt64Array::from(vec![7]), &cases);
    check(Int64Array::from(vec![i64::MIN]), &[(Integer, "-9223372036854775808"), (Number, "-9223372036854775808")]);
    let big = [(Integer, "NULL !big"), (Number, "1.8446744073709552e19 !cut"), (Text, "'18446744073709551615'")];
    check(UInt64Array::from(vec![u64::MAX]), &big);
    check(UInt64Array::from(vec![1 << 63]), &[(Integer, "NULL !big"), (Number, "9.223372036854776e18")]);
}

#[test]
fn floats() {
    check(
        Float64Array::from(vec![1.5]),
        &[(Text, "'1.5'"), (Integer, "NULL !bad"), (Number, "1.5"), (Union, "'1.5'"), (Boolean, "NULL !bad")],
    );
    check(Float64Array::from(vec![12.0]), &[(Integer, "12"), (Number, "12.0")]);
    check(Float32Array::from(vec![0.5]), &[(Number, "0.5")]);
    check(Float64Array::from(vec![9.3e18]), &[(Integer, "NULL !big"), (Number, "9.3e18")]);
    check(Float64Array::from(vec![-9_223_372_036_854_775_808.0]), &[(Integer, "-9223372036854775808")]);
    for odd in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
        check(Float64Array::from(vec![odd]), &[(Integer, "NULL !bad"), (Number, "NULL !bad"), (Union, "NULL !bad")]);
    }
}

#[test]
fn decimals() {
    let decimal = |number: i128, precision: u8, scale: i8| {
        Decimal128Array::from(vec![number]).with_precision_and_scale(precision, scale).unwrap()
    };
    check(decimal(12_50, 10, 2), &[(Number, "12.5"), (Integer, "NULL !bad"), (Text, "'12.50'")]);
    check(decimal(12_00, 10, 2), &[(Number, "12.0"), (Integer, "12")]);
    check(decimal(i128::from(i64::MAX), 38, 0), &[(Integer, "9223372036854775807"), (Number, "9223372036854775807")]);
    let long = 12_345_678_901_234_567_890_123_456_789_i128;
    check(decimal(long, 38, 0), &[(Integer, "NULL !big"), (Number, "1.2345678901234568e28 !cut")]);
    check(decimal(long, 38, 10), &[(Number, "1.2345678901234568e18 !cut")]);
    check(decimal(-1, 38, 9), &[(Number, "-1e-9"), (Text, "'-0.000000001'")]);
}

#[test]
fn texts() {
    let cases: &[(&str, &[(ColumnType, &str)])] = &[
        ("", &[(Text, "''"), (Integer, "NULL !bad"), (Number, "NULL !bad"), (Date, "NULL !bad"), (Time, "NULL !bad")]),
        ("a\u{0}b😀", &[(Text, "'a\u{0}b😀'")]),
        ("true", &[(Boolean, "NULL !bad"), (Text, "'true'"), (Union, "'true'")]),
        ("1", &[(Boolean, "NULL !bad"), (Integer, "1"), (Number, "1")]),
        (" 42 ", &[(Integer, "42"), (Number, "42")]),
        ("12.0", &[(Integer, "12"), (Number, "12.0")]),
        ("12.5", &[(Integer, "NULL !bad"), (Number, "12.5")]),
        ("1e3", &[(Integer, "1000"), (Number, "1000.0")]),
        ("1.5e1", &[(Integer, "15"), (Number, "15.0")]),
        ("-0", &[(Integer, "0"), (Number, "0")]),
        ("9223372036854775808", &[(Integer, "NULL !big"), (Number, "9.223372036854776e18 !cut")]),
        ("0.1", &[(Number, "0.1")]),
        ("0.10000000000000000000001", &[(Number, "0.1 !cut")]),
        ("1e400", &[(Integer, "NULL !big"), (Number, "NULL !big")]),
        ("1e-400", &[(Number, "0.0 !cut")]),
        ("1e99999999999999999999", &[(Integer, "NULL !big"), (Number, "NULL !big")]),
        ("NaN", &[(Number, "NULL !bad"), (Integer, "NULL !bad"), (Text, "'NaN'")]),
        ("Infinity", &[(Number, "NULL !bad")]),
        ("0x10", &[(Integer, "NULL !bad"), (Number, "NULL !bad")]),
        ("1,5", &[(Number, "NULL !bad")]),
        ("{\"a\":1}", &[(Object, "'{\"a\":1}'"), (Union, "'{\"a\":1}'"), (Text, "'{\"a\":1}'")]),
        ("[1]", &[(Arr, "'[1]'")]),
    ];
    for (text, expected) in cases {
        check(StringArray::from(vec![*text]), expected);
        check(LargeStringArray::from(vec![*text]), expected);
        check(StringViewArray::from(vec![*text]), expected);
    }
}

#[test]
fn booleans_and_nulls() {
    check(
        BooleanArray::from(vec![true]),
        &[(Boolean, "1"), (Text, "'true'"), (Integer, "NULL !bad"), (Number, "NULL !bad"), (Union, "'true'")],
    );
    check(BooleanArray::from(vec![false]), &[(Boolean, "0"), (Object, "NULL !bad")]);
    for column in [Text, Boolean, Integer, Number, Date, TimestampTz, Timestamp, TimeTz, Time, Arr, Object, Union] {
        check(NullArray::new(1), &[(column, "NULL")]);
        check(StringArray::from(vec![None::<&str>]), &[(column, "NULL")]);
        check(Int64Array::from(vec![None]), &[(column, "NULL")]);
    }
}

#[test]
fn dates() {
    let cases = [
        (Date, "'2026-11-25'"),
        (Text, "'2026-11-25'"),
        (Timestamp, "'2026-11-25T00:00:00.000000'"),
        (TimestampTz, "'2026-11-25T00:00:00.000000Z'"),
        (Union, "'\"2026-11-25\"'"),
        (Time, "NULL !bad"),
        (Integer, "NULL !bad"),
    ];
    check(Date32Array::from(vec![20_782]), &cases);
    check(Date32Array::from(vec![i32::MAX]), &[(Date, "NULL !big"), (Timestamp, "NULL !big"), (Union, "NULL !big")]);
    check(Date32Array::from(vec![-719_529]), &[(Date, "NULL !big")]);
    for (text, expected) in [
        ("2026-11-25", "'2026-11-25'"),
        ("2026/11/25", "'2026-11-25'"),
        ("2026.1.5", "'2026-01-05'"),
        ("2026 11 25", "'2026-11-25'"),
        ("0044-03-15 BC", "NULL !big"),
        ("12026-11-25", "NULL !big"),
        ("2026-02-30", "NULL !bad"),
        ("2026-11/25", "NULL !bad"),
        ("2026-11-25T00:00:00", "NULL !bad"),
        ("25.11.2026", "NULL !bad"),
        ("ü026-11-25", "NULL !bad"),
    ] {
        check(StringArray::from(vec![text]), &[(Date, expected)]);
    }
}

#[test]
fn timestamps() {
    let both = [(TimestampTz, "'2026-11-25T02:43:20.123456Z'"), (Timestamp, "'2026-11-25T02:43:20.123456'")];
    let micros = chrono::DateTime::parse_from_rfc3339("2026-11-25T02:43:20.123456Z").unwrap().timestamp_micros();
    check(TimestampMicrosecondArray::from(vec![micros]).with_timezone("UTC"), &both);
    check(TimestampMicrosecondArray::from(vec![micros]), &both);
    check(TimestampNanosecondArray::from(vec![micros * 1000]), &both);
    check(TimestampNanosecondArray::from(vec![micros * 1000 + 1]), &[(Timestamp, "'2026-11-25T02:43:20.123456' !cut")]);
    check(TimestampMillisecondArray::from(vec![micros / 1000]), &[(TimestampTz, "'2026-11-25T02:43:20.123000Z'")]);
    check(TimestampSecondArray::from(vec![-1]), &[(TimestampTz, "'1969-12-31T23:59:59.000000Z'"), (Date, "NULL !bad")]);
    check(TimestampSecondArray::from(vec![i64::MAX]), &[(TimestampTz, "NULL !big"), (Text, "NULL !big")]);
    check(TimestampSecondArray::from(vec![i64::MIN]), &[(TimestampTz, "NULL !big")]);
    for (text, zoned, local) in [
        ("2026-11-25T03:23:19Z", "'2026-11-25T03:23:19.000000Z'", "'2026-11-25T03:23:19.000000'"),
        ("2026-11-25T03:23:19+02:00", "'2026-11-25T01:23:19.000000Z'", "'2026-11-25T03:23:19.000000'"),
        ("2026-11-25 03:23:19.5-0330", "'2026-11-25T06:53:19.500000Z'", "'2026-11-25T03:23:19.500000'"),
        ("2026-11-25T03:23:19 +01", "'2026-11-25T02:23:19.000000Z'", "'2026-11-25T03:23:19.000000'"),
        ("2026-11-25T03:23", "'2026-11-25T03:23:00.000000Z'", "'2026-11-25T03:23:00.000000'"),
        ("2026-11-25", "'2026-11-25T00:00:00.000000Z'", "'2026-11-25T00:00:00.000000'"),
        ("2026-11-25T03:23:19.123456789Z", "'2026-11-25T03:23:19.123456Z' !cut", "'2026-11-25T03:23:19.123456' !cut"),
        ("9999-12-31T23:59:59-01:00", "NULL !big", "'9999-12-31T23:59:59.000000'"),
        ("0044-03-15T00:00:00 BC", "NULL !big", "NULL !big"),
        ("20260-11-25T03:23:19Z", "NULL !big", "NULL !big"),
        ("2026-11-25T24:00:00Z", "NULL !bad", "NULL !bad"),
        ("2026-11-25T03:23:19X", "NULL !bad", "NULL !bad"),
        ("2026-11-25T03:23:19+99:00", "NULL !bad", "NULL !bad"),
        ("infinity", "NULL !bad", "NULL !bad"),
        ("yesterday", "NULL !bad", "NULL !bad"),
        ("1795577000", "NULL !bad", "NULL !bad"),
    ] {
        check(StringArray::from(vec![text]), &[(TimestampTz, zoned), (Timestamp, local)]);
    }
}

#[test]
fn times() {
    let cases = [
        (Time, "'03:23:19.000000'"),
        (TimeTz, "'03:23:19.000000+00:00'"),
        (Text, "'03:23:19.000000'"),
        (Date, "NULL !bad"),
    ];
    check(Time32SecondArray::from(vec![12_199]), &cases);
    check(Time64NanosecondArray::from(vec![12_199_000_000_000]), &cases);
    check(Time64NanosecondArray::from(vec![12_199_000_000_001]), &[(Time, "'03:23:19.000000' !cut")]);
    check(Time64NanosecondArray::from(vec![-1]), &[(Time, "NULL !bad")]);
    check(Time32SecondArray::from(vec![86_400]), &[(Time, "NULL !bad")]);
    for (text, zoned, local) in [
        ("03:23:19", "'03:23:19.000000+00:00'", "'03:23:19.000000'"),
        ("3:23", "'03:23:00.000000+00:00'", "'03:23:00.000000'"),
        ("03:23:19.25+01:00", "'03:23:19.250000+01:00'", "'03:23:19.250000'"),
        ("03:23:19-03:30", "'03:23:19.000000-03:30'", "'03:23:19.000000'"),
        ("03:23:19Z", "'03:23:19.000000+00:00'", "'03:23:19.000000'"),
        ("25:00:00", "NULL !bad", "NULL !bad"),
        ("03:23:19.", "NULL !bad", "NULL !bad"),
        ("noon", "NULL !bad", "NULL !bad"),
    ] {
        check(StringArray::from(vec![text]), &[(TimeTz, zoned), (Time, local)]);
    }
}

#[test]
fn unknown_arrow_types_are_named() {
    let list = arrow_array::ListArray::from_iter_primitive::<Int64Type, _, _>([Some([Some(1)])]);
    let error = Reader::of("tags", &list).err().unwrap();
    assert!(error.message.contains("`tags`"), "{error}");
}

#[test]
fn existing_columns() {
    let check = |existing: &str, expected: &[ColumnType]| {
        for column in [Text, Boolean, Integer, Number, Date, TimestampTz, Timestamp, TimeTz, Time, Arr, Object, Union] {
            assert_eq!(fits(existing, column), expected.contains(&column), "{existing} for {column:?}");
        }
    };
    let texts = [Text, Date, TimestampTz, Timestamp, TimeTz, Time, Arr, Object, Union];
    check("TEXT", &texts);
    check("varchar(20)", &texts);
    check("BIGINT", &[Integer, Number]);
    check("DOUBLE PRECISION", &[Number]);
    check("DECIMAL(38,9)", &[Number]);
    check("BOOLEAN", &[Boolean]);
    check("DATETIME", &[Date, TimestampTz, Timestamp, TimeTz, Time]);
    check("", &[&texts[..], &[Boolean, Integer, Number]].concat());
    check("NUMERIC", &[Number]);
    for column in [Text, Boolean, Integer, Number, Date, Object] {
        assert!(fits(declared(column), column), "{column:?} fits what it is declared as");
    }
}

/// What a value becomes in a real table and comes back as.
fn through(column: ColumnType, cell: Cell<'_>) -> (String, Option<f64>) {
    let connection = Connection::open_in_memory().unwrap();
    connection.execute_batch(&format!("CREATE TABLE t (x {})", declared(column))).unwrap();
    connection.execute("INSERT INTO t VALUES (?1)", [cell]).unwrap();
    connection
        .query_row("SELECT x FROM t", [], |row| {
            Ok(match row.get_ref(0)? {
                ValueRef::Integer(number) => (number.to_string(), Some(number as f64)),
                ValueRef::Real(number) => (format!("{number:?}"), Some(number)),
                ValueRef::Text(text) => (String::from_utf8_lossy(text).into_owned(), None),
                other => (format!("{other:?}"), None),
            })
        })
        .unwrap()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn integers_come_back(number: i64) {
        let array: ArrayRef = Arc::new(Int64Array::from(vec![number]));
        let reader = Reader::of("x", array.as_ref()).unwrap();
        let (mut scratch, mut out) = (String::new(), String::new());
        for column in [Integer, Number, Text] {
            let (cell, flaw) = convert(reader.value(0, &mut scratch), column, &mut out);
            prop_assert_eq!(flaw, None);
            prop_assert_eq!(through(column, cell).0, number.to_string());
        }
    }

    #[test]
    fn doubles_come_back(number in proptest::num::f64::NORMAL | proptest::num::f64::ZERO | proptest::num::f64::SUBNORMAL) {
        let (mut scratch, mut out) = (String::new(), String::new());
        let text = number.to_string();
        for array in [Arc::new(Float64Array::from(vec![number])) as ArrayRef, Arc::new(StringArray::from(vec![text]))] {
            let reader = Reader::of("x", array.as_ref()).unwrap();
            let (cell, flaw) = convert(reader.value(0, &mut scratch), Number, &mut out);
            prop_assert_eq!(flaw, None);
            prop_assert_eq!(through(Number, cell).1, Some(number));
        }
    }

    #[test]
    fn texts_come_back(text in "\\PC*|[\u{0}-\u{7f}]*") {
        let array: ArrayRef = Arc::new(StringArray::from(vec![text.as_str()]));
        let reader = Reader::of("x", array.as_ref()).unwrap();
        let (mut scratch, mut out) = (String::new(), String::new());
        let (cell, flaw) = convert(reader.value(0, &mut scratch), Text, &mut out);
        prop_assert_eq!(flaw, None);
        prop_assert_eq!(through(Text, cell).0, text);
    }

    // Invariant 7: whatever comes, nothing panics, and NULL without a change comes only from NULL.
    #[test]
    fn nothing_panics(text in "\\PC{0,40}|[-+0-9:.TZeE /]{0,40}") {
        let array: ArrayRef = Arc::new(StringArray::from(vec![text.as_str()]));
        let reader = Reader::of("x", array.as_ref()).unwrap();
        let (mut scratch, mut out) = (String::new(), String::new());
        for column in [Text, Boolean, Integer, Number, Date, TimestampTz, Timestamp, TimeTz, Time, Arr, Object, Union] {
            let (cell, flaw) = convert(reader.value(0, &mut scratch), column, &mut out);
            prop_assert!(cell != Cell::Null || flaw.is_some());
        }
    }
}
