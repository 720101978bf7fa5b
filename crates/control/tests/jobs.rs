//! Sync, reset and cancel: what they promise, and how jobs end.

use control::{
    ErrorKind,
    connections::{ConnectionPatch, ConnectionStatus, TimeUnit},
    jobs::{AttemptStatus, JobInfo, JobKind, JobStatus},
    runner::{AttemptKind, FailureType},
    testing::Act,
};

use crate::world::{World, every, manual};

fn cause(info: &JobInfo, attempt: usize) -> FailureType {
    info.attempts[attempt].failures[0].failure_type
}

#[tokio::test]
async fn a_sync_runs_and_tells_what_it_did() {
    let world = World::new().await;
    world.runner.then(Act::Hang);
    let connection = world.connect(manual()).await;
    let info = world.control.sync(connection).await.unwrap();
    assert_eq!((info.job.kind, info.job.status), (JobKind::Sync, JobStatus::Running));
    assert_eq!((info.attempts.len(), info.attempts[0].number), (1, 0), "it answers when the attempt is there");
    world.runner.begun(1).await;
    let again = world.control.sync(connection).await.unwrap_err();
    assert_eq!((again.kind, again.code), (ErrorKind::Conflict, "job_running"));
    world.runner.release();
    let info = world.until(connection, 1, JobStatus::Succeeded).await;
    let attempt = &info.attempts[0];
    assert_eq!((attempt.status, attempt.committed()), (AttemptStatus::Succeeded, (2, 16)));
    assert!(attempt.ended_ms.is_some() && attempt.failures.is_empty());
    let log = attempt.log.join("\n");
    assert!(log.contains("attempt 0 of job 1") && log.contains("scripted: Hang"), "{log}");
    // Invariant 6
    assert!(log.contains("configuration:") && !log.contains("hunter2") && log.contains("**********"), "{log}");

    let input = &world.runner.ran()[0];
    assert_eq!(input.source.config["password"], "hunter2", "the connector gets it in clear");
    assert_eq!(input.claim.attempt, 0);
    for stream in &input.catalog.streams {
        assert_eq!(stream.generation_id, stream.minimum_generation_id, "an overwrite drops older generations");
        assert_eq!((stream.generation_id, stream.sync_id), (Some(1), Some(info.job.id)));
    }
    world.control.sync(connection).await.unwrap();
    world.until(connection, 2, JobStatus::Succeeded).await;
    assert_eq!(world.runner.ran()[1].catalog.streams[0].generation_id, Some(2));
}

#[tokio::test]
async fn what_cannot_be_synced() {
    let world = World::new().await;
    let unknown = world.control.sync(uuid::Uuid::from_u128(7)).await.unwrap_err();
    assert_eq!(unknown.kind, ErrorKind::NotFound);
    assert_eq!(world.control.reset(uuid::Uuid::from_u128(7), None).await.unwrap_err().kind, ErrorKind::NotFound);
    let connection = world.connect(manual()).await;
    for status in [ConnectionStatus::Inactive, ConnectionStatus::Deprecated] {
        let patch = ConnectionPatch { status: Some(status), ..ConnectionPatch::default() };
        world.control.update_connection(connection, patch).await.unwrap();
        let refused = world.control.sync(connection).await.unwrap_err();
        assert_eq!((refused.kind, refused.code), (ErrorKind::Conflict, "connection_not_active"));
    }
    assert!(world.jobs(connection).await.is_empty());
    let patch = ConnectionPatch { status: Some(ConnectionStatus::Active), ..ConnectionPatch::default() };
    world.control.update_connection(connection, patch).await.unwrap();
    world.control.sync(connection).await.unwrap();
    world.until(connection, 1, JobStatus::Succeeded).await;
}

#[tokio::test]
async fn attempts_that_commit_nothing_back_off_and_give_up() {
    let world = World::new().await;
    let connection = world.connect(manual()).await;
    for _ in 0..5 {
        world.runner.then(Act::Fail(0, FailureType::SystemError));
    }
    let job = world.control.sync(connection).await.unwrap().job.id;
    for (attempts, wait) in [(1, 10), (2, 30), (3, 90), (4, 270)] {
        world.until_attempts(job, attempts, JobStatus::Incomplete).await;
        let reason = world.row(connection).await.wait_reason.unwrap();
        assert!(reason.contains(&format!("{wait} s")), "{reason}");
        world.advance(wait - 1);
        assert_eq!(world.runner.ran().len(), attempts, "not before {wait} s");
        world.advance(1);
    }
    let info = world.until_attempts(job, 5, JobStatus::Failed).await;
    assert!(info.attempts.iter().all(|attempt| attempt.status == AttemptStatus::Failed));
    assert_eq!(cause(&info, 4), FailureType::SystemError);
}

#[tokio::test]
async fn attempts_that_move_on_go_on_at_once_and_wrong_configurations_end_the_job() {
    let world = World::new().await;
    let connection = world.connect(manual()).await;
    world
        .runner
        .then(Act::Fail(3, FailureType::SystemError))
        .then(Act::Die)
        .then(Act::Fail(0, FailureType::ConfigError));
    let job = world.control.sync(connection).await.unwrap().job.id;
    // The second one came without a wait, because the first had committed rows.
    let info = world.until_attempts(job, 2, JobStatus::Incomplete).await;
    let failure = &info.attempts[1].failures[0];
    assert_eq!(failure.internal_message.as_deref(), Some("the script says so"), "a panic is a failure like others");
    world.advance(10);
    let info = world.until_attempts(job, 3, JobStatus::Failed).await;
    assert_eq!(cause(&info, 2), FailureType::ConfigError);
}

#[tokio::test]
async fn a_sync_during_a_backoff_starts_that_attempt() {
    let world = World::new().await;
    let connection = world.connect(manual()).await;
    world.runner.then(Act::Fail(0, FailureType::SystemError));
    let job = world.control.sync(connection).await.unwrap().job.id;
    world.until_attempts(job, 1, JobStatus::Incomplete).await;
    let info = world.control.sync(connection).await.unwrap();
    assert_eq!((info.job.id, info.attempts.len()), (job, 2));
    world.until(connection, 1, JobStatus::Succeeded).await;
}

#[tokio::test]
async fn a_sync_that_has_to_wait_answers_pending_after_ten_seconds() {
    let limits = control::executor::Limits { total: 0, per_source: 1, per_destination: 1 };
    let world = World::at("2024-01-01T00:00:00Z", limits).await;
    let connection = world.connect(manual()).await;
    let call = world.control.sync(connection);
    let time = async {
        let look = async |_: &control::Control| world.row(connection).await.wait_reason;
        world.control.until("it says why it waits", look).await;
        world.advance(10);
    };
    let (info, ()) = tokio::join!(call, time);
    let info = info.unwrap();
    assert_eq!((info.job.status, info.attempts.len()), (JobStatus::Pending, 0));
    let cancelled = world.control.cancel(info.job.id).await.unwrap();
    assert_eq!(cancelled.job.status, JobStatus::Cancelled, "what never ran is cancelled too");
}

#[tokio::test]
async fn cancelled_stays_cancelled() {
    let world = World::new().await;
    let connection = world.connect(manual()).await;
    world.runner.then(Act::Hang);
    let job = world.control.sync(connection).await.unwrap().job.id;
    for _ in 0..2 {
        let info = world.control.cancel(job).await.unwrap();
        assert_eq!(info.job.status, JobStatus::Cancelled);
        assert_eq!((info.attempts.len(), info.attempts[0].status), (1, AttemptStatus::Failed));
        assert_eq!(cause(&info, 0), FailureType::ManualCancellation);
    }
    assert!(world.control.last_replication_job(connection).await.unwrap().is_none());
    assert_eq!(world.control.cancel(99).await.unwrap_err().kind, ErrorKind::NotFound);
    world.control.sync(connection).await.unwrap();
    world.until(connection, 2, JobStatus::Succeeded).await;
}

#[tokio::test]
async fn a_late_end_does_not_undo_a_cancel() {
    let world = World::new().await;
    let connection = world.connect(manual()).await;
    world.runner.then(Act::Deaf);
    let job = world.control.sync(connection).await.unwrap().job.id;
    world.runner.begun(1).await;
    let time = async {
        let look = async |_: &control::Control| world.cancel_requested(job).await.then_some(());
        world.control.until("the cancel is noted", look).await;
        world.advance(10);
    };
    let (info, ()) = tokio::join!(world.control.cancel(job), time);
    assert_eq!(info.unwrap().job.status, JobStatus::Running, "after ten seconds it answers the truth");
    world.runner.release();
    let info = world.until(connection, 1, JobStatus::Cancelled).await;
    assert_eq!(cause(&info, 0), FailureType::ManualCancellation);
}

#[tokio::test]
async fn a_cancel_during_a_backoff_ends_the_job() {
    let world = World::new().await;
    let connection = world.connect(every(1, TimeUnit::Hours)).await;
    let job = world.until(connection, 1, JobStatus::Succeeded).await.job.id;
    assert_eq!(world.control.cancel(job).await.unwrap().job.status, JobStatus::Succeeded, "what has ended stays");
    world.runner.then(Act::Fail(0, FailureType::SystemError));
    world.advance(3600);
    let job = world.until(connection, 2, JobStatus::Incomplete).await.job.id;
    assert_eq!(world.control.cancel(job).await.unwrap().job.status, JobStatus::Cancelled);
    // A cancelled job is no run: the next one is due an hour after the last that counts, which is now.
    world.until(connection, 3, JobStatus::Succeeded).await;
}

#[tokio::test]
async fn a_reset_cancels_the_running_sync() {
    let world = World::new().await;
    let connection = world.connect(manual()).await;
    world.runner.then(Act::Hang);
    let sync = world.control.sync(connection).await.unwrap().job.id;
    let info = world.control.reset(connection, None).await.unwrap();
    assert!(info.job.id > sync);
    assert_eq!(info.job.kind, JobKind::ResetConnection);
    let names: Vec<_> = info.job.reset_streams.unwrap().into_iter().map(|stream| stream.name).collect();
    assert_eq!(names, ["users", "orders"]);
    world.until(connection, 2, JobStatus::Succeeded).await;
    assert_eq!(world.control.job_info(sync).await.unwrap().job.status, JobStatus::Cancelled);
    assert_eq!(world.pending_resets(connection).await, 0);
    let ran = world.runner.ran();
    let AttemptKind::Reset { streams, origin } = &ran[1].kind else { panic!("{:?}", ran[1].kind) };
    assert_eq!(streams.len(), 2);
    assert!(*origin > 0);
    assert_eq!(ran.len(), 2, "no sync follows by itself");
}

#[tokio::test]
async fn after_a_failed_reset_the_next_run_is_a_reset() {
    let world = World::new().await;
    let connection = world.connect(manual()).await;
    let patch = ConnectionPatch { status: Some(ConnectionStatus::Inactive), ..ConnectionPatch::default() };
    world.control.update_connection(connection, patch).await.unwrap();
    world.runner.then(Act::Fail(0, FailureType::ConfigError));
    world.control.reset(connection, None).await.unwrap();
    world.until(connection, 1, JobStatus::Failed).await;
    assert_eq!(world.pending_resets(connection).await, 2);
    let patch = ConnectionPatch { status: Some(ConnectionStatus::Active), ..ConnectionPatch::default() };
    world.control.update_connection(connection, patch).await.unwrap();
    let info = world.control.sync(connection).await.unwrap();
    assert_eq!(info.job.kind, JobKind::ResetConnection);
    world.until(connection, 2, JobStatus::Succeeded).await;
    assert_eq!(world.pending_resets(connection).await, 0);
    assert_eq!(world.control.sync(connection).await.unwrap().job.kind, JobKind::Sync);
}

#[tokio::test]
async fn a_reset_of_no_streams_succeeds_at_once() {
    let world = World::new().await;
    let connection = world.connect_streams(manual(), &[]).await;
    let info = world.control.reset(connection, None).await.unwrap();
    assert_eq!((info.job.kind, info.job.reset_streams), (JobKind::ResetConnection, Some(Vec::new())));
    world.until(connection, 1, JobStatus::Succeeded).await;
    assert!(world.runner.ran().is_empty());
}

#[tokio::test]
async fn a_cancel_comes_too_late_for_a_reset_that_has_committed() {
    let world = World::new().await;
    let connection = world.connect(manual()).await;
    world.runner.then(Act::Deaf);
    let job = world.control.reset(connection, None).await.unwrap().job.id;
    world.runner.begun(1).await;
    let release = async {
        let look = async |_: &control::Control| world.cancel_requested(job).await.then_some(());
        world.control.until("the cancel is noted", look).await;
        world.runner.release();
    };
    let (info, ()) = tokio::join!(world.control.cancel(job), release);
    assert_eq!(info.unwrap().job.status, JobStatus::Succeeded);
}

#[tokio::test]
async fn deleting_a_connection_cancels_its_job() {
    let world = World::new().await;
    let connection = world.connect(every(1, TimeUnit::Hours)).await;
    world.until(connection, 1, JobStatus::Succeeded).await;
    world.runner.then(Act::Hang);
    world.control.sync(connection).await.unwrap();
    world.control.delete_connection(connection).await.unwrap();
    let info = world.until(connection, 2, JobStatus::Cancelled).await;
    assert_eq!(cause(&info, 0), FailureType::ManualCancellation);
    assert_eq!(world.next_run(connection).await, None);
    assert_eq!(world.control.reset(connection, None).await.unwrap_err().kind, ErrorKind::Conflict);
}

#[tokio::test]
async fn a_source_that_is_gone_fails_the_job_as_a_configuration() {
    let world = World::new().await;
    let connection = world.connect(manual()).await;
    world.bury_source().await;
    world.control.sync(connection).await.unwrap();
    let info = world.until(connection, 1, JobStatus::Failed).await;
    assert_eq!(cause(&info, 0), FailureType::ConfigError);
    assert!(info.attempts[0].failures[0].external_message.contains(&world.source.to_string()));
}
