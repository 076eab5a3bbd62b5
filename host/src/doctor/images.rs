//! The images that the environments' jobs were made with. Cloud Run runs a copy of its own, so a run does not miss one;
//! whoever changes the job does, for then Cloud Run looks for it again.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use futures_util::future::join_all;
use registry::{Options, Reference};
use tokio::time::timeout;
use wire::api::RetryConfig;
use wire::token::TokenSource;

use super::Finding;
use super::finding::PATIENCE;
use super::jobs::Read;
use crate::error::chain;
use crate::session::Connection;

pub(super) async fn examine(
    connection: &Connection,
    retry: RetryConfig,
    jobs: &[Read],
) -> Vec<Finding> {
    let named: Vec<(String, &str)> = jobs
        .iter()
        .filter_map(|read| Some((format!("image.{}", read.name()), read.image()?)))
        .collect();
    let Some(google) = &connection.google else {
        let not_asked = "not asked: the jobs are on other servers than Google's";
        let unknown = |(check, _)| Finding::unknown(check, not_asked);
        return named.into_iter().map(unknown).collect();
    };
    let options = Options {
        tokens: Some(google.clone() as Arc<dyn TokenSource>),
        retry,
        ..Options::default()
    };
    // Environments often share an image.
    let images: BTreeSet<&str> = named.iter().map(|(_, image)| *image).collect();
    let answers = join_all(
        images
            .into_iter()
            .map(async |image| (image, ask(image, &options).await)),
    );
    let answers: BTreeMap<&str, _> = answers.await.into_iter().collect();
    let told = named
        .into_iter()
        .filter_map(|(check, image)| Some(judge(check, image, answers.get(image)?)));
    told.collect()
}

/// Each in its own time: of one registry that is silent, no other's answer is lost.
async fn ask(image: &str, options: &Options) -> Result<bool, String> {
    let reference: Reference = image.parse().map_err(|error| chain(&error))?;
    let asked = timeout(PATIENCE, registry::is_there(&reference, options)).await;
    match asked {
        Ok(answer) => answer.map_err(|error| chain(&error)),
        Err(_) => Err(format!(
            "`{}` does not answer in {} s",
            reference.host(),
            PATIENCE.as_secs()
        )),
    }
}

fn judge(check: String, image: &str, answer: &Result<bool, String>) -> Finding {
    match answer {
        Ok(true) => Finding::ok(check, format!("`{image}` is in its registry")),
        Ok(false) => Finding::warning(
            check,
            format!("`{image}` is no longer in its registry: runs have Cloud Run's own copy, and the job cannot be changed"),
        )
        .with_hint("`terraform -chdir=terraform apply -replace='terraform_data.images[0]'` pushes the kit's images anew; one of yours: `sortie image add`, and its name into terraform.tfvars"),
        Err(error) => Finding::unknown(check, error),
    }
}
