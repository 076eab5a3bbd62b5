//! The collector on a source that has each kind of place.

use crate::collector::texts_of;

const SAID: &str = r#"
    #[derive(thiserror::Error)]
    enum Wrong {
        #[error("an attribute says `{0}`")]
        Attribute(String),
    }

    const WHY: &str = "a constant says it";

    const TABLE: &[(u8, &str)] = &[(1, "a table says it")];

    fn reason(code: u8) -> &'static str {
        match code {
            0 => "an arm says it",
            _ => "the tail says it",
        }
    }

    fn all(found: Option<u8>) -> Result<Finding, String> {
        let task = Task { warning: Some("a field says it".to_owned()) };
        let why = if task.is_odd() { "a variable says it" } else { "" };
        warning = Some(format!("an assignment says {why}"));
        found.ok_or("an option says it")?;
        found.ok_or_else(|| Error::other("a closure says it"))?;
        made().map_err(|error| format!("a mapping says {error:?}"))?;
        if found.is_none() {
            return Err("a return says it".to_owned());
        }
        if found == Some(1) {
            return Err(format!("a format says {}", count(1, "thing with a name", "things")));
        }
        warnings.push("a list says \
            it over lines");
        write!(formatter, "a display says it")?;
        write!(formatter, "{}: {}", why, "a value says it")?;
        Ok(Finding::failure(CHECK, "a second argument says it").with_hint("type it again"))
    }
"#;

#[test]
fn each_kind_of_place_is_found() {
    let texts = texts_of(SAID.parse().unwrap());
    let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
    assert_eq!(
        texts,
        [
            "a closure says it",
            "a constant says it",
            "a display says it",
            "a field says it",
            "a format says …",
            "a list says it over lines",
            "a mapping says …",
            "a return says it",
            "a second argument says it",
            "a table says it",
            "a value says it",
            "a variable says it",
            "an arm says it",
            "an assignment says …",
            "an attribute says `…`",
            "an option says it",
            "the tail says it",
        ]
    );
}

const SILENT: &str = r#"
    //! Documentation of a module.

    /// Documentation of an item.
    #[expect(unsafe_code, reason = "nobody reads it")]
    const EXIT_CODES: &str = "what stands in the help";

    fn hint(&self) -> String {
        "what to type next".to_owned()
    }

    fn quiet() {
        tracing::debug!(why = 1, "only traced here");
        let hint = if it { "type this again" } else { "type that again" };
        let error = Local { doing, hint: Some("type it once more".into()) };
        let key = made.expect("a bug is here");
        if line.contains("somebody else's words") {
            return Finding::ok(CHECK, "all is well");
        }
        key.push_bytes(b"bytes are read by nobody");
        one("word", '"', "{a}: {b}");
    }

    #[cfg(test)]
    mod tests {
        fn refused() {
            Err("a test says it")
        }
    }
"#;

#[test]
fn what_no_user_is_told_is_passed_over() {
    let texts = texts_of(SILENT.parse().unwrap());
    assert!(texts.is_empty(), "{texts:?}");
}
