//! The storage JSON API.

mod access;
mod attributes;
mod batch;
mod bucket;
mod compose;
mod content;
mod edit;
mod holdings;
mod insert;
pub(crate) mod lifecycle;
mod list;
mod media;
pub(crate) mod multipart;
mod names;
mod object;
mod precondition;
mod progress;
mod resumable;
mod session;
pub(crate) mod store;
pub(crate) mod xml;

use std::sync::Arc;

use http::Method;

use self::holdings::Bucket;
use crate::answer::Answer;
use crate::call::Call;
use crate::caller::Rights;
use crate::refusal::{Outcome, Refusal};
use crate::router;
use crate::server::Site;

/// Who asks about what.
pub(crate) struct Scope<'a> {
    pub(crate) rights: Rights<'a>,
    bucket: &'a str,
}

impl Scope<'_> {
    pub(crate) fn bucket(&self, site: &Site) -> Outcome<Arc<Bucket>> {
        site.store.bucket(self.bucket)
    }
}

pub(crate) async fn route(site: &Site, call: &mut Call, path: &[&str]) -> Outcome<Answer> {
    // An upload's session URI is itself the permission.
    if let (["upload" | "resumable", ..], Some(_)) = (path, call.query.get("upload_id")) {
        return resumable::route(site, call).await;
    }
    let caller = site.tokens.storage(&call.headers)?;
    let rights = Rights {
        caller,
        account: &site.account,
    };
    let scope = |bucket| Scope { rights, bucket };
    match path {
        ["storage", "v1", "b", rest @ ..] => json_api(site, call, rights, rest).await,
        ["upload", "storage", "v1", "b", bucket, "o"]
        | ["resumable", "upload", "storage", "v1", "b", bucket, "o"] => {
            require(call, &[Method::POST, Method::PUT])?;
            insert::upload(site, call, &scope(bucket)).await
        }
        ["download", "storage", "v1", "b", bucket, "o", name] => {
            require(call, &[Method::GET, Method::HEAD])?;
            media::get(site, call, &scope(bucket), name).await
        }
        ["batch", "storage", "v1"] => {
            require(call, &[Method::POST])?;
            Box::pin(batch::run(site, call)).await
        }
        [bucket, name @ ..] if !name.is_empty() && router::is_xml(path) => {
            xml::route(site, call, &scope(bucket), &name.join("/")).await
        }
        _ => Err(router::nowhere()),
    }
}

async fn json_api(
    site: &Site,
    call: &mut Call,
    rights: Rights<'_>,
    path: &[&str],
) -> Outcome<Answer> {
    let bucket = path.first().copied().unwrap_or_default();
    let scope = Scope { rights, bucket };
    match path {
        [] => match call.method {
            Method::GET => bucket::list(site, call, &scope),
            Method::POST => bucket::insert(site, call, &scope).await,
            _ => Err(Refusal::method_not_allowed()),
        },
        [_] => match call.method {
            Method::GET => bucket::get(site, call, &scope),
            Method::PATCH => bucket::patch(site, call, &scope, false).await,
            Method::PUT => bucket::patch(site, call, &scope, true).await,
            Method::DELETE => bucket::delete(site, call, &scope).await,
            _ => Err(Refusal::method_not_allowed()),
        },
        [_, "iam"] => match call.method {
            Method::GET => access::get_policy(site, call, &scope),
            Method::PUT => access::set_policy(site, call, &scope).await,
            _ => Err(Refusal::method_not_allowed()),
        },
        [_, "iam", "testPermissions"] => access::test_permissions(site, call, &scope),
        [_, "o"] => match call.method {
            Method::GET => list::list(site, call, &scope),
            Method::POST => insert::metadata_only(site, call, &scope).await,
            _ => Err(Refusal::method_not_allowed()),
        },
        [_, "o", rest @ ..] => objects(site, call, &scope, rest).await,
        _ => Err(router::nowhere()),
    }
}

async fn objects(
    site: &Site,
    call: &mut Call,
    scope: &Scope<'_>,
    path: &[&str],
) -> Outcome<Answer> {
    match path {
        [name] => match call.method {
            Method::GET if call.query.get("alt") == Some("media") => {
                media::get(site, call, scope, name).await
            }
            Method::GET => edit::get(site, call, scope, name),
            Method::PATCH => edit::patch(site, call, scope, name).await,
            Method::PUT => edit::update(site, call, scope, name).await,
            Method::DELETE => edit::delete(site, call, scope, name).await,
            _ => Err(Refusal::method_not_allowed()),
        },
        [name, "compose"] => {
            require(call, &[Method::POST])?;
            compose::compose(site, call, scope, name).await
        }
        [
            name,
            verb @ ("rewriteTo" | "copyTo"),
            "b",
            bucket,
            "o",
            target,
        ] => {
            require(call, &[Method::POST])?;
            let target = compose::Target {
                bucket,
                name: target,
                rewrite: *verb == "rewriteTo",
            };
            compose::copy(site, call, scope, name, target).await
        }
        _ => Err(router::nowhere()),
    }
}

fn require(call: &Call, methods: &[Method]) -> Outcome<()> {
    if methods.contains(&call.method) {
        Ok(())
    } else {
        Err(Refusal::method_not_allowed())
    }
}
