//! The user whom the command runs as.
//!
//! `/etc/passwd` and `/etc/group` are read as they stand: the name service of a static binary is not to be
//! trusted with the image's modules, and a slim image has none.

use std::io;
use std::path::PathBuf;

use rustix::process::{getegid, geteuid};

/// Somebody to drop to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct User {
    /// User id.
    pub(crate) uid: u32,
    /// Primary group.
    pub(crate) gid: u32,
    /// All groups, the primary one included.
    pub(crate) groups: Vec<u32>,
    /// What `/etc/passwd` calls the user.
    pub(crate) name: Option<String>,
    /// As in `/etc/passwd`.
    pub(crate) home: Option<PathBuf>,
}

/// A user that cannot be had.
#[derive(Debug, thiserror::Error)]
pub(crate) enum UserError {
    /// Not in the image.
    #[error("`{0}` is no user of the image's `/etc/passwd`")]
    Unknown(String),
    /// Not in the image.
    #[error("`{0}` is no group of the image's `/etc/group`")]
    UnknownGroup(String),
    /// An image with a `USER` of its own.
    #[error(
        "cannot become `{wanted}` as user {uid}: let the image start as root, or leave the user out"
    )]
    NotRoot {
        /// As in the spec.
        wanted: String,
        /// Who we are.
        uid: u32,
    },
    /// Nobody else may do what they are for.
    #[error(
        "cannot run setup commands as user {uid}: they need root, so let the image start as root, or put what they \
         make into the image"
    )]
    Setup {
        /// Who we are.
        uid: u32,
    },
    /// The file is there, and cannot be read.
    #[error("cannot read `{path}`")]
    Read {
        /// Which.
        path: &'static str,
        /// Why.
        #[source]
        source: io::Error,
    },
}

/// Who `wanted` is, or else the image's `default`; `None` if there is nothing to switch.
///
/// The default counts where we are root alone: an image made from ours may well have a `USER` of its own.
pub(crate) fn resolve(
    wanted: Option<&str>,
    default: Option<&str>,
) -> Result<Option<User>, UserError> {
    let default = default.filter(|_| geteuid().is_root());
    let Some(wanted) = wanted.or(default) else {
        return Ok(None);
    };
    let user = find(wanted, &read("/etc/passwd")?, &read("/etc/group")?)?;
    let (uid, gid) = (geteuid().as_raw(), getegid().as_raw());
    match (uid, user) {
        (0, user) => Ok(Some(user)),
        (_, user) if user.uid == uid && user.gid == gid => Ok(None),
        _ => Err(UserError::NotRoot {
            wanted: wanted.to_owned(),
            uid,
        }),
    }
}

/// Whether setup commands can be run.
pub(crate) fn check_root() -> Result<(), UserError> {
    match geteuid().as_raw() {
        0 => Ok(()),
        uid => Err(UserError::Setup { uid }),
    }
}

/// Home of whoever we are.
pub(crate) fn own_home() -> Option<PathBuf> {
    let uid = geteuid().as_raw();
    let passwd = read("/etc/passwd").ok()?;
    accounts(&passwd)
        .find(|account| account.uid == uid)
        .map(|account| account.home.into())
}

fn read(path: &'static str) -> Result<String, UserError> {
    match fs_err::read(path) {
        Ok(bytes) => Ok(String::from_utf8_lossy(&bytes).into_owned()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(String::new()),
        Err(source) => Err(UserError::Read { path, source }),
    }
}

/// Digits alone; the largest number means “as it is” to the kernel, so whoever had it would stay root.
fn id(text: &str) -> Option<u32> {
    let digits = text.bytes().all(|byte| byte.is_ascii_digit());
    text.parse().ok().filter(|&id| digits && id != u32::MAX)
}

#[derive(Clone, Copy)]
struct Account<'a> {
    name: &'a str,
    uid: u32,
    gid: u32,
    home: &'a str,
}

fn accounts(passwd: &str) -> impl Iterator<Item = Account<'_>> {
    passwd.lines().filter_map(|line| {
        let mut fields = line.split(':');
        let (name, _) = (fields.next()?, fields.next()?);
        let (uid, gid) = (id(fields.next()?)?, id(fields.next()?)?);
        let home = fields.nth(1).unwrap_or_default();
        Some(Account {
            name,
            uid,
            gid,
            home,
        })
    })
}

struct Group<'a> {
    name: &'a str,
    gid: u32,
    members: &'a str,
}

fn groups(group: &str) -> impl Iterator<Item = Group<'_>> {
    group.lines().filter_map(|line| {
        let mut fields = line.split(':');
        let (name, _) = (fields.next()?, fields.next()?);
        let gid = id(fields.next()?)?;
        Some(Group {
            name,
            gid,
            members: fields.next().unwrap_or_default(),
        })
    })
}

/// `name`, `uid`, `name:group` or `uid:gid`. An id that is not in `/etc/passwd` has itself as its group.
fn find(wanted: &str, passwd: &str, group: &str) -> Result<User, UserError> {
    let (user, wanted_group) = match wanted.split_once(':') {
        Some((user, group)) => (user, Some(group)),
        None => (wanted, None),
    };
    let number = id(user);
    let account = accounts(passwd)
        .find(|account| account.name == user)
        .or_else(|| accounts(passwd).find(|account| Some(account.uid) == number));
    let uid = account
        .map(|account| account.uid)
        .or(number)
        .ok_or_else(|| UserError::Unknown(user.to_owned()))?;
    let gid = match wanted_group {
        Some(wanted) => group_id(wanted, group)?,
        None => account.map_or(uid, |account| account.gid),
    };
    let mut all = vec![gid];
    // As with `docker run --user`: who names a group gets that one alone.
    if let (Some(account), None) = (account, wanted_group) {
        let member = |group: &Group<'_>| group.members.split(',').any(|name| name == account.name);
        all.extend(groups(group).filter(member).map(|group| group.gid));
        all.sort_unstable();
        all.dedup();
    }
    Ok(User {
        uid,
        gid,
        groups: all,
        name: account.map(|account| account.name.to_owned()),
        home: account.map(|account| account.home.into()),
    })
}

fn group_id(wanted: &str, group: &str) -> Result<u32, UserError> {
    groups(group)
        .find(|group| group.name == wanted)
        .map(|group| group.gid)
        .or_else(|| id(wanted))
        .ok_or_else(|| UserError::UnknownGroup(wanted.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    const PASSWD: &str = "root:x:0:0:root:/root:/bin/sh\n# no account\nagent:x:1000:1001:An Agent,,,:/home/agent:/bin/sh\n";
    const GROUP: &str = "root:x:0:\ndocker:x:998:other,agent\nagents:x:1001:\nvideo:x:44:agents\n";

    #[test]
    fn a_name_brings_its_groups_and_home() {
        let user = find("agent", PASSWD, GROUP).unwrap();
        assert_eq!((user.uid, user.gid), (1000, 1001));
        assert_eq!(user.groups, [998, 1001]);
        assert_eq!(user.home, Some("/home/agent".into()));
        assert_eq!(find("1000", PASSWD, GROUP).unwrap(), user);
    }

    #[test]
    fn an_id_needs_no_account() {
        let user = find("4242", PASSWD, GROUP).unwrap();
        assert_eq!((user.uid, user.gid, user.groups), (4242, 4242, vec![4242]));
        let user = find("4242:7", "", "").unwrap();
        assert_eq!((user.uid, user.gid, user.home), (4242, 7, None));
    }

    #[test]
    fn a_named_group_is_the_only_one() {
        let user = find("agent:docker", PASSWD, GROUP).unwrap();
        assert_eq!((user.gid, user.groups), (998, vec![998]));
    }

    #[test]
    fn an_images_default_is_for_root_and_for_who_names_nobody() {
        let uid = |user: Option<User>| user.map(|user| user.uid);
        let root = geteuid().is_root();
        assert_eq!(
            uid(resolve(None, Some("4242")).unwrap()),
            root.then_some(4242)
        );
        if root {
            assert_eq!(uid(resolve(Some("7"), Some("4242")).unwrap()), Some(7));
        }
    }

    #[test]
    fn who_is_not_there_is_named() {
        let error = find("nobody-here", PASSWD, GROUP).unwrap_err();
        assert!(error.to_string().contains("nobody-here"), "{error}");
        assert!(matches!(
            find("agent:none", PASSWD, GROUP),
            Err(UserError::UnknownGroup(_))
        ));
        for user in ["-1", "+1000", "4294967295", "4294967296", ""] {
            let found = find(user, "all:x:4294967295:0::/:", GROUP);
            assert!(matches!(found, Err(UserError::Unknown(_))), "{user}");
            let found = find(&format!("0:{user}"), PASSWD, GROUP);
            assert!(matches!(found, Err(UserError::UnknownGroup(_))), "{user}");
        }
    }
}
