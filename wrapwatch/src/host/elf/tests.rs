use std::cell::Cell;

use object::{Object as _, ObjectSymbol as _};

use super::*;

fn library() -> Vec<u8> {
    let maps = fs::read_to_string("/proc/self/maps").unwrap();
    let path = maps.split_whitespace().find(|word| word.ends_with("/libc.so.6")).unwrap();
    fs::read(path).unwrap()
}

/// Symbols are looked up as another reader of ELF files has them, which goes through all of them.
#[test]
fn symbols_are_those_that_another_reader_finds() {
    let bytes = library();
    let image = Image::of(&*bytes).unwrap();
    let object = object::File::parse(&*bytes).unwrap();
    let mut compared = 0;
    for symbol in object.dynamic_symbols().filter(|symbol| !symbol.is_undefined()).step_by(7) {
        let name = symbol.name().unwrap();
        let found = defined(&image, &[name]).unwrap();
        // Of several versions of a name the hash table leads to one of them.
        let same: Vec<u64> = object
            .dynamic_symbols()
            .filter(|other| !other.is_undefined() && other.name() == Ok(name))
            .map(|other| other.address())
            .collect();
        assert!(found.len() == 1 && same.contains(&found[0].address), "{name}: {found:x?}, {same:x?}");
        compared += 1;
    }
    assert!(compared > 100);
    assert_eq!(defined(&image, &["no_such_symbol_anywhere", ""]).unwrap(), []);
}

#[test]
fn a_function_is_where_its_offset_says() {
    let bytes = library();
    let image = Image::of(&*bytes).unwrap();
    let getpid = defined(&image, &["getpid"]).unwrap().remove(0);
    let at = usize::try_from(getpid.offset.unwrap()).unwrap();
    // The code in the file is the code in memory.
    let loaded: *const u8 = (libc::getpid as unsafe extern "C" fn() -> i32 as *const ()).cast();
    // SAFETY: a function's first bytes are mapped and readable.
    let code = unsafe { std::slice::from_raw_parts(loaded, 8) };
    assert_eq!(&bytes[at..at + 8], code);
}

#[test]
fn a_program_without_libwrap_shows_neither() {
    // The test program itself holds the strings: they are in this file. Something else that surely is there has not.
    let found = linkage(&*fs::read("/bin/true").unwrap()).unwrap();
    assert_eq!(found, Linkage { needed: false, strings: false });
    assert!(linkage_of(std::process::id()).unwrap().strings);
}

#[test]
fn what_is_no_program_is_an_error() {
    assert!(linkage_in(std::process::id(), "/dev/null").is_err());
    assert!(linkage_in(std::process::id(), "/etc/passwd").is_err());
    assert!(linkage(&b"\x7fELF"[..]).is_err());
}

/// A string across the border of what is read at once is found.
#[test]
fn data_is_searched_without_gaps() {
    let text = fs::read("/bin/true").unwrap();
    for at in [CHUNK - 5, CHUNK, CHUNK - 11, 2 * CHUNK - 1] {
        let mut bytes = text.clone();
        let wide = usize::from(u16::from_le_bytes([bytes[56], bytes[57]]));
        // Its first loadable segment gets all of a longer file.
        let table = usize::try_from(u64::from_le_bytes(bytes[32..40].try_into().unwrap())).unwrap();
        let load = (0..wide).map(|n| table + n * 56).find(|at| bytes[*at] == 1).unwrap();
        bytes.resize(3 * CHUNK, 0);
        bytes[load + 32..load + 40].copy_from_slice(&(3 * CHUNK as u64).to_le_bytes());
        bytes[at..at + 11].copy_from_slice(b"hosts.allow");
        assert!(!linkage(&*bytes).unwrap().strings);
        bytes[at + 20..at + 30].copy_from_slice(b"hosts.deny");
        assert!(linkage(&*bytes).unwrap().strings, "{at}");
    }
}

/// As small as the loader would take it, with `symbols` symbols of one hash whose name is `name` and ends where the file does.
fn crafted(symbols: u32, name: &[u8]) -> Vec<u8> {
    let mut bytes = vec![0; 64 + 2 * 56];
    let put =
        |bytes: &mut Vec<u8>, at: usize, value: &[u8]| bytes[at..at + value.len()].copy_from_slice(value);
    put(&mut bytes, 0, b"\x7fELF\x02\x01\x01");
    put(&mut bytes, 16, &3_u16.to_le_bytes());
    put(&mut bytes, 32, &64_u64.to_le_bytes());
    put(&mut bytes, 54, &56_u16.to_le_bytes());
    put(&mut bytes, 56, &2_u16.to_le_bytes());
    let hash_at = bytes.len() as u64;
    // One bucket; all symbols but the first hang on it.
    for number in [1, symbols, u32::from(symbols > 1)] {
        bytes.extend(number.to_le_bytes());
    }
    for n in 0..symbols {
        // The last one leads to the first again: a circle.
        let next = if n + 1 < symbols { n + 1 } else { 1 };
        bytes.extend(next.to_le_bytes());
    }
    bytes.resize(bytes.len().next_multiple_of(8), 0);
    let symbols_at = bytes.len() as u64;
    for _ in 0..symbols {
        bytes.extend(1_u32.to_le_bytes());
        bytes.extend([0x12, 0, 1, 0]);
        bytes.extend(0x1000_u64.to_le_bytes());
        bytes.extend(0_u64.to_le_bytes());
    }
    let strings_at = bytes.len() as u64;
    bytes.push(0);
    bytes.extend(name);
    bytes.push(0);
    let strings_len = bytes.len() as u64 - strings_at;
    let dynamic_at = bytes.len() as u64;
    for (tag, value) in [(4_u64, hash_at), (5, strings_at), (6, symbols_at), (10, strings_len), (0, 0)] {
        bytes.extend(tag.to_le_bytes());
        bytes.extend(value.to_le_bytes());
    }
    let len = bytes.len() as u64;
    for (n, (kind, offset, size)) in
        [(1_u32, 0, len), (2, dynamic_at, len - dynamic_at)].into_iter().enumerate()
    {
        let at = 64 + n * 56;
        put(&mut bytes, at, &kind.to_le_bytes());
        for (field, value) in [(8, offset), (16, offset), (32, size), (40, size)] {
            put(&mut bytes, at + field, &value.to_le_bytes());
        }
    }
    bytes
}

/// Counts what is read of it.
struct Counted {
    bytes: Vec<u8>,
    read: Cell<usize>,
}

impl Source for Counted {
    fn read_some(&self, bytes: &mut [u8], at: u64) -> io::Result<usize> {
        let len = self.bytes.read_some(bytes, at)?;
        self.read.set(self.read.get() + len);
        Ok(len)
    }
}

#[test]
fn what_an_image_says_of_counts_is_bounded() {
    let bytes = crafted(3, b"hosts_access");
    let found = defined(&Image::of(&*bytes).unwrap(), &["hosts_access"]).unwrap();
    assert_eq!(found, [Symbol { name: "hosts_access".to_owned(), address: 0x1000, offset: None }]);
    // A hundred thousand symbols that all name one string of 5 MB, in a circle.
    let counted = Counted { bytes: crafted(100_000, &vec![b'h'; 5_000_000]), read: Cell::new(0) };
    let image = Image::of(&counted).unwrap();
    let error = defined(&image, &["hosts_access", "hosts_ctl"]).unwrap_err();
    assert!(error.contains("not as a library's"), "{error}");
    // With each name read whole it would be some 50 GB.
    assert!(counted.read.get() < 1 << 20, "{}", counted.read.get());
    // Many segments, each of which is all of the file.
    let mut bytes = library();
    let count = usize::from(u16::from_le_bytes([bytes[56], bytes[57]]));
    let table = usize::try_from(u64::from_le_bytes(bytes[32..40].try_into().unwrap())).unwrap();
    let len = 16 << 20;
    bytes.resize(len, 0);
    for at in (0..count).map(|n| table + n * 56) {
        bytes[at..at + 4].copy_from_slice(&1_u32.to_le_bytes());
        bytes[at + 8..at + 16].fill(0);
        bytes[at + 32..at + 40].copy_from_slice(&(1_u64 << 60).to_le_bytes());
    }
    assert!(linkage(&*bytes).is_ok_and(|found| !found.strings));
}

proptest::proptest! {
    /// Whatever stands in a file, it is read or refused.
    #[test]
    fn any_bytes_are_read_or_refused(at in 0_usize..3000, value: u64, cut in 0_usize..3000) {
        let mut bytes = crafted(8, b"hosts_access");
        let len = bytes.len();
        let at = at % (len - 8);
        bytes[at..at + 8].copy_from_slice(&value.to_le_bytes());
        for bytes in [&bytes[..], &bytes[..cut.min(len)]] {
            if let Ok(image) = Image::of(bytes) {
                let _ = defined(&image, &["hosts_access", "rfc931"]);
                let _ = linkage(bytes);
            }
        }
    }
}
