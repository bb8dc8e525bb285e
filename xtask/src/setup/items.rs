//! What has to be there, how to see whether it is, and what brings it.

use std::{
    path::{Path, PathBuf},
    process::Command,
};

use super::Purpose;
use crate::{
    process::{cargo, probe},
    toolchain::{self, Compiler},
    workspace,
};

/// bpf-linker's version, and the LLVM it is built with, which must not be older than the compiler's.
const BPF_LINKER: &str = "0.13.0";
const LLVM_PREFIX: &str = "/usr/lib/llvm-22";

/// What helps where the kernel side's compiler and linker cannot be had this way.
pub(crate) const OTHER_WAY: &str = "another way to compile the kernel side: \
    rustup toolchain install nightly --profile minimal --component rust-src,clippy; \
    LLVM with its headers, not older than that nightly's; LLVM_PREFIX=… cargo install --locked bpf-linker";

/// One thing that has to be there.
pub(crate) struct Item {
    /// What it is, for a person.
    pub(crate) name: &'static str,
    /// What needs it.
    pub(crate) purpose: Purpose,
    /// What brings it.
    pub(crate) remedy: Remedy,
    look: Look,
}

enum Look {
    /// A function that knows.
    With(fn() -> State),
    /// A program on PATH or where root has its programs.
    Program(&'static str),
    /// A file.
    File(&'static str),
}

/// What brings a thing.
pub(crate) enum Remedy {
    /// Debian's and Ubuntu's packages, or a command where they do not exist.
    Packages { names: &'static [&'static str], or: Option<fn() -> Command> },
    /// A command, run as the user.
    Run(fn() -> Command),
}

/// Whether a thing is there, with a detail for a person.
pub(crate) enum State {
    Present(String),
    Missing(String),
}

impl Item {
    /// Looks whether it is there.
    pub(crate) fn state(&self) -> State {
        let found = match self.look {
            Look::With(look) => return look(),
            Look::Program(name) => program(name),
            Look::File(path) => Some(PathBuf::from(path)).filter(|path| path.exists()),
        };
        found.map_or_else(|| State::Missing(String::new()), |path| State::Present(path.display().to_string()))
    }
}

/// Everything, in the order in which it has to be installed.
pub(crate) fn all() -> Vec<Item> {
    use Purpose::{Arm64, Bench, Build, Compare, Count, Lab, Lint, Vm};
    let package = |names, purpose, name, look| Item {
        name,
        purpose,
        look,
        remedy: Remedy::Packages { names, or: None },
    };
    let mut items = vec![
        Item {
            name: "rustfmt and clippy",
            purpose: Lint,
            look: Look::With(host_lints),
            remedy: Remedy::Run(|| rustup(&["component", "add", "rustfmt", "clippy"])),
        },
        Item {
            name: "a compiler for the bpf target",
            purpose: Build,
            look: Look::With(compiler),
            remedy: Remedy::Packages {
                names: &["rustc-web", "libstd-rust-web-dev-bpf"],
                or: Some(|| {
                    rustup(&[
                        "toolchain",
                        "install",
                        "nightly",
                        "--profile",
                        "minimal",
                        "--component",
                        "rust-src,clippy",
                    ])
                }),
            },
        },
        Item {
            name: "clippy for the bpf target",
            purpose: Lint,
            look: Look::With(kernel_lints),
            remedy: Remedy::Packages {
                names: &["rust-web-clippy"],
                or: Some(|| rustup(&["component", "add", "clippy", "--toolchain", "nightly"])),
            },
        },
        package(&["llvm-22-dev"], Build, "LLVM 22 for bpf-linker", Look::With(llvm)),
        Item {
            name: "bpf-linker",
            purpose: Build,
            look: Look::With(bpf_linker),
            remedy: Remedy::Run(install_bpf_linker),
        },
        package(&["libwrap0-dev"], Compare, "libwrap", Look::File("/usr/include/tcpd.h")),
        package(&["mariadb-server-core"], Lab, "mariadbd", Look::Program("mariadbd")),
        package(&["mariadb-client-core"], Lab, "mariadb", Look::Program("mariadb")),
        package(&["openssl"], Lab, "openssl", Look::Program("openssl")),
        package(&["tcpd"], Lab, "tcpdmatch", Look::Program("tcpdmatch")),
        package(&["iproute2"], Lab, "ip", Look::Program("ip")),
        package(&["tcpdump"], Lab, "tcpdump", Look::Program("tcpdump")),
        package(&["tmux"], Lab, "tmux", Look::Program("tmux")),
        package(&["tshark"], Lab, "tshark", Look::Program("tshark")),
        package(&["strace"], Lab, "strace", Look::Program("strace")),
        package(&["systemd"], Lab, "systemd-analyze", Look::Program("systemd-analyze")),
        package(&["valgrind"], Count, "valgrind", Look::Program("valgrind")),
        package(&["sysbench"], Bench, "sysbench", Look::Program("sysbench")),
        package(&["bpftrace"], Bench, "bpftrace", Look::Program("bpftrace")),
        package(&["linux-perf"], Bench, "perf", Look::Program("perf")),
        Item {
            name: "nscd, nss-resolve, Prometheus and systemd-nspawn, unpacked",
            purpose: Lab,
            look: Look::With(|| unpacked(&LAB_PARTS)),
            remedy: Remedy::Run(|| {
                unpack("nscd libnss-resolve prometheus prometheus-node-exporter systemd-container")
            }),
        },
        package(&["qemu-system-x86"], Vm, "qemu", Look::Program("qemu-system-x86_64")),
        package(&["busybox-static"], Vm, "a static busybox", Look::Program("busybox")),
        package(
            &["debian-archive-keyring"],
            Vm,
            "Debian's keys",
            Look::File("/usr/share/keyrings/debian-archive-keyring.gpg"),
        ),
        package(&["xz-utils"], Vm, "xz", Look::Program("xz")),
        Item {
            name: "apparmor_parser, unpacked",
            purpose: Vm,
            look: Look::With(|| unpacked(&[APPARMOR_PARSER])),
            remedy: Remedy::Run(|| unpack("apparmor")),
        },
        package(
            &["gcc-aarch64-linux-gnu", "libc6-dev-arm64-cross"],
            Arm64,
            "a C compiler for arm64",
            Look::Program("aarch64-linux-gnu-gcc"),
        ),
        package(&["qemu-system-arm"], Arm64, "qemu for arm64", Look::Program("qemu-system-aarch64")),
        package(&["qemu-user-static"], Arm64, "an emulator for arm64", Look::Program("qemu-aarch64-static")),
    ];
    items.extend(readers());
    items
}

/// What reads in tests what wrapwatch writes: pages, exports.
fn readers() -> [Item; 4] {
    let package = |names, name, look| Item {
        name,
        purpose: Purpose::Lab,
        look,
        remedy: Remedy::Packages { names, or: None },
    };
    [
        package(&["chromium"], "Chromium", Look::Program("chromium")),
        package(
            &["fonts-dejavu-core"],
            "a font",
            Look::File("/usr/share/fonts/truetype/dejavu/DejaVuSans.ttf"),
        ),
        package(&["python3-pip"], "pip", Look::With(pip_version)),
        Item {
            name: "DuckDB, OpenTelemetry's definitions and Grafana's types for Python, unpacked",
            purpose: Purpose::Lab,
            look: Look::With(|| unpacked(&PYTHON_PARTS_AT)),
            remedy: Remedy::Run(install_python_parts),
        },
    ]
}

fn host_lints() -> State {
    let there = |what: &str| cargo(&[what, "--version"]).ok().and_then(|mut command| probe(&mut command));
    match (there("fmt"), there("clippy")) {
        (Some(fmt), Some(clippy)) => State::Present(format!("{fmt}, {clippy}")),
        _ => State::Missing("components of rustup".to_owned()),
    }
}

fn compiler() -> State {
    match toolchain::find_compiler(&workspace::host_target()) {
        Some(compiler) => State::Present(compiler.to_string()),
        None => State::Missing(format!("rustc {} or later", env!("CARGO_PKG_RUST_VERSION"))),
    }
}

fn kernel_lints() -> State {
    let Some(compiler) = toolchain::find_compiler(&workspace::host_target()) else {
        return State::Missing(String::new());
    };
    let version = match &compiler {
        Compiler::Prebuilt(rustc) => {
            probe(Command::new(rustc.with_file_name("clippy-driver")).arg("--version"))
        }
        Compiler::Nightly => {
            probe(Command::new("rustup").args(["run", "nightly", "cargo", "clippy", "--version"]))
        }
    };
    version.map_or_else(|| State::Missing(format!("to go with {compiler}")), State::Present)
}

fn llvm() -> State {
    match bpf_linker() {
        State::Present(_) => State::Present("bpf-linker runs".to_owned()),
        State::Missing(_) if Path::new(LLVM_PREFIX).join("include/llvm-c/Core.h").is_file() => {
            State::Present(LLVM_PREFIX.to_owned())
        }
        State::Missing(_) => State::Missing(String::new()),
    }
}

fn bpf_linker() -> State {
    let Some(path) = toolchain::find_linker() else { return State::Missing(String::new()) };
    match probe(Command::new(&path).arg("--version")) {
        Some(version) => State::Present(version),
        None => State::Missing(format!("{} does not run", path.display())),
    }
}

/// Forced, since this is asked for also when a linker is there that does not run.
fn install_bpf_linker() -> Command {
    let mut command = Command::new("cargo");
    command
        .args(["install", "--locked", "--force", "bpf-linker", "--version", BPF_LINKER])
        .args(["--no-default-features", "--features", "llvm-22"])
        .env("LLVM_PREFIX", LLVM_PREFIX);
    command
}

/// Where packages are unpacked that must not be installed: they would start a daemon, or change what this machine does.
pub(crate) fn parts_directory() -> PathBuf {
    workspace::target_dir().unwrap_or_else(|_| "target".into()).join("lab-parts")
}

/// In `parts_directory()`, for the lab.
const LAB_PARTS: [&str; 6] = [
    "usr/sbin/nscd",
    "usr/lib/x86_64-linux-gnu/libnss_resolve.so.2",
    "usr/bin/promtool",
    "usr/bin/prometheus",
    "usr/bin/prometheus-node-exporter",
    "usr/bin/systemd-nspawn",
];

/// In `parts_directory()`.
pub(crate) const APPARMOR_PARSER: &str = "sbin/apparmor_parser";

fn unpacked(files: &[&str]) -> State {
    let parts = parts_directory();
    match files.iter().find(|file| !parts.join(file).exists()) {
        None => State::Present(parts.display().to_string()),
        Some(missing) => State::Missing((*missing).to_owned()),
    }
}

/// Packages, separated by blanks: those of the version that apt has, which is also the C library's.
fn unpack(packages: &str) -> Command {
    let script = "set -e; mkdir -p \"$1\"; at=$(mktemp -d); cd \"$at\"; get() { apt-get download $2; }; get \"$@\" || { apt-get update; get \"$@\"; }; \
                  for package in *.deb; do dpkg-deb -x \"$package\" \"$1\"; done; rm -r \"$at\"";
    let mut command = Command::new("sh");
    command.args(["-c", script, "sh"]).arg(parts_directory()).arg(packages);
    command
}

/// What reads exports in tests, from Python's package index: nothing of it is installed.
const PYTHON_PARTS: [&str; 3] =
    ["duckdb==2.0.1", "opentelemetry-proto==1.45.2", "grafana-foundation-sdk==1769699998!10.1.0"];

/// In `parts_directory()`.
const PYTHON_PARTS_AT: [&str; 3] =
    ["python/duckdb", "python/opentelemetry/proto", "python/grafana_foundation_sdk"];

fn pip_version() -> State {
    let version = probe(Command::new("python3").args(["-m", "pip", "--version"]));
    version.map_or_else(|| State::Missing(String::new()), State::Present)
}

fn install_python_parts() -> Command {
    let mut command = Command::new("python3");
    command.args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--upgrade", "--target"]);
    command.arg(parts_directory().join("python")).args(PYTHON_PARTS).env("PIP_ROOT_USER_ACTION", "ignore");
    command
}

fn rustup(args: &[&str]) -> Command {
    let mut command = Command::new("rustup");
    command.args(args);
    command
}

fn program(name: &str) -> Option<PathBuf> {
    let of_root = ["/usr/sbin", "/sbin"].map(|dir| Path::new(dir).join(name));
    toolchain::on_path(name).into_iter().chain(of_root).find(|path| path.is_file())
}
