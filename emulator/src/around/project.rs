//! Resource Manager: the one project.

use http::Method;
use serde_json::json;

use super::{policy_verb, split};
use crate::answer::{self, Answer};
use crate::call::Call;
use crate::metadata::PROJECT_NUMBER;
use crate::refusal::{Outcome, Refusal};
use crate::server::Site;

pub(crate) async fn route(site: &Site, call: &mut Call, segment: &str) -> Outcome<Answer> {
    let id = site.project.as_str();
    match split(segment) {
        (_, None) if call.method == Method::GET => Ok(answer::json(&json!({
            "projectId": id, "projectNumber": PROJECT_NUMBER, "name": id, "lifecycleState": "ACTIVE",
            "createTime": "2026-01-01T00:00:00Z",
        }))),
        (_, Some(verb)) if call.method == Method::POST => {
            policy_verb(site, call, &format!("projects/{id}"), verb).await
        }
        _ => Err(Refusal::method_not_allowed()),
    }
}
