//! Generated values through source and destination and back, in every format: equal, or NULL with a change.

use std::{collections::BTreeMap, fs::File, sync::Arc};

use arrow_array::{
    ArrayRef, BooleanArray, Date32Array, Decimal128Array, Float64Array, Int64Array, RecordBatch, StringArray,
    Time64MicrosecondArray, TimestampMicrosecondArray, TimestampNanosecondArray, UInt64Array,
};
use arrow_schema::{Field, Schema};
use connector::{
    Admission, Batch, Complete, Destination, OpenRequest, Result, StreamCommit, StreamIndex, StreamPlan, Target,
};
use proptest::{collection::vec, option::weighted, prelude::*};
use protocol::{
    DestinationSyncMode, StreamDescriptor, SyncMode,
    checkpoint::{Claim, Point, Position, Scope},
};
use serde_json::json;
use tokio_util::sync::CancellationToken;

use super::{Inbox, Seen};

struct Yes;

#[async_trait::async_trait]
impl Admission for Yes {
    async fn confirm(&self, _positions: &[Position]) -> Result<()> {
        Ok(())
    }
}

#[derive(Clone, Debug)]
struct Given {
    text: Option<String>,
    yes: Option<bool>,
    whole: Option<i64>,
    unsigned: Option<u64>,
    float: Option<f64>,
    decimal: Option<i128>,
    day: Option<i32>,
    micros: Option<i64>,
    nanos: Option<i64>,
    time: Option<i64>,
}

fn given() -> impl Strategy<Value = Given> {
    let text = prop_oneof![Just(String::new()), Just(",\"\r\n;".to_owned()), "\\PC{0,12}", "[\u{0}-\u{7f}]{0,6}"];
    let some = 0.8;
    (
        (
            weighted(some, text),
            weighted(some, any::<bool>()),
            weighted(some, any::<i64>()),
            weighted(some, any::<u64>()),
        ),
        weighted(some, prop_oneof![any::<f64>().prop_filter("finite", |f| f.is_finite()), Just(0.1)]),
        weighted(some, -10_i128.pow(30)..10_i128.pow(30)),
        weighted(some, -700_000..2_900_000_i32),
        weighted(some, -62_000_000_000_000_000..250_000_000_000_000_000_i64),
        weighted(some, any::<i32>().prop_map(|number| i64::from(number) * 3_999_999_000)),
        weighted(some, 0..86_400_000_000_i64),
    )
        .prop_map(|((text, yes, whole, unsigned), float, decimal, day, micros, nanos, time)| Given {
            text,
            yes,
            whole,
            unsigned,
            float,
            decimal,
            day,
            micros,
            nanos,
            time,
        })
}

fn rows(given: &[Given]) -> RecordBatch {
    let decimals: Decimal128Array = given.iter().map(|row| row.decimal).collect();
    let columns: Vec<(&str, ArrayRef)> = vec![
        ("text", Arc::new(given.iter().map(|row| row.text.clone()).collect::<StringArray>())),
        ("yes", Arc::new(given.iter().map(|row| row.yes).collect::<BooleanArray>())),
        ("whole", Arc::new(given.iter().map(|row| row.whole).collect::<Int64Array>())),
        ("unsigned", Arc::new(given.iter().map(|row| row.unsigned).collect::<UInt64Array>())),
        ("float", Arc::new(given.iter().map(|row| row.float).collect::<Float64Array>())),
        ("decimal", Arc::new(decimals.with_precision_and_scale(38, 9).unwrap())),
        ("day", Arc::new(given.iter().map(|row| row.day).collect::<Date32Array>())),
        ("micros", Arc::new(given.iter().map(|row| row.micros).collect::<TimestampMicrosecondArray>())),
        (
            "nanos",
            Arc::new(given.iter().map(|row| row.nanos).collect::<TimestampNanosecondArray>().with_timezone("UTC")),
        ),
        ("time", Arc::new(given.iter().map(|row| row.time).collect::<Time64MicrosecondArray>())),
    ];
    let fields: Vec<Field> =
        columns.iter().map(|(name, array)| Field::new(*name, array.data_type().clone(), true)).collect();
    RecordBatch::try_new(Arc::new(Schema::new(fields)), columns.into_iter().map(|(_, array)| array).collect()).unwrap()
}

/// Reads `config` and writes what comes into a folder of files.
async fn copy(inbox: &Inbox, config: &serde_json::Value, format: &str) -> (protocol::Catalog, Seen) {
    let catalog = inbox.discover(config).await.unwrap();
    let seen = inbox.read_all(config).await.unwrap().remove(0);
    let stream = StreamDescriptor::new(None, "t");
    let target = Target {
        stream: stream.clone(),
        table: stream.clone(),
        columns: protocol::schema::columns(&catalog.streams[0].json_schema),
        sync_mode: SyncMode::FullRefresh,
        mode: DestinationSyncMode::Overwrite,
        primary_key: vec![],
        cursor: None,
        generation: 1,
    };
    let (notes, _) = tokio::sync::mpsc::unbounded_channel();
    let request = OpenRequest {
        config: json!({"path": inbox.path().join(format), "format": format}),
        claim: Claim { store: "s".into(), connection: "c".into(), job: 1, attempt: 0, owner: "o".into() },
        targets: vec![target],
        cancel: CancellationToken::new(),
        notes,
    };
    let mut writer = inbox.destination().open(request).await.unwrap();
    writer.recover(Arc::new(Yes)).await.unwrap();
    writer.start(&[StreamPlan::Fresh { generation: 1 }]).await.unwrap();
    let batches = seen.batches.iter().map(|rows| Batch::new(StreamIndex(0), rows.clone(), 0)).collect();
    let commit = StreamCommit {
        scope: Scope::Stream(stream),
        batches,
        point: Point { origin: 1, seq: 1 },
        state: None,
        counts: vec![],
    };
    let durable = writer.complete(Complete { commit, streams: vec![StreamIndex(0)] }).await.unwrap();
    let written: i64 = durable[0].written.iter().map(|(_, rows)| rows).sum();
    assert_eq!(Some(written), seen.read);
    (catalog, seen)
}

/// Values by column name, as Arrow writes them.
fn by_name(seen: &Seen) -> Vec<BTreeMap<String, String>> {
    let mut all = Vec::new();
    for batch in &seen.batches {
        let schema = batch.schema();
        for line in 0..batch.num_rows() {
            let one = batch.slice(line, 1);
            let cell = |index: usize| {
                let only = one.project(&[index]).unwrap();
                super::shown(&only).remove(0)
            };
            all.push((0..batch.num_columns()).map(|index| (schema.field(index).name().clone(), cell(index))).collect());
        }
    }
    all
}

async fn run(given: &[Given]) {
    let inbox = Inbox::new();
    let path = inbox.path().join("t.parquet");
    let batch = rows(given);
    let mut writer = parquet::arrow::ArrowWriter::try_new(File::create(&path).unwrap(), batch.schema(), None).unwrap();
    writer.write(&batch).unwrap();
    writer.close().unwrap();
    for format in ["parquet", "csv", "jsonl"] {
        let (catalog, first) = copy(&inbox, &json!({"url": path}), format).await;
        // Read with the types that went in: those of text files are guessed again only in use.
        let back = json!({"url": inbox.path().join(format).join("t"), "dataset_name": "t"});
        let again = inbox.read(&back, &catalog, SyncMode::FullRefresh, vec![]).await.unwrap().remove(0);
        let (before, after) = (by_name(&first), by_name(&again));
        assert_eq!(before.len(), after.len());
        for (one, two) in before.iter().zip(&after) {
            for (name, value) in one {
                let found = &two[name];
                let same = match name.as_str() {
                    "float" if value != "null" => value.parse::<f64>().unwrap() == found.parse::<f64>().unwrap(),
                    _ => value == found,
                };
                assert!(same, "{format}, {name}: {value:?} came back as {found:?}");
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn values_come_back(given in vec(given(), 0..20)) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(run(&given));
    }
}
