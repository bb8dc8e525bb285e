//! Memory of this process that nobody uses.

/// Gives back what the C library keeps for later. Attaching takes some ten mebibytes for the kernel's types, which nobody needs afterwards.
pub fn give_back() {
    #[cfg(target_env = "gnu")]
    // SAFETY: it takes a number and touches only what is free.
    unsafe {
        libc::malloc_trim(0);
    }
}
