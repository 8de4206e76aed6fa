//! A followed process that stands still, and is made to do system calls.

#![allow(unsafe_code, reason = "registers of another process have no safe wrapper")]

use std::io;
use std::ptr;

use libc::{c_int, c_long, user_regs_struct};
use rustix::process::Pid;

use super::trace::{Stop, let_go, next_stop, request, resume};

/// A stopped process with its registers, until it is let go.
pub(crate) struct Stopped {
    pid: Pid,
    registers: user_regs_struct,
    /// An instruction that enters the kernel.
    entry: u64,
    /// Signals that arrived meanwhile.
    held: Vec<c_int>,
}

impl Stopped {
    /// Takes a process from [`Stop::Exec`] to the end of its `execve`: before that the kernel would put the result of the call
    /// into the registers.
    pub(crate) fn after_exec(pid: Pid) -> io::Result<Self> {
        resume(libc::PTRACE_SYSCALL as _, pid, 0)?;
        match next_stop(pid)? {
            Stop::Syscall => {}
            other => return Err(io::Error::other(format!("it stopped for {other:?} in its execve"))),
        }
        Ok(Self { pid, registers: registers(pid)?, entry: 0, held: Vec::new() })
    }

    /// Where its stack ends.
    pub(crate) fn stack(&self) -> u64 {
        self.registers.rsp
    }

    /// Names an instruction by which it can enter the kernel.
    pub(crate) fn enter_at(&mut self, instruction: u64) {
        self.entry = instruction;
    }

    /// Makes it do a system call; the result, or the error.
    pub(crate) fn call(&mut self, number: c_long, arguments: &[u64]) -> io::Result<u64> {
        let argument = |i: usize| arguments.get(i).copied().unwrap_or(0);
        let call = user_regs_struct {
            rip: self.entry,
            rax: number.cast_unsigned(),
            // No system call is to be restarted.
            orig_rax: u64::MAX,
            rdi: argument(0),
            rsi: argument(1),
            rdx: argument(2),
            r10: argument(3),
            r8: argument(4),
            r9: argument(5),
            ..self.registers
        };
        set_registers(self.pid, &call)?;
        self.step()?;
        let result = registers(self.pid)?.rax.cast_signed();
        match i32::try_from(result) {
            Ok(errno) if (-4095..0).contains(&errno) => Err(io::Error::from_raw_os_error(-errno)),
            _ => Ok(result.cast_unsigned()),
        }
    }

    /// Executes one instruction. A signal that wants to be delivered first is held back.
    fn step(&mut self) -> io::Result<()> {
        loop {
            resume(libc::PTRACE_SINGLESTEP as _, self.pid, 0)?;
            match next_stop(self.pid)? {
                Stop::Signal(libc::SIGTRAP) => return Ok(()),
                Stop::Signal(signal) => self.held.push(signal),
                Stop::Exec | Stop::Group | Stop::Syscall | Stop::Passing => {}
            }
        }
    }

    /// Lets it begin with its program, and does not follow it any longer.
    pub(crate) fn let_go(self) -> io::Result<()> {
        set_registers(self.pid, &self.registers)?;
        let_go(self.pid)?;
        for signal in self.held {
            // SAFETY: it sends a signal to a child that was not waited for.
            let _ = unsafe { libc::kill(self.pid.as_raw_pid(), signal) };
        }
        Ok(())
    }
}

fn registers(pid: Pid) -> io::Result<user_regs_struct> {
    let mut registers = std::mem::MaybeUninit::<user_regs_struct>::uninit();
    request(libc::PTRACE_GETREGS as _, pid, ptr::null_mut(), registers.as_mut_ptr().cast())?;
    // SAFETY: the kernel has filled it.
    Ok(unsafe { registers.assume_init() })
}

fn set_registers(pid: Pid, registers: &user_regs_struct) -> io::Result<()> {
    request(libc::PTRACE_SETREGS as _, pid, ptr::null_mut(), (&raw const *registers).cast_mut().cast())
}
