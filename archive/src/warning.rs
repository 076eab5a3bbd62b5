use std::io::Read;
use std::path::PathBuf;

use crate::name::{seems_inside, split};
use crate::record::Kind;
use crate::tree::{Entry, Tree};

/// Something the user should know of, and that stops nothing. Paths are those on disk.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Warning {
    /// An absolute or escaping symlink, kept as it is.
    EscapingLink(PathBuf),
    /// A file that looks like a secret.
    Secret(PathBuf),
}

/// How much of a file is read in search of a private key.
const BEGINNING: u64 = 8 * 1024;

const SECRET_NAMES: &[&[u8]] = &[
    b".env",
    b".envrc",
    b".git-credentials",
    b".netrc",
    b"_netrc",
    b".pgpass",
    b".pypirc",
    b".credentials.json",
    b"application_default_credentials.json",
    b"credentials.json",
    b"id_dsa",
    b"id_ecdsa",
    b"id_ecdsa_sk",
    b"id_ed25519",
    b"id_ed25519_sk",
    b"id_rsa",
];
const SECRET_PLACES: &[&[u8]] = &[b".aws/credentials", b".docker/config.json", b".kube/config"];
const SECRET_ENDINGS: &[&[u8]] = &[b".p12", b".pfx", b".ppk"];
/// Made to be shared, and to be copied to `.env`.
const ENV_EXAMPLES: &[&[u8]] = &[b".example", b".sample", b".template", b".dist"];

pub(crate) fn collect(tree: &Tree) -> Vec<Warning> {
    let entries = tree.nodes.iter().map(|node| tree.entry(node));
    entries.filter_map(|entry| warning(tree, &entry)).collect()
}

fn warning(tree: &Tree, entry: &Entry<'_>) -> Option<Warning> {
    let escapes = || {
        // From the root down: the input's own name is not part of the tree that the user sees.
        let below = tree.place.below(entry.path);
        !seems_inside(below, entry.link)
    };
    match entry.kind {
        Kind::Link if escapes() => Some(Warning::EscapingLink(tree.place.on_disk(entry.path))),
        Kind::File if is_secret(tree, entry.path) => {
            Some(Warning::Secret(tree.place.on_disk(entry.path)))
        }
        _ => None,
    }
}

fn is_secret(tree: &Tree, path: &[u8]) -> bool {
    let name = split(path).1;
    let ends_as = |ending: &&[u8]| name.ends_with(ending);
    if name.starts_with(b".env.") {
        return !ENV_EXAMPLES.iter().any(ends_as);
    }
    let in_place = |place: &&[u8]| {
        path.strip_suffix(*place)
            .is_some_and(|before| before.is_empty() || before.ends_with(b"/"))
    };
    SECRET_NAMES.contains(&name)
        || SECRET_ENDINGS.iter().any(ends_as)
        || SECRET_PLACES.iter().any(in_place)
        || (name.starts_with(b"client_secret") && name.ends_with(b".json"))
        || ((name.ends_with(b".pem") || name.ends_with(b".key"))
            && begins_as_private_key(tree, path))
}

/// Most `.pem` files are public certificates. One that cannot be read now is reported when it is packed.
fn begins_as_private_key(tree: &Tree, path: &[u8]) -> bool {
    let mut beginning = Vec::new();
    let read = fs_err::File::open(tree.place.on_disk(path))
        .and_then(|file| file.take(BEGINNING).read_to_end(&mut beginning));
    read.is_ok()
        && beginning
            .windows(15)
            .any(|window| window == b"PRIVATE KEY----")
}
