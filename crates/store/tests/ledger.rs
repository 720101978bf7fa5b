//! The ledger: order of entries, counts, thinning, chains, states.

use protocol::{
    State, StateMessage, StreamDescriptor, StreamState,
    checkpoint::{Claim, Counts, Entry, EntryKind, Line, Place, Point, Why},
};
use store::{AttemptStatus, CurrentState, ErrorKind, JobStatus, NewChain, Priority, Store, testing::TestStore};
use uuid::Uuid;

use crate::fixture::{NOW, claim, connection, counts, entry, job, json, stream, worker};

on_both!(
    head_is_by_point,
    entry_round_trip,
    thinning,
    thinning_keeps,
    thinning_of_global,
    staged_counts,
    last_final,
    many_streams,
    begun_chains,
    reserved_origin,
    unknown_origin,
    current_state,
    found_for_an_earlier_job,
    generations,
);

/// A running attempt over `users` (incremental, origin 1) on a new connection.
async fn running(store: &Store) -> (Uuid, Claim) {
    let id = connection(store).await;
    let job = job(store, id).await;
    let lease = worker(store).await;
    (id, claim(store, &lease, job.id, &[("users", false)]).await.claim)
}

async fn end(store: &Store, claim: &Claim) {
    let mut tx = store.write(Priority::Api).await.unwrap();
    tx.job(claim.job).await.unwrap();
    tx.end_attempt(claim, AttemptStatus::Succeeded, &json("{}"), NOW).await.unwrap();
    tx.set_job_status(claim.job, JobStatus::Succeeded, NOW).await.unwrap();
    tx.commit().await.unwrap();
}

async fn head(store: &Store, id: Uuid, name: &str) -> Entry {
    let chains = store.read().await.unwrap().chains(id).await.unwrap();
    chains.into_iter().find(|chain| chain.stream == stream(name)).unwrap().head
}

/// The points of the history, oldest first.
async fn points(store: &Store, id: Uuid) -> Vec<(i64, i64)> {
    let mut history = store.read().await.unwrap().ledger_history(id, 100).await.unwrap();
    history.sort_by_key(|found| found.entry.point);
    history.iter().map(|found| (found.entry.point.origin, found.entry.point.seq)).collect()
}

async fn head_is_by_point(test: TestStore) {
    let (id, own) = running(&test.store).await;
    let mut late = entry(&own, "users", (1, 3), Place::Final, 1);
    late.why = Why::Recovered;
    let entries =
        [entry(&own, "users", (1, 9), Place::Final, 1), late.clone(), entry(&own, "users", (1, 4), Place::Final, 1)];
    for (number, entry) in entries.iter().enumerate() {
        let at = NOW + 5000 * number as i64;
        test.store.append_entries(&own, std::slice::from_ref(entry), at).await.unwrap();
    }
    assert_eq!(head(&test.store, id, "users").await, entries[0]);
    let mut restored = entry(&own, "users", (1, 12), Place::Final, 0);
    restored.why = Why::Restored;
    test.store.append_entries(&own, &[restored.clone(), late], NOW + 20_000).await.unwrap();
    let mut tx = test.store.read().await.unwrap();
    let chain = tx.chains(id).await.unwrap().pop().unwrap();
    assert_eq!((chain.head, chain.newest_made), (restored, Some(Point { origin: 1, seq: 12 })));
}

async fn entry_round_trip(test: TestStore) {
    let (id, own) = running(&test.store).await;
    let plain = StreamDescriptor::new(None, "users");
    let global = Entry {
        point: Point { origin: 1, seq: 1 },
        kind: EntryKind::Global,
        why: Why::Refresh,
        job: Some(own.job),
        attempt: Some(0),
        state: Some(StateMessage {
            state: State::Global {
                shared: Some(json(r#"{"lsn":12345678901234567890}"#)),
                streams: vec![StreamState::new(plain.clone(), Some(json("1.50")))],
                extra: Default::default(),
            },
            extra: Default::default(),
        }),
        lines: vec![
            Line {
                stream: plain,
                generation: 3,
                place: Place::Staging,
                counts: Counts { read: 5, written: 4, filtered: 1, rejected: 2, bytes: 99 },
            },
            Line { stream: stream("users"), generation: 4, place: Place::Final, counts: counts(1) },
        ],
    };
    test.store.append_entries(&own, std::slice::from_ref(&global), NOW).await.unwrap();
    assert_eq!(head(&test.store, id, "users").await, global);
    let mut tx = test.store.read().await.unwrap();
    let history = tx.ledger_history(id, 1).await.unwrap().pop().unwrap();
    assert_eq!((history.number, history.at_ms, history.entry), (2, NOW, global));
}

async fn thinning(test: TestStore) {
    let (id, own) = running(&test.store).await;
    // Ten a second for three seconds, and an end.
    for seq in 1..=30 {
        let at = NOW + seq * 100;
        let entries = [entry(&own, "users", (1, seq), Place::Final, 10)];
        test.store.append_entries(&own, &entries, at).await.unwrap();
    }
    assert_eq!(points(&test.store, id).await, [(1, 0), (1, 10), (1, 20), (1, 30)]);
    let mut last = entry(&own, "users", (1, 31), Place::Final, 1);
    last.kind = EntryKind::End;
    test.store.append_entries(&own, &[last], NOW + 3001).await.unwrap();
    assert_eq!(points(&test.store, id).await, [(1, 0), (1, 10), (1, 20), (1, 30), (1, 31)]);
    let mut tx = test.store.read().await.unwrap();
    assert_eq!(tx.job_counts(own.job).await.unwrap(), [(stream("users"), counts(301))]);
    assert_eq!(tx.attempt_counts(own.job, 0).await.unwrap(), [(stream("users"), counts(301))]);
    assert_eq!(tx.attempt_counts(own.job, 1).await.unwrap(), []);
    drop(tx);
    let dump = test.store.dump().await.unwrap();
    assert_eq!(dump["state_blobs"].as_array().unwrap().len(), 4, "states of thinned entries are gone");
}

async fn thinning_keeps(test: TestStore) {
    let (id, own) = running(&test.store).await;
    let with = |seq: i64, change: &dyn Fn(&mut Entry)| {
        let mut entry = entry(&own, "users", (1, seq), Place::Final, 1);
        change(&mut entry);
        entry
    };
    let entries = [
        with(1, &|_| ()),
        with(2, &|entry| entry.lines[0].place = Place::Staging),
        with(3, &|entry| entry.lines[0].place = Place::Staging),
        with(4, &|entry| (entry.lines[0].generation, entry.lines[0].place) = (1, Place::Staging)),
        with(5, &|entry| (entry.lines[0].generation, entry.kind) = (1, EntryKind::End)),
        with(6, &|entry| entry.lines[0].stream = stream("orders")),
        with(7, &|entry| entry.why = Why::Recovered),
        with(8, &|entry| entry.why = Why::Restored),
        with(9, &|entry| entry.kind = EntryKind::Clear),
        with(10, &|_| ()),
    ];
    // All at the same moment: only 2 may go, into 3.
    test.store.append_entries(&own, &entries, NOW).await.unwrap();
    let kept: Vec<i64> = points(&test.store, id).await.iter().map(|point| point.1).collect();
    assert_eq!(kept, [0, 1, 3, 4, 5, 6, 7, 8, 9, 10]);
    let mut tx = test.store.read().await.unwrap();
    assert_eq!(tx.job_counts(own.job).await.unwrap(), [(stream("orders"), counts(1)), (stream("users"), counts(9))]);
}

async fn thinning_of_global(test: TestStore) {
    let (id, own) = running(&test.store).await;
    let global = |seq: i64, names: &[&str]| {
        let mut entry = entry(&own, "users", (1, seq), Place::Final, 1);
        entry.kind = EntryKind::Global;
        entry.lines = names
            .iter()
            .map(|name| Line { stream: stream(name), generation: 0, place: Place::Final, counts: counts(seq) })
            .collect();
        entry
    };
    let entries = [global(1, &["a", "b"]), global(2, &["b", "a"]), global(3, &["a", "b", "c"])];
    test.store.append_entries(&own, &entries, NOW).await.unwrap();
    assert_eq!(points(&test.store, id).await, [(1, 0), (1, 2), (1, 3)]);
    let mut tx = test.store.read().await.unwrap();
    let told = tx.job_counts(own.job).await.unwrap();
    assert_eq!(
        told,
        [(stream("a"), counts(6)), (stream("b"), counts(6)), (stream("c"), counts(3)), (stream("users"), counts(0))]
    );
}

/// Rows in a staging table that was dropped do not count as committed; those before the last `end` do.
async fn staged_counts(test: TestStore) {
    let (_, own) = running(&test.store).await;
    let mut merged = entry(&own, "users", (1, 2), Place::Final, 0);
    merged.kind = EntryKind::End;
    let entries =
        [entry(&own, "users", (1, 1), Place::Staging, 100), merged, entry(&own, "users", (1, 3), Place::Staging, 7)];
    test.store.append_entries(&own, &entries, NOW).await.unwrap();
    let rows = || async {
        let mut tx = test.store.read().await.unwrap();
        let told = tx.job_counts(own.job).await.unwrap();
        told.first().map(|(_, counts)| counts.written)
    };
    assert_eq!(rows().await, Some(107));
    let mut tx = test.store.write(Priority::Ledger).await.unwrap();
    tx.drop_staged(&own, &stream("users"), NOW).await.unwrap();
    tx.commit().await.unwrap();
    assert_eq!(rows().await, Some(100));

    // A dropped line is not thinned into a new one either.
    let again = [entry(&own, "users", (1, 4), Place::Staging, 20)];
    test.store.append_entries(&own, &again, NOW).await.unwrap();
    assert_eq!(rows().await, Some(120));
    let mut tx = test.store.write(Priority::Ledger).await.unwrap();
    tx.raise_generation(&own, &stream("users"), NOW).await.unwrap();
    tx.commit().await.unwrap();
    assert_eq!(rows().await, Some(100), "a new generation drops the staging of the old one");
}

async fn last_final(test: TestStore) {
    let (id, own) = running(&test.store).await;
    let entries = [
        entry(&own, "users", (1, 1), Place::Final, 1),
        entry(&own, "users", (1, 2), Place::Staging, 1),
        entry(&own, "users", (1, 3), Place::Staging, 1),
    ];
    let mut found = Vec::new();
    for count in 0..=entries.len() {
        if count > 0 {
            test.store.append_entries(&own, &entries[count - 1..count], NOW + 5000 * count as i64).await.unwrap();
        }
        let mut tx = test.store.read().await.unwrap();
        let entry = tx.last_final(id, 1, &[stream("users"), stream("users")]).await.unwrap().unwrap();
        found.push((entry.kind, entry.point.seq));
    }
    assert_eq!(found[0], (EntryKind::Begin, 0), "a begin counts");
    assert_eq!(found[1..], [(EntryKind::Stream, 1); 3]);
    let mut tx = test.store.read().await.unwrap();
    assert_eq!(tx.last_final(id, 2, &[stream("users")]).await.unwrap(), None, "another origin");
    assert_eq!(tx.last_final(id, 1, &[stream("orders")]).await.unwrap(), None, "another stream");
    drop(tx);

    // Each of the given streams must have its rows in the final table.
    let mut mixed = entry(&own, "users", (1, 4), Place::Final, 1);
    mixed.kind = EntryKind::Global;
    mixed.lines.push(Line { stream: stream("orders"), generation: 0, place: Place::Staging, counts: counts(0) });
    test.store.append_entries(&own, &[mixed], NOW + 30_000).await.unwrap();
    let mut tx = test.store.read().await.unwrap();
    let seq = |found: Option<Entry>| found.map(|entry| entry.point.seq);
    assert_eq!(seq(tx.last_final(id, 1, &[stream("users")]).await.unwrap()), Some(4), "only the given streams count");
    assert_eq!(seq(tx.last_final(id, 1, &[stream("users"), stream("orders")]).await.unwrap()), None);
    assert_eq!(seq(tx.last_final(id, 1, &[]).await.unwrap()), None);
}

fn api_write(name: &str, state: &str) -> NewChain {
    NewChain {
        kind: EntryKind::Stream,
        why: Why::ApiWrite,
        state: Some(StateMessage::stream(stream(name), Some(json(state)))),
        lines: vec![Line { stream: stream(name), generation: 0, place: Place::Final, counts: counts(0) }],
    }
}

async fn begun_chains(test: TestStore) {
    let (id, own) = running(&test.store).await;
    test.store.append_entries(&own, &[entry(&own, "users", (1, 1), Place::Final, 3)], NOW).await.unwrap();
    let mut tx = test.store.write(Priority::Api).await.unwrap();
    let refused = tx.begin_chain(id, &api_write("users", "1"), NOW).await.unwrap_err();
    assert_eq!(refused.kind, ErrorKind::Conflict, "a job is active");
    drop(tx);
    end(&test.store, &own).await;

    let mut tx = test.store.write(Priority::Api).await.unwrap();
    let first = tx.begin_chain(id, &api_write("users", "1"), NOW).await.unwrap();
    let second = tx.begin_chain(id, &api_write("users", "2"), NOW).await.unwrap();
    tx.commit().await.unwrap();
    assert_eq!((first.point, second.point), (Point { origin: 3, seq: 0 }, Point { origin: 4, seq: 0 }));
    let mut tx = test.store.read().await.unwrap();
    let chain = tx.chains(id).await.unwrap().pop().unwrap();
    assert_eq!(chain.head, second);
    assert_eq!((chain.newest_made, chain.origins), (Some(Point { origin: 1, seq: 1 }), vec![1, 3, 4]));
}

async fn reserved_origin(test: TestStore) {
    let (id, own) = running(&test.store).await;
    let mut tx = test.store.write(Priority::Api).await.unwrap();
    let origin = tx.reserve_origin(id).await.unwrap();
    assert_eq!((origin, tx.reserve_origin(id).await.unwrap()), (2, 3));
    tx.raise_counter_above(id, 10).await.unwrap();
    tx.raise_counter_above(id, 5).await.unwrap();
    assert_eq!(tx.reserve_origin(id).await.unwrap(), 11);
    tx.commit().await.unwrap();
    let mut clear = entry(&own, "users", (origin, 0), Place::Final, 0);
    (clear.kind, clear.why, clear.state) = (EntryKind::Clear, Why::Reset, None);
    test.store.append_entries(&own, std::slice::from_ref(&clear), NOW).await.unwrap();
    assert_eq!(head(&test.store, id, "users").await, clear);
    let mut tx = test.store.read().await.unwrap();
    assert_eq!(tx.ledger_history(id, 1).await.unwrap()[0].number, origin, "it begins its chain");
}

/// A row of a destination whose origin the store has never seen (the store was restored from a backup).
async fn unknown_origin(test: TestStore) {
    let (id, own) = running(&test.store).await;
    let found = [entry(&own, "users", (50, 7), Place::Final, 0), entry(&own, "users", (50, 8), Place::Final, 0)];
    test.store.append_entries(&own, &found[..1], NOW).await.unwrap();
    test.store.append_entries(&own, &found[1..], NOW + 1).await.unwrap();
    assert_eq!(head(&test.store, id, "users").await, found[1]);
    let mut tx = test.store.write(Priority::Api).await.unwrap();
    let numbers: Vec<i64> = tx.ledger_history(id, 2).await.unwrap().iter().map(|found| found.number).collect();
    assert_eq!(numbers, [51, 50], "the first of a chain is not thinned");
    assert_eq!(tx.reserve_origin(id).await.unwrap(), 52);
}

async fn current_state(test: TestStore) {
    let (id, own) = running(&test.store).await;
    let state = || async { test.store.read().await.unwrap().current_state(id).await.unwrap() };
    assert_eq!(state().await, CurrentState::NotSet);
    assert_eq!(test.store.read().await.unwrap().current_state(Uuid::new_v4()).await.unwrap(), CurrentState::NotSet);
    let entries = [entry(&own, "users", (1, 1), Place::Final, 1), entry(&own, "orders", (1, 2), Place::Final, 1)];
    test.store.append_entries(&own, &entries, NOW).await.unwrap();
    let own_state = |name: &str, text: &str| StreamState::new(stream(name), Some(json(text)));
    assert_eq!(
        state().await,
        CurrentState::Stream(vec![own_state("orders", r#"{"at":2}"#), own_state("users", r#"{"at":1}"#)])
    );
    end(&test.store, &own).await;

    let mut tx = test.store.write(Priority::Api).await.unwrap();
    let mut forget = api_write("users", "0");
    forget.state = Some(StateMessage::stream(stream("users"), None));
    tx.begin_chain(id, &forget, NOW).await.unwrap();
    tx.commit().await.unwrap();
    assert_eq!(state().await, CurrentState::Stream(vec![own_state("orders", r#"{"at":2}"#)]));

    let streams = vec![own_state("users", "3")];
    for (kind, new, expected) in [
        (
            EntryKind::Global,
            State::Global { shared: Some(json("1")), streams: streams.clone(), extra: Default::default() },
            CurrentState::Global { shared: Some(json("1")), streams },
        ),
        (EntryKind::Legacy, State::Legacy(json("[1]")), CurrentState::Legacy(json("[1]"))),
    ] {
        let mut new = NewChain { kind, why: Why::ApiWrite, state: Some(new.into()), lines: Vec::new() };
        for name in ["users", "orders"] {
            new.lines.push(Line { stream: stream(name), generation: 0, place: Place::Final, counts: counts(0) });
        }
        let mut tx = test.store.write(Priority::Api).await.unwrap();
        tx.begin_chain(id, &new, NOW).await.unwrap();
        tx.commit().await.unwrap();
        assert_eq!(state().await, expected);
    }
}

/// A commit that the ledger missed is credited to the job that made it.
async fn found_for_an_earlier_job(test: TestStore) {
    let (id, first) = running(&test.store).await;
    end(&test.store, &first).await;
    let next = job(&test.store, id).await;
    let lease = worker(&test.store).await;
    let second = claim(&test.store, &lease, next.id, &[("users", false)]).await.claim;
    let mut found = entry(&first, "users", (1, 1), Place::Final, 40);
    found.why = Why::Recovered;
    test.store.append_entries(&second, &[found, entry(&second, "users", (1, 2), Place::Final, 2)], NOW).await.unwrap();
    let mut tx = test.store.read().await.unwrap();
    assert_eq!(tx.job_counts(first.job).await.unwrap(), [(stream("users"), counts(40))]);
    assert_eq!(tx.job_counts(second.job).await.unwrap(), [(stream("users"), counts(2))]);
}

async fn generations(test: TestStore) {
    let (id, own) = running(&test.store).await;
    let mut tx = test.store.write(Priority::Api).await.unwrap();
    assert_eq!(tx.generation(id, &stream("users")).await.unwrap(), 0);
    assert_eq!(tx.raise_generation(&own, &stream("users"), NOW).await.unwrap(), 1);
    assert_eq!(tx.raise_generation(&own, &stream("users"), NOW).await.unwrap(), 2);
    let plain = StreamDescriptor::new(Some(""), "users");
    assert_eq!(tx.raise_generation(&own, &plain, NOW).await.unwrap(), 1);
    assert_eq!(tx.generation(id, &StreamDescriptor::new(None, "users")).await.unwrap(), 1);
    assert_eq!(tx.generation(id, &stream("users")).await.unwrap(), 2);
}

/// A global state over many streams: more lines than one statement takes.
async fn many_streams(test: TestStore) {
    let (id, own) = running(&test.store).await;
    let mut wide = entry(&own, "users", (1, 1), Place::Final, 1);
    wide.kind = EntryKind::Global;
    wide.lines = (0..450)
        .map(|number| Line {
            stream: stream(&format!("s{number:03}")),
            generation: number,
            place: Place::Final,
            counts: counts(number),
        })
        .collect();
    test.store.append_entries(&own, std::slice::from_ref(&wide), NOW).await.unwrap();
    let mut tx = test.store.read().await.unwrap();
    let chains = tx.chains(id).await.unwrap();
    assert_eq!(chains.len(), 451);
    assert!(chains.iter().filter(|chain| chain.stream != stream("users")).all(|chain| chain.head == wide));
    let streams: Vec<_> = wide.lines.iter().map(|line| line.stream.clone()).collect();
    assert_eq!(tx.last_final(id, 1, &streams).await.unwrap(), Some(wide));
}
