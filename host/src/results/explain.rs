//! Why a task left no report, from Cloud Run's own state.

use crate::cloud_run::{AttemptResult, Execution, Task};

/// What Cloud Run says, and what to do about it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Explanation {
    /// A fragment.
    pub why: String,
    /// What to do.
    pub hint: Option<String>,
    /// Who is to blame.
    pub cause: Cause,
}

/// Who is to blame that a task left no report.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cause {
    /// The platform: the same task may well succeed when it is tried again.
    Platform,
    /// The command, or the set-up: another try would end the same way.
    Own,
    /// Somebody cancelled it.
    Cancelled,
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

/// Reasons of the platform's own, which pass.
const PASSING: &[&str] = &[
    "INTERNAL",
    "JOB_STATUS_SERVICE_POLLING_ERROR",
    "DELAYED_EXECUTION_EXCEEDING_DURATION_LIMIT",
    "PROGRESS_DEADLINE_EXCEEDED",
    "IMMEDIATE_RETRY",
    "POSTPONED_RETRY",
];

/// gRPC's DEADLINE_EXCEEDED.
const TIMEOUT: i32 = 4;

/// gRPC's RESOURCE_EXHAUSTED.
const EXHAUSTED: i32 = 8;

/// Explains a task that left no report. No execution: it is gone, or never was.
pub fn explain(execution: Option<&Execution>, task: Option<&Task>) -> Explanation {
    let conditions = || {
        let of_task = task.map(|task| &task.conditions).into_iter().flatten();
        of_task.chain(execution.map(|e| &e.conditions).into_iter().flatten())
    };
    let reasons = || conditions().filter_map(|condition| condition.reason.as_deref());
    for reason in reasons() {
        let known = REASONS.iter().find(|(known, ..)| reason == *known);
        if let Some((_, why, hint)) = known {
            return own(why, Some(hint));
        }
    }
    let Some(execution) = execution else {
        return platform("its execution is gone".to_owned());
    };
    if execution.cancelled() {
        return Explanation {
            cause: Cause::Cancelled,
            ..own("it was cancelled before it could report", None)
        };
    }
    if let Some(result) = task.and_then(|task| task.last_attempt_result.as_ref()) {
        return ended(result);
    }
    let passing = reasons().find(|reason| PASSING.contains(reason));
    let said = conditions().find_map(|condition| condition.message.as_deref());
    let said = said.map(|said| format!(" (`{said}`)")).unwrap_or_default();
    match passing {
        Some(reason) => platform(format!("it was never started: {reason}{said}")),
        None => platform(format!("it was never started{said}")),
    }
}

/// What the end of its last attempt tells.
fn ended(result: &AttemptResult) -> Explanation {
    let status = result.status.as_ref();
    let message = status.and_then(|status| status.message.clone());
    let said = message
        .map(|message| format!(" (`{message}`)"))
        .unwrap_or_default();
    let more_memory = "give it more memory, or write less: files in a container are memory";
    match (result.exit_code, result.term_signal, status.map(|s| s.code)) {
        (_, Some(9), _) => own(
            &format!("it was killed from outside, most likely for its memory{said}"),
            Some(more_memory),
        ),
        (_, Some(signal), _) => own(&format!("signal {signal} ended its container{said}"), None),
        (Some(code), ..) => own(&format!("its container exited with {code}{said}"), None),
        (None, None, Some(TIMEOUT)) => own(
            &format!("it met the job's own timeout before it could report{said}"),
            Some("give it a `--timeout` that leaves time to save the outputs"),
        ),
        (None, None, Some(EXHAUSTED)) => platform(format!("a quota is used up{said}")),
        (None, None, None | Some(0)) => own("its container exited with 0 and said nothing", None),
        (None, None, Some(_)) => platform(format!("Cloud Run ended it{said}")),
    }
}

fn own(why: &str, hint: Option<&str>) -> Explanation {
    Explanation {
        why: why.to_owned(),
        hint: hint.map(str::to_owned),
        cause: Cause::Own,
    }
}

fn platform(why: String) -> Explanation {
    Explanation {
        why,
        hint: Some("`--retries 2` tries again what the platform has failed".to_owned()),
        cause: Cause::Platform,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn task(json: &str) -> Task {
        serde_json::from_str(json).unwrap()
    }

    #[test]
    fn each_cause_has_its_words_and_its_blame() {
        let execution = Execution::default();
        let cases = [
            (
                r#"{"lastAttemptResult":{"termSignal":9}}"#,
                "memory",
                Cause::Own,
            ),
            (
                r#"{"lastAttemptResult":{"exitCode":3,"status":{"code":10}}}"#,
                "exited with 3",
                Cause::Own,
            ),
            (
                r#"{"lastAttemptResult":{"status":{"code":4,"message":"The configured timeout was reached."}}}"#,
                "timeout",
                Cause::Own,
            ),
            (
                r#"{"lastAttemptResult":{"status":{"code":13,"message":"Internal error."}}}"#,
                "Internal error",
                Cause::Platform,
            ),
            (
                r#"{"lastAttemptResult":{"status":{}}}"#,
                "exited with 0",
                Cause::Own,
            ),
            (
                r#"{"lastAttemptResult":{"status":{"code":8,"message":"Quota exceeded."}}}"#,
                "quota",
                Cause::Platform,
            ),
            (
                r#"{"conditions":[{"type":"Completed","reason":"CONTAINER_MISSING"}]}"#,
                "image",
                Cause::Own,
            ),
            (
                r#"{"conditions":[{"type":"Completed","reason":"SECRETS_ACCESS_CHECK_FAILED"}]}"#,
                "secret",
                Cause::Own,
            ),
            (
                r#"{"conditions":[{"type":"Started","reason":"INTERNAL","message":"oops"}]}"#,
                "INTERNAL (`oops`)",
                Cause::Platform,
            ),
            (r"{}", "never started", Cause::Platform),
        ];
        for (json, word, cause) in cases {
            let explanation = explain(Some(&execution), Some(&task(json)));
            assert!(explanation.why.contains(word), "{json}: {explanation:?}");
            assert_eq!(explanation.cause, cause, "{json}: {explanation:?}");
        }
    }

    #[test]
    fn a_cancelled_one_is_nobodys_fault() {
        let execution = Execution {
            cancelled_count: 1,
            ..Execution::default()
        };
        assert_eq!(explain(Some(&execution), None).cause, Cause::Cancelled);
        assert_eq!(explain(None, None).cause, Cause::Platform);
    }
}
