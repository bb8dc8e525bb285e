//! Commands in the documents: the program that was built has to understand each, with its options.
//!
//! A command is asked for its help with all its arguments before that: clap reads those first, and refuses what it does not know. What it looks at
//! only once all is read goes unnoticed: arguments that exclude each other, or are missing. What a command does is tested elsewhere.

use std::{path::Path, process::Command};

use anyhow::{Context as _, Result, bail};

use super::{Page, pages};
use crate::workspace;

/// What stands for something of the reader's own, and what is put there.
const PLACEHOLDERS: [(&str, &str); 2] = [("PID", "1"), ("FORMAT", "jsonl")];

/// Fails if a document has a command that `wrapwatch` or `cargo xtask` does not understand. Both must have been built.
pub(crate) fn check() -> Result<()> {
    let wrapwatch = workspace::target_dir()?.join("debug/wrapwatch");
    let xtask = std::env::current_exe().context("where is this program?")?;
    let pages = pages(workspace::root()?)?;
    let mut refused = 0_usize;
    let mut understood = 0_usize;
    for (page, line, command) in pages.iter().flat_map(commands) {
        let (program, args) = match (command.first().map(String::as_str), command.get(1).map(String::as_str))
        {
            (Some("cargo"), _) => (xtask.as_path(), command.get(2..)),
            _ => (wrapwatch.as_path(), command.get(1..)),
        };
        match understands(program, args.unwrap_or_default()) {
            Ok(()) => understood = understood.saturating_add(1),
            Err(error) => {
                eprintln!("{}", page.fault(line, format!("{}: {error:#}", command.join(" "))));
                refused = refused.saturating_add(1);
            }
        }
    }
    if refused > 0 || understood == 0 {
        bail!("{refused} commands in the documents are not understood, {understood} are");
    }
    Ok(())
}

fn understands(program: &Path, args: &[String]) -> Result<()> {
    let mut command = Command::new(program);
    // `help` itself has no help.
    let asked = if args.first().is_some_and(|first| first == "help") { None } else { Some("--help") };
    let output = command
        .args(args)
        .args(asked)
        .output()
        .with_context(|| format!("cannot run {}", program.display()))?;
    let said = String::from_utf8_lossy(&output.stderr);
    if !output.status.success() {
        bail!("{}", said.lines().next().unwrap_or("no error is named"));
    }
    Ok(())
}

/// The words of each command of a page, and its line.
fn commands(page: &Page) -> impl Iterator<Item = (&Page, usize, Vec<String>)> {
    page.markdown.code.iter().filter_map(move |passage| {
        let mut words = words(&passage.text);
        if words.first().is_some_and(|word| word == "sudo") {
            words.remove(0);
        }
        let is_ours = words.first().is_some_and(|word| word == "wrapwatch" || word.ends_with("/wrapwatch"))
            || words.get(..2).is_some_and(|begin| begin == ["cargo", "xtask"]);
        (is_ours && words.len() > 1).then_some((page, passage.line, words))
    })
}

/// As a shell takes a line apart, up to a pipe, a redirection, a comment or the next command. Only single quotes are known.
fn words(line: &str) -> Vec<String> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut quoted = false;
    for c in line.chars() {
        match c {
            '\'' => {
                quoted = !quoted;
                word.get_or_insert_default();
            }
            _ if quoted => word.get_or_insert_default().push(c),
            '|' | '>' | '#' | '&' | ';' if word.is_none() => break,
            ' ' => words.extend(word.take()),
            // What is left out, and what may be left out.
            '…' | '[' | ']' => {}
            c => word.get_or_insert_default().push(c),
        }
    }
    words.extend(word);
    let own = |word: String| {
        let known = PLACEHOLDERS.iter().find(|(name, _)| *name == word);
        known.map_or(word, |(_, value)| (*value).to_owned())
    };
    words.into_iter().map(own).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_are_those_of_ours() {
        let text = "`wrapwatch` and `wrapwatch live`, `ls`\n\n```sh\nsudo wrapwatch record -o a.wwt --when 'queued>1s' lost  # why\n\
                    cargo xtask test stall | tail\ntarget/release/wrapwatch live -p PID\n```\n";
        let page = Page::new("a.md", text.to_owned());
        let found: Vec<(usize, String)> =
            commands(&page).map(|(_, line, words)| (line, words.join(" "))).collect();
        let wanted = [
            (1, "wrapwatch live"),
            (4, "wrapwatch record -o a.wwt --when queued>1s lost"),
            (5, "cargo xtask test stall"),
            (6, "target/release/wrapwatch live -p 1"),
        ];
        assert_eq!(found, wanted.map(|(line, command)| (line, command.to_owned())));
    }
}
