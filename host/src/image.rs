//! `sortie image add`: the entrypoint into somebody's image, and that into the team's repository.

use std::path::PathBuf;

use registry::{Added, Digest, Options, Progress, Reference};

use crate::error::Error;

/// What was asked for.
pub(crate) struct Wanted {
    /// The image to begin with.
    pub(crate) base: String,
    /// Where the new one goes.
    pub(crate) target: Option<String>,
    /// An image of the team's: where it is, the new one goes, if nothing else is said.
    pub(crate) beside: Option<String>,
    /// The static binary.
    pub(crate) entrypoint: PathBuf,
}

pub(crate) async fn add(
    wanted: &Wanted,
    options: &Options,
    tell: &mut (dyn FnMut(Progress) + Send),
) -> Result<Added, Error> {
    let cannot = |error| Error::image(format!("cannot add to `{}`", wanted.base), error);
    let base: Reference = wanted.base.parse().map_err(cannot)?;
    let base = registry::resolve(&base, options).await.map_err(cannot)?;
    let target = target(wanted, &base)?;
    let added = registry::add(&base, &target, &wanted.entrypoint, options, tell).await;
    added.map_err(cannot)
}

fn target(wanted: &Wanted, base: &Reference) -> Result<Reference, Error> {
    let text = match (&wanted.target, &wanted.beside) {
        (Some(target), _) => target.clone(),
        (None, Some(image)) => beside(image, base, &wanted.entrypoint)?,
        (None, None) => {
            return Err(
                Error::usage("nothing says where the team's images are").with_hint(
                    "name the new image too: `sortie image add BASE HOST/REPOSITORY/NAME:TAG`",
                ),
            );
        }
    };
    text.parse()
        .map_err(|error| Error::image("cannot tell where the image goes", error))
}

/// The kit's tags are never moved, so this one tells what the image is made of: the same again has the same.
fn beside(image: &str, base: &Reference, entrypoint: &std::path::Path) -> Result<String, Error> {
    let image: Reference = image
        .parse()
        .map_err(|error| Error::image("cannot tell where the team's images are", error))?;
    let binary = fs_err::read(entrypoint)
        .map_err(|error| Error::local("cannot read the entrypoint", error))?;
    let parts = format!("{base} {}", Digest::of(&binary));
    let digest = Digest::of(parts.as_bytes());
    let tag = digest.as_str().trim_start_matches("sha256:");
    let tag = tag.get(..12).unwrap_or(tag);
    let repository = image.repository();
    let team = repository.rsplit_once('/').map_or("", |(team, _)| team);
    let name = base.repository().rsplit('/').next().unwrap_or_default();
    let slash = if team.is_empty() { "" } else { "/" };
    Ok(format!("{}/{team}{slash}{name}:{tag}", image.host()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_goes_beside_the_teams_image_by_the_bases_name() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("entrypoint");
        std::fs::write(&file, "x").unwrap();
        let base: Reference = format!("registry.test/library/python@sha256:{}", "0".repeat(64))
            .parse()
            .unwrap();
        let image = format!(
            "europe-west1-docker.pkg.dev/p/crew/base@sha256:{}",
            "1".repeat(64)
        );
        let first = beside(&image, &base, &file).unwrap();
        assert!(
            first.starts_with("europe-west1-docker.pkg.dev/p/crew/python:"),
            "{first}"
        );
        assert_eq!(beside(&image, &base, &file).unwrap(), first);
        std::fs::write(&file, "y").unwrap();
        assert_ne!(beside(&image, &base, &file).unwrap(), first);
    }
}
