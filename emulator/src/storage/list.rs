//! Objects by name, page by page.

use std::sync::Arc;

use base64::prelude::{BASE64_URL_SAFE_NO_PAD, Engine as _};
use globset::{GlobBuilder, GlobMatcher};
use serde_json::{Value, json};

use super::Scope;
use super::object::Object;
use crate::answer::{self, Answer};
use crate::call::Call;
use crate::config::Permission;
use crate::refusal::{Outcome, Refusal};
use crate::server::Site;

/// Most entries of a page, and how many there are if nobody says.
const PAGE: usize = 1000;

/// What is listed.
struct Filter {
    prefix: String,
    delimiter: Option<String>,
    trailing: bool,
    start: String,
    end: Option<String>,
    glob: Option<GlobMatcher>,
    limit: usize,
    /// The last entry of the page before: a name, or a prefix that ends with the delimiter.
    after: Option<String>,
}

/// What a page holds.
#[derive(Default)]
struct Page {
    items: Vec<Arc<Object>>,
    prefixes: Vec<String>,
    last: Option<String>,
    more: bool,
}

pub(crate) fn list(site: &Site, call: &Call, scope: &Scope<'_>) -> Outcome<Answer> {
    scope.rights.require(Permission::List, None)?;
    let bucket = scope.bucket(site)?;
    let filter = Filter::of(call)?;
    let mut page = Page::default();
    bucket.scan(&filter.first(), |object| filter.visit(object, &mut page));
    answer::selected(call, page.to_json(scope.bucket, &site.base))
}

impl Filter {
    fn of(call: &Call) -> Outcome<Self> {
        let query = &call.query;
        let text = |key| query.get(key).map(str::to_owned);
        let limit = match query.number("maxResults")? {
            Some(limit) if limit < 0 => {
                return Err(Refusal::invalid("Invalid value for maxResults."));
            }
            Some(0) | None => PAGE,
            Some(limit) => usize::try_from(limit).unwrap_or(PAGE).min(PAGE),
        };
        Ok(Self {
            prefix: text("prefix").unwrap_or_default(),
            delimiter: text("delimiter"),
            trailing: query.flag("includeTrailingDelimiter"),
            start: text("startOffset").unwrap_or_default(),
            end: text("endOffset"),
            glob: query.get("matchGlob").map(glob).transpose()?,
            limit,
            after: query.get("pageToken").map(decode_token).transpose()?,
        })
    }

    fn first(&self) -> String {
        let after = self.after.as_deref().unwrap_or_default();
        [after, &self.prefix, &self.start]
            .into_iter()
            .max()
            .unwrap_or_default()
            .to_owned()
    }

    /// Takes one object in; `false` ends the scan.
    fn visit(&self, object: &Arc<Object>, page: &mut Page) -> bool {
        let name = object.name.as_str();
        if !name.starts_with(&self.prefix) {
            return name < self.prefix.as_str();
        }
        if self.end.as_deref().is_some_and(|end| name >= end) {
            return false;
        }
        if self.glob.as_ref().is_some_and(|glob| !glob.is_match(name)) {
            return true;
        }
        let group = self.group(name);
        let entry = group.unwrap_or(name);
        let seen = self.after.as_deref().is_some_and(|after| entry <= after)
            || page.last.as_deref() == Some(entry);
        let trailing = self.trailing && group == Some(name);
        if seen && !(trailing && page.last.as_deref() == Some(entry)) {
            return true;
        }
        if page.items.len() + page.prefixes.len() >= self.limit {
            page.more = true;
            return false;
        }
        match group {
            Some(group) => page.prefixes.push(group.to_owned()),
            None => page.items.push(Arc::clone(object)),
        }
        if trailing {
            page.items.push(Arc::clone(object));
        }
        page.last = Some(entry.to_owned());
        true
    }

    /// The name up to and including the first delimiter after the prefix.
    fn group<'a>(&self, name: &'a str) -> Option<&'a str> {
        let delimiter = self.delimiter.as_deref()?;
        let found = name[self.prefix.len()..].find(delimiter)?;
        Some(&name[..self.prefix.len() + found + delimiter.len()])
    }
}

impl Page {
    fn to_json(&self, bucket: &str, base: &str) -> Value {
        let mut json = json!({"kind": "storage#objects"});
        if !self.items.is_empty() {
            json["items"] = self
                .items
                .iter()
                .map(|object| object.to_json(bucket, base))
                .collect();
        }
        if !self.prefixes.is_empty() {
            json["prefixes"] = json!(self.prefixes);
        }
        if let (true, Some(last)) = (self.more, &self.last) {
            json["nextPageToken"] = BASE64_URL_SAFE_NO_PAD.encode(last).into();
        }
        json
    }
}

fn decode_token(token: &str) -> Outcome<String> {
    let bytes = BASE64_URL_SAFE_NO_PAD.decode(token).ok();
    let name = bytes.and_then(|bytes| String::from_utf8(bytes).ok());
    name.ok_or_else(|| Refusal::invalid("Invalid page token.").at("parameter", "pageToken"))
}

fn glob(pattern: &str) -> Outcome<GlobMatcher> {
    let built = GlobBuilder::new(&spell_out(pattern))
        .literal_separator(true)
        .backslash_escape(true)
        .build();
    let refused = |_| {
        Refusal::invalid(format!("Invalid glob pattern: {pattern}")).at("parameter", "matchGlob")
    };
    built.map(|glob| glob.compile_matcher()).map_err(refused)
}

/// Here `**` crosses slashes wherever it stands; our matcher lets it do so only as a path component.
fn spell_out(pattern: &str) -> String {
    let mut spelled = String::new();
    let mut rest = pattern;
    while let Some(at) = rest.find("**") {
        let (before, after) = (&rest[..at], rest[at..].trim_start_matches('*'));
        spelled.push_str(before);
        let starts = spelled.is_empty() || spelled.ends_with('/');
        let ends = after.is_empty() || after.starts_with('/');
        spelled.push_str(if starts && ends { "**" } else { "{*,*/**/*}" });
        rest = after;
    }
    spelled + rest
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn globs() {
        let matches = |pattern: &str, name: &str| glob(pattern).unwrap().is_match(name);
        for (pattern, name) in [
            ("*.txt", "a.txt"),
            ("**.txt", "a.txt"),
            ("**.txt", "a/b/c.txt"),
            ("a**z", "az"),
            ("a**z", "ab/c/yz"),
            ("a/**/z", "a/b/c/z"),
            ("a/**", "a/b/c"),
            ("{a,b}/?[cd]", "b/xd"),
        ] {
            assert!(matches(pattern, name), "{pattern} {name}");
        }
        for (pattern, name) in [
            ("*.txt", "a/b.txt"),
            ("a?z", "a/z"),
            ("a**z", "ba/z"),
            ("[!a]", "a"),
        ] {
            assert!(!matches(pattern, name), "{pattern} {name}");
        }
    }
}
