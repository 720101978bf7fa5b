//! A real connector from the Python package index.
//!
//! It is installed once into a folder under the temporary one and found there by the next run.

use std::{env, sync::Mutex};

use connector::{ErrorKind, process::PythonPackage};
use tracing::Level;

use super::*;

const PACKAGE: &str = "airbyte-source-faker==6.2.38";

#[tokio::test]
async fn faker_is_installed_and_read() {
    let cache = env::temp_dir().join("leat-test-python");
    let package = PythonPackage::new(PACKAGE, &cache).unwrap();
    let said = Mutex::new(Vec::new());
    let cancel = CancellationToken::new();
    let progress = |line: &str| said.lock().unwrap().push(line.to_owned());
    let command = package.install(&progress, &cancel).await.unwrap_or_else(|error| {
        panic!("{PACKAGE} could not be installed; this test needs a Python package index: {error:?}")
    });
    assert_eq!(command.name(), "source-faker");
    let source = source(command).await;
    let config = json!({"count": 1200, "records_per_slice": 100, "seed": 7, "parallelism": 1});
    source.check(&config, &cancel).await.unwrap();
    let offered = source.discover(&config, &cancel).await.unwrap();
    let streams: Vec<Value> = offered.streams.iter().map(|stream| serde_json::to_value(stream).unwrap()).collect();
    let request = ReadRequest { config, catalog: catalog(&streams), state: Vec::new(), cancel };
    let (result, seen) = read(source.clone(), request.clone()).await;
    result.unwrap_or_else(|error| panic!("{error:?}\n{:?}", seen.logs));
    for (at, stream) in offered.streams.iter().enumerate() {
        let expected = match stream.descriptor.name.as_str() {
            "products" => 100,
            _ => 1200,
        };
        assert_eq!(seen.complete[at], (at, expected), "{}", stream.descriptor);
        assert_eq!(seen.rows(at) as i64, expected, "{}", stream.descriptor);
    }
    let changes: Vec<_> = seen.batches.iter().flat_map(|batch| &batch.changes).collect();
    assert!(changes.is_empty(), "{changes:?}");
    assert!(!seen.has_log(Level::WARN, "covers"), "its counts agree with ours");

    // With its own last states there is nothing new to see but what it always sends.
    let mut last: Vec<StateMessage> = Vec::new();
    for stream in &offered.streams {
        last.extend(seen.states.iter().rfind(|state| state.of(&stream.descriptor).is_some()).cloned());
    }
    assert_eq!(last.len(), offered.streams.len());
    let (result, again) = read(source, ReadRequest { state: last, ..request }).await;
    result.unwrap();
    assert!(again.complete.iter().all(|(_, read)| *read <= 1200));
}

#[tokio::test]
async fn an_index_that_is_away_is_said_to_be_away() {
    let folder = tempfile::tempdir().unwrap();
    let package = PythonPackage::new("leat-no-such-package==1.0", folder.path().join("cache")).unwrap();
    // Nothing listens on port 1.
    let package = package.with_index("http://127.0.0.1:1/simple");
    let error = package.install(&|_| {}, &CancellationToken::new()).await.unwrap_err();
    assert_eq!(error.kind, ErrorKind::Transient, "{error:?}");
    assert!(error.message.contains("index could not be reached"), "{error:?}");
}

#[test]
fn only_names_of_packages_are_installed() {
    for name in ["airbyte-source-faker", "airbyte_source.faker==6.2.38", "a==1!2.0+local"] {
        PythonPackage::new(name, "/tmp").unwrap();
    }
    for name in ["", "--index-url=http://x", "-r", "a b", "a==", "git+https://x", "../x", "a[b]", "a==--x", "a>=1"] {
        assert_eq!(PythonPackage::new(name, "/tmp").unwrap_err().kind, ErrorKind::Config, "{name}");
    }
}
