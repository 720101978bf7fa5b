//! The writer: what one attempt does to the database, each step one transaction that first locks the fence and checks the
//! position and what lies beside the tables. Start with [`Writer::recover`] and [`Step::append`].

use std::{collections::HashMap, sync::Arc};

use async_trait::async_trait;
use connector::{
    Admission, Batch, Clear, Commit, Complete, Durable, Error, Notes, OpenRequest, Recovered, Result, StreamIndex,
    StreamPlan, Writer,
    failpoint::{planted, point},
};
use protocol::{
    StreamDescriptor,
    checkpoint::{Claim, Position, PositionKind, Scope},
};
use tokio_util::sync::CancellationToken;

use super::{
    access::explain,
    commits::{self, Head},
    lane::{Lane, lanes},
    names::{Place, stagings_of, tails_of},
    table,
};
use crate::{
    direct::position,
    postgres::client::{Server, Session},
};

/// How long one try for the fence waits, and after how many of them whoever has it is ended: the store has given its claim
/// to us, so its process is paused or gone.
const FENCE_TIMEOUT: &str = "2s";
const FENCE_TRIES: u32 = 15;

pub struct PostgresWriter {
    /// Absent after an error of the connection.
    session: Option<Session>,
    server: Arc<Server>,
    notes: Notes,
    book: Book,
}

/// What the attempt knows about the database. A step works on a copy, which replaces this one when it has committed.
#[derive(Clone)]
pub struct Book {
    pub claim: Claim,
    pub cancel: CancellationToken,
    /// The default schema, in which everything lies that is not a final table.
    pub home: String,
    pub lanes: Arc<Vec<Lane>>,
    /// As last read or written.
    pub positions: HashMap<Scope, Position>,
    /// Rows in staging, by lane.
    pub staged: Vec<i64>,
    /// Rows in the tail, by lane.
    pub tailed: Vec<i64>,
    /// The tail of this attempt, by lane.
    pub tails: Vec<Option<String>>,
}

/// A transaction that runs.
pub struct Step {
    pub session: Session,
    pub book: Book,
    /// Where positions stand in the database.
    pub found: HashMap<Scope, Head>,
    /// For the log, once it has committed.
    pub told: Vec<String>,
}

impl PostgresWriter {
    pub fn new(session: Session, home: String, soft_deletes: bool, request: OpenRequest) -> Result<Self> {
        let lanes = Arc::new(lanes(&request.claim.connection, &home, soft_deletes, request.targets)?);
        let count = lanes.len();
        let book = Book {
            claim: request.claim,
            cancel: request.cancel,
            home,
            positions: HashMap::new(),
            staged: vec![0; count],
            tailed: vec![0; count],
            tails: vec![None; count],
            lanes,
        };
        Ok(Self { server: session.server().clone(), session: Some(session), notes: request.notes, book })
    }

    fn take(&mut self) -> Result<Session> {
        if self.book.cancel.is_cancelled() {
            return Err(Error::cancelled());
        }
        self.session
            .take()
            .ok_or_else(|| Error::transient(format!("The connection to {} broke before", self.server.place())))
    }

    /// Begins a step as the owner of the fence.
    async fn begin(&mut self) -> Result<Step> {
        let mut session = self.take()?;
        match commits::begin(&mut session, &self.book.home, &self.book.claim).await {
            Ok(found) => Ok(Step { session, book: self.book.clone(), found, told: Vec::new() }),
            Err(error) => Err(self.give_up(session, error).await),
        }
    }

    /// Commits a step that succeeded, and takes back one that did not.
    async fn end<T>(&mut self, step: Step, result: Result<T>) -> Result<T> {
        let Step { mut session, book, told, .. } = step;
        let value = match result {
            Ok(value) => value,
            Err(error) => return Err(self.give_up(session, error).await),
        };
        if let Err(error) = session.execute("COMMIT").await {
            return Err(self.give_up(session, error).await);
        }
        self.session = Some(session);
        self.book = book;
        for line in told {
            self.note(tracing::Level::INFO, line);
        }
        Ok(value)
    }

    /// Keeps the session if the server is still there; otherwise the server takes back by itself.
    async fn give_up(&mut self, mut session: Session, error: Error) -> Error {
        if !self.book.cancel.is_cancelled() && session.execute("ROLLBACK").await.is_ok() {
            self.session = Some(session);
        }
        explain(error, &self.server, self.book.lanes.iter().map(|lane| &lane.table))
    }

    fn note(&self, level: tracing::Level, text: String) {
        // Nobody may listen any more.
        let _ = self.notes.send((level, text));
    }

    /// Begins a transaction that has taken the fence, however long its owner holds it.
    async fn take_over(&mut self, session: &mut Session) -> Result<()> {
        let Book { home, claim, .. } = &self.book;
        for tried in 1.. {
            session
                .execute(&format!(
                    "BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE; SET LOCAL lock_timeout = '{FENCE_TIMEOUT}'"
                ))
                .await?;
            match commits::take_fence(session, home, claim).await {
                Ok(()) => break,
                Err(error) if commits::is_lock_timeout(&error) => session.execute("ROLLBACK").await?,
                Err(error) => return Err(error),
            };
            let holders = commits::holders(session, home, claim).await?.join(", ");
            if tried == 1 {
                self.note(
                    tracing::Level::WARN,
                    format!(
                        "Waiting for an earlier attempt of this connection that still writes (server process {holders})"
                    ),
                );
            }
            if tried % FENCE_TRIES == 0 && !holders.is_empty() {
                self.note(
                    tracing::Level::WARN,
                    format!("Ending server process {holders}: its attempt is over and does not let go"),
                );
                session
                    .query(&format!("SELECT pg_catalog.pg_terminate_backend(pid) FROM unnest(ARRAY[{holders}]) pid"))
                    .await?;
            }
        }
        session.execute("SET LOCAL lock_timeout = 0").await?;
        Ok(())
    }

    /// A planted bug: the position in a transaction of its own.
    async fn write_late(&mut self, durable: &[Durable]) -> Result<()> {
        if !planted("commit-row-outside-transaction") {
            return Ok(());
        }
        let mut step = self.begin().await?;
        let mut result = Ok(());
        for durable in durable {
            if result.is_ok() {
                result = commits::write(&mut step.session, &step.book.home, &step.book.claim, &durable.position).await;
            }
        }
        self.end(step, result).await
    }
}

#[async_trait]
impl Writer for PostgresWriter {
    async fn recover(&mut self, admission: Arc<dyn Admission>) -> Result<Recovered> {
        let mut session = self.take()?;
        let home = self.book.home.clone();
        if let Err(error) = commits::create(&mut session, &home).await {
            return Err(self.give_up(session, error).await);
        }
        if let Err(error) = self.take_over(&mut session).await {
            return Err(self.give_up(session, error).await);
        }
        let mut step = Step { session, book: self.book.clone(), found: HashMap::new(), told: Vec::new() };
        let result = step.recover(admission).await;
        let recovered = self.end(step, result).await?;
        point("recover-after-commit");
        Ok(recovered)
    }

    async fn start(&mut self, plans: &[StreamPlan]) -> Result<()> {
        if plans.len() != self.book.lanes.len() {
            return Err(Error::system("There must be one plan per stream"));
        }
        let mut step = self.begin().await?;
        let result = step.start(plans).await;
        self.end(step, result).await
    }

    async fn spill(&mut self, batches: Vec<Batch>) -> Result<()> {
        let mut step = self.begin().await?;
        let result = step.spill(batches).await;
        self.end(step, result).await?;
        point("spill-after");
        Ok(())
    }

    async fn commit(&mut self, commit: Commit) -> Result<Vec<Durable>> {
        let mut step = self.begin().await?;
        let result = step.commit(commit).await;
        if result.is_ok() {
            point("commit-before");
        }
        let durable = self.end(step, result).await?;
        point("commit-after");
        self.write_late(&durable).await?;
        Ok(durable)
    }

    async fn complete(&mut self, complete: Complete) -> Result<Vec<Durable>> {
        // The place where a writer may be paused while another one takes over.
        point("complete-begin");
        let mut step = if planted("swap-without-fence") {
            let mut session = self.take()?;
            session.execute("BEGIN").await?;
            let mut step = Step { session, book: self.book.clone(), found: HashMap::new(), told: Vec::new() };
            step.believe().await?;
            step
        } else {
            self.begin().await?
        };
        let result = step.complete(complete).await;
        if result.is_ok() {
            point("complete-before");
        }
        let durable = self.end(step, result).await?;
        point("complete-after");
        self.write_late(&durable).await?;
        Ok(durable)
    }

    async fn clear(&mut self, clear: Clear) -> Result<Vec<Durable>> {
        let mut step = self.begin().await?;
        let result = step.clear(clear).await;
        if result.is_ok() {
            point("clear-before");
        }
        let durable = self.end(step, result).await?;
        point("clear-after");
        Ok(durable)
    }

    async fn close(self: Box<Self>) -> Result<()> {
        Ok(())
    }
}

impl Step {
    async fn recover(&mut self, admission: Arc<dyn Admission>) -> Result<Recovered> {
        self.book.positions = commits::read(&mut self.session, &self.book.home, &self.book.claim).await?;
        let staging = self.sweep().await?;
        let mut positions: Vec<Position> = self.book.positions.values().cloned().collect();
        positions.sort_by(|a, b| a.scope.cmp(&b.scope));
        admission.confirm(&positions).await?;
        point("recover-before-commit");
        Ok(Recovered::Positions { positions, staging })
    }

    /// Drops tails and every staging table that no position of this store stands for. Returns what was kept.
    async fn sweep(&mut self) -> Result<Vec<(StreamDescriptor, Option<i64>)>> {
        let Self { session, book, .. } = self;
        let home = book.home.clone();
        for tail in table::beginning(session, &home, &tails_of(&book.claim.connection)).await? {
            table::drop(session, &Place::new(&home, tail)).await?;
        }
        let named = position::kept_staging(&book.claim, &book.positions, book.lanes.iter().map(|lane| &lane.target));
        let mut kept = HashMap::new();
        for staging in table::beginning(session, &home, &stagings_of(&book.claim.connection)).await? {
            match named.get(&staging) {
                Some(generation) => {
                    kept.insert(staging, *generation);
                }
                None => table::drop(session, &Place::new(&home, staging)).await?,
            }
        }
        let mut lanes = (*book.lanes).clone();
        let mut answer = Vec::new();
        for (index, lane) in lanes.iter_mut().enumerate() {
            let prefix = lane.stagings();
            let found = kept.iter().find(|(name, _)| name.starts_with(&prefix)).map(|(_, generation)| *generation);
            book.tailed[index] = 0;
            book.tails[index] = None;
            book.staged[index] = 0;
            if let Some(generation) = found {
                lane.plan = StreamPlan::Resume { generation };
                book.staged[index] = table::rows(session, &lane.staging()).await?;
            }
            answer.push((lane.target.stream.clone(), found));
        }
        book.lanes = Arc::new(lanes);
        Ok(answer)
    }

    async fn start(&mut self, plans: &[StreamPlan]) -> Result<()> {
        for scope in self.book.positions.keys() {
            self.check_position(scope)?;
        }
        let mut lanes = (*self.book.lanes).clone();
        for (index, (lane, plan)) in lanes.iter_mut().zip(plans).enumerate() {
            // A generation that was raised has another staging table than the one that was found.
            let kept = (plan.generation() == Some(lane.generation())).then_some(self.book.staged[index]);
            lane.plan = plan.clone();
            self.book.staged[index] = lane.start(&mut self.session, kept).await?;
        }
        self.book.lanes = Arc::new(lanes);
        Ok(())
    }

    pub fn check_position(&self, scope: &Scope) -> Result<()> {
        commits::check(&self.found, scope, self.book.positions.get(scope))
    }

    async fn commit(&mut self, commit: Commit) -> Result<Vec<Durable>> {
        let mut durable = Vec::new();
        for stream in commit.streams {
            self.check_position(&stream.scope)?;
            durable.push(self.append(stream, PositionKind::State, &[]).await?);
        }
        Ok(durable)
    }

    async fn complete(&mut self, complete: Complete) -> Result<Vec<Durable>> {
        if !planted("swap-without-fence") {
            self.check_position(&complete.commit.scope)?;
        }
        point("fence-checked");
        let streams: Vec<usize> = complete.streams.iter().map(|stream| stream.0).collect();
        Ok(vec![self.append(complete.commit, PositionKind::End, &streams).await?])
    }

    /// A planted bug: takes whatever lies beside the tables for its own, and makes what is missing.
    async fn believe(&mut self) -> Result<()> {
        let mut lanes = (*self.book.lanes).clone();
        for (index, lane) in lanes.iter_mut().enumerate().filter(|(_, lane)| !lane.is_done()) {
            lane.plan = StreamPlan::Resume { generation: lane.generation() };
            self.book.staged[index] = lane.start(&mut self.session, None).await?;
            self.book.tails[index] = table::oid(&mut self.session, &lane.tail()).await?;
            self.book.tailed[index] = match self.book.tails[index] {
                Some(_) => table::rows(&mut self.session, &lane.tail()).await?,
                None => 0,
            };
        }
        self.book.lanes = Arc::new(lanes);
        Ok(())
    }

    pub fn open_lane(&self, stream: StreamIndex) -> Result<usize> {
        match self.book.lanes.get(stream.0) {
            Some(lane) if !lane.is_done() => Ok(stream.0),
            Some(lane) => Err(Error::system(format!("Stream `{}` is done and gets no more rows", lane.target.stream))),
            None => Err(Error::system(format!("There is no stream number {}", stream.0))),
        }
    }
}
