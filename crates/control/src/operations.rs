//! Operations: what is to happen after a sync (normalization, dbt, a webhook). They are kept and answered as upstream
//! does, so that stored scripts work; connections refer to them.

use protocol::Json;
use serde::{Deserialize, Serialize};
use store::Tx;
use uuid::Uuid;

use crate::{Control, Error, ErrorKind, Result, connections, workspaces};

/// Upstream's word for an operation in errors.
const TOKEN: &str = "STANDARD_SYNC_OPERATION";
/// Longest name.
const MAX_NAME: usize = 10_000;

/// Longest text that an operation takes.
const MAX_TEXT: usize = 100_000;

#[derive(Clone, Debug, PartialEq)]
pub struct Operation {
    pub id: Uuid,
    pub workspace_id: Uuid,
    pub name: String,
    pub configuration: OperatorConfiguration,
}

/// Exactly one part is kept: the one that `operator_type` names.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct OperatorConfiguration {
    pub operator_type: OperatorType,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub normalization: Option<OperatorNormalization>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dbt: Option<OperatorDbt>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub webhook: Option<OperatorWebhook>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum OperatorType {
    Normalization,
    Dbt,
    Webhook,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct OperatorNormalization {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub option: Option<NormalizationOption>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum NormalizationOption {
    Basic,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct OperatorDbt {
    pub git_repo_url: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub git_repo_branch: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub docker_image: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dbt_arguments: Option<String>,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct OperatorWebhook {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub webhook_config_id: Option<Uuid>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub webhook_type: Option<WebhookType>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dbt_cloud: Option<DbtCloud>,
    /// The older form of the same.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub execution_url: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub execution_body: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum WebhookType {
    DbtCloud,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct DbtCloud {
    pub account_id: i64,
    pub job_id: i64,
}

impl Operation {
    fn of(row: &store::Operation) -> Result<Self> {
        let configuration = row.doc.to().map_err(|error| {
            let message = format!("The stored operation {} cannot be read", row.id);
            Error::new(ErrorKind::Internal, "corrupt_operation", message).with_source(error)
        })?;
        Ok(Self { id: row.id, workspace_id: row.workspace_id, name: row.name.clone(), configuration })
    }
}

fn stored(configuration: &OperatorConfiguration) -> Result<Json> {
    Json::from_value(configuration).map_err(|error| {
        Error::new(ErrorKind::Internal, "unwritable_operation", "The operation cannot be written as JSON")
            .with_source(error)
    })
}

fn check_name(name: &str) -> Result<()> {
    if name.chars().count() > MAX_NAME {
        return Err(Error::invalid("name", format!("At most {MAX_NAME} characters")));
    }
    Ok(())
}

async fn row(tx: &mut Tx, id: Uuid) -> Result<store::Operation> {
    tx.operation(id).await?.ok_or_else(|| Error::not_found(TOKEN, id))
}

impl Control {
    /// # Errors
    /// 404: no such workspace. 422: the part that the type names is missing.
    pub async fn create_operation(
        &self,
        workspace_id: Uuid,
        name: &str,
        configuration: OperatorConfiguration,
    ) -> Result<Operation> {
        check_name(name)?;
        let configuration = configuration.checked("operatorConfiguration")?;
        let now_ms = self.now_ms();
        let row = store::Operation {
            id: Uuid::new_v4(),
            workspace_id,
            name: name.to_owned(),
            doc: stored(&configuration)?,
            tombstone: false,
            created_ms: now_ms,
            updated_ms: now_ms,
        };
        let mut tx = self.write().await?;
        workspaces::row(&mut tx, workspace_id).await?;
        tx.insert_operation(&row).await?;
        tx.commit().await?;
        Operation::of(&row)
    }

    /// Replaces name and configuration. A deleted operation is not found.
    pub async fn update_operation(
        &self,
        id: Uuid,
        name: &str,
        configuration: OperatorConfiguration,
    ) -> Result<Operation> {
        let mut tx = self.write().await?;
        let mut row = row(&mut tx, id).await?;
        if row.tombstone {
            return Err(Error::not_found(TOKEN, id).with_hint("It was deleted; it can only be read."));
        }
        check_name(name)?;
        row.name = name.to_owned();
        row.doc = stored(&configuration.checked("operatorConfiguration")?)?;
        row.updated_ms = self.now_ms();
        tx.update_operation(&row).await?;
        tx.commit().await?;
        Operation::of(&row)
    }

    /// Deleted ones too.
    pub async fn operation(&self, id: Uuid) -> Result<Operation> {
        Operation::of(&row(&mut self.read().await?, id).await?)
    }

    /// The operations of a connection, in its order. 404 for an unknown connection.
    pub async fn operations_of(&self, connection: Uuid) -> Result<Vec<Operation>> {
        let mut tx = self.read().await?;
        let ids = connections::load(&mut tx, connection).await?.operation_ids;
        let mut operations = Vec::with_capacity(ids.len());
        for id in ids {
            let row = row(&mut tx, id).await?;
            if !row.tombstone {
                operations.push(Operation::of(&row)?);
            }
        }
        Ok(operations)
    }

    /// Takes the operation out of every connection. An unknown one is as good as deleted, as upstream.
    pub async fn delete_operation(&self, id: Uuid) -> Result<()> {
        let mut tx = self.write().await?;
        let Some(mut row) = tx.operation(id).await? else { return Ok(()) };
        tx.unlink_operation(id).await?;
        row.tombstone = true;
        row.updated_ms = self.now_ms();
        tx.update_operation(&row).await?;
        Ok(tx.commit().await?)
    }
}

const DBT_CLOUD: &str = "https://cloud.getdbt.com/api/v2/accounts/";
const DBT_CLOUD_BODY: &str = r#"{"cause": "airbyte"}"#;

impl OperatorConfiguration {
    /// Refuses a configuration whose named part is missing; keeps that part only. `path` is where it lies in the request.
    pub fn checked(self, path: &str) -> Result<Self> {
        let mut checked = Self { operator_type: self.operator_type, normalization: None, dbt: None, webhook: None };
        let part = match self.operator_type {
            OperatorType::Normalization => {
                checked.normalization = self.normalization;
                checked.normalization.is_none().then_some("normalization")
            }
            OperatorType::Dbt => {
                checked.dbt = self.dbt;
                checked.dbt.is_none().then_some("dbt")
            }
            OperatorType::Webhook => {
                checked.webhook = self.webhook.map(OperatorWebhook::completed);
                checked.webhook.is_none().then_some("webhook")
            }
        };
        if let Some(part) = part {
            let message = format!("operatorType is {part}, so this part is required");
            return Err(Error::invalid(join(path, part), message).with_code("invalid_operation"));
        }
        for (name, text) in checked.texts() {
            if text.chars().count() > MAX_TEXT {
                return Err(Error::invalid(join(path, name), format!("At most {MAX_TEXT} characters")));
            }
        }
        Ok(checked)
    }

    fn texts(&self) -> Vec<(&'static str, &str)> {
        let mut texts = Vec::new();
        if let Some(dbt) = &self.dbt {
            texts.push(("dbt.gitRepoUrl", Some(&dbt.git_repo_url)));
            texts.push(("dbt.gitRepoBranch", dbt.git_repo_branch.as_ref()));
            texts.push(("dbt.dockerImage", dbt.docker_image.as_ref()));
            texts.push(("dbt.dbtArguments", dbt.dbt_arguments.as_ref()));
        }
        if let Some(webhook) = &self.webhook {
            texts.push(("webhook.executionUrl", webhook.execution_url.as_ref()));
            texts.push(("webhook.executionBody", webhook.execution_body.as_ref()));
        }
        texts.into_iter().filter_map(|(name, text)| Some((name, text?.as_str()))).collect()
    }
}

impl OperatorWebhook {
    /// Reads give both forms, whichever was written.
    fn completed(mut self) -> Self {
        if let (Some(WebhookType::DbtCloud), Some(DbtCloud { account_id, job_id })) =
            (self.webhook_type, self.dbt_cloud)
        {
            self.execution_url = Some(format!("{DBT_CLOUD}{account_id}/jobs/{job_id}/run/"));
            self.execution_body = Some(DBT_CLOUD_BODY.to_owned());
        } else if let Some(dbt_cloud) = self.execution_url.as_deref().and_then(dbt_cloud_of) {
            self.webhook_type = Some(WebhookType::DbtCloud);
            self.dbt_cloud = Some(dbt_cloud);
        }
        self
    }
}

fn dbt_cloud_of(url: &str) -> Option<DbtCloud> {
    let (account, rest) = url.strip_prefix(DBT_CLOUD)?.split_once("/jobs/")?;
    let job = rest.strip_suffix("/run/").or_else(|| rest.strip_suffix("/run"))?;
    Some(DbtCloud { account_id: account.parse().ok()?, job_id: job.parse().ok()? })
}

fn join(path: &str, name: &str) -> String {
    if path.is_empty() { name.to_owned() } else { format!("{path}.{name}") }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn checked(given: Value) -> Result<Value> {
        let configuration: OperatorConfiguration = serde_json::from_value(given).unwrap();
        Ok(serde_json::to_value(configuration.checked("operatorConfiguration")?).unwrap())
    }

    #[test]
    fn exactly_the_named_part_is_kept() {
        let both = json!({"operatorType": "dbt", "dbt": {"gitRepoUrl": "u"}, "normalization": {"option": "basic"}});
        assert_eq!(checked(both).unwrap(), json!({"operatorType": "dbt", "dbt": {"gitRepoUrl": "u"}}));
        for kind in ["normalization", "dbt", "webhook"] {
            let error = checked(json!({"operatorType": kind})).unwrap_err();
            assert_eq!(error.violations[0].property_path, format!("operatorConfiguration.{kind}"));
        }
        let long = json!({"operatorType": "dbt", "dbt": {"gitRepoUrl": "x".repeat(MAX_TEXT + 1)}});
        assert_eq!(checked(long).unwrap_err().violations[0].property_path, "operatorConfiguration.dbt.gitRepoUrl");
    }

    #[test]
    fn a_webhook_is_read_in_both_forms() {
        let url = "https://cloud.getdbt.com/api/v2/accounts/7/jobs/9/run/";
        let newer = json!({"operatorType": "webhook", "webhook": {"webhookType": "dbtCloud", "dbtCloud": {"accountId": 7, "jobId": 9}}});
        assert_eq!(checked(newer).unwrap()["webhook"]["executionUrl"], url);
        let older = json!({"operatorType": "webhook", "webhook": {"executionUrl": url, "executionBody": "{}"}});
        assert_eq!(checked(older).unwrap()["webhook"]["dbtCloud"], json!({"accountId": 7, "jobId": 9}));
        let other = json!({"operatorType": "webhook", "webhook": {"executionUrl": "https://example.com/hook"}});
        assert_eq!(checked(other.clone()).unwrap(), other);
    }
}
