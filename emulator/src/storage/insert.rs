//! Uploads in one request; those in many begin here too.

use bytes::Bytes;
use http::Method;

use super::attributes::{Attributes, Claims, Draft};
use super::content::{Content, Sink};
use super::multipart::{self, Parts};
use super::precondition::Conditions;
use super::store::{Insertion, may_replace};
use super::{Scope, names, resumable};
use crate::answer::{self, Answer};
use crate::body::Source;
use crate::call::Call;
use crate::config::Permission;
use crate::refusal::{Outcome, Refusal};
use crate::server::Site;

/// Most bytes of an object resource.
pub(crate) const DRAFT_LIMIT: usize = 1024 * 1024;

pub(crate) async fn upload(site: &Site, call: &mut Call, scope: &Scope<'_>) -> Outcome<Answer> {
    match call.query.get("uploadType") {
        Some("resumable") => resumable::start(site, call, scope).await,
        Some("media") => media(site, call, scope).await,
        Some("multipart") => related(site, call, scope).await,
        _ if call.method == Method::PUT => Err(Refusal::method_not_allowed()),
        _ => Err(Refusal::invalid(
            "Invalid upload request: uploadType is missing or unknown.",
        )),
    }
}

/// The bytes are the body; all else stands in the query and the headers.
async fn media(site: &Site, call: &mut Call, scope: &Scope<'_>) -> Outcome<Answer> {
    let name = call.query.get("name").unwrap_or_default().to_owned();
    let attributes = Attributes {
        content_type: call.header("content-type").map(str::to_owned),
        ..Attributes::default()
    };
    let conditions = admit(site, call, scope, &name)?;
    let mut sink = Sink::new(&site.store.incoming);
    sink.write_all(&mut call.body).await?;
    let draft = Draft {
        name: Some(name),
        attributes,
        claims: Claims::default(),
    };
    store(site, call, scope, draft, sink.finish().await?, conditions).await
}

/// First part the resource, second part the bytes.
async fn related(site: &Site, call: &mut Call, scope: &Scope<'_>) -> Outcome<Answer> {
    let boundary = multipart::boundary(call.header("content-type").unwrap_or_default())?;
    let mut body = std::mem::replace(&mut call.body, Source::whole(Bytes::new()));
    let taken = take_related(site, call, scope, Parts::new(&mut body, &boundary)).await;
    call.body = body;
    let (draft, content, conditions) = taken?;
    store(site, call, scope, draft, content, conditions).await
}

async fn take_related(
    site: &Site,
    call: &Call,
    scope: &Scope<'_>,
    mut parts: Parts<'_>,
) -> Outcome<(Draft, Content, Conditions)> {
    let missing =
        || Refusal::invalid("A multipart upload needs two parts: the metadata and the media.");
    parts.next().await?.ok_or_else(missing)?;
    let mut draft = Draft::parse(&parts.collect(DRAFT_LIMIT).await?, scope.bucket)?;
    let name = draft
        .name
        .take()
        .or_else(|| call.query.get("name").map(str::to_owned))
        .unwrap_or_default();
    let conditions = admit(site, call, scope, &name)?;
    draft.name = Some(name);
    let headers = parts.next().await?.ok_or_else(missing)?;
    if draft.attributes.content_type.is_none() {
        let kind = headers.into_iter().find(|(name, _)| name == "content-type");
        draft.attributes.content_type = kind.map(|(_, value)| value);
    }
    let mut sink = Sink::new(&site.store.incoming);
    while let Some(bytes) = parts.data().await? {
        sink.write(bytes).await?;
    }
    if parts.next().await?.is_some() {
        return Err(Refusal::invalid(
            "A multipart upload has two parts, not more.",
        ));
    }
    Ok((draft, sink.finish().await?, conditions))
}

/// An object of no bytes, from its resource alone.
pub(crate) async fn metadata_only(
    site: &Site,
    call: &mut Call,
    scope: &Scope<'_>,
) -> Outcome<Answer> {
    let mut draft = Draft::from_json(call.json().await?, scope.bucket)?;
    let name = draft
        .name
        .take()
        .or_else(|| call.query.get("name").map(str::to_owned))
        .unwrap_or_default();
    let conditions = admit(site, call, scope, &name)?;
    draft.name = Some(name);
    let content = Sink::new(&site.store.incoming).finish().await?;
    store(site, call, scope, draft, content, conditions).await
}

/// Whether the insert may happen at all, before its bytes are read.
pub(crate) fn admit(
    site: &Site,
    call: &Call,
    scope: &Scope<'_>,
    name: &str,
) -> Outcome<Conditions> {
    names::check_object(name)?;
    scope.rights.require(Permission::Create, Some(name))?;
    let bucket = scope.bucket(site)?;
    let conditions = Conditions::of(call)?;
    may_replace(bucket.get(name).as_deref(), &conditions, scope.rights)?;
    Ok(conditions)
}

async fn store(
    site: &Site,
    call: &Call,
    scope: &Scope<'_>,
    draft: Draft,
    content: Content,
    conditions: Conditions,
) -> Outcome<Answer> {
    let mut claims = draft.claims;
    claims.add_headers(&call.headers);
    content.verify(&claims)?;
    let mut attributes = draft.attributes;
    if let Some(encoding) = call.query.get("contentEncoding") {
        attributes.content_encoding = Some(encoding.to_owned());
    }
    let name = draft.name.unwrap_or_default();
    let insertion = Insertion {
        name: &name,
        attributes,
        content,
        conditions,
        rights: scope.rights,
    };
    let object = site.store.insert(&scope.bucket(site)?, insertion).await?;
    answer::selected(call, object.to_json(scope.bucket, &site.base))
}
