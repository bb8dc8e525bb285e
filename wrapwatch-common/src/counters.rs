//! Counters that the kernel side keeps beside the ring, one slot each in an array that user space maps, so that a loss is counted
//! also when nothing gets through.

/// What a counter counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CounterClass {
    /// What came about: nothing is missing.
    Traffic,
    /// What did not come through: records that did not fit into the ring, ends of calls that were not seen.
    Lost,
    /// What could not be followed because a map was full. It is missing from the output, though no record of it was lost.
    Full,
    /// Programs' runs that the kernel left out.
    Skipped,
}

impl CounterClass {
    /// Whether something that happened is missing from the output.
    pub const fn is_missing(self) -> bool {
        !matches!(self, Self::Traffic)
    }
}

macro_rules! counters {
    ($($(#[$doc:meta])* $counter:ident = $slot:literal $name:literal $class:ident;)*) => {
        /// A counter's slot. The values are part of the ABI.
        #[repr(u32)]
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum Counter { $($(#[$doc])* $counter = $slot),* }

        /// Number of slots.
        #[expect(clippy::cast_possible_truncation, reason = "they can be counted on one's fingers")]
        pub const COUNTERS: u32 = [$($slot),*].len() as u32;

        impl Counter {
            /// All of them, in slot order, with the name that the output uses.
            pub const ALL: [(Self, &'static str); COUNTERS as usize] = [$((Self::$counter, $name)),*];

            /// What it counts.
            pub const fn class(self) -> CounterClass {
                match self { $(Self::$counter => CounterClass::$class),* }
            }
        }
    };
}

counters! {
    /// Connections accepted by the targets (all families), counted without the ring.
    Accepts = 0 "accepts" Traffic;
    /// Records that did not fit into the ring: accepts.
    LostAccept = 1 "lost_accept" Lost;
    /// Lost: open, read, close and other file records.
    LostFile = 2 "lost_file" Lost;
    /// Lost: connect records.
    LostConnect = 3 "lost_connect" Lost;
    /// Lost: DNS payload, either way.
    LostPayload = 4 "lost_payload" Lost;
    /// Lost: first packets, and closes of accepted sockets: what a connection ends with.
    LostFirstPacket = 5 "lost_first_packet" Lost;
    /// Lost: socket states.
    LostSockState = 6 "lost_sock_state" Lost;
    /// Lost: everything else.
    LostOther = 7 "lost_other" Lost;
    /// A descriptor could not be watched: the map was full.
    FullWatch = 8 "full_watch" Full;
    /// A call could not be remembered until its return: the map was full.
    FullInflight = 9 "full_inflight" Full;
    /// A thread could not be given its connection: the map was full.
    FullThreads = 10 "full_threads" Full;
    /// A connection could not be tracked: the map was full.
    FullConns = 11 "full_conns" Full;
    /// Records written.
    Records = 12 "records" Traffic;
    /// Runs of the system calls' programs that the kernel left out, whoever made the call. The kernel counts them, not its programs: user space
    /// asks for it.
    SkippedCalls = 13 "skipped_calls" Skipped;
    /// Lost: ICMP errors at sockets.
    LostSockError = 14 "lost_sock_error" Lost;
    /// Lost: accepts that failed. They belong to no connection, and the next one that is told bears the whole count.
    LostAcceptFailed = 15 "lost_accept_failed" Lost;
    /// A process' failing accepts could not be counted: the map was full.
    FullFailures = 16 "full_failures" Full;
    /// A process that a target made could not be followed: the map was full.
    FullTargets = 17 "full_targets" Full;
    /// Ends of calls that were not seen: where another tool's program comes to a function or goes, the kernel runs none of the trampolines at the end of the calls that
    /// sleep in it.
    LostEnd = 18 "lost_end" Lost;
}

const _: () = {
    let mut slot = 0;
    while slot < COUNTERS {
        assert!(Counter::ALL[slot as usize].0 as u32 == slot, "slots are in order, without gaps");
        slot += 1;
    }
};
