//! Counters that the kernel side keeps beside the ring, one slot each in an array that user space maps, so that a loss is counted
//! also when nothing gets through.

/// What a counter counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CounterClass {
    /// What came about: nothing is missing.
    Traffic,
    /// Records that did not fit into the ring.
    Lost,
    /// What could not be followed because a map was full. It is missing from the output, though no record of it was lost.
    Full,
    /// Programs' runs that the kernel left out.
    Skipped,
}

/// A counter's slot. The values are part of the ABI.
#[repr(u32)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Counter {
    /// Connections accepted by the targets (all families), counted without the ring.
    Accepts = 0,
    /// Records that did not fit into the ring: accepts.
    LostAccept = 1,
    /// Lost: open, read, close and other file records.
    LostFile = 2,
    /// Lost: connect records.
    LostConnect = 3,
    /// Lost: DNS payload, either way.
    LostPayload = 4,
    /// Lost: first packets.
    LostFirstPacket = 5,
    /// Lost: socket states.
    LostSockState = 6,
    /// Lost: everything else.
    LostOther = 7,
    /// A descriptor could not be watched: the map was full.
    FullWatch = 8,
    /// A call could not be remembered until its return: the map was full.
    FullInflight = 9,
    /// A thread could not be given its connection: the map was full.
    FullThreads = 10,
    /// A connection could not be tracked: the map was full.
    FullConns = 11,
    /// Records written.
    Records = 12,
    /// Runs of the system calls' programs that the kernel left out, whoever made the call. The kernel counts them, not its programs: user space
    /// asks for it.
    SkippedCalls = 13,
    /// Lost: ICMP errors at sockets.
    LostSockError = 14,
}

/// Number of slots.
pub const COUNTERS: u32 = 15;

impl Counter {
    /// All of them, in slot order, with the name that the output uses.
    pub const ALL: [(Self, &'static str); COUNTERS as usize] = [
        (Self::Accepts, "accepts"),
        (Self::LostAccept, "lost_accept"),
        (Self::LostFile, "lost_file"),
        (Self::LostConnect, "lost_connect"),
        (Self::LostPayload, "lost_payload"),
        (Self::LostFirstPacket, "lost_first_packet"),
        (Self::LostSockState, "lost_sock_state"),
        (Self::LostOther, "lost_other"),
        (Self::FullWatch, "full_watch"),
        (Self::FullInflight, "full_inflight"),
        (Self::FullThreads, "full_threads"),
        (Self::FullConns, "full_conns"),
        (Self::Records, "records"),
        (Self::SkippedCalls, "skipped_calls"),
        (Self::LostSockError, "lost_sock_error"),
    ];

    /// What it counts.
    pub const fn class(self) -> CounterClass {
        match self {
            Self::Accepts | Self::Records => CounterClass::Traffic,
            Self::SkippedCalls => CounterClass::Skipped,
            Self::FullWatch | Self::FullInflight | Self::FullThreads | Self::FullConns => CounterClass::Full,
            _ => CounterClass::Lost,
        }
    }
}
