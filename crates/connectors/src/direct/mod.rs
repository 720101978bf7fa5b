//! What the SQL destinations share: tables that rows are loaded into directly, behind the metadata columns.
//!
//! [`names`] and [`value`] are what is the same whatever the database; [`position`] keeps the books of an attempt.

pub mod names;
pub mod position;
pub mod stamp;
pub mod value;
