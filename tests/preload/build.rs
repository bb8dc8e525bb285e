//! Says in one line what is missing where libwrap's development files are not installed; the linker's own message is a riddle.

use std::path::Path;
use std::process::Command;

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    // For another processor it is wherever the linker was told.
    if std::env::var_os("HOST") != std::env::var_os("TARGET") {
        return;
    }
    let compiler = std::env::var("CC").unwrap_or_else(|_| "cc".to_owned());
    let found = Command::new(&compiler)
        .arg("-print-file-name=libwrap.so")
        .output()
        .ok()
        .and_then(|out| String::from_utf8(out.stdout).ok())
        // Where it is not found the bare name comes back.
        .is_some_and(|path| Path::new(path.trim()).is_absolute());
    if !found {
        println!("cargo::error=libwrap's development files are not installed; run: cargo xtask setup");
    }
}
