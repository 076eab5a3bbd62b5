//! Which of Google's roles gives a right that was missing.

use wire::api::ApiError;

use crate::error::chain;

/// Beginnings of permissions as Google's messages name them, the longer before the shorter; the smallest predefined
/// role that has them; and where it is given.
const ROLES: &[(&str, &str, &str)] = &[
    ("run.jobs.run", "run.jobsExecutorWithOverrides", "the job"),
    (
        "run.executions.cancel",
        "run.jobsExecutorWithOverrides",
        "the job",
    ),
    ("run.jobs.create", "run.developer", "the project"),
    ("run.jobs.update", "run.developer", "the project"),
    ("run.jobs.delete", "run.developer", "the project"),
    ("run.executions.delete", "run.developer", "the project"),
    ("run.jobs.", "run.viewer", "the job"),
    ("run.executions.", "run.viewer", "the job"),
    ("run.tasks.", "run.viewer", "the job"),
    ("run.operations.", "run.viewer", "the job"),
    ("storage.", "storage.objectUser", "the bucket"),
    (
        "iam.serviceaccounts.actas",
        "iam.serviceAccountUser",
        "the job's service account",
    ),
    (
        "serviceusage.services.use",
        "serviceusage.serviceUsageConsumer",
        "the project",
    ),
];

/// What to ask for, where Google's refusal names the right that is missing.
pub(crate) fn hint(error: &ApiError) -> Option<String> {
    let said = chain(error).to_lowercase();
    let (_, role, place) = ROLES.iter().find(|(begin, ..)| names(&said, begin))?;
    let takes = format!(
        "it takes `roles/{role}` on {place}: ask who ran `terraform apply` to add you to the kit's members"
    );
    if said.contains("may not exist") {
        return Some(format!(
            "if that is not its name, `sortie init --force gs://BUCKET` gets the team's settings anew; else {takes}"
        ));
    }
    Some(takes)
}

/// Whether a text has a word that begins so: `run.jobs.` is no part of `xrun.jobs.`.
fn names(text: &str, begin: &str) -> bool {
    text.match_indices(begin).any(|(at, _)| {
        let before = text.get(..at).and_then(|text| text.chars().next_back());
        !before.is_some_and(|c| c.is_alphanumeric() || c == '.' || c == '/')
    })
}

#[cfg(test)]
mod tests {
    use wire::api::ErrorKind;

    use super::*;

    #[test]
    fn the_smallest_role_is_named() {
        for (message, role) in [
            (
                "Permission 'run.jobs.run' denied on resource 'projects/p'",
                "run.jobsExecutorWithOverrides",
            ),
            (
                "Permission 'run.jobs.runWithOverrides' denied",
                "run.jobsExecutorWithOverrides",
            ),
            (
                "Permission 'run.jobs.get' denied on resource (or it may not exist).",
                "run.viewer",
            ),
            ("Permission 'run.jobs.create' denied", "run.developer"),
            (
                "a@b.test does not have storage.objects.list access to the bucket.",
                "storage.objectUser",
            ),
            (
                "Permission 'iam.serviceaccounts.actAs' denied on service account x",
                "iam.serviceAccountUser",
            ),
            (
                "Caller does not have required permission to use project p. Grant the caller serviceusage.services.use",
                "serviceusage.serviceUsageConsumer",
            ),
        ] {
            let error = ApiError::new("cannot do it", ErrorKind::Forbidden).with_source(message);
            let hint = hint(&error).unwrap();
            assert!(
                hint.contains(&format!("`roles/{role}`")),
                "{message}: {hint}"
            );
        }
        let error = ApiError::new("cannot do it", ErrorKind::Forbidden)
            .with_source("see https://storage.googleapis.com/");
        assert_eq!(hint(&error), None);
    }
}
