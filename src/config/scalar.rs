//! What an unquoted word of YAML means: the traps of its versions in one place.

use super::tree::Value;

/// What an unquoted scalar means: the core schema of YAML 1.2 as `serde_yaml` reads it. `yes`, `on` and `0755` are text.
pub(super) fn plain(raw: &str) -> Value {
    match raw {
        "" | "~" | "null" | "Null" | "NULL" => return Value::Null,
        "true" | "True" | "TRUE" => return Value::Bool(true),
        "false" | "False" | "FALSE" => return Value::Bool(false),
        _ => {}
    }
    let (sign, digits) = match raw.as_bytes().first() {
        Some(b'-') => (-1, &raw[1..]),
        Some(b'+') => (1, &raw[1..]),
        _ => (1, raw),
    };
    if digits.starts_with(['+', '-']) {
        return Value::Text(raw.to_owned());
    }
    for (prefix, radix) in [("0x", 16), ("0o", 8), ("0b", 2)] {
        let unsigned = digits.strip_prefix(prefix).filter(|rest| !rest.starts_with(['+', '-']));
        if let Some(Ok(value)) = unsigned.map(|rest| i128::from_str_radix(rest, radix)) {
            return Value::Int { value: sign * value, raw: raw.to_owned() };
        }
    }
    if digits.len() > 1 && digits.starts_with('0') && digits.bytes().all(|b| b.is_ascii_digit()) {
        return Value::Text(raw.to_owned());
    }
    if let Ok(value) = digits.parse::<i128>() {
        return Value::Int { value: sign * value, raw: raw.to_owned() };
    }
    let float = match digits {
        ".inf" | ".Inf" | ".INF" => Some(f64::INFINITY),
        ".nan" | ".NaN" | ".NAN" if digits.len() == raw.len() => Some(f64::NAN),
        _ => digits.parse::<f64>().ok().filter(|value| value.is_finite()),
    };
    match float {
        Some(value) => Value::Float { value: f64::from(sign as i8) * value, raw: raw.to_owned() },
        None => Value::Text(raw.to_owned()),
    }
}
