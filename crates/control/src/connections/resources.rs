//! Resource requirements: quantities in the syntax of Kubernetes, as clients of this API send them.
//!
//! They are stored and answered as they came. An attempt in this process takes its share of memory and its parallelism
//! from the limits.

use super::model::ResourceRequirements;
use crate::{Error, Result, Violation};

/// Nobody writes a quantity that is longer.
const MAX_LENGTH: usize = 64;

/// Refuses what is no quantity, by name. A blank text counts as absent.
pub fn check(requirements: &ResourceRequirements) -> Result<()> {
    let members = [
        ("cpu_request", &requirements.cpu_request),
        ("cpu_limit", &requirements.cpu_limit),
        ("memory_request", &requirements.memory_request),
        ("memory_limit", &requirements.memory_limit),
    ];
    let mut wrong = Vec::new();
    for (name, text) in members {
        let Some(text) = text.as_deref().filter(|text| !text.trim().is_empty()) else { continue };
        if quantity(text).is_some() {
            continue;
        }
        wrong.push(Violation {
            property_path: format!("resourceRequirements.{name}"),
            invalid_value: Some(text.to_owned()),
            message: "Expected a quantity such as 0.5, 500m, 2Gi or 512M".to_owned(),
        });
    }
    if wrong.is_empty() { Ok(()) } else { Err(Error::violations(wrong).with_code("invalid_resources")) }
}

/// Bytes that an attempt may use, where the connection says so.
pub fn memory_limit(requirements: Option<&ResourceRequirements>) -> Option<u64> {
    let bytes = quantity(requirements?.memory_limit.as_deref()?)?;
    // Saturates; a limit beyond u64 is no limit.
    Some(bytes as u64)
}

/// A Kubernetes quantity as a number: `1.5`, `500m`, `2Gi`, `1e3`. Negative ones are refused.
pub fn quantity(text: &str) -> Option<f64> {
    let text = text.trim();
    if text.len() > MAX_LENGTH {
        return None;
    }
    let text = text.strip_prefix('+').unwrap_or(text);
    let end = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (number, suffix) = text.split_at(end);
    if !number.contains(|c: char| c.is_ascii_digit()) {
        return None;
    }
    let number: f64 = number.parse().ok()?;
    let factor = match suffix {
        "" => 1.0,
        "n" => 1e-9,
        "u" => 1e-6,
        "m" => 1e-3,
        "k" => 1e3,
        "M" => 1e6,
        "G" => 1e9,
        "T" => 1e12,
        "P" => 1e15,
        "E" => 1e18,
        "Ki" => 1024.0,
        "Mi" => 1024f64.powi(2),
        "Gi" => 1024f64.powi(3),
        "Ti" => 1024f64.powi(4),
        "Pi" => 1024f64.powi(5),
        "Ei" => 1024f64.powi(6),
        exponent => {
            let digits = exponent.strip_prefix(['e', 'E'])?;
            let exponent: i32 = digits.parse().ok().filter(|e| (-30..=30).contains(e))?;
            10f64.powi(exponent)
        }
    };
    Some(number * factor)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn quantities_are_those_of_kubernetes() {
        let check = |text: &str, expected: Option<f64>| assert_eq!(quantity(text), expected, "{text:?}");
        check("1", Some(1.0));
        check("0.5", Some(0.5));
        check(".5", Some(0.5));
        check("5.", Some(5.0));
        check("500m", Some(0.5));
        check("2Gi", Some(2.0 * 1024.0 * 1024.0 * 1024.0));
        check("512M", Some(512e6));
        check("1e3", Some(1e3));
        check("+1E3", Some(1e3));
        check("1E", Some(1e18));
        for wrong in [
            "", ".", "-1", "1.2.3", "Gi", "1 Gi", "1GB", "1gi", "1e", "1e999", "NaN", "inf", "0x10", "ipsum", "1\u{0}",
            "١",
        ] {
            check(wrong, None);
        }
    }

    #[test]
    fn each_wrong_quantity_is_named() {
        let requirements = ResourceRequirements {
            cpu_request: Some("quae".to_owned()),
            cpu_limit: Some(String::new()),
            memory_request: Some("1Gi".to_owned()),
            memory_limit: Some("ipsum".to_owned()),
        };
        let error = check(&requirements).unwrap_err();
        let paths: Vec<&str> = error.violations.iter().map(|v| v.property_path.as_str()).collect();
        assert_eq!(paths, ["resourceRequirements.cpu_request", "resourceRequirements.memory_limit"]);
    }

    #[test]
    fn the_memory_limit_is_in_bytes() {
        let of = |text: &str| ResourceRequirements { memory_limit: Some(text.to_owned()), ..Default::default() };
        assert_eq!(memory_limit(Some(&of("64Mi"))), Some(64 << 20));
        assert_eq!(memory_limit(Some(&of("999999E"))), Some(u64::MAX));
        assert_eq!(memory_limit(Some(&of(""))), None);
        assert_eq!(memory_limit(None), None);
    }
}
