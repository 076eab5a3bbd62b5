//! Paths as bytes: what may be a name, and how to show one.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

/// Longest path in bytes; a system call takes 4096 with the final NUL.
pub(crate) const MAX_PATH: usize = 4095;
/// Longest component in bytes, on every file system in use.
pub(crate) const MAX_COMPONENT: usize = 255;

/// For people: what is no UTF-8 replaced, what steers a terminal escaped, so that a hostile name is only a name.
pub fn printable(path: &[u8]) -> String {
    let text = String::from_utf8_lossy(path);
    let mut shown = String::with_capacity(text.len());
    for character in text.chars() {
        if steers(character) {
            shown.extend(character.escape_default());
        } else {
            shown.push(character);
        }
    }
    shown
}

/// Whether a terminal does something else with it than to show it: control characters, line and paragraph separators,
/// and what turns the direction of the text after it, so that a name reads as another.
pub fn steers(character: char) -> bool {
    character.is_control()
        || matches!(character, '\u{61c}' | '\u{200e}' | '\u{200f}')
        || matches!(character, '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

pub(crate) fn as_path(bytes: &[u8]) -> &Path {
    Path::new(OsStr::from_bytes(bytes))
}

/// The directory's path (empty at the top) and the last component.
pub(crate) fn split(path: &[u8]) -> (&[u8], &[u8]) {
    match path.iter().rposition(|&byte| byte == b'/') {
        Some(slash) => (&path[..slash], &path[slash + 1..]),
        None => (b"", path),
    }
}

/// An entry's name without its `.` components and final slash, or why it may not be. Empty for the top itself.
pub(crate) fn checked(name: &[u8]) -> Result<Vec<u8>, &'static str> {
    if name.len() > MAX_PATH {
        return Err("has a path that is too long");
    }
    if name.is_empty() {
        return Err("has no name");
    }
    if name[0] == b'/' {
        return Err("has an absolute name");
    }
    let name = name.strip_suffix(b"/").unwrap_or(name);
    let mut path = Vec::with_capacity(name.len());
    for component in name.split(|&byte| byte == b'/') {
        match component {
            b"" => return Err("has an empty component in its name"),
            b"." => continue,
            b".." => return Err("has `..` in its name"),
            _ if component.len() > MAX_COMPONENT => return Err("has a name that is too long"),
            _ if component.contains(&0) => return Err("has a NUL byte in its name"),
            _ => {}
        }
        if !path.is_empty() {
            path.push(b'/');
        }
        path.extend_from_slice(component);
    }
    Ok(path)
}

/// Whether a link at `path` with this target stays inside the tree, by the letters alone: for a warning, not for safety.
pub(crate) fn seems_inside(path: &[u8], target: &[u8]) -> bool {
    if target.first() == Some(&b'/') {
        return false;
    }
    let mut below = depth(path);
    for component in target.split(|&byte| byte == b'/') {
        match component {
            b"" | b"." => {}
            b".." if below == 0 => return false,
            b".." => below -= 1,
            _ => below += 1,
        }
    }
    true
}

/// Why a link at `path` may lead out of the tree, if it may.
///
/// The letters alone do not say where `a/../b` leads, because `a` may be a link itself. So `..` may only stand
/// at the beginning, where it climbs real directories; the rest goes down, through links that obey the same rule.
pub(crate) fn leads_out(path: &[u8], target: &[u8]) -> Option<&'static str> {
    if target.is_empty() || target.contains(&0) {
        return Some("is a link to nothing");
    }
    if target.len() > MAX_PATH {
        return Some("is a link whose target is too long");
    }
    if target[0] == b'/' {
        return Some("is a link to an absolute path");
    }
    let mut above = depth(path);
    let mut descended = false;
    for component in target.split(|&byte| byte == b'/') {
        match component {
            b"" | b"." => {}
            b".." if descended => return Some("is a link that goes down and up again"),
            b".." if above == 0 => return Some("is a link that leads out of the directory"),
            b".." => above -= 1,
            _ => descended = true,
        }
    }
    None
}

/// How many directories hold what is at `path`.
fn depth(path: &[u8]) -> usize {
    path.split(|&byte| byte == b'/').count() - 1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_may_be_are_made_plain() {
        assert_eq!(checked(b"a/b").unwrap(), b"a/b");
        assert_eq!(checked(b"./a/./b/").unwrap(), b"a/b");
        assert_eq!(checked(b"./").unwrap(), b"");
        assert_eq!(checked(b"..a/b..").unwrap(), b"..a/b..");
        assert_eq!(checked(b"a\n\xff").unwrap(), b"a\n\xff");
    }

    #[test]
    fn names_that_may_not_be_say_why() {
        for name in [
            &b""[..],
            b"/",
            b"/etc",
            b"..",
            b"a/../b",
            b"a//b",
            b"a/..",
            b"a//",
            b"nul\0",
        ] {
            assert!(checked(name).is_err(), "{}", printable(name));
        }
        assert!(checked(&[b'x'; 256]).is_err());
        assert!(checked(&b"x/".repeat(3000)).is_err());
    }

    #[test]
    fn links_that_stay_inside() {
        for (path, target) in [
            (&b"l"[..], &b"a"[..]),
            (b"l", b"."),
            (b"d/l", b"../a"),
            (b"d/e/l", b"./.././../a/b"),
            (b"l", b"a//b/"),
        ] {
            assert_eq!(leads_out(path, target), None);
            assert!(seems_inside(path, target));
        }
    }

    #[test]
    fn links_that_may_lead_out() {
        for (path, target) in [
            (&b"l"[..], &b""[..]),
            (b"l", b"/etc"),
            (b"l", b".."),
            (b"d/l", b"../../a"),
            (b"d/l", b"a/../b"),
            (b"l", b"a\0b"),
        ] {
            assert!(leads_out(path, target).is_some());
        }
        assert!(!seems_inside(b"d/l", b"../../a"));
        assert!(!seems_inside(b"d/l", b"a/../../../a"));
        assert!(seems_inside(b"d/l", b"a/../../x"));
    }

    #[test]
    fn a_hostile_name_is_harmless_on_a_terminal() {
        assert_eq!(printable(b"a\x1b[31m\nb"), "a\\u{1b}[31m\\nb");
        assert_eq!(printable("größe".as_bytes()), "größe");
        assert_eq!(
            printable("a\u{202e}fdp.exe".as_bytes()),
            "a\\u{202e}fdp.exe"
        );
    }
}
