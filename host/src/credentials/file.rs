//! A credentials file, by its `type`. What is wrong with it is told without a word of what stands in it.

use std::path::Path;

use serde_json::Value;
use wire::token::TokenError;

use super::failure;
use super::impersonation::Target;
use super::key::Key;
use super::user::User;

const LOGIN: &str = "`gcloud auth application-default login` makes new credentials";

/// What a file is.
pub(super) enum Kind {
    Key(Box<Key>),
    User(User),
    /// For gcloud to make sense of: its type.
    Gcloud(&'static str),
}

/// Whom it makes, and whom that one is to act as.
pub(super) fn read(path: &Path) -> Result<(Kind, Option<Target>), TokenError> {
    let json = fs_err::read(path).map_err(|error| {
        let missing = error.kind() == std::io::ErrorKind::NotFound;
        let hint = if missing {
            format!("`GOOGLE_APPLICATION_CREDENTIALS` names a file that is not there: `unset GOOGLE_APPLICATION_CREDENTIALS` if it is another's; {LOGIN}")
        } else {
            format!("make it readable: `chmod u+r '{}'`; or {LOGIN}", path.display())
        };
        TokenError {
            hint: Some(hint),
            // The path is in the message, and a kind says enough.
            source: Some(error.kind().to_string().into()),
            ..failure(format!("cannot read the credentials `{}`", path.display()))
        }
    })?;
    kind(&json).map_err(|why| TokenError {
        hint: Some(LOGIN.to_owned()),
        source: Some(why.into()),
        ..failure(format!("cannot use the credentials `{}`", path.display()))
    })
}

fn kind(json: &[u8]) -> Result<(Kind, Option<Target>), String> {
    // A parser's words may quote what it could not read.
    let file: Value = serde_json::from_slice(json)
        .map_err(|error| format!("not JSON, at line {}", error.line()))?;
    if file["type"] != "impersonated_service_account" {
        return Ok((plain(&file)?, None));
    }
    let url = text(&file, "service_account_impersonation_url")?;
    let target = Target::of_file(url, &file["delegates"])?;
    Ok(match plain(&file["source_credentials"])? {
        // gcloud reads the whole file: its token is the account's already.
        kind @ Kind::Gcloud(_) => (kind, None),
        kind => (kind, Some(target)),
    })
}

fn plain(file: &Value) -> Result<Kind, String> {
    match text(file, "type")? {
        "service_account" => Key::of(file).map(|key| Kind::Key(Box::new(key))),
        "authorized_user" => User::of(file).map(Kind::User),
        "external_account" => Ok(Kind::Gcloud("external_account")),
        "external_account_authorized_user" => Ok(Kind::Gcloud("external_account_authorized_user")),
        "gdch_service_account" => Ok(Kind::Gcloud("gdch_service_account")),
        _ => Err("its `type` is none that sortie knows".to_owned()),
    }
}

/// A field that must be there.
pub(super) fn text<'a>(file: &'a Value, name: &str) -> Result<&'a str, String> {
    file[name]
        .as_str()
        .filter(|text| !text.is_empty())
        .ok_or_else(|| format!("it has no `{name}`"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_wrong_is_told_and_nothing_quoted() {
        for (json, says) in [
            ("", "not JSON, at line 1"),
            ("{\"type\": \"s3cret", "not JSON"),
            ("[]", "no `type`"),
            (r#"{"type": "s3cret"}"#, "none that sortie knows"),
            (
                r#"{"type": "authorized_user", "client_id": "s3cret"}"#,
                "no `client_secret`",
            ),
            (
                r#"{"type": "authorized_user", "client_id": {"s3cret": 1}}"#,
                "no `client_id`",
            ),
            (
                r#"{"type": "service_account", "client_email": "a@b.test", "token_uri": "https://t.test/", "private_key": "s3cret"}"#,
                "private key",
            ),
            (
                r#"{"type": "service_account", "client_email": "a@b.test", "token_uri": "http://s3cret.test/", "private_key": "k"}"#,
                "`token_uri`",
            ),
            (
                r#"{"type": "impersonated_service_account", "service_account_impersonation_url": "https://evil.test/s3cret:generateAccessToken"}"#,
                "not Google's",
            ),
        ] {
            let why = kind(json.as_bytes()).err().unwrap();
            assert!(why.contains(says), "{json}: {why}");
            assert!(!why.contains("s3cret"), "{why}");
        }
    }

    #[test]
    fn types_that_gcloud_knows_are_left_to_it() {
        let json = br#"{"type": "external_account", "audience": "x"}"#;
        assert!(matches!(
            kind(json),
            Ok((Kind::Gcloud("external_account"), None))
        ));
    }
}
