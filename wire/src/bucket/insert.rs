use bytes::Bytes;
use http::{HeaderValue, header};
use serde_json::{Map, Value, json};

use super::checksum::Digest;
use super::object::Resource;
use super::{Bucket, NewObject, ObjectMeta, Precondition};
use crate::api::{ApiError, ErrorKind, Payload, Request};

impl Bucket {
    /// A small object in one multipart request.
    ///
    /// The server is given the checksums, and its answer's are compared with ours. If an answer was lost, whatever
    /// came after it, an object of our bytes is ours. A caller that may create and not overwrite meets
    /// [`ErrorKind::Forbidden`] where an object exists: it must look for itself, with [`Bucket::holds`].
    pub async fn insert(
        &self,
        name: &str,
        object: &NewObject,
        body: Bytes,
    ) -> Result<ObjectMeta, ApiError> {
        self.insert_blocks(name, object, vec![body]).await
    }

    /// As [`Bucket::insert`], of bytes that lie in several places.
    pub async fn insert_blocks(
        &self,
        name: &str,
        object: &NewObject,
        body: Vec<Bytes>,
    ) -> Result<ObjectMeta, ApiError> {
        let digest = Digest::of_all(&body);
        let mut request = self.upload_request("write", name, "multipart", object.precondition)?;
        let mut resource = object.resource(name);
        resource.insert("md5Hash".to_owned(), json!(digest.md5_base64()));
        resource.insert("crc32c".to_owned(), json!(digest.crc32c_base64()));
        let boundary =
            boundary().map_err(|error| request.fail(ErrorKind::Invalid).with_source(error))?;
        let content_type = format!("multipart/related; boundary={boundary}");
        set_content_type(&mut request, &content_type)?;
        let head = format!(
            "--{boundary}\r\nContent-Type: application/json; charset=UTF-8\r\n\r\n{}\r\n\
             --{boundary}\r\nContent-Type: {}\r\n\r\n",
            Value::Object(resource),
            object.content_type,
        );
        let tail = format!("\r\n--{boundary}--\r\n");
        let mut slices = body;
        slices.insert(0, head.into());
        slices.push(tail.into());
        request.body = Payload::new(slices);
        self.insert_request(name, &request, object.precondition, &digest)
            .await
    }

    /// A small object in one plain request: no metadata of its own, checksums in a header.
    pub async fn insert_media(
        &self,
        name: &str,
        content_type: &str,
        precondition: Precondition,
        body: Bytes,
    ) -> Result<ObjectMeta, ApiError> {
        let digest = Digest::of(&body);
        let mut request = self.upload_request("write", name, "media", precondition)?;
        request.url.query_pairs_mut().append_pair("name", name);
        set_content_type(&mut request, content_type)?;
        digest.insert_into(&mut request.headers);
        request.body = body.into();
        self.insert_request(name, &request, precondition, &digest)
            .await
    }

    async fn insert_request(
        &self,
        name: &str,
        request: &Request,
        precondition: Precondition,
        digest: &Digest,
    ) -> Result<ObjectMeta, ApiError> {
        let mut retry = self.api.retry();
        // However long a slow line takes for the body: only failing is limited.
        retry.progressed();
        let made = self.api.json_with::<Resource>(request, &mut retry).await;
        match made {
            Ok(resource) => verified(&request.action, resource.into(), digest),
            Err(error) if retry.is_unclear() => {
                self.written_after_all(name, digest, met_object(error, precondition))
                    .await
            }
            Err(error) => Err(met_object(error, precondition)),
        }
    }

    /// After a lost answer: whether the object is there, of the bytes we sent.
    ///
    /// Whatever the error: a server that answers nothing for the whole of one budget may have written all the same.
    /// The look has a budget of its own.
    pub(super) async fn written_after_all(
        &self,
        name: &str,
        digest: &Digest,
        error: ApiError,
    ) -> Result<ObjectMeta, ApiError> {
        match self.holds(name, digest).await {
            Ok(Some(meta)) => Ok(meta),
            _ => Err(error),
        }
    }
}

impl NewObject {
    /// As JSON has it, without checksums.
    pub(super) fn resource(&self, name: &str) -> Map<String, Value> {
        let mut resource = Map::new();
        resource.insert("name".to_owned(), json!(name));
        resource.insert("contentType".to_owned(), json!(self.content_type));
        if !self.metadata.is_empty() {
            resource.insert("metadata".to_owned(), json!(self.metadata));
        }
        if let Some(time) = self.custom_time {
            resource.insert("customTime".to_owned(), json!(time.to_string()));
        }
        resource
    }
}

/// A create that fails its precondition has met an object.
pub(super) fn met_object(mut error: ApiError, precondition: Precondition) -> ApiError {
    if error.kind == ErrorKind::Precondition && precondition == Precondition::Absent {
        error.kind = ErrorKind::Exists;
    }
    error
}

pub(super) fn verified(
    action: &str,
    meta: ObjectMeta,
    digest: &Digest,
) -> Result<ObjectMeta, ApiError> {
    if digest.matches(&meta) {
        return Ok(meta);
    }
    let why = "the object that the server made has other checksums than the bytes sent";
    Err(ApiError::new(action, ErrorKind::Corrupt).with_source(why))
}

fn set_content_type(request: &mut Request, content_type: &str) -> Result<(), ApiError> {
    let value = HeaderValue::try_from(content_type)
        .map_err(|error| request.fail(ErrorKind::Invalid).with_source(error))?;
    request.headers.insert(header::CONTENT_TYPE, value);
    Ok(())
}

/// 128 random bits: no body has it, not even a hostile one.
fn boundary() -> Result<String, getrandom::Error> {
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes)?;
    Ok(format!("sortie-{:032x}", u128::from_ne_bytes(bytes)))
}
