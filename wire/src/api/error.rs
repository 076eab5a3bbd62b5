use std::io;

/// What an error means, whatever its status.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorKind {
    /// 404.
    NotFound,
    /// 409, or a create that met an object.
    Exists,
    /// 412: another generation than the one named.
    Precondition,
    /// 401 after a fresh token, or no token to be had.
    Unauthenticated,
    /// 403.
    Forbidden,
    /// 400 and the other 4xx.
    Invalid,
    /// Bytes that do not match their checksum.
    Corrupt,
    /// 5xx, 429, 408, a broken connection: still so after all retries.
    Unavailable,
    /// Larger than the caller takes.
    TooLarge,
    /// An upload whose session the server has forgotten: begin anew.
    SessionLost,
    /// An answer that is no answer of this API.
    Protocol,
}

impl ErrorKind {
    fn as_io(self) -> io::ErrorKind {
        match self {
            Self::NotFound => io::ErrorKind::NotFound,
            Self::Exists => io::ErrorKind::AlreadyExists,
            Self::Unauthenticated | Self::Forbidden => io::ErrorKind::PermissionDenied,
            Self::Invalid => io::ErrorKind::InvalidInput,
            Self::Corrupt | Self::Protocol => io::ErrorKind::InvalidData,
            Self::TooLarge => io::ErrorKind::FileTooLarge,
            Self::Precondition | Self::Unavailable | Self::SessionLost => io::ErrorKind::Other,
        }
    }
}

/// A call that failed.
///
/// Goes through an [`io::Error`] and comes back with [`ApiError::from_io`].
#[derive(Debug, thiserror::Error)]
#[error("{action}")]
pub struct ApiError {
    /// A fragment that says what was tried: ``cannot read `inputs/…` ``.
    pub action: String,
    /// What it means.
    pub kind: ErrorKind,
    /// The HTTP status, if one came.
    pub status: Option<u16>,
    /// Google's `reason` or `status` word, if one came.
    pub reason: Option<String>,
    /// How many tries it took.
    pub tries: u32,
    /// What to type next.
    pub hint: Option<String>,
    /// The cause, such as the server's message.
    #[source]
    pub source: Option<Box<dyn std::error::Error + Send + Sync>>,
}

impl ApiError {
    /// An error that no server's answer stands behind.
    pub fn new(action: &str, kind: ErrorKind) -> Self {
        Self {
            action: action.to_owned(),
            kind,
            status: None,
            reason: None,
            tries: 1,
            hint: None,
            source: None,
        }
    }

    /// With its cause.
    #[must_use]
    pub fn with_source(
        mut self,
        source: impl Into<Box<dyn std::error::Error + Send + Sync>>,
    ) -> Self {
        self.source = Some(source.into());
        self
    }

    /// Takes it out of the [`io::Error`] that carried it; another error comes back as it was.
    pub fn from_io(error: io::Error) -> Result<Self, io::Error> {
        error.downcast()
    }
}

impl From<ApiError> for io::Error {
    fn from(error: ApiError) -> Self {
        Self::new(error.kind.as_io(), error)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_survives_an_io_error() {
        let error = ApiError::new("cannot read `x`", ErrorKind::NotFound).with_source("gone");
        let carried = io::Error::from(error);
        assert_eq!(carried.kind(), io::ErrorKind::NotFound);
        let back = ApiError::from_io(carried).unwrap();
        assert_eq!(
            (back.kind, back.action.as_str()),
            (ErrorKind::NotFound, "cannot read `x`")
        );
        assert_eq!(back.source.unwrap().to_string(), "gone");
        assert!(ApiError::from_io(io::Error::other("another")).is_err());
    }
}
