//! Workspaces: what everything else belongs to.
//!
//! The first start makes one whose name and slug are its id. A slug is unique among workspaces that are not deleted.

use protocol::Json;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use store::Tx;
use uuid::Uuid;

use crate::{Control, Error, ErrorKind, Result, actors, connections::Geography};

/// Upstream's word for a workspace in errors.
const TOKEN: &str = "STANDARD_WORKSPACE";
const SLUG_TRIES: usize = 10;
const SLUG_LIMIT: usize = 200;

#[derive(Clone, Debug, PartialEq)]
pub struct Workspace {
    pub id: Uuid,
    pub name: String,
    pub slug: String,
    pub profile: Profile,
}

/// Everything about a workspace that is only kept and shown.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Profile {
    pub customer_id: Uuid,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub email: Option<String>,
    pub initial_setup_complete: bool,
    pub display_setup_wizard: bool,
    pub anonymous_data_collection: bool,
    pub news: bool,
    pub security_updates: bool,
    pub notifications: Vec<Notification>,
    pub default_geography: Geography,
    pub webhook_configs: Vec<Webhook>,
}

/// Whom to tell about the end of jobs. Also its form on the wire.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Notification {
    pub notification_type: NotificationType,
    #[serde(default)]
    pub send_on_success: bool,
    #[serde(default = "yes")]
    pub send_on_failure: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub slack_configuration: Option<SlackConfiguration>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub customerio_configuration: Option<Map<String, Value>>,
}

fn yes() -> bool {
    true
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum NotificationType {
    Slack,
    Customerio,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SlackConfiguration {
    pub webhook: String,
}

/// A stored webhook; its token is a secret.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Webhook {
    pub id: Uuid,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub validation_url: Option<String>,
    /// Id of the secret that holds the token.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub token_secret: Option<Uuid>,
}

/// A webhook as a client writes it. Its token is in clear, so there is no Debug (Invariant 6).
#[derive(Clone)]
pub struct NewWebhook {
    pub name: Option<String>,
    pub auth_token: Option<String>,
    pub validation_url: Option<String>,
}

/// What a create or an update says; `None` = the default, or unchanged. Lists replace whole lists.
#[derive(Clone, Default)]
pub struct WorkspacePatch {
    /// An empty one is ignored.
    pub email: Option<String>,
    pub initial_setup_complete: Option<bool>,
    pub display_setup_wizard: Option<bool>,
    pub anonymous_data_collection: Option<bool>,
    pub news: Option<bool>,
    pub security_updates: Option<bool>,
    pub notifications: Option<Vec<Notification>>,
    pub default_geography: Option<Geography>,
    pub webhook_configs: Option<Vec<NewWebhook>>,
}

impl Profile {
    fn new() -> Self {
        Self {
            customer_id: Uuid::new_v4(),
            email: None,
            initial_setup_complete: false,
            display_setup_wizard: false,
            anonymous_data_collection: false,
            news: false,
            security_updates: false,
            notifications: Vec::new(),
            default_geography: Geography::Auto,
            webhook_configs: Vec::new(),
        }
    }
}

impl Workspace {
    pub(crate) fn of(row: &store::Workspace) -> Result<Self> {
        let profile = row.doc.to().map_err(|error| {
            Error::new(
                ErrorKind::Internal,
                "corrupt_workspace",
                format!("The stored workspace {} cannot be read", row.id),
            )
            .with_source(error)
        })?;
        Ok(Self { id: row.id, name: row.name.clone(), slug: row.slug.clone(), profile })
    }
}

fn stored(profile: &Profile) -> Result<Json> {
    Json::from_value(profile).map_err(|error| {
        Error::new(ErrorKind::Internal, "internal", "The workspace cannot be written").with_source(error)
    })
}

/// Lower-case ASCII letters and digits, everything else one dash.
fn slugified(name: &str) -> String {
    let mut slug = String::new();
    for c in name.chars().flat_map(char::to_lowercase).take(SLUG_LIMIT) {
        if c.is_ascii_alphanumeric() || c == '_' {
            slug.push(c);
        } else if !slug.is_empty() && !slug.ends_with('-') {
            slug.push('-');
        }
    }
    let slug = slug.trim_end_matches('-');
    if slug.is_empty() { "workspace".to_owned() } else { slug.to_owned() }
}

/// The slug of `name`, or that with a dash and eight letters if somebody else has it.
async fn free_slug(tx: &mut Tx, name: &str, own: Uuid) -> Result<String> {
    let plain = slugified(name);
    let mut slug = plain.clone();
    for _ in 0..SLUG_TRIES {
        match tx.workspace_by_slug(&slug).await? {
            Some(other) if other.id != own => {}
            _ => return Ok(slug),
        }
        let letters: String = Uuid::new_v4().as_bytes()[..8].iter().map(|byte| char::from(b'a' + byte % 26)).collect();
        slug = format!("{plain}-{letters}");
    }
    Err(Error::new(ErrorKind::Internal, "no_free_slug", format!("No free slug was found for {plain}")))
}

/// The workspace with this id, if it is not deleted.
pub(crate) async fn row(tx: &mut Tx, id: Uuid) -> Result<store::Workspace> {
    tx.workspace(id).await?.filter(|row| !row.tombstone).ok_or_else(|| Error::not_found(TOKEN, id))
}

impl Control {
    pub(crate) async fn seed_workspace(&self) -> Result<()> {
        let mut tx = self.write().await?;
        // A deleted first workspace does not come back.
        if !tx.workspaces(true).await?.is_empty() {
            return Ok(());
        }
        let id = Uuid::new_v4();
        let profile = Profile { display_setup_wizard: true, ..Profile::new() };
        let now = self.now_ms();
        let row = store::Workspace {
            id,
            slug: id.to_string(),
            name: id.to_string(),
            doc: stored(&profile)?,
            tombstone: false,
            created_ms: now,
            updated_ms: now,
        };
        tx.insert_workspace(&row).await?;
        Ok(tx.commit().await?)
    }

    /// Oldest first.
    pub async fn workspaces(&self) -> Result<Vec<Workspace>> {
        self.read().await?.workspaces(false).await?.iter().map(Workspace::of).collect()
    }

    pub async fn workspace(&self, id: Uuid) -> Result<Workspace> {
        Workspace::of(&row(&mut self.read().await?, id).await?)
    }

    pub async fn workspace_by_slug(&self, slug: &str) -> Result<Workspace> {
        let found = self.read().await?.workspace_by_slug(slug).await?;
        Workspace::of(&found.ok_or_else(|| Error::not_found(TOKEN, slug))?)
    }

    pub async fn workspace_by_connection(&self, connection: Uuid) -> Result<Workspace> {
        let mut tx = self.read().await?;
        let found = tx.connection(connection).await?.ok_or_else(|| Error::not_found("STANDARD_SYNC", connection))?;
        Workspace::of(&row(&mut tx, found.workspace_id).await?)
    }

    pub async fn create_workspace(&self, name: &str, patch: WorkspacePatch) -> Result<Workspace> {
        let mut tx = self.write().await?;
        let id = Uuid::new_v4();
        let mut profile = Profile::new();
        let patch = WorkspacePatch { initial_setup_complete: None, ..patch };
        self.patch_profile(&mut tx, id, &mut profile, patch).await?;
        let now = self.now_ms();
        let row = store::Workspace {
            id,
            slug: free_slug(&mut tx, name, id).await?,
            name: name.to_owned(),
            doc: stored(&profile)?,
            tombstone: false,
            created_ms: now,
            updated_ms: now,
        };
        tx.insert_workspace(&row).await?;
        tx.commit().await?;
        Workspace::of(&row)
    }

    pub async fn update_workspace(&self, id: Uuid, patch: WorkspacePatch) -> Result<Workspace> {
        let mut tx = self.write().await?;
        let mut row = row(&mut tx, id).await?;
        let mut profile = Workspace::of(&row)?.profile;
        self.patch_profile(&mut tx, id, &mut profile, patch).await?;
        row.doc = stored(&profile)?;
        row.updated_ms = self.now_ms();
        tx.update_workspace(&row).await?;
        tx.commit().await?;
        Workspace::of(&row)
    }

    /// Changes the name, and with it the slug.
    pub async fn rename_workspace(&self, id: Uuid, name: &str) -> Result<Workspace> {
        let mut tx = self.write().await?;
        let mut row = row(&mut tx, id).await?;
        row.slug = free_slug(&mut tx, name, id).await?;
        row.name = name.to_owned();
        row.updated_ms = self.now_ms();
        tx.update_workspace(&row).await?;
        tx.commit().await?;
        Workspace::of(&row)
    }

    /// Deletes its connections, sources and destinations and then itself; what runs is cancelled, for which this waits at
    /// most 10 s.
    pub async fn delete_workspace(&self, id: Uuid) -> Result<()> {
        let mut tx = self.write().await?;
        let mut row = row(&mut tx, id).await?;
        let now = self.now_ms();
        let own = store::ConnectionFilter { workspace_id: Some(id), ..Default::default() };
        let deprecated = actors::deprecate_all(&mut tx, &own, now).await?;
        for actor in tx.actors(&store::ActorFilter { workspace_id: Some(id), ..Default::default() }).await? {
            actors::bury(&mut tx, actor, now).await?;
        }
        for secret in Workspace::of(&row)?.profile.webhook_configs.iter().filter_map(|webhook| webhook.token_secret) {
            tx.delete_secret(secret).await?;
        }
        row.tombstone = true;
        row.updated_ms = now;
        tx.update_workspace(&row).await?;
        tx.commit().await?;
        self.end_all(&deprecated).await
    }

    async fn patch_profile(
        &self,
        tx: &mut Tx,
        workspace: Uuid,
        profile: &mut Profile,
        patch: WorkspacePatch,
    ) -> Result<()> {
        if let Some(email) = patch.email.filter(|email| !email.is_empty()) {
            profile.email = Some(email);
        }
        if let Some(notifications) = patch.notifications {
            profile.notifications = notifications;
        }
        let flags = [
            (&mut profile.initial_setup_complete, patch.initial_setup_complete),
            (&mut profile.display_setup_wizard, patch.display_setup_wizard),
            (&mut profile.anonymous_data_collection, patch.anonymous_data_collection),
            (&mut profile.news, patch.news),
            (&mut profile.security_updates, patch.security_updates),
        ];
        for (flag, new) in flags {
            *flag = new.unwrap_or(*flag);
        }
        profile.default_geography = patch.default_geography.unwrap_or(profile.default_geography);
        let Some(webhooks) = patch.webhook_configs else { return Ok(()) };
        for secret in profile.webhook_configs.iter().filter_map(|webhook| webhook.token_secret) {
            tx.delete_secret(secret).await?;
        }
        profile.webhook_configs.clear();
        for webhook in webhooks {
            let token_secret = match &webhook.auth_token {
                Some(token) => Some(tx.put_secret(workspace, token, self.now_ms()).await?),
                None => None,
            };
            let (name, validation_url) = (webhook.name, webhook.validation_url);
            profile.webhook_configs.push(Webhook { id: Uuid::new_v4(), name, validation_url, token_secret });
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::slugified;

    #[test]
    fn slugs_are_plain() {
        let cases =
            [("My Team", "my-team"), ("  A -- b!", "a-b"), ("日本", "workspace"), ("x_1", "x_1"), ("", "workspace")];
        for (name, slug) in cases {
            assert_eq!(slugified(name), slug, "{name}");
        }
    }
}
