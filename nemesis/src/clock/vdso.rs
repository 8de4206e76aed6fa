//! Reads the vDSO of a process, and makes a copy of it whose clocks lead elsewhere.
//!
//! A C library or runtime finds the vDSO through an entry of the auxiliary vector, and in it the clocks by name. In the copy,
//! the symbols of clocks lead to the stub behind it; all others lead back to the real vDSO, whose code goes on running where it
//! is and finds its data beside it. Addresses of symbols wrap around, so any distance can be written.
//!
//! Everything here is bytes in, bytes out. Format: ELF-64, System V ABI; `vdso(7)`.

use super::stub::Stub;

/// Entries of the dynamic section.
const DT_NULL: u64 = 0;
const DT_HASH: u64 = 4;
const DT_STRTAB: u64 = 5;
const DT_SYMTAB: u64 = 6;
/// A program header that names the dynamic section.
const PT_DYNAMIC: u32 = 2;
const PROGRAM_HEADER_BYTES: usize = 56;
const DYNAMIC_ENTRY_BYTES: usize = 16;
const SYMBOL_BYTES: usize = 24;
/// Where in a symbol its section and its value are.
const SYMBOL_SECTION: usize = 6;
const SYMBOL_VALUE: usize = 8;
/// Sections of symbols that have no address: those of others, and constants.
const SHN_UNDEF: u16 = 0;
const SHN_ABS: u16 = 0xfff1;
/// The instruction by which x86-64 enters the kernel.
const SYSCALL: [u8; 2] = [0x0f, 0x05];

/// The vDSO of a process.
pub(super) struct Vdso {
    /// Where it is in the process.
    address: u64,
    bytes: Vec<u8>,
    symbols: Vec<Symbol>,
}

struct Symbol {
    /// Where in the image the symbol is.
    offset: usize,
    name: String,
    value: u64,
}

impl Vdso {
    /// Reads the image of a vDSO that is mapped at `address`; `None` when it is not what the ABI says.
    pub(super) fn parse(address: u64, bytes: Vec<u8>) -> Option<Self> {
        let symbols = symbols(&bytes)?;
        Some(Self { address, bytes, symbols })
    }

    /// Where in the process an instruction is that enters the kernel.
    pub(super) fn syscall_instruction(&self) -> Option<u64> {
        let at = self.bytes.windows(SYSCALL.len()).position(|window| window == SYSCALL)?;
        Some(self.address + at as u64)
    }

    /// Where in the process the real `clock_gettime` is.
    pub(super) fn clock_gettime(&self) -> Option<u64> {
        let symbol = self.symbols.iter().find(|symbol| symbol.name == "__vdso_clock_gettime")?;
        Some(self.address + symbol.value)
    }

    /// The length of the image, which is whole pages.
    pub(super) fn length(&self) -> usize {
        self.bytes.len()
    }

    /// A copy to be mapped at `base`, with `stub` directly behind it.
    pub(super) fn redirected(&self, base: u64, stub: &Stub) -> Vec<u8> {
        let behind = self.length() as u64;
        let mut copy = self.bytes.clone();
        for symbol in &self.symbols {
            let value = match symbol.name.trim_start_matches("__vdso_") {
                "clock_gettime" => behind + stub.clock_gettime,
                "gettimeofday" => behind + stub.gettimeofday,
                "time" => behind + stub.time,
                _ => self.address.wrapping_add(symbol.value).wrapping_sub(base),
            };
            let at = symbol.offset + SYMBOL_VALUE;
            copy[at..at + size_of::<u64>()].copy_from_slice(&value.to_le_bytes());
        }
        copy
    }
}

/// The symbols that have an address.
fn symbols(image: &[u8]) -> Option<Vec<Symbol>> {
    if image.get(..4)? != b"\x7fELF" {
        return None;
    }
    let (names, table) = (dynamic(image, DT_STRTAB)?, dynamic(image, DT_SYMTAB)?);
    // Without the old hash table, which tells the number of symbols, the names are directly behind them.
    let count = match dynamic(image, DT_HASH) {
        Some(hash) => u32_at(image, hash + 4)? as usize,
        None => names.checked_sub(table)? / SYMBOL_BYTES,
    };
    let offsets = (0..count).map(|i| table + i * SYMBOL_BYTES);
    let addressed = offsets.filter(|&offset| {
        u16_at(image, offset + SYMBOL_SECTION).is_some_and(|section| ![SHN_UNDEF, SHN_ABS].contains(&section))
    });
    addressed.map(|offset| symbol(image, names, offset)).collect()
}

fn symbol(image: &[u8], names: usize, offset: usize) -> Option<Symbol> {
    let name = image.get(names + u32_at(image, offset)? as usize..)?;
    let name = String::from_utf8_lossy(name.split(|&byte| byte == 0).next()?).into_owned();
    Some(Symbol { offset, name, value: u64_at(image, offset + SYMBOL_VALUE)? })
}

/// An entry of the dynamic section. The vDSO is linked at address 0, so addresses are offsets.
fn dynamic(image: &[u8], tag: u64) -> Option<usize> {
    let headers = usize::try_from(u64_at(image, 32)?).ok()?;
    let header = (0..usize::from(u16_at(image, 56)?))
        .map(|i| headers + i * PROGRAM_HEADER_BYTES)
        .find(|&header| u32_at(image, header) == Some(PT_DYNAMIC))?;
    let section = usize::try_from(u64_at(image, header + 16)?).ok()?;
    let entries = (0..).map(|i| section + i * DYNAMIC_ENTRY_BYTES);
    let mut found = entries.map_while(|entry| Some((u64_at(image, entry)?, u64_at(image, entry + 8)?)));
    let (_, value) =
        found.find(|(found, _)| [tag, DT_NULL].contains(found)).filter(|(found, _)| *found == tag)?;
    usize::try_from(value).ok()
}

fn u16_at(image: &[u8], offset: usize) -> Option<u16> {
    Some(u16::from_le_bytes(image.get(offset..offset + 2)?.try_into().ok()?))
}

fn u32_at(image: &[u8], offset: usize) -> Option<u32> {
    Some(u32::from_le_bytes(image.get(offset..offset + 4)?.try_into().ok()?))
}

fn u64_at(image: &[u8], offset: usize) -> Option<u64> {
    Some(u64::from_le_bytes(image.get(offset..offset + 8)?.try_into().ok()?))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::FileExt;

    use super::*;
    use crate::clock::substitute::vdso_range;

    fn own() -> Vdso {
        let range = vdso_range(&std::fs::read_to_string("/proc/self/maps").unwrap()).unwrap();
        let mut bytes = vec![0; (range.end - range.start) as usize];
        std::fs::File::open("/proc/self/mem").unwrap().read_exact_at(&mut bytes, range.start).unwrap();
        Vdso::parse(range.start, bytes).unwrap()
    }

    #[test]
    fn clocks_lead_to_the_stub_and_all_else_to_the_real_one() {
        let vdso = own();
        let stub = Stub::asking(vdso.clock_gettime().unwrap());
        let base = 0x7000_0000;
        let copy = Vdso::parse(base, vdso.redirected(base, &stub)).unwrap();
        assert_eq!(copy.symbols.len(), vdso.symbols.len());
        let mut clocks = 0;
        for (redirected, real) in copy.symbols.iter().zip(&vdso.symbols) {
            let leads_to = base.wrapping_add(redirected.value);
            let is_clock = ["clock_gettime", "gettimeofday", "time"].map(|name| real.name.ends_with(name));
            if is_clock.contains(&true) {
                clocks += 1;
                assert!(leads_to >= base + vdso.length() as u64, "{}", real.name);
                assert!(leads_to < base + (vdso.length() + stub.code.len()) as u64, "{}", real.name);
            } else {
                assert_eq!(leads_to, vdso.address + real.value, "{}", real.name);
            }
        }
        assert!(clocks >= 3 && copy.clock_gettime().is_some());
    }

    #[test]
    fn bytes_that_are_no_vdso_are_refused() {
        assert!(Vdso::parse(0, b"\x7fELF".to_vec()).is_none());
        assert!(Vdso::parse(0, vec![0; 8192]).is_none());
        let whole = own().bytes;
        for length in (0..whole.len()).step_by(7) {
            // Parsing a part may succeed, but does not panic.
            let _ = Vdso::parse(0, whole[..length].to_vec());
        }
    }
}
