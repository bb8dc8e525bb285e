//! `cargo xtask readme`: the parts of README.md and CONTRIBUTING.md that programs print are generated, and stale ones fail the tests. So does a
//! document with a command that the programs do not understand.
//!
//! A part stands between `<!-- begin:NAME -->` and `<!-- end:NAME -->`; what may stand there is in [`generate`].

use std::{fs, process::Command};

use anyhow::{Context as _, Result, bail};

use crate::{
    cli, demo, docs,
    process::output,
    setup::{self, Purpose},
    workspace,
};

/// Documents with generated parts.
const FILES: [&str; 2] = ["README.md", "CONTRIBUTING.md"];

/// The command.
pub(crate) fn run(options: &cli::Readme) -> Result<()> {
    setup::ensure(&[Purpose::Build])?;
    demo::build(&["--quiet"])?;
    if options.check { check() } else { renew() }
}

/// Fails if a part is stale. What it prints must have been built.
pub(crate) fn check() -> Result<()> {
    for file in FILES {
        let (old, new) = old_and_new(file)?;
        let stale = old.lines().zip(new.lines()).position(|(old, new)| old != new);
        if old != new {
            let line = stale.map_or(0, |line| line.saturating_add(1));
            bail!("{file} is stale from line {line} on; run: cargo xtask readme");
        }
    }
    docs::commands::check()
}

fn renew() -> Result<()> {
    for file in FILES {
        let (old, new) = old_and_new(file)?;
        if old == new {
            eprintln!("{file} is up to date");
            continue;
        }
        eprintln!("{file} is renewed");
        fs::write(workspace::root()?.join(file), new).with_context(|| format!("cannot write {file}"))?;
    }
    Ok(())
}

fn old_and_new(file: &str) -> Result<(String, String)> {
    let old =
        fs::read_to_string(workspace::root()?.join(file)).with_context(|| format!("cannot read {file}"))?;
    let new = replace_parts(&old, generate).with_context(|| file.to_owned())?;
    Ok((old, new))
}

/// What a part has to be.
fn generate(name: &str) -> Result<String> {
    let text = match name {
        "help" => printed_by(Command::new(workspace::target_dir()?.join("debug/wrapwatch")).arg("--help"))?,
        "xtask-help" => printed_by(Command::new(std::env::current_exe()?).arg("--help"))?,
        _ => bail!("nobody knows how to make the part {name}"),
    };
    Ok(format!("```text\n{}\n```\n", text.trim_end()))
}

fn printed_by(command: &mut Command) -> Result<String> {
    // As wide as a terminal that nobody has made wider.
    output(command.env("COLUMNS", "80").env("NO_COLOR", "1"))
}

/// The text with every part made anew.
fn replace_parts(text: &str, generate: impl Fn(&str) -> Result<String>) -> Result<String> {
    let mut new = String::new();
    let mut lines = text.lines();
    while let Some(line) = lines.next() {
        new.push_str(line);
        new.push('\n');
        let begin = line.strip_prefix("<!-- begin:").and_then(|rest| rest.strip_suffix(" -->"));
        let Some(name) = begin else { continue };
        let end = format!("<!-- end:{name} -->");
        if !lines.any(|line| line == end) {
            bail!("no line {end}");
        }
        new.push_str(&generate(name)?);
        new.push_str(&end);
        new.push('\n');
    }
    Ok(new)
}

#[cfg(test)]
mod tests {
    use super::replace_parts;

    #[test]
    fn parts_are_replaced_and_nothing_else() {
        let text = "a\n<!-- begin:x -->\nold\n<!-- end:x -->\nb\n";
        let new = replace_parts(text, |name| Ok(format!("new {name}\n"))).unwrap();
        assert_eq!(new, "a\n<!-- begin:x -->\nnew x\n<!-- end:x -->\nb\n");
        assert_eq!(replace_parts(&new, |name| Ok(format!("new {name}\n"))).unwrap(), new);
    }

    #[test]
    fn a_part_without_end_is_refused() {
        replace_parts("<!-- begin:x -->\nold\n<!-- end:y -->\n", |_| Ok(String::new())).unwrap_err();
    }
}
