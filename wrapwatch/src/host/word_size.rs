//! Whether a process runs a 32-bit program: its system calls have numbers of their own, and no hook tells of them.

use std::fs;

/// `AT_PHENT` (getauxval(3)): size of a program header of what runs.
const AT_PHENT: u32 = 4;
/// `sizeof(Elf32_Phdr)`
const HEADER_32: u32 = 32;

/// Whether `pid` runs a 32-bit program; false where that cannot be read.
pub fn is_32_bit(pid: u32) -> bool {
    // From the kernel's memory, so that no file of the process has to be opened.
    fs::read(format!("/proc/{pid}/auxv")).is_ok_and(|vector| is_of_32_bits(&vector))
}

/// Whether an auxiliary vector is a 32-bit program's: pairs of words of that program's size, whichever reads it (proc_pid_auxv(5)).
fn is_of_32_bits(vector: &[u8]) -> bool {
    // Of a 64-bit program's these eight bytes would be one number: no type, no size, and an address within the first 256 GiB that begins no word.
    let entry = [AT_PHENT.to_ne_bytes(), HEADER_32.to_ne_bytes()].concat();
    vector.chunks_exact(entry.len()).any(|pair| pair == entry)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_vector_tells_by_the_size_of_a_program_header() {
        let of_32: Vec<u8> = [16_u32, 0x1234, 3, 0x0804_8034, 4, 32, 5, 9, 0, 0]
            .iter()
            .flat_map(|word| word.to_ne_bytes())
            .collect();
        let of_64: Vec<u8> = [16_u64, 0x1234, 3, 0x40_0040, 4, 56, 5, 9, 0, 0]
            .iter()
            .flat_map(|word| word.to_ne_bytes())
            .collect();
        assert!(is_of_32_bits(&of_32));
        assert!(!is_of_32_bits(&of_64));
        assert!(!is_of_32_bits(&[]));
        assert!(!is_of_32_bits(&of_32[..21]), "cut before it");
    }

    #[test]
    fn this_program_is_none() {
        assert_eq!(is_32_bit(std::process::id()), size_of::<usize>() == 4);
        assert!(!is_32_bit(u32::MAX), "nobody");
    }
}
