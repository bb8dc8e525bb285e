//! The live view on a real terminal while connections come fast.

use std::time::Instant;

use anyhow::{Context as _, Result};
use serde::Serialize;
use wrapwatch::host::usage;

use super::generator::{Generator, Order};
use crate::{tmux::Tmux, wait::wait_for, watch};

/// Connections a second.
pub const PER_S: u64 = 5_000;

/// What it takes, tracing included.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub struct Screen {
    /// Connections that were made.
    pub connections: u64,
    /// Those of them that are not on the screen.
    pub missing: u64,
    /// The screen says that events were lost.
    pub lost: bool,
    /// Share of a core.
    pub cpu_share: f64,
    /// Resident at the end, bytes.
    pub rss_bytes: u64,
}

impl Screen {
    /// So many seconds of it.
    pub fn measure(seconds: u64) -> Result<Self> {
        let connections = PER_S * seconds;
        let mut generator = Generator::start()?;
        // With something after it, or the shell would become it.
        let command =
            format!("LC_ALL=C.UTF-8 {} live --tui -p {}; true", watch::binary()?.display(), generator.id());
        let tmux = Tmux::start(&command, 120, 40)?;
        wait_for("the live view", || Ok(tmux.screen()?.contains("LIVE")))?;
        let pid = tmux.child()?.context("no live view")?;
        let (before, begun) = (usage::read(pid)?.cpu_ns, Instant::now());
        generator.make(Order { connections, files: 2, per_s: PER_S })?;
        let shown = || tmux.screen().map(|screen| told(&screen));
        // Those that were lost never come.
        let _ = wait_for("all connections", || Ok(shown()? >= connections));
        let took = begun.elapsed();
        let after = usage::read(pid)?;
        let screen = Self {
            connections,
            missing: connections.saturating_sub(shown()?),
            lost: tmux.screen()?.contains("LOST"),
            cpu_share: std::time::Duration::from_nanos(after.cpu_ns - before).as_secs_f64()
                / took.as_secs_f64(),
            rss_bytes: after.rss_bytes,
        };
        tmux.press(&["q"])?;
        Ok(screen)
    }
}

/// How many connections the screen says.
fn told(screen: &str) -> u64 {
    let before = screen.split_once(" connections.").map_or("", |(before, _)| before);
    before.split_whitespace().next_back().and_then(|word| word.parse().ok()).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::told;

    #[test]
    fn connections_are_read_off_the_screen() {
        assert_eq!(
            told("wrapwatch  x (1)   LIVE 03:55:49 UTC\n300000 connections. Wrappers explain"),
            300_000
        );
        assert_eq!(told("wrapwatch  x (1)   LIVE 03:55:49 UTC\n"), 0);
    }
}
