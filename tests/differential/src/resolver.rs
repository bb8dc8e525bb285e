//! What `resolve-once` is asked and answers: one pair of lookups by the real glibc, in namespaces of its own, with nameservers that
//! answer, keep silent or are not there.

use serde::{Deserialize, Serialize};

/// How a nameserver behaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Nameserver {
    /// Answers everything: any address has a name, any name has the address.
    Answers,
    /// Its packets go nowhere.
    Silent,
    /// Answers PTR questions only.
    PtrOnly,
    /// Nothing listens: the kernel says so at once.
    Refuses,
    /// Says NXDOMAIN.
    NoSuchName,
    /// Answers nothing but the last query of a name, and that so late: PTR questions with the name, all others with NXDOMAIN.
    LastMoment {
        /// Which query of a name that is, from 1.
        query: u32,
        /// How late, in milliseconds.
        after_ms: u64,
    },
}

/// The question: configuration files and the world behind them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Question {
    /// resolv.conf.
    pub resolv_conf: String,
    /// nsswitch.conf; none for a file that is not there.
    pub nsswitch: Option<String>,
    /// hosts.
    pub hosts: String,
    /// Addresses that nameservers have, and what they do.
    pub nameservers: Vec<(String, Nameserver)>,
    /// The host's own name.
    pub hostname: String,
    /// The client's address.
    pub client: String,
    /// The name nameservers give it.
    pub name: String,
}

/// How long something took. The kernel counts how long a thread was ready and had no CPU, and now and then takes a sleep for that (from Linux 6.12 on, where
/// the thread is moved to another CPU meanwhile): so the time that is not the machine's lies between two bounds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Took {
    /// By the clock.
    pub elapsed_ns: u64,
    /// Without what the kernel says that threads which ask and answer had no CPU.
    pub with_cpu_ns: u64,
}

/// What came of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Timing {
    /// How long the reverse lookup took.
    pub reverse: Took,
    /// Its result.
    pub name: Option<String>,
    /// How long the forward lookup took, where there was one.
    pub forward: Option<Took>,
    /// Whether it found the address.
    pub found: bool,
    /// Queries the nameservers saw: address, name, type.
    pub queries: Vec<(String, String, u16)>,
}

/// A resolv.conf as the real `res_ninit` reads it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Settings {
    /// Nameservers.
    pub nameservers: Vec<std::net::IpAddr>,
    /// `retrans`: seconds.
    pub timeout_s: i32,
    /// `retry`.
    pub attempts: i32,
    /// `ndots`.
    pub ndots: u32,
    /// `RES_ROTATE`.
    pub rotate: bool,
    /// `RES_USEVC`.
    pub use_vc: bool,
    /// `RES_NOAAAA`.
    pub no_aaaa: bool,
    /// The search list; `dnsrch` has room for six.
    pub search: Vec<Vec<u8>>,
}
