//! Checks a JSON body against a message's fields, in the words of Google's own parser.

use jiff::Timestamp;
use serde_json::{Map, Value, json};

use crate::refusal::{Outcome, Refusal};

/// What a field holds.
pub(crate) enum Kind {
    Text,
    Bool,
    Int32,
    Int64,
    /// `"600s"`
    Duration,
    /// RFC 3339
    Time,
    /// Names with their numbers: some clients send the number.
    Enum(&'static [(&'static str, i64)]),
    /// Text by text.
    Map,
    List(&'static Kind),
    Message(&'static [Field]),
    /// One of a group, so that presence counts: an explicit zero stays.
    Present(&'static Kind),
    /// Anything at all, kept as it came.
    Any,
    /// Set by the server alone: accepted from a client that sends back what it got, and dropped.
    Output,
}

/// A field's JSON name and what it holds.
pub(crate) type Field = (&'static str, Kind);

/// Checks `value`, called `path` in errors, and brings it to the one spelling we keep: camel case, enums by name, numbers as proto
/// JSON has them, default values absent.
pub(crate) fn message(fields: &[Field], value: Value, path: &str) -> Outcome<Map<String, Value>> {
    let Value::Object(given) = value else {
        return Err(mismatch(path, "message", &value));
    };
    let mut kept = Map::new();
    for (key, value) in given {
        let found = fields
            .iter()
            .find(|(name, _)| *name == key || snake(name) == key);
        let Some((name, kind)) = found else {
            return Err(unknown(&key, path));
        };
        if value.is_null() {
            continue;
        }
        let at = join(path, &snake(name));
        if let Some(value) = check(kind, value, &at)? {
            kept.insert((*name).to_owned(), value);
        }
    }
    Ok(kept)
}

fn check(kind: &Kind, value: Value, path: &str) -> Outcome<Option<Value>> {
    let value = match kind {
        Kind::Output => return Ok(None),
        Kind::Any => return Ok(Some(value)),
        Kind::Present(kind) => {
            let zero = value.clone();
            return Ok(check(kind, value, path)?.or(Some(zero)));
        }
        Kind::Message(fields) => return message(fields, value, path).map(Value::Object).map(Some),
        Kind::List(kind) => list(kind, value, path)?,
        Kind::Map => map(value, path)?,
        Kind::Text => text(value, path)?,
        Kind::Bool if value.is_boolean() => value,
        Kind::Bool => return Err(mismatch(path, "TYPE_BOOL", &value)),
        Kind::Int32 => {
            json!(integer::<i32>(&value).ok_or_else(|| mismatch(path, "TYPE_INT32", &value))?)
        }
        Kind::Int64 => {
            let number: i64 =
                integer(&value).ok_or_else(|| mismatch(path, "TYPE_INT64", &value))?;
            if number == 0 {
                json!(0)
            } else {
                json!(number.to_string())
            }
        }
        Kind::Duration => duration(value, path)?,
        Kind::Time => time(value, path)?,
        Kind::Enum(names) => enumerated(names, &value, path)?,
    };
    Ok((!is_default(&value)).then_some(value))
}

fn is_default(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Bool(set) => !set,
        Value::Number(number) => number.as_i64() == Some(0),
        Value::String(text) => text.is_empty(),
        Value::Array(items) => items.is_empty(),
        Value::Object(entries) => entries.is_empty(),
    }
}

fn list(kind: &Kind, value: Value, path: &str) -> Outcome<Value> {
    let Value::Array(items) = value else {
        return Err(mismatch(path, "repeated field", &value));
    };
    let mut kept = Vec::with_capacity(items.len());
    for (index, item) in items.into_iter().enumerate() {
        let fallback = if matches!(kind, Kind::Text) {
            json!("")
        } else {
            json!({})
        };
        kept.push(check(kind, item, &format!("{path}[{index}]"))?.unwrap_or(fallback));
    }
    Ok(Value::Array(kept))
}

fn map(value: Value, path: &str) -> Outcome<Value> {
    match &value {
        Value::Object(entries) => {
            for (key, entry) in entries {
                if !entry.is_string() {
                    return Err(mismatch(&format!("{path}['{key}']"), "TYPE_STRING", entry));
                }
            }
            Ok(value)
        }
        _ => Err(mismatch(path, "Map", &value)),
    }
}

fn text(value: Value, path: &str) -> Outcome<Value> {
    if value.is_string() {
        Ok(value)
    } else {
        Err(mismatch(path, "TYPE_STRING", &value))
    }
}

/// Proto JSON takes a number, or the same as text.
fn integer<T: TryFrom<i64>>(value: &Value) -> Option<T> {
    let number = match value {
        Value::Number(number) => number.as_i64()?,
        Value::String(text) => text.parse().ok()?,
        _ => return None,
    };
    T::try_from(number).ok()
}

fn duration(value: Value, path: &str) -> Outcome<Value> {
    const KIND: &str = "type.googleapis.com/google.protobuf.Duration";
    match value.as_str().and_then(seconds) {
        Some(_) => Ok(value),
        None => Err(mismatch(path, KIND, &value)),
    }
}

/// The whole and fractional seconds of a `"600s"`.
pub(crate) fn seconds(text: &str) -> Option<f64> {
    let number = text.strip_suffix('s')?;
    let plain = number
        .bytes()
        .all(|byte| byte.is_ascii_digit() || byte == b'.' || byte == b'-');
    number.parse().ok().filter(|_| plain)
}

fn time(value: Value, path: &str) -> Outcome<Value> {
    const KIND: &str = "type.googleapis.com/google.protobuf.Timestamp";
    match value
        .as_str()
        .and_then(|text| text.parse::<Timestamp>().ok())
    {
        Some(_) => Ok(value),
        None => Err(mismatch(path, KIND, &value)),
    }
}

fn enumerated(names: &[(&str, i64)], value: &Value, path: &str) -> Outcome<Value> {
    let found = match value {
        Value::String(text) => names.iter().find(|(name, _)| name == text),
        Value::Number(number) => names
            .iter()
            .find(|(_, known)| number.as_i64() == Some(*known)),
        _ => None,
    };
    match found {
        Some((_, 0)) => Ok(Value::Null),
        Some((name, _)) => Ok(json!(name)),
        None => Err(mismatch(path, "enum", value)),
    }
}

fn unknown(key: &str, path: &str) -> Refusal {
    let place = if path.is_empty() {
        String::new()
    } else {
        format!(" at '{path}'")
    };
    violation(
        path,
        format!("Invalid JSON payload received. Unknown name \"{key}\"{place}: Cannot find field."),
    )
}

fn mismatch(path: &str, kind: &str, value: &Value) -> Refusal {
    violation(path, format!("Invalid value at '{path}' ({kind}), {value}"))
}

fn violation(path: &str, message: String) -> Refusal {
    let field = if path.is_empty() {
        json!({})
    } else {
        json!({"field": path})
    };
    let mut field = field;
    field["description"] = message.as_str().into();
    Refusal::invalid(message).with_detail(
        json!({"@type": "type.googleapis.com/google.rpc.BadRequest", "fieldViolations": [field]}),
    )
}

fn join(path: &str, name: &str) -> String {
    if path.is_empty() {
        name.to_owned()
    } else {
        format!("{path}.{name}")
    }
}

fn snake(name: &str) -> String {
    let mut snake = String::with_capacity(name.len() + 4);
    for letter in name.chars() {
        if letter.is_ascii_uppercase() {
            snake.push('_');
        }
        snake.push(letter.to_ascii_lowercase());
    }
    snake
}

#[cfg(test)]
mod tests {
    use super::*;

    const INNER: &[Field] = &[
        ("maxRetries", Kind::Present(&Kind::Int32)),
        ("name", Kind::Text),
    ];
    const OUTER: &[Field] = &[
        ("items", Kind::List(&Kind::Message(INNER))),
        ("size", Kind::Int64),
        ("timeout", Kind::Duration),
        ("mode", Kind::Enum(&[("UNSET", 0), ("FAST", 2)])),
        ("uid", Kind::Output),
    ];

    #[test]
    fn keeps_one_spelling() {
        let given = json!({
            "items": [{"max_retries": 0, "name": ""}], "size": 7, "timeout": "1.5s", "mode": 2, "uid": "x",
        });
        let kept = Value::Object(message(OUTER, given, "job").unwrap());
        assert_eq!(
            kept,
            json!({"items": [{"maxRetries": 0}], "size": "7", "timeout": "1.5s", "mode": "FAST"})
        );
    }

    #[test]
    fn names_the_field_at_fault() {
        let unknown = message(OUTER, json!({"items": [{"nme": ""}]}), "job").unwrap_err();
        let expected = "Invalid JSON payload received. Unknown name \"nme\" at 'job.items[0]': Cannot find field.";
        assert_eq!(unknown.message, expected);
        let mismatch = message(OUTER, json!({"items": [{"maxRetries": "x"}]}), "job").unwrap_err();
        assert_eq!(
            mismatch.message,
            "Invalid value at 'job.items[0].max_retries' (TYPE_INT32), \"x\""
        );
    }
}
