//! A request answered with an error, before either API's shape is put on it.

use std::io;

use serde_json::{Value, json};

pub(crate) type Outcome<T> = Result<T, Refusal>;

/// An error answer.
#[derive(Debug)]
pub(crate) struct Refusal {
    /// The HTTP status.
    pub(crate) code: u16,
    /// The canonical name, as Cloud Run's errors carry it.
    pub(crate) status: &'static str,
    /// The short reason, as storage's errors carry it.
    pub(crate) reason: &'static str,
    pub(crate) message: String,
    /// Which part of the request is to blame, in storage's errors: kind and name.
    location: Option<(&'static str, &'static str)>,
    /// What stands in Cloud Run's `details`.
    detail: Option<Box<Value>>,
    /// Kept out of the answer: what really happened here.
    source: Option<io::Error>,
}

impl Refusal {
    fn new(
        code: u16,
        status: &'static str,
        reason: &'static str,
        message: impl Into<String>,
    ) -> Self {
        let message = message.into();
        Self {
            code,
            status,
            reason,
            message,
            location: None,
            detail: None,
            source: None,
        }
    }

    pub(crate) fn invalid(message: impl Into<String>) -> Self {
        Self::new(400, "INVALID_ARGUMENT", "invalid", message)
    }

    pub(crate) fn required(message: impl Into<String>) -> Self {
        Self::new(400, "INVALID_ARGUMENT", "required", message)
    }

    pub(crate) fn failed_precondition(message: impl Into<String>) -> Self {
        Self::new(400, "FAILED_PRECONDITION", "failedPrecondition", message)
    }

    pub(crate) fn unauthenticated(message: impl Into<String>) -> Self {
        let refusal = Self::new(401, "UNAUTHENTICATED", "authError", message);
        refusal.at("header", "Authorization")
    }

    pub(crate) fn login_required(message: impl Into<String>) -> Self {
        let refusal = Self::new(401, "UNAUTHENTICATED", "required", message);
        refusal.at("header", "Authorization")
    }

    pub(crate) fn forbidden(message: impl Into<String>) -> Self {
        Self::new(403, "PERMISSION_DENIED", "forbidden", message)
    }

    pub(crate) fn not_found(message: impl Into<String>) -> Self {
        Self::new(404, "NOT_FOUND", "notFound", message)
    }

    pub(crate) fn method_not_allowed() -> Self {
        Self::new(
            405,
            "UNIMPLEMENTED",
            "httpMethodNotAllowed",
            "Method not allowed.",
        )
    }

    pub(crate) fn conflict(message: impl Into<String>) -> Self {
        Self::new(409, "ALREADY_EXISTS", "conflict", message)
    }

    pub(crate) fn aborted(message: impl Into<String>) -> Self {
        Self::new(409, "ABORTED", "conflict", message)
    }

    pub(crate) fn gone(message: impl Into<String>) -> Self {
        Self::new(410, "NOT_FOUND", "gone", message)
    }

    pub(crate) fn condition_not_met(location: &'static str) -> Self {
        let message = "At least one of the pre-conditions you specified did not hold.";
        Self::new(412, "FAILED_PRECONDITION", "conditionNotMet", message).at("header", location)
    }

    pub(crate) fn too_large(message: impl Into<String>) -> Self {
        Self::new(413, "INVALID_ARGUMENT", "uploadTooLarge", message)
    }

    pub(crate) fn range_not_satisfiable() -> Self {
        let refusal = Self::new(
            416,
            "OUT_OF_RANGE",
            "requestedRangeNotSatisfiable",
            "Request range not satisfiable",
        );
        refusal.at("header", "Range")
    }

    pub(crate) fn cancelled() -> Self {
        Self::new(499, "CANCELLED", "cancelled", "Client Closed Request")
    }

    pub(crate) fn not_modified() -> Self {
        Self::new(304, "OK", "notModified", "")
    }

    pub(crate) fn unimplemented(message: impl Into<String>) -> Self {
        Self::new(501, "UNIMPLEMENTED", "notImplemented", message)
    }

    pub(crate) fn unavailable(message: impl Into<String>) -> Self {
        Self::new(503, "UNAVAILABLE", "backendError", message)
    }

    pub(crate) fn internal(source: io::Error) -> Self {
        let mut refusal = Self::new(500, "INTERNAL", "internalError", internal_error(&source));
        refusal.source = Some(source);
        refusal
    }

    pub(crate) fn at(mut self, kind: &'static str, name: &'static str) -> Self {
        self.location = Some((kind, name));
        self
    }

    pub(crate) fn with_detail(mut self, detail: Value) -> Self {
        self.detail = Some(Box::new(detail));
        self
    }

    pub(crate) fn source(&self) -> Option<&io::Error> {
        self.source.as_ref()
    }

    /// The body in Cloud Run's shape.
    pub(crate) fn as_status(&self) -> Value {
        let mut error = json!({"code": self.code, "message": self.message, "status": self.status});
        if let Some(detail) = &self.detail {
            error["details"] = json!([detail]);
        }
        json!({ "error": error })
    }

    /// The body in the storage API's older shape.
    pub(crate) fn as_errors(&self) -> Value {
        let mut entry = json!({"message": self.message, "domain": "global", "reason": self.reason});
        if let Some((kind, name)) = self.location {
            entry["locationType"] = kind.into();
            entry["location"] = name.into();
        }
        json!({"error": {"code": self.code, "message": self.message, "errors": [entry]}})
    }

    /// The body in the shape of storage's XML API.
    pub(crate) fn as_xml(&self) -> String {
        let message = crate::storage::xml::escape(&self.message);
        let code = match self.code {
            400 => "InvalidArgument",
            401 => "AuthenticationRequired",
            403 => "AccessDenied",
            404 => "NoSuchKey",
            412 => "PreconditionFailed",
            _ => "InternalError",
        };
        format!(
            "<?xml version='1.0' encoding='UTF-8'?><Error><Code>{code}</Code><Message>{message}</Message></Error>"
        )
    }
}

/// Google's words. What only happens to a server on this machine, and its user can mend, is said too.
fn internal_error(source: &io::Error) -> &'static str {
    match source.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
            "Internal error encountered: No space left on device."
        }
        io::ErrorKind::ReadOnlyFilesystem => "Internal error encountered: Read-only file system.",
        _ => "Internal error encountered.",
    }
}

impl From<io::Error> for Refusal {
    fn from(source: io::Error) -> Self {
        Self::internal(source)
    }
}
