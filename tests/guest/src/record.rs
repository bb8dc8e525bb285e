//! What the guest says on its second serial port: one JSON object a line. `xtask` compiles this file too, so that both ends agree.

use serde::{Deserialize, Serialize};

/// How a test ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// It showed what it is for.
    Pass,
    /// It did not.
    Fail,
    /// It cannot be had on this kernel.
    Skip,
}

/// One line.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "record", rename_all = "snake_case")]
pub enum Record {
    /// The guest has come up.
    Up {
        /// `uname -r`.
        release: String,
    },
    /// A test begins: what a guest was at when it was heard of last.
    Begin {
        /// Its name.
        test: String,
    },
    /// A test is over.
    Test {
        /// Its name.
        test: String,
        /// How it ended.
        outcome: Outcome,
        /// Why it failed or was skipped.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        reason: Option<String>,
        /// How long it took.
        ms: u64,
    },
    /// What the verifier went through for one program.
    Program {
        /// The way of attaching, and its name as the kernel has it, 15 characters at most; of several with the same the later ones are numbered.
        name: String,
        /// Instructions verified, paths counted each; before Linux 5.16, which does not say, instructions it consists of.
        instructions: u32,
    },
    /// What one set of privileges gives.
    Privileges(Privileges),
    /// Instructions of one kind of work.
    Cost(Cost),
    /// Everything has been run; nothing follows.
    Verdict {
        /// Tests passed.
        passed: usize,
        /// Tests failed.
        failed: usize,
        /// Tests skipped.
        skipped: usize,
    },
}

/// What one set of privileges gives on one kernel.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Privileges {
    /// The set, in words.
    pub set: String,
    /// What it gives, in words.
    pub gives: String,
}

/// Instructions of one kind of work, once; of `idle`, a second.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cost {
    /// The set of hooks: `raw`, `perf`.
    pub hooks: String,
    /// What is done: `query`, `connection`, `connection-lookups`, `other-unhooked`, `other-hooked`, `idle`.
    pub work: String,
    /// wrapwatch's command: `live`, `record`.
    pub command: String,
    /// Of the whole machine, client, nameserver and wrapwatch included; of another process's call, of the call.
    #[serde(flatten)]
    pub whole: Beside,
    /// Of the server's calls alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub calls: Option<Beside>,
}

/// The same work beside different things.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Beside {
    /// Beside nothing.
    pub none: u64,
    /// Beside programs that do nothing, on the same hooks as wrapwatch's.
    pub floor: u64,
    /// Beside wrapwatch.
    pub wrapwatch: u64,
}
