//! Claims: attempts, owner tokens, generations and the head of a chain.

use protocol::checkpoint::{EntryKind, Place, Point, Why};
use store::{AttemptStatus, ClaimRequest, ErrorKind, JobStatus, Priority, testing::TestStore};

use crate::fixture::{NOW, claim, connection, entry, job, json, stream, worker};

on_both!(
    first_attempt,
    later_attempts,
    nothing_to_claim,
    fenced,
    revoked,
    claimed_once,
    crashed_process,
    unknown_worker
);

async fn first_attempt(test: TestStore) {
    let id = connection(&test.store).await;
    let job = job(&test.store, id).await;
    let lease = worker(&test.store).await;
    let claimed = claim(&test.store, &lease, job.id, &[("users", false), ("orders", true)]).await;
    assert!(claimed.first);
    assert_eq!(claimed.job.status, JobStatus::Running);
    assert_eq!(claimed.generations, [(stream("users"), 0), (stream("orders"), 1)]);
    assert_eq!((claimed.claim.job, claimed.claim.attempt), (job.id, 0));
    assert_eq!(claimed.claim.store, test.store.id());
    assert_eq!(claimed.claim.connection, id.to_string());

    let mut tx = test.store.read().await.unwrap();
    let attempt = tx.attempt(job.id, 0).await.unwrap().unwrap();
    assert_eq!((attempt.status, attempt.owner, attempt.crashed), (AttemptStatus::Running, claimed.claim.owner, false));
    assert_eq!(tx.job(job.id).await.unwrap().unwrap().status, JobStatus::Running);
    let chains = tx.chains(id).await.unwrap();
    assert_eq!(chains.len(), 2);
    for chain in chains {
        assert_eq!((chain.head.kind, chain.head.why, chain.head.state), (EntryKind::Begin, Why::Begin, None));
        assert_eq!(chain.head.point, Point { origin: 1, seq: 0 });
        assert_eq!((chain.newest_made, chain.origins), (None, vec![1]));
        assert_eq!(chain.generation, i64::from(chain.stream == stream("orders")));
        assert_eq!(chain.head.lines.len(), 2);
    }
}

async fn later_attempts(test: TestStore) {
    let id = connection(&test.store).await;
    let first_job = job(&test.store, id).await;
    let lease = worker(&test.store).await;
    let first = claim(&test.store, &lease, first_job.id, &[("users", true)]).await;
    let mut tx = test.store.write(Priority::Api).await.unwrap();
    tx.job(first_job.id).await.unwrap();
    tx.save_progress(&first.claim, &json(r#"{"rows":1}"#), NOW + 1).await.unwrap();
    tx.end_attempt(&first.claim, AttemptStatus::Failed, &json(r#"{"rows":2}"#), NOW + 2).await.unwrap();
    tx.set_job_status(first_job.id, JobStatus::Incomplete, NOW + 2).await.unwrap();
    tx.commit().await.unwrap();

    let second = claim(&test.store, &lease, first_job.id, &[("users", true)]).await;
    assert!(!second.first);
    assert_eq!(second.claim.attempt, 1);
    assert_ne!(second.claim.owner, first.claim.owner);
    assert_eq!(second.generations, [(stream("users"), 1)], "only attempt 0 raises generations");
    let mut tx = test.store.write(Priority::Api).await.unwrap();
    assert_eq!(tx.raise_generation(&second.claim, &stream("users"), NOW).await.unwrap(), 2);
    tx.end_attempt(&second.claim, AttemptStatus::Succeeded, &json("{}"), NOW + 3).await.unwrap();
    tx.set_job_status(first_job.id, JobStatus::Succeeded, NOW + 3).await.unwrap();
    let attempts = tx.attempts(first_job.id).await.unwrap();
    let told: Vec<_> =
        attempts.iter().map(|a| (a.number, a.status, a.outcome.as_ref().unwrap().text(), a.ended_ms)).collect();
    assert_eq!(
        told,
        [
            (0, AttemptStatus::Failed, r#"{"rows":2}"#, Some(NOW + 2)),
            (1, AttemptStatus::Succeeded, "{}", Some(NOW + 3))
        ]
    );
    tx.commit().await.unwrap();

    // The next job goes on in the same chain; a new stream begins one.
    let next = job(&test.store, id).await;
    claim(&test.store, &lease, next.id, &[("users", true), ("orders", false)]).await;
    let mut tx = test.store.read().await.unwrap();
    let heads: Vec<_> = tx
        .chains(id)
        .await
        .unwrap()
        .into_iter()
        .map(|chain| (chain.stream, chain.head.point, chain.generation))
        .collect();
    assert_eq!(
        heads,
        [(stream("orders"), Point { origin: 2, seq: 0 }, 0), (stream("users"), Point { origin: 1, seq: 0 }, 3)]
    );
}

async fn nothing_to_claim(test: TestStore) {
    let id = connection(&test.store).await;
    let job = job(&test.store, id).await;
    let lease = worker(&test.store).await;
    let mut tx = test.store.write(Priority::Api).await.unwrap();
    let request = ClaimRequest { job: job.id, worker: lease.id(), streams: &[], now_ms: NOW };
    tx.set_job_retry(job.id, &json("{}"), Some(NOW + 1)).await.unwrap();
    assert_eq!(tx.claim_attempt(&request).await.unwrap(), None, "not due");
    tx.set_job_retry(job.id, &json("{}"), None).await.unwrap();
    tx.request_cancel(job.id, NOW).await.unwrap();
    assert_eq!(tx.claim_attempt(&request).await.unwrap(), None, "being cancelled");
    tx.set_job_status(job.id, JobStatus::Cancelled, NOW).await.unwrap();
    assert_eq!(tx.claim_attempt(&request).await.unwrap(), None, "final");
    assert_eq!(tx.claim_attempt(&ClaimRequest { job: 99, ..request }).await.unwrap(), None, "unknown");
}

async fn fenced(test: TestStore) {
    let id = connection(&test.store).await;
    let job = job(&test.store, id).await;
    let lease = worker(&test.store).await;
    let claimed = claim(&test.store, &lease, job.id, &[("users", false)]).await;
    let own = claimed.claim;
    let append = |claim: protocol::checkpoint::Claim| {
        let store = test.store.clone();
        async move {
            let entries = [entry(&claim, "users", (1, 1), Place::Final, 5)];
            store.append_entries(&claim, &entries, NOW).await.map_err(|error| error.kind)
        }
    };
    let mut ghost = own.clone();
    ghost.owner = "somebody else".into();
    assert_eq!(append(ghost).await, Err(ErrorKind::Fenced));
    let mut elsewhere = own.clone();
    elsewhere.store = "another store".into();
    assert_eq!(append(elsewhere).await, Err(ErrorKind::Fenced));
    assert_eq!(append(own.clone()).await, Ok(()));

    let before = test.store.dump().await.unwrap();
    let mut tx = test.store.write(Priority::Api).await.unwrap();
    tx.end_attempt(&own, AttemptStatus::Failed, &json("{}"), NOW).await.unwrap();
    for error in [
        tx.end_attempt(&own, AttemptStatus::Succeeded, &json("{}"), NOW).await.unwrap_err(),
        tx.save_progress(&own, &json("{}"), NOW).await.unwrap_err(),
        tx.raise_generation(&own, &stream("users"), NOW).await.unwrap_err(),
        tx.drop_staged(&own, &stream("users"), NOW).await.unwrap_err(),
    ] {
        assert_eq!(error.kind, ErrorKind::Fenced);
    }
    tx.commit().await.unwrap();
    assert_eq!(append(own).await, Err(ErrorKind::Fenced), "the attempt has ended");
    assert_eq!(test.store.dump().await.unwrap()["ledger_lines"], before["ledger_lines"]);
}

/// A cancel from outside fences the owner; what it says afterwards changes nothing.
async fn revoked(test: TestStore) {
    let id = connection(&test.store).await;
    let job = job(&test.store, id).await;
    let lease = worker(&test.store).await;
    let claimed = claim(&test.store, &lease, job.id, &[]).await;
    let mut tx = test.store.write(Priority::Api).await.unwrap();
    tx.job(job.id).await.unwrap();
    assert_eq!(tx.revoke_attempt(job.id, &json(r#"["cancelled"]"#), NOW + 1).await.unwrap(), Some(0));
    assert_eq!(tx.revoke_attempt(job.id, &json("[]"), NOW + 2).await.unwrap(), None);
    tx.set_job_status(job.id, JobStatus::Cancelled, NOW + 1).await.unwrap();
    let late = tx.end_attempt(&claimed.claim, AttemptStatus::Succeeded, &json("{}"), NOW + 3).await.unwrap_err();
    assert_eq!(late.kind, ErrorKind::Fenced);
    let attempt = tx.attempt(job.id, 0).await.unwrap().unwrap();
    assert_eq!(attempt.outcome.unwrap().text(), r#"["cancelled"]"#);
    assert_eq!((attempt.status, attempt.ended_ms), (AttemptStatus::Failed, Some(NOW + 1)));
}

/// Invariant 3: many claimers at once, one attempt.
async fn claimed_once(test: TestStore) {
    let id = connection(&test.store).await;
    let job = job(&test.store, id).await;
    let lease = worker(&test.store).await;
    let tasks = (0..10).map(|_| {
        let (store, worker, job) = (test.store.clone(), lease.id().to_owned(), job.id);
        tokio::spawn(async move {
            let mut tx = store.write(Priority::Api).await.unwrap();
            let request = ClaimRequest { job, worker: &worker, streams: &[], now_ms: NOW };
            let claimed = tx.claim_attempt(&request).await.unwrap();
            tx.commit().await.unwrap();
            claimed.is_some()
        })
    });
    let claimed = futures::future::join_all(tasks).await.into_iter().filter(|result| *result.as_ref().unwrap()).count();
    assert_eq!(claimed, 1);
    let mut tx = test.store.read().await.unwrap();
    assert_eq!(tx.attempts(job.id).await.unwrap().len(), 1);
}

/// What a dead process left open is failed as crashed, and its jobs are due at once.
async fn crashed_process(mut test: TestStore) {
    let id = connection(&test.store).await;
    let running = job(&test.store, id).await;
    let other = connection(&test.store).await;
    let cancelling = job(&test.store, other).await;
    let lease = worker(&test.store).await;
    let claimed = claim(&test.store, &lease, running.id, &[]).await;
    claim(&test.store, &lease, cancelling.id, &[]).await;
    let mut tx = test.store.write(Priority::Api).await.unwrap();
    tx.request_cancel(cancelling.id, NOW).await.unwrap();
    tx.commit().await.unwrap();
    lease.release().await;
    test.reopen().await;

    let (lease, voided) = test.store.register_worker("test", NOW + 50).await.unwrap();
    let told: Vec<_> = voided.iter().map(|v| (v.job, v.attempt, v.connection, v.cancel_requested)).collect();
    assert_eq!(told, [(running.id, 0, id, false), (cancelling.id, 0, other, true)]);
    let mut tx = test.store.read().await.unwrap();
    let attempt = tx.attempt(running.id, 0).await.unwrap().unwrap();
    assert_eq!((attempt.status, attempt.crashed, attempt.ended_ms), (AttemptStatus::Failed, true, Some(NOW + 50)));
    let job = tx.job(running.id).await.unwrap().unwrap();
    assert_eq!((job.status, job.next_attempt_at_ms), (JobStatus::Incomplete, Some(NOW + 50)));
    assert_eq!(tx.due_jobs(NOW + 50, 10).await.unwrap(), [job]);
    drop(tx);
    let entries = [entry(&claimed.claim, "users", (1, 1), Place::Final, 5)];
    let late = test.store.append_entries(&claimed.claim, &entries, NOW + 60).await.unwrap_err();
    assert_eq!(late.kind, ErrorKind::Fenced);
    assert_eq!(test.store.sweep_dead_workers(&lease, NOW + 70).await.unwrap(), []);
}

async fn unknown_worker(test: TestStore) {
    let id = connection(&test.store).await;
    let job = job(&test.store, id).await;
    let mut tx = test.store.write(Priority::Api).await.unwrap();
    let request = ClaimRequest { job: job.id, worker: "gone", streams: &[], now_ms: NOW };
    assert_eq!(tx.claim_attempt(&request).await.unwrap_err().kind, ErrorKind::Fenced);
}
