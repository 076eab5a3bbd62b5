use http::Method;
use serde_json::{Map, Value, json};

use super::checksum::Digest;
use super::object::Resource;
use super::{Bucket, List, ObjectMeta, Page, Patch};
use crate::api::{ApiError, ErrorKind, Request};

/// All that [`ObjectMeta`] has; the rest would double a page.
const FIELDS: &str = "items(name,generation,metageneration,size,md5Hash,crc32c,contentType,customTime,timeCreated,metadata),\
                      prefixes,nextPageToken";

impl Bucket {
    /// An object's metadata.
    pub async fn stat(&self, name: &str) -> Result<ObjectMeta, ApiError> {
        let request = self.request("look at", name, Method::GET, true)?;
        self.resource(&request).await
    }

    /// The object, if it is there and of these bytes.
    ///
    /// For a caller whose create met [`ErrorKind::Exists`] or [`ErrorKind::Forbidden`], and who may have written it
    /// himself. A caller who may not list is told [`ErrorKind::Forbidden`] of an object that is not there.
    pub async fn holds(&self, name: &str, digest: &Digest) -> Result<Option<ObjectMeta>, ApiError> {
        match self.stat(name).await {
            Ok(meta) => Ok(Some(meta).filter(|meta| digest.matches(meta))),
            Err(error) if error.kind == ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Changes metadata, of this generation only.
    pub async fn patch(
        &self,
        name: &str,
        generation: u64,
        patch: &Patch,
    ) -> Result<ObjectMeta, ApiError> {
        let request = self.patch_request(name, generation, patch)?;
        self.resource(&request).await
    }

    /// Changes metadata only if nobody has changed it since `meta` was read.
    pub async fn patch_if_unchanged(
        &self,
        meta: &ObjectMeta,
        patch: &Patch,
    ) -> Result<ObjectMeta, ApiError> {
        let mut request = self.patch_request(&meta.name, meta.generation, patch)?;
        let metageneration = meta.metageneration.to_string();
        request
            .url
            .query_pairs_mut()
            .append_pair("ifMetagenerationMatch", &metageneration);
        // A second try would meet the change of the first, and call it somebody else's.
        request.idempotent = false;
        self.resource(&request).await
    }

    /// One page.
    pub async fn list(&self, list: &List<'_>) -> Result<Page, ApiError> {
        let action = self.action("list", list.prefix);
        let mut request = Request::new(&action, Method::GET, self.collection("/storage/v1"), true);
        add_query(&mut request, list);
        self.api.json_as(&request).await
    }

    /// Deletes; an object already gone is no error.
    ///
    /// Without a generation an unclear failure is not tried again: the name may have a new object by then.
    pub async fn delete(&self, name: &str, generation: Option<u64>) -> Result<(), ApiError> {
        let mut request = self.request("delete", name, Method::DELETE, generation.is_some())?;
        if let Some(generation) = generation {
            let generation = generation.to_string();
            request
                .url
                .query_pairs_mut()
                .append_pair("ifGenerationMatch", &generation);
        }
        match self.api.send(&request).await {
            Ok(_) => Ok(()),
            Err(error) if error.kind == ErrorKind::NotFound => Ok(()),
            Err(error) if error.kind == ErrorKind::Precondition && error.tries > 1 => {
                self.check_gone(name, error).await
            }
            Err(error) => Err(error),
        }
    }

    /// After a lost answer: whether the object that was to be deleted is gone.
    async fn check_gone(&self, name: &str, error: ApiError) -> Result<(), ApiError> {
        match self.stat(name).await {
            Err(now) if now.kind == ErrorKind::NotFound => Ok(()),
            _ => Err(error),
        }
    }

    fn patch_request(
        &self,
        name: &str,
        generation: u64,
        patch: &Patch,
    ) -> Result<Request, ApiError> {
        let mut request = self.request("change", name, Method::PATCH, true)?;
        let generation = generation.to_string();
        request
            .url
            .query_pairs_mut()
            .append_pair("ifGenerationMatch", &generation);
        let mut body = Map::new();
        if let Some(time) = patch.custom_time {
            body.insert("customTime".to_owned(), json!(time.to_string()));
        }
        if !patch.metadata.is_empty() {
            body.insert("metadata".to_owned(), json!(patch.metadata));
        }
        Ok(request.with_json(&Value::Object(body)))
    }

    pub(super) async fn resource(&self, request: &Request) -> Result<ObjectMeta, ApiError> {
        let resource: Resource = self.api.json_as(request).await?;
        Ok(resource.into())
    }
}

fn add_query(request: &mut Request, list: &List<'_>) {
    let max_results = list.max_results.map(|max| max.to_string());
    let optional = [
        (
            "prefix",
            Some(list.prefix).filter(|prefix| !prefix.is_empty()),
        ),
        ("delimiter", list.delimiter),
        ("startOffset", list.start_offset),
        ("maxResults", max_results.as_deref()),
        ("pageToken", list.page),
    ];
    let mut query = request.url.query_pairs_mut();
    query.append_pair("fields", FIELDS);
    for (name, value) in optional {
        if let Some(value) = value {
            query.append_pair(name, value);
        }
    }
}
