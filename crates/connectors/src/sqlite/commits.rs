//! The two small tables that a destination keeps: what is durable (`_leat_commits`), and who may write (`_leat_fence`).
//!
//! `_leat_commits` has one row per connection and stream (empty names for a position of all streams): the state itself, where
//! it stands in the chain, and the running counts of the job. It is written in the transaction of the rows, so rows and
//! state can never disagree. `_leat_fence` has one row per connection: whoever's token stands there may write. Both
//! survive a dump and a restore; `format` is the version of their layout.

use std::collections::HashMap;

use connector::Result;
use protocol::{
    Json,
    checkpoint::{Claim, Point, Position, Scope},
};
use rusqlite::{Connection, OptionalExtension, Row, params};

use super::client::{is_missing, sql};
pub use crate::direct::position::moved;
use crate::direct::position::{
    FORMAT, check_owner, forgotten, kind, kind_name, known, lines, names, refuse_older, scope, state, texts,
};

pub fn create(connection: &Connection) -> Result<()> {
    connection.execute_batch(include_str!("commits.sql")).map_err(sql)
}

/// Takes the fence over, from nobody or from an attempt before ours.
pub fn take_fence(connection: &Connection, claim: &Claim) -> Result<()> {
    let query = "SELECT format, store, job, attempt FROM _leat_fence WHERE connection = ?1";
    let before = connection
        .query_row(query, [&claim.connection], |row| {
            Ok((row.get::<_, i64>(0)?, row.get::<_, String>(1)?, row.get::<_, i64>(2)?, row.get::<_, i64>(3)?))
        })
        .optional()
        .map_err(sql)?;
    if let Some((format, store, job, attempt)) = before {
        known(format)?;
        refuse_older(claim, &store, job, attempt)?;
    }
    let write = "INSERT OR REPLACE INTO _leat_fence (connection, format, store, job, attempt, owner)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6)";
    let values = params![claim.connection, FORMAT, claim.store, claim.job, claim.attempt, claim.owner];
    connection.execute(write, values).map_err(sql)?;
    Ok(())
}

/// Invariant 3: only the owner of the fence writes. The caller holds the write lock, so nobody takes it meanwhile.
pub fn check_fence(connection: &Connection, claim: &Claim) -> Result<()> {
    let query = "SELECT owner FROM _leat_fence WHERE connection = ?1";
    let owner = connection.query_row(query, [&claim.connection], |row| row.get::<_, String>(0));
    match owner.optional() {
        Ok(owner) => check_owner(claim, owner.as_deref()),
        // Without the tables this is not the file that the attempt began with.
        Err(error) if is_missing(&error) => Err(forgotten()),
        Err(error) => Err(sql(error)),
    }
}

/// Every position of the connection.
pub fn read(connection: &Connection, claim: &Claim) -> Result<HashMap<Scope, Position>> {
    let query = "SELECT namespace, stream, format, store, job, attempt, origin, seq, kind, state, lines
                 FROM _leat_commits WHERE connection = ?1";
    let mut statement = connection.prepare(query).map_err(sql)?;
    let mut rows = statement.query([&claim.connection]).map_err(sql)?;
    let mut positions = HashMap::new();
    while let Some(row) = rows.next().map_err(sql)? {
        let position = position(row)?;
        positions.insert(position.scope.clone(), position);
    }
    Ok(positions)
}

fn position(row: &Row<'_>) -> Result<Position> {
    known(row.get(2).map_err(sql)?)?;
    let namespace: String = row.get(0).map_err(sql)?;
    let stream: String = row.get(1).map_err(sql)?;
    let kind = kind(&row.get::<_, String>(8).map_err(sql)?)?;
    let state = state(row.get(9).map_err(sql)?)?;
    let lines = lines(&row.get::<_, String>(10).map_err(sql)?)?;
    Ok(Position {
        scope: scope(&namespace, &stream),
        store: row.get(3).map_err(sql)?,
        job: row.get(4).map_err(sql)?,
        attempt: row.get(5).map_err(sql)?,
        point: Point { origin: row.get(6).map_err(sql)?, seq: row.get(7).map_err(sql)? },
        kind,
        state,
        lines,
    })
}

/// The position must be the one that this attempt last read or wrote.
pub fn check_position(connection: &Connection, claim: &Claim, scope: &Scope, held: Option<&Position>) -> Result<()> {
    let (namespace, stream) = names(scope);
    let query = "SELECT store, job, attempt, origin, seq, kind FROM _leat_commits
                 WHERE connection = ?1 AND namespace = ?2 AND stream = ?3";
    let found = connection
        .prepare_cached(query)
        .and_then(|mut statement| {
            statement
                .query_row([&claim.connection, namespace, stream], |row| {
                    let point = Point { origin: row.get(3)?, seq: row.get(4)? };
                    let writer = (row.get::<_, i64>(1)?, row.get::<_, i64>(2)?);
                    Ok((row.get::<_, String>(0)?, writer, point, row.get::<_, String>(5)?))
                })
                .optional()
        })
        .map_err(sql)?;
    let expected =
        held.map(|held| (held.store.clone(), (held.job, held.attempt), held.point, kind_name(held.kind).to_owned()));
    if found == expected { Ok(()) } else { Err(moved("The destination's position is not the one of this attempt")) }
}

pub fn write(connection: &Connection, claim: &Claim, position: &Position) -> Result<()> {
    let (namespace, stream) = names(&position.scope);
    let (state, lines) = texts(position)?;
    let query = "INSERT OR REPLACE INTO _leat_commits
        (connection, namespace, stream, format, store, job, attempt, origin, seq, kind, state, lines)
        VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12)";
    let values = params![
        claim.connection,
        namespace,
        stream,
        FORMAT,
        position.store,
        position.job,
        position.attempt,
        position.point.origin,
        position.point.seq,
        kind_name(position.kind),
        state.as_ref().map(Json::text),
        lines,
    ];
    connection.prepare_cached(query).and_then(|mut statement| statement.execute(values)).map_err(sql)?;
    Ok(())
}
