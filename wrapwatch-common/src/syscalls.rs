//! The system calls that are hooked, each declared once: programs, the loader's lists and what is shown to whoever approves them are made from this table.

/// Hands the table of hooked calls to a macro. Calls stand in groups that end alike:
///
/// ```text
/// end = number KIND (handler of the end, in the kernel side's probes; none where the end tells nothing) {
///     beginning CLASS (handler of the beginning): name SYS_name Required|IfThere, …;
/// }
/// ```
///
/// *KIND* and its number are what a beginning leaves for its end ([`crate::syscalls::call`]), *CLASS* is what has to be found out before a call is
/// looked at ([`crate::syscalls::class`]). Without a `Required` call nothing works; an `IfThere` one is newer than the oldest kernel, or not of each
/// architecture.
#[macro_export]
macro_rules! syscalls {
    ($callback:ident) => {
        $callback! {
            accept = 1 ACCEPT (accept::exit) {
                accept ACCEPT (accept::enter): accept SYS_accept IfThere, accept4 SYS_accept4 Required;
            }
            open = 2 OPEN (open::exit) {
                open HOOKED (open::open): #[cfg(target_arch = "x86_64")] open SYS_open IfThere;
                openat HOOKED (open::openat): openat SYS_openat Required, openat2 SYS_openat2 IfThere;
            }
            socket = 3 SOCKET (socket::exit) {
                socket HOOKED (socket::enter): socket SYS_socket Required;
            }
            connect = 4 CONNECT (connect::exit) {
                connect HOOKED (connect::enter): connect SYS_connect Required;
            }
            // The buffer is the argument.
            read = 5 READ (recv::exit_buffer) {
                read DESCRIPTOR (recv::read): read SYS_read Required;
                readv DESCRIPTOR (recv::readv): readv SYS_readv Required;
                recvfrom DESCRIPTOR (recv::recvfrom): recvfrom SYS_recvfrom Required;
            }
            recvmsg = 6 RECVMSG (recv::exit_recvmsg) {
                recvmsg DESCRIPTOR (recv::recvmsg): recvmsg SYS_recvmsg Required;
            }
            recvmmsg = 7 RECVMMSG (recv::exit_recvmmsg) {
                recvmmsg DESCRIPTOR (recv::recvmmsg): recvmmsg SYS_recvmmsg Required;
            }
            write = 8 WRITE (send::exit) {
                write DESCRIPTOR (send::write): write SYS_write Required;
                writev DESCRIPTOR (send::writev): writev SYS_writev Required;
                sendto DESCRIPTOR (send::sendto): sendto SYS_sendto Required;
                sendmsg DESCRIPTOR (send::sendmsg): sendmsg SYS_sendmsg Required;
                sendmmsg DESCRIPTOR (send::sendmmsg): sendmmsg SYS_sendmmsg Required;
            }
            getpeername = 9 PEER (peer::exit) {
                getpeername DESCRIPTOR (peer::enter): getpeername SYS_getpeername Required;
            }
            wait4 = 10 WAIT (wait::exit) {
                wait4 HOOKED (wait::enter): wait4 SYS_wait4 Required;
            }
            // Entered by user space for each thread that was there before the probes, where exits bear no name (raw tracepoints): its first exit may be
            // accept's. No call begins so.
            midway = 11 MIDWAY () {}
            dup = 12 DUP (dup::exit) {
                dup DESCRIPTOR (dup::dup): dup SYS_dup Required;
                dup2 CLOSE_OTHER (dup::dup2): #[cfg(target_arch = "x86_64")] dup2 SYS_dup2 IfThere, dup3 SYS_dup3 Required;
                fcntl DESCRIPTOR (dup::fcntl): fcntl SYS_fcntl Required;
            }
            // At the beginning all is told.
            nothing = 0 NOTHING () {
                close CLOSE (close::close): close SYS_close Required;
                shutdown DESCRIPTOR (close::shutdown): shutdown SYS_shutdown Required;
                close_range CLOSE_OTHER (dup::close_range): close_range SYS_close_range IfThere;
            }
        }
    };
}

macro_rules! kinds {
    ($($end:ident = $number:literal $kind:ident $end_handler:tt { $($calls:tt)* })*) => {
        /// What a call's beginning leaves for its end ([`crate::maps::Inflight::call`]): an end takes only its own.
        pub mod call {
            $(
                #[doc = concat!("Ends as `", stringify!($end), "`.")]
                pub const $kind: u8 = $number;
            )*
            /// Number of slots of a table by call.
            #[expect(clippy::cast_possible_truncation, reason = "they can be counted on one's fingers")]
            pub const KINDS: u32 = [$($number),*].len() as u32;

            const _: () = {
                $(assert!(($kind as u32) < KINDS);)*
            };
        }
    };
}
syscalls!(kinds);

/// What has to be found out before a system call is looked at, by its number.
pub mod class {
    /// Not looked at.
    pub const OTHER: u32 = 0;
    /// Looked at where the thread works for a connection: while one is open.
    pub const HOOKED: u32 = 1;
    /// Makes a connection at its exit.
    pub const ACCEPT: u32 = 2;
    /// Looked at where its first argument is a watched descriptor, while a connection is open.
    pub const DESCRIPTOR: u32 = 3;
    /// Looked at where its first argument is a watched descriptor, also while no connection is open: the descriptor goes.
    pub const CLOSE: u32 = 4;
    /// Takes a descriptor away that the first argument does not name.
    pub const CLOSE_OTHER: u32 = 5;

    /// Whether a call of this class matters also while no connection is open: it makes one, or takes a watched descriptor away.
    pub const fn always(class: u32) -> bool {
        matches!(class, ACCEPT | CLOSE | CLOSE_OTHER)
    }
}

/// Number of slots of a table by system call; all that matter were there before the five hundredth.
pub const NUMBERS: u32 = 512;

/// Numbers of the calls that a function of a protocol tells apart by them (`asm/unistd_64.h`; arm64: `asm-generic/unistd.h`). A test of the loader's compares them with libc's.
pub mod number {
    macro_rules! numbers {
        ($architecture:ident { $($name:ident = $number:literal),* $(,)? }) => {
            /// Of this architecture.
            pub mod $architecture {
                $(#[doc = concat!("`SYS_", stringify!($name), "`, in small letters.")]
                pub const $name: u32 = $number;)*
            }
        };
    }

    numbers!(x86_64 { WRITE = 1, WRITEV = 20, ACCEPT = 43, SENDTO = 44, RECVFROM = 45, SENDMSG = 46, RECVMSG = 47, ACCEPT4 = 288 });
    numbers!(aarch64 { WRITE = 64, WRITEV = 66, ACCEPT = 202, SENDTO = 206, RECVFROM = 207, SENDMSG = 211, RECVMSG = 212, ACCEPT4 = 242 });
}
