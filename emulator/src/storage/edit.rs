//! An object's resource: read, changed, deleted.

use std::sync::Arc;

use serde_json::Value;

use super::Scope;
use super::attributes::{Attributes, Draft};
use super::holdings::{Bucket, missing};
use super::object::Object;
use super::precondition::Conditions;
use crate::answer::{self, Answer};
use crate::call::Call;
use crate::config::Permission;
use crate::refusal::{Outcome, Refusal};
use crate::server::Site;

/// Looks an object up. Who may not list is not told what is missing.
pub(crate) fn find(
    scope: &Scope<'_>,
    bucket: &Bucket,
    name: &str,
    generation: Option<i64>,
) -> Outcome<Arc<Object>> {
    let found = bucket
        .get(name)
        .filter(|object| is_generation(object, generation));
    found.ok_or_else(|| absent(scope, bucket, name))
}

fn is_generation(object: &Object, generation: Option<i64>) -> bool {
    generation.is_none_or(|wanted| wanted == object.generation)
}

fn absent(scope: &Scope<'_>, bucket: &Bucket, name: &str) -> Refusal {
    scope
        .rights
        .require(Permission::List, None)
        .err()
        .unwrap_or_else(|| missing(&bucket.name, name))
}

pub(crate) fn get(site: &Site, call: &Call, scope: &Scope<'_>, name: &str) -> Outcome<Answer> {
    scope.rights.require(Permission::Get, Some(name))?;
    let bucket = scope.bucket(site)?;
    let object = find(scope, &bucket, name, call.query.number("generation")?)?;
    check_read(call, &object)?;
    answer::selected(call, object.to_json(scope.bucket, &site.base))
}

/// The conditions of a read, those in HTTP's own headers included.
pub(crate) fn check_read(call: &Call, object: &Object) -> Outcome<()> {
    Conditions::of(call)?.check_read(object.version())?;
    let same = |tags: &str| {
        tags.split(',')
            .any(|tag| tag.trim().trim_matches('"') == object.etag())
    };
    if call
        .header("if-match")
        .is_some_and(|tags| tags != "*" && !same(tags))
    {
        return Err(Refusal::condition_not_met("If-Match"));
    }
    if call.header("if-none-match").is_some_and(same) {
        return Err(Refusal::not_modified());
    }
    Ok(())
}

/// Whether a change may happen to what is there now.
fn check_write(
    scope: &Scope<'_>,
    bucket: &Bucket,
    name: &str,
    generation: Option<i64>,
    conditions: Conditions,
) -> impl Fn(Option<&Object>) -> Outcome<()> {
    let refusal = absent(scope, bucket, name);
    let (code, message) = (refusal.code, refusal.message);
    move |current| {
        let Some(object) = current.filter(|object| is_generation(object, generation)) else {
            let message = message.clone();
            return Err(if code == 403 {
                Refusal::forbidden(message)
            } else {
                Refusal::not_found(message)
            });
        };
        conditions.check(Some(object.version()))
    }
}

pub(crate) async fn patch(
    site: &Site,
    call: &mut Call,
    scope: &Scope<'_>,
    name: &str,
) -> Outcome<Answer> {
    let body = call.json().await?;
    change(site, call, scope, name, |attributes| attributes.patch(body)).await
}

/// PUT: what is not said is gone.
pub(crate) async fn update(
    site: &Site,
    call: &mut Call,
    scope: &Scope<'_>,
    name: &str,
) -> Outcome<Answer> {
    let body: Value = call.json().await?;
    let draft = Draft::from_json(body, scope.bucket)?;
    let replace = |attributes: &mut Attributes| {
        let (was, is) = (attributes.custom_time, draft.attributes.custom_time);
        if is < was {
            return Err(Refusal::invalid(
                "Custom time cannot be removed or set to a time before the current value.",
            ));
        }
        *attributes = draft.attributes;
        Ok(())
    };
    change(site, call, scope, name, replace).await
}

async fn change(
    site: &Site,
    call: &Call,
    scope: &Scope<'_>,
    name: &str,
    change: impl FnOnce(&mut Attributes) -> Outcome<()>,
) -> Outcome<Answer> {
    scope.rights.require(Permission::Update, Some(name))?;
    let bucket = scope.bucket(site)?;
    let generation = call.query.number("generation")?;
    let check = check_write(scope, &bucket, name, generation, Conditions::of(call)?);
    let object = bucket.edit(name, check, change).await?;
    answer::selected(call, object.to_json(scope.bucket, &site.base))
}

pub(crate) async fn delete(
    site: &Site,
    call: &Call,
    scope: &Scope<'_>,
    name: &str,
) -> Outcome<Answer> {
    scope.rights.require(Permission::Delete, Some(name))?;
    let bucket = scope.bucket(site)?;
    let generation = call.query.number("generation")?;
    let check = check_write(scope, &bucket, name, generation, Conditions::of(call)?);
    bucket.delete(name, check).await?;
    Ok(answer::no_content())
}
