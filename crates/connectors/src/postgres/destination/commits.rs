//! The two small tables that a destination keeps in its default schema: what is durable (`_leat_commits`), and who may write
//! (`_leat_fence`).
//!
//! `_leat_commits` has one row per connection and stream (empty names for a position of all streams), written in the
//! transaction of the rows, so rows and state can never disagree. `_leat_fence` has one row per connection; every
//! transaction locks it first ([`begin`]), so whoever takes it over waits for the commit of whoever had it. U+0000, which
//! PostgreSQL does not know, is in no name that a source may have here and in no state, which is JSON.

use std::collections::HashMap;

use connector::{ErrorKind, Result};
use protocol::checkpoint::{Claim, Point, Position, Scope};

use super::names::quoted;
use crate::{
    direct::position::{
        FORMAT, check_owner, damaged, forgotten, kind, kind_name, known, lines, moved, names, refuse_older, scope,
        state, texts,
    },
    postgres::{
        client::{Row, Session, literal},
        fault,
    },
};

/// Where a position stands, without what it holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Head {
    store: String,
    job: i64,
    attempt: i64,
    point: Point,
    kind: &'static str,
}

impl Head {
    fn of(position: &Position) -> Self {
        let Position { store, job, attempt, point, kind, .. } = position;
        Self { store: store.clone(), job: *job, attempt: *attempt, point: *point, kind: kind_name(*kind) }
    }
}

/// Makes both tables unless they are there, in a transaction of its own: two that come at once take turns.
pub async fn create(session: &mut Session, schema: &str) -> Result<()> {
    let query = format!(
        "SELECT count(*) FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
         WHERE n.nspname = {} AND c.relname IN ('_leat_fence', '_leat_commits')",
        literal(schema)
    );
    if session.value(&query).await?.as_deref() == Some("2") {
        return Ok(());
    }
    // The number has no meaning but to be the same everywhere.
    session
        .execute("BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE; SELECT pg_catalog.pg_advisory_xact_lock(5499138671)")
        .await?;
    super::table::ensure_schema(session, schema).await?;
    session.execute(&include_str!("commits.sql").replace("{schema}", &quoted(schema))).await?;
    session.execute("COMMIT").await?;
    Ok(())
}

/// Begins a transaction that owns the fence: locks the row, compares the token, and reads where each position stands, in
/// statements of their own, which see what was committed before the lock was had.
pub async fn begin(session: &mut Session, schema: &str, claim: &Claim) -> Result<HashMap<Scope, Head>> {
    let (schema, connection) = (quoted(schema), literal(&claim.connection));
    let rows = session
        .query(&format!(
            "BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE;
             SELECT owner FROM {schema}._leat_fence WHERE connection = {connection} FOR UPDATE;
             SELECT namespace, stream, store, job, attempt, origin, seq, kind FROM {schema}._leat_commits
             WHERE connection = {connection}"
        ))
        .await
        .map_err(|error| if fault::code(&error) == Some("42P01") { forgotten() } else { error })?;
    let mut rows = rows.into_iter().peekable();
    let owner = rows.next_if(|row| row.len() == 1).and_then(|row| row.into_iter().next().flatten());
    check_owner(claim, owner.as_deref())?;
    rows.map(|row| head(row).ok_or_else(damaged)).collect()
}

fn head(row: Row) -> Option<(Scope, Head)> {
    let mut cells = row.into_iter();
    let mut text = || cells.next()?;
    let scope = scope(&text()?, &text()?);
    let store = text()?;
    let mut number = || text()?.parse::<i64>().ok();
    let (job, attempt, point) = (number()?, number()?, Point { origin: number()?, seq: number()? });
    let kind = kind(&text()?).map(kind_name).ok()?;
    Some((scope, Head { store, job, attempt, point, kind }))
}

/// The position must be the one that this attempt last read or wrote.
pub fn check(found: &HashMap<Scope, Head>, scope: &Scope, held: Option<&Position>) -> Result<()> {
    if found.get(scope) == held.map(Head::of).as_ref() {
        return Ok(());
    }
    Err(moved("The destination's position is not the one of this attempt"))
}

/// Takes the fence over, from nobody or from an attempt before ours, within the caller's transaction. Waits for the
/// transaction of whoever has it, as long as `lock_timeout` allows.
pub async fn take_fence(session: &mut Session, schema: &str, claim: &Claim) -> Result<()> {
    let schema = quoted(schema);
    let connection = literal(&claim.connection);
    let (store, owner) = (literal(&claim.store), literal(&claim.owner));
    let (job, attempt) = (claim.job, claim.attempt);
    let before = session
        .query(&format!(
            "INSERT INTO {schema}._leat_fence (connection, format, store, job, attempt, owner)
             VALUES ({connection}, {FORMAT}, {store}, {job}, {attempt}, {owner}) ON CONFLICT (connection) DO NOTHING;
             SELECT format, store, job, attempt FROM {schema}._leat_fence WHERE connection = {connection} FOR UPDATE"
        ))
        .await?;
    if let Some(row) = before.into_iter().next() {
        let mut cells = row.into_iter();
        let mut text = || cells.next().flatten().ok_or_else(damaged);
        known(text()?.parse().map_err(|_| damaged())?)?;
        let store = text()?;
        let mut number = || text()?.parse::<i64>().map_err(|_| damaged());
        refuse_older(claim, &store, number()?, number()?)?;
    }
    session
        .execute(&format!(
            "UPDATE {schema}._leat_fence SET format = {FORMAT}, store = {store}, job = {job}, attempt = {attempt}, owner = {owner}
             WHERE connection = {connection}"
        ))
        .await?;
    Ok(())
}

/// Sessions whose transaction has the fence row.
pub async fn holders(session: &mut Session, schema: &str, claim: &Claim) -> Result<Vec<String>> {
    let query = format!(
        "SELECT l.pid FROM {}._leat_fence f JOIN pg_catalog.pg_locks l
             ON l.locktype = 'transactionid' AND l.transactionid = f.xmax AND l.granted
         WHERE f.connection = {}",
        quoted(schema),
        literal(&claim.connection)
    );
    Ok(session.query(&query).await?.into_iter().filter_map(|row| row.into_iter().next().flatten()).collect())
}

/// Every position of the connection.
pub async fn read(session: &mut Session, schema: &str, claim: &Claim) -> Result<HashMap<Scope, Position>> {
    let query = format!(
        "SELECT namespace, stream, format, store, job, attempt, origin, seq, kind, state, lines
         FROM {}._leat_commits WHERE connection = {}",
        quoted(schema),
        literal(&claim.connection)
    );
    let rows = session.query(&query).await?;
    rows.into_iter().map(position).map(|position| position.map(|position| (position.scope.clone(), position))).collect()
}

fn position(row: Row) -> Result<Position> {
    let mut cells = row.into_iter();
    let mut text = || cells.next().flatten().ok_or_else(damaged);
    let scope = scope(&text()?, &text()?);
    known(text()?.parse().map_err(|_| damaged())?)?;
    let store = text()?;
    let mut number = || text()?.parse::<i64>().map_err(|_| damaged());
    let (job, attempt) = (number()?, number()?);
    let point = Point { origin: number()?, seq: number()? };
    let kind = kind(&text()?)?;
    let state = state(cells.next().flatten())?;
    let lines = lines(&cells.next().flatten().ok_or_else(damaged)?)?;
    Ok(Position { scope, store, job, attempt, point, kind, state, lines })
}

pub async fn write(session: &mut Session, schema: &str, claim: &Claim, position: &Position) -> Result<()> {
    let (namespace, stream) = names(&position.scope);
    let (state, lines) = texts(position)?;
    let state = state.as_ref().map_or_else(|| "NULL".to_owned(), |state| literal(state.text()));
    let Position { job, attempt, point, .. } = position;
    session
        .execute(&format!(
            "INSERT INTO {}._leat_commits
                 (connection, namespace, stream, format, store, job, attempt, origin, seq, kind, state, lines)
             VALUES ({}, {}, {}, {FORMAT}, {}, {job}, {attempt}, {}, {}, '{}', {state}, {})
             ON CONFLICT (connection, namespace, stream) DO UPDATE SET format = excluded.format, store = excluded.store,
                 job = excluded.job, attempt = excluded.attempt, origin = excluded.origin, seq = excluded.seq,
                 kind = excluded.kind, state = excluded.state, lines = excluded.lines",
            quoted(schema),
            literal(&claim.connection),
            literal(namespace),
            literal(stream),
            literal(&position.store),
            point.origin,
            point.seq,
            kind_name(position.kind),
            literal(&lines)
        ))
        .await
        .map(|_| ())
}

/// Whether a statement only waited too long for a lock.
pub fn is_lock_timeout(error: &connector::Error) -> bool {
    error.kind == ErrorKind::Transient && fault::code(error) == Some("55P03")
}
