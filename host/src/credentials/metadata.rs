//! Whether there is a metadata server, and who it says we are.

use std::time::Duration;

use wire::token::TokenError;

use super::failure;

const HOST: &str = "metadata.google.internal";

const FLAVOR: &str = "metadata-flavor";

/// It is near, or it is not there.
const TIMEOUT: Duration = Duration::from_secs(3);

/// The email of the default account; `None` where there is no such server and none was named.
pub(super) async fn account(
    http: &reqwest::Client,
    host: Option<&str>,
) -> Result<Option<String>, TokenError> {
    let url = format!(
        "http://{}/computeMetadata/v1/instance/service-accounts/default/email",
        host.unwrap_or(HOST)
    );
    let asked = http
        .get(url)
        .header(FLAVOR, "Google")
        .timeout(TIMEOUT)
        .send()
        .await;
    let genuine = asked.ok().filter(|answer| {
        let flavor = answer.headers().get(FLAVOR);
        answer.status().is_success() && flavor.is_some_and(|value| value == "Google")
    });
    let email = match genuine {
        Some(answer) => answer.text().await.ok(),
        None => None,
    };
    match (email, host) {
        (Some(email), _) => Ok(Some(email.trim().to_owned())),
        (None, Some(host)) => Err(TokenError {
            hint: Some(
                "`unset GCE_METADATA_HOST`, unless this is a machine of Google's".to_owned(),
            ),
            ..failure(format!(
                "no metadata server with a service account answers at `{host}`"
            ))
        }),
        (None, None) => Ok(None),
    }
}
