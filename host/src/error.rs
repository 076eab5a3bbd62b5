//! Why sortie could not do what was asked.

use std::path::PathBuf;

use wire::api::{ApiError, ErrorKind};
use wire::contract::ContractError;

use crate::exit_code;

/// Why sortie could not do what was asked. Each says one thing; its sources say the rest.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// What the user typed cannot be.
    #[error("{what}")]
    Usage {
        /// A fragment.
        what: String,
        /// What to type instead.
        hint: Option<String>,
    },
    /// A spec that no kernel would take.
    #[error("the task cannot be sent")]
    Spec(#[source] ContractError),
    /// A settings or task file that cannot be used.
    #[error("cannot use `{path}`")]
    File {
        /// Which file.
        path: PathBuf,
        /// Why.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// An input that cannot be packed.
    #[error("cannot pack the input `{name}`")]
    Pack {
        /// Which input.
        name: String,
        /// Why.
        #[source]
        source: archive::Error,
    },
    /// The bucket or Cloud Run said no.
    #[error("{doing}")]
    Api {
        /// A fragment: what sortie was doing.
        doing: String,
        /// Why.
        #[source]
        source: Box<ApiError>,
    },
    /// Something local that must work did not.
    #[error("{doing}")]
    Local {
        /// A fragment: `cannot write …`.
        doing: String,
        /// Why.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
        /// What to type next.
        hint: Option<String>,
    },
    /// A run that is started, and whose results can still be had.
    #[error("{source}")]
    Resumable {
        /// The run.
        run: wire::names::RunId,
        /// What came between.
        source: Box<Error>,
    },
    /// `:run` was asked, its answer was lost, and it cannot be seen what came of it.
    #[error("{source}")]
    Unclear {
        /// Why it cannot be seen.
        source: Box<Error>,
    },
    /// The user asked to stop before there was anything to cancel.
    #[error("interrupted before anything was started")]
    Interrupted,
    /// The user asked to leave while the run goes on.
    #[error("left before run `{run}` was over")]
    Left {
        /// The run.
        run: wire::names::RunId,
    },
}

impl Error {
    /// What the user typed cannot be; no more to say.
    pub fn usage(what: impl Into<String>) -> Self {
        Self::Usage {
            what: what.into(),
            hint: None,
        }
    }

    /// Something local failed.
    pub fn local(
        doing: impl Into<String>,
        source: impl Into<Box<dyn std::error::Error + Send + Sync>>,
    ) -> Self {
        Self::Local {
            doing: doing.into(),
            source: source.into(),
            hint: None,
        }
    }

    /// A call to Google, or to the emulator, failed.
    pub fn api(doing: impl Into<String>) -> impl FnOnce(ApiError) -> Self {
        let doing = doing.into();
        move |source| Self::Api {
            doing,
            source: Box::new(source),
        }
    }

    /// An image that cannot be read or made.
    pub(crate) fn image(doing: impl Into<String>, source: registry::RegistryError) -> Self {
        let hint = source.hint().map(str::to_owned);
        Self::Local {
            doing: doing.into(),
            source: source.into(),
            hint,
        }
    }

    /// Adds what to type next, where there is nothing better yet.
    #[must_use]
    pub fn with_hint(mut self, text: impl Into<String>) -> Self {
        if let Self::Usage { hint, .. } | Self::Local { hint, .. } = &mut self {
            hint.get_or_insert_with(|| text.into());
        }
        self
    }

    /// What to type next.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Usage { hint, .. } | Self::Local { hint, .. } => hint.clone(),
            Self::Api { source, .. } => source.hint.clone().or_else(|| api_hint(source)),
            Self::Unclear { source } => source.hint(),
            Self::Resumable { run, source } => Some(resume_hint(*run, source)),
            Self::Left { run } => Some(format!("`sortie wait {run}` brings its results home")),
            Self::Pack { source, .. } => pack_hint(source),
            Self::Interrupted => None,
            Self::Spec(_) | Self::File { .. } => {
                Some("nothing was sent: change that and type it again".to_owned())
            }
        }
    }

    /// The run it is about, if that is started.
    pub fn run(&self) -> Option<wire::names::RunId> {
        match self {
            Self::Left { run } | Self::Resumable { run, .. } => Some(*run),
            _ => None,
        }
    }

    /// Whether what was asked may have been done all the same.
    pub(crate) fn leaves_it_open(&self) -> bool {
        match self {
            Self::Api { source, .. } => {
                matches!(source.kind, ErrorKind::Unavailable | ErrorKind::Protocol)
            }
            Self::Unclear { .. } => true,
            _ => false,
        }
    }

    /// What the process exits with.
    pub fn exit_code(&self) -> i32 {
        match self {
            Self::Left { .. } | Self::Interrupted => exit_code::INTERRUPTED,
            _ => exit_code::FAILURE,
        }
    }

    /// Adds the way back to a run that is started.
    pub(crate) fn in_run(run: wire::names::RunId) -> impl FnOnce(Self) -> Self {
        move |error| match error {
            Self::Left { .. } | Self::Resumable { .. } => error,
            source => Self::Resumable {
                run,
                source: Box::new(source),
            },
        }
    }
}

fn resume_hint(run: wire::names::RunId, source: &Error) -> String {
    let back = format!("`sortie wait {run}` brings the results home when that is mended");
    match source.hint() {
        Some(hint) => format!("{hint}; {back}"),
        None => back,
    }
}

fn api_hint(error: &ApiError) -> Option<String> {
    let text = match error.kind {
        ErrorKind::Unauthenticated => {
            "`gcloud auth application-default login` makes new credentials"
        }
        ErrorKind::Forbidden if crate::roles::hint(error).is_some() => {
            return crate::roles::hint(error);
        }
        ErrorKind::Forbidden => {
            "ask who ran `terraform apply` to add you to the team's members, or apply it again"
        }
        ErrorKind::Unavailable => "the run is safe; try again when the network is back",
        _ => return None,
    };
    Some(text.to_owned())
}

fn pack_hint(error: &archive::Error) -> Option<String> {
    match error {
        archive::Error::Read { path, .. } => Some(format!(
            "make `{}` readable, or leave it out with a line in `.sortieignore`",
            path.display()
        )),
        _ => None,
    }
}

/// The error with its causes, each a fragment, for one line.
pub fn chain(error: &(dyn std::error::Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let fragment = error.to_string();
        // A library that prints its source and returns it too would say everything twice.
        if !text.ends_with(&fragment) {
            text.push_str(": ");
            text.push_str(&fragment);
        }
        cause = error.source();
    }
    text
}
