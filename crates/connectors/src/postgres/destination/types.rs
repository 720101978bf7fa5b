//! Types of columns: which one a new column gets, which existing ones take a stream's values, and which change in place.
//!
//! | column type | declared | also taken where it exists already |
//! |---|---|---|
//! | string | varchar | text, varchar(n), char(n) |
//! | boolean | boolean | |
//! | integer | bigint | smallint, integer, numeric |
//! | number | numeric, without a limit | numeric(p,s), real, double precision |
//! | date | date | |
//! | timestamp with zone, without | timestamptz, timestamp | |
//! | time with zone, without | timetz, time | |
//! | array, object, union | jsonb | json, text, varchar |
//!
//! A value that such a column cannot hold becomes NULL, one that it shortens is shortened, and both are changes
//! (Invariant 8). In place (Invariant 10) whole numbers become numeric, and whatever has a text becomes varchar.
//! [`super::encode`] writes the values.

use protocol::ColumnType;

use super::digits::Limit;

/// The type of a column as the binary COPY of rows into it sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wire {
    /// At most so many characters.
    Text(Option<usize>),
    Bool,
    Int2,
    Int4,
    Int8,
    Float4,
    Float8,
    Numeric(Limit),
    Json,
    Jsonb,
    Date,
    Timestamp,
    TimestampTz,
    Time,
    TimeTz,
}

/// The type that a new column is declared with.
pub fn declared(column: ColumnType) -> &'static str {
    match column {
        ColumnType::String => "character varying",
        ColumnType::Boolean => "boolean",
        ColumnType::Integer => "bigint",
        ColumnType::Number => "numeric",
        ColumnType::Date => "date",
        ColumnType::TimestampTz => "timestamp with time zone",
        ColumnType::Timestamp => "timestamp without time zone",
        ColumnType::TimeTz => "time with time zone",
        ColumnType::Time => "time without time zone",
        ColumnType::Array | ColumnType::Object | ColumnType::Union => "jsonb",
    }
}

impl Wire {
    pub fn of(column: ColumnType) -> Self {
        match column {
            ColumnType::String => Self::Text(None),
            ColumnType::Boolean => Self::Bool,
            ColumnType::Integer => Self::Int8,
            ColumnType::Number => Self::Numeric(None),
            ColumnType::Date => Self::Date,
            ColumnType::TimestampTz => Self::TimestampTz,
            ColumnType::Timestamp => Self::Timestamp,
            ColumnType::TimeTz => Self::TimeTz,
            ColumnType::Time => Self::Time,
            ColumnType::Array | ColumnType::Object | ColumnType::Union => Self::Jsonb,
        }
    }

    /// Of a type of the server: its name in `pg_type` and the column's modifier. `None` where rows cannot be encoded for it.
    pub fn of_server(name: &str, modifier: i32) -> Option<Self> {
        // Fewer digits of a second than six would round in silence.
        let whole = modifier == -1 || modifier == 6;
        Some(match name {
            "text" => Self::Text(None),
            "varchar" | "bpchar" => Self::Text(usize::try_from(modifier - 4).ok()),
            "bool" => Self::Bool,
            "int2" => Self::Int2,
            "int4" => Self::Int4,
            "int8" => Self::Int8,
            "float4" => Self::Float4,
            "float8" => Self::Float8,
            "numeric" if modifier < 4 => Self::Numeric(None),
            "numeric" => {
                // (p << 16 | s) + 4, with 11 bits of a signed scale.
                let scale = (((modifier - 4) & 0x7ff) ^ 1024) - 1024;
                Self::Numeric(Some((((modifier - 4) >> 16) & 0xffff, scale)))
            }
            "json" => Self::Json,
            "jsonb" => Self::Jsonb,
            "date" => Self::Date,
            "timestamp" if whole => Self::Timestamp,
            "timestamptz" if whole => Self::TimestampTz,
            "time" if whole => Self::Time,
            "timetz" if whole => Self::TimeTz,
            _ => return None,
        })
    }

    /// Whether an existing column takes values of this type.
    pub fn fits(self, column: ColumnType) -> bool {
        match column {
            ColumnType::String => matches!(self, Self::Text(_)),
            ColumnType::Integer => matches!(self, Self::Int2 | Self::Int4 | Self::Int8 | Self::Numeric(_)),
            ColumnType::Number => matches!(self, Self::Numeric(_) | Self::Float4 | Self::Float8),
            ColumnType::Array | ColumnType::Object | ColumnType::Union => {
                matches!(self, Self::Json | Self::Jsonb | Self::Text(None))
            }
            other => self == Self::of(other),
        }
    }

    /// The type that an existing column changes to in place, so that it takes values of this type and loses none of its own.
    pub fn widened(self, column: ColumnType) -> Option<&'static str> {
        match (self, column) {
            (Self::Int2 | Self::Int4 | Self::Int8, ColumnType::Number) | (_, ColumnType::String) => {
                Some(declared(column))
            }
            _ => None,
        }
    }

    /// Values have an order and can be compared.
    pub fn is_comparable(self) -> bool {
        self != Self::Json
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    use ColumnType::{
        Array as Arr, Boolean, Date, Integer, Number, Object, String as Text, Time, TimeTz, Timestamp, TimestampTz,
        Union,
    };

    #[test]
    fn existing_columns() {
        let all = [Text, Boolean, Integer, Number, Date, TimestampTz, Timestamp, TimeTz, Time, Arr, Object, Union];
        let check = |name: &str, modifier: i32, fitting: &[ColumnType], widening: &[ColumnType]| {
            let wire = Wire::of_server(name, modifier);
            for column in all {
                assert_eq!(
                    wire.is_some_and(|wire| wire.fits(column)),
                    fitting.contains(&column),
                    "{name} for {column:?}"
                );
                let widens = wire.is_some_and(|wire| !wire.fits(column) && wire.widened(column).is_some());
                assert_eq!(widens, widening.contains(&column), "{name} to {column:?}");
            }
        };
        check("varchar", -1, &[Text, Arr, Object, Union], &[]);
        check("varchar", 24, &[Text], &[]);
        check("int8", -1, &[Integer], &[Number, Text]);
        check("int4", -1, &[Integer], &[Number, Text]);
        check("numeric", ((38 << 16) | 9) + 4, &[Integer, Number], &[Text]);
        check("float8", -1, &[Number], &[Text]);
        check("timestamptz", -1, &[TimestampTz], &[Text]);
        check("timestamptz", 3, &[], &[]);
        check("jsonb", -1, &[Arr, Object, Union], &[Text]);
        check("bytea", -1, &[], &[]);
        assert_eq!(Wire::of_server("numeric", ((38 << 16) | 9) + 4), Some(Wire::Numeric(Some((38, 9)))));
        assert_eq!(Wire::of_server("numeric", ((3 << 16) | (-2 & 0x7ff)) + 4), Some(Wire::Numeric(Some((3, -2)))));
        for column in all {
            assert!(Wire::of(column).fits(column), "{column:?} fits what it is declared as");
        }
    }
}
