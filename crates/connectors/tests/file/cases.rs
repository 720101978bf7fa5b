//! What made other tools lose or change data; inputs in `tests/data`, named after the public threads' cases.

use serde_json::{Value, json};

use super::{Inbox, columns};

/// airbyte#13171: a header without rows, and a file of no bytes, among good ones.
#[tokio::test]
async fn header_only_and_empty_files() {
    let inbox = Inbox::of_case("20-header-only-file");
    let config = json!({"url": inbox.path(), "streams": [{"name": "shops", "glob": "shops_*.csv", "format": "csv"}]});
    let catalog = inbox.discover(&config).await.unwrap();
    assert_eq!(columns(&catalog, 0), ["id Integer", "city String", "opened Date"]);
    let seen = inbox.read_all(&config).await.unwrap();
    let mut rows = seen[0].rows();
    rows.sort();
    assert_eq!(rows, ["1|Oslo|2025-01-05", "2|Graz|2025-01-09", "3|Bern|2025-04-02"]);
    assert!(seen[0].logs.iter().any(|line| line.contains("shops_2025-03.csv has no bytes")), "{:?}", seen[0].logs);

    for gone in ["01", "03", "04"] {
        std::fs::remove_file(inbox.path().join(format!("shops_2025-{gone}.csv"))).unwrap();
    }
    let seen = inbox.read(&config, &catalog, protocol::SyncMode::FullRefresh, vec![]).await.unwrap();
    assert_eq!(seen[0].read, Some(0), "no rows is a delivery too");
    // Nothing at all is not: the folder may not be mounted.
    std::fs::remove_file(inbox.path().join("shops_2025-02.csv")).unwrap();
    let error = inbox.read(&config, &catalog, protocol::SyncMode::FullRefresh, vec![]).await.unwrap_err();
    assert!(error.message.contains("shops_*.csv"), "{error}");
}

/// airbyte#7916: UTF-16 either way, UTF-8 with a mark, Windows-1252.
#[tokio::test]
async fn encodings() {
    let inbox = Inbox::of_case("22-utf16-and-bom");
    let read = async |file: &str, encoding: Option<&str>| {
        let csv = encoding.map_or(json!({}), |name| json!({"encoding": name}));
        let config = json!({"url": inbox.path(), "streams": [{"name": "t", "glob": file, "csv": csv}]});
        assert_eq!(columns(&inbox.discover(&config).await.unwrap(), 0), ["id Integer", "town String", "note String"]);
        inbox.read_all(&config).await.unwrap().remove(0)
    };
    let expected = ["1|Malmö|5 € – fine", "2|Plzeň|naïve", "3|Łódź|żółć"];
    for (file, encoding) in [
        ("towns_utf16le.csv", Some("utf-16")),
        ("towns_utf16le.csv", None),
        ("towns_utf16be.csv", None),
        ("towns_utf8bom.csv", None),
        ("towns_utf8bom.csv", Some("utf-8")),
    ] {
        assert_eq!(read(file, encoding).await.rows(), expected, "{file} {encoding:?}");
    }
    let western = read("towns_cp1252.csv", Some("windows-1252")).await;
    assert_eq!(western.rows(), ["1|Malmö|5 € – fine", "2|Genève|naïve", "3|Århus|“quoted”"]);
    // Without the setting: NULL and a counted change for each value, never a wrong letter.
    let unset = read("towns_cp1252.csv", None).await;
    assert_eq!(unset.rows(), ["1|null|null", "2|null|null", "3|null|null"]);
    assert_eq!(unset.changes.len(), 6);
}

/// sling#385: rows with too few and too many fields.
#[tokio::test]
async fn ragged_rows() {
    let inbox = Inbox::of_case("25-ragged-rows");
    let config = |csv: Value| json!({"url": inbox.path().join("readings.csv"), "csv": csv});
    let keep = config(json!({"delimiter": ";"}));
    let catalog = inbox.discover(&keep).await.unwrap();
    assert_eq!(columns(&catalog, 0), ["sensor String", "value Integer", "remark String"], "no column is made up");
    let seen = inbox.read_all(&keep).await.unwrap();
    assert_eq!(seen[0].rows(), ["A1|10|ok", "A2|11|null", "A3|12|fine", "A4|13|x;y", "A5|null|null"]);
    assert_eq!(seen[0].changed(), ["1 remark NULLED", "2 column 4 TRUNCATED", "2 column 5 TRUNCATED"]);
    assert!(
        seen[0].logs.iter().any(|line| line.contains("2 records") && line.contains("line 3")),
        "{:?}",
        seen[0].logs
    );

    let strict = config(json!({"delimiter": ";", "ragged_rows": "fail"}));
    let error = inbox.read_all(&strict).await.unwrap_err();
    assert!(error.message.contains("readings.csv, line 3"), "{error}");
}

/// airbyte#34151: NULL times, decimals kept as integers, INT96, nested lists, a part of no rows.
#[tokio::test]
async fn parquet_with_nulls_and_nested_values() {
    let inbox = Inbox::of_case("27-parquet-null-and-nested");
    let config = json!({"url": inbox.path().join("part-*.parquet"), "dataset_name": "parts"});
    let catalog = inbox.discover(&config).await.unwrap();
    assert_eq!(
        columns(&catalog, 0),
        [
            "id Integer",
            "closed_at Timestamp",
            "opened_at TimestampTz",
            "at_time Time",
            "price Number",
            "wide Number",
            "big Number",
            "lines Array",
            "tags Object",
            "nothing String",
        ]
    );
    let seen = inbox.read_all(&config).await.unwrap();
    let mut rows = seen[0].rows();
    rows.sort();
    assert_eq!(
        rows,
        [
            r#"1|2025-01-02T03:04:05.678901|2025-01-01T00:00:00Z|23:59:59.999999|12.34|1234567890123456789012345678.0123456789|18446744073709551615|[{"sku":"k1","qty":2,"cost":0.05},{"sku":null,"qty":null,"cost":null}]|{"a":"1","b":null}|null"#,
            "2|null|null|null|null|null|null|null|null|null",
            "3|null|1969-12-31T23:59:59.000001Z|00:00:00|-0.01|0.0000000000|0|[]|{}|null",
        ]
    );
}
