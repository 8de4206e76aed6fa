//! The code that skewed processes call instead of the vDSO's.
//!
//! It asks the real vDSO, and adds what the page behind it says. It is copied into the process, in front of two pages of
//! the node's file: the one that says how wrong the clocks are, and the one in which the process says what it has seen.
//! While a clock is right this costs a comparison of two words and a jump; the second page is written when the version
//! changed, and while the clock is wrong.
//!
//! Registers are those that a call may change; the stack is aligned for the call inside.

#![allow(unsafe_code, reason = "machine code, and the addresses of its labels")]

use std::arch::global_asm;
use std::slice;

use super::page::{AREA_BYTES, PAGE_BYTES, READINGS_OFFSET, SLOT_BYTES, VERSION_SKEWED, VERSION_STEP};

/// REALTIME, REALTIME_COARSE and TAI, as bits.
const WALL_CLOCKS: u32 = 1 << 0 | 1 << 5 | 1 << 11;
/// MONOTONIC, MONOTONIC_RAW, MONOTONIC_COARSE and BOOTTIME.
const MONOTONIC_CLOCKS: u32 = 1 << 1 | 1 << 4 | 1 << 6 | 1 << 7;

// The slot is found by shifting the bit of the version that names it.
const _: () = assert!(VERSION_STEP << 5 == SLOT_BYTES as u64 && VERSION_SKEWED == 1);

global_asm!(
    r#"
.pushsection .text.shakedown_clock, "ax", @progbits
.globl shakedown_clock_start, shakedown_clock_gettime, shakedown_clock_gettimeofday
.globl shakedown_clock_time, shakedown_clock_real, shakedown_clock_end
.hidden shakedown_clock_start, shakedown_clock_gettime, shakedown_clock_gettimeofday
.hidden shakedown_clock_time, shakedown_clock_real, shakedown_clock_end
.balign 64
shakedown_clock_start:

// int clock_gettime(clockid_t edi, struct timespec *rsi)
shakedown_clock_gettime:
    cmp edi, 11
    ja 1f
    lea r8, [rip + shakedown_clock_start + {page}]
    mov ecx, {wall}
    bt ecx, edi
    jc 2f
    mov ecx, {monotonic}
    bt ecx, edi
    jc 3f
1:  jmp [rip + shakedown_clock_real]
3:  add r8, {area}
2:  mov r9, [r8]
    test r9b, {skewed}
    jnz 4f
    cmp r9, [r8 + {page}]
    je 1b
    mov [r8 + {page}], r9
    jmp 1b

4:  push rdi
    push rsi
    push r8
    call [rip + shakedown_clock_real]
    pop r8
    pop rsi
    pop rdi
    test eax, eax
    jnz 9f

// The slot of the present version r9, for the time r11.
7:  mov r9, [r8]
    test r9b, {skewed}
    jz 8f
    mov r10d, r9d
    and r10d, {step}
    shl r10d, 5
    lea r10, [r8 + r10 + {slot}]
    imul r11, [rsi], 1000000000
    add r11, [rsi + 8]
    mov rax, r11
    sub rax, [r10]
    imul qword ptr [r10 + 8]
    shrd rax, rdx, 32
    add rax, r11
    add rax, [r10 + 16]
    mov rcx, rax
    mov rdi, [r10 + 24]
    mov r10, [r10 + 32]
    cmp r9, [r8]
    jne 7b
    test rdi, rdi
    jz 5f
    mov rax, r11
    xor edx, edx
    div rdi
    test al, 1
    jz 5f
    add rcx, r10
5:  test rcx, rcx
    jns 6f
    xor ecx, ecx
6:  mov rax, rcx
    xor edx, edx
    mov ecx, 1000000000
    div rcx
    mov [rsi], rax
    mov [rsi + 8], rdx
    xor eax, eax
    inc qword ptr [r8 + {page} + {readings}]
    cmp r9, [r8 + {page}]
    je 9f
8:  mov [r8 + {page}], r9
9:  ret

.balign 16
// int gettimeofday(struct timeval *rdi, struct timezone *rsi)
shakedown_clock_gettimeofday:
    push rdi
    push rsi
    sub rsp, 24
    xor edi, edi
    mov rsi, rsp
    call shakedown_clock_gettime
    mov rcx, [rsp + 32]
    test rcx, rcx
    jz 1f
    mov rdx, [rsp]
    mov [rcx], rdx
    // Nanoseconds below 10^9, divided by 1000: 274877907 is 2^38 / 1000.
    mov rdx, [rsp + 8]
    imul rdx, rdx, 274877907
    shr rdx, 38
    mov [rcx + 8], rdx
1:  mov rcx, [rsp + 24]
    test rcx, rcx
    jz 2f
    mov qword ptr [rcx], 0
2:  add rsp, 40
    ret

.balign 16
// time_t time(time_t *rdi), which is the coarse clock
shakedown_clock_time:
    push rdi
    sub rsp, 16
    mov edi, 5
    mov rsi, rsp
    call shakedown_clock_gettime
    mov rax, [rsp]
    mov rcx, [rsp + 16]
    test rcx, rcx
    jz 1f
    mov [rcx], rax
1:  add rsp, 24
    ret

.balign 8
// The address of the real clock_gettime.
shakedown_clock_real:
    .quad 0
shakedown_clock_end:
.popsection
"#,
    page = const PAGE_BYTES,
    area = const AREA_BYTES,
    slot = const SLOT_BYTES,
    step = const VERSION_STEP,
    skewed = const VERSION_SKEWED,
    readings = const READINGS_OFFSET,
    wall = const WALL_CLOCKS,
    monotonic = const MONOTONIC_CLOCKS,
);

unsafe extern "C" {
    static shakedown_clock_start: u8;
    static shakedown_clock_gettime: u8;
    static shakedown_clock_gettimeofday: u8;
    static shakedown_clock_time: u8;
    static shakedown_clock_real: u8;
    static shakedown_clock_end: u8;
}

/// The stub, and where in it is what.
pub(super) struct Stub {
    /// Goes to the beginning of a page, in front of the two pages of the file.
    pub(super) code: Vec<u8>,
    pub(super) clock_gettime: u64,
    pub(super) gettimeofday: u64,
    pub(super) time: u64,
}

impl Stub {
    /// A stub that asks the real `clock_gettime` at this address.
    pub(super) fn asking(real: u64) -> Self {
        let start = &raw const shakedown_clock_start;
        let offset = |label: *const u8| label as usize - start as usize;
        let length = offset(&raw const shakedown_clock_end);
        assert!(length <= PAGE_BYTES, "invariant: the stub fits into its page");
        // SAFETY: the labels enclose code of this program, which nobody changes.
        let mut code = unsafe { slice::from_raw_parts(start, length) }.to_vec();
        let literal = offset(&raw const shakedown_clock_real);
        code[literal..literal + size_of::<u64>()].copy_from_slice(&real.to_le_bytes());
        Self {
            code,
            clock_gettime: offset(&raw const shakedown_clock_gettime) as u64,
            gettimeofday: offset(&raw const shakedown_clock_gettimeofday) as u64,
            time: offset(&raw const shakedown_clock_time) as u64,
        }
    }
}
