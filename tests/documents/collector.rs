//! Finds in Rust source what a user may be told went wrong.
//!
//! Each literal of several words counts, wherever it stands: as an argument, in a match arm, as a function's last
//! expression. Named here are the few kinds of places where such a literal is something else.

use std::collections::BTreeSet;

use proc_macro2::{Delimiter, TokenStream, TokenTree};

/// Calls and macros that get no message: what a debugger reads, what stops a bug, what is looked for in a text, what
/// tells that all is well, and what says only what to type.
const SILENT_CALLS: &[&str] = &[
    "Finding::ok",
    "assert",
    "assert_eq",
    "contains",
    "debug",
    "debug_assert",
    "expect",
    "starts_with",
    "trace",
    "unreachable",
    "with_template",
];

/// What a text is put into that is no message: hints explain themselves, and help stands in the help.
const SILENT_NAMES: &[&str] = &["help", "hint", "exit_codes"];

/// The texts in a piece of source, but for those of its unit tests.
pub(crate) fn texts_of(stream: TokenStream) -> BTreeSet<String> {
    let mut texts = BTreeSet::new();
    collect(stream, &mut texts);
    texts
}

fn collect(stream: TokenStream, texts: &mut BTreeSet<String>) {
    let tokens: Vec<TokenTree> = stream.into_iter().collect();
    let mut at = 0;
    while at < tokens.len() {
        let rest = &tokens[at..];
        at += match rest {
            [TokenTree::Punct(hash), TokenTree::Group(attribute), ..] if hash.as_char() == '#' => {
                match attribute.stream().to_string() {
                    test if test == "cfg (test)" => item_len(rest),
                    error if error.starts_with("error") => 1,
                    _ => 2,
                }
            }
            // `//!`
            [
                TokenTree::Punct(hash),
                TokenTree::Punct(sign),
                TokenTree::Group(_),
                ..,
            ] if hash.as_char() == '#' && sign.as_char() == '!' => 3,
            [TokenTree::Ident(function), TokenTree::Ident(name), ..]
                if function == "fn" && is_silent(&name.to_string()) =>
            {
                item_len(rest)
            }
            [TokenTree::Ident(name), TokenTree::Punct(sign), ..]
                if matches!(sign.as_char(), ':' | '=')
                    && !is_path(rest)
                    && is_silent(&name.to_string()) =>
            {
                value_len(rest)
            }
            [TokenTree::Ident(_), ..] => match call(&tokens, at) {
                Some((len, arguments)) => {
                    if let Some(arguments) = arguments {
                        collect(arguments, texts);
                    }
                    len
                }
                None => 1,
            },
            [TokenTree::Group(group), ..] => {
                collect(group.stream(), texts);
                1
            }
            [TokenTree::Literal(literal), ..] => {
                texts.extend(text(literal));
                1
            }
            _ => 1,
        };
    }
}

fn is_silent(name: &str) -> bool {
    let name = name.to_lowercase();
    SILENT_NAMES.iter().any(|silent| name.contains(silent))
}

/// Whether a name is followed by `::`, or by `==`.
fn is_path(tokens: &[TokenTree]) -> bool {
    let sign = |at: usize| match tokens.get(at) {
        Some(TokenTree::Punct(sign)) => Some(sign.as_char()),
        _ => None,
    };
    sign(1).is_some() && sign(1) == sign(2)
}

/// How long the call or macro at `at` is, and what of its arguments is to be looked at; none if it is no call.
fn call(tokens: &[TokenTree], at: usize) -> Option<(usize, Option<TokenStream>)> {
    let (len, group, is_macro) = match &tokens[at..] {
        [_, TokenTree::Group(group), ..] if group.delimiter() == Delimiter::Parenthesis => {
            (2, group, false)
        }
        [_, TokenTree::Punct(sign), TokenTree::Group(group), ..] if sign.as_char() == '!' => {
            (3, group, true)
        }
        _ => return None,
    };
    let name = tokens[at].to_string();
    let path = match at.checked_sub(3).map(|start| &tokens[start..at]) {
        Some(
            [
                TokenTree::Ident(owner),
                TokenTree::Punct(sign),
                TokenTree::Punct(_),
            ],
        ) if sign.as_char() == ':' => {
            format!("{owner}::{name}")
        }
        _ => name.clone(),
    };
    let is_silent = is_silent(&name)
        || SILENT_CALLS
            .iter()
            .any(|silent| *silent == name || *silent == path);
    if is_silent {
        return Some((len, None));
    }
    let arguments = if is_macro && matches!(&name[..], "format" | "write" | "writeln") {
        said(group.stream())
    } else {
        group.stream()
    };
    Some((len, Some(arguments)))
}

/// Of what a macro formats, the text; or if that has no words, the values.
fn said(arguments: TokenStream) -> TokenStream {
    let is_text = |token: &TokenTree| match token {
        TokenTree::Literal(literal) => text(literal).is_some(),
        _ => false,
    };
    let text = arguments.clone().into_iter().find(is_text);
    text.map_or(arguments, TokenStream::from)
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

/// How many tokens there are to the end of a field or a statement.
fn value_len(tokens: &[TokenTree]) -> usize {
    let ends = |token: &TokenTree| matches!(token, TokenTree::Punct(sign) if matches!(sign.as_char(), ',' | ';'));
    tokens.iter().position(ends).unwrap_or(tokens.len())
}

/// A literal's text if it is more than a word and a value, with `…` for each value.
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
    (words > 1).then_some(text)
}
