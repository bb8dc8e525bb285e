//! The oracle stands in for functions that libwrap calls: they must be found in the executable when the library is loaded.

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    println!("cargo:rustc-link-arg-bin=wrap-oracle=-rdynamic");
}
