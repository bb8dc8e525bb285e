//! What the kernel says of a target in texts that the target has a hand in: its memory map, with names of files that it chose.

use wrapwatch::host::maps;

/// Any bytes, as `/proc/PID/maps`.
///
/// # Panics
/// Where a promise is broken.
pub fn run(bytes: &[u8]) {
    let libwrap = |path: &std::path::Path| path.to_string_lossy().contains("libwrap.so");
    if let Ok(Some(found)) = maps::first_in(bytes, libwrap) {
        assert!(libwrap(&found.path) && found.path.is_absolute(), "{found:?}");
        assert!(!found.path.to_string_lossy().contains('\n'), "{found:?}");
    }
    if let Ok(Some(first)) = maps::first_in(bytes, |_| true) {
        assert!(first.path.is_absolute(), "{first:?}");
    }
}
