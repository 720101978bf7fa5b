//! What becomes of jobs when the process dies or stops.

use control::{
    jobs::{AttemptStatus, JobKind, JobStatus},
    runner::FailureType,
    testing::Act,
};

use crate::world::{World, manual};

#[tokio::test]
async fn a_crash_costs_nothing_and_the_job_goes_on_at_once() {
    let mut world = World::new().await;
    let connection = world.connect(manual()).await;
    world.runner.then(Act::Hang);
    let job = world.control.sync(connection).await.unwrap().job.id;
    world.runner.begun(1).await;
    world.crash().await;
    let info = world.until(connection, 1, JobStatus::Succeeded).await;
    assert_eq!((info.job.id, info.attempts.len()), (job, 2));
    assert_eq!(info.attempts[0].status, AttemptStatus::Failed);
    assert_eq!(info.attempts[0].failures[0].failure_type, FailureType::SystemError);
    assert_eq!(info.attempts[1].status, AttemptStatus::Succeeded);
}

#[tokio::test]
async fn from_the_fourth_crash_in_a_row_it_backs_off() {
    let mut world = World::new().await;
    let connection = world.connect(manual()).await;
    for _ in 0..4 {
        world.runner.then(Act::Hang);
    }
    let job = world.control.sync(connection).await.unwrap().job.id;
    for crash in 1..=4 {
        world.runner.begun(crash).await;
        world.crash().await;
    }
    let info = world.control.job_info(job).await.unwrap();
    assert_eq!((info.job.status, info.attempts.len()), (JobStatus::Incomplete, 4));
    world.advance(10);
    world.until_attempts(job, 5, JobStatus::Succeeded).await;
}

#[tokio::test]
async fn an_orderly_stop_interrupts_and_goes_on() {
    let mut world = World::new().await;
    let connection = world.connect(manual()).await;
    world.runner.then(Act::Fail(0, FailureType::SystemError)).then(Act::Hang);
    let job = world.control.sync(connection).await.unwrap().job.id;
    world.until_attempts(job, 1, JobStatus::Incomplete).await;
    world.advance(10);
    world.runner.begun(2).await;
    world.restart().await;
    let info = world.until_attempts(job, 3, JobStatus::Succeeded).await;
    assert!(info.attempts[1].failures[0].external_message.contains("stopped"));
}

#[tokio::test]
async fn a_cancel_survives_a_crash() {
    let mut world = World::new().await;
    let connection = world.connect(manual()).await;
    world.runner.then(Act::Deaf);
    let job = world.control.sync(connection).await.unwrap().job.id;
    world.runner.begun(1).await;
    let control = world.control.clone();
    let call = tokio::spawn(async move { control.cancel(job).await });
    let look = async |_: &control::Control| world.cancel_requested(job).await.then_some(());
    world.control.until("the cancel is noted", look).await;
    call.abort();
    world.crash().await;
    let info = world.until(connection, 1, JobStatus::Cancelled).await;
    assert_eq!(info.attempts[0].failures[0].failure_type, FailureType::ManualCancellation);
    assert_eq!(world.runner.ran().len(), 1, "it is not started again");
}

#[tokio::test]
async fn a_reset_goes_on_under_the_same_origin() {
    let mut world = World::new().await;
    let connection = world.connect(manual()).await;
    world.runner.then(Act::Hang);
    world.control.reset(connection, None).await.unwrap();
    world.runner.begun(1).await;
    world.crash().await;
    let info = world.until(connection, 1, JobStatus::Succeeded).await;
    assert_eq!(info.job.kind, JobKind::ResetConnection);
    let kinds: Vec<_> = world.runner.ran().iter().map(|input| format!("{:?}", input.kind)).collect();
    assert_eq!(kinds[0], kinds[1]);
}
