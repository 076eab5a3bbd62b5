//! Which call a request is.

use super::message::Request;

/// Whose calls.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Side {
    /// sortie's own.
    Host,
    /// The entrypoint's.
    Task,
    /// The entrypoint's, to the metadata server.
    Metadata,
}

/// A method of Google's APIs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Insert,
    ResumableStart,
    Chunk,
    LastChunk,
    Query,
    Abandon,
    Get,
    Media,
    List,
    Patch,
    Delete,
    JobsGet,
    JobsList,
    JobsCreate,
    JobsDelete,
    JobsRun,
    ExecutionsGet,
    ExecutionsList,
    ExecutionsCancel,
    ExecutionsDelete,
    TasksList,
    Token,
    Other,
}

/// A request that has come.
#[derive(Debug, Clone)]
pub(super) struct Seen {
    pub(super) side: Side,
    kind: Kind,
    subject: String,
    /// As a person reads it.
    pub(super) line: String,
}

impl Seen {
    pub(super) fn new(side: Side, request: &Request) -> Self {
        Self {
            side,
            kind: kind(request),
            subject: request.subject(),
            line: format!("{side:?} {}", request.line()),
        }
    }
}

/// A method, and what it is about: words of the target or of what the body begins with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Call {
    pub(crate) side: Side,
    pub(crate) kind: Kind,
    pub(crate) about: &'static str,
}

impl Call {
    pub(super) fn is(&self, request: &Seen) -> bool {
        let Seen { side, kind, .. } = request;
        *side == self.side && *kind == self.kind && request.subject.contains(self.about)
    }
}

impl Kind {
    /// Whether its request brings bytes.
    pub(crate) fn has_body(self) -> bool {
        !matches!(
            self,
            Self::Query
                | Self::Get
                | Self::Media
                | Self::List
                | Self::Delete
                | Self::JobsGet
                | Self::JobsList
                | Self::JobsDelete
                | Self::ExecutionsGet
                | Self::ExecutionsList
                | Self::ExecutionsDelete
                | Self::TasksList
                | Self::Token
        )
    }

    /// Whether its request brings an object's bytes.
    pub(crate) fn has_media(self) -> bool {
        matches!(self, Self::Insert | Self::Chunk | Self::LastChunk)
    }
}

fn kind(request: &Request) -> Kind {
    let path = request.path();
    if path.contains("/computeMetadata/") {
        return Kind::Token;
    }
    if path.contains("/upload/") {
        return upload(request);
    }
    if path.contains("/storage/") {
        return object(request, path);
    }
    if path.starts_with("/v2/") {
        return cloud_run(&request.method, path);
    }
    Kind::Other
}

fn upload(request: &Request) -> Kind {
    let range = request.header("content-range").unwrap_or_default();
    match request.method.as_str() {
        "POST" if request.target.contains("uploadType=resumable") => Kind::ResumableStart,
        "POST" => Kind::Insert,
        "PUT" if range == "bytes */*" => Kind::Query,
        "PUT" if range.ends_with("/*") => Kind::Chunk,
        "PUT" => Kind::LastChunk,
        "DELETE" => Kind::Abandon,
        _ => Kind::Other,
    }
}

fn object(request: &Request, path: &str) -> Kind {
    let named = path.contains("/o/");
    match request.method.as_str() {
        "GET" if request.target.contains("alt=media") => Kind::Media,
        "GET" if named => Kind::Get,
        "GET" if path.ends_with("/o") => Kind::List,
        "PATCH" if named => Kind::Patch,
        "DELETE" if named => Kind::Delete,
        _ => Kind::Other,
    }
}

fn cloud_run(method: &str, path: &str) -> Kind {
    let parts: Vec<&str> = path.trim_start_matches("/v2/").split('/').skip(4).collect();
    match (method, &parts[..]) {
        ("GET", ["jobs"]) => Kind::JobsList,
        ("POST", ["jobs"]) => Kind::JobsCreate,
        ("GET", ["jobs", _]) => Kind::JobsGet,
        ("DELETE", ["jobs", _]) => Kind::JobsDelete,
        ("POST", ["jobs", job]) if job.ends_with(":run") => Kind::JobsRun,
        ("GET", ["jobs", _, "executions"]) => Kind::ExecutionsList,
        ("GET", ["jobs", _, "executions", _]) => Kind::ExecutionsGet,
        ("DELETE", ["jobs", _, "executions", _]) => Kind::ExecutionsDelete,
        ("POST", ["jobs", _, "executions", execution]) if execution.ends_with(":cancel") => {
            Kind::ExecutionsCancel
        }
        ("GET", ["jobs", _, "executions", _, "tasks"]) => Kind::TasksList,
        _ => Kind::Other,
    }
}
