//! Whether there is a metadata server, and who it says we are.

use std::time::Duration;

use reqwest::StatusCode;
use wire::token::TokenError;

use super::failure;

const HOST: &str = "metadata.google.internal";

const FLAVOR: &str = "metadata-flavor";

/// It is near, or it is not there.
const TIMEOUT: Duration = Duration::from_secs(3);

/// A machine that has just started may need more than one.
const TRIES: u32 = 3;

/// What was heard from where a metadata server may be.
enum Heard {
    Account(String),
    /// There is one, and it cannot answer now.
    Busy(StatusCode),
    Nothing,
}

/// The email of the default account; `None` where there is no such server and none was named.
pub(super) async fn account(
    http: &reqwest::Client,
    host: Option<&str>,
) -> Result<Option<String>, TokenError> {
    let mut heard = Heard::Nothing;
    for _ in 0..TRIES {
        heard = ask(http, host.unwrap_or(HOST)).await;
        if let Heard::Account(email) = heard {
            return Ok(Some(email));
        }
    }
    match (heard, host) {
        // Who is there, and says so, is not passed over for somebody else's credentials.
        (Heard::Busy(status), _) => Err(TokenError {
            transient: true,
            ..failure(format!("the metadata server answered {status}"))
        }),
        (_, Some(host)) => Err(TokenError {
            hint: Some(
                "`unset GCE_METADATA_HOST`, unless this is a machine of Google's".to_owned(),
            ),
            ..failure(format!(
                "no metadata server with a service account answers at `{host}`"
            ))
        }),
        (_, None) => Ok(None),
    }
}

async fn ask(http: &reqwest::Client, host: &str) -> Heard {
    let url = format!("http://{host}/computeMetadata/v1/instance/service-accounts/default/email");
    let asked = http.get(url).header(FLAVOR, "Google").timeout(TIMEOUT);
    let Ok(answer) = asked.send().await else {
        return Heard::Nothing;
    };
    let flavor = answer.headers().get(FLAVOR);
    if flavor.is_none_or(|value| value != "Google") {
        return Heard::Nothing;
    }
    let status = answer.status();
    if status.is_server_error() || status == StatusCode::TOO_MANY_REQUESTS {
        return Heard::Busy(status);
    }
    match answer.text().await {
        Ok(email) if status.is_success() => Heard::Account(email.trim().to_owned()),
        _ => Heard::Nothing,
    }
}
