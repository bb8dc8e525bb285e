//! Where what is told goes: data to stdout, as text or JSON; what concerns the run itself to stderr.

use std::{
    io::{self, BufWriter, IsTerminal as _, Stdout, Write as _, stdout},
    process::ExitCode,
};

use super::{Color, Common};
use crate::{
    model::Line,
    render::{
        json,
        text::{self, Text, escape},
    },
    session::{Ended, Notice, Sink, Tracee},
};

/// Width where stdout is no terminal.
const WIDTH: usize = 80;

/// The command's output.
pub struct Output {
    out: BufWriter<Stdout>,
    json: bool,
    quiet: bool,
    verbose: bool,
    text: Text,
    /// Whether the columns were explained.
    explained: bool,
}

impl Output {
    /// As the options say.
    pub fn new(common: &Common) -> Self {
        let output = Self::with(common.json, common.quiet, common.color, common.slow_ns());
        Self { verbose: common.verbose > 0, ..output }
    }

    /// As these options say.
    pub fn with(json: bool, quiet: bool, color: Color, slow_ns: u64) -> Self {
        let width = width();
        let text = Text { width, color: color.on(), unicode: unicode(), slow_ns };
        Self { out: BufWriter::new(stdout()), json, quiet, verbose: false, text, explained: false }
    }

    /// Prints a line, now or with a later one.
    pub fn put(&mut self, line: &Line) -> io::Result<()> {
        if self.json {
            json::write_line(&mut self.out, line)
        } else {
            if matches!(line, Line::Connection(_)) && !self.explained {
                self.explained = true;
                self.out.write_all(self.text.legend().as_bytes())?;
            }
            self.out.write_all(self.text.line(line).as_bytes())
        }
    }

    /// A line on the run itself.
    pub fn say(&self, message: &str) {
        if !self.quiet {
            note(message);
        }
    }
}

/// Says something on stderr; on a terminal by whole words, elsewhere in one line.
pub fn note(message: &str) {
    let message = format!("wrapwatch: {message}");
    if io::stderr().is_terminal() {
        eprintln!("{}", text::message(&message, width()));
    } else {
        eprintln!("{message}");
    }
}

impl Sink for Output {
    fn line(&mut self, line: &Line) -> io::Result<()> {
        self.put(line)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }

    fn notice(&mut self, notice: &Notice<'_>) {
        if !matches!(notice, Notice::Cost(_)) || self.verbose {
            self.say(&said(notice));
        }
    }
}

/// The exit status; a trace that was too expensive has not done what was asked, and says so whatever else is quiet.
pub(super) fn status(why: Ended) -> ExitCode {
    if matches!(why, Ended::TooExpensive { .. }) {
        note(&why.reason());
        return ExitCode::from(1);
    }
    ExitCode::SUCCESS
}

/// A notice in words.
pub(super) fn said(notice: &Notice<'_>) -> String {
    match notice {
        Notice::Waiting(wanted) => format!("waiting for a {}", wanted.what()),
        Notice::Watching(tracee) => watching(tracee),
        Notice::Exited(info) => format!("pid {} ({}) has exited", info.pid, escape(&info.comm)),
        Notice::Replaced(info) => format!(
            "pid {} ({}) has replaced its program: a twist rule, or an upgrade in place",
            info.pid,
            escape(&info.comm)
        ),
        Notice::Skipped(error) => error.to_string(),
        Notice::Cost(cost) => format!("cost: {}", text::cost(cost)),
    }
}

fn watching(tracee: &Tracee) -> String {
    let mut message = format!("watching {} (pid {}) on", escape(&tracee.info.comm), tracee.info.pid);
    for (i, listener) in tracee.listeners.iter().enumerate() {
        message.push_str(if i == 0 { " " } else { ", " });
        message.push_str(&listener.local.to_string());
    }
    message
}

/// Text as stdout takes it.
pub fn text_for_stdout(color: Color) -> Text {
    Text { width: width(), color: color.on(), unicode: unicode(), ..Text::PLAIN }
}

/// Columns of the terminal.
pub fn width() -> usize {
    terminal_size::terminal_size().map_or(WIDTH, |(width, _)| usize::from(width.0))
}

/// Whether the terminal shows more than ASCII, by the locale (locale(7)).
pub fn unicode() -> bool {
    ["LC_ALL", "LC_CTYPE", "LANG"]
        .iter()
        .filter_map(|name| std::env::var(name).ok())
        .find(|value| !value.is_empty())
        .is_some_and(|value| value.to_ascii_uppercase().replace('-', "").contains("UTF8"))
}
