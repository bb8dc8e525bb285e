//! Going on as another user than root, with the capabilities that tracing takes and no others: what the packaged unit has from systemd.

use std::io;

use caps::{CapSet, CapsHashSet};
use nix::{
    sys::{
        prctl,
        resource::{RLIM_INFINITY, Resource, setrlimit},
    },
    unistd::{User, setgroups, setresgid, setresuid},
};

use super::capabilities;

/// Why it stays the user it is.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum UserError {
    /// Nobody has this name.
    #[error("there is no user {0}")]
    Unknown(String),
    /// The kernel refuses, or the user database cannot be read.
    #[error("cannot go on as user {name}: {source}; that takes root")]
    Refused {
        /// The user.
        name: String,
        /// Why.
        source: io::Error,
    },
}

/// Goes on as `name`, in no group but its own. To be called before there is another thread, and before anything is written: files are that user's from here on.
pub fn become_user(name: &str) -> Result<(), UserError> {
    let refused = |source| UserError::Refused { name: name.to_owned(), source };
    let user = User::from_name(name).map_err(|error| refused(error.into()))?;
    let user = user.ok_or_else(|| UserError::Unknown(name.to_owned()))?;
    // Before Linux 5.11 the kernel counts maps as locked memory, and raising the limit takes CAP_SYS_RESOURCE.
    let _ = setrlimit(Resource::RLIMIT_MEMLOCK, RLIM_INFINITY, RLIM_INFINITY);
    change(&user).map_err(refused)
}

fn change(user: &User) -> io::Result<()> {
    let permitted = caps::read(None, CapSet::Permitted).map_err(io::Error::other)?;
    let wanted = capabilities::wanted().into_iter().map(|(capability, _)| capability);
    let keep: CapsHashSet = wanted.filter(|capability| permitted.contains(capability)).collect();
    prctl::set_keepcaps(true)?;
    setgroups(&[])?;
    setresgid(user.gid, user.gid, user.gid)?;
    setresuid(user.uid, user.uid, user.uid)?;
    // Those in effect went with root's user, the others stay until here.
    for set in [CapSet::Effective, CapSet::Permitted] {
        caps::set(None, set, &keep).map_err(io::Error::other)?;
    }
    Ok(())
}
