//! Where Google credentials are looked for, and who pays for what they do.

use std::path::PathBuf;

use serde::Deserialize;

use super::Environment;

/// Where Google credentials are looked for, in Google's own order.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Credentials {
    /// `GOOGLE_APPLICATION_CREDENTIALS`: a file that must be usable.
    pub named: Option<PathBuf>,
    /// Where `gcloud auth application-default login` leaves its file.
    pub default: Option<PathBuf>,
    /// `GCE_METADATA_HOST`, `host:port`.
    pub metadata_host: Option<String>,
    /// `NO_GCE_CHECK=true`: there is no metadata server.
    pub no_metadata: bool,
    /// `gcloud`, if it is on the `PATH`.
    pub gcloud: Option<PathBuf>,
    /// `GOOGLE_IMPERSONATE_SERVICE_ACCOUNT`: the account to act as.
    pub impersonate: Option<String>,
}

impl Credentials {
    /// What the environment says.
    pub fn of(env: &Environment) -> Self {
        let config = env.bytes("CLOUDSDK_CONFIG").map(PathBuf::from);
        let home = || Some(PathBuf::from(env.bytes("HOME")?).join(".config/gcloud"));
        let default = config
            .or_else(home)
            .map(|dir| dir.join("application_default_credentials.json"));
        let path = env.bytes("PATH").cloned().unwrap_or_default();
        let gcloud = std::env::split_paths(&path)
            .map(|dir| dir.join("gcloud"))
            .find(|file| file.is_absolute() && file.is_file());
        Self {
            named: env
                .bytes("GOOGLE_APPLICATION_CREDENTIALS")
                .map(PathBuf::from),
            default,
            metadata_host: env.text("GCE_METADATA_HOST"),
            no_metadata: env
                .text("NO_GCE_CHECK")
                .is_some_and(|text| text.eq_ignore_ascii_case("true")),
            gcloud,
            impersonate: env.text("GOOGLE_IMPERSONATE_SERVICE_ACCOUNT"),
        }
    }

    /// The file that counts, if there is one.
    pub fn file(&self) -> Option<&PathBuf> {
        self.named
            .as_ref()
            .or_else(|| self.default.as_ref().filter(|file| file.exists()))
    }
}

/// Who pays: `GOOGLE_CLOUD_QUOTA_PROJECT`, or what `gcloud auth application-default set-quota-project` has written into
/// the credentials' file.
pub(super) fn quota_project(env: &Environment) -> Option<String> {
    #[derive(Deserialize)]
    struct File {
        quota_project_id: Option<String>,
    }
    let of_file = || {
        let credentials = Credentials::of(env);
        // What comes through a pipe can be read once, and is more than this.
        let file = credentials.file().filter(|file| file.is_file())?;
        let json = fs_err::read(file).ok()?;
        serde_json::from_slice::<File>(&json).ok()?.quota_project_id
    };
    env.text("GOOGLE_CLOUD_QUOTA_PROJECT").or_else(of_file)
}
