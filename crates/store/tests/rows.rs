//! Every kind of row comes back as it was written, and the lists find what they should.

use store::{
    ActorFilter, ActorKind, CatalogFetch, ConnectionFilter, ConnectionStatus, ErrorKind, Operation, Priority,
    testing::TestStore,
};
use uuid::Uuid;

use crate::fixture::{self, NOW, json, prepare, stream};

on_both!(
    workspaces,
    definitions_and_grants,
    actors,
    catalogs,
    connections,
    schedules,
    operations,
    resets,
    references,
    nul,
    dump_is_deterministic,
);

async fn workspaces(test: TestStore) {
    let mut tx = test.store.write(Priority::Api).await.unwrap();
    let mut row = fixture::workspace("shop");
    tx.insert_workspace(&row).await.unwrap();
    assert_eq!(tx.workspace(row.id).await.unwrap().as_ref(), Some(&row));
    assert_eq!(tx.workspace_by_slug("shop").await.unwrap().as_ref(), Some(&row));
    tx.commit().await.unwrap();

    let mut tx = test.store.write(Priority::Api).await.unwrap();
    let clash = tx.insert_workspace(&fixture::workspace("shop")).await.unwrap_err();
    assert_eq!(clash.kind, ErrorKind::Conflict);
    drop(tx);

    let mut tx = test.store.write(Priority::Api).await.unwrap();
    row.tombstone = true;
    assert!(tx.update_workspace(&row).await.unwrap());
    assert_eq!(tx.workspace_by_slug("shop").await.unwrap(), None);
    assert_eq!(tx.workspaces(false).await.unwrap(), []);
    assert_eq!(tx.workspaces(true).await.unwrap(), [row]);
    // The slug of a deleted workspace is free again.
    tx.insert_workspace(&fixture::workspace("shop")).await.unwrap();
    assert!(!tx.update_workspace(&fixture::workspace("other")).await.unwrap());
}

async fn definitions_and_grants(test: TestStore) {
    let mut tx = test.store.write(Priority::Api).await.unwrap();
    let public = fixture::definition(ActorKind::Source);
    let mut private = fixture::definition(ActorKind::Source);
    private.public = false;
    private.custom = true;
    tx.upsert_definition(&public).await.unwrap();
    tx.upsert_definition(&private).await.unwrap();
    tx.upsert_definition(&fixture::definition(ActorKind::Destination)).await.unwrap();
    let workspace = fixture::workspace("shop");
    tx.insert_workspace(&workspace).await.unwrap();

    assert_eq!(tx.definition(private.id).await.unwrap().as_ref(), Some(&private));
    assert_eq!(tx.definitions(ActorKind::Source).await.unwrap().len(), 2);
    let usable = tx.definitions_for_workspace(ActorKind::Source, workspace.id).await.unwrap();
    assert_eq!(usable, std::slice::from_ref(&public));
    tx.grant_definition(workspace.id, private.id).await.unwrap();
    tx.grant_definition(workspace.id, private.id).await.unwrap();
    assert!(tx.has_grant(workspace.id, private.id).await.unwrap());
    assert_eq!(tx.definitions_for_workspace(ActorKind::Source, workspace.id).await.unwrap().len(), 2);
    tx.revoke_definition(workspace.id, private.id).await.unwrap();
    assert!(!tx.has_grant(workspace.id, private.id).await.unwrap());

    private.name = "Renamed".into();
    private.tombstone = true;
    tx.upsert_definition(&private).await.unwrap();
    assert_eq!(tx.definition(private.id).await.unwrap(), Some(private));
    assert_eq!(tx.definitions(ActorKind::Source).await.unwrap(), [public]);
}

async fn actors(test: TestStore) {
    let mut tx = test.store.write(Priority::Api).await.unwrap();
    let connection = prepare(&mut tx).await;
    let mut row = tx.actor(ActorKind::Source, connection.source_id).await.unwrap().unwrap();
    assert_eq!(tx.actor(ActorKind::Destination, row.id).await.unwrap(), None);
    assert_eq!(row.config.text(), r#"{"password":{"_secret":"00000000-0000-0000-0000-000000000001"},"count":10}"#);
    row.name = "Renamed".into();
    row.config = json(r#"{"count":20}"#);
    row.updated_ms += 1;
    assert!(tx.update_actor(&row).await.unwrap());
    let sources = ActorFilter { kind: Some(ActorKind::Source), ..Default::default() };
    assert_eq!(tx.actors(&sources).await.unwrap(), std::slice::from_ref(&row));
    assert_eq!(tx.actors(&ActorFilter::default()).await.unwrap().len(), 2);

    row.tombstone = true;
    tx.update_actor(&row).await.unwrap();
    assert_eq!(tx.actors(&sources).await.unwrap(), []);
    let all = ActorFilter { definition_id: Some(row.definition_id), include_deleted: true, ..sources };
    assert_eq!(tx.actors(&all).await.unwrap(), [row]);
    let elsewhere = ActorFilter { workspace_id: Some(Uuid::new_v4()), ..Default::default() };
    assert_eq!(tx.actors(&elsewhere).await.unwrap(), []);
}

async fn catalogs(test: TestStore) {
    let mut tx = test.store.write(Priority::Api).await.unwrap();
    let source_id = prepare(&mut tx).await.source_id;
    let one = json(r#"{ "streams": [], "x": 1e400 }"#);
    let id = tx.put_catalog(&one, NOW).await.unwrap();
    assert_eq!(tx.put_catalog(&one, NOW + 1).await.unwrap(), id);
    assert_ne!(tx.put_catalog(&json("{}"), NOW).await.unwrap(), id);
    assert_eq!(tx.catalog(id).await.unwrap(), Some(one));
    assert!(tx.catalog_exists(id).await.unwrap());
    assert!(!tx.catalog_exists(Uuid::new_v4()).await.unwrap());

    let fetch = |created_ms, config_hash: &str| CatalogFetch {
        id: Uuid::new_v4(),
        source_id,
        catalog_id: id,
        connector_version: "1".into(),
        config_hash: config_hash.into(),
        created_ms,
    };
    assert_eq!(tx.latest_catalog_fetch(source_id).await.unwrap(), None);
    let (old, new) = (fetch(NOW, "a"), fetch(NOW + 1, "b"));
    tx.insert_catalog_fetch(&new).await.unwrap();
    tx.insert_catalog_fetch(&old).await.unwrap();
    assert_eq!(tx.latest_catalog_fetch(source_id).await.unwrap(), Some(new));
    assert_eq!(tx.catalog_fetch(source_id, "1", "a").await.unwrap(), Some(old));
    assert_eq!(tx.catalog_fetch(source_id, "2", "a").await.unwrap(), None);
}

async fn connections(test: TestStore) {
    let mut tx = test.store.write(Priority::Api).await.unwrap();
    let mut row = prepare(&mut tx).await;
    tx.insert_connection(&row).await.unwrap();
    assert_eq!(tx.connection(row.id).await.unwrap().as_ref(), Some(&row));
    assert_eq!(tx.connection(Uuid::new_v4()).await.unwrap(), None);

    row.schedule_type = "cron".into();
    row.schedule = Some(json(r#"{"cron":{"cronExpression":"0 0 * * * ?"}}"#));
    row.namespace_format = Some(String::new());
    row.prefix = Some("p_".into());
    row.source_catalog_id = Some(row.catalog_id);
    row.breaking_change = true;
    row.geography = None;
    row.resource_requirements = Some(json(r#"{"cpu_limit":"1"}"#));
    row.next_run_at_ms = Some(NOW);
    row.wait_reason = Some("the limit of running jobs".into());
    row.updated_ms += 1;
    assert!(tx.update_connection(&row).await.unwrap());
    assert_eq!(tx.connection(row.id).await.unwrap().as_ref(), Some(&row));

    let own = ConnectionFilter { source_id: Some(row.source_id), ..Default::default() };
    assert_eq!(tx.connections(&own).await.unwrap(), std::slice::from_ref(&row));
    let other = ConnectionFilter { destination_id: Some(row.source_id), ..Default::default() };
    assert_eq!(tx.connections(&other).await.unwrap(), []);
    row.status = ConnectionStatus::Deprecated;
    tx.update_connection(&row).await.unwrap();
    assert_eq!(tx.connections(&ConnectionFilter::default()).await.unwrap(), []);
    let all = ConnectionFilter { workspace_id: Some(row.workspace_id), include_deprecated: true, ..own };
    assert_eq!(tx.connections(&all).await.unwrap(), [row]);
}

async fn schedules(test: TestStore) {
    let mut tx = test.store.write(Priority::Api).await.unwrap();
    assert_eq!(tx.next_due_ms().await.unwrap(), None);
    let mut ids = Vec::new();
    for due in [Some(NOW + 5), None, Some(NOW)] {
        let mut row = prepare(&mut tx).await;
        row.next_run_at_ms = due;
        tx.insert_connection(&row).await.unwrap();
        ids.push(row.id);
    }
    assert_eq!(tx.next_due_ms().await.unwrap(), Some(NOW));
    let due = tx.due_connections(NOW + 5, 10).await.unwrap();
    assert_eq!(due.iter().map(|row| row.id).collect::<Vec<_>>(), [ids[2], ids[0]]);
    assert_eq!(tx.due_connections(NOW - 1, 10).await.unwrap(), []);
    assert_eq!(tx.due_connections(NOW + 5, 1).await.unwrap().len(), 1);

    tx.set_next_run(ids[2], None).await.unwrap();
    assert_eq!(tx.next_due_ms().await.unwrap(), Some(NOW + 5));
    tx.set_wait_reason(ids[0], Some("busy")).await.unwrap();
    assert_eq!(tx.connection(ids[0]).await.unwrap().unwrap().wait_reason.as_deref(), Some("busy"));
    tx.set_wait_reason(ids[0], None).await.unwrap();
    assert_eq!(tx.connection(ids[0]).await.unwrap().unwrap().wait_reason, None);
    tx.set_connection_doc(ids[0], &json(r#"{"notices":[]}"#)).await.unwrap();
    assert_eq!(tx.connection(ids[0]).await.unwrap().unwrap().doc.text(), r#"{"notices":[]}"#);
}

async fn operations(test: TestStore) {
    let mut tx = test.store.write(Priority::Api).await.unwrap();
    let connection = prepare(&mut tx).await;
    tx.insert_connection(&connection).await.unwrap();
    let mut rows = Vec::new();
    for number in 0..3 {
        let row = Operation {
            id: Uuid::new_v4(),
            workspace_id: connection.workspace_id,
            name: format!("operation {number}"),
            doc: json("{}"),
            tombstone: false,
            created_ms: NOW + number,
            updated_ms: NOW,
        };
        tx.insert_operation(&row).await.unwrap();
        rows.push(row);
    }
    assert_eq!(tx.operations(connection.workspace_id).await.unwrap(), rows);
    let order = [rows[2].id, rows[0].id, rows[2].id];
    tx.set_connection_operations(connection.id, &order).await.unwrap();
    assert_eq!(tx.connection_operations(connection.id).await.unwrap(), order[..2]);
    assert_eq!(
        tx.operation_links(connection.workspace_id).await.unwrap(),
        [(connection.id, order[0]), (connection.id, order[1])]
    );
    assert_eq!(tx.operation_connections(rows[0].id).await.unwrap(), [connection.id]);
    assert!(tx.operation_connections(rows[1].id).await.unwrap().is_empty());
    tx.unlink_operation(rows[2].id).await.unwrap();
    assert_eq!(tx.connection_operations(connection.id).await.unwrap(), [rows[0].id]);

    rows[0].tombstone = true;
    assert!(tx.update_operation(&rows[0]).await.unwrap());
    assert_eq!(tx.operation(rows[0].id).await.unwrap().as_ref(), Some(&rows[0]));
    assert_eq!(tx.operations(connection.workspace_id).await.unwrap(), rows[1..]);
}

async fn resets(test: TestStore) {
    let id = fixture::connection(&test.store).await;
    let mut tx = test.store.write(Priority::Api).await.unwrap();
    let plain = protocol::StreamDescriptor::new(None, "users");
    tx.add_pending_resets(id, &[stream("users"), plain.clone(), stream("users")]).await.unwrap();
    assert_eq!(tx.pending_resets(id).await.unwrap(), [plain.clone(), stream("users")]);
    tx.remove_pending_resets(id, &[plain]).await.unwrap();
    assert_eq!(tx.pending_resets(id).await.unwrap(), [stream("users")]);
}

async fn references(test: TestStore) {
    let mut tx = test.store.write(Priority::Api).await.unwrap();
    let mut row = prepare(&mut tx).await;
    row.source_id = Uuid::new_v4();
    assert_eq!(tx.insert_connection(&row).await.unwrap_err().kind, ErrorKind::NotFound);
}

/// A NUL is kept or refused by name, never an internal error.
async fn nul(test: TestStore) {
    let mut tx = test.store.write(Priority::Api).await.unwrap();
    let mut row = fixture::workspace("shop");
    row.name = "a\0b".into();
    match tx.insert_workspace(&row).await {
        Ok(()) => assert_eq!(tx.workspace(row.id).await.unwrap(), Some(row)),
        Err(error) => assert_eq!(error.kind, ErrorKind::Invalid),
    }
}

async fn dump_is_deterministic(test: TestStore) {
    let id = fixture::connection(&test.store).await;
    fixture::job(&test.store, id).await;
    let before = test.store.dump().await.unwrap();
    assert_eq!(test.store.dump().await.unwrap(), before);
    assert_eq!(before["connections"][0]["id"], id.to_string());

    let mut tx = test.store.write(Priority::Api).await.unwrap();
    tx.insert_workspace(&fixture::workspace("shop")).await.unwrap();
    tx.rollback().await.unwrap();
    assert_eq!(test.store.dump().await.unwrap(), before);

    let mut tx = test.store.write(Priority::Api).await.unwrap();
    tx.set_wait_reason(id, Some("busy")).await.unwrap();
    tx.commit().await.unwrap();
    assert_ne!(test.store.dump().await.unwrap(), before);
}
