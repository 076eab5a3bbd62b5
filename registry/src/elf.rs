/// What a 64-bit ELF header holds, in bytes.
const HEADER: usize = 64;

/// The kind of segment that names a dynamic loader.
const PT_INTERP: u32 = 3;

const X86_64: u16 = 62;

/// Why a file would not run where there is nothing beside it; `None` if it would.
pub(crate) fn objection(file: &[u8]) -> Option<String> {
    let Some(header) = file
        .get(..HEADER)
        .filter(|header| header.starts_with(b"\x7fELF"))
    else {
        return Some("it is no ELF file".to_owned());
    };
    // 64 bits, little endian.
    let machine = u16::from_le_bytes([header[18], header[19]]);
    if header[4..6] != [2, 1] || machine != X86_64 {
        return Some("it is not made for x86-64".to_owned());
    }
    match asks_for_loader(file, header) {
        Some(false) => None,
        Some(true) => {
            Some("it is not static: it asks for a loader that an image may lack".to_owned())
        }
        None => Some("its headers are cut off".to_owned()),
    }
}

fn asks_for_loader(file: &[u8], header: &[u8]) -> Option<bool> {
    let table = usize::try_from(u64::from_le_bytes(header[32..40].try_into().ok()?)).ok()?;
    let size = usize::from(u16::from_le_bytes([header[54], header[55]]));
    let count = usize::from(u16::from_le_bytes([header[56], header[57]]));
    for index in 0..count {
        let start = table.checked_add(index.checked_mul(size)?)?;
        let kind = file.get(start..start.checked_add(4)?)?;
        if u32::from_le_bytes(kind.try_into().ok()?) == PT_INTERP {
            return Some(true);
        }
    }
    Some(false)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An ELF header with one program header of this kind.
    fn elf(kind: u32) -> Vec<u8> {
        let mut file = vec![0; HEADER + 56];
        file[..6].copy_from_slice(b"\x7fELF\x02\x01");
        file[18] = 62;
        file[32] = 64;
        file[54] = 56;
        file[56] = 1;
        file[HEADER..HEADER + 4].copy_from_slice(&kind.to_le_bytes());
        file
    }

    #[test]
    fn a_static_program_is_taken() {
        assert_eq!(objection(&elf(1)), None);
    }

    #[test]
    fn what_would_not_run_is_refused() {
        assert!(objection(&elf(PT_INTERP)).unwrap().contains("loader"));
        assert!(objection(b"#!/bin/sh\n").unwrap().contains("no ELF"));
        let mut arm = elf(1);
        arm[18] = 183;
        assert!(objection(&arm).unwrap().contains("x86-64"));
        let mut cut = elf(1);
        cut.truncate(HEADER + 2);
        assert!(objection(&cut).unwrap().contains("cut off"));
        let mut far = elf(1);
        far[32..40].fill(0xff);
        assert!(objection(&far).unwrap().contains("cut off"));
    }

    #[test]
    fn this_test_is_a_dynamic_program() {
        let own = std::fs::read("/proc/self/exe").unwrap();
        assert!(objection(&own).unwrap().contains("not static"));
    }
}
