//! Where output goes: data to stdout, as text or JSON; what concerns the run itself to stderr.

use std::{
    io::{self, BufWriter, IsTerminal as _, Stdout, Write as _, stdout},
    process::ExitCode,
};

use anyhow::Context as _;

use super::{Color, Common};
use crate::{
    live::Ended,
    model::Line,
    observe::{JsonLines, Notice, Observer, TextLines},
    render::text::{self, Text, escape},
    trace::Target,
};

/// Width where stdout is no terminal.
const WIDTH: usize = 80;

/// The command's output.
pub struct Output {
    lines: Lines,
    quiet: bool,
    verbose: bool,
}

/// What is printed, in one form or the other.
enum Lines {
    Text(TextLines<BufWriter<Stdout>>),
    Json(JsonLines<BufWriter<Stdout>>),
}

impl Lines {
    fn observer(&mut self) -> &mut dyn Observer {
        match self {
            Self::Text(lines) => lines,
            Self::Json(lines) => lines,
        }
    }
}

impl Output {
    /// As the options say.
    pub fn new(common: &Common) -> Self {
        let output = Self::with(common.json, common.quiet, common.color, common.slow_ns());
        Self { verbose: common.verbose > 0, ..output }
    }

    /// As these options say.
    pub fn with(json: bool, quiet: bool, color: Color, slow_ns: u64) -> Self {
        let out = BufWriter::new(stdout());
        let lines = if json {
            Lines::Json(JsonLines::new(out))
        } else {
            let text = Text { width: width(), color: color.on(), unicode: unicode(), slow_ns, zone: None };
            Lines::Text(TextLines::new(out, text))
        };
        Self { lines, quiet, verbose: false }
    }

    /// A line on the run itself.
    pub fn say(&self, message: &str) {
        if !self.quiet {
            note(message);
        }
    }
}

/// Says something on stderr; on a terminal by whole words, elsewhere in one line. Names in it may be anybody's: nothing of it acts upon a terminal.
pub fn note(message: &str) {
    let message = format!("wrapwatch: {}", escape(message));
    if io::stderr().is_terminal() {
        eprintln!("{}", text::message(&message, width()));
    } else {
        eprintln!("{message}");
    }
}

/// Prints everything in one go.
pub fn print(text: &str) -> anyhow::Result<()> {
    let mut out = stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        // Whoever reads has seen enough.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        other => other.context("cannot write output"),
    }
}

impl Observer for Output {
    fn line(&mut self, line: &Line) -> io::Result<()> {
        self.lines.observer().line(line)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.lines.observer().flush()
    }

    fn notice(&mut self, notice: &Notice<'_>) {
        if !matches!(notice, Notice::Cost(_)) || self.verbose {
            self.say(&said(notice));
        }
    }
}

/// The exit status; a trace that has not done what was asked says so whatever else is quiet.
pub(super) fn status(why: Ended) -> ExitCode {
    if why.is_failure() {
        note(&why.reason());
        return ExitCode::from(1);
    }
    ExitCode::SUCCESS
}

/// A notice in words.
pub(super) fn said(notice: &Notice<'_>) -> String {
    match notice {
        Notice::Waiting(what) => format!("waiting for a {what}"),
        Notice::Watching(target) => watching(target),
        Notice::Exited(target) => format!("pid {} ({}) has exited", target.pid, escape(&target.comm)),
        Notice::Replaced(target) => format!(
            "pid {} ({}) has replaced its program: a twist rule, or an upgrade in place",
            target.pid,
            escape(&target.comm)
        ),
        Notice::Cost(cost) => format!("cost: {}", text::cost(cost)),
        Notice::Detaching => {
            "the kernel takes some seconds to take the programs off; the process wwt-detach waits for it"
                .to_owned()
        }
    }
}

fn watching(target: &Target) -> String {
    let mut message = format!("watching {} (pid {})", escape(&target.comm), target.pid);
    message.push_str(if target.listeners.is_empty() { ", which serves datagrams" } else { " on" });
    for (i, listener) in target.listeners.iter().enumerate() {
        message.push_str(if i == 0 { " " } else { ", " });
        message.push_str(&escape(&listener.address));
    }
    message
}

/// How the live view looks on this terminal; wrong use where there is none.
#[cfg(feature = "tui")]
pub fn look(color: Color, tz: super::common::Zone) -> anyhow::Result<crate::tui::Look> {
    // Read before a live trace gives its rights up.
    static LOCAL: std::sync::LazyLock<jiff::tz::TimeZone> =
        std::sync::LazyLock::new(jiff::tz::TimeZone::system);
    if !io::stdout().is_terminal() || !io::stdin().is_terminal() {
        return Err(super::wrong_use("--tui needs a terminal"));
    }
    let local = tz == super::common::Zone::Local;
    Ok(crate::tui::Look { color: color.on(), unicode: unicode(), zone: Some(&LOCAL), local })
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
