//! Two processes on one Postgres store.

use control::{
    Control,
    jobs::{AttemptStatus, JobStatus},
    runner::FailureType,
    testing::Act,
};

use crate::world::{World, every, manual};

#[tokio::test]
async fn the_other_process_goes_on_with_what_a_dead_one_ran() {
    let world = World::on_postgres().await;
    let (other, other_runner) = world.second().await;
    let connection = world.connect(manual()).await;
    world.runner.then(Act::Hang);
    let job = world.control.sync(connection).await.unwrap().job.id;
    world.runner.begun(1).await;
    other.start().await.unwrap();
    assert!(other_runner.ran().is_empty(), "a live process keeps what it runs");
    world.control.crash().await;
    // The lock of the dead one is given back by the server in its own time: look every two seconds of the clock.
    let look = async |control: &Control| {
        world.advance(2);
        let info = control.job_info(job).await.unwrap();
        (info.job.status == JobStatus::Succeeded).then_some(info)
    };
    let info = until_polled(&other, look).await;
    assert_eq!(info.attempts.len(), 2);
    assert_eq!(info.attempts[0].status, AttemptStatus::Failed);
    assert_eq!(other_runner.ran().len(), 1);
    other.shutdown().await;
}

#[tokio::test]
async fn a_cancel_reaches_the_process_that_runs_the_job() {
    let world = World::on_postgres().await;
    let (other, _) = world.second().await;
    let connection = world.connect(manual()).await;
    world.runner.then(Act::Hang);
    let job = world.control.sync(connection).await.unwrap().job.id;
    world.runner.begun(1).await;
    let canceller = other.clone();
    let call = tokio::spawn(async move { canceller.cancel(job).await });
    let look = async |_: &Control| world.cancel_requested(job).await.then_some(());
    until_polled(&world.control, look).await;
    world.advance(1);
    let look = async |control: &Control| {
        let info = control.job_info(job).await.unwrap();
        (info.job.status == JobStatus::Cancelled).then_some(info)
    };
    let info = world.control.until("the job is cancelled", look).await;
    assert_eq!(info.attempts[0].failures[0].failure_type, FailureType::ManualCancellation);
    world.advance(1);
    assert_eq!(call.await.unwrap().unwrap().job.status, JobStatus::Cancelled);
}

#[tokio::test]
async fn a_schedule_fires_once_for_all() {
    let world = World::on_postgres().await;
    let (other, other_runner) = world.second().await;
    other.start().await.unwrap();
    let mut connections = Vec::new();
    for _ in 0..4 {
        connections.push(world.connect(every(1, control::connections::TimeUnit::Hours)).await);
    }
    for connection in &connections {
        world.until(*connection, 1, JobStatus::Succeeded).await;
    }
    for round in 2..=4 {
        world.advance(3600);
        for connection in &connections {
            let look = async |_: &Control| {
                let jobs = world.jobs(*connection).await;
                assert!(jobs.len() <= round);
                (jobs.len() == round && jobs[round - 1].job.status == JobStatus::Succeeded).then_some(jobs)
            };
            let jobs = until_polled(&world.control, look).await;
            assert!(jobs.iter().all(|info| info.attempts.len() == 1));
        }
    }
    assert_eq!(world.runner.ran().len() + other_runner.ran().len(), 16);
    other.shutdown().await;
}

/// For what another process does: nobody wakes us, so look again and again, at most 20 s of real time.
async fn until_polled<T>(control: &Control, mut look: impl AsyncFnMut(&Control) -> Option<T>) -> T {
    let wait = async {
        loop {
            if let Some(seen) = look(control).await {
                return seen;
            }
        }
    };
    tokio::time::timeout(std::time::Duration::from_secs(20), wait).await.expect("seen within 20 s")
}
