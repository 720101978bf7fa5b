//! Where a stream of the sample source goes on.
//!
//! The state has upstream's keys `seed`, `updated_at` and `loop_offset` (ids sent so far) and, beside them, `count`: the
//! number of ids that the run was to send. Only with it can a run that was killed be told from one that ended.

use std::ops::Range;

use chrono::{DateTime, SecondsFormat};
use connector::{Error, Result};
use protocol::{Json, StateMessage, StreamDescriptor, SyncMode};
use serde::{Deserialize, Serialize};

use super::config::Config;

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct State {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    seed: Option<i64>,
    /// RFC 3339 with microseconds and `Z`: always the same width.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    updated_at: Option<String>,
    #[serde(default)]
    loop_offset: i64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    count: Option<i64>,
}

/// What is left to do for one stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Run {
    pub seed: i64,
    /// Stamp of the run in epoch microseconds.
    pub stamp: i64,
    /// Offsets still to send; the id of a row is its offset plus one.
    pub offsets: Range<i64>,
    count: i64,
}

impl Run {
    /// `rows`: how many ids the stream has by today's configuration. `drawn`: the seed where the configuration leaves it
    /// to chance. `now`: epoch microseconds.
    pub fn plan(
        stream: &StreamDescriptor,
        mode: SyncMode,
        state: Option<&Json>,
        config: &Config,
        rows: i64,
        drawn: i64,
        now: i64,
    ) -> Result<Self> {
        let state = match state {
            Some(json) if !json.is_null() => Some(parse(stream, json)?),
            _ => None,
        };
        let kept_seed = state.as_ref().and_then(|state| state.seed);
        let seed = match (config.seed, kept_seed) {
            (-1, Some(kept)) => kept,
            (-1, None) => drawn,
            (given, _) => given,
        };
        let mut run = Self { seed, stamp: now, offsets: 0..rows, count: rows };
        // Rows of another seed are other rows, whatever their ids.
        let Some(state) = state.filter(|_| kept_seed == Some(seed)) else { return Ok(run) };
        let sent = state.loop_offset;
        let unfinished = state.count.is_some_and(|count| sent < count);
        // A full refresh hears of a state only within its job: a finished one has nothing left to send.
        let goes_on = unfinished || mode == SyncMode::FullRefresh || !config.always_updated;
        if goes_on {
            run.offsets = sent..rows.max(sent);
        }
        if unfinished {
            run.stamp = state.stamp(stream)?.unwrap_or(now);
        }
        Ok(run)
    }

    /// The state after `sent` ids.
    pub fn state(&self, stream: &StreamDescriptor, sent: i64) -> Result<StateMessage> {
        let state = State {
            seed: Some(self.seed),
            updated_at: Some(text(self.stamp)),
            loop_offset: sent,
            count: Some(self.count),
        };
        let json =
            Json::from_value(&state).map_err(|error| Error::system("A state cannot be encoded").with_source(error))?;
        Ok(StateMessage::stream(stream.clone(), Some(json)))
    }
}

fn text(stamp: i64) -> String {
    DateTime::from_timestamp_micros(stamp).unwrap_or_default().to_rfc3339_opts(SecondsFormat::Micros, true)
}

fn parse(stream: &StreamDescriptor, json: &Json) -> Result<State> {
    // serde would also read an array as the fields in their order.
    if !json.text().trim_start().starts_with('{') {
        return Err(bad(stream, "is not an object"));
    }
    let state: State = json.to().map_err(|error| bad(stream, "is not one of this source").with_source(error))?;
    if state.loop_offset < 0 || state.count.is_some_and(|count| count < 0) {
        return Err(bad(stream, "has a negative `loop_offset` or `count`"));
    }
    if state.loop_offset > super::config::MOST_ROWS {
        return Err(bad(stream, "has a `loop_offset` that no run reaches"));
    }
    Ok(state)
}

fn bad(stream: &StreamDescriptor, why: &str) -> Error {
    Error::config(format!("The state of stream `{stream}` {why}"))
        .with_hint("Reset the stream, or set a state with the keys seed, updated_at, loop_offset and count")
}

impl State {
    fn stamp(&self, stream: &StreamDescriptor) -> Result<Option<i64>> {
        let Some(text) = &self.updated_at else { return Ok(None) };
        let stamp = DateTime::parse_from_rfc3339(text)
            .map_err(|error| bad(stream, "has an `updated_at` that is not a time").with_source(error))?;
        Ok(Some(stamp.timestamp_micros()))
    }
}
