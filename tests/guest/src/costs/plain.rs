//! The plain server, in a process of its own.

use std::{
    io::{BufRead as _, BufReader, Write as _},
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
};

use anyhow::{Context as _, Result, ensure};

use super::Server;
use crate::work::Work;

/// By its name wrapwatch takes it for a server that serves with threads.
const PROGRAM: &str = "/usr/sbin/mysqld";

/// Ended with this.
pub(super) struct Plain {
    child: Child,
    to: ChildStdin,
    from: BufReader<ChildStdout>,
}

impl Plain {
    /// Starts it; when this returns, it listens.
    pub(super) fn start() -> Result<Self> {
        let mut child = Command::new(PROGRAM)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .context("cannot run the plain server")?;
        let to = child.stdin.take().context("no stdin")?;
        let from = BufReader::new(child.stdout.take().context("no stdout")?);
        let mut plain = Self { child, to, from };
        let said = plain.line()?;
        ensure!(said == "listening\n", "the plain server does not listen: {said:?}");
        Ok(plain)
    }

    fn line(&mut self) -> Result<String> {
        let mut line = String::new();
        self.from.read_line(&mut line)?;
        Ok(line)
    }
}

impl Server for Plain {
    const PREFIX: &'static str = "";
    const WITH_OTHERS: bool = true;
    const SLOWER: u32 = 1;

    fn pid(&self) -> u32 {
        self.child.id()
    }

    fn work(&mut self, work: Work, times: u32) -> Result<Option<u64>> {
        writeln!(self.to, "{} {times}", work.name())?;
        let said = self.line()?;
        said.trim().parse().map(Some).with_context(|| format!("the plain server said {said:?}"))
    }
}

impl Drop for Plain {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
