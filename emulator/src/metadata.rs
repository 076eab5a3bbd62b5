//! The metadata server: what a container asks to learn where and who it is.

use http::{HeaderMap, HeaderValue, Method, StatusCode, Uri};
use hyper::body::Incoming;
use serde_json::json;

use crate::answer::{self, Answer};
use crate::door;
use crate::server::Site;

/// The project's number: any would do.
pub(crate) const PROJECT_NUMBER: &str = "100000000000";
const INSTANCE_ID: &str = "0087244a8000000000000000000000000000000000000000000000000000000000";
/// Seconds of validity told to clients; the token lives as long as this process.
const TOKEN_LIFE: u32 = 3599;
const SCOPE: &str = "https://www.googleapis.com/auth/cloud-platform";

pub(crate) fn answer(site: &Site, request: &http::Request<Incoming>) -> Answer {
    let mut answer = route(site, request);
    let headers = answer.headers_mut();
    headers.insert("Metadata-Flavor", HeaderValue::from_static("Google"));
    headers.insert(
        "Server",
        HeaderValue::from_static("Metadata Server for Serverless"),
    );
    answer
}

fn route(site: &Site, request: &http::Request<Incoming>) -> Answer {
    if let Some(refused) = refuse(request.uri(), request.headers()) {
        return refused;
    }
    if request.method() != Method::GET && request.method() != Method::HEAD {
        return answer::text(StatusCode::METHOD_NOT_ALLOWED, "Method not allowed");
    }
    let path = request.uri().path();
    if path == "/" {
        return plain("computeMetadata/\n".into());
    }
    let Some(path) = path.strip_prefix("/computeMetadata/v1/") else {
        return missing();
    };
    let flavored = request
        .headers()
        .get("Metadata-Flavor")
        .is_some_and(|value| value == "Google");
    if !flavored {
        return answer::text(
            StatusCode::FORBIDDEN,
            "Missing Metadata-Flavor:Google header.",
        );
    }
    lookup(site, path)
}

/// `Host` may be any loopback name; a forwarded request is never a container's own.
fn refuse(target: &Uri, headers: &HeaderMap) -> Option<Answer> {
    if headers.contains_key("X-Forwarded-For") {
        return Some(answer::text(
            StatusCode::FORBIDDEN,
            "Requests with X-Forwarded-For are refused.",
        ));
    }
    door::check(target, headers)
        .err()
        .map(|refusal| answer::text(StatusCode::FORBIDDEN, refusal.message))
}

fn lookup(site: &Site, path: &str) -> Answer {
    let email = &site.account.email;
    let (project, region) = (&site.project, &site.region);
    match path {
        "project/project-id" => plain(project.clone()),
        "project/numeric-project-id" => plain(PROJECT_NUMBER.into()),
        "instance/region" => plain(format!("projects/{PROJECT_NUMBER}/regions/{region}")),
        "instance/zone" => plain(format!("projects/{PROJECT_NUMBER}/zones/{region}-1")),
        "instance/id" => plain(INSTANCE_ID.into()),
        "universe/universe-domain" | "universe/universe_domain" => plain("googleapis.com".into()),
        "instance/service-accounts" | "instance/service-accounts/" => {
            plain(format!("default/\n{email}/\n"))
        }
        _ => account(site, path),
    }
}

fn account(site: &Site, path: &str) -> Answer {
    let email = &site.account.email;
    let Some((name, what)) = path
        .strip_prefix("instance/service-accounts/")
        .and_then(|rest| rest.split_once('/'))
    else {
        return missing();
    };
    if name != "default" && name != email {
        return missing();
    }
    match what {
        "" => answer::json(&json!({"aliases": ["default"], "email": email, "scopes": [SCOPE]})),
        "email" => plain(email.clone()),
        "aliases" => plain("default\n".into()),
        "scopes" => plain(format!("{SCOPE}\n")),
        "token" => answer::json(&json!({
            "access_token": site.tokens.container(), "expires_in": TOKEN_LIFE, "token_type": "Bearer",
        })),
        _ => missing(),
    }
}

fn plain(content: String) -> Answer {
    answer::typed(StatusCode::OK, "application/text", content)
}

fn missing() -> Answer {
    answer::text(StatusCode::NOT_FOUND, "Not Found")
}
