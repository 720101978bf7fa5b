//! Jobs: one active per connection, final statuses, lists.

use store::{ErrorKind, JobFilter, JobKind, JobStatus, NewJob, Priority, testing::TestStore};

use crate::fixture::{NOW, connection, job, json, new_job};

on_both!(one_active_job, final_statuses, due, lists, concurrent_inserts);

async fn one_active_job(test: TestStore) {
    let id = connection(&test.store).await;
    let first = job(&test.store, id).await;
    assert_eq!((first.id, first.status), (1, JobStatus::Pending));
    for status in [JobStatus::Pending, JobStatus::Running, JobStatus::Incomplete] {
        let mut tx = test.store.write(Priority::Api).await.unwrap();
        tx.set_job_status(first.id, status, NOW).await.unwrap();
        assert_eq!(tx.active_job(id).await.unwrap().unwrap().status, status);
        tx.commit().await.unwrap();
        let mut tx = test.store.write(Priority::Api).await.unwrap();
        assert_eq!(tx.insert_job(&new_job(id)).await.unwrap_err().kind, ErrorKind::Conflict, "{status:?}");
    }
    let mut tx = test.store.write(Priority::Api).await.unwrap();
    assert!(tx.set_job_status(first.id, JobStatus::Failed, NOW).await.unwrap());
    assert_eq!(tx.active_job(id).await.unwrap(), None);
    // A refused job uses up no id: the counter is part of the transaction.
    assert_eq!(tx.insert_job(&new_job(id)).await.unwrap().id, 2);
    assert_eq!(tx.active_jobs().await.unwrap().len(), 1);
}

async fn final_statuses(test: TestStore) {
    let id = connection(&test.store).await;
    let job = job(&test.store, id).await;
    let mut tx = test.store.write(Priority::Api).await.unwrap();
    assert!(tx.request_cancel(job.id, NOW).await.unwrap());
    assert!(tx.set_job_status(job.id, JobStatus::Cancelled, NOW + 7).await.unwrap());
    assert!(!tx.set_job_status(job.id, JobStatus::Succeeded, NOW + 8).await.unwrap());
    assert!(!tx.set_job_retry(job.id, &json("[]"), Some(NOW)).await.unwrap());
    assert!(!tx.request_cancel(job.id, NOW).await.unwrap());
    let found = tx.job(job.id).await.unwrap().unwrap();
    assert_eq!((found.status, found.updated_ms, found.cancel_requested), (JobStatus::Cancelled, NOW + 7, true));
    assert!(found.status.is_final());
    assert_eq!(tx.job(99).await.unwrap(), None);
}

async fn due(test: TestStore) {
    let mut ids = Vec::new();
    for _ in 0..3 {
        let id = connection(&test.store).await;
        ids.push(job(&test.store, id).await.id);
    }
    let mut tx = test.store.write(Priority::Api).await.unwrap();
    tx.set_job_status(ids[1], JobStatus::Incomplete, NOW).await.unwrap();
    tx.set_job_retry(ids[1], &json(r#"{"failures":1}"#), Some(NOW + 10_000)).await.unwrap();
    tx.request_cancel(ids[2], NOW).await.unwrap();
    tx.set_job_doc(ids[0], &json("[1]")).await.unwrap();
    let due = |jobs: Vec<store::Job>| jobs.iter().map(|job| job.id).collect::<Vec<_>>();
    assert_eq!(due(tx.due_jobs(NOW, 10).await.unwrap()), [ids[0]]);
    assert_eq!(due(tx.due_jobs(NOW + 10_000, 10).await.unwrap()), ids[..2]);
    assert_eq!(tx.next_due_ms().await.unwrap(), Some(NOW + 10_000));
    assert_eq!(tx.job(ids[1]).await.unwrap().unwrap().retry.text(), r#"{"failures":1}"#);
}

async fn lists(test: TestStore) {
    let id = connection(&test.store).await;
    let mut tx = test.store.write(Priority::Api).await.unwrap();
    for number in 0..5 {
        let kind = if number == 3 { JobKind::ResetConnection } else { JobKind::Sync };
        let new = NewJob { kind, now_ms: NOW + number / 2, ..new_job(id) };
        let job = tx.insert_job(&new).await.unwrap();
        let status = if number == 0 { JobStatus::Failed } else { JobStatus::Succeeded };
        tx.set_job_status(job.id, status, NOW).await.unwrap();
    }
    let all = JobFilter { connection_id: Some(id), ..Default::default() };
    for (filter, expected) in [
        (all.clone(), vec![5, 4, 3, 2, 1]),
        (JobFilter::default(), vec![5, 4, 3, 2, 1]),
        (JobFilter { limit: Some(2), offset: 1, ..all.clone() }, vec![4, 3]),
        (JobFilter { offset: 3, ..all.clone() }, vec![2, 1]),
        (JobFilter { kinds: vec![JobKind::ResetConnection], ..all.clone() }, vec![4]),
        (JobFilter { statuses: vec![JobStatus::Failed, JobStatus::Cancelled], ..all.clone() }, vec![1]),
        (
            JobFilter { kinds: vec![JobKind::Sync], statuses: vec![JobStatus::Succeeded], ..Default::default() },
            vec![5, 3, 2],
        ),
        (JobFilter { created_from_ms: Some(NOW + 1), ..all.clone() }, vec![5, 4, 3]),
        (JobFilter { connection_id: Some(uuid::Uuid::nil()), ..Default::default() }, vec![]),
    ] {
        let found: Vec<i64> = tx.jobs(&filter).await.unwrap().iter().map(|job| job.id).collect();
        assert_eq!(found, expected, "{filter:?}");
        if filter.limit.is_none() && filter.offset == 0 {
            assert_eq!(tx.count_jobs(&filter).await.unwrap(), expected.len() as i64, "{filter:?}");
        }
    }
    assert_eq!(tx.count_jobs(&JobFilter { limit: Some(2), offset: 1, ..all }).await.unwrap(), 5);
}

/// However many callers ask at once, one gets the job and the others a conflict.
async fn concurrent_inserts(test: TestStore) {
    let id = connection(&test.store).await;
    let tasks = (0..10).map(|_| {
        let store = test.store.clone();
        tokio::spawn(async move {
            let mut tx = store.write(Priority::Api).await?;
            tx.insert_job(&new_job(id)).await?;
            tx.commit().await
        })
    });
    let results = futures::future::join_all(tasks).await;
    let kinds: Vec<_> =
        results.into_iter().filter_map(|result| result.unwrap().err()).map(|error| error.kind).collect();
    assert_eq!(kinds, [ErrorKind::Conflict; 9]);
}
