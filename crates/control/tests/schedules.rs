//! Schedules in virtual time: intervals, zones and changes of the clock, edits, downtime.

use chrono::TimeDelta;
use control::{
    connections::{ConnectionPatch, ConnectionStatus, ScheduleRequest, TimeUnit},
    executor::Limits,
    jobs::{JobKind, JobStatus},
    runner::FailureType,
    testing::Act,
};

use crate::world::{World, cron, every, manual, time};

/// Creates a connection and follows its schedule: the jobs are created at exactly these times.
async fn check(now: &str, schedule: ScheduleRequest, starts: &[&str]) {
    let world = World::at(now, Limits::default()).await;
    let connection = world.connect(schedule).await;
    for (index, start) in starts.iter().enumerate() {
        let start = time(start);
        if index > 0 || start > time(now) {
            assert_eq!(world.next_run(connection).await, Some(start));
            // Not a moment too soon.
            world.clock.set(start - TimeDelta::milliseconds(1));
            assert_eq!(world.jobs(connection).await.len(), index);
            world.clock.set(start);
        }
        let job = world.until(connection, index + 1, JobStatus::Succeeded).await.job;
        assert_eq!(job.created_ms, start.timestamp_millis());
    }
}

#[tokio::test]
async fn basic_in_all_units() {
    let now = "2024-01-31T00:00:00Z";
    check(now, every(30, TimeUnit::Minutes), &[now, "2024-01-31T00:30:00Z", "2024-01-31T01:00:00Z"]).await;
    check(now, every(6, TimeUnit::Hours), &[now, "2024-01-31T06:00:00Z"]).await;
    check(now, every(1, TimeUnit::Days), &[now, "2024-02-01T00:00:00Z"]).await;
    check(now, every(2, TimeUnit::Weeks), &[now, "2024-02-14T00:00:00Z"]).await;
    check(now, every(1, TimeUnit::Months), &[now, "2024-03-01T00:00:00Z", "2024-03-31T00:00:00Z"]).await;
}

#[tokio::test]
async fn cron_with_zones_over_both_changes_of_the_clock() {
    let six = || cron("0 0 6 * * ?", "US/Pacific");
    check("2027-03-12T20:00:00Z", six(), &["2027-03-13T14:00:00Z", "2027-03-14T13:00:00Z"]).await;
    check("2027-11-05T20:00:00Z", six(), &["2027-11-06T13:00:00Z", "2027-11-07T14:00:00Z"]).await;
    let gap = cron("0 30 2 * * ?", "US/Pacific");
    check("2027-03-13T12:00:00Z", gap, &["2027-03-14T10:00:00Z", "2027-03-15T09:30:00Z"]).await;
    let twice = cron("0 30 1 * * ?", "US/Pacific");
    check("2027-11-06T12:00:00Z", twice, &["2027-11-07T08:30:00Z", "2027-11-08T09:30:00Z"]).await;
    check("2027-03-13T12:00:00Z", cron("0 0 6 * * ?", "Asia/Kathmandu"), &["2027-03-14T00:15:00Z"]).await;
}

#[tokio::test]
async fn a_cron_of_every_second_starts_once_a_minute() {
    let starts = ["2024-01-01T00:00:01Z", "2024-01-01T00:01:02Z", "2024-01-01T00:02:03Z"];
    check("2024-01-01T00:00:00Z", cron("* * * * * ?", "UTC"), &starts).await;
}

#[tokio::test]
async fn a_long_run_is_followed_at_once_and_from_start_to_start() {
    let world = World::new().await;
    world.runner.then(Act::Hang);
    let connection = world.connect(every(1, TimeUnit::Hours)).await;
    world.runner.begun(1).await;
    world.advance(90 * 60);
    world.runner.release();
    let second = world.until(connection, 2, JobStatus::Succeeded).await;
    assert_eq!(second.job.created_ms, time("2024-01-01T01:30:00Z").timestamp_millis());
    assert_eq!(world.next_run(connection).await, Some(time("2024-01-01T02:30:00Z")));
}

#[tokio::test]
async fn edits_while_waiting() {
    let world = World::new().await;
    let connection = world.connect(manual()).await;
    assert_eq!(world.next_run(connection).await, None);
    let patch = |schedule| ConnectionPatch { schedule, ..ConnectionPatch::default() };
    let status = |status| ConnectionPatch { status: Some(status), ..ConnectionPatch::default() };
    world.control.update_connection(connection, patch(every(1, TimeUnit::Days))).await.unwrap();
    world.until(connection, 1, JobStatus::Succeeded).await;
    assert_eq!(world.next_run(connection).await, Some(time("2024-01-02T00:00:00Z")));
    world.advance(3600);
    world.control.update_connection(connection, patch(every(2, TimeUnit::Hours))).await.unwrap();
    assert_eq!(world.next_run(connection).await, Some(time("2024-01-01T02:00:00Z")));
    world.control.update_connection(connection, status(ConnectionStatus::Inactive)).await.unwrap();
    assert_eq!(world.next_run(connection).await, None);
    world.advance(5 * 3600);
    world.control.update_connection(connection, patch(cron("0 0 7 * * ?", "UTC"))).await.unwrap();
    assert_eq!(world.next_run(connection).await, None, "an inactive connection waits for somebody");
    world.control.update_connection(connection, status(ConnectionStatus::Active)).await.unwrap();
    assert_eq!(world.next_run(connection).await, Some(time("2024-01-01T07:00:00Z")));
    world.clock.set(time("2024-01-01T07:00:00Z"));
    world.until(connection, 2, JobStatus::Succeeded).await;
}

#[tokio::test]
async fn an_edit_while_a_job_runs_starts_no_second_one() {
    let world = World::new().await;
    world.runner.then(Act::Hang);
    let connection = world.connect(every(1, TimeUnit::Hours)).await;
    world.runner.begun(1).await;
    let patch = ConnectionPatch { schedule: every(1, TimeUnit::Minutes), ..ConnectionPatch::default() };
    world.control.update_connection(connection, patch).await.unwrap();
    world.advance(600);
    world.runner.release();
    let second = world.until(connection, 2, JobStatus::Succeeded).await;
    assert_eq!(second.job.created_ms, time("2024-01-01T00:10:00Z").timestamp_millis());
}

#[tokio::test]
async fn after_a_downtime_due_jobs_start_under_the_limits() {
    let limits = Limits { total: 2, per_source: 8, per_destination: 8 };
    let mut world = World::at("2024-01-01T00:00:00Z", limits).await;
    let mut connections = Vec::new();
    for _ in 0..5 {
        connections.push(world.connect(cron("0 0 * * * ?", "UTC")).await);
    }
    let first = world.next_run(connections[0]).await.unwrap();
    assert_eq!(first, time("2024-01-01T01:00:00Z"));
    world.stop().await;
    world.advance(3 * 24 * 3600);
    for _ in 0..5 {
        world.runner.then(Act::Hang);
    }
    world.open_again().await;
    world.runner.begun(2).await;
    let look = async |_: &control::Control| {
        let mut waiting = 0;
        for connection in &connections {
            let reason = world.row(*connection).await.wait_reason.unwrap_or_default();
            waiting += usize::from(reason.contains("limit is 2"));
        }
        (waiting == 3).then_some(())
    };
    world.control.until("three say why they wait", look).await;
    assert_eq!(world.runner.ran().len(), 2, "no more than the limit runs");
    for round in 3..=5 {
        world.runner.release();
        world.runner.begun(round).await;
    }
    world.runner.release();
    world.runner.release();
    for connection in connections {
        world.until(connection, 1, JobStatus::Succeeded).await;
        assert_eq!(world.row(connection).await.wait_reason, None);
    }
}

#[tokio::test]
async fn a_connection_that_keeps_failing_is_switched_off() {
    let world = World::new().await;
    for _ in 0..30 {
        world.runner.then(Act::Fail(0, FailureType::ConfigError));
    }
    let connection = world.connect(every(6, TimeUnit::Hours)).await;
    for round in 1..=30 {
        let job = world.until(connection, round, JobStatus::Failed).await.job;
        assert_eq!(job.kind, JobKind::Sync);
        let status = world.row(connection).await.status;
        assert_eq!(status == ConnectionStatus::Inactive, round == 30, "round {round}");
        world.advance(6 * 3600);
    }
    let row = world.row(connection).await;
    assert_eq!(row.next_run_at_ms, None);
    assert!(row.wait_reason.unwrap().contains("30 jobs failed"));
}
