//! Where the kernel comes in: one thin program for each hook, which hands on to the handlers in `probes/`. Three sets, of which the loader takes
//! one.

mod perf;
mod raw;
mod trampoline;
