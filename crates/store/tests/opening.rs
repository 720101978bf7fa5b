//! Opening: identity, the lock on the data folder, the key file, files in odd places.

use std::{fs, os::unix::fs::PermissionsExt};

use store::{Backend, ErrorKind, MasterKey, Store, StoreUrl, testing::TestStore};

on_both!(identity_stays, closed);

async fn identity_stays(mut test: TestStore) {
    let id = test.store.id().to_owned();
    assert!(uuid::Uuid::parse_str(&id).is_ok());
    test.reopen().await;
    assert_eq!(test.store.id(), id);
    assert_eq!(test.store.backend(), test.url().backend());
}

async fn closed(test: TestStore) {
    test.store.close().await;
    assert_eq!(test.store.read().await.err().unwrap().kind, ErrorKind::Unavailable);
    assert_eq!(test.store.write(store::Priority::Api).await.err().unwrap().kind, ErrorKind::Unavailable);
}

#[tokio::test]
async fn a_second_process_is_refused() {
    let test = TestStore::new(Backend::Sqlite).await;
    let refused = Store::open_with_key(test.url().clone(), MasterKey::random()).await.err().unwrap();
    assert_eq!(refused.kind, ErrorKind::Refused);
    assert!(refused.message.contains("in use by another process"), "{refused}");
    assert!(refused.hint.is_some());
}

#[tokio::test]
async fn the_key_file_is_made_once_and_private() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a ?#%41é.db");
    let open = || Store::open(StoreUrl::Sqlite(path.clone()), folder.path());
    open().await.unwrap().close().await;
    assert!(path.exists(), "odd characters in the path are kept");
    let key = folder.path().join("secret.key");
    assert_eq!(fs::metadata(&key).unwrap().permissions().mode() & 0o777, 0o600);
    let text = fs::read_to_string(&key).unwrap();
    open().await.unwrap().close().await;
    assert_eq!(fs::read_to_string(&key).unwrap(), text);

    fs::write(&key, "not a key").unwrap();
    let refused = open().await.err().unwrap();
    assert_eq!(refused.kind, ErrorKind::Refused);
    assert!(!refused.message.contains("not a key"), "{refused}");
}

#[tokio::test]
async fn a_missing_folder_and_a_file_that_is_no_store_are_named() {
    let folder = tempfile::tempdir().unwrap();
    let missing = StoreUrl::Sqlite(folder.path().join("no/such/leat.db"));
    assert_eq!(Store::open_with_key(missing, MasterKey::random()).await.err().unwrap().kind, ErrorKind::Refused);
    let path = folder.path().join("leat.db");
    fs::write(&path, "this is no database, and it is longer than the header of one, so that SQLite looks at it all")
        .unwrap();
    let error = Store::open_with_key(StoreUrl::Sqlite(path), MasterKey::random()).await.err().unwrap();
    assert_ne!(error.kind, ErrorKind::Corrupt);
    let nowhere = StoreUrl::Postgres("postgres://leat:hunter2@127.0.0.1:1/none".into());
    let error = Store::open_with_key(nowhere, MasterKey::random()).await.err().unwrap();
    assert_eq!(error.kind, ErrorKind::Unavailable);
    assert!(!format!("{error:?}").contains("hunter2"));
}
