//! Asking a connector: does this configuration work (check), and which streams are there (discover).
//!
//! Both have a deadline, end when the client goes away, and answer a failure of the connector as a result, not as an error.
//! A discovered catalog is stored once, its fetch is recorded, and what it changed is applied to every connection of the
//! source ([`crate::schema_change`]).

use std::future::Future;

use protocol::{Catalog, Json};
use serde_json::Value;
use sha2::{Digest, Sha256};
use store::{ActorKind, CatalogFetch, ConnectionFilter, ConnectionStatus, Tx};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::{
    Control, Error, ErrorKind, Result,
    actors::{self, Resolved},
    catalog::SyncCatalog,
    runner::{Failure, FailureOrigin, FailureType},
    schema_change::{StreamChange, diff, is_breaking},
};

/// The record of a call that was answered at once, in the form of a job.
#[derive(Clone, Debug)]
pub struct SynchronousJob {
    pub id: Uuid,
    /// The actor, or the definition where nothing is stored.
    pub config_id: Uuid,
    /// Epoch milliseconds; 0 where nothing ran.
    pub created_ms: i64,
    pub ended_ms: i64,
    pub succeeded: bool,
    pub log_lines: Vec<String>,
    pub failure: Option<Failure>,
}

impl SynchronousJob {
    /// For what is answered from the store.
    pub fn not_run(config_id: Uuid) -> Self {
        Self {
            id: Uuid::new_v4(),
            config_id,
            created_ms: 0,
            ended_ms: 0,
            succeeded: true,
            log_lines: Vec::new(),
            failure: None,
        }
    }
}

#[derive(Clone, Debug)]
pub struct Check {
    pub succeeded: bool,
    pub message: Option<String>,
    /// Succeeded = the connector could be asked.
    pub job: SynchronousJob,
}

#[derive(Clone, Debug)]
pub struct Discovery {
    /// `None` = the connector failed.
    pub found: Option<Found>,
    pub job: SynchronousJob,
    /// For the connection that was asked about.
    pub change: Option<ConnectionChange>,
}

#[derive(Clone, Debug)]
pub struct Found {
    pub catalog: Catalog,
    /// `None` where nothing is stored.
    pub catalog_id: Option<Uuid>,
}

/// What a discovery means for a connection.
#[derive(Clone, Debug)]
pub struct ConnectionChange {
    pub changes: Vec<StreamChange>,
    pub breaking: bool,
    /// After it.
    pub status: ConnectionStatus,
}

/// What to discover.
#[derive(Clone, Copy, Debug)]
pub struct DiscoverRequest {
    pub source_id: Uuid,
    /// Also say what changed for this connection, and apply it to all connections of the source.
    pub connection_id: Option<Uuid>,
    /// Ask the source even if an answer for this version and configuration is stored.
    pub disable_cache: bool,
}

/// A configuration that is not stored.
#[derive(Clone)]
pub struct Unsaved {
    pub kind: ActorKind,
    pub workspace_id: Uuid,
    pub definition_id: Uuid,
    /// Masked secrets are those of this actor.
    pub actor_id: Option<Uuid>,
    pub config: Value,
}

/// The newest stored catalog of a source.
#[derive(Clone, Debug)]
pub struct LatestCatalog {
    pub id: Uuid,
    pub catalog: Json,
    /// Epoch milliseconds.
    pub fetched_ms: i64,
}

impl Control {
    pub async fn check_actor(&self, kind: ActorKind, id: Uuid) -> Result<Check> {
        let resolved = self.resolve(kind, id).await?;
        Ok(self.check(id, resolved).await)
    }

    /// Checks what an update would store.
    pub async fn check_update(&self, kind: ActorKind, id: Uuid, config: Value) -> Result<Check> {
        let resolved = self.resolve_update(kind, id, config).await?;
        Ok(self.check(id, resolved).await)
    }

    /// Checks a configuration without storing anything.
    pub async fn check_unsaved(&self, unsaved: Unsaved) -> Result<Check> {
        let config_id = unsaved.actor_id.unwrap_or(unsaved.definition_id);
        let resolved = self.resolve_unsaved(unsaved).await?;
        Ok(self.check(config_id, resolved).await)
    }

    async fn check(&self, config_id: Uuid, resolved: Resolved) -> Check {
        let created_ms = self.now_ms();
        let runner = self.inner.runner.clone();
        let Resolved { connector, config, redactor, .. } = resolved;
        let outcome = self.bounded(|cancel| async move { runner.check(&connector, config, cancel).await }).await;
        let (succeeded, message, failure) = match outcome {
            Ok(outcome) => (outcome.succeeded, outcome.message, None),
            Err(failure) => (false, Some(failure.external_message.clone()), Some(failure)),
        };
        let message = message.map(|message| redactor.redact(&message));
        let failure = failure.map(|failure| failure.redacted(|text| redactor.redact(text)));
        Check { succeeded, message, job: self.job(config_id, created_ms, failure) }
    }

    fn job(&self, config_id: Uuid, created_ms: i64, failure: Option<Failure>) -> SynchronousJob {
        SynchronousJob {
            id: Uuid::new_v4(),
            config_id,
            created_ms,
            ended_ms: self.now_ms(),
            succeeded: failure.is_none(),
            log_lines: failure.iter().map(|failure| format!("ERROR {}", failure.external_message)).collect(),
            failure,
        }
    }

    /// Runs `work` to its end, the deadline or the end of the caller, whichever is first. It runs as a task of its own: when
    /// nobody waits any more it is told to stop and still cleans up after itself (Invariant 12).
    async fn bounded<T, F>(&self, work: impl FnOnce(CancellationToken) -> F) -> Result<T, Failure>
    where
        T: Send + 'static,
        F: Future<Output = Result<T, Failure>> + Send + 'static,
    {
        let cancel = CancellationToken::new();
        let _stop = cancel.clone().drop_guard();
        let limit = self.inner.settings.connector_timeout;
        let deadline = self.inner.clock.now() + limit;
        let task = tokio::spawn(work(cancel));
        tokio::select! {
            outcome = task => outcome.unwrap_or_else(|error| {
                tracing::error!(%error, "a connector broke off");
                Err(self.platform_failure("The connector broke off; this is a bug.".to_owned()))
            }),
            () = self.inner.clock.sleep_until(deadline) => {
                Err(self.platform_failure(format!("The connector did not answer within {} s.", limit.as_secs())))
            }
        }
    }

    fn platform_failure(&self, message: String) -> Failure {
        Failure {
            failure_origin: FailureOrigin::AirbytePlatform,
            failure_type: FailureType::SystemError,
            external_message: message,
            internal_message: None,
            stacktrace: None,
            retryable: true,
            timestamp: self.now_ms(),
        }
    }

    async fn ask(&self, config_id: Uuid, resolved: Resolved) -> (Option<Catalog>, SynchronousJob) {
        let created_ms = self.now_ms();
        let runner = self.inner.runner.clone();
        let Resolved { connector, config, redactor, .. } = resolved;
        match self.bounded(|cancel| async move { runner.discover(&connector, config, cancel).await }).await {
            Ok(catalog) => (Some(catalog), self.job(config_id, created_ms, None)),
            Err(failure) => {
                let failure = failure.redacted(|text| redactor.redact(text));
                (None, self.job(config_id, created_ms, Some(failure)))
            }
        }
    }

    /// Discovers a configuration without storing anything.
    pub async fn discover_unsaved(&self, unsaved: Unsaved) -> Result<Discovery> {
        let config_id = unsaved.actor_id.unwrap_or(unsaved.definition_id);
        let resolved = self.resolve_unsaved(unsaved).await?;
        let (catalog, job) = self.ask(config_id, resolved).await;
        Ok(Discovery { found: catalog.map(|catalog| Found { catalog, catalog_id: None }), job, change: None })
    }

    /// The streams of a source: from the store if its configuration and version were asked before, otherwise from the
    /// source. Only a fresh answer changes connections.
    pub async fn discover(&self, request: DiscoverRequest) -> Result<Discovery> {
        let source_id = request.source_id;
        let mut tx = self.read().await?;
        let row = actors::living(&mut tx, ActorKind::Source, source_id).await?;
        if let Some(id) = request.connection_id {
            let connection = tx.connection(id).await?.ok_or_else(|| Error::not_found("STANDARD_SYNC", id))?;
            if connection.source_id != source_id {
                return Err(Error::invalid("connectionId", "is not a connection of this source"));
            }
        }
        let resolved = actors::resolved(&mut tx, &row).await?;
        let version = resolved.version.clone();
        let config_hash = hex(&Sha256::digest(row.config.text().as_bytes()));
        if !request.disable_cache
            && let Some(fetch) = tx.catalog_fetch(source_id, &version, &config_hash).await?
            && let Some(text) = tx.catalog(fetch.catalog_id).await?
        {
            let found = Found { catalog: decoded(&text)?, catalog_id: Some(fetch.catalog_id) };
            return Ok(Discovery { found: Some(found), job: SynchronousJob::not_run(source_id), change: None });
        }
        drop(tx);
        let (catalog, job) = self.ask(source_id, resolved).await;
        let Some(catalog) = catalog else { return Ok(Discovery { found: None, job, change: None }) };
        let text = Json::from_value(&catalog).map_err(|error| {
            Error::new(ErrorKind::Internal, "internal", "The catalog cannot be written").with_source(error)
        })?;
        let effects = match request.connection_id {
            Some(_) => effects(&mut self.read().await?, source_id, &catalog).await?,
            None => Vec::new(),
        };
        let now = self.now_ms();
        let mut tx = self.write().await?;
        let catalog_id = tx.put_catalog(&text, now).await?;
        let fetch = CatalogFetch {
            id: Uuid::new_v4(),
            source_id,
            catalog_id,
            connector_version: version,
            config_hash,
            created_ms: now,
        };
        tx.insert_catalog_fetch(&fetch).await?;
        let mut change = None;
        for effect in effects {
            let id = effect.connection.id;
            let applied = apply(&mut tx, effect, now).await?;
            if request.connection_id == Some(id) {
                change = Some(applied);
            }
        }
        tx.commit().await?;
        Ok(Discovery { found: Some(Found { catalog, catalog_id: Some(catalog_id) }), job, change })
    }

    /// `None` if the source was never discovered. 404 for an unknown source.
    pub async fn latest_catalog(&self, source_id: Uuid) -> Result<Option<LatestCatalog>> {
        let mut tx = self.read().await?;
        actors::row(&mut tx, ActorKind::Source, source_id).await?;
        let Some(fetch) = tx.latest_catalog_fetch(source_id).await? else { return Ok(None) };
        let Some(catalog) = tx.catalog(fetch.catalog_id).await? else { return Ok(None) };
        Ok(Some(LatestCatalog { id: fetch.catalog_id, catalog, fetched_ms: fetch.created_ms }))
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn decoded(text: &Json) -> Result<Catalog> {
    text.to().map_err(|error| {
        Error::new(ErrorKind::Internal, "corrupt_catalog", "A stored catalog cannot be read").with_source(error)
    })
}

/// What the new catalog means for a connection as it was when it was looked at.
struct Effect {
    connection: store::Connection,
    changes: Vec<StreamChange>,
}

/// Compares before anything is locked: catalogs may be large and many.
async fn effects(tx: &mut Tx, source_id: Uuid, new: &Catalog) -> Result<Vec<Effect>> {
    let mut effects = Vec::new();
    let filter = ConnectionFilter { source_id: Some(source_id), ..Default::default() };
    for connection in tx.connections(&filter).await? {
        let text = tx.catalog(connection.catalog_id).await?;
        let own = text.as_ref().map(decoded).transpose()?.unwrap_or_default();
        let before = match connection.source_catalog_id {
            Some(id) => tx.catalog(id).await?.as_ref().map(decoded).transpose()?,
            None => None,
        };
        let selection: Vec<_> = connection.selection.to().map_err(|error| {
            let message = format!("The stored selection of connection {} cannot be read", connection.id);
            Error::new(ErrorKind::Internal, "corrupt_catalog", message).with_source(error)
        })?;
        let configured = SyncCatalog { streams: own.streams.iter().cloned().zip(selection).collect() };
        let changes = diff(before.as_ref().unwrap_or(&own), new, &configured);
        effects.push(Effect { connection, changes });
    }
    Ok(effects)
}

/// A breaking change stops the connection, any change does where it asks for that; nothing starts it again by itself.
async fn apply(tx: &mut Tx, effect: Effect, now_ms: i64) -> Result<ConnectionChange> {
    let breaking = is_breaking(&effect.changes);
    let looked_at = effect.connection;
    let Some(mut row) = tx.connection(looked_at.id).await? else {
        return Ok(ConnectionChange { changes: effect.changes, breaking, status: looked_at.status });
    };
    // Edited since: the comparison says nothing about its new catalog.
    if (row.catalog_id, row.source_catalog_id) != (looked_at.catalog_id, looked_at.source_catalog_id) {
        return Ok(ConnectionChange { changes: effect.changes, breaking: row.breaking_change, status: row.status });
    }
    let stops =
        breaking || (!effect.changes.is_empty() && row.non_breaking_changes_preference.as_deref() == Some("disable"));
    let before = (row.breaking_change, row.status);
    row.breaking_change = breaking;
    if stops && row.status == ConnectionStatus::Active {
        row.status = ConnectionStatus::Inactive;
        row.next_run_at_ms = None;
        row.wait_reason = None;
        tracing::warn!(connection = %row.id, breaking, "the source's schema changed: the connection was set inactive");
    }
    if before != (row.breaking_change, row.status) {
        row.updated_ms = now_ms;
        tx.update_connection(&row).await?;
    }
    Ok(ConnectionChange { changes: effect.changes, breaking, status: row.status })
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::sync::Arc;

    use async_trait::async_trait;
    use chrono::{DateTime, TimeDelta};
    use serde_json::json;
    use store::{Backend, testing::TestStore};
    use tokio::sync::watch;

    use super::*;
    use crate::{
        Settings,
        runner::{AttemptInput, AttemptOutcome, CheckOutcome, ConnectorRef, EventSink, NativeConnector, Runner},
        testing::{DESTINATION_DEFINITION, ManualClock, ScriptedRunner},
    };

    /// Never answers a check; tells when one was begun and when it was told to stop.
    struct Silent {
        seen: watch::Sender<(bool, bool)>,
    }

    #[async_trait]
    impl Runner for Silent {
        fn native(&self) -> Vec<NativeConnector> {
            ScriptedRunner::new().native()
        }

        async fn check(&self, _: &ConnectorRef, _: Value, cancel: CancellationToken) -> Result<CheckOutcome, Failure> {
            self.seen.send_modify(|seen| seen.0 = true);
            cancel.cancelled().await;
            self.seen.send_modify(|seen| seen.1 = true);
            std::future::pending().await
        }

        async fn discover(&self, _: &ConnectorRef, _: Value, _: CancellationToken) -> Result<Catalog, Failure> {
            panic!("the connector has a bug");
        }

        async fn run(&self, _: AttemptInput, _: CancellationToken, _: EventSink) -> AttemptOutcome {
            unreachable!("no job is made here")
        }
    }

    #[tokio::test]
    async fn a_connector_has_a_deadline_and_may_break_off() {
        let store = TestStore::new(Backend::Sqlite).await;
        let clock = ManualClock::new(DateTime::UNIX_EPOCH);
        let silent = Arc::new(Silent { seen: watch::Sender::default() });
        let control =
            Control::open(store.store.clone(), silent.clone(), clock.clone(), Settings::default()).await.unwrap();
        let workspace = control.workspaces().await.unwrap().remove(0).id;
        let unsaved = Unsaved {
            kind: ActorKind::Destination,
            workspace_id: workspace,
            definition_id: DESTINATION_DEFINITION,
            actor_id: None,
            config: json!({"destination_path": "a"}),
        };
        let mut seen = silent.seen.subscribe();
        let time_passes = async {
            seen.wait_for(|seen| seen.0).await.unwrap();
            clock.advance(TimeDelta::seconds(50));
        };
        let (check, ()) = tokio::join!(control.check_unsaved(unsaved.clone()), time_passes);
        let check = check.unwrap();
        assert!(!check.succeeded && !check.job.succeeded);
        assert_eq!(check.message.as_deref(), Some("The connector did not answer within 50 s."));
        seen.wait_for(|seen| seen.1).await.unwrap();

        let broken = control.discover_unsaved(unsaved).await.unwrap();
        assert!(broken.found.is_none());
        assert_eq!(broken.job.failure.unwrap().external_message, "The connector broke off; this is a bug.");
    }
}
