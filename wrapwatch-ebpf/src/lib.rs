//! Kernel side.
#![no_std]
