//! Conditions on an object's generation and metageneration.

use crate::call::Call;
use crate::refusal::{Outcome, Refusal};

use serde::{Deserialize, Serialize};

/// The conditions of one request.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Conditions {
    generation: Option<i64>,
    generation_not: Option<i64>,
    metageneration: Option<i64>,
    metageneration_not: Option<i64>,
}

/// What a condition is held against.
#[derive(Clone, Copy)]
pub(crate) struct Version {
    pub(crate) generation: i64,
    pub(crate) metageneration: i64,
}

impl Conditions {
    pub(crate) fn of(call: &Call) -> Outcome<Self> {
        Ok(Self {
            generation: call.query.number("ifGenerationMatch")?,
            generation_not: call.query.number("ifGenerationNotMatch")?,
            metageneration: call.query.number("ifMetagenerationMatch")?,
            metageneration_not: call.query.number("ifMetagenerationNotMatch")?,
        })
    }

    /// The conditions on a copy's source.
    pub(crate) fn of_source(call: &Call) -> Outcome<Self> {
        Ok(Self {
            generation: call.query.number("ifSourceGenerationMatch")?,
            generation_not: call.query.number("ifSourceGenerationNotMatch")?,
            metageneration: call.query.number("ifSourceMetagenerationMatch")?,
            metageneration_not: call.query.number("ifSourceMetagenerationNotMatch")?,
        })
    }

    pub(crate) fn on_generation(generation: Option<i64>) -> Self {
        Self {
            generation,
            ..Self::default()
        }
    }

    /// Whether a write may go on. An object that is not there has generation 0.
    pub(crate) fn check(&self, current: Option<Version>) -> Outcome<()> {
        let (matches, differs) = self.hold(current);
        if !matches {
            return Err(Refusal::condition_not_met("If-Match"));
        }
        if !differs {
            return Err(Refusal::condition_not_met("If-None-Match"));
        }
        Ok(())
    }

    /// As [`Conditions::check`], for reads: what has not changed is not sent again.
    pub(crate) fn check_read(&self, current: Version) -> Outcome<()> {
        let (matches, differs) = self.hold(Some(current));
        if !matches {
            return Err(Refusal::condition_not_met("If-Match"));
        }
        if !differs {
            return Err(Refusal::not_modified());
        }
        Ok(())
    }

    fn hold(&self, current: Option<Version>) -> (bool, bool) {
        let generation = current.map_or(0, |version| version.generation);
        let metageneration = current.map_or(0, |version| version.metageneration);
        let equals = |wanted: Option<i64>, actual| wanted.is_none_or(|wanted| wanted == actual);
        let differs =
            |unwanted: Option<i64>, actual| unwanted.is_none_or(|unwanted| unwanted != actual);
        (
            equals(self.generation, generation) && equals(self.metageneration, metageneration),
            differs(self.generation_not, generation)
                && differs(self.metageneration_not, metageneration),
        )
    }
}
