//! The laws of a destination.

use std::sync::Arc;

use protocol::{
    ColumnType,
    DestinationSyncMode::{self, *},
    SyncMode::{self, *},
    checkpoint::{Counts, Line, Place, PositionKind, Scope},
};
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use super::{
    Subject,
    session::{No, Session, Yes, claim, claim_of, global, named, numbered, open, rows, seen, stream, table, target},
};
use crate::{
    Batch, Commit, Durable, ErrorKind, Remaining, Result, StreamIndex, StreamPlan,
    testing::rows::{batch, integers, texts},
};

fn written(durable: &[Durable]) -> i64 {
    durable.iter().flat_map(|durable| &durable.written).map(|(_, rows)| rows).sum()
}

fn refused<T>(result: Result<T>, kind: ErrorKind, law: &str) {
    match result {
        Ok(_) => panic!("{law}: was not refused"),
        Err(error) => assert_eq!(error.kind, kind, "{law}: {error}"),
    }
}

/// A way to write through staging that the subject knows.
fn staged(subject: &dyn Subject) -> (SyncMode, DestinationSyncMode) {
    if subject.merges() { (Incremental, AppendDedup) } else { (FullRefresh, Append) }
}

/// Those ways to write that the subject knows.
fn known<const N: usize>(
    subject: &dyn Subject,
    all: [(&'static str, SyncMode, DestinationSyncMode); N],
) -> Vec<(&'static str, SyncMode, DestinationSyncMode)> {
    all.into_iter().filter(|(_, _, mode)| subject.merges() || *mode != AppendDedup).collect()
}

pub async fn append(subject: &dyn Subject) {
    let targets = [target("a", Incremental, Append, 0)];
    let mut session = Session::fresh(subject, claim(1, 0), &targets).await;
    let durable = session.commit(0, vec![numbered(0, 1..=3), numbered(0, 4..=5)]).await.expect("commit");
    assert_eq!(written(&durable), 5);
    assert_eq!(seen(subject, "a").await, named(1..=5), "an append is seen once it is committed");
    let durable = session.complete(0, vec![numbered(0, 6..=6)]).await.expect("complete");
    assert_eq!(written(&durable), 1);
    assert_eq!(durable[0].position.lines[0].counts.written, 6, "positions hold running totals");
    session.close().await;
    let mut session = Session::resumed(subject, claim(2, 0), &targets).await;
    session.complete(0, vec![numbered(0, 6..=7)]).await.expect("complete");
    let ids: Vec<i64> = seen(subject, "a").await.expect("a table").iter().map(|row| row.0).collect();
    assert_eq!(ids, [1, 2, 3, 4, 5, 6, 6, 7], "append keeps every row");
}

pub async fn overwrite(subject: &dyn Subject) {
    let first = [target("a", FullRefresh, Overwrite, 1)];
    let mut session = Session::fresh(subject, claim(1, 0), &first).await;
    session.commit(0, vec![numbered(0, 1..=3)]).await.expect("commit");
    assert!(seen(subject, "a").await.is_none_or(|rows| rows.is_empty()), "rows are not seen before the end");
    session.complete(0, vec![numbered(0, 4..=4)]).await.expect("complete");
    assert_eq!(seen(subject, "a").await, named(1..=4));
    session.close().await;

    let second = [target("a", FullRefresh, Overwrite, 2)];
    let mut session = Session::fresh(subject, claim(2, 0), &second).await;
    session.commit(0, vec![numbered(0, 8..=9)]).await.expect("commit");
    assert_eq!(seen(subject, "a").await, named(1..=4), "old rows are seen until the end");
    session.complete(0, vec![]).await.expect("complete");
    assert_eq!(seen(subject, "a").await, named(8..=9));
    session.close().await;

    let third = [target("a", FullRefresh, Overwrite, 3)];
    let mut session = Session::fresh(subject, claim(3, 0), &third).await;
    session.complete(0, vec![]).await.expect("complete");
    assert_eq!(seen(subject, "a").await, Some(vec![]), "a source without rows leaves an empty table");
}

pub async fn full_refresh_append(subject: &dyn Subject) {
    for (job, ids) in [(1, 1..=2), (2, 3..=4)] {
        let targets = [target("a", FullRefresh, Append, job)];
        let mut session = Session::fresh(subject, claim(job, 0), &targets).await;
        session.commit(0, vec![numbered(0, ids.clone())]).await.expect("commit");
        let before = seen(subject, "a").await.unwrap_or_default();
        assert_eq!(before.len(), (job as usize - 1) * 2, "rows are not seen before the end");
        session.complete(0, vec![]).await.expect("complete");
        session.close().await;
    }
    assert_eq!(seen(subject, "a").await, named(1..=4));
}

pub async fn dedup(subject: &dyn Subject) {
    let targets = [target("a", Incremental, AppendDedup, 0)];
    let mut session = Session::fresh(subject, claim(1, 0), &targets).await;
    let first = rows(0, &[(1, "old", Some(1)), (1, "new", Some(2)), (2, "two", Some(5)), (3, "none", None)]);
    let durable = session.commit(0, vec![first]).await.expect("commit");
    assert_eq!(written(&durable), 4, "written counts what lies in staging");
    session.complete(0, vec![rows(0, &[(1, "older", Some(0)), (3, "some", Some(1))])]).await.expect("complete");
    let pair = |id: i64, name: &str| (id, name.to_owned());
    assert_eq!(seen(subject, "a").await, Some(vec![pair(1, "new"), pair(2, "two"), pair(3, "some")]));
    session.close().await;

    let mut session = Session::resumed(subject, claim(2, 0), &targets).await;
    let second =
        rows(0, &[(1, "late but older", Some(1)), (2, "same cursor", Some(5)), (4, "first", None), (4, "last", None)]);
    session.complete(0, vec![second]).await.expect("complete");
    let expected = vec![pair(1, "new"), pair(2, "same cursor"), pair(3, "some"), pair(4, "last")];
    assert_eq!(seen(subject, "a").await, Some(expected), "the greatest cursor wins, then the later row");
    session.close().await;

    // Keys with a NULL in them are keys.
    let mut session = Session::resumed(subject, claim(3, 0), &targets).await;
    for name in ["null once", "null twice"] {
        let one =
            batch(vec![("id", integers([None])), ("name", texts([name.to_owned()])), ("updated_at", integers([9]))]);
        session.commit(0, vec![Batch::new(StreamIndex(0), one, 1_700_000_000_000)]).await.expect("commit");
    }
    session.complete(0, vec![]).await.expect("complete");
    let rows = seen(subject, "a").await.expect("a table");
    assert_eq!(rows.iter().filter(|row| row.1.starts_with("null")).count(), 1, "a NULL key matches itself");
}

pub async fn deletes(subject: &dyn Subject) {
    let mut with_deletes = target("a", Incremental, AppendDedup, 0);
    with_deletes.columns.push(("_ab_cdc_deleted_at".into(), ColumnType::String));
    let targets = [with_deletes];
    let change = |id: i64, at: i64, deleted: Option<&str>| {
        let columns = vec![
            ("id", integers([id])),
            ("name", texts([format!("n{id}")])),
            ("updated_at", integers([at])),
            ("_ab_cdc_deleted_at", texts([deleted.map(str::to_owned)])),
        ];
        Batch::new(StreamIndex(0), batch(columns), 1_700_000_000_000)
    };
    let mut session = Session::fresh(subject, claim(1, 0), &targets).await;
    let all =
        vec![change(1, 1, None), change(2, 1, None), change(3, 1, None), change(4, 1, None), change(4, 2, Some("x"))];
    session.complete(0, all).await.expect("complete");
    assert_eq!(seen(subject, "a").await, named(1..=3));
    session.close().await;
    let mut session = Session::resumed(subject, claim(2, 0), &targets).await;
    // One is deleted, one was deleted before it came again, one never existed, one deletion is older than its row.
    let all = vec![
        change(1, 5, Some("x")),
        change(2, 5, Some("x")),
        change(2, 6, None),
        change(9, 5, Some("x")),
        change(3, 0, Some("x")),
    ];
    session.complete(0, all).await.expect("complete");
    assert_eq!(seen(subject, "a").await, named(2..=3));
}

pub async fn overwrite_dedup(subject: &dyn Subject) {
    let mut session = Session::fresh(subject, claim(1, 0), &[target("a", FullRefresh, OverwriteDedup, 1)]).await;
    session.complete(0, vec![numbered(0, 1..=3), numbered(0, 2..=3)]).await.expect("complete");
    assert_eq!(seen(subject, "a").await, named(1..=3));
    session.close().await;
    let mut session = Session::fresh(subject, claim(2, 0), &[target("a", FullRefresh, OverwriteDedup, 2)]).await;
    session.commit(0, vec![numbered(0, 3..=4)]).await.expect("commit");
    assert_eq!(seen(subject, "a").await, named(1..=3));
    session.complete(0, vec![numbered(0, 4..=4)]).await.expect("complete");
    assert_eq!(seen(subject, "a").await, named(3..=4));
}

pub async fn spill(subject: &dyn Subject) {
    for (name, sync_mode, mode) in
        known(subject, [("a", Incremental, Append), ("b", FullRefresh, Overwrite), ("c", Incremental, AppendDedup)])
    {
        let claim = |job, attempt| claim_of(name, job, attempt);
        let targets = [target(name, sync_mode, mode, 1)];
        let mut session = Session::fresh(subject, claim(1, 0), &targets).await;
        session.writer.spill(vec![numbered(0, 1..=3)]).await.expect("spill");
        session.writer.spill(vec![numbered(0, 4..=5)]).await.expect("spill");
        assert!(seen(subject, name).await.is_none_or(|rows| rows.is_empty()), "no row that no mark covers is seen");
        let mut piece = session.piece(Scope::Stream(stream(name)), vec![numbered(0, 6..=6)]);
        piece.counts = vec![(StreamIndex(0), Counts { read: 6, ..Counts::default() })];
        let durable = session.writer.commit(Commit { streams: vec![piece] }).await.expect("commit");
        assert_eq!(written(&durable), 6, "the tail comes with its mark");
        session.writer.spill(vec![numbered(0, 7..=7)]).await.expect("spill");
        session.complete(0, vec![]).await.expect("complete");
        assert_eq!(seen(subject, name).await, named(1..=7));
        session.close().await;

        // A tail of an attempt that died is dropped.
        let mut dead = Session::resumed(subject, claim(2, 0), &targets).await;
        dead.writer.spill(vec![numbered(0, 8..=9)]).await.expect("spill");
        drop(dead);
        let mut session = Session::resumed(subject, claim(2, 1), &targets).await;
        session.complete(0, vec![numbered(0, 8..=8)]).await.expect("complete");
        let ids: Vec<i64> = seen(subject, name).await.expect("a table").iter().map(|row| row.0).collect();
        let expected: &[i64] = if name == "b" { &[8] } else { &[1, 2, 3, 4, 5, 6, 7, 8] };
        assert_eq!(ids, expected, "rows of a dropped tail do not come back");
        session.close().await;
    }
}

pub async fn two_streams(subject: &dyn Subject) {
    let targets = [target("a", Incremental, Append, 0), target("b", FullRefresh, Overwrite, 1)];
    let mut session = Session::fresh(subject, claim(1, 0), &targets).await;
    let both = vec![
        session.piece(Scope::Stream(stream("a")), vec![numbered(0, 1..=2)]),
        session.piece(Scope::Stream(stream("b")), vec![numbered(1, 1..=3)]),
    ];
    let durable = session.writer.commit(Commit { streams: both }).await.expect("commit");
    assert_eq!(durable.len(), 2);
    assert_eq!(durable[0].written, [(StreamIndex(0), 2)]);
    assert_eq!(durable[1].written, [(StreamIndex(1), 3)]);
    assert_eq!(durable[1].position.lines[0].place, Place::Staging);
    session.complete(1, vec![]).await.expect("complete");
    session.commit(0, vec![numbered(0, 3..=3)]).await.expect("commit after another stream's end");
    session.complete(0, vec![]).await.expect("complete");
    assert_eq!(seen(subject, "a").await, named(1..=3));
    assert_eq!(seen(subject, "b").await, named(1..=3));
}

pub async fn one_state_for_all(subject: &dyn Subject) {
    let (sync_mode, mode) = staged(subject);
    let targets = [target("a", Incremental, Append, 0), target("b", sync_mode, mode, 0)];
    let mut session = Session::fresh(subject, claim(1, 0), &targets).await;
    session.writer.spill(vec![numbered(1, 1..=1)]).await.expect("spill");
    let piece = session.piece(Scope::All, vec![numbered(0, 1..=2), numbered(1, 2..=2), numbered(0, 3..=3)]);
    let durable = session.writer.commit(Commit { streams: vec![piece] }).await.expect("commit");
    assert_eq!(durable[0].position.lines.len(), 2, "a global position has a line for every stream");
    assert_eq!(durable[0].position.line(&stream("b")).map(|line| line.place), Some(Place::Staging));
    assert_eq!(durable[0].position.line(&stream("a")).map(|line| line.place), Some(Place::Final));
    // One row twice, where that makes one row.
    let last = if subject.merges() { 2..=3 } else { 3..=3 };
    session.complete_all(vec![numbered(1, last)]).await.expect("complete");
    assert_eq!(seen(subject, "a").await, named(1..=3));
    assert_eq!(seen(subject, "b").await, named(1..=3));
    session.close().await;
    if subject.remembers() {
        let session = Session::recover(subject, claim(1, 1), &targets).await;
        let position = session.position(&Scope::All).expect("a position");
        assert_eq!(position.kind, PositionKind::End);
        assert!(position.lines.iter().all(|line| line.place == Place::Final));
        let written = if subject.merges() { 4 } else { 3 };
        assert_eq!(position.line(&stream("b")).map(|line| line.counts.written), Some(written));
    }
}

pub async fn clear(subject: &dyn Subject) {
    let (sync_mode, mode) = staged(subject);
    let targets =
        [target("a", Incremental, Append, 0), target("b", sync_mode, mode, 0), target("c", Incremental, Append, 0)];
    let mut session = Session::fresh(subject, claim(1, 0), &targets[..2]).await;
    session.complete(0, vec![numbered(0, 1..=2)]).await.expect("complete");
    session.commit(1, vec![numbered(1, 1..=2)]).await.expect("commit");
    session.close().await;
    let mut session = Session::recover(subject, claim(2, 0), &targets).await;
    let durable = session.clear(&[0, 2], None).await.expect("clear");
    assert_eq!(durable.len(), 2);
    assert!(
        durable.iter().all(|durable| durable.position.kind == PositionKind::Clear && durable.position.state.is_none())
    );
    assert_eq!(seen(subject, "a").await, Some(vec![]), "a table is emptied, not dropped");
    assert_eq!(seen(subject, "c").await, None, "a table that is not there is not made");
    session.close().await;
    if subject.remembers() {
        let mut session = Session::recover(subject, claim(3, 0), &targets).await;
        assert_eq!(session.position(&Scope::Stream(stream("a"))).map(|p| p.kind), Some(PositionKind::Clear));
        assert_eq!(session.staging("b"), Some(0), "another stream's staging is left alone");
        session.clear(&[1], None).await.expect("clear");
        session.close().await;
        let session = Session::recover(subject, claim(4, 0), &targets).await;
        assert_eq!(session.staging("b"), None, "staging goes with a clear");
    }
}

pub async fn clear_in_a_shared_chain(subject: &dyn Subject) {
    let (sync_mode, mode) = staged(subject);
    let targets = [target("a", Incremental, Append, 0), target("b", sync_mode, mode, 0)];
    let mut session = Session::fresh(subject, claim(1, 0), &targets).await;
    let piece = session.piece(Scope::All, vec![numbered(0, 1..=2), numbered(1, 1..=2)]);
    let durable = session.writer.commit(Commit { streams: vec![piece] }).await.expect("commit");
    let line: Line = durable[0].position.line(&stream("b")).cloned().expect("a line");
    session.close().await;
    let mut session = Session::recover(subject, claim(2, 0), &targets).await;
    let remaining = Remaining { state: Some(global(99)), lines: vec![line] };
    session.clear(&[0], Some(remaining)).await.expect("clear");
    session.close().await;
    let mut session = Session::recover(subject, claim(3, 0), &targets).await;
    let position = session.position(&Scope::All).expect("a position");
    assert_eq!(position.kind, PositionKind::Clear);
    assert_eq!(position.state, Some(global(99)));
    assert_eq!(session.staging("b"), Some(0), "a clear keeps the place of the other streams' rows");
    session.start(&[StreamPlan::Fresh { generation: 0 }, StreamPlan::Resume { generation: 0 }]).await;
    session.complete_all(vec![numbered(1, 3..=3)]).await.expect("complete");
    assert_eq!(seen(subject, "a").await, Some(vec![]));
    assert_eq!(seen(subject, "b").await, named(1..=3));
}

pub async fn columns_come_and_go(subject: &dyn Subject) {
    for (name, sync_mode, mode) in
        known(subject, [("a", Incremental, Append), ("b", Incremental, AppendDedup), ("c", FullRefresh, Append)])
    {
        let claim = |job, attempt| claim_of(name, job, attempt);
        let old = target(name, sync_mode, mode, 1);
        let mut session = Session::fresh(subject, claim(1, 0), &[old]).await;
        session.complete(0, vec![numbered(0, 1..=1)]).await.expect("complete");
        session.close().await;
        let mut new = target(name, sync_mode, mode, 2);
        new.columns[1] = ("size".into(), ColumnType::Number);
        let mut session = Session::fresh(subject, claim(2, 0), &[new]).await;
        let rows = batch(vec![("id", integers([2])), ("size", integers([7])), ("updated_at", integers([2]))]);
        session.complete(0, vec![Batch::new(StreamIndex(0), rows, 0)]).await.expect("complete");
        session.close().await;
        let mut rows = subject.rows(&table(name)).await.expect("a table");
        rows.sort_by_key(|row| row["id"].as_i64());
        let get = |row: usize, column: &str| rows[row].get(column).cloned().unwrap_or(Value::Null);
        assert_eq!((get(0, "name"), get(0, "size")), (json!("n1"), Value::Null), "old rows keep what they have");
        assert_eq!((get(1, "name"), get(1, "size").as_f64()), (Value::Null, Some(7.0)), "new rows have the new column");
    }
}

pub async fn bad_values(subject: &dyn Subject) {
    let mut odd = target("a", Incremental, Append, 0);
    odd.columns[1] = ("name".into(), ColumnType::Number);
    let mut session = Session::fresh(subject, claim(1, 0), &[odd]).await;
    let numbers = Arc::new(arrow_array::Float64Array::from(vec![1.5, f64::NAN, f64::INFINITY]));
    let rows = batch(vec![("id", integers([1, 2, 3])), ("name", numbers), ("updated_at", integers([1, 2, 3]))]);
    let durable =
        session.complete(0, vec![Batch::new(StreamIndex(0), rows, 0)]).await.expect("a bad value never fails a sync");
    assert_eq!(written(&durable), 3);
    let rows = subject.rows(&table("a")).await.expect("a table");
    let value = |row: usize| rows[row].get("name").cloned().unwrap_or_default();
    assert_eq!(value(0), json!(1.5));
    let kept_or_null = |row: usize, word: &str| value(row).is_null() || value(row) == word;
    assert!(kept_or_null(1, "NaN") && kept_or_null(2, "Infinity"), "what is no number stays what it is, or is NULL");
}

pub async fn cancel(subject: &dyn Subject) {
    let targets = [target("a", Incremental, Append, 0)];
    let mut session = Session::fresh(subject, claim(1, 0), &targets).await;
    session.commit(0, vec![numbered(0, 1..=1)]).await.expect("commit");
    session.cancel.cancel();
    refused(
        session.commit(0, vec![numbered(0, 2..=2)]).await,
        ErrorKind::Cancelled,
        "a cancelled attempt writes nothing",
    );
    session.close().await;
    assert_eq!(seen(subject, "a").await, named(1..=1));
}

pub async fn empty_stream(subject: &dyn Subject) {
    let all = [
        ("a", Incremental, Append),
        ("b", FullRefresh, Append),
        ("c", Incremental, AppendDedup),
        ("d", FullRefresh, Overwrite),
    ];
    for (name, sync_mode, mode) in known(subject, all) {
        let claim = |job, attempt| claim_of(name, job, attempt);
        let mut session = Session::fresh(subject, claim(1, 0), &[target(name, sync_mode, mode, 1)]).await;
        session.complete(0, vec![]).await.expect("complete");
        assert_eq!(seen(subject, name).await, Some(vec![]), "a stream without rows gets its table");
        session.close().await;
    }
}

/// Every way to write.
async fn try_everything(session: &mut Session, kind: ErrorKind, law: &str) {
    refused(session.commit(0, vec![numbered(0, 50..=51)]).await, kind, law);
    refused(session.complete(0, vec![numbered(0, 50..=51)]).await, kind, law);
    refused(session.writer.spill(vec![numbered(0, 50..=51)]).await, kind, law);
    refused(session.clear(&[0], None).await, kind, law);
    let plan = [StreamPlan::Fresh { generation: 1 }];
    refused(session.writer.start(&plan).await, kind, law);
}

pub async fn fence(subject: &dyn Subject) {
    for (name, sync_mode, mode) in [("a", Incremental, Append), ("b", FullRefresh, Overwrite)] {
        let claim = |job, attempt| claim_of(name, job, attempt);
        let targets = [target(name, sync_mode, mode, 1)];
        let mut old = Session::fresh(subject, claim(1, 0), &targets).await;
        old.commit(0, vec![numbered(0, 1..=2)]).await.expect("commit");
        let mut new = Session::recover(subject, claim(1, 1), &targets).await;
        try_everything(&mut old, ErrorKind::Fenced, "an old owner writes nothing").await;
        let kept = matches!(new.recovered, crate::Recovered::Positions { .. });
        let generation = 1;
        new.start(&[if kept { StreamPlan::Resume { generation } } else { StreamPlan::Fresh { generation } }]).await;
        new.commit(0, vec![numbered(0, 3..=3)]).await.expect("commit");
        try_everything(&mut old, ErrorKind::Fenced, "an old owner writes nothing later").await;
        new.complete(0, vec![]).await.expect("complete");
        let expected = if kept || mode == Append { named(1..=3) } else { named(3..=3) };
        assert_eq!(seen(subject, name).await, expected, "nothing of the old owner is there");
        // A lower job or attempt of the same store is refused.
        for (job, attempt) in [(0, 5), (1, 0)] {
            let cancel = CancellationToken::new();
            let mut late = open(subject, claim(job, attempt), &targets, &cancel).await;
            assert!(
                late.recover(Arc::new(Yes)).await.is_err(),
                "job {job}, attempt {attempt} came after job 1, attempt 1"
            );
        }
        new.close().await;
    }
}

pub async fn refused_admission(subject: &dyn Subject) {
    let targets = [target("a", Incremental, Append, 0)];
    let mut old = Session::fresh(subject, claim(1, 0), &targets).await;
    old.commit(0, vec![numbered(0, 1..=1)]).await.expect("commit");
    let cancel = CancellationToken::new();
    let mut new = open(subject, claim(1, 1), &targets, &cancel).await;
    refused(new.recover(Arc::new(No)).await, ErrorKind::Fenced, "a claim that is not confirmed takes no fence");
    if subject.remembers() {
        old.commit(0, vec![numbered(0, 2..=2)]).await.expect("the old owner goes on");
        assert_eq!(seen(subject, "a").await, named(1..=2));
    }
}

pub async fn resume_staging(subject: &dyn Subject) {
    for (name, sync_mode, mode) in
        known(subject, [("a", FullRefresh, Overwrite), ("b", FullRefresh, Append), ("c", Incremental, AppendDedup)])
    {
        let claim = |job, attempt| claim_of(name, job, attempt);
        let targets = [target(name, sync_mode, mode, 4)];
        let mut first = Session::fresh(subject, claim(1, 0), &targets).await;
        assert_eq!(first.staging(name), None);
        first.commit(0, vec![numbered(0, 1..=3)]).await.expect("commit");
        // As a crash would leave it.
        drop(first);
        let mut second = Session::recover(subject, claim(1, 1), &targets).await;
        assert_eq!(second.staging(name), Some(4), "staging that the position names is kept");
        second.start(&[StreamPlan::Resume { generation: 4 }]).await;
        second.commit(0, vec![numbered(0, 4..=4)]).await.expect("commit");
        let durable = second.complete(0, vec![numbered(0, 5..=5)]).await.expect("complete");
        let line = &durable[0].position.lines[0];
        assert_eq!((line.counts.written, line.place), (5, Place::Final), "totals are those of the job");
        assert_eq!(seen(subject, name).await, named(1..=5));
        second.close().await;
        let third = Session::recover(subject, claim(1, 2), &targets).await;
        assert_eq!(third.staging(name), None, "nothing is left beside the table");
        third.close().await;
    }
}

pub async fn stale_staging(subject: &dyn Subject) {
    let mut first = Session::fresh(subject, claim(1, 0), &[target("a", FullRefresh, Overwrite, 4)]).await;
    first.commit(0, vec![numbered(0, 1..=3)]).await.expect("commit");
    drop(first);
    let next = [target("a", FullRefresh, Overwrite, 5)];
    let mut second = Session::recover(subject, claim(2, 0), &next).await;
    assert_eq!(second.staging("a"), None, "a full refresh keeps staging of its own generation only");
    second.start(&[StreamPlan::Fresh { generation: 5 }]).await;
    second.commit(0, vec![numbered(0, 7..=7)]).await.expect("commit");
    drop(second);
    // A later attempt begins again under a new generation.
    let mut third = Session::recover(subject, claim(2, 1), &next).await;
    third.start(&[StreamPlan::Fresh { generation: 6 }]).await;
    third.complete(0, vec![numbered(0, 8..=8)]).await.expect("complete");
    assert_eq!(seen(subject, "a").await, named(8..=8));
    third.close().await;

    if !subject.merges() {
        return;
    }
    // An incremental stream goes on with the generation that its staging carries.
    let mut first = Session::fresh(subject, claim(3, 0), &[target("b", Incremental, AppendDedup, 1)]).await;
    first.commit(0, vec![numbered(0, 1..=3)]).await.expect("commit");
    drop(first);
    let mut second = Session::recover(subject, claim(4, 0), &[target("b", Incremental, AppendDedup, 2)]).await;
    assert_eq!(second.staging("b"), Some(1));
    second.start(&[StreamPlan::Resume { generation: 1 }]).await;
    second.complete(0, vec![]).await.expect("complete");
    assert_eq!(seen(subject, "b").await, named(1..=3));
}

pub async fn positions(subject: &dyn Subject) {
    let targets = [target("a", Incremental, Append, 0)];
    let mut first = Session::fresh(subject, claim(1, 0), &targets).await;
    assert_eq!(first.position(&Scope::Stream(stream("a"))), None);
    let durable = first.commit(0, vec![numbered(0, 1..=3)]).await.expect("commit");
    drop(first);
    let mut second = Session::resumed(subject, claim(1, 1), &targets).await;
    let position = second.position(&Scope::Stream(stream("a"))).expect("a position");
    assert_eq!(position, durable[0].position, "what was answered is what is found, the state byte for byte");
    assert_eq!(position.lines[0].counts, Counts { read: 3, written: 3, bytes: 30, ..Counts::default() });
    let durable = second.commit(0, vec![numbered(0, 4..=4)]).await.expect("commit");
    assert_eq!(durable[0].position.lines[0].counts.written, 4, "totals go on within a job");
    second.close().await;
    let mut third = Session::resumed(subject, claim(2, 0), &targets).await;
    let durable = third.commit(0, vec![numbered(0, 5..=5)]).await.expect("commit");
    assert_eq!(durable[0].position.lines[0].counts.written, 1, "totals begin anew with a job");
    third.close().await;
    // Another connection has positions and fences of its own.
    let mut other = claim(1, 0);
    other.connection = "another".into();
    let session = Session::recover(subject, other, &targets).await;
    assert_eq!(session.position(&Scope::Stream(stream("a"))), None);
    session.close().await;
    // Another store finds the position and takes the fence, whatever its numbers.
    let mut other = claim(0, 0);
    other.store = "another".into();
    let session = Session::recover(subject, other, &targets).await;
    assert_eq!(session.position(&Scope::Stream(stream("a"))).map(|p| p.store), Some("store".to_owned()));
}

pub async fn position_moved(subject: &dyn Subject) {
    let targets = [target("a", Incremental, Append, 0)];
    let mut one = Session::fresh(subject, claim(1, 0), &targets).await;
    // The same owner twice stands for a destination that was changed under a running attempt.
    let mut two = Session::resumed(subject, claim(1, 0), &targets).await;
    two.commit(0, vec![numbered(0, 1..=1)]).await.expect("commit");
    refused(
        one.commit(0, vec![numbered(0, 2..=2)]).await,
        ErrorKind::Moved,
        "a position that is ahead stops the writer",
    );
    refused(one.complete(0, vec![numbered(0, 2..=2)]).await, ErrorKind::Moved, "also at the end");
    refused(one.writer.spill(vec![numbered(0, 2..=2)]).await, ErrorKind::Moved, "also for a tail");
    refused(one.clear(&[0], None).await, ErrorKind::Moved, "also for a clear");
    assert_eq!(seen(subject, "a").await, named(1..=1));
}

pub async fn done_is_left_alone(subject: &dyn Subject) {
    let targets = [target("a", FullRefresh, Overwrite, 1), target("b", Incremental, Append, 0)];
    let mut first = Session::fresh(subject, claim(1, 0), &targets).await;
    first.complete(0, vec![numbered(0, 1..=2)]).await.expect("complete");
    drop(first);
    let mut second = Session::recover(subject, claim(1, 1), &targets).await;
    second.start(&[StreamPlan::Done, StreamPlan::Resume { generation: 0 }]).await;
    second.complete(1, vec![numbered(1, 1..=1)]).await.expect("complete");
    second.close().await;
    assert_eq!(seen(subject, "a").await, named(1..=2));
    assert_eq!(seen(subject, "b").await, named(1..=1));
    let session = Session::recover(subject, claim(1, 2), &targets).await;
    assert_eq!(session.position(&Scope::Stream(stream("a"))).map(|p| p.attempt), Some(0));
}
