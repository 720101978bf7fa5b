//! From texts without quotes around them (CSV fields, text columns) to Arrow, by the rules of the JSON decoder.

use arrow_array::ArrayRef;
use arrow_schema::DataType;
use protocol::ColumnType;

use super::{
    Flaw,
    column::{Column, arrow_type},
};

/// Builds one column.
pub struct Texts(Column);

impl Texts {
    pub fn new(column: ColumnType) -> Self {
        Self(Column::new(column))
    }

    /// The Arrow type of the array that a column of this type becomes.
    pub fn arrow_type(column: ColumnType) -> DataType {
        arrow_type(column)
    }

    /// Appends exactly one value; `None` is NULL. Returns the change and its reason where the value is not in the column
    /// as it came (Invariant 8).
    pub fn push(&mut self, text: Option<&str>) -> Option<(&'static str, &'static str)> {
        let Some(text) = text else {
            self.0.null();
            return None;
        };
        self.0.append_text(text).map(Flaw::words)
    }

    /// The values so far; the column is empty again.
    pub fn finish(&mut self) -> ArrayRef {
        self.0.finish()
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use first::shown;
    use protocol::ColumnType::{self, *};

    use super::Texts;

    mod first {
        use arrow_array::{Array, ArrayRef, cast::AsArray, types};

        /// The first value, as its number or its text.
        pub fn shown(array: &ArrayRef) -> String {
            if array.is_null(0) {
                return "NULL".to_owned();
            }
            match array.data_type() {
                arrow_schema::DataType::Boolean => array.as_boolean().value(0).to_string(),
                arrow_schema::DataType::Int64 => array.as_primitive::<types::Int64Type>().value(0).to_string(),
                arrow_schema::DataType::Date32 => array.as_primitive::<types::Date32Type>().value(0).to_string(),
                arrow_schema::DataType::Timestamp(..) => {
                    array.as_primitive::<types::TimestampMicrosecondType>().value(0).to_string()
                }
                arrow_schema::DataType::Time64(_) => {
                    array.as_primitive::<types::Time64MicrosecondType>().value(0).to_string()
                }
                _ => array.as_string::<i32>().value(0).to_owned(),
            }
        }
    }

    #[test]
    fn texts_become_values() {
        let check = |column: ColumnType, text: &str, expected: &str| {
            let mut texts = Texts::new(column);
            let change = texts.push(Some(text)).map_or(std::string::String::new(), |(change, _)| format!(" {change}"));
            assert_eq!(format!("{}{change}", shown(&texts.finish())), expected, "{text} as {column:?}");
        };
        check(String, " a ", " a ");
        check(Boolean, "TRUE", "true");
        check(Boolean, "yes", "NULL NULLED");
        check(Integer, " 12.0 ", "12");
        check(Integer, "12.5", "NULL NULLED");
        check(Integer, "9223372036854775808", "NULL NULLED");
        check(Number, "-00012.50", "-12.50");
        check(Number, "0.50", "0.50");
        check(Number, "1e999999999", "NULL NULLED");
        check(Number, "x", "NULL NULLED");
        check(Date, "1970-01-02", "1");
        check(TimestampTz, "1970-01-01T01:00:00+01:00", "0");
        check(Timestamp, "1970-01-01 00:00:01.0000005", "1000000 TRUNCATED");
        check(Time, "00:00:01", "1000000");
        check(Object, "{\"a\":1}", "{\"a\":1}");
        check(Object, "[1]", "NULL NULLED");
        check(Array, "[1", "NULL NULLED");
        check(Union, "a\"b", "\"a\\\"b\"");
        check(Union, "7", "7");
    }
}
