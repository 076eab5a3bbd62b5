//! Who calls, and what they may do.

use serde::{Deserialize, Serialize};

use crate::config::{Account, Permission};
use crate::refusal::{Outcome, Refusal};

/// Who calls.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Caller {
    /// The owner's token: all rights.
    Owner,
    /// The token of the metadata server: what the account was granted.
    Container,
    /// No token, or one we never gave, where storage is open to all.
    Anonymous,
}

/// A caller with the account that decides for a container.
#[derive(Clone, Copy)]
pub(crate) struct Rights<'a> {
    pub(crate) caller: Caller,
    pub(crate) account: &'a Account,
}

impl Rights<'_> {
    /// Whether the caller may do this to the object; `None` asks about the bucket as a whole.
    pub(crate) fn may(&self, permission: Permission, object: Option<&str>) -> bool {
        if self.caller != Caller::Container {
            return true;
        }
        self.account.grants.iter().any(|grant| {
            grant.permission == permission
                && match object {
                    Some(name) if permission != Permission::List => name.starts_with(&grant.prefix),
                    _ => grant.prefix.is_empty(),
                }
        })
    }

    pub(crate) fn require(&self, permission: Permission, object: Option<&str>) -> Outcome<()> {
        if self.may(permission, object) {
            return Ok(());
        }
        let kind = if permission == Permission::List {
            "bucket"
        } else {
            "object"
        };
        Err(self.denied(permission.name(), kind))
    }

    /// What only the owner may do: buckets and their policies.
    pub(crate) fn require_owner(&self, permission: &str) -> Outcome<()> {
        if self.caller == Caller::Container {
            return Err(self.denied(permission, "bucket"));
        }
        Ok(())
    }

    /// Whether the caller has a permission, by its name, on a whole bucket.
    pub(crate) fn holds(&self, name: &str) -> bool {
        let known = [
            Permission::Get,
            Permission::Create,
            Permission::List,
            Permission::Delete,
            Permission::Update,
        ];
        match known.into_iter().find(|known| known.name() == name) {
            Some(permission) => self.may(permission, None),
            None => self.require_owner(name).is_ok(),
        }
    }

    fn denied(&self, permission: &str, kind: &str) -> Refusal {
        let email = &self.account.email;
        Refusal::forbidden(format!(
            "{email} does not have {permission} access to the Google Cloud Storage {kind}. \
             Permission '{permission}' denied on resource (or it may not exist)."
        ))
    }
}
