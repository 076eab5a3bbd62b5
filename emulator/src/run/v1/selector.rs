//! `labelSelector`: which resources a list holds.

use serde_json::{Map, Value};

use crate::call::Call;
use crate::refusal::{Outcome, Refusal};

/// What must be true of a label.
enum Term {
    Equal(String, String),
    Unequal(String, String),
    Present(String),
}

/// Terms that must all be true.
pub(crate) struct Selector(Vec<Term>);

impl Selector {
    pub(crate) fn of(call: &Call) -> Outcome<Self> {
        if call.query.get("fieldSelector").is_some() {
            return Err(Refusal::unimplemented("Field selectors are not supported."));
        }
        let text = call.query.get("labelSelector").unwrap_or_default();
        let terms = text.split(',').map(str::trim);
        let terms = terms.filter(|term| !term.is_empty()).map(Term::parse);
        terms.collect::<Outcome<_>>().map(Self)
    }

    pub(crate) fn takes(&self, labels: &Map<String, Value>) -> bool {
        self.0.iter().all(|term| term.holds(labels))
    }
}

impl Term {
    fn parse(text: &str) -> Outcome<Self> {
        let pair = |separator| {
            let (key, value) = text.split_once(separator)?;
            Some((key.trim().to_owned(), value.trim().to_owned()))
        };
        let term = if let Some((key, value)) = pair("!=") {
            Self::Unequal(key, value)
        } else if let Some((key, value)) = pair("==").or_else(|| pair("=")) {
            Self::Equal(key, value)
        } else {
            Self::Present(text.to_owned())
        };
        let (Self::Equal(key, _) | Self::Unequal(key, _) | Self::Present(key)) = &term;
        // Sets such as `a in (b, c)` would be taken for something else.
        if key.is_empty()
            || key.contains(char::is_whitespace)
            || text.contains(['(', ')', '!']) && pair("!=").is_none()
        {
            return Err(Refusal::invalid(format!("Invalid label selector: {text}")));
        }
        Ok(term)
    }

    fn holds(&self, labels: &Map<String, Value>) -> bool {
        match self {
            Self::Equal(key, value) => labels.get(key).is_some_and(|label| label == value),
            Self::Unequal(key, value) => labels.get(key).is_none_or(|label| label != value),
            Self::Present(key) => labels.contains_key(key),
        }
    }
}
