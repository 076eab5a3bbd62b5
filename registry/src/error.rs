use std::io;
use std::path::PathBuf;

use wire::api::{ApiError, ErrorKind};

/// A message of a server's is worth no more on a terminal.
const PRINTABLE_LIMIT: usize = 300;

/// Why an image was not made.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RegistryError {
    /// An image's name that is none.
    #[error("`{given}` is no image reference: {reason}")]
    Reference {
        /// What was given.
        given: String,
        /// What is wrong with it, a fragment.
        reason: &'static str,
        /// What to type instead.
        hint: String,
    },
    /// A digest that is none, or of an algorithm other than SHA-256.
    #[error("`{given}` is no SHA-256 digest")]
    NoDigest {
        /// What was given.
        given: String,
    },
    /// The entrypoint's file cannot be read.
    #[error("cannot read the entrypoint")]
    Entrypoint(#[source] io::Error),
    /// The entrypoint's file would not run in an image.
    #[error("`{}` cannot be an entrypoint: {reason}", path.display())]
    NotStatic {
        /// The file.
        path: PathBuf,
        /// Why not, a fragment.
        reason: String,
    },
    /// An image for other machines only.
    #[error("`{image}` has no image for linux/amd64, only for {}", list(available))]
    Platform {
        /// The base.
        image: String,
        /// What it is there for, such as `linux/arm64`.
        available: Vec<String>,
    },
    /// An image of a kind that nothing can be added to.
    #[error("nothing can be added to `{image}`: {reason}")]
    Unsupported {
        /// The base.
        image: String,
        /// Why not, a fragment.
        reason: String,
    },
    /// Bytes that are not the ones that were asked for.
    #[error("{what} is not what it should be: digest `{actual}` instead of `{expected}`")]
    Digest {
        /// A fragment.
        what: String,
        /// As announced.
        expected: String,
        /// As received, or as the server understood it.
        actual: String,
    },
    /// A blob that ends early or late.
    #[error("{what} has {actual} bytes instead of {expected}")]
    Size {
        /// A fragment.
        what: String,
        /// As announced.
        expected: u64,
        /// As received; more may follow.
        actual: u64,
    },
    /// A registry that points where nothing of ours may go.
    #[error("`{host}` sends us to `{to}`, {reason}")]
    Astray {
        /// The registry.
        host: String,
        /// The address; its query is left out.
        to: String,
        /// Why we do not follow, a fragment.
        reason: &'static str,
    },
    /// A call that failed.
    #[error(transparent)]
    Call(Box<ApiError>),
}

impl RegistryError {
    /// What it means.
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::Reference { .. }
            | Self::NoDigest { .. }
            | Self::Entrypoint(_)
            | Self::NotStatic { .. }
            | Self::Platform { .. }
            | Self::Unsupported { .. } => ErrorKind::Invalid,
            Self::Digest { .. } | Self::Size { .. } => ErrorKind::Corrupt,
            Self::Astray { .. } => ErrorKind::Protocol,
            Self::Call(error) => error.kind,
        }
    }

    /// What to type next.
    pub fn hint(&self) -> Option<&str> {
        match self {
            Self::Reference { hint, .. } => Some(hint),
            Self::NotStatic { .. } => Some("`make entrypoint` builds the static file"),
            Self::Call(error) => error.hint.as_deref(),
            _ => None,
        }
    }
}

impl From<ApiError> for RegistryError {
    fn from(error: ApiError) -> Self {
        Self::Call(Box::new(error))
    }
}

fn list(names: &[String]) -> String {
    if names.is_empty() {
        return "nothing that has a name".to_owned();
    }
    let quoted: Vec<_> = names.iter().map(|name| format!("`{name}`")).collect();
    quoted.join(", ")
}

/// A stranger's words, fit for a terminal.
pub(crate) fn printable(text: &str) -> String {
    let clean = |c: char| if c.is_control() { '\u{fffd}' } else { c };
    let mut short: String = text.chars().take(PRINTABLE_LIMIT).map(clean).collect();
    if short.len() < text.len() && text.chars().count() > PRINTABLE_LIMIT {
        short.push('…');
    }
    short
}
