//! Positions and fences as a SQL destination keeps them, whatever the database: what is written, what is refused, and how
//! the running totals of a job go on. Start with [`advance`].

use std::collections::HashMap;

use connector::{Error, ErrorKind, Result, Target};
use protocol::{
    Json, StateMessage, StreamDescriptor, SyncMode,
    checkpoint::{Claim, Counts, Line, Place, Point, Position, PositionKind, Scope},
};

use super::names::Beside;

/// Version of the layout of `_leat_commits` and `_leat_fence`.
pub const FORMAT: i64 = 1;

pub fn known(format: i64) -> Result<()> {
    if format == FORMAT {
        return Ok(());
    }
    Err(Error::config(format!(
        "The destination's tables _leat_commits and _leat_fence have format {format}, this version knows {FORMAT}"
    ))
    .with_hint("Use the version of Leat that wrote to this destination last, or a newer one"))
}

/// Invariant 3: within one store, jobs and attempts only go up. `store`, `job` and `attempt` are those of the fence.
pub fn refuse_older(claim: &Claim, store: &str, job: i64, attempt: i64) -> Result<()> {
    if store != claim.store || (job, attempt) <= (claim.job, claim.attempt) {
        return Ok(());
    }
    Err(Error::config(format!(
        "The destination was last written by job {job}, attempt {attempt} of this installation, and this is job {}, attempt {}",
        claim.job, claim.attempt
    ))
    .with_hint("The store of this installation is older than the destination, for example after a restore: let it adopt the destination, or delete the connection's row in _leat_fence"))
}

/// Invariant 3: only the owner of the fence writes.
pub fn check_owner(claim: &Claim, owner: Option<&str>) -> Result<()> {
    match owner {
        Some(owner) if owner == claim.owner => Ok(()),
        Some(_) => Err(Error::new(ErrorKind::Fenced, "Another attempt writes to this connection now")),
        None => Err(forgotten()),
    }
}

/// The tables are gone, or the connection's row in them.
pub fn forgotten() -> Error {
    moved("The destination no longer knows this attempt")
}

pub fn moved(what: &str) -> Error {
    Error::new(ErrorKind::Moved, format!("{what}: it was replaced or restored while the attempt ran"))
}

pub fn damaged() -> Error {
    Error::config("A row of the destination's table _leat_commits cannot be read").with_hint(
        "It was changed by hand or by another program: delete the connection's rows there and reset the connection",
    )
}

/// Namespace and name under which a position is kept; both are empty for one of all streams.
pub fn names(scope: &Scope) -> (&str, &str) {
    match scope {
        Scope::All => ("", ""),
        Scope::Stream(stream) => (stream.namespace.as_deref().unwrap_or_default(), &stream.name),
    }
}

pub fn scope(namespace: &str, name: &str) -> Scope {
    match name {
        "" => Scope::All,
        name => Scope::Stream(StreamDescriptor::new(Some(namespace), name)),
    }
}

pub fn kind_name(kind: PositionKind) -> &'static str {
    match kind {
        PositionKind::State => "state",
        PositionKind::End => "end",
        PositionKind::Clear => "clear",
    }
}

pub fn kind(name: &str) -> Result<PositionKind> {
    match name {
        "state" => Ok(PositionKind::State),
        "end" => Ok(PositionKind::End),
        "clear" => Ok(PositionKind::Clear),
        _ => Err(damaged()),
    }
}

pub fn state(text: Option<String>) -> Result<Option<StateMessage>> {
    text.map(|text| serde_json::from_str(&text).map_err(|error| damaged().with_source(error))).transpose()
}

pub fn lines(text: &str) -> Result<Vec<Line>> {
    serde_json::from_str(text).map_err(|error| damaged().with_source(error))
}

/// State and lines as they are kept: the state byte for byte as it came.
pub fn texts(position: &Position) -> Result<(Option<Json>, String)> {
    let encode = |error| Error::system("A position cannot be encoded").with_source(error);
    let state = position.state.as_ref().map(Json::from_value).transpose().map_err(encode)?;
    let lines = serde_json::to_string(&position.lines).map_err(encode)?;
    Ok((state, lines))
}

/// A position of this attempt.
pub fn of(
    claim: &Claim,
    scope: Scope,
    point: Point,
    kind: PositionKind,
    state: Option<StateMessage>,
    lines: Vec<Line>,
) -> Position {
    let Claim { store, job, attempt, .. } = claim;
    Position { scope, store: store.clone(), job: *job, attempt: *attempt, point, kind, state, lines }
}

/// A stream that a mark covers.
#[derive(Debug)]
pub struct Covered<'a> {
    pub stream: &'a StreamDescriptor,
    pub generation: i64,
    pub place: Place,
    /// It has its `end` in this job already.
    pub is_done: bool,
    /// Since the last position.
    pub added: Counts,
}

/// The lines of the next position after `before`: running totals of the job.
pub fn advance(claim: &Claim, before: Option<&Position>, covered: &[Covered<'_>]) -> Vec<Line> {
    // Running totals belong to a job of a store.
    let same_job = before.is_some_and(|before| before.store == claim.store && before.job == claim.job);
    let kept = |known: &Line| {
        let counts = if same_job { known.counts } else { Counts::default() };
        Line { counts, ..known.clone() }
    };
    let mut lines = Vec::new();
    for own in covered {
        let known = before.and_then(|before| before.line(own.stream));
        if let (true, Some(known)) = (own.is_done, known) {
            lines.push(kept(known));
            continue;
        }
        // Rows of an older generation were dropped with their staging.
        let total = known.filter(|known| same_job && known.generation == own.generation);
        let total = total.map(|known| known.counts).unwrap_or_default();
        lines.push(Line {
            stream: own.stream.clone(),
            generation: own.generation,
            place: own.place,
            counts: total + own.added,
        });
    }
    // A global state goes on speaking for streams that this attempt does not have.
    for known in before.into_iter().flat_map(|before| &before.lines) {
        if lines.iter().all(|line| line.stream != known.stream) {
            lines.push(kept(known));
        }
    }
    lines
}

/// The positions of a reset: one for each stream in `lines`, or a single one with what remains for the others.
pub fn cleared(
    claim: &Claim,
    point: Point,
    mut lines: Vec<Line>,
    remaining: Option<connector::Remaining>,
) -> Vec<Position> {
    let Some(remaining) = remaining else {
        let own = |line: Line| {
            let scope = Scope::Stream(line.stream.clone());
            of(claim, scope, point, PositionKind::Clear, None, vec![line])
        };
        return lines.into_iter().map(own).collect();
    };
    let is_other = |line: &Line| lines.iter().all(|cleared| cleared.stream != line.stream);
    let others: Vec<Line> = remaining.lines.into_iter().filter(is_other).collect();
    lines.extend(others);
    vec![of(claim, Scope::All, point, PositionKind::Clear, remaining.state, lines)]
}

/// The staging tables that positions of this store stand for, with their generation; every other one is dropped.
pub fn kept_staging<'a>(
    claim: &Claim,
    positions: &HashMap<Scope, Position>,
    targets: impl Iterator<Item = &'a Target>,
) -> HashMap<String, i64> {
    let mut named = HashMap::new();
    for position in positions.values().filter(|position| position.store == claim.store) {
        for line in position.lines.iter().filter(|line| line.place == Place::Staging) {
            named.insert(Beside::new(&claim.connection, &line.stream).staging(line.generation), line.generation);
        }
    }
    for target in targets.filter(|target| target.sync_mode == SyncMode::FullRefresh) {
        // Rows of an older generation are not wanted any more.
        let beside = Beside::new(&claim.connection, &target.stream);
        let current = beside.staging(target.generation);
        named.retain(|name, _| !name.starts_with(&beside.stagings()) || *name == current);
    }
    named
}
