//! Where each stream of an attempt stands and resumes: [`standing`] brings ledger and destination together with
//! [`decide`] and appends what the ledger lacks; [`plan`] turns that into one [`StreamPlan`] per stream and the states
//! for the source.
//!
//! The rules below the table of `decide` live here: a state whose rows lie in staging that is gone is not resumed from; a
//! full refresh resumes only within its job and its generation; an `end` leaves a stream out only in the job that wrote
//! it; a later attempt raises the generation of a full refresh that begins again.

use std::collections::HashMap;

use connector::{Recovered, Result, StreamPlan};
use protocol::{
    ConfiguredCatalog, ConfiguredStream, State, StateMessage, StreamDescriptor, SyncMode,
    checkpoint::{Chain, Claim, Counts, Entry, EntryKind, Line, Place, Point, Position, Scope, Why},
};

use crate::{
    checkpoints::Checkpoints,
    decide::{Answer, Decision, decide, entry_of, joint},
    outcome::Log,
};

/// A stream after ledger and destination were brought together.
pub(crate) struct Standing {
    pub chain: Chain,
    pub decision: Decision,
    /// The destination's memory of the stream, if this store wrote it.
    pub position: Option<Position>,
}

/// How a stream begins.
pub(crate) struct Beginning {
    pub plan: StreamPlan,
    /// Marks of the stream go on above this.
    pub head: Point,
    /// What the source is given, and what an `end` without a newer mark holds.
    pub state: Option<StateMessage>,
    /// Rows that the destination counted for this job before this attempt.
    pub counted: i64,
    pub reason: String,
}

pub(crate) struct Resumption {
    /// In the order of the catalog.
    pub streams: Vec<Beginning>,
    /// A global or legacy state, which all streams share.
    pub shared: Option<StateMessage>,
}

impl Resumption {
    /// The states for the source, which is not given the streams that are done.
    pub fn states(&self) -> Vec<StateMessage> {
        if let Some(shared) = &self.shared {
            return vec![shared.clone()];
        }
        let open = self.streams.iter().filter(|stream| stream.plan != StreamPlan::Done);
        open.filter_map(|stream| stream.state.clone()).collect()
    }
}

/// Decides for every stream, and appends the entries that follow from it.
pub(crate) async fn standing(
    claim: &Claim,
    streams: &[StreamDescriptor],
    recovered: &Recovered,
    checkpoints: &dyn Checkpoints,
    log: &Log,
) -> Result<Vec<Standing>> {
    let mut standing = Vec::with_capacity(streams.len());
    let mut known: HashMap<_, _> =
        checkpoints.chains().await?.into_iter().map(|chain| (chain.stream.clone(), chain)).collect();
    for stream in streams {
        let chain = match known.remove(stream) {
            Some(chain) => chain,
            None => begun(stream, checkpoints.begin(std::slice::from_ref(stream), Why::Begin).await?),
        };
        let position = position_of(claim, stream, recovered).cloned();
        standing.push(Standing { chain, decision: Decision::GoOn, position });
    }

    let mut missing = Missing { checkpoints, counted: HashMap::new(), renumbered: HashMap::new(), entries: Vec::new() };
    let mut lost = Vec::new();
    for group in groups(&standing) {
        let chains: Vec<&Chain> = group.iter().map(|index| &standing[*index].chain).collect();
        let Some(chain) = joint(&chains) else { continue };
        let position = standing[group[0]].position.clone();
        let answer = match (&recovered, &position) {
            (Recovered::Unknown, _) => Answer::CannotSay,
            (_, Some(position)) => Answer::Position(position),
            (_, None) => Answer::Nothing,
        };
        let decision = decide(&claim.store, &chain, answer);
        let head = match (decision, &position) {
            (Decision::Missing, Some(position)) => missing.note(position, position.point, Why::Recovered).await?,
            (Decision::Restored { at }, Some(position)) => missing.note(position, at, Why::Restored).await?,
            (Decision::MissingBelow, Some(position)) => missing.note_below(position).await?,
            _ => chain.head,
        };
        for index in group {
            let stream = &mut standing[index];
            stream.decision = decision;
            stream.chain.head = head.clone();
            warn(log, &stream.chain.stream, decision);
            if decision == Decision::NewChain {
                lost.push(stream.chain.stream.clone());
            }
        }
    }
    if !missing.entries.is_empty() {
        checkpoints.append(missing.entries).await?;
    }
    if !lost.is_empty() {
        let head = checkpoints.begin(&lost, Why::Begin).await?;
        for stream in standing.iter_mut().filter(|stream| stream.decision == Decision::NewChain) {
            stream.chain.head = head.clone();
        }
    }
    Ok(standing)
}

fn begun(stream: &StreamDescriptor, head: Entry) -> Chain {
    let generation = head.lines.iter().find(|line| line.stream == *stream).map_or(0, |line| line.generation);
    Chain { stream: stream.clone(), origins: vec![head.point.origin], newest_made: None, generation, head }
}

/// The newest position that speaks of the stream: its own, or one of all streams.
fn position_of<'a>(claim: &Claim, stream: &StreamDescriptor, recovered: &'a Recovered) -> Option<&'a Position> {
    let Recovered::Positions { positions, .. } = recovered else { return None };
    let speaks = |position: &&Position| match &position.scope {
        Scope::Stream(name) => name == stream,
        Scope::All => position.line(stream).is_some(),
    };
    positions.iter().filter(|position| position.store == claim.store).filter(speaks).max_by_key(|p| p.point)
}

/// Streams that are decided together: all those under one global or legacy position; every other one alone.
fn groups(standing: &[Standing]) -> Vec<Vec<usize>> {
    let shares = |stream: &Standing| stream.position.as_ref().is_some_and(|position| position.scope == Scope::All);
    let shared: Vec<usize> = (0..standing.len()).filter(|index| shares(&standing[*index])).collect();
    let alone = (0..standing.len()).filter(|index| !shares(&standing[*index])).map(|index| vec![index]);
    let mut groups: Vec<Vec<usize>> = alone.collect();
    if !shared.is_empty() {
        groups.push(shared);
    }
    groups
}

/// The entries that the ledger lacks.
struct Missing<'a> {
    checkpoints: &'a dyn Checkpoints,
    /// What the ledger counted, by job.
    counted: HashMap<i64, Vec<(StreamDescriptor, Counts)>>,
    /// New origins of what was found below the head, by its old point.
    renumbered: HashMap<Point, i64>,
    entries: Vec<Entry>,
}

impl Missing<'_> {
    async fn note(&mut self, position: &Position, at: Point, why: Why) -> Result<Entry> {
        if !self.counted.contains_key(&position.job) {
            self.counted.insert(position.job, self.checkpoints.job_counts(position.job).await?);
        }
        let entry = entry_of(position, at, why, &self.counted[&position.job]);
        self.push(entry.clone());
        Ok(entry)
    }

    async fn note_below(&mut self, position: &Position) -> Result<Entry> {
        let entry = self.note(position, position.point, Why::Recovered).await?;
        let origin = match self.renumbered.get(&position.point) {
            Some(origin) => *origin,
            None => self.checkpoints.reserve_origin().await?,
        };
        self.renumbered.insert(position.point, origin);
        let lines = entry.lines.iter().map(|line| Line { counts: Counts::default(), ..line.clone() }).collect();
        let head = Entry { point: Point { origin, seq: 0 }, why: Why::Begin, lines, ..entry };
        self.push(head.clone());
        Ok(head)
    }

    /// What one transaction wrote for several streams without a state (a reset) becomes one entry again.
    fn push(&mut self, entry: Entry) {
        let same = |other: &&mut Entry| {
            let who = |entry: &Entry| (entry.point, entry.kind, entry.why, entry.job, entry.attempt);
            who(other) == who(&entry)
                && other.kind == EntryKind::Clear
                && other.state.is_none()
                && entry.state.is_none()
        };
        match self.entries.iter_mut().find(same) {
            Some(other) => other.lines.extend(entry.lines),
            None => self.entries.push(entry),
        }
    }
}

fn warn(log: &Log, stream: &StreamDescriptor, decision: Decision) {
    match decision {
        Decision::Restored { .. } => log.warn(format!(
            "Stream `{stream}`: the destination is behind what was committed to it; it was restored from a backup. \
             Going on from the destination's own state"
        )),
        Decision::NewChain => log.warn(format!(
            "Stream `{stream}`: the destination has no memory of what was committed to it; starting without a state. \
             In append, rows may come again"
        )),
        Decision::Intended => log.info(format!(
            "Stream `{stream}`: the state was set by hand and is newer than the last commit; in append, rows may come again"
        )),
        _ => {}
    }
}

/// Plans every stream of a sync; raises generations where a full refresh begins again.
pub(crate) async fn plan(
    claim: &Claim,
    catalog: &ConfiguredCatalog,
    standing: Vec<Standing>,
    recovered: &Recovered,
    checkpoints: &dyn Checkpoints,
) -> Result<Resumption> {
    let fallback = fallbacks(catalog, &standing, recovered, checkpoints).await?;
    let mut streams = Vec::with_capacity(standing.len());
    let mut sources: Vec<Option<Entry>> = Vec::with_capacity(standing.len());
    for ((stream, configured), fallback) in standing.into_iter().zip(&catalog.streams).zip(fallback) {
        let name = &configured.stream.descriptor;
        let head = stream.chain.head;
        let counted = stream.position.filter(|position| position.job == claim.job);
        let counted = counted.and_then(|p| p.line(name).map(|line| line.counts.written)).unwrap_or_default();
        let staging = staging_of(recovered, name);
        let mut reason = why(stream.decision).to_owned();
        let (entry, fell_back) = match fallback {
            None => (Some(head.clone()), false),
            Some(entry) => (entry, true),
        };
        if fell_back {
            reason += "; the rows of its last state are gone with their staging table, so an older state counts";
        }
        let resumes = entry.as_ref().is_some_and(|entry| has_state(entry, name));
        let generation = stream.chain.generation;
        let plan = if head.kind == EntryKind::End && head.job == Some(claim.job) {
            reason = "it is complete in this job".to_owned();
            StreamPlan::Done
        } else if configured.sync_mode == SyncMode::Incremental {
            if resumes {
                StreamPlan::Resume { generation: staging.unwrap_or(generation) }
            } else {
                StreamPlan::Fresh { generation }
            }
        } else if resumes && counts_here(claim, configured, &head, generation, staging) {
            StreamPlan::Resume { generation }
        } else if claim.attempt == 0 {
            reason = "full refresh".to_owned();
            StreamPlan::Fresh { generation }
        } else {
            reason = "full refresh that cannot resume".to_owned();
            StreamPlan::Fresh { generation: checkpoints.raise_generation(name).await? }
        };
        let entry = entry.filter(|_| resumes && !matches!(plan, StreamPlan::Fresh { .. }));
        sources.push(entry);
        streams.push(Beginning { plan, head: head.point, state: None, counted, reason });
    }
    Ok(with_states(catalog, streams, sources))
}

/// Staging that `recover` kept.
fn staging_of(recovered: &Recovered, stream: &StreamDescriptor) -> Option<i64> {
    let Recovered::Positions { staging, .. } = recovered else { return None };
    staging.iter().find(|(name, _)| name == stream).and_then(|(_, generation)| *generation)
}

fn line_of<'a>(entry: &'a Entry, stream: &StreamDescriptor) -> Option<&'a Line> {
    entry.lines.iter().find(|line| line.stream == *stream)
}

/// For each incremental stream whose head's rows lie in staging that is gone (and all that share its state): the newest
/// entry with rows in the final table, if there is one.
async fn fallbacks(
    catalog: &ConfiguredCatalog,
    standing: &[Standing],
    recovered: &Recovered,
    checkpoints: &dyn Checkpoints,
) -> Result<Vec<Option<Option<Entry>>>> {
    let incremental = |index: usize| catalog.streams[index].sync_mode == SyncMode::Incremental;
    let gone = |index: usize| {
        let stream = &standing[index];
        let line = line_of(&stream.chain.head, &stream.chain.stream).filter(|line| line.place == Place::Staging);
        // Staging holds the rows of the destination's own position. A state that was set by hand (a rewind) may name an
        // older filling of it, and nothing tells them apart.
        let by_hand = stream.decision == Decision::Intended;
        line.is_some_and(|line| by_hand || staging_of(recovered, &stream.chain.stream) != Some(line.generation))
    };
    let mut found = vec![None; standing.len()];
    for index in 0..standing.len() {
        if !incremental(index) || !gone(index) || found[index].is_some() {
            continue;
        }
        let head = &standing[index].chain.head;
        let shared = head.state.as_ref().is_some_and(|message| !matches!(message.state, State::Stream(_)));
        let sharing = |other: &usize| incremental(*other) && standing[*other].chain.head.point == head.point;
        let together: Vec<usize> = if shared { (0..standing.len()).filter(sharing).collect() } else { vec![index] };
        let names: Vec<_> = together.iter().map(|other| standing[*other].chain.stream.clone()).collect();
        let entry = checkpoints.last_final(head.point.origin, &names).await?;
        for other in together {
            found[other] = Some(entry.clone());
        }
    }
    Ok(found)
}

/// Whether the entry holds a state that this stream can resume from.
fn has_state(entry: &Entry, stream: &StreamDescriptor) -> bool {
    let Some(message) = &entry.state else { return false };
    match &message.state {
        State::Stream(_) => message.of(stream).is_some(),
        // A source may keep everything in the shared part.
        State::Global { streams, .. } => {
            message.of(stream).is_some() || (streams.is_empty() && entry.kind != EntryKind::Clear)
        }
        State::Legacy(_) => entry.kind != EntryKind::Clear,
    }
}

/// A full refresh goes on only where its job left it: same job, same generation, and its rows still in staging.
fn counts_here(
    claim: &Claim,
    configured: &ConfiguredStream,
    head: &Entry,
    generation: i64,
    staging: Option<i64>,
) -> bool {
    let line = line_of(head, &configured.stream.descriptor);
    configured.stream.is_resumable == Some(true)
        && head.job == Some(claim.job)
        && staging == Some(generation)
        && line.is_some_and(|line| line.generation == generation && line.place == Place::Staging)
}

/// Hands the states out: the kind of the newest one decides whether all streams share it.
fn with_states(catalog: &ConfiguredCatalog, mut streams: Vec<Beginning>, sources: Vec<Option<Entry>>) -> Resumption {
    let newest = sources.iter().flatten().max_by_key(|entry| entry.point).and_then(|entry| entry.state.clone());
    let shared = newest.filter(|message| !matches!(message.state, State::Stream(_)));
    for ((stream, source), configured) in streams.iter_mut().zip(sources).zip(&catalog.streams) {
        let name = &configured.stream.descriptor;
        let Some(message) = source.and_then(|entry| entry.state) else { continue };
        let alone = matches!(message.state, State::Stream(_));
        stream.state = match &shared {
            None if alone => Some(message),
            None => message.of(name).map(|state| StateMessage::stream(name.clone(), Some(state.clone()))),
            Some(_) if alone => {
                stream.reason += "; its own state does not count any more, because the source has one for all streams";
                None
            }
            Some(shared) => Some(shared.clone()),
        };
        if let (None, StreamPlan::Resume { generation }) = (&stream.state, &stream.plan) {
            stream.plan = StreamPlan::Fresh { generation: *generation };
        }
    }
    let resumes = |name: &StreamDescriptor| {
        let named = catalog.streams.iter().position(|configured| configured.stream.descriptor == *name);
        // What the catalog does not have now stays as the source wrote it.
        named.is_none_or(|index| streams[index].state.is_some())
    };
    let shared = shared.map(|mut message| {
        if let State::Global { streams, .. } = &mut message.state {
            streams.retain(|stream| resumes(&stream.descriptor));
        }
        message
    });
    Resumption { streams, shared }
}

fn why(decision: Decision) -> &'static str {
    match decision {
        Decision::GoOn => "ledger and destination agree",
        Decision::First => "nothing was committed yet",
        Decision::Intended => "the state was set by hand",
        Decision::AtLeastOnce => "the destination keeps no memory, so rows may come again",
        Decision::Missing => "the destination is ahead of the ledger",
        Decision::MissingBelow => "the ledger lacked what the destination holds",
        Decision::Restored { .. } => "the destination was restored from a backup",
        Decision::NewChain => "the destination has no memory of what was committed",
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::sync::Mutex;

    use async_trait::async_trait;
    use protocol::Json;
    use serde_json::json;

    use super::*;

    fn name(index: usize) -> StreamDescriptor {
        StreamDescriptor::new(None, format!("stream{index}"))
    }

    fn blob(text: &str) -> Json {
        Json::parse(format!("\"{text}\"")).unwrap()
    }

    fn own(text: &str) -> Option<StateMessage> {
        Some(StateMessage::stream(name(0), Some(blob(text))))
    }

    fn entry(job: i64, kind: EntryKind, state: Option<StateMessage>, place: Place, generation: i64) -> Entry {
        let lines = (0..2).map(|index| Line { stream: name(index), generation, place, counts: Counts::default() });
        Entry {
            point: Point { origin: 1, seq: 5 },
            kind,
            why: Why::Sync,
            job: Some(job),
            attempt: Some(0),
            state,
            lines: lines.collect(),
        }
    }

    /// Answers one entry whose rows are all in the final table, and counts the generations that were raised.
    #[derive(Default)]
    struct Fake {
        last_final: Option<Entry>,
        raised: Mutex<i64>,
    }

    #[async_trait]
    impl Checkpoints for Fake {
        async fn chains(&self) -> Result<Vec<Chain>> {
            Ok(Vec::new())
        }
        async fn confirm(&self, _: i64) -> Result<()> {
            Ok(())
        }
        async fn append(&self, _: Vec<Entry>) -> Result<()> {
            Ok(())
        }
        async fn begin(&self, _: &[StreamDescriptor], _: Why) -> Result<Entry> {
            Ok(entry(7, EntryKind::Begin, None, Place::Final, 0))
        }
        async fn reserve_origin(&self) -> Result<i64> {
            Ok(9)
        }
        async fn last_final(&self, _: i64, _: &[StreamDescriptor]) -> Result<Option<Entry>> {
            Ok(self.last_final.clone())
        }
        async fn job_counts(&self, _: i64) -> Result<Vec<(StreamDescriptor, Counts)>> {
            Ok(Vec::new())
        }
        async fn raise_generation(&self, _: &StreamDescriptor) -> Result<i64> {
            let mut raised = self.raised.lock().unwrap();
            *raised += 1;
            Ok(100 + *raised)
        }
    }

    /// One stream in attempt `attempt` of job 7, whose current generation is 3.
    struct Case {
        what: &'static str,
        full: bool,
        resumable: bool,
        attempt: i64,
        decision: Decision,
        head: Entry,
        staging: Option<i64>,
        last_final: Option<Entry>,
    }

    fn case(what: &'static str, full: bool, head: Entry) -> Case {
        let decision = Decision::GoOn;
        Case { what, full, resumable: true, attempt: 1, decision, head, staging: None, last_final: None }
    }

    fn configured(index: usize, full: bool, resumable: bool) -> ConfiguredStream {
        serde_json::from_value(json!({
            "stream": {"name": name(index).name, "json_schema": {}, "is_resumable": resumable},
            "sync_mode": if full { "full_refresh" } else { "incremental" }, "destination_sync_mode": "append_dedup",
        }))
        .unwrap()
    }

    fn chain(index: usize, head: Entry) -> Chain {
        Chain { stream: name(index), head, newest_made: None, origins: vec![1], generation: 3 }
    }

    async fn planned(
        case: &Case,
        catalog: ConfiguredCatalog,
        checkpoints: &Fake,
        staging: Vec<(StreamDescriptor, Option<i64>)>,
    ) -> Resumption {
        let claim =
            Claim { store: "s".into(), connection: "c".into(), job: 7, attempt: case.attempt, owner: "o".into() };
        let standing = (0..catalog.streams.len()).map(|index| Standing {
            chain: chain(index, case.head.clone()),
            decision: case.decision,
            position: None,
        });
        let recovered = Recovered::Positions { positions: Vec::new(), staging };
        plan(&claim, &catalog, standing.collect(), &recovered, checkpoints).await.unwrap()
    }

    async fn check(case: Case, expected: StreamPlan, state: Option<StateMessage>) {
        let streams = vec![configured(0, case.full, case.resumable)];
        let catalog = ConfiguredCatalog { streams, ..Default::default() };
        let fake = Fake { last_final: case.last_final.clone(), ..Fake::default() };
        let found = planned(&case, catalog, &fake, vec![(name(0), case.staging)]).await;
        assert_eq!(found.streams[0].plan, expected, "{}", case.what);
        assert_eq!(found.states(), state.into_iter().collect::<Vec<_>>(), "{}", case.what);
        let raises = matches!(expected, StreamPlan::Fresh { generation } if generation > 100);
        assert_eq!(*fake.raised.lock().unwrap(), i64::from(raises), "{}", case.what);
    }

    #[tokio::test]
    async fn incremental_streams() {
        use EntryKind::{Begin, Clear, End, Stream};
        let staged = || entry(6, Stream, own("new"), Place::Staging, 3);
        let older = || Some(entry(6, End, own("old"), Place::Final, 3));
        let resume = |generation| StreamPlan::Resume { generation };
        let fresh = StreamPlan::Fresh { generation: 3 };
        check(case("in the final table", false, entry(6, Stream, own("a"), Place::Final, 3)), resume(3), own("a"))
            .await;
        check(Case { staging: Some(3), ..case("in staging", false, staged()) }, resume(3), own("new")).await;
        let older_staging = entry(6, Stream, own("new"), Place::Staging, 2);
        let kept = Case { staging: Some(2), ..case("staging of an older generation", false, older_staging) };
        check(kept, resume(2), own("new")).await;
        let gone = Case { last_final: older(), ..case("staging is gone", false, staged()) };
        check(gone, resume(3), own("old")).await;
        check(case("staging is gone, and nothing is final", false, staged()), fresh.clone(), None).await;
        let cleared = Some(entry(6, Clear, None, Place::Final, 3));
        let gone = Case { last_final: cleared, ..case("staging is gone after a reset", false, staged()) };
        check(gone, fresh.clone(), None).await;
        let by_hand = Case { decision: Decision::Intended, staging: Some(3), ..case("by hand", false, staged()) };
        check(by_hand, fresh.clone(), None).await;
        check(case("begin", false, entry(7, Begin, None, Place::Final, 3)), fresh.clone(), None).await;
        check(case("end of another job", false, entry(6, End, own("a"), Place::Final, 3)), resume(3), own("a")).await;
        check(case("end of this job", false, entry(7, End, own("a"), Place::Final, 3)), StreamPlan::Done, None).await;
    }

    #[tokio::test]
    async fn full_refreshes() {
        use EntryKind::{End, Stream};
        let staged = |job, generation| entry(job, Stream, own("a"), Place::Staging, generation);
        let raised = StreamPlan::Fresh { generation: 101 };
        let resumes = Case { staging: Some(3), ..case("in its job and generation", true, staged(7, 3)) };
        check(resumes, StreamPlan::Resume { generation: 3 }, own("a")).await;
        let first = Case { attempt: 0, staging: Some(3), ..case("first attempt", true, staged(6, 3)) };
        check(first, StreamPlan::Fresh { generation: 3 }, None).await;
        let other = Case { staging: Some(3), ..case("another job", true, staged(6, 3)) };
        check(other, raised.clone(), None).await;
        let other = Case { staging: Some(2), ..case("another generation", true, staged(7, 2)) };
        check(other, raised.clone(), None).await;
        check(case("staging is gone", true, staged(7, 3)), raised.clone(), None).await;
        let plain = Case { resumable: false, staging: Some(3), ..case("not resumable", true, staged(7, 3)) };
        check(plain, raised, None).await;
        let done = Case { resumable: false, ..case("end of this job", true, entry(7, End, own("a"), Place::Final, 3)) };
        check(done, StreamPlan::Done, None).await;
    }

    #[tokio::test]
    async fn a_shared_state_leaves_out_a_full_refresh_that_begins_again() {
        let streams = (0..2).map(|index| protocol::StreamState::new(name(index), Some(blob("a")))).collect();
        let shared = State::Global { shared: Some(blob("s")), streams, extra: Default::default() };
        let head = entry(6, EntryKind::Global, Some(shared.into()), Place::Final, 3);
        let case = Case { attempt: 0, ..case("", false, head) };
        let streams = vec![configured(0, true, true), configured(1, false, true)];
        let catalog = ConfiguredCatalog { streams, ..Default::default() };
        let found = planned(&case, catalog, &Fake::default(), Vec::new()).await;
        let plans: Vec<_> = found.streams.iter().map(|stream| stream.plan.clone()).collect();
        assert_eq!(plans, [StreamPlan::Fresh { generation: 3 }, StreamPlan::Resume { generation: 3 }]);
        let [message] = found.states().try_into().unwrap();
        assert_eq!((message.of(&name(0)), message.of(&name(1))), (None, Some(&blob("a"))));
    }
}
