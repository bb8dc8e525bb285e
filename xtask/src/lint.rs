//! `cargo xtask lint`: formatting, the documents, clippy for both sides, the library's public names, documentation of the code; warnings are errors.

use std::process::Command;

use anyhow::Result;

use crate::{
    docs,
    process::{cargo, run as run_command},
    setup::{self, Purpose},
    toolchain::{Compiler, Toolchain},
    workspace,
};

/// One lint.
pub(crate) type Step = (&'static str, fn() -> Result<()>);

/// All of them, quickest first.
pub(crate) const STEPS: [Step; 7] = [
    ("format", format),
    ("documents", docs::check),
    ("clippy", clippy),
    ("clippy, other features", clippy_features),
    ("clippy, kernel side", clippy_kernel),
    ("public names", docs::api::check),
    ("documentation", documentation),
];

/// The command.
pub(crate) fn run() -> Result<()> {
    setup::ensure(&[Purpose::Build, Purpose::Lint])?;
    STEPS.iter().try_for_each(|(name, step)| {
        eprintln!("# {name}");
        step()
    })
}

fn format() -> Result<()> {
    run_command(cargo(&["fmt", "--all", "--check"])?.stdout(std::io::stderr()))
}

fn clippy() -> Result<()> {
    clippy_of(&["--workspace"])
}

/// Without features, and with each of them alone, as who packages it may build it.
fn clippy_features() -> Result<()> {
    let sets = ["", "otlp", "parquet", "tui"];
    sets.iter()
        .try_for_each(|set| clippy_of(&["-p", "wrapwatch", "--no-default-features", "--features", set]))
}

fn clippy_of(what: &[&str]) -> Result<()> {
    let all = [&["clippy", "--quiet"], what, &["--all-targets", "--locked", "--", "-Dwarnings"]].concat();
    run_command(&mut cargo(&all)?)
}

/// The kernel side on its own target, by the clippy that belongs to the compiler in use: another version's cannot read
/// that compiler's `core`.
fn clippy_kernel() -> Result<()> {
    let target = workspace::host_target();
    let toolchain = Toolchain::find(&target)?;
    let target_dir = workspace::target_dir()?.join("ebpf");
    let mut command = match &toolchain.compiler {
        Compiler::Prebuilt(rustc) => {
            let mut command = toolchain.cargo("check", &target, &target_dir);
            // What cargo-clippy does, whose Debian package has another name for cargo.
            command
                .env("RUSTC_WORKSPACE_WRAPPER", rustc.with_file_name("clippy-driver"))
                .env("CLIPPY_ARGS", "-Dwarnings__CLIPPY_HACKERY__");
            command
        }
        Compiler::Nightly => {
            let mut command = toolchain.cargo("clippy", &target, &target_dir);
            command.args(["--", "-Dwarnings"]);
            command
        }
    };
    quiet(&mut command);
    run_command(command.current_dir(workspace::root()?))
}

fn quiet(command: &mut Command) {
    command.env("CARGO_TERM_QUIET", "true");
}

fn documentation() -> Result<()> {
    let mut command =
        cargo(&["doc", "--quiet", "--workspace", "--no-deps", "--document-private-items", "--locked"])?;
    run_command(command.env("RUSTDOCFLAGS", "-Dwarnings"))
}
