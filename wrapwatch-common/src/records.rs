//! The records that leave the kernel through the ring buffer, and that trace files store unchanged.
//!
//! A record is a [`Header`], the fixed body of its kind, and for some kinds a tail of bytes whose length the body
//! gives. All times are `CLOCK_MONOTONIC` nanoseconds. All addresses are IPv6, IPv4 ones v4-mapped (RFC 4291, 2.5.5.2).
//!
//! Ordering: one ring buffer serves all CPUs, so records appear in the order in which they were reserved. `ts_ns` is
//! read before the reservation, so neighbours from different CPUs may be out of order by the length of a probe.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// Most bytes of a DNS message (with its two length bytes over TCP) that a record carries.
pub const PAYLOAD_MAX: usize = 512;
/// Most bytes of a path that a record carries, without a terminating NUL.
pub const PATH_MAX: usize = 255;
/// Most bytes of the table's path in a [`Rule`].
pub const RULE_FILE_MAX: usize = 63;
/// Most bytes of a daemon's name in a [`Request`].
pub const DAEMON_MAX: usize = 63;
/// Whether a [`Rule`]'s tail names this path: it has no more than its first [`RULE_FILE_MAX`] bytes.
pub fn is_rule_file(tail: &[u8], path: &[u8]) -> bool {
    tail == path || (tail.len() == RULE_FILE_MAX && path.starts_with(tail))
}

/// Bytes of the first packet on an accepted socket that a record carries: the packet header (3 bytes of length,
/// 1 of sequence), the protocol version or 0xff, and an error's code.
pub const FIRST_PACKET_MAX: usize = 7;

macro_rules! record {
    ($(#[$meta:meta])* $name:ident { $($(#[$fmeta:meta])* $field:ident : $ty:ty),* $(,)? }) => {
        $(#[$meta])*
        #[repr(C)]
        #[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
        pub struct $name { $($(#[$fmeta])* pub $field: $ty),* }
    };
}

record! {
    /// Begins every record.
    Header {
        /// When it happened. For records written at a call's return this is the return; `enter_ns` in the body is the call.
        ts_ns: u64,
        /// Number of the accepted connection this belongs to, 0 for none.
        conn: u64,
        /// Process that is traced, in the PID namespace of the /proc that was read; [`ELSEWHERE`](crate::maps::ELSEWHERE) where it has no number there. Of a
        /// process that it has made, too: then `tid` is none of its own threads. 0 where the record belongs to no process ([`SockState`]).
        tgid: u32,
        /// Thread, in the same PID namespace; of an [`Exec`] 0 where the number it had before cannot be told.
        tid: u32,
        /// Counts the records of this `conn` from 1, those that did not fit into the ring included: a gap is a loss.
        /// 0 where `conn` is 0 or the connection is no longer tracked.
        seq: u32,
        /// One of [`Kind`].
        kind: u16,
        /// Length of the whole record in bytes, tail included.
        len: u16,
    }
}

record! {
    /// A socket address. For a family other than `AF_INET` and `AF_INET6` only `family` is filled.
    Addr {
        /// IPv6 address, or the IPv4 one v4-mapped, in network byte order.
        ip: [u8; 16],
        /// `AF_INET`, `AF_INET6`, `AF_UNIX`, …; 0 where the kernel was given none.
        family: u16,
        /// Port in host byte order.
        port: u16,
        /// IPv6 scope, 0 otherwise.
        scope: u32,
    }
}

/// Hands the table of record kinds to a macro: name and number of a kind, its body, which columns of a trace's block the body begins with (in this order),
/// and for what has a tail, the body's field with the tail's length and the most bytes of it. The numbers are part of the ABI. Everything that has to know of
/// each kind is made from this table: a new kind is a row here and its body below.
#[macro_export]
macro_rules! records {
    ($callback:ident) => {
        $callback! {
            /// [`Accept`]
            Accept = 1: Accept { enter_ns };
            /// [`Open`]
            Open = 2: Open { enter_ns } + [u8; path_len <= PATH_MAX];
            /// [`Connect`]
            Connect = 3: Connect { enter_ns run_delay_ns } + [u8; path_len <= PATH_MAX];
            /// [`Payload`], written at the call: a DNS message on its way out.
            Send = 4: Payload { enter_ns run_delay_ns } + [u8; payload_len <= PAYLOAD_MAX];
            /// [`Payload`], written at the return: a DNS message that came in.
            Recv = 5: Payload { enter_ns run_delay_ns } + [u8; payload_len <= PAYLOAD_MAX];
            /// [`Io`]
            Io = 6: Io { enter_ns };
            /// [`Close`]
            Close = 7: Close { run_delay_ns };
            /// [`Shutdown`]
            Shutdown = 8: Shutdown {};
            /// [`FirstPacket`]
            FirstPacket = 9: FirstPacket {};
            /// [`SockState`]
            SockState = 10: SockState {};
            /// [`Peer`]
            Peer = 11: Peer {};
            /// [`Wait`]
            Wait = 12: Wait { enter_ns };
            /// [`Rule`]
            Rule = 13: Rule {} + [u8; file_len <= RULE_FILE_MAX];
            /// [`Check`]
            Check = 14: Check {};
            /// [`Exit`]
            Exit = 15: Exit {};
            /// [`Exec`]
            Exec = 16: Exec {};
            /// [`SockError`]
            SockError = 17: SockError {};
            /// [`AcceptFailed`]
            AcceptFailed = 18: AcceptFailed { enter_ns };
            /// [`AcceptSocket`]
            AcceptSocket = 19: AcceptSocket { enter_ns };
            /// [`Fork`]
            Fork = 20: Fork {};
            /// [`Request`]
            Request = 21: Request {} + [u8; daemon_len <= DAEMON_MAX];
            /// [`Subject`]
            Subject = 22: Subject {};
            /// [`Login`]
            Login = 23: Login {};
        }
    };
}

/// How long a column of a body is.
const WORD: usize = size_of::<u64>();

/// Asserts where the columns of a body are, and whether it has one of them.
macro_rules! columns {
    (assert $body:ident $at:expr;) => {};
    (assert $body:ident $at:expr; $column:ident $($rest:ident)*) => {
        assert!(core::mem::offset_of!($body, $column) == $at);
        columns!(assert $body $at + WORD; $($rest)*);
    };
    (enter_ns in enter_ns $($rest:ident)*) => { true };
    (run_delay_ns in run_delay_ns) => { true };
    (run_delay_ns in enter_ns run_delay_ns) => { true };
    ($column:ident in $($rest:ident)*) => { false };
}

macro_rules! kinds {
    ($($(#[$doc:meta])* $kind:ident = $number:literal: $body:ident { $($column:ident)* } $(+ [$byte:ty; $len:ident <= $max:ident])?;)*) => {
        /// What a record tells. The values are part of the ABI.
        #[repr(u16)]
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum Kind { $($(#[$doc])* $kind = $number),* }

        impl Kind {
            /// All of them, by number.
            pub const ALL: &[Self] = &[$(Self::$kind),*];

            /// The kind with this number, if there is one.
            pub const fn from_raw(raw: u16) -> Option<Self> {
                Some(match raw {
                    $($number => Self::$kind,)*
                    _ => return None,
                })
            }
        }

        /// Whether the body of this kind begins with `enter_ns`.
        pub const fn has_enter(kind: u16) -> bool {
            match kind {
                $($number => columns!(enter_ns in $($column)*),)*
                _ => false,
            }
        }

        /// Whether the body of this kind has `run_delay_ns`: it begins with it, or has it behind `enter_ns`.
        pub const fn has_run_delay(kind: u16) -> bool {
            match kind {
                $($number => columns!(run_delay_ns in $($column)*),)*
                _ => false,
            }
        }

        const _: () = {
            $(
                columns!(assert $body size_of::<Header>(); $($column)*);
                assert!(size_of::<$body>() $(+ $max)? <= RECORD_MAX);
            )*
        };
    };
}
records!(kinds);

/// Why a descriptor is watched. The values are part of the ABI; `u8` in records and map values.
#[repr(u8)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Class {
    /// An accepted socket whose first packet was not sent yet.
    Accepted = 1,
    /// A socket made inside a check that is not connected yet.
    Socket = 2,
    /// A file opened inside a check, or by a connection thread before its first packet.
    File = 3,
    /// A socket that talks to port 53: the only class whose payload is recorded.
    Dns = 4,
    /// A stream socket connected to port 113 (RFC 1413).
    Ident = 5,
    /// A unix socket: syslog, nscd, systemd-resolved; its path tells.
    Unix = 6,
    /// A socket connected to anything else.
    Other = 7,
    /// An accepted socket whose client logs in.
    Login = 8,
}

impl Class {
    /// The class with this number, if there is one.
    pub const fn from_raw(raw: u8) -> Option<Self> {
        Some(match raw {
            1 => Self::Accepted,
            2 => Self::Socket,
            3 => Self::File,
            4 => Self::Dns,
            5 => Self::Ident,
            6 => Self::Unix,
            7 => Self::Other,
            8 => Self::Login,
            _ => return None,
        })
    }
}

/// [`Io::op`] of `read` and its relatives.
pub const OP_READ: u8 = 1;
/// [`Io::op`] of `write`, `send` and their relatives.
pub const OP_WRITE: u8 = 2;

record! {
    /// `accept` or `accept4` returned a socket. Written at the return; `hdr.conn` is the number it was given.
    Accept {
        /// Header.
        hdr: Header,
        /// When the call was entered; 0 where it began before the probes were there.
        enter_ns: u64,
        /// The peer as the call reported it; family 0 where the caller did not ask.
        peer: Addr,
        /// The new descriptor.
        fd: i32,
        /// The listener's descriptor; -1 where the call's enter was not seen.
        listener: i32,
    }
}

record! {
    /// `open`, `openat` or `openat2` inside a check returned. Tail: the path, `path_len` bytes.
    Open {
        /// Header.
        hdr: Header,
        /// When the call was entered.
        enter_ns: u64,
        /// Descriptor, or negative errno.
        ret: i32,
        /// Length of the tail.
        path_len: u16,
        /// Zero.
        pad: u16,
    }
}

record! {
    /// `connect` returned, or the first `sendto` with an address classified an unconnected socket. Tail: a unix
    /// socket's path (an abstract one begins with a NUL), `path_len` bytes.
    Connect {
        /// Header.
        hdr: Header,
        /// When the call was entered.
        enter_ns: u64,
        /// How long this thread has been runnable without a CPU since it began (`sched_info.run_delay` of the kernel's
        /// `struct task_struct`); 0 where the kernel's layout is not known. The difference between two records is time that is nobody's
        /// fault but the scheduler's.
        run_delay_ns: u64,
        /// Where to.
        addr: Addr,
        /// The descriptor.
        fd: i32,
        /// 0, or negative errno (`-EINPROGRESS` is a beginning, not a failure).
        ret: i32,
        /// [`Class`] it was given.
        class: u8,
        /// `SOCK_STREAM`, `SOCK_DGRAM`, …; 0 where `socket()` was not seen.
        sock_type: u8,
        /// Length of the tail.
        path_len: u16,
        /// Zero.
        pad: u32,
    }
}

record! {
    /// A DNS message on a watched socket. Kind [`Kind::Send`]: at the call, `enter_ns == hdr.ts_ns`. Kind
    /// [`Kind::Recv`]: at the return. Tail: `payload_len` bytes, the beginning of the message.
    Payload {
        /// Header.
        hdr: Header,
        /// When the call was entered.
        enter_ns: u64,
        /// How long this thread has been runnable without a CPU since it began (`sched_info.run_delay` of the kernel's
        /// `struct task_struct`); 0 where the kernel's layout is not known. The difference between two records is time that is nobody's
        /// fault but the scheduler's.
        run_delay_ns: u64,
        /// Where to or from, where the call named one; family 0 otherwise.
        addr: Addr,
        /// The descriptor.
        fd: i32,
        /// Bytes the call was given (send) or returned (recv), before the cut to [`PAYLOAD_MAX`].
        full_len: u32,
        /// Length of the tail.
        payload_len: u16,
        /// Index of the message within one `sendmmsg`/`recvmmsg`, 0 otherwise.
        index: u16,
        /// `SOCK_STREAM`, `SOCK_DGRAM`, …; 0 unknown.
        sock_type: u8,
        /// Zero.
        pad: [u8; 3],
    }
}

record! {
    /// A call on a watched descriptor returned, content not recorded: file reads, syslog, ident, nscd; on a DNS socket only
    /// sends that failed, and receives that failed otherwise than with `EAGAIN`.
    Io {
        /// Header.
        hdr: Header,
        /// When the call was entered.
        enter_ns: u64,
        /// Bytes, or negative errno.
        ret: i64,
        /// The descriptor.
        fd: i32,
        /// [`OP_READ`] or [`OP_WRITE`].
        op: u8,
        /// [`Class`] of the descriptor.
        class: u8,
        /// Zero.
        pad: u16,
    }
}

record! {
    /// `close` of a watched descriptor, written at the call (the number can be reused before it returns). Also written
    /// when `dup2`, `dup3` or `close_range` closed it.
    Close {
        /// Header.
        hdr: Header,
        /// How long this thread has been runnable without a CPU since it began (`sched_info.run_delay` of the kernel's
        /// `struct task_struct`); 0 where the kernel's layout is not known. The difference between two records is time that is nobody's
        /// fault but the scheduler's.
        run_delay_ns: u64,
        /// The descriptor.
        fd: i32,
        /// [`Class`] it had.
        class: u8,
        /// 1 where a read had found a file's end, at once: of that read there is no [`Io`].
        read_to_end: u8,
        /// Zero.
        pad: [u8; 2],
    }
}

record! {
    /// `shutdown` of an accepted socket before its first packet, written at the call.
    Shutdown {
        /// Header.
        hdr: Header,
        /// The descriptor.
        fd: i32,
        /// `SHUT_RD`, `SHUT_WR`, `SHUT_RDWR`.
        how: i32,
    }
}

record! {
    /// The first bytes written to an accepted socket, at the call.
    FirstPacket {
        /// Header.
        hdr: Header,
        /// The descriptor.
        fd: i32,
        /// Bytes the call was given.
        full_len: u32,
        /// The packet's beginning.
        bytes: [u8; FIRST_PACKET_MAX],
        /// How many of `bytes` are filled.
        n: u8,
    }
}

record! {
    /// A TCP socket on one of the target's listening ports changed state (`sock:inet_sock_set_state`). It happens in
    /// whatever task handles the packet, so `hdr.tgid` and `hdr.conn` are 0. Or a client of a unix socket came into its listener's queue: of family `AF_UNIX`, as if a
    /// handshake was completed.
    SockState {
        /// Header.
        hdr: Header,
        /// The kernel's address of the socket: an identity, never to be shown.
        sk: u64,
        /// Local address.
        local: Addr,
        /// Peer's address.
        peer: Addr,
        /// Inode of the socket's network namespace, 0 where the kernel's layout is not known.
        netns: u32,
        /// Old state (`enum` in the kernel's net/tcp_states.h).
        old: u8,
        /// New state.
        new: u8,
        /// Zero.
        pad: u16,
    }
}

record! {
    /// `getpeername` on an accepted socket: by a thread that had not touched it yet (the hand-over), or failed. Where made processes are followed, also what such a thread reads first.
    Peer {
        /// Header.
        hdr: Header,
        /// The descriptor.
        fd: i32,
        /// 0, or negative errno (`-ENOTCONN`: the client had reset the connection).
        ret: i32,
    }
}

record! {
    /// `wait4` inside a check returned: a `spawn`ed command was waited for.
    Wait {
        /// Header.
        hdr: Header,
        /// When the call was entered.
        enter_ns: u64,
        /// PID in the caller's PID namespace, or negative errno.
        ret: i32,
        /// Zero.
        pad: u32,
    }
}

record! {
    /// libwrap's `tcpd_context` had changed when a watched `connect` (to port 53 or 113) or `close` of a file read it. Tail: the table's
    /// path, `file_len` bytes; none where the context was (null, 0).
    Rule {
        /// Header.
        hdr: Header,
        /// Line number, from 1, of the rule's last line (libwrap counts continuation lines).
        line: i32,
        /// Length of the tail.
        file_len: u16,
        /// Zero.
        pad: u16,
    }
}

/// [`Check::what`]: libwrap's `hosts_access`, the whole check.
pub const WHAT_HOSTS_ACCESS: u8 = 1;
/// [`Request::what`]: libwrap's `hosts_ctl`, which is given names and looks none up.
pub const WHAT_HOSTS_CTL: u8 = 4;
/// [`Check::what`]: libwrap's `rfc931`, an ident lookup.
pub const WHAT_RFC931: u8 = 2;
/// [`Check::what`]: libwrap's `shell_cmd`, a spawned command.
pub const WHAT_SHELL_CMD: u8 = 3;

record! {
    /// A libwrap function was entered or returned (uprobes).
    Check {
        /// Header.
        hdr: Header,
        /// Result, for a return of `hosts_access`: non-zero admits.
        ret: i32,
        /// `WHAT_*`.
        what: u8,
        /// 0 entered, 1 returned.
        returned: u8,
        /// Zero.
        pad: u16,
    }
}

record! {
    /// A thread with an open connection, or the process, ended.
    Exit {
        /// Header.
        hdr: Header,
        /// 1 when it was the thread group's leader.
        leader: u32,
        /// Zero.
        pad: u32,
    }
}

record! {
    /// The process replaced itself by another program (`execve`; libwrap's `twist` does).
    Exec {
        /// Header. `tid` is the thread that called; it goes on with the leader's number.
        hdr: Header,
    }
}

record! {
    /// An error was queued on a socket that talks to port 53 or 113 (`sock:inet_sk_error_report`, Linux 5.14): an ICMP answer. It happens
    /// in whatever task handles the packet, so `hdr.tgid` and `hdr.conn` are 0.
    SockError {
        /// Header.
        hdr: Header,
        /// Local address.
        local: Addr,
        /// Remote address.
        peer: Addr,
        /// errno, positive.
        error: i32,
        /// `IPPROTO_UDP` or `IPPROTO_TCP`.
        protocol: u32,
    }
}

record! {
    /// `accept` or `accept4` failed, for another reason than that there was no client or a signal came (`EAGAIN`, `EINTR`). A server without a free
    /// descriptor tries again without a pause, so that not each failure has a record: the first one has, and then ten a second at most.
    AcceptFailed {
        /// Header. `conn` is 0.
        hdr: Header,
        /// When the call was entered; 0 where it began before the probes were there.
        enter_ns: u64,
        /// How often accepts of this process had failed with this error by then, this one included, since the process is traced.
        failures: u64,
        /// The listener's descriptor; -1 where the call's enter was not seen.
        listener: i32,
        /// errno, positive.
        error: i32,
    }
}

record! {
    /// `accept` or `accept4` returned a socket, where the kernel's own structures can be read: [`Accept`] with the socket itself, by which its handshake, its
    /// end and whoever has a descriptor of it are known.
    AcceptSocket {
        /// Header. `conn` is new here.
        hdr: Header,
        /// When the call was entered; 0 where it began before the probes were there.
        enter_ns: u64,
        /// The kernel's address of the socket, as in [`SockState`].
        sk: u64,
        /// Local address. Of a socket that is neither IPv4 nor IPv6 no more than the family.
        local: Addr,
        /// The client's, whether or not the server asked for it.
        peer: Addr,
        /// Inode of the socket's network namespace.
        netns: u32,
        /// The accepted socket's descriptor.
        fd: i32,
        /// The listener's descriptor in the process that accepted; -1 where the call's enter was not seen.
        listener: i32,
        /// The process that accepted, whose descriptors these are: the one of the header, or one that it has made.
        process: u32,
    }
}

record! {
    /// A thread that works for a connection made a process or a thread, which works for it as well from then on.
    Fork {
        /// Header: of the thread that made it.
        hdr: Header,
        /// The new thread's number, for a process its first thread's.
        child: u32,
        /// Whether what it does is seen: 1, or 0 where a map was full.
        followed: u32,
    }
}

record! {
    /// What libwrap is asked, at the entry of the function (uprobes), by a server whose processes are followed. Tail: the daemon's name as it is given, `daemon_len`
    /// bytes.
    Request {
        /// Header. `conn` is that of a [`Subject`] where the client has no connection that is followed; 0 where there was no room for it.
        hdr: Header,
        /// The client's descriptor in the process that asks; negative where it gave none.
        fd: i32,
        /// Length of the tail.
        daemon_len: u16,
        /// [`WHAT_HOSTS_ACCESS`] or [`WHAT_HOSTS_CTL`].
        what: u8,
        /// Zero.
        pad: u8,
    }
}

record! {
    /// Somebody is looked up whose connection is not followed: libwrap is asked about a datagram's sender, about a request within a connection, at a login after
    /// the first byte; or the server looks its client up after the first byte; or a client that was greeted logs in. What is done for it bears the number that it is given here, until
    /// libwrap has answered, the last nameserver's socket is closed, or the login is over.
    Subject {
        /// Header. `conn` is new here, counted with the connections'.
        hdr: Header,
        /// The client, as libwrap is told; family 0 where it is not, or the server asks by itself.
        peer: Addr,
        /// The connection that the process was made for, or accepted last, where it is one that a target has made; a login's; 0 otherwise.
        within: u64,
        /// `SUBJECT_*`.
        why: u32,
        /// Zero.
        pad: u32,
    }
}

record! {
    /// A login of MySQL's protocol is over, as far as it is followed. Written when the server sends its answer, or closes the connection.
    Login {
        /// Header. `conn` is that of a [`Subject`].
        hdr: Header,
        /// For how long the server waited for the client since the greeting.
        client_ns: u64,
        /// Packets that the server has sent since the greeting.
        packets: u32,
        /// The last packet's beginning, as of [`FirstPacket`].
        bytes: [u8; FIRST_PACKET_MAX],
        /// [`crate::mysql::LoginEnd`].
        end: u8,
        /// Zero.
        pad: u32,
    }
}

/// [`Subject::why`]: libwrap is asked.
pub const SUBJECT_ASKED: u32 = 0;
/// [`Subject::why`]: the server looks it up.
pub const SUBJECT_LOOKED_UP: u32 = 1;
/// [`Subject::why`]: it logs in.
pub const SUBJECT_LOGS_IN: u32 = 2;

/// Longest record there is.
pub const RECORD_MAX: usize = size_of::<Payload>() + PAYLOAD_MAX;

const _: () = {
    use core::mem::offset_of;
    assert!(size_of::<Header>() == 32);
    assert!(offset_of!(Header, kind) == 28);
    assert!(size_of::<Addr>() == 24);
    assert!(size_of::<Accept>() == 72);
    assert!(size_of::<Open>() == 48);
    assert!(size_of::<Connect>() == 88);
    assert!(size_of::<Payload>() == 88);
    assert!(offset_of!(Payload, payload_len) == 80);
    assert!(size_of::<Io>() == 56);
    assert!(size_of::<Close>() == 48);
    assert!(size_of::<Shutdown>() == 40);
    assert!(size_of::<FirstPacket>() == 48);
    assert!(size_of::<SockState>() == 96);
    assert!(size_of::<Peer>() == 40);
    assert!(size_of::<Wait>() == 48);
    assert!(size_of::<Rule>() == 40);
    assert!(size_of::<Check>() == 40);
    assert!(size_of::<Exit>() == 40);
    assert!(size_of::<Exec>() == 32);
    assert!(size_of::<SockError>() == 88);
    assert!(size_of::<AcceptFailed>() == 56);
    assert!(size_of::<AcceptSocket>() == 112);
    assert!(size_of::<Fork>() == 40);
    assert!(size_of::<Request>() == 40);
    assert!(size_of::<Subject>() == 72);
    assert!(size_of::<Login>() == 56);
};
