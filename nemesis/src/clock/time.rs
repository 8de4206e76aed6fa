//! The time as the kernel tells it, and as a program sees it.

#![allow(unsafe_code, reason = "system calls past the vDSO, and the C library's clock, have no safe wrapper")]

use super::page::Area;

/// What a clock of the machine shows, asked of the kernel itself, in nanoseconds.
pub(crate) fn true_ns(area: Area) -> i64 {
    read(|time| {
        // SAFETY: the kernel fills the structure that is passed.
        unsafe { libc::syscall(libc::SYS_clock_gettime, area.clock(), time) };
    })
}

/// What a program sees that asks its C library.
pub(super) fn shown_ns(area: Area) -> i64 {
    read(|time| {
        // SAFETY: the library fills the structure that is passed.
        unsafe { libc::clock_gettime(area.clock(), time) };
    })
}

fn read(clock: impl FnOnce(*mut libc::timespec)) -> i64 {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    clock(&raw mut time);
    time.tv_sec * 1_000_000_000 + time.tv_nsec
}
