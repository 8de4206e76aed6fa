//! Programs of other languages that print the time again and again, built on the spot.

use std::path::{Path, PathBuf};
use std::process::Command;

/// Prints its time of day by three calls, in a child too.
const C: &str = r#"
#include <stdio.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

int main(void) {
    const char *who = fork() ? "parent" : "child";
    for (;;) {
        struct timespec fine;
        struct timeval coarse;
        clock_gettime(CLOCK_REALTIME, &fine);
        gettimeofday(&coarse, NULL);
        printf("%s %lld%09ld\n", who, (long long)fine.tv_sec, fine.tv_nsec);
        printf("%s %lld%06ld000\n", who, (long long)coarse.tv_sec, coarse.tv_usec);
        printf("%s %lld000000000\n", who, (long long)time(NULL));
        fflush(stdout);
        usleep(2000);
    }
}
"#;

/// Prints its time of day in two of its threads.
const GO: &str = r#"
package main

import (
	"fmt"
	"runtime"
	"time"
)

func tell(who string) {
	runtime.LockOSThread()
	for {
		fmt.Printf("%s %d\n", who, time.Now().UnixNano())
		time.Sleep(2 * time.Millisecond)
	}
}

func main() {
	go tell("child")
	tell("parent")
}
"#;

/// Prints its time of day in two of its threads.
const JAVA: &str = r#"
class Clock {
    static void tell(String who) {
        while (true) {
            System.out.println(who + " " + System.currentTimeMillis() + "000000");
            try { Thread.sleep(2); } catch (InterruptedException e) { return; }
        }
    }

    public static void main(String[] arguments) {
        new Thread(() -> tell("child")).start();
        tell("parent");
    }
}
"#;

/// Whether a compiler is here. Without it the test is skipped, loudly; where it is required, it fails.
fn has(program: &str, package: &str) -> bool {
    let found = find(program).is_some();
    let required = std::env::var_os("SHAKEDOWN_REQUIRE_TARGETS").is_some_and(|value| value == "1");
    assert!(found || !required, "{program} not found, and SHAKEDOWN_REQUIRE_TARGETS=1 (install {package})");
    if !found {
        println!("skipped: {program} not found (install {package})");
        eprintln!("skipped: {program} not found (install {package})");
    }
    found
}

pub(crate) fn find(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path).map(|directory| directory.join(program)).find(|program| program.is_file())
}

fn run(command: &mut Command) {
    let output = command.output().unwrap();
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
}

/// A program in C, with these options of the compiler.
pub(crate) fn c(directory: &Path, options: &[&str]) -> Option<PathBuf> {
    let (source, program) = (directory.join("clock.c"), directory.join("clock-c"));
    std::fs::write(&source, C).unwrap();
    has("gcc", "gcc").then(|| {
        run(Command::new("gcc").args(options).arg(&source).arg("-o").arg(&program));
        program
    })
}

/// A static program in Go.
pub(crate) fn go(directory: &Path) -> Option<PathBuf> {
    let (source, program) = (directory.join("clock.go"), directory.join("clock-go"));
    std::fs::write(&source, GO).unwrap();
    has("go", "golang-go").then(|| {
        let mut build = Command::new("go");
        build.arg("build").arg("-o").arg(&program).arg(&source).current_dir(directory);
        run(build.env("CGO_ENABLED", "0").env("GO111MODULE", "off"));
        program
    })
}

/// A program in Java, which `java` runs from its source.
pub(crate) fn java(directory: &Path) -> Option<PathBuf> {
    let source = directory.join("Clock.java");
    std::fs::write(&source, JAVA).unwrap();
    has("javac", "default-jdk-headless").then_some(source)
}
