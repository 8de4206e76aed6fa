//! A process that reads all its clocks again and again, and asks the kernel for the true time before and after each reading.
//!
//! So it is known what each reading must be, whatever the machine does to the process.

#![allow(unsafe_code, reason = "clocks of the C library, and system calls past it")]

use std::fmt::Write;
use std::time::Duration;

use nemesis::{Area, Skew};

/// A way to ask for the time.
#[derive(Clone, Copy)]
struct Way {
    name: &'static str,
    area: Option<Area>,
    clock: libc::clockid_t,
    /// The unit of what it says, in nanoseconds.
    unit: i64,
}

const fn way(name: &'static str, area: Option<Area>, clock: libc::clockid_t, unit: i64) -> Way {
    Way { name, area, clock, unit }
}

const WAYS: [Way; 11] = [
    way("realtime", Some(Area::Wall), libc::CLOCK_REALTIME, 1),
    way("realtime-coarse", Some(Area::Wall), libc::CLOCK_REALTIME_COARSE, 1),
    way("tai", Some(Area::Wall), libc::CLOCK_TAI, 1),
    way("gettimeofday", Some(Area::Wall), libc::CLOCK_REALTIME, 1_000),
    way("time", Some(Area::Wall), libc::CLOCK_REALTIME_COARSE, 1_000_000_000),
    way("monotonic", Some(Area::Monotonic), libc::CLOCK_MONOTONIC, 1),
    way("monotonic-raw", Some(Area::Monotonic), libc::CLOCK_MONOTONIC_RAW, 1),
    way("monotonic-coarse", Some(Area::Monotonic), libc::CLOCK_MONOTONIC_COARSE, 1),
    way("boottime", Some(Area::Monotonic), libc::CLOCK_BOOTTIME, 1),
    way("process", None, libc::CLOCK_PROCESS_CPUTIME_ID, 1),
    way("thread", None, libc::CLOCK_THREAD_CPUTIME_ID, 1),
];

fn nanoseconds(read: impl FnOnce(*mut libc::timespec)) -> i64 {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    read(&raw mut time);
    time.tv_sec * 1_000_000_000 + time.tv_nsec
}

fn kernel(clock: libc::clockid_t) -> i64 {
    // SAFETY: the kernel fills the structure that is passed.
    nanoseconds(|time| _ = unsafe { libc::syscall(libc::SYS_clock_gettime, clock, time) })
}

/// What the C library says, in the way's own unit. Some of the zones of `gettimeofday` are asked for, too.
fn library(way: Way) -> i64 {
    match way.name {
        "gettimeofday" => {
            let mut time = libc::timeval { tv_sec: 0, tv_usec: 0 };
            let mut zone = [-1_i32; 2];
            // SAFETY: the library fills the structures that are passed; a zone is two integers.
            unsafe { libc::gettimeofday(&raw mut time, (&raw mut zone).cast()) };
            assert_eq!(zone, [0, 0]);
            time.tv_sec * 1_000_000 + time.tv_usec
        }
        "time" => {
            let mut also = 0;
            // SAFETY: the library fills the integer that is passed.
            let time = unsafe { libc::time(&raw mut also) };
            assert_eq!(time, also);
            time
        }
        // SAFETY: the library fills the structure that is passed.
        _ => nanoseconds(|time| _ = unsafe { libc::clock_gettime(way.clock, time) }),
    }
}

/// The process: a line for each round of readings.
pub(crate) fn read_for_ever() {
    for round in 0.. {
        let mut line = format!("\nround {round}");
        for way in WAYS {
            let (before, shown, after) = (kernel(way.clock), library(way), kernel(way.clock));
            write!(line, " {before},{shown},{after}").unwrap();
        }
        println!("{line} end");
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// Readings of one round.
pub(crate) struct Round {
    pub(crate) number: u64,
    readings: Vec<[i64; 3]>,
}

impl Round {
    /// The last whole round of a log.
    pub(crate) fn last(log: &str) -> Option<Self> {
        log.lines().rev().find_map(Self::parse)
    }

    fn parse(line: &str) -> Option<Self> {
        let mut words = line.strip_prefix("round ")?.strip_suffix(" end")?.split(' ');
        let number = words.next()?.parse().ok()?;
        let reading = |word: &str| {
            let times: Vec<i64> = word.split(',').filter_map(|time| time.parse().ok()).collect();
            times.try_into().ok()
        };
        let readings: Option<Vec<[i64; 3]>> = words.map(reading).collect();
        Some(Self { number, readings: readings? })
    }

    /// Says which reading is not what a process with such clocks must read, if any is.
    pub(crate) fn wrong(&self, skew: impl Fn(Area) -> Skew) -> Option<String> {
        WAYS.iter().zip(&self.readings).find_map(|(way, &[before, shown, after])| {
            let skew = way.area.map(&skew).unwrap_or_default();
            // A strobe may change sides between the two true times.
            let side = if skew.period_ns == 0 { 0 } else { after - before };
            let ends = [skew.apply(before), skew.apply(after)];
            let least = (ends[0].min(ends[1]) - side) / way.unit;
            let most = (ends[0].max(ends[1]) + side) / way.unit;
            (!(least..=most).contains(&shown))
                .then(|| format!("{}: {shown} is not in {least}..={most}, {skew:?}", way.name))
        })
    }
}

/// What a drift that is too slow to see may add.
const SLOW_DRIFT: i64 = 1_000_000_000;

/// The process: several threads read the time of day as fast as they can, and say when it is neither of two offsets away
/// from the true one.
pub(crate) fn watch_two_offsets(offsets: [i64; 2]) {
    std::thread::scope(|threads| {
        for _ in 0..3 {
            threads.spawn(|| {
                let way = WAYS[0];
                for reading in 0_u64.. {
                    let before = kernel(way.clock);
                    let shown: [i64; 32] = std::array::from_fn(|_| library(way));
                    let after = kernel(way.clock);
                    let fits = |shown: i64| {
                        offsets
                            .iter()
                            .any(|offset| (before + offset..=after + offset + SLOW_DRIFT).contains(&shown))
                    };
                    if let Some(mixture) = shown.into_iter().find(|&shown| !fits(shown)) {
                        println!("\nmixture {}", mixture - before);
                    }
                    if reading % 1_000 == 999 {
                        println!("\nbatch");
                    }
                }
            });
        }
    });
}
