//! Secrets: sealed at rest, bound to their row and to the key.

use store::{ErrorKind, MasterKey, Priority, Store, testing::TestStore};
use uuid::Uuid;

use crate::fixture::NOW;

on_both!(round_trip, another_key);

async fn round_trip(test: TestStore) {
    let mut tx = test.store.write(Priority::Api).await.unwrap();
    for clear in ["hunter2", "", "é\n\"quoted\"", &"long".repeat(10_000)] {
        let id = tx.put_secret(Uuid::nil(), clear, NOW).await.unwrap();
        let twice = tx.put_secret(Uuid::nil(), clear, NOW).await.unwrap();
        assert_ne!(id, twice);
        assert_eq!(tx.secret(id).await.unwrap().as_deref(), Some(clear));
        tx.delete_secret(id).await.unwrap();
        assert_eq!(tx.secret(id).await.unwrap(), None);
    }
    tx.commit().await.unwrap();
    let dump = test.store.dump().await.unwrap();
    assert!(!dump.to_string().contains("hunter2"));
    let rows = dump["secrets"].as_array().unwrap();
    let mut nonces: Vec<&str> = rows.iter().map(|row| row["nonce"].as_str().unwrap()).collect();
    nonces.sort_unstable();
    nonces.dedup();
    assert_eq!(nonces.len(), rows.len(), "a nonce is used once");
}

async fn another_key(test: TestStore) {
    test.store.close().await;
    let refused = Store::open_with_key(test.url().clone(), MasterKey::random()).await.err().unwrap();
    assert_eq!(refused.kind, ErrorKind::Refused);
    assert!(refused.message.contains("secret key"), "{refused}");
}
