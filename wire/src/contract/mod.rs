//! The documents that host and entrypoint exchange, version 2.
//!
//! | document | object | written by | read by |
//! |---|---|---|---|
//! | [`RunRecord`] | `runs/<run>/run.json` | host, once | hosts that come back |
//! | [`RunPlan`] | `runs/<run>/plan.json` | host, once, where no single start tells of all tasks | hosts that come back |
//! | [`Start`] | `runs/<run>/starts/<s>.json` | host, before each `:run` call | entrypoint |
//! | [`Spec`] | inside its start, or `runs/<run>/specs/<k>.json` | host | entrypoint |
//! | [`Claim`] | `runs/<run>/claims/<task>.<attempt>` | entrypoint, first | host |
//! | [`Report`] | `runs/<run>/reports/<task>.<attempt>.<key>.json` | entrypoint, once, last | host |
//!
//! All are JSON. Every document begins with its `version`; a reader refuses one it does not know,
//! and says which program to update ([`ContractError::Version`]). Within a version, fields may be
//! added that a reader may ignore; what it must not ignore (a step to be run, a file to be there)
//! makes a new version. Version 2 brought steps, prepared files and collected directories.

mod byte_string;
mod report;
mod spec;
mod start;
mod steps;

pub use byte_string::ByteString;
pub use report::{
    Archive, CLAIM_KEY, Captured, Claim, Collected, CommandEnd, Outcome, Outputs, Phases, Problem,
    Reason, Report, Skipped,
};
pub use spec::{Command, Input, InputKind, Pack, Spec, check_input_name};
pub use start::{Driving, RunPlan, RunRecord, SpecSource, Start, TaskRange, TaskSpan};
pub use steps::{
    Collect, PreparedFile, STEP_GRACE_MS, Stage, Step, StepReport, check_collect_name,
};

use serde::Deserialize;
use serde::de::DeserializeOwned;

/// The version of the contract this build speaks.
pub const VERSION: u32 = 2;

/// The environment variable that names the start: the only thing passed through Cloud Run.
pub const SORTIE_RUN: &str = "SORTIE_RUN";

/// Bytes that one argument or one `NAME=value` may have, its final NUL included (Linux's MAX_ARG_STRLEN).
pub const ARGUMENT_LIMIT: usize = 128 * 1024;

/// Both streams and the outputs' archive ride inside the report if they fit in so many bytes together.
pub const INLINE_LIMIT: usize = 256 * 1024;

/// A spec whose JSON is larger stands in an object of its own.
pub const INLINE_SPEC_LIMIT: usize = 256 * 1024;

/// A document of the contract that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ContractError {
    /// Written by a program that speaks another version.
    #[error(
        "the {document} speaks version {found} of the run contract, this program version {VERSION}: update the older of host and image"
    )]
    Version {
        /// Which document.
        document: &'static str,
        /// The version it names.
        found: u32,
    },
    /// Not JSON, or not of this shape.
    #[error("cannot read the {document}")]
    Malformed {
        /// Which document.
        document: &'static str,
        /// What serde says.
        #[source]
        source: serde_json::Error,
    },
    /// A value that no kernel would take.
    #[error("{what}")]
    Invalid {
        /// What, and why.
        what: String,
    },
}

/// A document with a name for messages.
pub trait Document: DeserializeOwned {
    /// What a message calls it.
    const NAME: &'static str;

    /// Reads it from JSON.
    ///
    /// The version is looked at first, so that a newer document is refused by its version and not
    /// by a field it has gained.
    fn from_json(json: &[u8]) -> Result<Self, ContractError> {
        #[derive(Deserialize)]
        struct Versioned {
            version: u32,
        }
        let malformed = |source| ContractError::Malformed {
            document: Self::NAME,
            source,
        };
        let found = serde_json::from_slice::<Versioned>(json)
            .map_err(malformed)?
            .version;
        if found != VERSION {
            return Err(ContractError::Version {
                document: Self::NAME,
                found,
            });
        }
        serde_json::from_slice(json).map_err(malformed)
    }
}

impl Document for RunRecord {
    const NAME: &'static str = "run record";
}

impl Document for RunPlan {
    const NAME: &'static str = "plan";
}

impl Document for Start {
    const NAME: &'static str = "start";
}

impl Document for Spec {
    const NAME: &'static str = "spec";
}

impl Document for Claim {
    const NAME: &'static str = "claim";
}

impl Document for Report {
    const NAME: &'static str = "report";
}
