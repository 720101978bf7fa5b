//! One attempt at a destination, in the few words that a law needs.

use std::sync::Arc;

use async_trait::async_trait;
use protocol::{
    ColumnType, DestinationSyncMode, Json, StateMessage, StreamDescriptor, SyncMode,
    checkpoint::{Claim, Counts, Point, Position, Scope},
};
use serde_json::json;
use tokio_util::sync::CancellationToken;

use super::Subject;
use crate::{
    Admission, Batch, Clear, Commit, Complete, Durable, Error, OpenRequest, Recovered, Remaining, Result, StreamCommit,
    StreamIndex, StreamPlan, Target, Writer,
    testing::rows::{Row, batch, integers, texts},
};

pub fn stream(name: &str) -> StreamDescriptor {
    StreamDescriptor::new(Some("space"), name)
}

pub fn table(name: &str) -> StreamDescriptor {
    StreamDescriptor::new(None, format!("t_{name}"))
}

/// A stream `{id, name, updated_at}` with key `id` and cursor `updated_at`.
pub fn target(name: &str, sync_mode: SyncMode, mode: DestinationSyncMode, generation: i64) -> Target {
    Target {
        stream: stream(name),
        table: table(name),
        columns: vec![
            ("id".into(), ColumnType::Integer),
            ("name".into(), ColumnType::String),
            ("updated_at".into(), ColumnType::Integer),
        ],
        sync_mode,
        mode,
        primary_key: vec!["id".into()],
        cursor: Some("updated_at".into()),
        generation,
    }
}

/// Rows of the stream at `index`.
pub fn rows(index: usize, rows: &[(i64, &str, Option<i64>)]) -> Batch {
    let columns = vec![
        ("id", integers(rows.iter().map(|row| row.0))),
        ("name", texts(rows.iter().map(|row| row.1.to_owned()))),
        ("updated_at", integers(rows.iter().map(|row| row.2))),
    ];
    Batch::new(StreamIndex(index), batch(columns), 1_700_000_000_000)
}

/// `ids` with names and cursors made from them.
pub fn numbered(index: usize, ids: std::ops::RangeInclusive<i64>) -> Batch {
    let all: Vec<(i64, String)> = ids.map(|id| (id, format!("n{id}"))).collect();
    let all: Vec<(i64, &str, Option<i64>)> = all.iter().map(|(id, name)| (*id, name.as_str(), Some(*id))).collect();
    rows(index, &all)
}

pub struct Yes;

#[async_trait]
impl Admission for Yes {
    async fn confirm(&self, _positions: &[Position]) -> Result<()> {
        Ok(())
    }
}

pub struct No;

#[async_trait]
impl Admission for No {
    async fn confirm(&self, _positions: &[Position]) -> Result<()> {
        Err(Error::new(crate::ErrorKind::Fenced, "The claim is no longer held"))
    }
}

pub fn claim(job: i64, attempt: i64) -> Claim {
    claim_of("connection", job, attempt)
}

pub fn claim_of(connection: &str, job: i64, attempt: i64) -> Claim {
    Claim {
        store: "store".into(),
        connection: connection.into(),
        job,
        attempt,
        owner: format!("owner of {job}.{attempt}"),
    }
}

pub struct Session {
    pub writer: Box<dyn Writer>,
    pub recovered: Recovered,
    pub targets: Vec<Target>,
    pub cancel: CancellationToken,
    seq: i64,
    origin: i64,
}

pub async fn open(
    subject: &dyn Subject,
    claim: Claim,
    targets: &[Target],
    cancel: &CancellationToken,
) -> Box<dyn Writer> {
    let (notes, _) = tokio::sync::mpsc::unbounded_channel();
    let request =
        OpenRequest { config: subject.config(), claim, targets: targets.to_vec(), cancel: cancel.clone(), notes };
    subject.destination().open(request).await.expect("the destination opens")
}

impl Session {
    /// Opens and recovers.
    pub async fn recover(subject: &dyn Subject, claim: Claim, targets: &[Target]) -> Self {
        let cancel = CancellationToken::new();
        let mut writer = open(subject, claim.clone(), targets, &cancel).await;
        let recovered = writer.recover(Arc::new(Yes)).await.expect("recover succeeds");
        let origin = 10 + claim.job;
        Self { writer, recovered, targets: targets.to_vec(), cancel, seq: claim.attempt * 100, origin }
    }

    /// Opens, recovers, and starts every stream afresh.
    pub async fn fresh(subject: &dyn Subject, claim: Claim, targets: &[Target]) -> Self {
        let mut session = Self::recover(subject, claim, targets).await;
        let plans = targets.iter().map(|t| StreamPlan::Fresh { generation: t.generation }).collect::<Vec<_>>();
        session.start(&plans).await;
        session
    }

    /// Opens, recovers, and goes on where the last attempt was.
    pub async fn resumed(subject: &dyn Subject, claim: Claim, targets: &[Target]) -> Self {
        let mut session = Self::recover(subject, claim, targets).await;
        let plans = targets.iter().map(|t| StreamPlan::Resume { generation: t.generation }).collect::<Vec<_>>();
        session.start(&plans).await;
        session
    }

    pub async fn start(&mut self, plans: &[StreamPlan]) {
        self.writer.start(plans).await.expect("start succeeds");
    }

    pub fn staging(&self, name: &str) -> Option<i64> {
        let Recovered::Positions { staging, .. } = &self.recovered else { panic!("the destination forgot") };
        staging.iter().find(|(found, _)| *found == stream(name)).and_then(|(_, generation)| *generation)
    }

    pub fn position(&self, scope: &Scope) -> Option<Position> {
        let Recovered::Positions { positions, .. } = &self.recovered else { panic!("the destination forgot") };
        positions.iter().find(|position| position.scope == *scope).cloned()
    }

    pub fn scope(&self, index: usize) -> Scope {
        Scope::Stream(self.targets[index].stream.clone())
    }

    /// Rows of one scope with the next mark; every batch counts as read.
    pub fn piece(&mut self, scope: Scope, batches: Vec<Batch>) -> StreamCommit {
        self.seq += 1;
        let mut counts: Vec<(StreamIndex, Counts)> = Vec::new();
        for batch in &batches {
            let read = batch.rows.num_rows() as i64;
            match counts.iter_mut().find(|(stream, _)| *stream == batch.stream) {
                Some((_, counts)) => counts.read += read,
                None => counts.push((batch.stream, Counts { read, bytes: read * 10, ..Counts::default() })),
            }
        }
        let state = match &scope {
            Scope::Stream(stream) => state(stream, self.seq),
            Scope::All => global(self.seq),
        };
        let point = Point { origin: self.origin, seq: self.seq };
        StreamCommit { scope, batches, point, state: Some(state), counts }
    }

    pub async fn commit(&mut self, index: usize, batches: Vec<Batch>) -> Result<Vec<Durable>> {
        let scope = self.scope(index);
        let piece = self.piece(scope, batches);
        self.writer.commit(Commit { streams: vec![piece] }).await
    }

    pub async fn complete(&mut self, index: usize, batches: Vec<Batch>) -> Result<Vec<Durable>> {
        let scope = self.scope(index);
        let commit = self.piece(scope, batches);
        self.writer.complete(Complete { commit, streams: vec![StreamIndex(index)] }).await
    }

    pub async fn complete_all(&mut self, batches: Vec<Batch>) -> Result<Vec<Durable>> {
        let commit = self.piece(Scope::All, batches);
        let streams = (0..self.targets.len()).map(StreamIndex).collect();
        self.writer.complete(Complete { commit, streams }).await
    }

    pub async fn clear(&mut self, streams: &[usize], remaining: Option<Remaining>) -> Result<Vec<Durable>> {
        let point = Point { origin: self.origin, seq: 0 };
        let streams = streams.iter().copied().map(StreamIndex).collect();
        self.writer.clear(Clear { streams, point, remaining }).await
    }

    pub async fn close(self) {
        self.writer.close().await.expect("close succeeds");
    }
}

pub fn state(stream: &StreamDescriptor, seq: i64) -> StateMessage {
    StateMessage::stream(stream.clone(), Some(Json::from_value(&json!({"seq": seq, "big": 1e300})).expect("JSON")))
}

pub fn global(seq: i64) -> StateMessage {
    let text =
        format!(r#"{{"type":"GLOBAL","global":{{"shared_state":{{"seq":{seq}}},"stream_states":[]}},"id":{seq}}}"#);
    serde_json::from_str(&text).expect("a global state")
}

/// `(id, name)` of every row, in order of id and name; `None` where there is no table.
pub async fn seen(subject: &dyn Subject, name: &str) -> Option<Vec<(i64, String)>> {
    let rows = subject.rows(&table(name)).await?;
    let pair =
        |row: &Row| (row["id"].as_i64().unwrap_or_default(), row["name"].as_str().unwrap_or_default().to_owned());
    let mut pairs: Vec<_> = rows.iter().map(pair).collect();
    pairs.sort();
    Some(pairs)
}

pub fn named(ids: std::ops::RangeInclusive<i64>) -> Option<Vec<(i64, String)>> {
    let mut pairs: Vec<_> = ids.map(|id| (id, format!("n{id}"))).collect();
    pairs.sort();
    Some(pairs)
}
