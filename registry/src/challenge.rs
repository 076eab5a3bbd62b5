use http::{HeaderMap, header};

/// What a registry wants to see before it answers.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Challenge {
    /// A token of its token server's.
    Bearer {
        realm: String,
        service: Option<String>,
    },
    /// Name and password.
    Basic,
}

impl Challenge {
    /// The first we can meet; a bearer's before the other.
    pub(crate) fn of(headers: &HeaderMap) -> Option<Self> {
        let values = headers.get_all(header::WWW_AUTHENTICATE);
        let texts = values.iter().filter_map(|value| value.to_str().ok());
        let all: Vec<Scheme> = texts.flat_map(schemes).collect();
        all.iter().find_map(Scheme::bearer).or_else(|| {
            let mut names = all.iter().map(|scheme| &scheme.name);
            names
                .any(|name| name.eq_ignore_ascii_case("basic"))
                .then_some(Self::Basic)
        })
    }
}

struct Scheme {
    name: String,
    parameters: Vec<(String, String)>,
}

impl Scheme {
    fn bearer(&self) -> Option<Challenge> {
        if !self.name.eq_ignore_ascii_case("bearer") {
            return None;
        }
        Some(Challenge::Bearer {
            realm: self.parameter("realm")?,
            service: self.parameter("service"),
        })
    }

    fn parameter(&self, name: &str) -> Option<String> {
        let mut found = self.parameters.iter();
        let found = found.find(|(key, _)| key.eq_ignore_ascii_case(name))?;
        Some(found.1.clone())
    }
}

/// `Scheme key=value, key="value", Scheme …`; what fits no scheme is passed over.
fn schemes(text: &str) -> Vec<Scheme> {
    let mut found: Vec<Scheme> = Vec::new();
    let mut rest = text;
    loop {
        rest = rest.trim_start_matches([' ', '\t', ',', '=', '"']);
        if rest.is_empty() {
            return found;
        }
        let end = rest.find([' ', '\t', ',', '=']).unwrap_or(rest.len());
        let (word, after) = rest.split_at(end);
        if let Some(after) = after.strip_prefix('=') {
            let (value, after) = value(after);
            if let Some(scheme) = found.last_mut() {
                scheme.parameters.push((word.to_owned(), value));
            }
            rest = after;
        } else {
            found.push(Scheme {
                name: word.to_owned(),
                parameters: Vec::new(),
            });
            rest = after;
        }
    }
}

fn value(text: &str) -> (String, &str) {
    let Some(quoted) = text.strip_prefix('"') else {
        let end = text.find([' ', '\t', ',']).unwrap_or(text.len());
        return (text[..end].to_owned(), &text[end..]);
    };
    let mut value = String::new();
    let mut characters = quoted.char_indices();
    while let Some((at, character)) = characters.next() {
        match character {
            '"' => return (value, &quoted[at + 1..]),
            '\\' => value.extend(characters.next().map(|(_, escaped)| escaped)),
            other => value.push(other),
        }
    }
    (value, "")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn challenge(lines: &[&str]) -> Option<Challenge> {
        let mut headers = HeaderMap::new();
        for line in lines {
            headers.append(header::WWW_AUTHENTICATE, line.parse().unwrap());
        }
        Challenge::of(&headers)
    }

    fn bearer(realm: &str, service: Option<&str>) -> Challenge {
        Challenge::Bearer {
            realm: realm.to_owned(),
            service: service.map(str::to_owned),
        }
    }

    #[test]
    fn a_bearer_challenge_is_read() {
        let usual =
            r#"Bearer realm="https://a.test/token",service="s, t",scope="repository:x:pull,push""#;
        assert_eq!(
            challenge(&[usual]),
            Some(bearer("https://a.test/token", Some("s, t")))
        );
        let odd = r#"bearer  SERVICE=s , realm="a\"b""#;
        assert_eq!(challenge(&[odd]), Some(bearer("a\"b", Some("s"))));
        assert_eq!(challenge(&["Bearer realm=x"]), Some(bearer("x", None)));
    }

    #[test]
    fn bearer_goes_before_basic() {
        let two = r#"Basic realm="b", Bearer realm="t""#;
        assert_eq!(challenge(&[two]), Some(bearer("t", None)));
        assert_eq!(
            challenge(&["Basic realm=\"b\"", "Bearer realm=t"]),
            Some(bearer("t", None))
        );
        assert_eq!(challenge(&[r#"BASIC realm="r""#]), Some(Challenge::Basic));
    }

    #[test]
    fn what_cannot_be_met_is_none() {
        for nothing in [
            "",
            "Negotiate",
            "Bearer",
            "Bearer service=\"x\"",
            ",,=\"",
            "realm=x",
            "\"\\",
        ] {
            assert_eq!(challenge(&[nothing]), None, "{nothing}");
        }
        assert_eq!(challenge(&[]), None);
        assert_eq!(
            challenge(&["Bearer realm=\"open"]),
            Some(bearer("open", None))
        );
    }
}
