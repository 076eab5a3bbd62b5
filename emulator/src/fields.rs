//! Partial answers: the `fields` parameter.

use serde_json::{Map, Value};

use crate::refusal::{Outcome, Refusal};

/// Keeps of `value` what a mask such as `items(name,size),nextPageToken` or `a/b` names.
pub(crate) fn select(mask: &str, value: &Value) -> Outcome<Value> {
    let mut rest = mask;
    let selection = parse(&mut rest, 0).filter(|_| rest.is_empty());
    let selection = selection.ok_or_else(|| {
        Refusal::invalid(format!("Invalid field selection {mask}")).at("parameter", "fields")
    })?;
    Ok(selection.apply(value))
}

/// Which keys to keep, and of each what; an empty one keeps all.
#[derive(Default)]
struct Selection(Vec<(String, Selection)>);

/// No resource is deeper.
const DEEPEST: usize = 16;

fn parse(rest: &mut &str, depth: usize) -> Option<Selection> {
    let mut selection = Selection::default();
    loop {
        let (name, inner) = parse_one(rest, depth)?;
        selection.add(name, inner);
        match rest.strip_prefix(',') {
            Some(after) => *rest = after,
            None => return Some(selection),
        }
    }
}

fn parse_one(rest: &mut &str, depth: usize) -> Option<(String, Selection)> {
    let end = rest.find([',', '(', ')', '/']).unwrap_or(rest.len());
    let (name, after) = rest.split_at(end);
    if name.is_empty() || depth > DEEPEST {
        return None;
    }
    *rest = after;
    let mut inner = Selection::default();
    if let Some(after) = rest.strip_prefix('/') {
        *rest = after;
        inner.0.push(parse_one(rest, depth + 1)?);
    } else if let Some(after) = rest.strip_prefix('(') {
        *rest = after;
        inner = parse(rest, depth + 1)?;
        *rest = rest.strip_prefix(')')?;
    }
    Some((name.to_owned(), inner))
}

impl Selection {
    /// `a/b,a/c` is `a(b,c)`; and where all of `a` is kept, naming parts of it changes nothing.
    fn add(&mut self, name: String, inner: Self) {
        let Some((_, known)) = self.0.iter_mut().find(|(known, _)| *known == name) else {
            self.0.push((name, inner));
            return;
        };
        if known.0.is_empty() || inner.0.is_empty() {
            known.0.clear();
            return;
        }
        for (name, inner) in inner.0 {
            known.add(name, inner);
        }
    }

    fn apply(&self, value: &Value) -> Value {
        match value {
            _ if self.0.is_empty() => value.clone(),
            Value::Array(items) => items.iter().map(|item| self.apply(item)).collect(),
            Value::Object(entries) => Value::Object(self.pick(entries)),
            other => other.clone(),
        }
    }

    fn pick(&self, entries: &Map<String, Value>) -> Map<String, Value> {
        let mut kept = Map::new();
        for (name, inner) in &self.0 {
            for (key, value) in entries
                .iter()
                .filter(|(key, _)| name == "*" || *key == name)
            {
                kept.insert(key.clone(), inner.apply(value));
            }
        }
        kept
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn keeps_what_is_named() {
        let page = json!({"kind": "k", "items": [{"name": "a", "size": "1", "m": {"x": 1, "y": 2}}], "nextPageToken": "t"});
        let picked = select("items(name,m/x),nextPageToken", &page).unwrap();
        assert_eq!(
            picked,
            json!({"items": [{"name": "a", "m": {"x": 1}}], "nextPageToken": "t"})
        );
        let paths = select("items/name,items/m/x,items/m/y", &page).unwrap();
        assert_eq!(
            paths,
            json!({"items": [{"name": "a", "m": {"x": 1, "y": 2}}]})
        );
        let all = select("items/m/x,items/m", &page).unwrap();
        assert_eq!(all, json!({"items": [{"m": {"x": 1, "y": 2}}]}));
        assert_eq!(select("*", &page).unwrap(), page);
        assert_eq!(select("missing", &page).unwrap(), json!({}));
        for wrong in ["a(", "a)", ",", "a(b", "a//b", ""] {
            assert!(select(wrong, &page).is_err(), "{wrong}");
        }
    }
}
