use serde_json::{Map, Value, json};

use crate::layer::ENTRYPOINT;
use crate::manifest::is_ours;
use crate::{Digest, RegistryError, Warning};

/// Where the entrypoint works.
const WORKSPACE: &str = "/workspace";

/// An image's config. What we do not change stays as it is, whether we know it or not.
#[derive(Debug)]
pub(crate) struct Config(Map<String, Value>);

impl Config {
    /// `layers`: how many the manifest has. `image`: for errors.
    pub(crate) fn parse(image: &str, body: &[u8], layers: usize) -> Result<Self, RegistryError> {
        let unsupported = |reason: String| RegistryError::Unsupported {
            image: image.to_owned(),
            reason,
        };
        let json: Map<String, Value> = serde_json::from_slice(body)
            .map_err(|error| unsupported(format!("its config is unreadable: {error}")))?;
        let text = |key: &str| json.get(key).and_then(Value::as_str).unwrap_or_default();
        let (os, architecture) = (text("os"), text("architecture"));
        if !is_ours(os, architecture) {
            return Err(RegistryError::Platform {
                image: image.to_owned(),
                available: vec![crate::error::printable(&format!("{os}/{architecture}"))],
            });
        }
        let config = Self(json);
        if config.diff_ids() != Some(layers) {
            return Err(unsupported(
                "its config and its manifest have different layers".to_owned(),
            ));
        }
        let inner = config.0.get("config");
        if inner.is_some_and(|inner| !inner.is_object() && !inner.is_null()) {
            return Err(unsupported(
                "its config's settings are no object".to_owned(),
            ));
        }
        Ok(config)
    }

    fn diff_ids(&self) -> Option<usize> {
        let ids = self.0.get("rootfs")?.get("diff_ids")?.as_array()?;
        Some(ids.len())
    }

    /// Who runs the image's commands, if not root.
    pub(crate) fn user(&self) -> Option<&str> {
        let user = self.0.get("config")?.get("User")?.as_str()?;
        let name = user.split(':').next().unwrap_or_default();
        (!["", "0", "root"].contains(&name)).then_some(user)
    }

    /// Makes it the config of the image with the entrypoint; tells what the base had that no longer holds.
    ///
    /// Nothing of the time is in it: the same base and the same entrypoint give the same image.
    pub(crate) fn extend(&mut self, diff_id: &Digest) -> Vec<Warning> {
        let mut warnings = Vec::new();
        if let Some(user) = self.user() {
            warnings.push(Warning::User(crate::error::printable(user)));
        }
        self.extend_history();
        let ids = self.0.get_mut("rootfs");
        let ids = ids.and_then(|rootfs| rootfs.get_mut("diff_ids"));
        if let Some(ids) = ids.and_then(Value::as_array_mut) {
            ids.push(diff_id.as_str().into());
        }
        let settings = self.0.entry("config").or_insert_with(|| json!({}));
        if !settings.is_object() {
            *settings = json!({});
        }
        if let Some(settings) = settings.as_object_mut() {
            replace(settings, &mut warnings);
        }
        warnings
    }

    /// The history says which of its entries made layers; where the base's does not fit its layers, ours could not.
    fn extend_history(&mut self) {
        let layers = self.diff_ids().unwrap_or_default();
        let created = self.0.get("created").filter(|value| value.is_string());
        let mut entry = json!({
            "created_by": "sortie image add",
            "comment": concat!("sortie-entrypoint ", env!("CARGO_PKG_VERSION")),
        });
        if let Some(created) = created {
            entry["created"] = created.clone();
        }
        let history = self.0.entry("history").or_insert_with(|| json!([]));
        if let Some(history) = history.as_array_mut() {
            let is_layer = |entry: &&Value| entry["empty_layer"] != Value::Bool(true);
            if history.iter().filter(is_layer).count() == layers {
                history.push(entry);
            }
        }
        if history.as_array().is_some_and(Vec::is_empty) {
            self.0.remove("history");
        }
    }

    pub(crate) fn to_bytes(&self) -> Vec<u8> {
        Value::from(self.0.clone()).to_string().into_bytes()
    }
}

fn replace(settings: &mut Map<String, Value>, warnings: &mut Vec<Warning>) {
    let entrypoint = json!([ENTRYPOINT]);
    let was = settings.insert("Entrypoint".to_owned(), entrypoint.clone());
    let was = was.filter(|was| *was != entrypoint);
    warnings.extend(was.as_ref().and_then(words).map(Warning::Entrypoint));
    let was = settings.remove("Cmd");
    warnings.extend(was.as_ref().and_then(words).map(Warning::Cmd));
    let was = settings.insert("WorkingDir".to_owned(), WORKSPACE.into());
    let was = was.as_ref().and_then(Value::as_str).unwrap_or_default();
    if !["", "/", WORKSPACE].contains(&was) {
        warnings.push(Warning::WorkingDir(crate::error::printable(was)));
    }
    // A cancel must reach the entrypoint as SIGTERM, as Cloud Run sends it.
    let was = settings.remove("StopSignal");
    let was = was.as_ref().and_then(Value::as_str).unwrap_or_default();
    if !["", "SIGTERM", "15"].contains(&was) {
        warnings.push(Warning::StopSignal(crate::error::printable(was)));
    }
}

/// A command, shown; `None` if there is none.
fn words(value: &Value) -> Option<String> {
    let empty = value.is_null() || value.as_array().is_some_and(Vec::is_empty);
    (!empty).then(|| crate::error::printable(&value.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(json: &Value) -> Config {
        let layers = json["rootfs"]["diff_ids"].as_array().unwrap().len();
        Config::parse("r.test/a:1", json.to_string().as_bytes(), layers).unwrap()
    }

    fn base() -> Value {
        json!({
            "os": "linux", "architecture": "amd64", "created": "2026-01-02T03:04:05Z", "x-unknown": 9_007_199_254_740_993_u64,
            "config": {"Env": ["A=1"], "Entrypoint": ["/run.sh"], "Cmd": ["x", "y"], "User": "app:app",
                       "WorkingDir": "/srv", "StopSignal": "SIGQUIT", "Labels": {"l": "v"}},
            "rootfs": {"type": "layers", "diff_ids": ["sha256:aa"]},
            "history": [{"created_by": "ADD"}, {"created_by": "ENV", "empty_layer": true}],
        })
    }

    #[test]
    fn it_changes_what_it_must_and_keeps_the_rest() {
        let mut config = config(&base());
        let diff_id = Digest::of(b"layer");
        let warnings = config.extend(&diff_id);
        let got: Value = serde_json::from_slice(&config.to_bytes()).unwrap();
        let mut expected = base();
        expected["config"] = json!({"Env": ["A=1"], "Entrypoint": [ENTRYPOINT], "User": "app:app",
                                    "WorkingDir": "/workspace", "Labels": {"l": "v"}});
        expected["rootfs"]["diff_ids"] = json!(["sha256:aa", diff_id.as_str()]);
        let comment = format!("sortie-entrypoint {}", env!("CARGO_PKG_VERSION"));
        let ours = json!({"created": "2026-01-02T03:04:05Z", "created_by": "sortie image add", "comment": comment});
        expected["history"].as_array_mut().unwrap().push(ours);
        assert_eq!(got, expected);
        let expected = [
            Warning::User("app:app".to_owned()),
            Warning::Entrypoint(r#"["/run.sh"]"#.to_owned()),
            Warning::Cmd(r#"["x","y"]"#.to_owned()),
            Warning::WorkingDir("/srv".to_owned()),
            Warning::StopSignal("SIGQUIT".to_owned()),
        ];
        assert_eq!(warnings, expected);
    }

    #[test]
    fn a_bare_config_becomes_whole_and_nothing_is_said() {
        for settings in [
            json!({}),
            json!({"config": null}),
            json!({"config": {"User": "0:0", "Cmd": null}}),
        ] {
            let mut bare =
                json!({"os": "linux", "architecture": "amd64", "rootfs": {"diff_ids": []}});
            bare.as_object_mut()
                .unwrap()
                .extend(settings.as_object().unwrap().clone());
            let mut config = config(&bare);
            assert_eq!(config.extend(&Digest::of(b"")), []);
            let got: Value = serde_json::from_slice(&config.to_bytes()).unwrap();
            assert_eq!(got["config"]["Entrypoint"], json!([ENTRYPOINT]));
            assert_eq!(got["history"].as_array().unwrap().len(), 1);
        }
    }

    #[test]
    fn a_history_that_does_not_fit_stays() {
        let mut other = base();
        other["history"] = json!([{}, {}, {}]);
        let mut config = config(&other);
        config.extend(&Digest::of(b""));
        assert_eq!(config.0["history"], json!([{}, {}, {}]));
        other.as_object_mut().unwrap().remove("history");
        let mut config = self::config(&other);
        config.extend(&Digest::of(b""));
        assert_eq!(config.0.get("history"), None);
    }

    #[test]
    fn an_image_for_others_or_of_other_layers_is_refused() {
        let mut arm = base();
        arm["architecture"] = "arm64".into();
        let error = Config::parse("r.test/a:1", arm.to_string().as_bytes(), 1).unwrap_err();
        assert!(error.to_string().contains("`linux/arm64`"), "{error}");
        let error = Config::parse("r.test/a:1", base().to_string().as_bytes(), 2).unwrap_err();
        assert!(error.to_string().contains("different layers"), "{error}");
        assert!(Config::parse("r.test/a:1", b"[]", 0).is_err());
    }
}
