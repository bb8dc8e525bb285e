//! Finds what can compile the kernel side, and runs cargo with it.
//!
//! Shared by wrapwatch's build script, which compiles, and by `cargo xtask`, which installs, lints and explains what
//! is missing. Only the standard library, since a build script pays for each dependency. There are two ways:
//!
//! * a compiler that has `core` for the bpf target built in, as Debian's and Ubuntu's `rustc-web` with
//!   `libstd-rust-web-dev-bpf` is. It is a stable release, so `RUSTC_BOOTSTRAP=1` opens the unstable features aya needs;
//! * rustup's nightly with the `rust-src` component, which builds `core` on the way (`-Z build-std`).
//!
//! Both need [bpf-linker](https://github.com/aya-rs/bpf-linker), whose LLVM must not be older than the compiler's.

use std::{
    env,
    ffi::{OsStr, OsString},
    fmt,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

/// Cargo's profile for the kernel side, defined in the workspace's `Cargo.toml`.
pub(crate) const PROFILE: &str = "ebpf";
/// The kernel side's package, which is also its binary's name.
pub(crate) const PACKAGE: &str = "wrapwatch-ebpf";

/// A compiler for the bpf target.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Compiler {
    /// This rustc has the target's `core`.
    Prebuilt(PathBuf),
    /// rustup's nightly has the sources of `core`.
    Nightly,
}

impl fmt::Display for Compiler {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Prebuilt(rustc) => write!(f, "{}", rustc.display()),
            Self::Nightly => write!(f, "rustup's nightly with rust-src"),
        }
    }
}

/// A compiler and the linker that goes with it.
#[derive(Clone, Debug)]
pub(crate) struct Toolchain {
    /// What compiles.
    pub(crate) compiler: Compiler,
    /// bpf-linker.
    pub(crate) linker: PathBuf,
}

/// What is not there, in words for a person.
#[derive(Clone, Debug)]
pub(crate) struct Missing(Vec<&'static str>);

impl fmt::Display for Missing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "cannot compile the kernel side: no {}; run: cargo xtask setup", self.0.join(" and no "))
    }
}

impl std::error::Error for Missing {}

/// What the kernel side is compiled for.
#[derive(Clone, Debug)]
pub(crate) struct Target {
    /// `bpfel-unknown-none` or `bpfeb-unknown-none`.
    pub(crate) triple: String,
    /// The architecture whose registers and system calls the programs read, e.g. `x86_64`.
    pub(crate) arch: String,
}

impl Target {
    /// The target for a host of this architecture and byte order (`CARGO_CFG_TARGET_ARCH`, `CARGO_CFG_TARGET_ENDIAN`).
    pub(crate) fn new(arch: &str, endian: &str) -> Self {
        let triple = if endian == "big" { "bpfeb-unknown-none" } else { "bpfel-unknown-none" };
        // Rust knows several riscv64 variants, aya one.
        let arch = if arch.starts_with("riscv64") { "riscv64" } else { arch };
        Self { triple: triple.to_owned(), arch: arch.to_owned() }
    }
}

impl Toolchain {
    /// Looks for a compiler and the linker.
    pub(crate) fn find(target: &Target) -> Result<Self, Missing> {
        match (find_compiler(target), find_linker()) {
            (Some(compiler), Some(linker)) => Ok(Self { compiler, linker }),
            (compiler, linker) => {
                let mut missing = Vec::new();
                if compiler.is_none() {
                    missing.push("compiler for the bpf target");
                }
                if linker.is_none() {
                    missing.push("bpf-linker");
                }
                Err(Missing(missing))
            }
        }
    }

    /// `cargo SUBCOMMAND` on the kernel side's package, artefacts under `target_dir`, to be run in the workspace.
    ///
    /// Nothing of an enclosing cargo's settings gets in: its compiler, wrappers (clippy!), flags and profile are for the host.
    pub(crate) fn cargo(&self, subcommand: &str, target: &Target, target_dir: &Path) -> Command {
        let mut command = match &self.compiler {
            Compiler::Prebuilt(_) => Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into())),
            Compiler::Nightly => {
                let mut command = Command::new("rustup");
                command.args(["run", "nightly", "cargo"]);
                command
            }
        };
        for (name, _) in env::vars_os() {
            if belongs_to_outer_cargo(&name) {
                command.env_remove(name);
            }
        }
        let linker_variable =
            format!("CARGO_TARGET_{}_LINKER", target.triple.to_uppercase().replace('-', "_"));
        command
            .arg(subcommand)
            .args(["--package", PACKAGE, "--features", "kernel", "--profile", PROFILE])
            .args(["--target", &target.triple])
            .arg("--target-dir")
            .arg(target_dir)
            .env(linker_variable, &self.linker)
            // As aya-build does: whose registers and system calls they are, which the bpf target does not say.
            .env(
                "CARGO_ENCODED_RUSTFLAGS",
                format!(
                    "--cfg=bpf_target_arch=\"{}\"\x1f--check-cfg=cfg(bpf_target_arch,values(any()))",
                    target.arch
                ),
            );
        match &self.compiler {
            Compiler::Prebuilt(rustc) => command.env("RUSTC", rustc).env("RUSTC_BOOTSTRAP", "1"),
            Compiler::Nightly => command.args(["-Z", "build-std=core"]),
        };
        command
    }
}

/// Whether a variable is a setting for the host's build. What says where the user's registries and caches are stays,
/// and so does the job server.
fn belongs_to_outer_cargo(name: &OsStr) -> bool {
    const KEPT: [&str; 9] = [
        "CARGO_BUILD_JOBS",
        "CARGO_HOME",
        "CARGO_HTTP_",
        "CARGO_MAKEFLAGS",
        "CARGO_NET_",
        "CARGO_REGISTRIES_",
        "CARGO_REGISTRY_",
        "CARGO_SOURCE_",
        "CARGO_TERM_",
    ];
    const HOST_SETTINGS: [&str; 7] =
        ["CARGO", "RUSTC", "RUSTDOC", "RUSTFLAGS", "RUSTUP_TOOLCHAIN", "CLIPPY_ARGS", "CLIPPY_CONF_DIR"];
    let name = name.to_string_lossy();
    let begins = |prefix: &&str| name.starts_with(prefix);
    HOST_SETTINGS.iter().any(begins) && !KEPT.iter().any(begins)
}

/// A compiler that can make code for `target`; a prebuilt `core` is preferred, since it needs no nightly.
pub(crate) fn find_compiler(target: &Target) -> Option<Compiler> {
    let prebuilt = on_path("rustc").into_iter().chain([PathBuf::from("/usr/bin/rustc")]).find(|rustc| {
        let sysroot = ask(Command::new(rustc).args(["--print", "sysroot"]));
        let has_core = sysroot.is_some_and(|sysroot| has_core(Path::new(&sysroot), &target.triple));
        // rustc 1.96.0 (…)
        let version = has_core.then(|| ask(Command::new(rustc).arg("--version"))).flatten();
        version.and_then(|version| version.split(' ').nth(1).map(is_new_enough)).unwrap_or(false)
    });
    prebuilt.map(Compiler::Prebuilt).or_else(|| {
        let sysroot = ask(Command::new("rustup").args(["run", "nightly", "rustc", "--print", "sysroot"]))?;
        let core = Path::new(&sysroot).join("lib/rustlib/src/rust/library/core/Cargo.toml");
        core.is_file().then_some(Compiler::Nightly)
    })
}

fn has_core(sysroot: &Path, triple: &str) -> bool {
    let libraries = sysroot.join("lib/rustlib").join(triple).join("lib");
    libraries.read_dir().is_ok_and(|mut entries| {
        entries
            .any(|entry| entry.is_ok_and(|entry| entry.file_name().to_string_lossy().starts_with("libcore-")))
    })
}

fn ask(command: &mut Command) -> Option<String> {
    let output = command
        // Looking must not download a toolchain.
        .env("RUSTUP_AUTO_INSTALL", "0")
        .stdin(Stdio::null())
        .stderr(Stdio::null())
        .output()
        .ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    output.status.success().then(|| text.trim_end().to_owned())
}

/// Whether a compiler of this version (`1.96.0`, or Debian's `1.96.0+dfsg1-1`) can compile the workspace.
pub(crate) fn is_new_enough(version: &str) -> bool {
    let major_minor = |version: &str| {
        let mut numbers = version.split('.').map(|number| number.parse::<u32>().ok());
        Some((numbers.next()??, numbers.next()??))
    };
    major_minor(version) >= major_minor(env!("CARGO_PKG_RUST_VERSION"))
}

/// bpf-linker, on PATH or where `cargo install` puts it.
pub(crate) fn find_linker() -> Option<PathBuf> {
    let cargo_home = env::var_os("CARGO_HOME").map(PathBuf::from);
    let default_home = env::home_dir().map(|home| home.join(".cargo"));
    let installed = [cargo_home, default_home].into_iter().flatten().map(|home| home.join("bin/bpf-linker"));
    on_path("bpf-linker").into_iter().chain(installed).find(|linker| linker.is_file())
}

/// Every file of this name on PATH, in its order.
pub(crate) fn on_path(program: &str) -> Vec<PathBuf> {
    let path: OsString = env::var_os("PATH").unwrap_or_default();
    let mut found: Vec<PathBuf> =
        env::split_paths(&path).map(|dir| dir.join(program)).filter(|file| file.is_file()).collect();
    found.dedup();
    found
}
