//! errno by name.

/// errno by name (Linux, the generic numbers); 1 for a name that is not here.
pub(super) fn number(name: &str) -> i32 {
    ERRNO.iter().find(|(known, _)| *known == name).map_or(libc::EPERM, |(_, n)| *n)
}

/// The name of an errno, `EPERM` for one that is not here: [`number`] gave that for its name.
pub(super) fn name(number: i32) -> &'static str {
    // `EAGAIN` and `EWOULDBLOCK` are one number: the first is taken.
    ERRNO.iter().find(|(_, known)| *known == number).map_or("EPERM", |(name, _)| name)
}

const ERRNO: &[(&str, i32)] = &[
    ("EPERM", libc::EPERM),
    ("ENOENT", libc::ENOENT),
    ("EINTR", libc::EINTR),
    ("EIO", libc::EIO),
    ("ENXIO", libc::ENXIO),
    ("EBADF", libc::EBADF),
    ("ECHILD", libc::ECHILD),
    ("EAGAIN", libc::EAGAIN),
    ("EWOULDBLOCK", libc::EAGAIN),
    ("ENOMEM", libc::ENOMEM),
    ("EACCES", libc::EACCES),
    ("EFAULT", libc::EFAULT),
    ("ENOTDIR", libc::ENOTDIR),
    ("EISDIR", libc::EISDIR),
    ("EINVAL", libc::EINVAL),
    ("ENFILE", libc::ENFILE),
    ("EMFILE", libc::EMFILE),
    ("ENOSPC", libc::ENOSPC),
    ("EPIPE", libc::EPIPE),
    ("ELOOP", libc::ELOOP),
    ("ENOTSOCK", libc::ENOTSOCK),
    ("EDESTADDRREQ", libc::EDESTADDRREQ),
    ("EMSGSIZE", libc::EMSGSIZE),
    ("EPROTONOSUPPORT", libc::EPROTONOSUPPORT),
    ("ENAMETOOLONG", libc::ENAMETOOLONG),
    ("EOVERFLOW", libc::EOVERFLOW),
    ("ESTALE", libc::ESTALE),
    ("ENODEV", libc::ENODEV),
    ("ETXTBSY", libc::ETXTBSY),
    ("EBUSY", libc::EBUSY),
    ("EROFS", libc::EROFS),
    ("EPROTO", libc::EPROTO),
    ("ENOPROTOOPT", libc::ENOPROTOOPT),
    ("ENONET", libc::ENONET),
    ("EOPNOTSUPP", libc::EOPNOTSUPP),
    ("EAFNOSUPPORT", libc::EAFNOSUPPORT),
    ("EADDRINUSE", libc::EADDRINUSE),
    ("EADDRNOTAVAIL", libc::EADDRNOTAVAIL),
    ("ENETDOWN", libc::ENETDOWN),
    ("ENETUNREACH", libc::ENETUNREACH),
    ("ECONNABORTED", libc::ECONNABORTED),
    ("ECONNRESET", libc::ECONNRESET),
    ("ENOBUFS", libc::ENOBUFS),
    ("EISCONN", libc::EISCONN),
    ("ENOTCONN", libc::ENOTCONN),
    ("ETIMEDOUT", libc::ETIMEDOUT),
    ("ECONNREFUSED", libc::ECONNREFUSED),
    ("EHOSTDOWN", libc::EHOSTDOWN),
    ("EHOSTUNREACH", libc::EHOSTUNREACH),
    ("EALREADY", libc::EALREADY),
    ("EINPROGRESS", libc::EINPROGRESS),
];
