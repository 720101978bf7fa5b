//! The one table of PostgreSQL types: type → JSON schema, how a read selects it, and how its binary form becomes Arrow.
//!
//! | type | JSON schema | Arrow | wire |
//! |---|---|---|---|
//! | boolean | boolean | Boolean | binary |
//! | int2, int4, int8, oid | integer | Int16, Int32, Int64, UInt32 | binary |
//! | numeric(p,0), p ≤ 18 | integer | Decimal128(p, 0) | binary |
//! | numeric(p,s), p ≤ 38 | number | Decimal128(p, s); NaN is NULL and a change | binary |
//! | numeric without or with more digits | number | Utf8: all digits, `NaN`, `Infinity`, `-Infinity` | binary |
//! | float4, float8 | number | Float32, Float64, with NaN and infinities | binary |
//! | money | number | Utf8 | `::numeric` |
//! | text, varchar, bpchar, name, enum, json, jsonb | string | Utf8 | binary |
//! | bytea | string | Utf8: `\x` and hex digits, as upstream | binary |
//! | uuid | string | Utf8 | binary |
//! | date | date | Date32 | binary |
//! | timestamp, timestamptz | timestamp without, with zone | Timestamp(µs) | binary |
//! | time | time without zone | Time64(µs), up to 24:00:00 | binary |
//! | timetz | time with zone | Utf8: `03:04:05.000000+02:00` | binary |
//! | arrays | array | Utf8 with JSON | `array_to_json` |
//! | hstore | string | Utf8 with a JSON object, as upstream | `hstore_to_json` |
//! | inet | string | Utf8 | `inet_out` (its cast to text adds a mask) |
//! | every other type | string | Utf8 | `::text` |
//!
//! A domain is its base type. **Infinity**: dates and timestamps keep PostgreSQL's `infinity` and `-infinity` as the
//! greatest and least value of the Arrow type, which no finite value of PostgreSQL has; a destination that knows
//! infinity writes it, every other one finds a date that it cannot write and makes it NULL and a change. Timestamps of
//! the last 30 years before 294277 do not fit epoch microseconds: NULL and a change.

use arrow_schema::{DataType, TimeUnit};
use protocol::ColumnType;
use serde_json::{Value, json};

use super::fault::identifier;

/// A column's type as the server's catalog describes it, with domains resolved.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ServerType {
    /// Of the base type.
    pub namespace: String,
    pub name: String,
    /// `pg_type.typtype`: b, c, e, m, r.
    pub sort: String,
    /// -1 where the type has none.
    pub modifier: i32,
    /// Of an array.
    pub element: Option<String>,
    pub element_sort: Option<String>,
    /// As a cast wants the declared type: `numeric`, `"Sales".price`.
    pub declared: String,
    /// Equal texts have equal bytes.
    pub deterministic: bool,
}

/// What the field of a binary row holds, and what it becomes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Bool,
    Int2,
    Int4,
    Int8,
    Oid,
    Float4,
    Float8,
    Decimal {
        precision: u8,
        scale: i8,
    },
    /// A numeric of any size, as text.
    Numeric,
    Text,
    /// Text behind a version byte.
    Jsonb,
    Bytes,
    Uuid,
    Date,
    Timestamp,
    TimestampTz,
    Time,
    TimeTz,
}

impl Kind {
    pub fn arrow(self) -> DataType {
        match self {
            Self::Bool => DataType::Boolean,
            Self::Int2 => DataType::Int16,
            Self::Int4 => DataType::Int32,
            Self::Int8 => DataType::Int64,
            Self::Oid => DataType::UInt32,
            Self::Float4 => DataType::Float32,
            Self::Float8 => DataType::Float64,
            Self::Decimal { precision, scale } => DataType::Decimal128(precision, scale),
            Self::Numeric | Self::Text | Self::Jsonb | Self::Bytes | Self::Uuid | Self::TimeTz => DataType::Utf8,
            Self::Date => DataType::Date32,
            Self::Timestamp => DataType::Timestamp(TimeUnit::Microsecond, None),
            Self::TimestampTz => DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into())),
            Self::Time => DataType::Time64(TimeUnit::Microsecond),
        }
    }
}

/// How a column is selected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Select {
    Plain,
    /// `::text` and the like.
    Cast(&'static str),
    /// Around the name: `array_to_json(` … `)::text`.
    Around(&'static str, &'static str),
    /// `hstore_to_json` lies where the extension was installed.
    Hstore,
}

/// A row of the table above.
#[derive(Clone, Debug)]
struct Reading {
    schema: Value,
    select: Select,
    kind: Kind,
}

/// The JSON schema of a column.
pub fn json_schema(of: &ServerType) -> Value {
    reading(of).schema
}

/// The expression that a read selects for a column, and what it yields, where the catalog of the connection says
/// `wanted`. The column may have another type by now; then the value is sent in a form that every destination can try.
pub fn selection(of: &ServerType, column: &str, wanted: ColumnType) -> (String, Kind) {
    let reading = reading(of);
    let name = identifier(column);
    let actual = ColumnType::of(&reading.schema);
    let as_it_is = match wanted {
        _ if wanted == actual => true,
        ColumnType::Number => actual == ColumnType::Integer,
        // An array is JSON already.
        ColumnType::String | ColumnType::Object | ColumnType::Union => actual == ColumnType::Array,
        _ => false,
    };
    if as_it_is {
        return (reading.select.of(&name, of), reading.kind);
    }
    match wanted {
        ColumnType::Array | ColumnType::Object | ColumnType::Union => {
            (format!("pg_catalog.to_json({name})::text"), Kind::Text)
        }
        _ => (Select::Cast("text").of(&name, of), Kind::Text),
    }
}

impl Select {
    fn of(self, name: &str, of: &ServerType) -> String {
        match self {
            Self::Plain => name.to_owned(),
            Self::Cast(target) => format!("{name}::{target}"),
            Self::Around(before, after) => format!("{before}{name}{after}"),
            Self::Hstore => format!("{}.hstore_to_json({name})::text", identifier(&of.namespace)),
        }
    }
}

/// Whether a mark may lie between two rows whose cursor differs: only where different bytes are different values, and
/// only where we know the text form.
pub fn marks(of: &ServerType) -> bool {
    let reading = reading(of);
    match reading.kind {
        Kind::Text => reading.select == Select::Plain && of.deterministic && of.name != "bpchar" && of.name != "citext",
        // 1.0 and 1.00 are equal.
        Kind::Numeric | Kind::Jsonb | Kind::Bytes | Kind::Bool | Kind::TimeTz => false,
        _ => reading.select == Select::Plain,
    }
}

fn reading(of: &ServerType) -> Reading {
    if let Some(element) = &of.element {
        return array(element, of.element_sort.as_deref() == Some("e"));
    }
    let plain = |schema: Value, kind: Kind| Reading { schema, select: Select::Plain, kind };
    if of.sort == "e" {
        return plain(string(), Kind::Text);
    }
    if of.namespace != "pg_catalog" {
        return match of.name.as_str() {
            "citext" => plain(string(), Kind::Text),
            "hstore" => Reading { schema: string(), select: Select::Hstore, kind: Kind::Text },
            _ => as_text(),
        };
    }
    match of.name.as_str() {
        "bool" => plain(json!({"type": "boolean"}), Kind::Bool),
        "int2" => plain(integer(), Kind::Int2),
        "int4" => plain(integer(), Kind::Int4),
        "int8" => plain(integer(), Kind::Int8),
        "oid" => plain(integer(), Kind::Oid),
        "float4" => plain(number(), Kind::Float4),
        "float8" => plain(number(), Kind::Float8),
        "numeric" => numeric(of.modifier),
        "money" => Reading { schema: number(), select: Select::Cast("numeric"), kind: Kind::Numeric },
        "text" | "varchar" | "bpchar" | "name" | "json" => plain(string(), Kind::Text),
        "jsonb" => plain(string(), Kind::Jsonb),
        "bytea" => plain(string(), Kind::Bytes),
        "uuid" => plain(string(), Kind::Uuid),
        "date" => plain(element_schema("date"), Kind::Date),
        "timestamp" => plain(element_schema("timestamp"), Kind::Timestamp),
        "timestamptz" => plain(element_schema("timestamptz"), Kind::TimestampTz),
        "time" => plain(element_schema("time"), Kind::Time),
        "timetz" => plain(element_schema("timetz"), Kind::TimeTz),
        "inet" => Reading {
            schema: string(),
            select: Select::Around("pg_catalog.textin(pg_catalog.inet_out(", "))"),
            kind: Kind::Text,
        },
        _ => as_text(),
    }
}

fn as_text() -> Reading {
    Reading { schema: string(), select: Select::Cast("text"), kind: Kind::Text }
}

/// The modifier of numeric(p,s) is `(p << 16 | s) + 4`, with 11 bits of a signed scale.
fn numeric(modifier: i32) -> Reading {
    let plain = |schema: Value, kind: Kind| Reading { schema, select: Select::Plain, kind };
    if modifier < 4 {
        return plain(number(), Kind::Numeric);
    }
    let precision = ((modifier - 4) >> 16) & 0xffff;
    let scale = (((modifier - 4) & 0x7ff) ^ 1024) - 1024;
    // 18 digits always fit the 64 bits that an integer column has; upstream cuts longer ones.
    let schema = if scale == 0 && precision <= 18 { integer() } else { number() };
    if precision > 38 || !(0..=precision).contains(&scale) {
        return plain(schema, Kind::Numeric);
    }
    plain(schema, Kind::Decimal { precision: precision as u8, scale: scale as i8 })
}

fn array(element: &str, is_enum: bool) -> Reading {
    let items = if is_enum { string() } else { element_schema(element) };
    let select = match element {
        // Its text form follows the locale of the server.
        "money" => Select::Around("pg_catalog.array_to_json(", "::numeric[])::text"),
        _ => Select::Around("pg_catalog.array_to_json(", ")::text"),
    };
    Reading { schema: json!({"type": "array", "items": items}), select, kind: Kind::Text }
}

fn element_schema(name: &str) -> Value {
    match name {
        "bool" => json!({"type": "boolean"}),
        "int2" | "int4" | "int8" | "oid" => integer(),
        "float4" | "float8" | "numeric" | "money" => number(),
        "date" => json!({"type": "string", "format": "date"}),
        "timestamp" => json!({"type": "string", "format": "date-time", "airbyte_type": "timestamp_without_timezone"}),
        "timestamptz" => json!({"type": "string", "format": "date-time", "airbyte_type": "timestamp_with_timezone"}),
        "time" => json!({"type": "string", "format": "time", "airbyte_type": "time_without_timezone"}),
        "timetz" => json!({"type": "string", "format": "time", "airbyte_type": "time_with_timezone"}),
        "json" | "jsonb" => json!({}),
        _ => string(),
    }
}

fn string() -> Value {
    json!({"type": "string"})
}

fn number() -> Value {
    json!({"type": "number"})
}

/// Upstream's spelling, so that a stored catalog shows no difference.
fn integer() -> Value {
    json!({"type": "number", "airbyte_type": "integer"})
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(name: &str, modifier: i32) -> ServerType {
        let sort = "b".to_owned();
        ServerType {
            namespace: "pg_catalog".into(),
            name: name.into(),
            sort,
            modifier,
            deterministic: true,
            ..Default::default()
        }
    }

    fn numeric_modifier(precision: i32, scale: i32) -> i32 {
        ((precision << 16) | (scale & 0x7ff)) + 4
    }

    #[test]
    fn decimals_by_their_modifier() {
        let check = |modifier: i32, column: ColumnType, kind: Kind| {
            let of = of("numeric", modifier);
            assert_eq!(ColumnType::of(&json_schema(&of)), column, "{modifier}");
            assert_eq!(selection(&of, "c", column), ("\"c\"".to_owned(), kind), "{modifier}");
        };
        check(-1, ColumnType::Number, Kind::Numeric);
        check(numeric_modifier(10, 2), ColumnType::Number, Kind::Decimal { precision: 10, scale: 2 });
        check(numeric_modifier(18, 0), ColumnType::Integer, Kind::Decimal { precision: 18, scale: 0 });
        check(numeric_modifier(19, 0), ColumnType::Number, Kind::Decimal { precision: 19, scale: 0 });
        check(numeric_modifier(38, 38), ColumnType::Number, Kind::Decimal { precision: 38, scale: 38 });
        check(numeric_modifier(39, 1), ColumnType::Number, Kind::Numeric);
        check(numeric_modifier(3, -2), ColumnType::Number, Kind::Numeric);
        check(numeric_modifier(3, 5), ColumnType::Number, Kind::Numeric);
    }

    #[test]
    fn a_column_of_another_type_than_the_catalog_says() {
        let check = |name: &str, wanted: ColumnType, select: &str, kind: Kind| {
            assert_eq!(selection(&of(name, -1), "a\"b", wanted), (select.to_owned(), kind), "{name} as {wanted:?}");
        };
        check("int4", ColumnType::Integer, "\"a\"\"b\"", Kind::Int4);
        check("int4", ColumnType::Number, "\"a\"\"b\"", Kind::Int4);
        check("int4", ColumnType::String, "\"a\"\"b\"::text", Kind::Text);
        check("text", ColumnType::Integer, "\"a\"\"b\"::text", Kind::Text);
        check("jsonb", ColumnType::Object, "pg_catalog.to_json(\"a\"\"b\")::text", Kind::Text);
        check("timestamp", ColumnType::TimestampTz, "\"a\"\"b\"::text", Kind::Text);
        check("point", ColumnType::String, "\"a\"\"b\"::text", Kind::Text);
    }
}
