//! Whose credentials there are.

use super::{Healthy, findings};
use crate::credentials::metadata;
use crate::google::{Google, ROBOT};
use crate::harness::Typed;

#[test]
fn whose_credentials_they_are_is_told() {
    let healthy = Healthy::new();
    let says = |typed: Typed| {
        let all = findings(&typed.enter().code(0));
        assert_eq!(all["bucket.rights"].0, "ok", "{all:?}");
        let (status, says, _) = all["credentials"].clone();
        assert_eq!(status, "ok", "{says}");
        says
    };
    let key = Google::key(healthy.cloud.machine());
    let typed = healthy.typed(&["--json"]);
    let by_key = says(typed.env("GOOGLE_APPLICATION_CREDENTIALS", &key));
    let expected = format!("service account `{ROBOT}`, by the key `{}`", key.display());
    assert!(by_key.starts_with(&expected), "{by_key}");
    let typed = healthy.typed(&["--json"]);
    let acting = says(typed.env("GOOGLE_IMPERSONATE_SERVICE_ACCOUNT", ROBOT));
    let expected = format!("service account `{ROBOT}`, impersonated by the login of `a@b.test`");
    assert!(acting.starts_with(&expected), "{acting}");
    // Without a file, whoever else knows.
    let nowhere = healthy.cloud.machine().path("nowhere");
    let typed = || healthy.typed(&["--json"]).env("CLOUDSDK_CONFIG", &nowhere);
    healthy.cloud.google.mood().accept("ya29.by-gcloud");
    healthy.cloud.gcloud(
        "case $* in 'auth print-access-token --quiet') echo ya29.by-gcloud ;; \
         'config get-value account --quiet') echo c@d.test ;; *) exit 9 ;; esac",
    );
    let by_gcloud = says(typed());
    assert!(
        by_gcloud.starts_with("`c@d.test`, by gcloud"),
        "{by_gcloud}"
    );
    healthy.cloud.google.mood().accept("ya29.of-the-machine");
    let server = metadata(&[
        ("/email", ROBOT),
        (
            "/token",
            r#"{"access_token":"ya29.of-the-machine","expires_in":3600,"token_type":"Bearer"}"#,
        ),
    ]);
    let of_machine = says(
        typed()
            .env("NO_GCE_CHECK", "")
            .env("GCE_METADATA_HOST", server),
    );
    let expected = format!("service account `{ROBOT}`, by the metadata server");
    assert!(of_machine.starts_with(&expected), "{of_machine}");
}
