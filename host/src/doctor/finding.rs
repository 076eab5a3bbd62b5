//! One line of what was found.

use std::time::Duration;

use serde::Serialize;
use wire::api::{ApiError, ErrorKind};

use crate::error::{Error, chain};

/// An answer that does not come is a finding, too.
pub(super) const PATIENCE: Duration = Duration::from_secs(20);

/// For credentials, longer than a run would wait for them: gcloud alone may take many seconds.
pub(super) const FOR_CREDENTIALS: Duration = Duration::from_secs(70);

/// How something stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Status {
    /// As it should be.
    Ok,
    /// It cannot be seen, or there is nothing to see; runs may work all the same.
    Unknown,
    /// Runs work, and something is dearer, slower or less safe than it should be.
    Warning,
    /// Runs do not work.
    Failure,
}

/// One line of what was found.
#[derive(Debug, Clone, Serialize)]
pub struct Finding {
    /// What was looked at: scripts may depend on it.
    pub check: String,
    /// How it stands.
    pub status: Status,
    /// What was seen.
    pub says: String,
    /// What to type.
    pub hint: Option<String>,
}

impl Finding {
    fn new(check: impl Into<String>, status: Status, says: impl Into<String>) -> Self {
        Self {
            check: check.into(),
            status,
            says: says.into(),
            hint: None,
        }
    }

    pub(super) fn ok(check: impl Into<String>, says: impl Into<String>) -> Self {
        Self::new(check, Status::Ok, says)
    }

    pub(super) fn unknown(check: impl Into<String>, says: impl Into<String>) -> Self {
        Self::new(check, Status::Unknown, says)
    }

    pub(super) fn warning(check: impl Into<String>, says: impl Into<String>) -> Self {
        Self::new(check, Status::Warning, says)
    }

    pub(super) fn failure(check: impl Into<String>, says: impl Into<String>) -> Self {
        Self::new(check, Status::Failure, says)
    }

    /// What makes a run fail, in the words it would fail with.
    pub(super) fn of_error(check: impl Into<String>, error: &Error) -> Self {
        Self {
            hint: error.hint(),
            ..Self::failure(check, chain(error))
        }
    }

    /// A call that a run makes, too, and that failed.
    pub(super) fn of_call(check: impl Into<String>, error: ApiError) -> Self {
        let doing = error.action.clone();
        Self::of_error(check, &Error::api(doing)(error))
    }

    /// A call that only this makes: not being allowed it, or not getting there, is no failure.
    pub(super) fn of_look(check: impl Into<String>, error: ApiError) -> Self {
        let only_ours = !matches!(error.kind, ErrorKind::NotFound | ErrorKind::Unauthenticated);
        let finding = Self::of_call(check, error);
        Self {
            status: if only_ours {
                Status::Unknown
            } else {
                finding.status
            },
            ..finding
        }
    }

    pub(super) fn with_hint(self, hint: impl Into<String>) -> Self {
        Self {
            hint: Some(hint.into()),
            ..self
        }
    }
}

/// What comes of some work, unless it takes too long.
pub(super) async fn in_time(check: &str, work: impl Future<Output = Vec<Finding>>) -> Vec<Finding> {
    within(PATIENCE, check, work)
        .await
        .unwrap_or_else(|late| vec![late])
}

/// Likewise, for what no run asks for.
pub(super) async fn look_in_time(
    check: &str,
    work: impl Future<Output = Vec<Finding>>,
) -> Vec<Finding> {
    let looked = within(PATIENCE, check, work).await;
    looked.unwrap_or_else(|late| {
        vec![Finding {
            status: Status::Unknown,
            ..late
        }]
    })
}

/// The work's own answer, or that there is none yet.
pub(super) async fn within<T>(
    patience: Duration,
    check: &str,
    work: impl Future<Output = T>,
) -> Result<T, Finding> {
    let done = tokio::time::timeout(patience, work).await;
    done.map_err(|_elapsed| {
        let says = format!("no answer in {} s", patience.as_secs());
        let hint =
            "a proxy or a firewall may swallow it: `SORTIE_LOG=debug sortie doctor` says more";
        Finding::failure(check, says).with_hint(hint)
    })
}
