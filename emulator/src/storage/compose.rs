//! New objects out of stored ones.

use std::io::Read;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use serde_json::{Value, json};

use super::attributes::{Draft, OBJECT};
use super::content::{Sink, blocking};
use super::edit::find;
use super::holdings::Bucket;
use super::object::Object;
use super::precondition::Conditions;
use super::store::{Insertion, may_replace};
use super::{Scope, names};
use crate::answer::{self, Answer};
use crate::call::Call;
use crate::config::Permission;
use crate::refusal::{Outcome, Refusal};
use crate::schema::{self, Field, Kind};
use crate::server::Site;

/// Most objects of one compose.
const SOURCES: usize = 32;
/// How much is copied at once.
const PIECE: usize = 1024 * 1024;

const SOURCE: &[Field] = &[
    ("generation", Kind::Int64),
    ("name", Kind::Text),
    (
        "objectPreconditions",
        Kind::Message(&[("ifGenerationMatch", Kind::Present(&Kind::Int64))]),
    ),
];

const COMPOSE: &[Field] = &[
    ("destination", Kind::Any),
    ("kind", Kind::Text),
    ("sourceObjects", Kind::List(&Kind::Message(SOURCE))),
];

/// Where a copy goes, and which verb asked for it.
pub(crate) struct Target<'a> {
    pub(crate) bucket: &'a str,
    pub(crate) name: &'a str,
    pub(crate) rewrite: bool,
}

pub(crate) async fn compose(
    site: &Site,
    call: &mut Call,
    scope: &Scope<'_>,
    name: &str,
) -> Outcome<Answer> {
    let given = Value::Object(schema::message(COMPOSE, call.json().await?, "")?);
    let destination = given
        .get("destination")
        .cloned()
        .unwrap_or_else(|| json!({}));
    // Hashes in it are ignored: gcloud sends those of the last source along.
    let draft = Draft::from_json(destination, scope.bucket)?;
    names::check_object(name)?;
    scope.rights.require(Permission::Create, Some(name))?;
    let bucket = scope.bucket(site)?;
    let conditions = Conditions::of(call)?;
    may_replace(bucket.get(name).as_deref(), &conditions, scope.rights)?;
    let sources = given
        .get("sourceObjects")
        .and_then(Value::as_array)
        .map_or(&[][..], Vec::as_slice);
    if sources.is_empty() || sources.len() > SOURCES {
        return Err(Refusal::invalid(format!(
            "The number of source components provided must be between 1 and {SOURCES}."
        )));
    }
    let mut sink = Sink::new(&site.store.incoming);
    let mut components = 0;
    for source in sources {
        let source = source_object(scope, &bucket, source)?;
        components += source.components.unwrap_or(1);
        copy_into(&mut sink, &bucket, &source).await?;
    }
    let mut content = sink.finish().await?;
    content.md5 = None;
    content.components = Some(components);
    let insertion = Insertion {
        name,
        attributes: draft.attributes,
        content,
        conditions,
        rights: scope.rights,
    };
    let object = site.store.insert(&bucket, insertion).await?;
    answer::selected(call, object.to_json(scope.bucket, &site.base))
}

fn source_object(scope: &Scope<'_>, bucket: &Bucket, source: &Value) -> Outcome<Arc<Object>> {
    let number = |pointer| match source.pointer(pointer) {
        Some(Value::String(text)) => text.parse().ok(),
        Some(other) => other.as_i64(),
        None => None,
    };
    let name = source
        .get("name")
        .and_then(Value::as_str)
        .unwrap_or_default();
    scope.rights.require(Permission::Get, Some(name))?;
    let object = find(scope, bucket, name, number("/generation"))?;
    let conditions = Conditions::on_generation(number("/objectPreconditions/ifGenerationMatch"));
    conditions.check(Some(object.version()))?;
    Ok(object)
}

async fn copy_into(sink: &mut Sink, bucket: &Arc<Bucket>, object: &Arc<Object>) -> Outcome<()> {
    let (bucket, object) = (Arc::clone(bucket), Arc::clone(object));
    let source = blocking(move || bucket.read(&object)).await?;
    copy_from(sink, source).await
}

pub(crate) async fn copy_from(
    sink: &mut Sink,
    mut source: impl Read + Send + 'static,
) -> Outcome<()> {
    loop {
        let read = blocking(move || {
            let mut piece = BytesMut::zeroed(PIECE);
            let count = source.read(&mut piece)?;
            piece.truncate(count);
            Ok((source, piece.freeze()))
        });
        let (rest, piece): (_, Bytes) = read.await?;
        if piece.is_empty() {
            return Ok(());
        }
        source = rest;
        sink.write(piece).await?;
    }
}

/// `rewriteTo`, always done in one call, and `copyTo`.
pub(crate) async fn copy(
    site: &Site,
    call: &mut Call,
    scope: &Scope<'_>,
    name: &str,
    target: Target<'_>,
) -> Outcome<Answer> {
    let body = call.json().await?;
    names::check_object(target.name)?;
    scope.rights.require(Permission::Get, Some(name))?;
    scope
        .rights
        .require(Permission::Create, Some(target.name))?;
    let (from, to) = (scope.bucket(site)?, site.store.bucket(target.bucket)?);
    let source = find(scope, &from, name, call.query.number("sourceGeneration")?)?;
    Conditions::of_source(call)?.check(Some(source.version()))?;
    let conditions = Conditions::of(call)?;
    may_replace(to.get(target.name).as_deref(), &conditions, scope.rights)?;
    // A body that says nothing keeps the source's attributes; any other replaces them all.
    let given = schema::message(OBJECT, body.clone(), "")?;
    let speaks = given.keys().any(|key| key != "name" && key != "bucket");
    let attributes = if speaks {
        Draft::from_json(body, target.bucket)?.attributes
    } else {
        source.attributes.clone()
    };
    let mut sink = Sink::new(&site.store.incoming);
    copy_into(&mut sink, &from, &source).await?;
    let mut content = sink.finish().await?;
    content.components = source.components;
    content.md5 = content.md5.filter(|_| source.md5.is_some());
    let insertion = Insertion {
        name: target.name,
        attributes,
        content,
        conditions,
        rights: scope.rights,
    };
    let object = site.store.insert(&to, insertion).await?;
    let made = object.to_json(target.bucket, &site.base);
    if !target.rewrite {
        return answer::selected(call, made);
    }
    let bytes = object.size.to_string();
    let rewritten = json!({
        "kind": "storage#rewriteResponse", "totalBytesRewritten": bytes, "objectSize": bytes, "done": true,
        "resource": made,
    });
    answer::selected(call, rewritten)
}
