//! What the ledger and the destination say, brought together: the pure heart of `recover`.
//!
//! [`decide`] compares the head of a chain with the position that the destination remembers. Contents of states are
//! never compared, only places in the order of marks and who wrote them. Each branch is one row of the table in the
//! checkpoint rules, tested in that order; [`entry_of`] turns a position into the entry that is missing.

use protocol::{
    State, StreamDescriptor,
    checkpoint::{Chain, Counts, Entry, EntryKind, Line, Point, Position, PositionKind, Scope, Why},
};

/// What the destination says about a chain.
#[derive(Clone, Copy, Debug)]
pub enum Answer<'a> {
    /// It keeps no memory: at-least-once.
    CannotSay,
    /// It knows nothing of this chain, or only what another store wrote.
    Nothing,
    Position(&'a Position),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decision {
    /// Ledger and destination agree.
    GoOn,
    /// The destination has no memory of a chain that no commit was made on: the head counts.
    First,
    /// The head is newer than anything committed (a rewind, an import, a state written over the API): it counts.
    Intended,
    /// The destination cannot answer: the head counts, rows may come again.
    AtLeastOnce,
    /// The entry for this position is missing in the ledger: append it, it becomes the head.
    Missing,
    /// The destination holds something that the ledger has never noted, below the head: a reset that emptied the table
    /// before something newer was written to the ledger, or any commit if the head is a bare `begin` (the store was
    /// restored from a backup). Note it under its own number, and again under a new one, as the head.
    MissingBelow,
    /// The destination is behind what was committed to it: it was restored from a backup. Append an entry with its state
    /// at this point, and warn.
    Restored { at: Point },
    /// The destination has forgotten everything that was committed to it: begin a new chain without a state, and say so.
    NewChain,
}

/// Decides for one chain. `store` is the identity of this store: positions of another one count as none.
pub fn decide(store: &str, chain: &Chain, answer: Answer<'_>) -> Decision {
    let position = match answer {
        Answer::CannotSay => return Decision::AtLeastOnce,
        Answer::Position(position) if position.store == store => Some(position),
        Answer::Position(_) | Answer::Nothing => None,
    };
    let head = &chain.head;
    let restored = Decision::Restored { at: Point { origin: head.point.origin, seq: head.point.seq + 1 } };
    let Some(position) = position else {
        return if chain.newest_made.is_some() { Decision::NewChain } else { Decision::First };
    };
    if chain.newest_made.is_some_and(|made| position.point < made) {
        return restored;
    }
    let (at, head_at) = (position.point, head.point);
    if at == head_at {
        let same_writer = head.job == Some(position.job) && head.attempt == Some(position.attempt);
        return match (same_writer, head.why.is_made()) {
            (true, _) => Decision::GoOn,
            (false, true) => restored,
            // A store that was restored from a backup gave a number again.
            (false, false) => Decision::MissingBelow,
        };
    }
    if at.origin == head_at.origin && at.seq > head_at.seq {
        return Decision::Missing;
    }
    let weighs = position.kind == PositionKind::Clear || head.kind == EntryKind::Begin;
    // Whatever was noted of a position has its point. That its origin is known says less: a restored store may have given
    // the number to something else.
    let noted = chain.newest_made == Some(at);
    if weighs && head_at > at && !noted {
        return Decision::MissingBelow;
    }
    if at.origin > head_at.origin {
        return Decision::Missing;
    }
    if head_at.origin > at.origin {
        return Decision::Intended;
    }
    // The head is a mark of the same origin that no commit made, beyond the position: no such entry is ever written.
    restored
}

/// Chains that share one position (a global or legacy state) are decided as one.
pub fn joint(chains: &[&Chain]) -> Option<Chain> {
    let newest = chains.iter().max_by_key(|chain| chain.head.point)?;
    let mut joint = (*newest).clone();
    joint.newest_made = chains.iter().filter_map(|chain| chain.newest_made).max();
    Some(joint)
}

/// The entry that stands for a position, under the job and attempt that wrote it. `counted` is what the ledger has
/// counted of that job already: an entry holds differences, a position running totals.
pub fn entry_of(position: &Position, at: Point, why: Why, counted: &[(StreamDescriptor, Counts)]) -> Entry {
    let known = |stream: &StreamDescriptor| {
        counted.iter().find(|(name, _)| name == stream).map(|(_, counts)| *counts).unwrap_or_default()
    };
    let lines =
        position.lines.iter().map(|line| Line { counts: line.counts - known(&line.stream), ..line.clone() }).collect();
    let kind = match position.kind {
        PositionKind::End => EntryKind::End,
        PositionKind::Clear => EntryKind::Clear,
        PositionKind::State => match position.state.as_ref().map(|message| &message.state) {
            Some(State::Stream(_)) => EntryKind::Stream,
            Some(State::Global { .. }) => EntryKind::Global,
            Some(State::Legacy(_)) => EntryKind::Legacy,
            None if position.scope == Scope::All => EntryKind::Global,
            None => EntryKind::Stream,
        },
    };
    Entry {
        point: at,
        kind,
        why,
        job: Some(position.job),
        attempt: Some(position.attempt),
        state: position.state.clone(),
        lines,
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use protocol::checkpoint::Place;

    use super::*;

    const STORE: &str = "here";

    fn point(origin: i64, seq: i64) -> Point {
        Point { origin, seq }
    }

    fn stream() -> StreamDescriptor {
        StreamDescriptor::new(None, "orders")
    }

    fn line(written: i64) -> Line {
        let counts = Counts { read: written, written, ..Counts::default() };
        Line { stream: stream(), generation: 0, place: Place::Final, counts }
    }

    /// A chain whose head is at `head`, written by job 1 attempt 0, and whose newest commit is at `made`.
    fn chain(head: (i64, i64), kind: EntryKind, why: Why, made: Option<(i64, i64)>) -> Chain {
        Chain {
            stream: stream(),
            head: Entry {
                point: point(head.0, head.1),
                kind,
                why,
                job: Some(1),
                attempt: Some(0),
                state: None,
                lines: vec![line(0)],
            },
            newest_made: made.map(|(origin, seq)| point(origin, seq)),
            origins: (1..=head.0).collect(),
            generation: 0,
        }
    }

    fn position(at: (i64, i64), kind: PositionKind) -> Position {
        Position {
            scope: Scope::Stream(stream()),
            store: STORE.into(),
            job: 1,
            attempt: 0,
            point: point(at.0, at.1),
            kind,
            state: None,
            lines: vec![line(10)],
        }
    }

    fn check(row: &str, chain: &Chain, answer: Option<Position>, expected: Decision) {
        let answer = answer.as_ref().map_or(Answer::Nothing, Answer::Position);
        assert_eq!(decide(STORE, chain, answer), expected, "{row}");
    }

    fn synced(head: (i64, i64)) -> Chain {
        chain(head, EntryKind::Stream, Why::Sync, Some(head))
    }

    fn written_over_api(head: (i64, i64), made: Option<(i64, i64)>) -> Chain {
        chain(head, EntryKind::Stream, Why::ApiWrite, made)
    }

    #[test]
    fn older_than_what_was_committed_is_restored() {
        let state = PositionKind::State;
        let cases = [
            ("under its origin", synced((2, 9)), (2, 5), point(2, 10)),
            ("under a newer origin", synced((4, 2)), (2, 9), point(4, 3)),
            ("even if something newer was intended", written_over_api((7, 0), Some((2, 9))), (2, 5), point(7, 1)),
        ];
        for (row, chain, at, expected) in cases {
            check(row, &chain, Some(position(at, state)), Decision::Restored { at: expected });
        }
        check(
            "a reset was undone",
            &synced((5, 0)),
            Some(position((2, 9), PositionKind::End)),
            Decision::Restored { at: point(5, 1) },
        );
    }

    #[test]
    fn no_position_after_commits_begins_a_new_chain() {
        check("none", &synced((2, 9)), None, Decision::NewChain);
        check("none, intended", &written_over_api((7, 0), Some((2, 9))), None, Decision::NewChain);
        let foreign = Position { store: "there".into(), ..position((2, 9), PositionKind::State) };
        check("of another store", &synced((2, 9)), Some(foreign), Decision::NewChain);
    }

    #[test]
    fn no_position_and_no_commits_is_the_first_sync() {
        check("begin", &chain((1, 0), EntryKind::Begin, Why::Begin, None), None, Decision::First);
        check("api write", &written_over_api((3, 0), None), None, Decision::First);
        let foreign = Position { store: "there".into(), ..position((8, 9), PositionKind::State) };
        check("of another store", &written_over_api((3, 0), None), Some(foreign), Decision::First);
    }

    #[test]
    fn equal_goes_on() {
        check("equal", &synced((2, 9)), Some(position((2, 9), PositionKind::State)), Decision::GoOn);
        let other = Position { attempt: 1, ..position((2, 9), PositionKind::State) };
        check("another attempt", &synced((2, 9)), Some(other), Decision::Restored { at: point(2, 10) });
        let other = Position { job: 2, ..position((2, 9), PositionKind::State) };
        check("another job", &synced((2, 9)), Some(other), Decision::Restored { at: point(2, 10) });
    }

    #[test]
    fn ahead_is_missing_in_the_ledger() {
        check("one ahead", &synced((2, 9)), Some(position((2, 10), PositionKind::End)), Decision::Missing);
        let begun = chain((1, 0), EntryKind::Begin, Why::Begin, None);
        check("the first commit", &begun, Some(position((1, 1), PositionKind::State)), Decision::Missing);
    }

    #[test]
    fn a_clear_that_nobody_noted_is_noted_above_what_was_intended() {
        let clear = position((6, 0), PositionKind::Clear);
        check("unknown", &written_over_api((7, 0), Some((2, 9))), Some(clear.clone()), Decision::MissingBelow);
        // A store that was restored from a backup begins again what the destination knows, or gives a number again.
        let begun = chain((8, 0), EntryKind::Begin, Why::Begin, None);
        check("begun again", &begun, Some(position((6, 5), PositionKind::End)), Decision::MissingBelow);
        let other = Position { job: 2, ..clear.clone() };
        check("same number", &written_over_api((6, 0), Some((2, 9))), Some(other), Decision::MissingBelow);
        // Once it is noted under its own number, what is intended later counts.
        let noted = written_over_api((7, 0), Some((6, 0)));
        check("noted", &noted, Some(clear), Decision::Intended);
    }

    #[test]
    fn a_newer_origin_is_appended_as_it_stands() {
        check("clear", &synced((2, 9)), Some(position((6, 0), PositionKind::Clear)), Decision::Missing);
        check("mark", &synced((2, 9)), Some(position((4, 1), PositionKind::State)), Decision::Missing);
    }

    #[test]
    fn a_newer_origin_in_the_ledger_is_intended() {
        let at = position((2, 9), PositionKind::State);
        check("api write", &written_over_api((3, 0), Some((2, 9))), Some(at), Decision::Intended);
    }

    #[test]
    fn no_answer_is_at_least_once() {
        assert_eq!(decide(STORE, &synced((2, 9)), Answer::CannotSay), Decision::AtLeastOnce);
    }

    #[test]
    fn the_entry_of_a_position_holds_differences() {
        let counted = [(stream(), Counts { read: 4, written: 4, ..Counts::default() })];
        let entry = entry_of(&position((2, 10), PositionKind::End), point(2, 10), Why::Recovered, &counted);
        assert_eq!((entry.kind, entry.job, entry.attempt), (EntryKind::End, Some(1), Some(0)));
        assert_eq!(entry.lines, vec![line(6)]);
    }

    #[test]
    fn chains_under_one_position_are_decided_as_one() {
        let (older, newer) = (synced((2, 9)), chain((5, 0), EntryKind::Begin, Why::Begin, None));
        let both = joint(&[&older, &newer]).unwrap();
        assert_eq!((both.head.point, both.newest_made), (point(5, 0), Some(point(2, 9))));
    }
}
