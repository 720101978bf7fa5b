//! Logs of attempts: segments and tails; and what is forgotten when.

use protocol::checkpoint::{EntryKind, Place};
use store::{AttemptStatus, JobStatus, Keep, Priority, Pruned, testing::TestStore};

use crate::fixture::{NOW, claim, connection, entry, job, json, worker};

on_both!(tails, segments, retention, retention_of_the_ledger);

async fn tails(test: TestStore) {
    let mut tx = test.store.write(Priority::Ledger).await.unwrap();
    assert_eq!(tx.read_log(1, 0, 100).await.unwrap(), "");
    tx.append_log(1, 0, "one\n").await.unwrap();
    tx.append_log(1, 0, "zwei é\nthree\n").await.unwrap();
    tx.append_log(1, 1, "other\n").await.unwrap();
    for (max, expected) in [
        (100, "one\nzwei é\nthree\n"),
        (18, "one\nzwei é\nthree\n"),
        (17, "zwei é\nthree\n"),
        (14, "zwei é\nthree\n"),
        (13, "three\n"),
        (8, "three\n"),
        (6, "three\n"),
        (5, ""),
    ] {
        assert_eq!(tx.read_log(1, 0, max).await.unwrap(), expected, "{max} bytes");
    }
}

async fn segments(test: TestStore) {
    let mut tx = test.store.write(Priority::Ledger).await.unwrap();
    let mut expected = String::new();
    for number in 0..300 {
        let line = format!("line {number} {}\n", "x".repeat(1000));
        tx.append_log(1, 0, &line).await.unwrap();
        expected.push_str(&line);
    }
    assert_eq!(tx.read_log(1, 0, usize::MAX).await.unwrap(), expected);
    let tail = tx.read_log(1, 0, 100_000).await.unwrap();
    assert!(expected.ends_with(&tail) && tail.len() > 98_000 && tail.starts_with("line "));
    let long = "y".repeat(200_000);
    tx.append_log(2, 0, &long).await.unwrap();
    assert_eq!(tx.read_log(2, 0, usize::MAX).await.unwrap(), long);
    tx.append_log(3, 0, "a\0b\n").await.unwrap();
    assert_eq!(tx.read_log(3, 0, 100).await.unwrap(), "a\u{fffd}b\n");
    tx.commit().await.unwrap();
    let dump = test.store.dump().await.unwrap();
    let sizes: Vec<i64> =
        dump["log_segments"].as_array().unwrap().iter().map(|row| row["size"].as_i64().unwrap()).collect();
    assert!(sizes.len() >= 9 && sizes.iter().all(|size| *size <= 64 * 1024), "{sizes:?}");
}

async fn retention(test: TestStore) {
    let id = connection(&test.store).await;
    let lease = worker(&test.store).await;
    for number in 0..3 {
        let job = job(&test.store, id).await;
        let own = claim(&test.store, &lease, job.id, &[]).await.claim;
        let mut tx = test.store.write(Priority::Api).await.unwrap();
        tx.append_log(job.id, 0, "line\n").await.unwrap();
        let at = NOW + number * 1000;
        tx.end_attempt(&own, AttemptStatus::Succeeded, &json("{}"), at).await.unwrap();
        tx.set_job_status(job.id, JobStatus::Succeeded, at).await.unwrap();
        tx.commit().await.unwrap();
    }
    let keep = Keep { jobs_ms: 500, logs_ms: 500, ledger_ms: 500 };
    assert_eq!(test.store.prune(NOW + 500, keep).await.unwrap(), Pruned::default());
    // Job 1 is too old; 2 keeps its row but not its log; the newest job always stays.
    let keep = Keep { jobs_ms: 1500, logs_ms: 500, ledger_ms: 500 };
    assert_eq!(test.store.prune(NOW + 2000, keep).await.unwrap(), Pruned { jobs: 1, log_segments: 2, entries: 0 });
    let keep = Keep { jobs_ms: 0, logs_ms: 0, ledger_ms: 0 };
    assert_eq!(test.store.prune(NOW + 9000, keep).await.unwrap(), Pruned { jobs: 1, log_segments: 1, entries: 0 });
    let mut tx = test.store.read().await.unwrap();
    assert_eq!(tx.jobs(&Default::default()).await.unwrap().iter().map(|job| job.id).collect::<Vec<_>>(), [3]);
}

/// Old entries go, but never what a sync would resume from, and nothing while a job is active.
async fn retention_of_the_ledger(test: TestStore) {
    let id = connection(&test.store).await;
    let job = job(&test.store, id).await;
    let lease = worker(&test.store).await;
    let own = claim(&test.store, &lease, job.id, &[("users", false)]).await.claim;
    let mut merged = entry(&own, "users", (1, 3), Place::Final, 1);
    merged.kind = EntryKind::End;
    let entries = [
        entry(&own, "users", (1, 1), Place::Final, 1),
        entry(&own, "users", (1, 2), Place::Staging, 1),
        merged,
        entry(&own, "users", (1, 4), Place::Staging, 1),
    ];
    for (number, entry) in entries.iter().enumerate() {
        test.store.append_entries(&own, std::slice::from_ref(entry), NOW + number as i64).await.unwrap();
    }
    let keep = Keep { jobs_ms: 0, logs_ms: 0, ledger_ms: 0 };
    assert_eq!(test.store.prune(NOW + 9000, keep).await.unwrap().entries, 0, "a job is active");
    let mut tx = test.store.write(Priority::Api).await.unwrap();
    tx.set_job_status(job.id, JobStatus::Failed, NOW).await.unwrap();
    let before = tx.chains(id).await.unwrap();
    tx.commit().await.unwrap();
    assert_eq!(test.store.prune(NOW + 9000, keep).await.unwrap().entries, 3);
    let mut tx = test.store.read().await.unwrap();
    assert_eq!(tx.chains(id).await.unwrap(), before);
    assert_eq!(tx.last_final(id, 1, &[crate::fixture::stream("users")]).await.unwrap().unwrap().point.seq, 3);
    let left: Vec<i64> = tx.ledger_history(id, 10).await.unwrap().iter().map(|found| found.entry.point.seq).collect();
    assert_eq!(left, [4, 3]);
    drop(tx);
    let dump = test.store.dump().await.unwrap();
    assert_eq!(dump["state_blobs"].as_array().unwrap().len(), 2, "states that nothing refers to go along");
}
