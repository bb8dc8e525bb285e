//! `cargo xtask fuzz`: libFuzzer on the targets of `tests/fuzz`.
//!
//! The compiler's own coverage pass is switched on by flags that stable Rust has, so neither a nightly compiler nor cargo-fuzz is
//! needed. No sanitizer: the code is safe Rust, whose mistakes are panics. What is found lies in `target/fuzz/TARGET`; what is
//! committed is never changed but by `--keep`.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result, bail};

use crate::{
    cli,
    process::{cargo, output, run as run_command},
    setup::{self, Purpose},
    workspace,
};

const PACKAGE: &str = "wrapwatch-fuzz";

/// What libFuzzer needs in the code: a counter at each edge, and the operands of comparisons.
const INSTRUMENTED: &str = "--cfg fuzzing -Ccodegen-units=4 -Cpasses=sancov-module \
     -Cllvm-args=-sanitizer-coverage-level=4 -Cllvm-args=-sanitizer-coverage-inline-8bit-counters \
     -Cllvm-args=-sanitizer-coverage-pc-table -Cllvm-args=-sanitizer-coverage-trace-compares";

/// Longest input that is tried.
const INPUT_MAX: u32 = 16 << 10;
/// One input that takes longer, in seconds, is a finding.
const INPUT_SECONDS: u32 = 10;
/// More memory than this, in MiB, is a finding.
const MEMORY_MIB: u32 = 2048;

/// The command.
pub(crate) fn run(options: &cli::Fuzz) -> Result<()> {
    setup::ensure(&[Purpose::Build])?;
    let corpora = workspace::root()?.join("tests/fuzz/corpus");
    let mut targets = Vec::new();
    for entry in fs::read_dir(&corpora).with_context(|| format!("cannot read {}", corpora.display()))? {
        targets.push(entry?.file_name().to_string_lossy().into_owned());
    }
    targets.sort();
    if let Some(unknown) = options.targets.iter().find(|wanted| !targets.contains(*wanted)) {
        bail!("no fuzz target {unknown}; there are: {}", targets.join(", "));
    }
    targets.retain(|target| options.targets.is_empty() || options.targets.contains(target));
    let dir = workspace::target_dir()?.join("fuzz");
    let program = build(&dir)?;
    let mut broken = Vec::new();
    for target in targets {
        let fuzz = Fuzz { program: &program, corpus: corpora.join(&target), work: dir.join(&target), target };
        eprintln!("\n# {}", fuzz.target);
        if !fuzz.run(options.time)? {
            broken.push(fuzz.target);
        } else if options.keep {
            fuzz.keep()?;
        }
    }
    if !broken.is_empty() {
        bail!(
            "broken: {}; the inputs are {}/TARGET/found-*. Once mended, commit them to tests/fuzz/corpus/TARGET",
            broken.join(", "),
            dir.display()
        );
    }
    Ok(())
}

/// Builds the program, in a place of its own: with these flags nothing else can be shared.
fn build(dir: &Path) -> Result<PathBuf> {
    let rustc = output(Command::new("rustc").arg("-vV"))?;
    let host =
        rustc.lines().find_map(|line| line.strip_prefix("host: ")).context("rustc -vV names no host")?;
    let mut command = cargo(&["build", "--locked", "--package", PACKAGE, "--bin", PACKAGE])?;
    command
        .args(["--features", "libfuzzer", "--profile", "fuzz"])
        // Named, so that build scripts and macros are not instrumented.
        .args(["--target", host])
        .env("RUSTFLAGS", INSTRUMENTED)
        .env("CARGO_TARGET_DIR", dir);
    run_command(&mut command)?;
    Ok(dir.join(host).join("fuzz").join(PACKAGE))
}

struct Fuzz<'a> {
    program: &'a Path,
    target: String,
    /// What is committed.
    corpus: PathBuf,
    /// What is found.
    work: PathBuf,
}

impl Fuzz<'_> {
    fn command(&self) -> Command {
        let mut command = Command::new(self.program);
        command.env("WRAPWATCH_FUZZ_TARGET", &self.target);
        command
    }

    /// Whether it went well for so long.
    fn run(&self, seconds: u64) -> Result<bool> {
        let reached = self.work.join("reached");
        fs::create_dir_all(&reached).with_context(|| format!("cannot make {}", reached.display()))?;
        let mut command = self.command();
        command.arg(&reached).arg(&self.corpus).args([
            format!("-max_total_time={seconds}"),
            format!("-max_len={INPUT_MAX}"),
            format!("-timeout={INPUT_SECONDS}"),
            format!("-rss_limit_mb={MEMORY_MIB}"),
            format!("-artifact_prefix={}/found-", self.work.display()),
            "-print_final_stats=1".to_owned(),
        ]);
        Ok(command.status().with_context(|| format!("cannot run {}", self.program.display()))?.success())
    }

    /// Adds to the corpus what reaches code that it does not reach.
    fn keep(&self) -> Result<()> {
        let mut command = self.command();
        run_command(command.arg("-merge=1").arg(&self.corpus).arg(self.work.join("reached")))
    }
}
