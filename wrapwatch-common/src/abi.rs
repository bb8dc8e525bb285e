//! Numbers of Linux that records and kernel structures bear, for both sides: the kernel side has no libc, and a trace is read where another system's may be
//! other ones.

/// `AF_UNIX`
pub const AF_UNIX: u16 = 1;
/// `AF_INET`
pub const AF_INET: u16 = 2;
/// `AF_INET6`
pub const AF_INET6: u16 = 10;
/// `SOCK_STREAM` (x86, arm; not MIPS)
pub const SOCK_STREAM: u8 = 1;
/// `SOCK_DGRAM`
pub const SOCK_DGRAM: u8 = 2;
/// Port of nameservers (RFC 1035, 4.2).
pub const PORT_DNS: u16 = 53;
/// Port of ident (RFC 1413).
pub const PORT_IDENT: u16 = 113;
/// `EINTR` (errno(3))
pub const EINTR: i32 = 4;
/// `EAGAIN` (x86, arm)
pub const EAGAIN: i32 = 11;
