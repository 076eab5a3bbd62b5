//! The XML API, as far as Google's own clients need it: reads, and uploads in parallel parts.

use std::collections::{BTreeMap, HashMap};
use std::fmt::Write as _;
use std::sync::Mutex;

use base64::prelude::{BASE64_STANDARD, Engine as _};
use http::{HeaderName, HeaderValue, Method, StatusCode, header};

use super::attributes::{Attributes, Claims};
use super::compose::copy_from;
use super::content::{Content, Sink};
use super::precondition::Conditions;
use super::store::Insertion;
use super::{Scope, media, names};
use crate::answer::{self, Answer};
use crate::call::Call;
use crate::clock;
use crate::config::Permission;
use crate::lock::lock;
use crate::refusal::{Outcome, Refusal};
use crate::server::Site;

const XML: &str = "application/xml; charset=UTF-8";
/// Least bytes of a part that is not the last.
const PART_LEAST: u64 = 5 * 1024 * 1024;
const PART_MOST: u64 = 5 * 1024 * 1024 * 1024;
const PARTS: usize = 10_000;
/// Most bytes of the list of parts that ends an upload.
const LIST_LIMIT: usize = 2 * 1024 * 1024;

/// Uploads under way. They do not outlive this process.
#[derive(Default)]
pub(crate) struct Uploads(Mutex<HashMap<String, Upload>>);

struct Upload {
    bucket: String,
    name: String,
    attributes: Attributes,
    parts: BTreeMap<usize, Content>,
}

pub(crate) async fn route(
    site: &Site,
    call: &mut Call,
    scope: &Scope<'_>,
    name: &str,
) -> Outcome<Answer> {
    let id = call.query.get("uploadId").map(str::to_owned);
    match (&call.method, id) {
        (&Method::GET | &Method::HEAD, None) => media::get(site, call, scope, name).await,
        (&Method::POST, None) if call.query.any("uploads").is_some() => {
            begin(site, call, scope, name)
        }
        (&Method::PUT, Some(id)) => put(site, call, scope, name, &id).await,
        (&Method::POST, Some(id)) => complete(site, call, scope, name, &id).await,
        (&Method::DELETE, Some(id)) => {
            take(site, scope, name, &id)?;
            Ok(answer::no_content())
        }
        _ => Err(Refusal::method_not_allowed()),
    }
}

fn begin(site: &Site, call: &Call, scope: &Scope<'_>, name: &str) -> Outcome<Answer> {
    names::check_object(name)?;
    scope.rights.require(Permission::Create, Some(name))?;
    scope.bucket(site)?;
    let text = |name| call.header(name).map(str::to_owned);
    let mut attributes = Attributes {
        content_type: text("content-type"),
        cache_control: text("cache-control"),
        content_disposition: text("content-disposition"),
        content_encoding: text("content-encoding"),
        content_language: text("content-language"),
        ..Attributes::default()
    };
    for (header, value) in &call.headers {
        if let (Some(key), Ok(value)) =
            (header.as_str().strip_prefix("x-goog-meta-"), value.to_str())
        {
            attributes.metadata.insert(key.to_owned(), value.to_owned());
        }
    }
    let id = clock::secret();
    let upload = Upload {
        bucket: scope.bucket.into(),
        name: name.into(),
        attributes,
        parts: BTreeMap::new(),
    };
    lock(&site.store.uploads.0).insert(id.clone(), upload);
    let body = result(
        "InitiateMultipartUploadResult",
        &[("Bucket", scope.bucket), ("Key", name), ("UploadId", &id)],
    );
    Ok(answer::typed(StatusCode::OK, XML, body))
}

/// The session is found only under the object it was begun for.
fn with<T>(
    site: &Site,
    scope: &Scope<'_>,
    name: &str,
    id: &str,
    work: impl FnOnce(&mut HashMap<String, Upload>) -> T,
) -> Outcome<T> {
    scope.rights.require(Permission::Create, Some(name))?;
    let mut uploads = lock(&site.store.uploads.0);
    let known = uploads
        .get(id)
        .is_some_and(|upload| upload.bucket == scope.bucket && upload.name == name);
    if known {
        Ok(work(&mut uploads))
    } else {
        Err(Refusal::not_found("The requested upload was not found."))
    }
}

fn take(site: &Site, scope: &Scope<'_>, name: &str, id: &str) -> Outcome<Upload> {
    let taken = with(site, scope, name, id, |uploads| uploads.remove(id))?;
    taken.ok_or_else(|| Refusal::not_found("The requested upload was not found."))
}

async fn put(
    site: &Site,
    call: &mut Call,
    scope: &Scope<'_>,
    name: &str,
    id: &str,
) -> Outcome<Answer> {
    let number = call
        .query
        .number("partNumber")?
        .and_then(|number| usize::try_from(number).ok())
        .unwrap_or(0);
    if !(1..=PARTS).contains(&number) {
        return Err(Refusal::invalid(
            "Part number must be an integer between 1 and 10000, inclusive.",
        ));
    }
    with(site, scope, name, id, |_| ())?;
    let mut claims = Claims::default();
    claims.add_headers(&call.headers);
    let mut sink = Sink::new(&site.store.incoming);
    sink.write_all(&mut call.body).await?;
    let content = sink.finish().await?;
    content.verify(&claims)?;
    if content.size > PART_MOST {
        return Err(Refusal::too_large("A part may have at most 5 GiB."));
    }
    let hashes = format!(
        "crc32c={},md5={}",
        content.crc32c,
        content.md5.as_deref().unwrap_or_default()
    );
    let headers = [
        (header::ETAG, etag(&content)),
        (HeaderName::from_static("x-goog-hash"), hashes),
    ];
    let keep = |uploads: &mut HashMap<String, Upload>| {
        if let Some(upload) = uploads.get_mut(id) {
            upload.parts.insert(number, content);
        }
    };
    with(site, scope, name, id, keep)?;
    let mut answer = answer::status_only(StatusCode::OK);
    for (name, value) in headers {
        if let Ok(value) = HeaderValue::from_str(&value) {
            answer.headers_mut().insert(name, value);
        }
    }
    Ok(answer)
}

/// The MD5 in hex, in quotes.
fn etag(content: &Content) -> String {
    let md5 = content
        .md5
        .as_deref()
        .and_then(|md5| BASE64_STANDARD.decode(md5).ok())
        .unwrap_or_default();
    let mut etag = String::from("\"");
    for byte in md5 {
        let _ = write!(etag, "{byte:02x}");
    }
    etag.push('"');
    etag
}

async fn complete(
    site: &Site,
    call: &mut Call,
    scope: &Scope<'_>,
    name: &str,
    id: &str,
) -> Outcome<Answer> {
    let list = call.body.collect(LIST_LIMIT).await?;
    let wanted = parts(&String::from_utf8_lossy(&list))?;
    let mut upload = take(site, scope, name, id)?;
    let mut sink = Sink::new(&site.store.incoming);
    let (count, mut before) = (wanted.len(), 0);
    for (place, (number, claimed)) in wanted.into_iter().enumerate() {
        let part = upload
            .parts
            .remove(&number)
            .filter(|part| etag(part).trim_matches('"') == claimed);
        let part = part.ok_or_else(|| {
            Refusal::invalid("One or more of the specified parts could not be found.")
        })?;
        if number <= before || (place + 1 < count && part.size < PART_LEAST) {
            return Err(Refusal::invalid(
                "Parts must be in order, and all but the last at least 5 MiB large.",
            ));
        }
        before = number;
        copy_from(&mut sink, part.data.reader()?).await?;
    }
    let mut content = sink.finish().await?;
    content.md5 = None;
    content.components = u32::try_from(count).ok();
    let conditions = Conditions::default();
    let insertion = Insertion {
        name,
        attributes: upload.attributes,
        content,
        conditions,
        rights: scope.rights,
    };
    let object = site.store.insert(&scope.bucket(site)?, insertion).await?;
    let etag = format!("\"{}\"", object.etag());
    let location = format!("{}/{}/{name}", site.base, scope.bucket);
    let fields = [
        ("Location", location.as_str()),
        ("Bucket", scope.bucket),
        ("Key", name),
        ("ETag", &etag),
    ];
    Ok(answer::typed(
        StatusCode::OK,
        XML,
        result("CompleteMultipartUploadResult", &fields),
    ))
}

/// The numbers and etags in a `CompleteMultipartUpload`.
fn parts(list: &str) -> Outcome<Vec<(usize, String)>> {
    let mut parts = Vec::new();
    for part in list.split("<Part>").skip(1) {
        let number = element(part, "PartNumber").and_then(|text| text.trim().parse().ok());
        let etag = element(part, "ETag").map(|text| text.replace("&quot;", "\""));
        match (number, etag) {
            (Some(number), Some(etag)) => {
                parts.push((number, etag.trim().trim_matches('"').to_owned()));
            }
            _ => {
                return Err(Refusal::invalid(
                    "The XML you provided was not well-formed.",
                ));
            }
        }
    }
    if parts.is_empty() {
        Err(Refusal::invalid("The list of parts is empty."))
    } else {
        Ok(parts)
    }
}

fn element<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    let (_, rest) = text.split_once(&format!("<{name}>"))?;
    Some(rest.split_once(&format!("</{name}>"))?.0)
}

fn result(kind: &str, fields: &[(&str, &str)]) -> String {
    let mut xml = format!(
        "<?xml version='1.0' encoding='UTF-8'?><{kind} xmlns='http://s3.amazonaws.com/doc/2006-03-01/'>"
    );
    for (name, value) in fields {
        let _ = write!(xml, "<{name}>{}</{name}>", escape(value));
    }
    xml + &format!("</{kind}>")
}

pub(crate) fn escape(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
        .replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_of_parts() {
        let list = "<CompleteMultipartUpload><Part><PartNumber>1</PartNumber><ETag>&quot;a&quot;</ETag></Part>\
                    <Part>\n<PartNumber>2</PartNumber><ETag>\"b\"</ETag></Part></CompleteMultipartUpload>";
        assert_eq!(
            parts(list).unwrap(),
            [(1, "a".to_owned()), (2, "b".to_owned())]
        );
        assert!(parts("<Part><ETag>a</ETag></Part>").is_err());
        assert!(parts("").is_err());
    }
}
