//! Finding connections by what they are: every given field must be equal, absent and blank ones do not count.
//!
//! Deploy scripts decide by this between update and create, so it never matches half a value. A secret never matches
//! anything, its mask and its reference included: a search must not be an oracle (Invariant 6).

use serde_json::{Map, Value};
use uuid::Uuid;

use super::{
    model::{Connection, ConnectionStatus, NamespaceDefinition, Schedule},
    timing::{CronText, Interval, ScheduleKind},
};

/// What a connection must be. Blank texts count as absent.
#[derive(Clone, Debug, Default)]
pub struct Search {
    pub connection_id: Option<Uuid>,
    pub name: Option<String>,
    pub namespace_definition: Option<NamespaceDefinition>,
    /// The word `null` counts as absent: older clients send it.
    pub namespace_format: Option<String>,
    pub prefix: Option<String>,
    pub source_id: Option<Uuid>,
    pub destination_id: Option<Uuid>,
    /// `schedule`
    pub legacy: Option<Interval>,
    pub kind: Option<ScheduleKind>,
    /// `scheduleData.basicSchedule`
    pub basic: Option<Interval>,
    /// `scheduleData.cron`
    pub cron: Option<CronText>,
    pub status: Option<ConnectionStatus>,
    pub source: Option<ActorSearch>,
    pub destination: Option<ActorSearch>,
}

/// What the source or the destination of a connection must be.
#[derive(Clone, Default)]
pub struct ActorSearch {
    pub id: Option<Uuid>,
    pub definition_id: Option<Uuid>,
    pub workspace_id: Option<Uuid>,
    pub name: Option<String>,
    /// `sourceName` or `destinationName`.
    pub definition_name: Option<String>,
    pub configuration: Option<ConfigurationSearch>,
}

// The configuration may hold a secret (Invariant 6).
impl std::fmt::Debug for ActorSearch {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ActorSearch").field("id", &self.id).field("name", &self.name).finish_non_exhaustive()
    }
}

#[derive(Clone)]
pub enum ConfigurationSearch {
    /// Each of these members must be equal; others do not matter.
    Members(Map<String, Value>),
    /// What was given is no object, so no configuration is like it.
    Nothing,
}

/// A source or destination as a search sees it.
pub struct Candidate<'a> {
    pub id: Uuid,
    pub definition_id: Uuid,
    pub workspace_id: Uuid,
    pub name: &'a str,
    pub definition_name: &'a str,
    /// With every secret replaced by its mask or its reference.
    pub configuration: &'a Value,
    /// The same configuration as stored, where a secret is a reference.
    pub stored: &'a Value,
}

impl Search {
    /// Whether the connection's own members match; its actors are another question.
    pub fn matches(&self, connection: &Connection) -> bool {
        let is = |given: Option<&str>, own: Option<&str>| given.is_none_or(|given| Some(given) == own);
        let (interval, cron) = match &connection.schedule {
            Schedule::Manual => (None, None),
            Schedule::Basic { units, unit } => (Some(Interval { units: *units, unit: *unit }), None),
            Schedule::Cron { expression, zone } => {
                (None, Some(CronText { expression: expression.clone(), zone: zone.clone() }))
            }
        };
        let format = given(self.namespace_format.as_ref()).filter(|format| *format != "null");
        connection.status != ConnectionStatus::Deprecated
            && self.connection_id.is_none_or(|id| id == connection.id)
            && is(given(self.name.as_ref()), Some(&connection.name))
            && self.namespace_definition.is_none_or(|definition| definition == connection.namespace_definition)
            && is(format, connection.namespace_format.as_deref())
            && is(given(self.prefix.as_ref()), connection.prefix.as_deref())
            && self.source_id.is_none_or(|id| id == connection.source_id)
            && self.destination_id.is_none_or(|id| id == connection.destination_id)
            && self.legacy.is_none_or(|legacy| Some(legacy) == interval)
            && self.kind.is_none_or(|kind| kind == ScheduleKind::of(&connection.schedule))
            && self.basic.is_none_or(|basic| Some(basic) == interval)
            && self.cron.as_ref().is_none_or(|given| Some(given) == cron.as_ref())
            && self.status.is_none_or(|status| status == connection.status)
    }
}

impl ActorSearch {
    pub fn matches(&self, actor: &Candidate<'_>) -> bool {
        self.id.is_none_or(|id| id == actor.id)
            && self.definition_id.is_none_or(|id| id == actor.definition_id)
            && self.workspace_id.is_none_or(|id| id == actor.workspace_id)
            && given(self.name.as_ref()).is_none_or(|name| name == actor.name)
            && given(self.definition_name.as_ref()).is_none_or(|name| name == actor.definition_name)
            && self.configuration.as_ref().is_none_or(|configuration| configuration.matches(actor))
    }
}

impl ConfigurationSearch {
    fn matches(&self, actor: &Candidate<'_>) -> bool {
        let Self::Members(members) = self else { return false };
        members.iter().all(|(key, value)| {
            let Some(own) = actor.configuration.get(key) else { return false };
            // Invariant 6: masking changed it, or it holds a reference, so there is a secret somewhere in it.
            let holds_secret = holds_reference(own) || actor.stored.get(key) != Some(own);
            !holds_secret && own == value
        })
    }
}

fn holds_reference(value: &Value) -> bool {
    match value {
        Value::Object(members) => members.contains_key("_secret") || members.values().any(holds_reference),
        Value::Array(items) => items.iter().any(holds_reference),
        _ => false,
    }
}

fn given(text: Option<&String>) -> Option<&str> {
    text.map(String::as_str).filter(|text| !text.trim().is_empty())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
pub(crate) mod tests {
    use protocol::Json;
    use serde_json::json;

    use super::*;
    use crate::connections::TimeUnit;

    pub(crate) fn connection() -> Connection {
        Connection {
            id: Uuid::from_u128(1),
            workspace_id: Uuid::from_u128(2),
            source_id: Uuid::from_u128(3),
            destination_id: Uuid::from_u128(4),
            name: "A".to_owned(),
            status: ConnectionStatus::Active,
            schedule: Schedule::Basic { units: 2, unit: TimeUnit::Hours },
            namespace_definition: NamespaceDefinition::Customformat,
            namespace_format: Some("raw_${SOURCE_NAMESPACE}".to_owned()),
            prefix: None,
            operation_ids: Vec::new(),
            source_catalog_id: None,
            catalog_id: Uuid::from_u128(6),
            selection: Json::parse("[]".to_owned()).unwrap(),
            resource_requirements: None,
            geography: Default::default(),
            notify_schema_changes: false,
            notify_schema_changes_by_email: false,
            non_breaking_changes: Default::default(),
            breaking_change: false,
            notices: Vec::new(),
            created_ms: 0,
            updated_ms: 0,
        }
    }

    #[test]
    fn every_given_field_is_compared_whole() {
        let check = |search: Search, expected: bool| assert_eq!(search.matches(&connection()), expected, "{search:?}");
        let none = Search::default;
        let text = |text: &str| Some(text.to_owned());
        let two_hours = Some(Interval { units: 2, unit: TimeUnit::Hours });
        let two_days = Some(Interval { units: 2, unit: TimeUnit::Days });
        let cron = Some(CronText { expression: "0 0 6 * * ?".to_owned(), zone: "UTC".to_owned() });
        check(none(), true);
        check(Search { connection_id: Some(Uuid::from_u128(1)), ..none() }, true);
        check(Search { connection_id: Some(Uuid::from_u128(9)), ..none() }, false);
        check(Search { source_id: Some(Uuid::from_u128(3)), destination_id: Some(Uuid::from_u128(4)), ..none() }, true);
        check(Search { source_id: Some(Uuid::from_u128(4)), ..none() }, false);
        check(Search { name: text("A"), ..none() }, true);
        check(Search { name: text("a"), ..none() }, false);
        check(Search { name: text("A*"), ..none() }, false);
        check(Search { name: text(""), prefix: text(" "), namespace_format: text(""), ..none() }, true);
        check(Search { namespace_format: text("null"), ..none() }, true);
        check(Search { namespace_format: text("raw_${SOURCE_NAMESPACE}"), ..none() }, true);
        check(Search { namespace_format: text("raw_"), ..none() }, false);
        check(Search { namespace_definition: Some(NamespaceDefinition::Destination), ..none() }, false);
        check(Search { prefix: text("p"), ..none() }, false);
        check(Search { legacy: two_hours, basic: two_hours, kind: Some(ScheduleKind::Basic), ..none() }, true);
        check(Search { legacy: two_days, ..none() }, false);
        check(Search { basic: two_days, ..none() }, false);
        check(Search { kind: Some(ScheduleKind::Cron), ..none() }, false);
        check(Search { cron, ..none() }, false);
        check(Search { status: Some(ConnectionStatus::Active), ..none() }, true);
        check(Search { status: Some(ConnectionStatus::Deprecated), ..none() }, false);
        let gone = Connection { status: ConnectionStatus::Deprecated, ..connection() };
        assert!(!none().matches(&gone));
        assert!(!Search { status: Some(ConnectionStatus::Deprecated), ..none() }.matches(&gone));
    }

    #[test]
    fn a_configuration_matches_by_its_members_and_never_by_a_secret() {
        let stored = json!({
            "host": "db", "ports": [1, 2], "password": {"_secret": "s1"}, "clear": "hunter2",
            "tunnel": {"method": "ssh", "key": {"_secret": "s2"}}
        });
        let mut masked = stored.clone();
        masked["password"] = json!("**********");
        masked["clear"] = json!("**********");
        let actor = Candidate {
            id: Uuid::from_u128(3),
            definition_id: Uuid::from_u128(5),
            workspace_id: Uuid::from_u128(2),
            name: "shop",
            definition_name: "Sample",
            configuration: &masked,
            stored: &stored,
        };
        let check = |configuration: Value, expected: bool| {
            let configuration = match configuration.clone() {
                Value::Object(members) => ConfigurationSearch::Members(members),
                _ => ConfigurationSearch::Nothing,
            };
            let search = ActorSearch { configuration: Some(configuration), ..ActorSearch::default() };
            assert_eq!(search.matches(&actor), expected, "{search:?}");
        };
        check(json!({}), true);
        check(json!({"host": "db"}), true);
        check(json!({"host": "db", "ports": [1, 2]}), true);
        check(json!({"ports": [2, 1]}), false);
        check(json!({"host": "DB"}), false);
        check(json!({"nope": null}), false);
        check(json!("db"), false);
        check(json!({"password": "**********"}), false);
        check(json!({"password": {"_secret": "s1"}}), false);
        check(json!({"clear": "hunter2"}), false);
        check(json!({"clear": "**********"}), false);
        check(json!({"tunnel": {"method": "ssh", "key": {"_secret": "s2"}}}), false);

        let none = ActorSearch::default;
        let text = |text: &str| Some(text.to_owned());
        assert!(ActorSearch { name: text("shop"), definition_name: text(""), ..none() }.matches(&actor));
        assert!(
            ActorSearch { definition_name: text("Sample"), definition_id: Some(Uuid::from_u128(5)), ..none() }
                .matches(&actor)
        );
        assert!(!ActorSearch { workspace_id: Some(Uuid::from_u128(9)), ..none() }.matches(&actor));
        assert!(!ActorSearch { name: text("Shop"), ..none() }.matches(&actor));
    }
}
