//! The model test: seeded random schedules of crash, pause, reset, cancel, rewind, states written by hand, backups and
//! restores on either side, and edits of the prefix, over the real engine. After each of them nothing may be lost, doubled,
//! counted wrong, or seen half done by a reader.
//!
//! [`schedule`] runs one; [`oracle`] says what must hold. The last tests switch single rules off in the destination or the
//! ledger and ask for a violation: a model that cannot fail proves nothing.

mod oracle;
mod random;
mod schedule;

use crate::world::{destination, ledger, source::States};
use schedule::{Mode, Rules, schedule};

const APPEND: (&str, &str, bool) = ("incremental", "append", true);
const DEDUP: (&str, &str, bool) = ("incremental", "append_dedup", true);
const OVERWRITE: (&str, &str, bool) = ("full_refresh", "overwrite", true);
const OVERWRITE_AGAIN: (&str, &str, bool) = ("full_refresh", "overwrite", false);
const FULL_APPEND: (&str, &str, bool) = ("full_refresh", "append", true);

fn mode(states: States, streams: &[(&'static str, &'static str, bool)]) -> Mode {
    Mode { states, streams: streams.to_vec() }
}

/// Runs schedules until one breaks a promise; the seed and what it did are in the message.
fn violation(mode: &Mode, rules: Rules, seeds: std::ops::Range<u64>) -> Option<String> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
    for seed in seeds {
        if runtime.block_on(schedule(mode, rules, seed, false)).is_err() {
            let text = runtime.block_on(schedule(mode, rules, seed, true)).err();
            return Some(format!("seed {seed}: {}", text.unwrap_or("not again".into())));
        }
    }
    None
}

/// Of each mode; `LEAT_MODEL_SCHEDULES` asks for more.
const SCHEDULES: u64 = 1120;

fn check(mode: Mode) {
    let asked = std::env::var("LEAT_MODEL_SCHEDULES").ok().and_then(|text| text.parse().ok());
    if let Some(text) = violation(&mode, Rules::default(), 0..asked.unwrap_or(SCHEDULES)) {
        panic!("{mode:?}: {text}");
    }
}

#[test]
fn append() {
    check(mode(States::Stream, &[APPEND]));
}

#[test]
fn append_dedup() {
    check(mode(States::Stream, &[DEDUP]));
}

#[test]
fn overwrite() {
    check(mode(States::Stream, &[OVERWRITE]));
}

#[test]
fn overwrite_that_cannot_resume() {
    check(mode(States::Stream, &[OVERWRITE_AGAIN]));
}

#[test]
fn full_refresh_append() {
    check(mode(States::Stream, &[FULL_APPEND]));
}

#[test]
fn several_streams() {
    check(mode(States::Stream, &[APPEND, DEDUP, OVERWRITE]));
}

#[test]
fn one_state_for_all_streams() {
    check(mode(States::Global, &[APPEND, DEDUP]));
}

#[test]
fn one_state_for_all_streams_and_a_full_refresh() {
    check(mode(States::Global, &[FULL_APPEND, APPEND]));
}

#[test]
fn a_legacy_state() {
    check(mode(States::Legacy, &[APPEND, DEDUP]));
}

/// Without the rule, some schedule of the mode must break a promise.
fn check_that_it_matters(mode: Mode, rules: Rules) {
    let found = violation(&mode, rules, 0..3000);
    assert!(found.is_some(), "{rules:?} in {mode:?} broke nothing");
}

fn destination(slack: destination::Slack) -> Rules {
    Rules { destination: slack, ..Rules::default() }
}

fn ledger(slack: ledger::Slack) -> Rules {
    Rules { ledger: slack, ..Rules::default() }
}

#[test]
fn without_memory_append_doubles() {
    let rules = destination(destination::Slack { memory: true, ..Default::default() });
    check_that_it_matters(mode(States::Stream, &[APPEND]), rules);
}

#[test]
fn without_the_fence_a_ghost_writes() {
    let rules = destination(destination::Slack { fence: true, ..Default::default() });
    check_that_it_matters(mode(States::Stream, &[APPEND]), rules);
}

#[test]
fn without_the_fence_at_the_swap_a_ghost_swaps() {
    let rules = destination(destination::Slack { swap: true, ..Default::default() });
    check_that_it_matters(mode(States::Stream, &[FULL_APPEND]), rules);
}

#[test]
fn without_a_look_at_what_was_left_a_restore_goes_unseen() {
    let rules = destination(destination::Slack { moved: true, ..Default::default() });
    check_that_it_matters(mode(States::Stream, &[APPEND]), rules);
}

#[test]
fn a_position_in_its_own_transaction_doubles() {
    let rules = destination(destination::Slack { split: true, ..Default::default() });
    check_that_it_matters(mode(States::Stream, &[APPEND]), rules);
}

#[test]
fn tails_that_are_kept_double() {
    let rules = destination(destination::Slack { tails: true, ..Default::default() });
    check_that_it_matters(mode(States::Stream, &[APPEND]), rules);
}

#[test]
fn a_table_that_is_emptied_at_the_beginning_is_seen_empty() {
    let rules = destination(destination::Slack { early: true, ..Default::default() });
    check_that_it_matters(mode(States::Stream, &[OVERWRITE]), rules);
}

#[test]
fn without_the_memory_of_commits_a_restored_destination_loses_rows() {
    let rules = ledger(ledger::Slack { made: true, ..Default::default() });
    check_that_it_matters(mode(States::Stream, &[APPEND]), rules);
}

#[test]
fn a_state_of_another_job_breaks_a_full_refresh() {
    let rules = Rules {
        ledger: ledger::Slack { jobs: true, ..Default::default() },
        destination: destination::Slack { staging: true, ..Default::default() },
    };
    check_that_it_matters(mode(States::Stream, &[OVERWRITE]), rules);
}

#[test]
fn a_ledger_that_takes_entries_of_a_ghost_goes_wrong() {
    let rules = ledger(ledger::Slack { owner: true, ..Default::default() });
    check_that_it_matters(mode(States::Stream, &[APPEND]), rules);
}
