//! A real terminal: tmux, with a server of its own.

use std::{
    fs,
    process::{Command, Output},
};

use anyhow::{Context as _, Result, ensure};

/// A terminal in which a shell command runs. Ended with this, and what runs in it loses its terminal.
pub struct Tmux {
    socket: tempfile::TempDir,
}

impl Tmux {
    /// Starts the command in a terminal of so many columns and rows.
    pub fn start(command: &str, columns: u16, rows: u16) -> Result<Self> {
        let tmux = Self { socket: tempfile::tempdir()? };
        let (columns, rows) = (columns.to_string(), rows.to_string());
        tmux.ask(&["new-session", "-d", "-x", &columns, "-y", &rows, command])?;
        Ok(tmux)
    }

    /// What is on the screen.
    pub fn screen(&self) -> Result<String> {
        Ok(String::from_utf8_lossy(&self.ask(&["capture-pane", "-p"])?.stdout).into_owned())
    }

    /// Presses keys, by tmux' names (`Enter`, `Left`, `C-c`).
    pub fn press(&self, keys: &[&str]) -> Result<()> {
        self.ask(&[&["send-keys"], keys].concat()).map(drop)
    }

    /// Changes the size.
    pub fn resize(&self, columns: u16, rows: u16) -> Result<()> {
        self.ask(&["resize-window", "-x", &columns.to_string(), "-y", &rows.to_string()]).map(drop)
    }

    /// The process that the shell has started, in the order of their starts the last one; none where it has ended.
    pub fn child(&self) -> Result<Option<u32>> {
        let shell = String::from_utf8(self.ask(&["display-message", "-p", "#{pane_pid}"])?.stdout)?;
        let shell = shell.trim();
        let children = fs::read_to_string(format!("/proc/{shell}/task/{shell}/children"))?;
        children.split_whitespace().next_back().map(|pid| pid.parse().context("a pid")).transpose()
    }

    /// Takes the terminal away.
    pub fn hang_up(self) {}

    fn ask(&self, args: &[&str]) -> Result<Output> {
        let output = Command::new("tmux")
            .args(["-f", "/dev/null", "-u", "-S"])
            .arg(self.socket.path().join("socket"))
            .args(args)
            .output()
            .context("cannot run tmux")?;
        ensure!(output.status.success(), "tmux {args:?}: {}", String::from_utf8_lossy(&output.stderr));
        Ok(output)
    }
}

impl Drop for Tmux {
    fn drop(&mut self) {
        // It may have ended with its command.
        let _ = self.ask(&["kill-server"]);
    }
}
