//! Values: Arrow × column, as the server shows them afterwards, and what is noted of those that did not fit.

use arrow_array::{
    ArrayRef, BooleanArray, Date32Array, Decimal128Array, Float32Array, Float64Array, Int16Array, Int64Array,
    StringArray, Time64MicrosecondArray, TimestampMicrosecondArray, TimestampNanosecondArray, UInt64Array,
};

use ColumnType::{
    Array as Arr, Boolean, Date, Integer, Number, Object, String as Text, Time, TimeTz, Timestamp, TimestampTz, Union,
};
use DestinationSyncMode::Append;

use super::*;

/// Writes each array into a column of its own; what the server shows, and the changes of the row.
async fn check(cases: Vec<(ColumnType, ArrayRef, &str)>) {
    let database = Database::new().await;
    let mut target = target(Append, 1);
    target.columns = cases.iter().enumerate().map(|(at, case)| (format!("c{at}"), case.0)).collect();
    let names: Vec<String> = (0..cases.len()).map(|at| format!("c{at}")).collect();
    let columns = names.iter().zip(&cases).map(|(name, case)| (name.as_str(), case.1.clone())).collect();
    load(&database, 1, target, vec![Batch::new(StreamIndex(0), batch(columns), 1_700_000_000_123)]).await.unwrap();
    for (at, (kind, array, expected)) in cases.iter().enumerate() {
        let seen = database.sql(&format!(
            "SET TimeZone = 'UTC'; SET extra_float_digits = 3;
             SELECT coalesce(c{at}::text, 'NULL') || coalesce((SELECT ' !' || (c->>'change') || ' ' || (c->>'reason')
                 FROM jsonb_array_elements(_airbyte_meta->'changes') c WHERE c->>'field' = 'c{at}'), '') FROM users"
        ));
        let seen = seen
            .replace(" !NULLED DESTINATION_SERIALIZATION_ERROR", " !bad")
            .replace(" !NULLED DESTINATION_FIELD_SIZE_LIMITATION", " !big")
            .replace(" !TRUNCATED DESTINATION_FIELD_SIZE_LIMITATION", " !cut")
            .replace(" !TRUNCATED DESTINATION_SERIALIZATION_ERROR", " !stripped");
        assert_eq!(seen, *expected, "{array:?} as {kind:?}");
    }
}

fn text(value: &str) -> ArrayRef {
    Arc::new(StringArray::from(vec![value]))
}

fn decimal(value: i128, precision: u8, scale: i8) -> ArrayRef {
    Arc::new(Decimal128Array::from(vec![value]).with_precision_and_scale(precision, scale).unwrap())
}

#[tokio::test]
async fn numbers_and_texts() {
    let long = "12345678901234567890123456789012345678901234567890.000000000000000000001";
    check(vec![
        (Integer, Arc::new(Int16Array::from(vec![7])), "7"),
        (Integer, Arc::new(Int64Array::from(vec![i64::MIN])), "-9223372036854775808"),
        (Integer, Arc::new(UInt64Array::from(vec![u64::MAX])), "NULL !big"),
        (Integer, text("12.0"), "12"),
        (Integer, text("12.5"), "NULL !bad"),
        (Integer, decimal(1200, 10, 2), "12"),
        (Integer, Arc::new(Float64Array::from(vec![1e19])), "NULL !big"),
        (Number, Arc::new(Int64Array::from(vec![i64::MIN])), "-9223372036854775808"),
        (Number, Arc::new(UInt64Array::from(vec![u64::MAX])), "18446744073709551615"),
        (Number, Arc::new(Float64Array::from(vec![0.1])), "0.1"),
        (Number, Arc::new(Float32Array::from(vec![0.1])), "0.1"),
        (Number, Arc::new(Float64Array::from(vec![f64::NAN])), "NaN"),
        (Number, Arc::new(Float64Array::from(vec![f64::NEG_INFINITY])), "-Infinity"),
        (Number, text(long), long),
        (Number, text("NaN"), "NaN"),
        (Number, text("Infinity"), "Infinity"),
        (Number, text("1.10"), "1.10"),
        (Number, text("1e400000"), "NULL !big"),
        (Number, text("many"), "NULL !bad"),
        (Number, decimal(10_i128.pow(38) - 1, 38, 38), &format!("0.{}", "9".repeat(38))),
        (Number, decimal(-1, 38, 9), "-0.000000001"),
        (Number, decimal(0, 38, 9), "0.000000000"),
        (Number, decimal(123, 5, -2), "12300"),
        (Boolean, Arc::new(BooleanArray::from(vec![false])), "false"),
        (Boolean, text("true"), "NULL !bad"),
        (Text, text("a\u{0}b😀"), "ab😀 !stripped"),
        (Text, text(""), ""),
        (Text, Arc::new(Int64Array::from(vec![5])), "5"),
        (Text, Arc::new(BooleanArray::from(vec![true])), "true"),
        (Text, decimal(1250, 10, 2), "12.50"),
        (Text, Arc::new(StringArray::from(vec![None::<&str>])), "NULL"),
        (Object, text("{\"a\": 1.10, \"a\\u0000\": \"\\ud800\"}"), "{\"a\": \"\u{fffd}\"} !stripped"),
        (Object, text("{\"n\": 1.10}"), "{\"n\": 1.10}"),
        (Object, text("{broken"), "NULL !bad"),
        (Object, Arc::new(Int64Array::from(vec![5])), "NULL !bad"),
        (Arr, text("[1, null]"), "[1, null]"),
        (Union, Arc::new(Int64Array::from(vec![5])), "5"),
        (Union, text("\"x\""), "\"x\""),
        (Union, Arc::new(Date32Array::from(vec![-719_529])), "\"0002-12-31 BC\""),
    ])
    .await;
}

#[tokio::test]
async fn dates_and_times() {
    let micros = |value: i64, zone: bool| -> ArrayRef {
        let array = TimestampMicrosecondArray::from(vec![value]);
        if zone { Arc::new(array.with_timezone("UTC")) } else { Arc::new(array) }
    };
    check(vec![
        (Date, Arc::new(Date32Array::from(vec![20_782])), "2026-11-25"),
        (Date, Arc::new(Date32Array::from(vec![i32::MAX])), "infinity"),
        (Date, Arc::new(Date32Array::from(vec![i32::MIN])), "-infinity"),
        (Date, Arc::new(Date32Array::from(vec![-2_500_000])), "NULL !big"),
        (Date, text("0044-03-15 BC"), "0044-03-15 BC"),
        (Date, text("12024-01-01"), "12024-01-01"),
        (Date, text("-infinity"), "-infinity"),
        (Date, text("2026-02-30"), "NULL !bad"),
        (Date, Arc::new(Int64Array::from(vec![5])), "NULL !bad"),
        (TimestampTz, micros(0, true), "1970-01-01 00:00:00+00"),
        (TimestampTz, micros(i64::MAX, true), "infinity"),
        (Timestamp, micros(i64::MIN, false), "-infinity"),
        (Timestamp, micros(i64::MIN + 1, false), "NULL !big"),
        (Timestamp, micros(1_700_000_000_123_456, false), "2023-11-14 22:13:20.123456"),
        (
            Timestamp,
            Arc::new(TimestampNanosecondArray::from(vec![1_700_000_000_123_456_789])),
            "2023-11-14 22:13:20.123456 !cut",
        ),
        (TimestampTz, text("2024-02-29T22:00:00+02:00"), "2024-02-29 20:00:00+00"),
        (Timestamp, text("2024-02-29T22:00:00+02:00"), "2024-02-29 22:00:00"),
        (TimestampTz, text("infinity"), "infinity"),
        (TimestampTz, text("0044-03-15T00:00:00Z BC"), "0044-03-15 00:00:00+00 BC"),
        (TimestampTz, text("soon"), "NULL !bad"),
        (Timestamp, Arc::new(Date32Array::from(vec![1])), "1970-01-02 00:00:00"),
        (Time, Arc::new(Time64MicrosecondArray::from(vec![86_400_000_000])), "24:00:00"),
        (Time, Arc::new(Time64MicrosecondArray::from(vec![-1])), "NULL !bad"),
        (Time, text("23:59:60"), "24:00:00"),
        (Time, text("03:23:19.25+01:00"), "03:23:19.25"),
        (TimeTz, text("03:04:05.000000+02:30"), "03:04:05+02:30"),
        (TimeTz, text("24:00:00-03:00"), "24:00:00-03"),
        (TimeTz, text("03:04:05"), "03:04:05+00"),
        (TimeTz, text("03:04:05+17:00"), "NULL !big"),
        (TimeTz, text("noon"), "NULL !bad"),
        (Text, micros(i64::MAX, true), "infinity"),
        (Text, Arc::new(Date32Array::from(vec![20_782])), "2026-11-25"),
    ])
    .await;
}

#[tokio::test]
async fn metadata_says_where_a_row_is_from() {
    let database = Database::new().await;
    let mut target = target(Append, 7);
    target.columns[1].1 = ColumnType::Integer;
    load(&database, 42, target, vec![users(1..=1)]).await.unwrap();
    assert_eq!(
        database.sql(
            "SET TimeZone = 'UTC'; SELECT _airbyte_extracted_at, _airbyte_generation_id, _airbyte_meta, length(_airbyte_raw_id) FROM users"
        ),
        "2023-11-14 22:13:20.123+00|7|{\"changes\": [{\"field\": \"name\", \"change\": \"NULLED\", \"reason\": \"DESTINATION_SERIALIZATION_ERROR\"}], \"sync_id\": 42}|36"
    );
}

#[tokio::test]
async fn many_rows_and_a_large_one() {
    let database = Database::new().await;
    let large = "ü".repeat(20_000_000);
    let rows = batch(vec![("id", integers([0])), ("name", texts([large]))]);
    let batches = vec![users(1..=100_000), Batch::new(StreamIndex(0), rows, 0), users(100_001..=200_000)];
    load(&database, 1, target(DestinationSyncMode::AppendDedup, 1), batches).await.unwrap();
    assert_eq!(database.sql("SELECT count(*), sum(id), max(length(name)) FROM users"), "200001|20000100000|20000000");
    assert_eq!(database.sql("SELECT count(DISTINCT _airbyte_raw_id) FROM users"), "200001");
}
