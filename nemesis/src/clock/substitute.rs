//! Gives a process a vDSO of its own, before the first instruction of its program.
//!
//! The process maps a copy of its vDSO, the stub, and two pages of the node's file; the copy is edited from here; and the
//! auxiliary vector on its stack is made to name the copy. Nothing is left to be done afterwards: other clocks
//! are other numbers in the file. Children inherit all of it until they execute a program themselves.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::ops::Range;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::FileExt;

use rustix::process::Pid;

use super::ClockFile;
use super::page::PAGE_BYTES;
use super::stopped::Stopped;
use super::stub::Stub;

use super::vdso::Vdso;

/// The entry of the auxiliary vector that names the vDSO, and its end.
const AT_SYSINFO_EHDR: u64 = 33;
const AT_NULL: u64 = 0;
/// Auxiliary vectors have a few dozen entries; arguments and environment may be many.
const WORDS_LIMIT: u64 = 1 << 22;

const READ: u64 = libc::PROT_READ as u64;
const READ_WRITE: u64 = (libc::PROT_READ | libc::PROT_WRITE) as u64;
const READ_EXECUTE: u64 = (libc::PROT_READ | libc::PROT_EXEC) as u64;
const PAGE: u64 = PAGE_BYTES as u64;

/// Substitutes the vDSO of a process that has just executed a program, and lets it go on unfollowed, substituted or not.
///
/// # Errors
/// Says which step failed, and why.
pub(crate) fn substitute(pid: Pid, clock: &ClockFile) -> Result<(), String> {
    let mut process = Stopped::after_exec(pid).map_err(|e| format!("cannot be followed: {e}"))?;
    let substituted = substitute_stopped(pid, &mut process, clock);
    process.let_go().map_err(|e| format!("cannot be let go: {e}"))?;
    substituted
}

fn substitute_stopped(pid: Pid, process: &mut Stopped, clock: &ClockFile) -> Result<(), String> {
    let step = |what: &'static str| move |error: io::Error| format!("{what}: {error}");
    let proc = |file: &str| format!("/proc/{}/{file}", pid.as_raw_pid());
    let memory = OpenOptions::new().read(true).write(true).open(proc("mem"));
    let memory = memory.map_err(step("cannot open its memory"))?;
    let maps = fs::read_to_string(proc("maps")).map_err(step("cannot read its mappings"))?;
    let range = vdso_range(&maps).ok_or("it has no vDSO; is the kernel started with vdso=0?")?;
    let mut image = vec![0; (range.end - range.start) as usize];
    memory.read_exact_at(&mut image, range.start).map_err(step("cannot read its vDSO"))?;
    let vdso =
        Vdso::parse(range.start, image).ok_or("its vDSO is not understood; is it a 32-bit program?")?;
    let real = vdso.clock_gettime().ok_or("its vDSO has no clock_gettime")?;
    let stub = Stub::asking(real);
    let entry = auxiliary_entry(&memory, process.stack(), range.start)
        .map_err(step("cannot read its stack"))?
        .ok_or("its auxiliary vector does not name its vDSO")?;
    process.enter_at(vdso.syscall_instruction().ok_or("its vDSO never enters the kernel")?);
    let base =
        map(process, &memory, vdso.length() as u64, clock).map_err(step("cannot map the substitute"))?;
    let behind = base + vdso.length() as u64;
    memory.write_all_at(&vdso.redirected(base, &stub), base).map_err(step("cannot write the substitute"))?;
    memory.write_all_at(&stub.code, behind).map_err(step("cannot write the substitute"))?;
    process
        .call(libc::SYS_mprotect, &[base, behind + PAGE - base, READ_EXECUTE])
        .map_err(step("cannot make the substitute executable"))?;
    memory.write_all_at(&base.to_le_bytes(), entry).map_err(step("cannot write to its stack"))
}

/// Makes it map room for the copy and the stub, and the two pages of its file behind them.
fn map(process: &mut Stopped, memory: &File, copy: u64, clock: &ClockFile) -> io::Result<u64> {
    const NO_FILE: u64 = u64::MAX;
    let private = (libc::MAP_PRIVATE | libc::MAP_ANONYMOUS) as u64;
    let shared = (libc::MAP_SHARED | libc::MAP_FIXED) as u64;
    let base = process.call(libc::SYS_mmap, &[0, copy + 3 * PAGE, READ_WRITE, private, NO_FILE, 0])?;
    let mut path = clock.path.as_os_str().as_bytes().to_vec();
    path.push(0);
    memory.write_all_at(&path, base)?;
    let flags = (libc::O_RDWR | libc::O_CLOEXEC) as u64;
    let file = process.call(libc::SYS_open, &[base, flags, 0])?;
    let control = base + copy + PAGE;
    process.call(libc::SYS_mmap, &[control, PAGE, READ, shared, file, 0])?;
    let seen = clock.reader.offset() as u64;
    process.call(libc::SYS_mmap, &[control + PAGE, PAGE, READ_WRITE, shared, file, seen])?;
    process.call(libc::SYS_close, &[file])?;
    Ok(base)
}

/// Where the vDSO is, by the list of mappings.
pub(super) fn vdso_range(maps: &str) -> Option<Range<u64>> {
    let line = maps.lines().find(|line| line.ends_with("[vdso]"))?;
    let (start, end) = line.split(' ').next()?.split_once('-')?;
    Some(u64::from_str_radix(start, 16).ok()?..u64::from_str_radix(end, 16).ok()?)
}

/// Where on the stack of a process that has just executed a program the address of its vDSO is. Behind the number of
/// arguments come these, a zero, the environment, a zero, and the auxiliary vector.
fn auxiliary_entry(memory: &File, stack: u64, vdso: u64) -> io::Result<Option<u64>> {
    let word = |address: u64| {
        let mut bytes = [0; size_of::<u64>()];
        memory.read_exact_at(&mut bytes, address).map(|()| u64::from_le_bytes(bytes))
    };
    let words = |address: u64| (0..WORDS_LIMIT).map(move |i| address + i * 8);
    let mut environment = words(stack + 8 * (word(stack)? + 2));
    for address in environment.by_ref() {
        if word(address)? == 0 {
            break;
        }
    }
    let Some(vector) = environment.next() else { return Ok(None) };
    for entry in words(vector).step_by(2) {
        match word(entry)? {
            AT_SYSINFO_EHDR => return Ok((word(entry + 8)? == vdso).then_some(entry + 8)),
            AT_NULL => break,
            _ => {}
        }
    }
    Ok(None)
}
