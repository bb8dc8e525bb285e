//! Writes shell completions and man pages, from the command line's own definition: `cargo run --example papers -- DIRECTORY`.

use std::{
    env, fs, io,
    path::{Path, PathBuf},
};

use clap::{Command, CommandFactory as _};
use clap_complete::{Shell, generate_to};
use wrapwatch::cli::Cli;

fn main() -> io::Result<()> {
    let dir = env::args_os().nth(1).map(PathBuf::from);
    let dir = dir.ok_or_else(|| io::Error::other("usage: papers DIRECTORY"))?;
    let (man, completions) = (dir.join("man"), dir.join("completions"));
    fs::create_dir_all(&man)?;
    fs::create_dir_all(&completions)?;
    let mut command = Cli::command();
    for shell in [Shell::Bash, Shell::Zsh, Shell::Fish] {
        generate_to(shell, &mut command, "wrapwatch", &completions)?;
    }
    command.build();
    page(&command, "wrapwatch", &man)
}

/// The page of a command, and those of its subcommands.
fn page(command: &Command, name: &str, dir: &Path) -> io::Result<()> {
    // There is no page for `help`, so none refers to it.
    let command = command
        .clone()
        .display_name(name)
        .mut_subcommands(|subcommand| if is_help(&subcommand) { subcommand.hide(true) } else { subcommand });
    let mut text = Vec::new();
    clap_mangen::Man::new(command.clone()).render(&mut text)?;
    #[cfg(feature = "tui")]
    if command.get_arguments().any(|argument| argument.get_id() == "tui") {
        text.extend_from_slice(wrapwatch::tui::manual().as_bytes());
    }
    fs::write(dir.join(format!("{name}.1")), text)?;
    command
        .get_subcommands()
        .filter(|subcommand| !is_help(subcommand))
        .try_for_each(|subcommand| page(subcommand, &format!("{name}-{}", subcommand.get_name()), dir))
}

fn is_help(command: &Command) -> bool {
    command.get_name() == "help"
}
