//! Every error text that a user can meet has its entry in TROUBLESHOOTING.md, and every entry its text.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use proc_macro2::{Delimiter, TokenStream, TokenTree};

/// The crates whose words reach a user. The emulator's are Google's, not ours.
const CRATES: &[&str] = &[
    "archive",
    "claude",
    "entrypoint",
    "host",
    "registry",
    "sandbox",
    "wire",
];

/// What is called with an error's text.
const CALLS: &[&str] = &[
    "Damaged", "Refused", "Warning", "api", "error", "failure", "image", "local", "own",
    "platform", "refused", "usage",
];

/// What an error's text is put into.
const FIELDS: &[&str] = &[
    "action", "doing", "message", "problem", "text", "warning", "what", "why",
];

/// What looks like an error's text and is none: parts of texts, and hints, which explain themselves.
const NONE: &[&str] = &[
    "give `--…`, set `SORTIE_…`, or write it into `…`",
    "name the new image too: `sortie image add BASE HOST/REPOSITORY/NAME:TAG`",
    "`gcloud auth application-default login` makes new credentials",
    "ask who ran `terraform apply` to add you to the team's members, or apply it again",
    "task has",
    "tasks have",
    "the run is safe; try again when the network is back",
    "… of … home",
];

#[test]
fn every_error_text_has_its_entry_and_every_entry_its_text() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let mut texts = BTreeMap::new();
    for name in CRATES {
        for file in sources(&root.join(name).join("src")) {
            let code = fs_err::read_to_string(&file).unwrap();
            let stream = code.parse().unwrap();
            let place = file.strip_prefix(&root).unwrap().display().to_string();
            for text in texts_of(stream) {
                texts.entry(text).or_insert_with(|| place.clone());
            }
        }
    }
    for text in NONE {
        assert!(
            texts.remove(*text).is_some(),
            "nobody says `{text}` any more"
        );
    }
    assert!(texts.len() > 200, "only {} texts were found", texts.len());
    let document = fs_err::read_to_string(root.join("TROUBLESHOOTING.md")).unwrap();
    let entries: BTreeSet<&str> = document
        .lines()
        .filter_map(|line| line.strip_prefix("> "))
        .collect();
    let missing: Vec<String> = texts
        .iter()
        .filter(|(text, _)| !entries.contains(&text[..]))
        .map(|(text, place)| format!("> {text}    ({place})"))
        .collect();
    let stale: Vec<&&str> = entries
        .iter()
        .filter(|entry| !texts.contains_key(**entry))
        .collect();
    assert!(
        missing.is_empty() && stale.is_empty(),
        "TROUBLESHOOTING.md lacks:\n{}\nand explains what nobody says:\n{stale:#?}",
        missing.join("\n")
    );
}

fn sources(directory: &Path) -> Vec<PathBuf> {
    let walk = walkdir::WalkDir::new(directory).sort_by_file_name();
    let files = walk.into_iter().map(|entry| entry.unwrap().into_path());
    files
        .filter(|path| path.extension().is_some_and(|extension| extension == "rs"))
        .collect()
}

/// The texts in a piece of source, but for that of its unit tests.
fn texts_of(stream: TokenStream) -> BTreeSet<String> {
    let tokens: Vec<TokenTree> = stream.into_iter().collect();
    let mut texts = BTreeSet::new();
    let mut at = 0;
    while at < tokens.len() {
        match &tokens[at..] {
            [TokenTree::Punct(hash), TokenTree::Group(attribute), ..]
                if hash.as_char() == '#' && attribute.stream().to_string() == "cfg (test)" =>
            {
                at += item_len(&tokens[at..]);
                continue;
            }
            [TokenTree::Ident(name), TokenTree::Group(group), ..]
                if group.delimiter() == Delimiter::Parenthesis
                    && CALLS.iter().any(|call| name == call) =>
            {
                texts.extend(prose(first_argument(group.stream())));
            }
            [TokenTree::Ident(name), TokenTree::Punct(sign), rest @ ..]
                if matches!(sign.as_char(), ':' | '=')
                    && FIELDS.iter().any(|field| name == field) =>
            {
                texts.extend(prose(first_argument(rest.iter().cloned().collect())));
            }
            _ => {}
        }
        if let TokenTree::Group(group) = &tokens[at] {
            texts.extend(texts_of(group.stream()));
        }
        at += 1;
    }
    texts
}

/// How many tokens make the item at the beginning, with its attributes.
fn item_len(tokens: &[TokenTree]) -> usize {
    let end = tokens.iter().position(|token| match token {
        TokenTree::Group(group) => group.delimiter() == Delimiter::Brace,
        TokenTree::Punct(sign) => sign.as_char() == ';',
        _ => false,
    });
    end.map_or(tokens.len(), |end| end + 1)
}

fn first_argument(stream: TokenStream) -> TokenStream {
    let ends = |token: &TokenTree| matches!(token, TokenTree::Punct(sign) if matches!(sign.as_char(), ',' | ';'));
    stream
        .into_iter()
        .take_while(|token| !ends(token))
        .collect()
}

/// What is said there: literals of several words, and of a `format!` only the first.
fn prose(stream: TokenStream) -> Vec<String> {
    let tokens: Vec<TokenTree> = stream.into_iter().collect();
    let mut texts = Vec::new();
    for (at, token) in tokens.iter().enumerate() {
        match token {
            TokenTree::Literal(literal) => texts.extend(text(literal)),
            TokenTree::Group(group) => {
                let is_macro = at >= 2 && tokens[at - 2].to_string() == "format";
                let inner = if is_macro {
                    first_argument(group.stream())
                } else {
                    group.stream()
                };
                texts.extend(prose(inner));
            }
            _ => {}
        }
    }
    texts
}

/// A literal's text if it begins one and is more than a word and a value, with `…` for each value.
fn text(literal: &proc_macro2::Literal) -> Option<String> {
    let literal: syn::LitStr = syn::parse_str(&literal.to_string()).ok()?;
    let mut text = String::new();
    for (at, part) in literal.value().split('{').enumerate() {
        match part.split_once('}') {
            Some((_, rest)) if at > 0 => {
                text.push('…');
                text.push_str(rest);
            }
            _ => text.push_str(part),
        }
    }
    let words = text
        .split_whitespace()
        .filter(|word| word.chars().any(char::is_alphabetic))
        .count();
    (words > 1 && !text.starts_with(' ')).then_some(text)
}
