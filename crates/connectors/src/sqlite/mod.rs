//! placeholder
pub const DOCUMENTATION: &str = "https://docs.airbyte.com/integrations/destinations/sqlite";
