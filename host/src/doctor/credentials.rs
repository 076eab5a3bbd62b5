//! Whose credentials there are, and whether a token comes of them.

use wire::token::TokenSource;

use super::Finding;
use crate::error::chain;
use crate::session::Connection;
use crate::settings::Cloud;

const CHECK: &str = "credentials";

pub(super) async fn examine(cloud: &Cloud, connection: &Connection) -> Vec<Finding> {
    let Some(google) = &connection.google else {
        let token = cloud.endpoints.as_ref().and_then(|all| all.token.as_ref());
        return vec![match token {
            Some(_) => Finding::ok(CHECK, "the token of `SORTIE_EMULATOR_TOKEN`"),
            None => Finding::ok(CHECK, "none, as other servers than Google's are named"),
        }];
    };
    let found = async {
        google.fetch().await?;
        google.identity().await
    };
    match found.await {
        Ok(identity) => {
            let quota = cloud.quota_project.as_ref();
            let quota = quota.map_or_else(String::new, |p| format!("; on the quota of `{p}`"));
            vec![Finding::ok(CHECK, format!("{identity}{quota}"))]
        }
        Err(error) => {
            let finding = Finding::failure(CHECK, chain(&error));
            let hint = error
                .hint
                .unwrap_or_else(|| "`sortie doctor` again, when the network is back".to_owned());
            vec![finding.with_hint(hint)]
        }
    }
}
