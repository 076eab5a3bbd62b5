//! The environment as it was when sortie started.

use std::collections::BTreeMap;
use std::ffi::OsString;

/// The environment as it was when sortie started.
#[derive(Clone, Default)]
pub struct Environment(pub(super) BTreeMap<OsString, OsString>);

impl std::fmt::Debug for Environment {
    /// Names alone: values may be secrets.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_set().entries(self.0.keys()).finish()
    }
}

impl Environment {
    /// This process's.
    pub fn of_process() -> Self {
        Self(std::env::vars_os().collect())
    }

    /// With another variable, or another value of one.
    #[must_use]
    pub(crate) fn with(mut self, name: &str, value: impl Into<OsString>) -> Self {
        self.0.insert(name.into(), value.into());
        self
    }

    /// A value as it is; an empty one counts as none.
    pub fn bytes(&self, name: &str) -> Option<&OsString> {
        self.0
            .get(std::ffi::OsStr::new(name))
            .filter(|value| !value.is_empty())
    }

    /// A value, even an empty one.
    pub fn exact(&self, name: &str) -> Option<&OsString> {
        self.0.get(std::ffi::OsStr::new(name))
    }

    /// A value that is text.
    pub fn text(&self, name: &str) -> Option<String> {
        self.bytes(name)
            .map(|value| value.to_string_lossy().into_owned())
    }
}
