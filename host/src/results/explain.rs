//! Why a task left no report, from Cloud Run's own state.

use crate::cloud_run::{Execution, Task};

/// What Cloud Run says, and what to do about it.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Explanation {
    pub(super) why: String,
    pub(super) hint: Option<String>,
}

/// Words by the reason that stands in a condition.
const REASONS: &[(&str, &str, &str)] = &[
    (
        "CONTAINER_MISSING",
        "its image does not exist",
        "`terraform apply` builds and pushes it again",
    ),
    (
        "CONTAINER_PERMISSION_DENIED",
        "its image may not be pulled",
        "let Cloud Run's service agent read the repository: `roles/artifactregistry.reader`",
    ),
    (
        "CONTAINER_IMAGE_UNAUTHORIZED",
        "its image may not be pulled",
        "let Cloud Run's service agent read the repository: `roles/artifactregistry.reader`",
    ),
    (
        "SECRETS_ACCESS_CHECK_FAILED",
        "a secret of its environment cannot be read",
        "give the job's service account `roles/secretmanager.secretAccessor` on it, and the secret a version",
    ),
    (
        "VPC_NETWORK_NOT_FOUND",
        "its network does not exist",
        "`terraform apply` makes it again",
    ),
];

/// Explains a task that left no report.
pub(super) fn explain(execution: &Execution, task: Option<&Task>) -> Explanation {
    let conditions = task.map(|task| &task.conditions).into_iter().flatten();
    for condition in conditions.chain(&execution.conditions) {
        let known = REASONS
            .iter()
            .find(|(reason, ..)| condition.reason.as_deref() == Some(*reason));
        if let Some((_, why, hint)) = known {
            return Explanation {
                why: (*why).to_owned(),
                hint: Some((*hint).to_owned()),
            };
        }
    }
    if execution.cancelled() {
        return plain("it was cancelled before it could report");
    }
    let Some(result) = task.and_then(|task| task.last_attempt_result.as_ref()) else {
        return plain("it was never started");
    };
    if result.term_signal == Some(9) {
        return Explanation {
            why: "it was killed from outside, most likely for its memory".to_owned(),
            hint: Some(
                "give it more memory, or write less: files in a container are memory".to_owned(),
            ),
        };
    }
    let message = result
        .status
        .as_ref()
        .and_then(|status| status.message.clone());
    let said = message
        .map(|message| format!(" (`{message}`)"))
        .unwrap_or_default();
    match (result.exit_code, result.term_signal) {
        (Some(code), _) => plain(&format!("its container exited with {code}{said}")),
        (_, Some(signal)) => plain(&format!("signal {signal} ended its container{said}")),
        _ => plain(&format!("Cloud Run ended it{said}")),
    }
}

fn plain(why: &str) -> Explanation {
    Explanation {
        why: why.to_owned(),
        hint: None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn task(json: &str) -> Task {
        serde_json::from_str(json).unwrap()
    }

    #[test]
    fn each_cause_has_its_words() {
        let execution = Execution::default();
        let cases = [
            (r#"{"lastAttemptResult":{"termSignal":9}}"#, "memory"),
            (
                r#"{"lastAttemptResult":{"exitCode":3,"status":{"code":10}}}"#,
                "exited with 3",
            ),
            (
                r#"{"conditions":[{"type":"Completed","reason":"CONTAINER_MISSING"}]}"#,
                "image",
            ),
            (r"{}", "never started"),
        ];
        for (json, word) in cases {
            let explanation = explain(&execution, Some(&task(json)));
            assert!(explanation.why.contains(word), "{json}: {explanation:?}");
        }
    }
}
