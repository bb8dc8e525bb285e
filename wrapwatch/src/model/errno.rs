//! Errors of system calls by name.

use nix::errno::Errno;

/// Name of an errno (errno(3)); `errno N` for one that has none.
pub fn errno_name(errno: i32) -> String {
    match Errno::from_raw(errno) {
        Errno::UnknownErrno => format!("errno {errno}"),
        known => format!("{known:?}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_have_their_names() {
        assert_eq!(errno_name(libc::EMFILE), "EMFILE");
        assert_eq!(errno_name(libc::ELOOP), "ELOOP");
        assert_eq!(errno_name(4_095), "errno 4095");
        assert_eq!(errno_name(-24), "errno -24");
    }
}
