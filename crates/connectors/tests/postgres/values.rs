//! Values of every type, as they come and as the server prints them.

use super::*;

#[tokio::test]
async fn every_type_of_a_plain_server() {
    let database = Database::new().await;
    let epoch =
        |text: &str| database.sql(&format!("SELECT (extract(epoch FROM timestamptz '{text}') * 1000000)::bigint"));
    // Type, value as a literal, JSON schema (type, format, airbyte_type), cell.
    let stamp = epoch("2024-02-29 10:00:00.123456+02");
    let fifty = format!("1.5{}", "0".repeat(49));
    let before = epoch("0044-03-15 00:00:00+00 BC");
    let cases: Vec<(&str, &str, &str, &str)> = vec![
        ("boolean", "true", "boolean", "true"),
        ("int2", "-32768", "number integer", "-32768"),
        ("int4", "2147483647", "number integer", "2147483647"),
        ("int8", "-9223372036854775808", "number integer", "-9223372036854775808"),
        ("oid", "4294967295", "number integer", "4294967295"),
        ("float4", "1.1", "number", "1.1"),
        ("float8", "0.1", "number", "0.1"),
        ("float8", "NaN", "number", "NaN"),
        ("float8", "-Infinity", "number", "-inf"),
        (
            "numeric",
            "12345678901234567890123456789012345678901234567890.000000000000000000001",
            "number",
            "12345678901234567890123456789012345678901234567890.000000000000000000001",
        ),
        ("numeric", "NaN", "number", "NaN"),
        ("numeric", "Infinity", "number", "Infinity"),
        ("numeric", "-0.10", "number", "-0.10"),
        ("numeric(10,2)", "-1234.5", "number", "-1234.50"),
        (
            "numeric(38,10)",
            "9999999999999999999999999999.9999999999",
            "number",
            "9999999999999999999999999999.9999999999",
        ),
        ("numeric(12,0)", "123456789012", "number integer", "123456789012"),
        ("numeric(20,0)", "12345678901234567890", "number", "12345678901234567890"),
        ("numeric(100,50)", "1.5", "number", &fifty),
        ("money", "-1234.50", "number", "-1234.50"),
        ("text", "a''b\\ é 😀", "string", "a'b\\ é 😀"),
        ("text", "", "string", ""),
        ("varchar(5)", "abc", "string", "abc"),
        ("char(5)", "abc", "string", "abc  "),
        ("name", "abc", "string", "abc"),
        ("\"char\"", "x", "string", "x"),
        ("json", "{\"a\": 1.10,  \"a\": 2}", "string", "{\"a\": 1.10,  \"a\": 2}"),
        (
            "jsonb",
            "{\"b\": 1.10, \"a\": 12345678901234567890.5}",
            "string",
            "{\"a\": 12345678901234567890.5, \"b\": 1.10}",
        ),
        ("xml", "<a>x</a>", "string", "<a>x</a>"),
        ("bytea", "\\x00ff10", "string", "\\x00ff10"),
        ("uuid", "A0EEBC99-9C0B-4EF8-BB6D-6BB9BD380A11", "string", "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11"),
        ("date", "2024-02-29", "string date", "19782"),
        ("date", "infinity", "string date", "2147483647"),
        ("date", "-infinity", "string date", "-2147483648"),
        ("date", "0044-03-15 BC", "string date", "-735160"),
        ("date", "5874897-12-31", "string date", "2145042905"),
        ("timestamp", "2024-02-29 08:00:00.123456", "string date-time timestamp_without_timezone", &stamp),
        ("timestamp", "infinity", "string date-time timestamp_without_timezone", "9223372036854775807"),
        ("timestamp", "294276-12-31 23:59:59", "string date-time timestamp_without_timezone", "∅"),
        ("timestamptz", "2024-02-29 10:00:00.123456+02", "string date-time timestamp_with_timezone", &stamp),
        ("timestamptz", "-infinity", "string date-time timestamp_with_timezone", "-9223372036854775808"),
        ("timestamptz", "0044-03-15 00:00:00+00 BC", "string date-time timestamp_with_timezone", &before),
        ("time", "24:00:00", "string time time_without_timezone", "86400000000"),
        ("time", "03:04:05.5", "string time time_without_timezone", "11045500000"),
        ("timetz", "03:04:05.5+05:30", "string time time_with_timezone", "03:04:05.500000+05:30"),
        ("timetz", "24:00:00-08", "string time time_with_timezone", "24:00:00.000000-08:00"),
        ("interval", "1 year 2 mons 3 days 04:05:06.7", "string", "1 year 2 mons 3 days 04:05:06.7"),
        ("int4[]", "{1,NULL,3}", "array", "[1,null,3]"),
        ("int4[]", "{{1,2},{3,4}}", "array", "[[1,2],[3,4]]"),
        ("text[]", "{\"a\\\"b\",NULL,\"\"}", "array", "[\"a\\\"b\",null,\"\"]"),
        ("numeric[]", "{1.10,NaN}", "array", "[1.10,\"NaN\"]"),
        ("money[]", "{1.50}", "array", "[1.50]"),
        ("jsonb[]", "{\"{\\\"a\\\": 1}\"}", "array", "[{\"a\": 1}]"),
        ("timestamptz[]", "{2024-01-01 00:00:00+00}", "array", "[\"2024-01-01T00:00:00+00:00\"]"),
        ("inet", "10.0.0.5/8", "string", "10.0.0.5/8"),
        ("inet", "2001:db8::1", "string", "2001:db8::1"),
        ("cidr", "10.0.0.0/8", "string", "10.0.0.0/8"),
        ("macaddr", "08:00:2b:01:02:03", "string", "08:00:2b:01:02:03"),
        ("bit(5)", "10110", "string", "10110"),
        ("varbit", "101", "string", "101"),
        ("point", "(1.5,2)", "string", "(1.5,2)"),
        ("polygon", "((0,0),(1,1),(1,0))", "string", "((0,0),(1,1),(1,0))"),
        ("int4range", "[8,17]", "string", "[8,18)"),
        ("daterange", "empty", "string", "empty"),
        (
            "tstzmultirange",
            "{[2025-01-01 00:00+00,2025-01-02 00:00+00)}",
            "string",
            "{[\"2025-01-01 00:00:00+00\",\"2025-01-02 00:00:00+00\")}",
        ),
        ("tsvector", "a fat cat", "string", "'a' 'cat' 'fat'"),
        ("pg_lsn", "16/B374D848", "string", "16/B374D848"),
        ("mood", "so so", "string", "so so"),
        ("mood[]", "{sad,\"so so\"}", "array", "[\"sad\",\"so so\"]"),
        ("price", "1.50", "number", "1.50"),
        ("nested", "1.50", "number", "1.50"),
        ("place", "(\"High \\\"St\\\"\",4)", "string", "(\"High \"\"St\"\"\",4)"),
        ("int2vector", "1 2", "string", "1 2"),
        ("regclass", "pg_class", "string", "pg_class"),
    ];
    let names: Vec<String> = (0..cases.len()).map(|index| format!("c{index}")).collect();
    let columns: Vec<String> = cases.iter().zip(&names).map(|(case, name)| format!("{name} {}", case.0)).collect();
    let values: Vec<String> = cases.iter().map(|case| format!("'{}'::{}", case.1, case.0)).collect();
    database.sql(&format!(
        "CREATE TYPE mood AS ENUM ('sad', 'so so'); CREATE DOMAIN price AS numeric(10,2); CREATE DOMAIN nested AS price;
         CREATE TYPE place AS (street text, no integer);
         CREATE TABLE everything ({}); INSERT INTO everything VALUES ({}); INSERT INTO everything DEFAULT VALUES",
        columns.join(", "),
        values.join(", ")
    ));
    let config = database.config();
    let stream = full(&config, "everything").await;
    for ((of, _, schema, _), name) in cases.iter().zip(&names) {
        let found = &stream.stream.json_schema["properties"][name];
        let words = ["type", "format", "airbyte_type"].map(|key| found[key].as_str().unwrap_or_default());
        assert_eq!(words.join(" ").trim().replace("  ", " "), *schema, "{of}");
    }
    let seen = read(&config, vec![stream], vec![]).await.one();
    assert_eq!(seen.rows.len(), 2);
    for (((of, value, _, expected), cell), empty) in cases.iter().zip(&seen.rows[0]).zip(&seen.rows[1]) {
        assert_eq!(cell, expected, "{of} '{value}'");
        assert_eq!(empty, "∅", "{of}");
    }
    // Only what no epoch in microseconds holds was lost, and is told of.
    let fields: Vec<&str> = seen.changes.iter().map(|change| &*change.field).collect();
    let late = cases.iter().position(|case| case.1.starts_with("294276")).unwrap();
    assert_eq!(fields, [names[late].as_str()]);
    assert_eq!(seen.changes[0].reason, "SOURCE_SERIALIZATION_ERROR");
}

/// Case 09: what is infinite or far away keeps its place between finite values.
#[tokio::test]
async fn infinities_and_far_years() {
    let database = Database::new().await;
    database.sql(
        "CREATE TABLE tariff (id integer PRIMARY KEY, starts_on date, valid_to timestamptz, ratio float8, amount numeric(6,2));
         INSERT INTO tariff VALUES (1, '-infinity', 'infinity', 'Infinity', 'NaN'), (2, NULL, NULL, NULL, 1.5)",
    );
    let config = database.config();
    let seen = read(&config, vec![full(&config, "tariff").await], vec![]).await.one();
    assert_eq!(seen.rows[0][1..], ["-2147483648", "9223372036854775807", "inf", "∅"]);
    assert_eq!(seen.rows[1][1..], ["∅", "∅", "∅", "1.50"]);
    let changes: Vec<(usize, &str)> = seen.changes.iter().map(|change| (change.row, &*change.field)).collect();
    assert_eq!(changes, [(0, "amount")]);
}

/// A catalog is older than the table: the column has become another type, is gone, or was not asked for.
#[tokio::test]
async fn a_table_that_changed_since_discover() {
    let database = Database::new().await;
    database.sql("CREATE TABLE t (a integer, b integer, c text, d integer); INSERT INTO t VALUES (1, 2, 'x', 4)");
    let config = database.config();
    let mut stream = full(&config, "t").await;
    stream.stream.json_schema["properties"].as_object_mut().unwrap().shift_remove("d");
    database
        .sql("ALTER TABLE t ALTER a TYPE text USING 'now ' || a, DROP b, ALTER c TYPE jsonb USING '[1]', ADD e int");
    let seen = read(&config, vec![stream], vec![]).await.one();
    assert_eq!(seen.rows, [["now 1", "[1]"]]);
}

#[tokio::test]
async fn text_that_is_not_unicode() {
    let database = Database::new().await;
    database.sql("CREATE DATABASE raw_bytes ENCODING 'SQL_ASCII' LOCALE 'C' TEMPLATE template0");
    let raw = Database { port: database.port, name: "raw_bytes".to_owned() };
    raw.sql(
        "CREATE TABLE t (id int PRIMARY KEY, s text);
        INSERT INTO t VALUES (1, 'good'), (2, convert_from('\\xff41', 'SQL_ASCII')), (3, 'also good')",
    );
    let config = raw.config();
    let seen = read(&config, vec![full(&config, "t").await], vec![]).await.one();
    assert_eq!(seen.column(1), ["good", "∅", "also good"]);
    assert_eq!((seen.changes.len(), seen.changes[0].row), (1, 1));
}

/// One value of tens of megabytes between small ones.
#[tokio::test]
async fn one_huge_value() {
    let database = Database::new().await;
    database.sql(
        "CREATE TABLE t (id int PRIMARY KEY, s text);
         INSERT INTO t VALUES (1, 'a'), (2, repeat('0123456789', 2500000)), (3, 'b')",
    );
    let config = database.config();
    let seen = read(&config, vec![full(&config, "t").await], vec![]).await.one();
    let lengths: Vec<usize> = seen.column(1).iter().map(|text| text.len()).collect();
    assert_eq!(lengths, [1, 25_000_000, 1]);
}

/// Values of all sizes, made by the server, which is also asked what they are.
#[tokio::test]
async fn values_by_chance() {
    let database = Database::new().await;
    database.sql(
        "SELECT setseed(0.42);
         CREATE TABLE t AS SELECT
             ((random() - 0.5) * 10 ^ ((random() * 60)::int - 30))::numeric * (10::numeric ^ (random() * 40)::int) AS n,
             ((random() - 0.5) * 10 ^ ((random() * 24)::int))::numeric(38, 12) AS d,
             round(((random() - 0.5) * 1e18)::numeric)::numeric(18, 0) AS i,
             gen_random_uuid() AS u,
             decode(repeat(md5(random()::text), (random() * 5)::int), 'hex') AS b,
             date '4713-01-01 BC' + (random() * 2147000000)::int AS day,
             timestamptz 'epoch' + ((random() - 0.4) * 200000000000)::bigint * interval '1 s' AS at,
             (time '00:00' + random() * interval '1 day')::timetz AT TIME ZONE (((random() - 0.5) * 30)::int || ' hours')::interval AS z
         FROM generate_series(1, 5000);
         CREATE VIEW truth AS SELECT n, n::text AS n_, d, d::text AS d_, i, i::text AS i_, u, u::text AS u_, b, b::text AS b_,
             day, (day - date '1970-01-01')::text AS day_, at, (extract(epoch FROM at) * 1000000)::bigint::text AS at_,
             z, to_char('2000-01-01'::date + z::time, 'HH24:MI:SS.US') || to_char(extract(timezone_hour FROM z), 'SG00') || ':00' AS z_
         FROM t",
    );
    let config = database.config();
    let seen = read(&config, vec![full(&config, "truth").await], vec![]).await.one();
    assert_eq!((seen.rows.len(), seen.changes.len()), (5000, 0));
    for row in &seen.rows {
        for pair in row.chunks(2) {
            assert_eq!(pair[0], pair[1], "{row:?}");
        }
    }
}
