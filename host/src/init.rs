//! `sortie init gs://BUCKET`: the kit's settings, from the copy in its bucket into a file of this directory.

use std::collections::BTreeMap;
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use wire::api::ErrorKind;
use wire::names::SETTINGS;

use crate::error::Error;
use crate::session;
use crate::settings::{Cloud, FILE, TeamEnvironment};

/// The one format there is.
const FORMAT: u64 = 1;

/// Settings have some kilobytes.
const LIMIT: u64 = 1 << 20;

/// The copy in the bucket, which terraform/settings.tf writes; and, but for its format, the file.
#[derive(Debug, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct Kept {
    #[serde(default, skip_serializing)]
    format: Option<u64>,
    project: String,
    region: String,
    bucket: String,
    environments: BTreeMap<String, TeamEnvironment>,
}

/// What was made.
pub(crate) struct Made {
    /// The file.
    pub(crate) path: PathBuf,
    /// Whether it was there already, and the same.
    pub(crate) was_there: bool,
    /// Whose settings they are.
    pub(crate) project: String,
    /// The team's environments.
    pub(crate) environments: Vec<String>,
}

/// Writes `sortie.toml` into a directory; one that says something else is kept unless `force` is given.
pub(crate) async fn init(cloud: &Cloud, directory: &Path, force: bool) -> Result<Made, Error> {
    let path = directory.join(FILE);
    let settings = fetch(cloud).await?;
    let text = text(&settings)?;
    let before = fs_err::read(&path).ok();
    let was_there = before.as_deref() == Some(text.as_bytes());
    if !was_there {
        write(&path, &text, force)?;
    }
    Ok(Made {
        path,
        was_there,
        project: settings.project,
        environments: settings.environments.into_keys().collect(),
    })
}

async fn fetch(cloud: &Cloud) -> Result<Kept, Error> {
    let bucket = session::bucket(cloud)?;
    let name = &cloud.bucket;
    let read = bucket.read(SETTINGS, LIMIT).await;
    let (_, json) = read.map_err(|mut error| {
        if error.kind == ErrorKind::NotFound {
            error.hint = Some(
                "the kit's `terraform apply` writes it there: is that the bucket's name?"
                    .to_owned(),
            );
        }
        Error::api(format!("cannot get the settings of `gs://{name}`"))(error)
    })?;
    parse(&json, name).map_err(|why| {
        Error::local(format!("cannot use `gs://{name}/{SETTINGS}`"), why)
            .with_hint("a newer sortie may know it; or `terraform apply` it again")
    })
}

/// Settings of another bucket would send inputs where nobody has said they should go.
fn parse(json: &[u8], bucket: &str) -> Result<Kept, String> {
    #[derive(Deserialize)]
    struct Format {
        format: u64,
    }
    let format: Format = serde_json::from_slice(json).map_err(|error| error.to_string())?;
    if format.format != FORMAT {
        return Err(format!("its format is {}, not {FORMAT}", format.format));
    }
    let mut settings: Kept = serde_json::from_slice(json).map_err(|error| error.to_string())?;
    settings.format = None;
    if settings.bucket != bucket {
        return Err(format!("it is about another bucket, `{}`", settings.bucket));
    }
    Ok(settings)
}

fn text(settings: &Kept) -> Result<String, Error> {
    let toml = toml::to_string(settings)
        .map_err(|error| Error::local(format!("cannot write `{FILE}`"), error))?;
    let bucket = &settings.bucket;
    Ok(format!(
        "# Made by `sortie init gs://{bucket}`. Meant to be committed; it holds no secrets.\n{toml}"
    ))
}

/// Beside, synced, renamed.
fn write(path: &Path, text: &str, force: bool) -> Result<(), Error> {
    let cannot = |error: std::io::Error| {
        let what = format!("cannot write `{}`", path.display());
        if error.kind() == std::io::ErrorKind::AlreadyExists {
            return Error::usage(format!(
                "`{}` is there, and says something else",
                path.display()
            ))
            .with_hint("`--force` replaces it");
        }
        Error::local(what, error)
    };
    let directory = path.parent().unwrap_or(Path::new("."));
    let mut beside = tempfile::Builder::new()
        .prefix(".sortie.toml.")
        .permissions(std::fs::Permissions::from_mode(0o666))
        .tempfile_in(directory)
        .map_err(cannot)?;
    let written = beside.write_all(text.as_bytes());
    written
        .and_then(|()| beside.as_file().sync_all())
        .map_err(cannot)?;
    let kept = if force {
        beside.persist(path)
    } else {
        beside.persist_noclobber(path)
    };
    kept.map_err(|error| cannot(error.error))?;
    let directory = fs_err::File::open(directory).map_err(cannot)?;
    directory.sync_all().map_err(cannot)
}

#[cfg(test)]
mod tests {
    use super::*;

    const COPY: &str = r#"{
        "format": 1, "project": "p", "region": "europe-west1", "bucket": "b",
        "environments": { "gpu-1": { "job": "crew-gpu", "image": "i@sha256:00", "cpu": "4", "memory": "16Gi",
            "timeout_seconds": 60, "gpu": "nvidia-l4", "secrets": ["KEY"] } }
    }"#;

    #[test]
    fn the_file_says_what_the_copy_says() {
        let settings = parse(COPY.as_bytes(), "b").unwrap();
        let text = text(&settings).unwrap();
        let back: Kept = crate::settings::parse_toml(&text).unwrap();
        assert_eq!(back, settings);
        assert!(
            text.contains("[environments.gpu-1]\njob = \"crew-gpu\""),
            "{text}"
        );
    }

    #[test]
    fn what_is_not_known_is_refused() {
        let refused = |json: String| parse(json.as_bytes(), "b").unwrap_err();
        assert_eq!(
            refused(COPY.replace("\"format\": 1", "\"format\": 2, \"new\": 1")),
            "its format is 2, not 1"
        );
        assert!(refused(COPY.replace("\"b\"", "\"c\"")).contains("another bucket, `c`"));
        for json in [
            COPY.replace("\"region\"", "\"run_endpoint\": \"http://x\", \"region\""),
            COPY.replace("\"cpu\"", "\"endpoint\": \"http://x\", \"cpu\""),
            "[]".to_owned(),
        ] {
            refused(json);
        }
    }

    #[test]
    fn another_file_is_kept_unless_told_otherwise() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(FILE);
        write(&path, "a", false).unwrap();
        let error = write(&path, "b", false).unwrap_err();
        assert_eq!(error.hint().unwrap(), "`--force` replaces it");
        assert_eq!(std::fs::read(&path).unwrap(), b"a");
        write(&path, "b", true).unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), b"b");
        assert_eq!(
            std::fs::read_dir(dir.path()).unwrap().count(),
            1,
            "nothing beside it"
        );
    }
}
