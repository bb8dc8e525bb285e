//! What this process forbids itself, so that a mistake in it, made use of by what a target prepared, leads no further.

use std::collections::BTreeMap;

use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter, SeccompRule,
};

/// No program that is run from here on has more rights than this one (PR_SET_NO_NEW_PRIVS(2const)). To be called before there is another thread.
pub fn gain_nothing() {
    if let Err(error) = nix::sys::prctl::set_no_new_privs() {
        log::warn!("a program run by wrapwatch could gain privileges: {error}");
    }
}

/// Calls that a trace has no use for once everything is attached: running programs, other users, other processes' memory, mounts, modules, keys, clocks.
const FORBIDDEN: [i64; 46] = [
    libc::SYS_execve,
    libc::SYS_execveat,
    libc::SYS_ptrace,
    libc::SYS_process_vm_readv,
    libc::SYS_process_vm_writev,
    libc::SYS_setuid,
    libc::SYS_setgid,
    libc::SYS_setreuid,
    libc::SYS_setregid,
    libc::SYS_setresuid,
    libc::SYS_setresgid,
    libc::SYS_open_by_handle_at,
    libc::SYS_mount,
    libc::SYS_umount2,
    libc::SYS_move_mount,
    libc::SYS_open_tree,
    libc::SYS_fsopen,
    libc::SYS_fsmount,
    libc::SYS_fsconfig,
    libc::SYS_fspick,
    libc::SYS_mount_setattr,
    libc::SYS_pivot_root,
    libc::SYS_chroot,
    libc::SYS_unshare,
    libc::SYS_mknodat,
    libc::SYS_init_module,
    libc::SYS_finit_module,
    libc::SYS_delete_module,
    libc::SYS_kexec_load,
    libc::SYS_reboot,
    libc::SYS_swapon,
    libc::SYS_swapoff,
    libc::SYS_add_key,
    libc::SYS_request_key,
    libc::SYS_keyctl,
    libc::SYS_userfaultfd,
    libc::SYS_io_uring_setup,
    libc::SYS_settimeofday,
    libc::SYS_clock_settime,
    libc::SYS_adjtimex,
    libc::SYS_clock_adjtime,
    libc::SYS_sethostname,
    libc::SYS_setdomainname,
    libc::SYS_personality,
    libc::SYS_acct,
    libc::SYS_quotactl,
];

/// Everything is attached: what is left to do needs none of [`FORBIDDEN`], no socket but to ask the kernel about sockets, and no new code. A call that is
/// forbidden fails with EPERM, in all threads.
pub fn forbid_calls() {
    let filter = filter().map_err(|error| error.to_string());
    let done = filter
        .and_then(|filter| seccompiler::apply_filter_all_threads(&filter).map_err(|error| error.to_string()));
    if let Err(error) = done {
        log::warn!("calls that wrapwatch does not need stay open to it: {error}");
    }
}

fn filter() -> Result<BpfProgram, seccompiler::BackendError> {
    let only_if = |argument, op, value| {
        let condition = SeccompCondition::new(argument, SeccompCmpArgLen::Dword, op, value)?;
        SeccompRule::new(vec![condition])
    };
    let always = FORBIDDEN.into_iter().map(|call| (call, Vec::new()));
    let mut rules: BTreeMap<i64, Vec<SeccompRule>> = always.collect();
    let netlink = u64::try_from(libc::AF_NETLINK).unwrap_or_default();
    rules.insert(libc::SYS_socket, vec![only_if(0, SeccompCmpOp::Ne, netlink)?]);
    let code = u64::try_from(libc::PROT_EXEC).unwrap_or_default();
    for call in [libc::SYS_mmap, libc::SYS_mprotect, libc::SYS_pkey_mprotect] {
        rules.insert(call, vec![only_if(2, SeccompCmpOp::MaskedEq(code), code)?]);
    }
    let refused = SeccompAction::Errno(u32::try_from(libc::EPERM).unwrap_or(1));
    SeccompFilter::new(rules, SeccompAction::Allow, refused, std::env::consts::ARCH.try_into()?)?.try_into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_filter_is_one_the_kernel_takes() {
        let program = filter().unwrap();
        assert!(!program.is_empty() && program.len() < 4096, "{}", program.len());
        // On a thread of its own: it does not go off again.
        std::thread::spawn(move || {
            gain_nothing();
            seccompiler::apply_filter(&program).unwrap();
            let refused = std::net::TcpListener::bind("127.0.0.1:0").unwrap_err();
            assert_eq!(refused.raw_os_error(), Some(libc::EPERM));
            assert!(std::process::Command::new("/bin/true").spawn().is_err());
            // What a trace does goes on.
            assert!(std::fs::read("/proc/self/status").is_ok());
            std::thread::spawn(|| {}).join().unwrap();
        })
        .join()
        .unwrap();
    }
}
