//! A reset: one transaction in the destination that empties the final tables, then the ledger.

use connector::{Clear, Error, Remaining, StreamIndex, Writer, failpoint::point};
use protocol::{
    State, StateMessage, StreamDescriptor,
    checkpoint::{Counts, Entry, EntryKind, Line, Place, Point, Why},
};

use crate::{
    attempt::{Attempt, recover},
    outcome::{Log, Step, Stop},
    resume::{Standing, standing},
};

/// Once the destination has committed, a cancel comes too late: what is left is the ledger, and the reset succeeds.
pub(crate) async fn reset(
    attempt: &Attempt,
    writer: &mut dyn Writer,
    streams: &[StreamDescriptor],
    reserved: i64,
    log: &Log,
) -> Step {
    let recovered = recover(attempt, writer).await?;
    let names: Vec<_> = attempt.catalog.streams.iter().map(|configured| configured.stream.descriptor.clone()).collect();
    let mut indexes = Vec::with_capacity(streams.len());
    for stream in streams {
        let index = names.iter().position(|name| name == stream).ok_or_else(|| {
            Stop::replication(Error::system(format!("Stream `{stream}` is to be reset, but is not in the catalog")))
        })?;
        indexes.push(index);
    }
    if indexes.is_empty() {
        return Ok(());
    }
    let checkpoints = attempt.checkpoints.as_ref();
    let standing = standing(&attempt.claim, &names, &recovered, checkpoints, log).await.map_err(Stop::persistence)?;
    let cleared = |index: &usize| {
        let head = &standing[*index].chain.head;
        head.kind == EntryKind::Clear && head.job == Some(attempt.claim.job)
    };
    if indexes.iter().all(cleared) {
        log.info("An earlier attempt of this reset emptied the tables already");
        return Ok(());
    }
    if attempt.cancel.is_cancelled() {
        return Err(Stop::replication(Error::cancelled()));
    }

    let point_of_clear = Point { origin: origin(attempt, &standing, reserved).await?, seq: 0 };
    let remaining = remaining(&standing, &indexes)?;
    let state = remaining.as_ref().and_then(|remaining| remaining.state.clone());
    let mut lines: Vec<Line> = indexes.iter().map(|index| cleared_line(&standing[*index])).collect();
    lines.extend(remaining.iter().flat_map(|remaining| remaining.lines.iter().cloned()));
    let clear = Clear { streams: indexes.iter().copied().map(StreamIndex).collect(), point: point_of_clear, remaining };
    writer.clear(clear).await.map_err(Stop::destination)?;
    point("clear-before-ledger");
    let entry = Entry {
        point: point_of_clear,
        kind: EntryKind::Clear,
        why: Why::Reset,
        job: Some(attempt.claim.job),
        attempt: Some(attempt.claim.attempt),
        state,
        lines,
    };
    checkpoints.append(vec![entry]).await.map_err(Stop::persistence)?;
    point("ledger-after");
    for index in indexes {
        log.info(format!("Stream `{}` was reset: its table is empty, its state is gone", names[index]));
    }
    Ok(())
}

/// The reserved origin, or a new one if anything is above it by now.
async fn origin(attempt: &Attempt, standing: &[Standing], reserved: i64) -> Step<i64> {
    let known = standing.iter().flat_map(|stream| {
        let position = stream.position.as_ref().map(|position| position.point.origin);
        [Some(stream.chain.head.point.origin), position]
    });
    if known.flatten().all(|origin| origin < reserved) {
        return Ok(reserved);
    }
    attempt.checkpoints.reserve_origin().await.map_err(Stop::persistence)
}

fn cleared_line(stream: &Standing) -> Line {
    Line {
        stream: stream.chain.stream.clone(),
        generation: stream.chain.generation,
        place: Place::Final,
        counts: Counts::default(),
    }
}

/// For a chain with one state for all streams: what that state is without those that are reset, and where the rows of the
/// others lie. `None` where each stream has its own state.
fn remaining(standing: &[Standing], reset: &[usize]) -> Step<Option<Remaining>> {
    let shared = standing.iter().filter(|stream| {
        let state = stream.chain.head.state.as_ref();
        state.is_some_and(|message| !matches!(message.state, State::Stream(_)))
    });
    let newest = shared.max_by_key(|stream| stream.chain.head.point);
    let Some(message) = newest.and_then(|stream| stream.chain.head.state.clone()) else { return Ok(None) };
    let all = reset.len() == standing.len();
    let names: Vec<_> = reset.iter().map(|index| &standing[*index].chain.stream).collect();
    let state = match message.state {
        _ if all => None,
        State::Global { shared, mut streams, extra } => {
            streams.retain(|stream| !names.contains(&&stream.descriptor));
            Some(StateMessage { state: State::Global { shared, streams, extra }, extra: message.extra })
        }
        State::Legacy(_) => {
            let error = Error::config("The source keeps one state for all streams, so a single stream cannot be reset");
            return Err(Stop::replication(error.with_hint("Reset all streams of the connection")));
        }
        State::Stream(_) => None,
    };
    let line = |stream: &Standing| {
        let own = stream.chain.head.lines.iter().find(|line| line.stream == stream.chain.stream);
        own.map_or_else(|| cleared_line(stream), |line| Line { counts: Counts::default(), ..line.clone() })
    };
    let others = standing.iter().enumerate().filter(|(index, _)| !reset.contains(index));
    let lines = others.map(|(_, stream)| line(stream)).collect();
    Ok(Some(Remaining { state, lines }))
}
