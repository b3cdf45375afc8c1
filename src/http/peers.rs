//! Who is at the other end of a Unix socket, and what it may see there.
//!
//! The kernel says which uid and gid (`SO_PEERCRED`); the user database says which groups besides. Nothing that the peer sends
//! takes part.

use std::collections::BTreeSet;
use std::ffi::CString;

use nix::unistd::{Gid, Group, Uid, User, getgrouplist};

use crate::policy::SignerAccess;

/// What a uid that a user namespace does not know looks like (`PrivateUsers=yes`): anybody at all.
pub const OVERFLOW_UID: u32 = 65_534;

/// A process at the other end, as it was when it connected.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Peer {
    /// Its effective uid.
    pub uid: u32,
    /// Its effective primary gid.
    pub gid: u32,
}

/// The user database.
pub trait Users: Send + Sync + 'static {
    /// The uid of a user by name.
    fn uid_of(&self, user: &str) -> Option<u32>;
    /// The gid of a group by name.
    fn gid_of(&self, group: &str) -> Option<u32>;
    /// The name of a user.
    fn name_of(&self, uid: u32) -> Option<String>;
    /// The groups of a user, primary and supplementary.
    fn groups_of(&self, uid: u32) -> BTreeSet<u32>;
}

/// The system's user database. It may ask the network, so it is not to be asked on a thread that serves others.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemUsers;

impl Users for SystemUsers {
    fn uid_of(&self, user: &str) -> Option<u32> {
        User::from_name(user).ok().flatten().map(|user| user.uid.as_raw())
    }

    fn gid_of(&self, group: &str) -> Option<u32> {
        Group::from_name(group).ok().flatten().map(|group| group.gid.as_raw())
    }

    fn name_of(&self, uid: u32) -> Option<String> {
        User::from_uid(Uid::from_raw(uid)).ok().flatten().map(|user| user.name)
    }

    fn groups_of(&self, uid: u32) -> BTreeSet<u32> {
        let Ok(Some(user)) = User::from_uid(Uid::from_raw(uid)) else { return BTreeSet::new() };
        let listed = CString::new(user.name).ok().and_then(|name| getgrouplist(&name, user.gid).ok());
        listed.unwrap_or_default().into_iter().map(Gid::as_raw).chain([user.gid.as_raw()]).collect()
    }
}

/// Why a peer is refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Denied {
    /// Who it is, for people.
    pub who: String,
    /// Its user name, where there is one.
    pub user: Option<String>,
    /// Whether it comes out of another user namespace, so that it could be anybody.
    pub foreign: bool,
}

impl Peer {
    /// Whether this is root or the daemon's own user, who may do anything.
    pub const fn is_ours(self, own: u32) -> bool {
        self.uid == 0 || self.uid == own
    }

    /// Whether one of `admitted` admits this peer. A peer whose uid the kernel cannot tell is admitted by nobody.
    ///
    /// # Errors
    /// Who it is, for the refusal.
    pub fn admitted(self, own: u32, admitted: &[SignerAccess], users: &dyn Users) -> Result<(), Denied> {
        if self.is_ours(own) {
            return Ok(());
        }
        let foreign = self.uid == OVERFLOW_UID;
        if !foreign {
            let groups = || users.groups_of(self.uid).into_iter().chain([self.gid]).collect::<BTreeSet<_>>();
            let wants_groups = admitted.iter().any(|access| matches!(access, SignerAccess::Group(_)));
            let groups = if wants_groups { groups() } else { BTreeSet::new() };
            let lets_in = |access: &SignerAccess| match access {
                SignerAccess::User(name) => users.uid_of(name) == Some(self.uid),
                SignerAccess::Group(name) => users.gid_of(name).is_some_and(|gid| groups.contains(&gid)),
            };
            if admitted.iter().any(lets_in) {
                return Ok(());
            }
        }
        let user = users.name_of(self.uid);
        let who = user.as_ref().map_or_else(|| format!("uid {}", self.uid), |name| format!("user {name} (uid {})", self.uid));
        Err(Denied { who, user, foreign })
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// `app` is 1000 with groups 1000 and 2000 (`backend`), `other` is 1001.
    pub struct FewUsers;

    impl Users for FewUsers {
        fn uid_of(&self, user: &str) -> Option<u32> {
            [("app", 1000), ("other", 1001), ("nobody", OVERFLOW_UID)].into_iter().find(|(name, _)| *name == user).map(|(_, uid)| uid)
        }
        fn gid_of(&self, group: &str) -> Option<u32> {
            (group == "backend").then_some(2000)
        }
        fn name_of(&self, uid: u32) -> Option<String> {
            (uid == 1001).then(|| "other".to_owned())
        }
        fn groups_of(&self, uid: u32) -> BTreeSet<u32> {
            if uid == 1000 { [1000, 2000].into() } else { [uid].into() }
        }
    }

    fn user(name: &str) -> SignerAccess {
        SignerAccess::User(name.into())
    }

    #[test]
    fn users_groups_root_and_our_own_user_are_let_in_and_nobody_else() {
        let peer = |uid| Peer { uid, gid: uid };
        let may = |peer: Peer, list: &[SignerAccess]| peer.admitted(500, list, &FewUsers).is_ok();
        assert!(may(peer(0), &[]) && may(peer(500), &[]));
        assert!(!may(peer(1000), &[]));
        assert!(may(peer(1000), &[user("app")]) && !may(peer(1001), &[user("app")]));
        let backend = SignerAccess::Group("backend".into());
        assert!(may(peer(1000), std::slice::from_ref(&backend)) && !may(peer(1001), std::slice::from_ref(&backend)));
        assert!(may(Peer { uid: 1001, gid: 2000 }, &[backend]), "its effective group counts too");
        assert!(!may(peer(1000), &[user("nosuch"), SignerAccess::Group("nosuch".into())]));
    }

    #[test]
    fn a_uid_that_could_be_anybody_is_nobody() {
        let denied =
            Peer { uid: OVERFLOW_UID, gid: 2000 }.admitted(500, &[user("nobody"), SignerAccess::Group("backend".into())], &FewUsers);
        assert!(denied.unwrap_err().foreign);
    }

    #[test]
    fn the_system_knows_root() {
        assert_eq!(SystemUsers.uid_of("root"), Some(0));
        assert_eq!(SystemUsers.name_of(0).as_deref(), Some("root"));
        assert!(SystemUsers.groups_of(0).contains(&0));
        assert_eq!(SystemUsers.gid_of("no-such-group-anywhere"), None);
    }
}
