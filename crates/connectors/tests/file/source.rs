//! The source: its laws, its types, its dialects, its states, and what it refuses.

use std::io::Write;

use connector::testing::conformance;
use protocol::{StateMessage, SyncMode};
use serde_json::{Value, json};

use super::{Inbox, columns};

#[tokio::test]
async fn source_keeps_the_contract() {
    let inbox = Inbox::new();
    let numbered = |from: usize| (from..from + 9000).map(|id| format!("{id},n{id}\n")).collect::<String>();
    for (file, from) in [("a_1.csv", 0), ("a_2.csv", 9000), ("a_3.csv", 18_000)] {
        inbox.put(file, format!("id,name\n{}", numbered(from)));
    }
    inbox.put("b.jsonl", "{\"id\":1,\"o\":{\"x\":[1]}}\n\n{\"id\":2}\n");
    let config = json!({"url": inbox.path(), "streams": [
        {"name": "a", "glob": "a_*.csv"},
        {"name": "b", "glob": "*.jsonl"},
    ]});
    let bad = [
        json!({}),
        json!({"url": ""}),
        json!({"url": "s3://bucket/x.csv"}),
        json!({"url": "../../etc"}),
        json!({"url": inbox.path().join("missing.csv")}),
        json!({"url": inbox.path().join("x*.csv")}),
        json!({"url": inbox.path(), "csv": {"delimiter": "||"}}),
        json!({"url": inbox.path(), "csv": {"encoding": "klingon"}}),
        json!({"url": inbox.path(), "csv": {"delimeter": ","}}),
        json!({"url": inbox.path(), "streams": [{"name": "a", "glob": "../*"}]}),
        json!({"url": inbox.path(), "reader_options": "{\"sep\": \";\"}"}),
        json!({"url": inbox.path(), "provider": {"storage": "S3"}}),
    ];
    conformance::source(inbox.source(), config, &bad).await;
}

async fn one(bytes: impl AsRef<[u8]>, name: &str, csv: Value) -> (Vec<String>, Vec<String>, Vec<String>) {
    let inbox = Inbox::new();
    inbox.put(name, bytes);
    let config = json!({"url": inbox.path().join(name), "csv": csv});
    let catalog = inbox.discover(&config).await.unwrap();
    let seen = inbox.read_all(&config).await.unwrap().remove(0);
    (columns(&catalog, 0), seen.rows(), seen.changed())
}

#[tokio::test]
async fn dialects() {
    let check = async |bytes: &[u8], name: &str, csv: Value, heads: &[&str], rows: &[&str]| {
        let (found, all, changes) = one(bytes, name, csv).await;
        assert_eq!(found, heads, "{}", String::from_utf8_lossy(bytes));
        assert_eq!(all, rows);
        assert!(changes.is_empty(), "{changes:?}");
    };
    check(b"a,b\n,\"\"\n", "t.csv", json!({}), &["a String", "b String"], &["null|"]).await;
    check(b"a,b\n1,\"\"\n", "t.csv", json!({}), &["a Integer", "b String"], &["1|"]).await;
    check(b"a\n1\n\"\"\n2\n", "t.csv", json!({}), &["a Integer"], &["1", "null", "2"]).await;
    check(b"a\tb\n1\tx\n", "t.tsv", json!({}), &["a Integer", "b String"], &["1|x"]).await;
    check(
        b"1;x\n2;y\n",
        "t.txt",
        json!({"delimiter": ";", "header": false}),
        &["column_1 Integer", "column_2 String"],
        &["1|x", "2|y"],
    )
    .await;
    check(
        b"a,a,,b\n1,2,3,4\n",
        "t.csv",
        json!({}),
        &["a Integer", "a_1 Integer", "column_3 Integer", "b Integer"],
        &["1|2|3|4"],
    )
    .await;
    let nulls = json!({"null_values": ["", "NULL", "n/a"]});
    check(b"a,b\nNULL,n/a\n3,\"NULL\"\n", "t.csv", nulls, &["a Integer", "b String"], &["null|null", "3|NULL"]).await;
    check(b"a,b,\n1,2,\n", "t.csv", json!({}), &["a Integer", "b Integer", "column_3 String"], &["1|2|null"]).await;
    check(b"a,b\n1,2,\n", "t.csv", json!({}), &["a Integer", "b Integer"], &["1|2"]).await;
    check(b"a,b\n'x,y',\"z\n", "t.csv", json!({"quote": "'"}), &["a String", "b String"], &["x,y|\"z"]).await;
    check(b"a,b\n007,1.50\n", "t.csv", json!({}), &["a String", "b Number"], &["007|1.50"]).await;
}

#[tokio::test]
async fn a_value_that_the_sample_did_not_foretell_is_null_and_a_change() {
    let mut text = "id,at\n".to_owned();
    (0..10_000).for_each(|id| text.push_str(&format!("{id},2025-01-05\n")));
    text.push_str("x,2025-13-01\n10001,2025-01-06\n");
    let (heads, rows, changes) = one(text, "t.csv", json!({})).await;
    assert_eq!(heads, ["id Integer", "at Date"]);
    assert_eq!(rows.len(), 10_002);
    assert_eq!(rows[10_000..], ["null|null", "10001|2025-01-06"]);
    assert_eq!(changes, ["10000 id NULLED", "10000 at NULLED"]);
}

#[tokio::test]
async fn json_lines_and_compression() {
    let text =
        "{\"id\":1,\"at\":\"2025-01-05T10:00:00Z\",\"n\":1.10,\"x\":[1,{\"a\":null}]}\n{\"id\":2,\"extra\":true}\n";
    let mut gzip = flate2_of(text);
    let (heads, rows, _) = one(&gzip, "t.jsonl.gz", json!({})).await;
    assert_eq!(heads, ["id Integer", "at TimestampTz", "n Number", "x Array", "extra Boolean"]);
    assert_eq!(rows, ["1|2025-01-05T10:00:00Z|1.10|[1,{\"a\":null}]|null", "2|null|null|null|true"]);
    // A file that was cut short, and one that is no JSON.
    let inbox = Inbox::new();
    gzip.truncate(gzip.len() - 12);
    inbox.put("cut.jsonl.gz", &gzip);
    inbox.put("bad.jsonl", "{\"id\":1}\n{\"id\":\n");
    for (file, expected) in [("cut.jsonl.gz", "cut.jsonl.gz"), ("bad.jsonl", "bad.jsonl, line 2")] {
        let error = inbox.discover(&json!({"url": inbox.path().join(file)})).await.unwrap_err();
        assert!(error.message.contains(expected), "{error}");
        assert!(error.hint.is_some());
    }
}

fn flate2_of(text: &str) -> Vec<u8> {
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    gzip.write_all(text.as_bytes()).unwrap();
    gzip.finish().unwrap()
}

#[tokio::test]
async fn parquet_cut_short_is_an_error_that_names_the_file() {
    let inbox = Inbox::of_case("27-parquet-null-and-nested");
    let whole = std::fs::read(inbox.path().join("part-0.parquet")).unwrap();
    for length in [0, 3, 100, whole.len() - 1] {
        inbox.put("cut.parquet", &whole[..length]);
        let error = inbox.discover(&json!({"url": inbox.path().join("cut.parquet")})).await.unwrap_err();
        assert!(error.message.contains("cut.parquet"), "{error}");
    }
}

#[tokio::test]
async fn incremental_reads_new_and_changed_files() {
    let inbox = Inbox::new();
    inbox.put("d/a.csv", "id\n1\n");
    inbox.put("d/b.csv", "id\n2\n");
    inbox.put("d/_hidden.csv", "id\n9\n");
    let config = json!({"url": inbox.path().join("**/*.csv"), "dataset_name": "t"});
    let catalog = inbox.discover(&config).await.unwrap();
    let read = async |state: Vec<StateMessage>| {
        let mut seen = inbox.read(&config, &catalog, SyncMode::Incremental, state).await.unwrap();
        let mut seen = seen.remove(0);
        let mut rows = seen.rows();
        rows.sort();
        (rows, vec![seen.states.pop().unwrap()])
    };
    let (rows, state) = read(vec![]).await;
    assert_eq!(rows, ["1", "2"]);
    let (rows, state) = read(state).await;
    assert!(rows.is_empty());
    inbox.put("d/e/c.csv", "id\n3\n");
    inbox.put("d/a.csv", "id\n1\n4\n");
    let changed = std::fs::File::options().write(true).open(inbox.path().join("d/a.csv")).unwrap();
    changed.set_modified(std::time::SystemTime::now() + std::time::Duration::from_secs(5)).unwrap();
    let (rows, state) = read(state).await;
    assert_eq!(rows, ["1", "3", "4"], "a file that changed is read from its beginning");
    let text = serde_json::to_string(&state[0]).unwrap();
    assert!(text.contains("\"d/e/c.csv\":\""), "{text}");
    // A state of another connector.
    let name = catalog.streams[0].descriptor.clone();
    for garbage in ["[1]", "7", "{\"history\":3}"] {
        let state = StateMessage::stream(name.clone(), Some(protocol::Json::parse(garbage.to_owned()).unwrap()));
        let error = inbox.read(&config, &catalog, SyncMode::Incremental, vec![state]).await.unwrap_err();
        assert!(error.message.contains("state of stream `t`"), "{error}");
    }
}

#[tokio::test]
async fn a_folder_has_a_stream_for_each_name() {
    let inbox = Inbox::new();
    inbox.put("users.csv", "id\n1\n");
    inbox.put("orders.jsonl", "{\"id\":1}\n");
    inbox.put("orders.jsonl.gz", flate2_of("{\"id\":2}\n"));
    inbox.put("readme.md", "hello");
    inbox.put(".hidden.csv", "id\n1\n");
    let config = json!({"url": inbox.path()});
    let seen = inbox.read_all(&config).await.unwrap();
    let names: Vec<(&str, usize)> = seen.iter().map(|seen| (seen.name.as_str(), seen.rows().len())).collect();
    assert_eq!(names, [("orders", 2), ("users", 1)]);
    // The server's own files are not read, also by a link.
    std::fs::create_dir(inbox.path().parent().unwrap().join("own")).unwrap();
    std::fs::write(inbox.path().parent().unwrap().join("own/secret.csv"), "a\n1\n").unwrap();
    std::os::unix::fs::symlink("../own/secret.csv", inbox.path().join("secret.csv")).unwrap();
    let error = inbox.discover(&config).await.unwrap_err();
    assert!(error.message.contains("belongs to Leat"), "{error}");
}
