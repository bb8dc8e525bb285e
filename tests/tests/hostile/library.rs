//! What a target maps as its libwrap.

use std::{
    fs,
    time::{Duration, Instant},
};

use wrapwatch_tests::{
    clients::ClientsSpec,
    inotify::Opens,
    lab::{Lab, LabConfig},
    watch::Watch,
};

use crate::support::{Den, wrapwatch};

/// A library without any function, which says that its debug information is in `link`.
fn with_debug_link(link: &str) -> Vec<u8> {
    let mut section = link.as_bytes().to_vec();
    section.push(0);
    section.resize(section.len().next_multiple_of(4) + 4, 0);
    image(2, b"x", &[(".gnu_debuglink", section)])
}

/// A library with so many symbols, all of one name.
pub fn image(symbols: u32, name: &[u8], further: &[(&str, Vec<u8>)]) -> Vec<u8> {
    let mut bytes = vec![0; 64 + 2 * 56];
    let put =
        |bytes: &mut Vec<u8>, at: usize, value: &[u8]| bytes[at..at + value.len()].copy_from_slice(value);
    let begin = |bytes: &mut Vec<u8>| {
        bytes.resize(bytes.len().next_multiple_of(8), 0);
        bytes.len() as u64
    };
    let hash_at = begin(&mut bytes);
    // One bucket on which all symbols but the first hang.
    for number in [1, symbols, 1] {
        bytes.extend(u32::to_le_bytes(number));
    }
    for n in 0..symbols {
        bytes.extend((if n > 0 && n + 1 < symbols { n + 1 } else { 0 }).to_le_bytes());
    }
    let symbols_at = begin(&mut bytes);
    for n in 0..symbols {
        bytes.extend(u32::from(n > 0).to_le_bytes());
        bytes.extend([0x12, 0, 1, 0]);
        bytes.extend(0x1000_u64.to_le_bytes());
        bytes.extend(0_u64.to_le_bytes());
    }
    let strings_at = begin(&mut bytes);
    bytes.push(0);
    bytes.extend(name);
    bytes.push(0);
    let strings_len = bytes.len() as u64 - strings_at;
    let dynamic_at = begin(&mut bytes);
    for (tag, value) in [(4_u64, hash_at), (5, strings_at), (6, symbols_at), (10, strings_len), (0, 0)] {
        bytes.extend(tag.to_le_bytes());
        bytes.extend(value.to_le_bytes());
    }
    let dynamic_len = bytes.len() as u64 - dynamic_at;
    // Sections, for whoever looks at those: symbols, strings, what else is asked for, their names.
    let mut sections = vec![
        (".dynsym".to_owned(), 11_u32, symbols_at, u64::from(symbols) * 24, 2_u32, 24_u64),
        (".dynstr".to_owned(), 3, strings_at, strings_len, 0, 0),
    ];
    for (name, content) in further {
        let at = begin(&mut bytes);
        bytes.extend(content);
        sections.push(((*name).to_owned(), 1, at, content.len() as u64, 0, 0));
    }
    let names_at = begin(&mut bytes);
    let mut names = vec![0_u8];
    sections.push((".shstrtab".to_owned(), 3, names_at, 0, 0, 0));
    let places: Vec<usize> = sections
        .iter()
        .map(|section| {
            let at = names.len();
            names.extend(section.0.as_bytes());
            names.push(0);
            at
        })
        .collect();
    bytes.extend(&names);
    if let Some(last) = sections.last_mut() {
        last.3 = names.len() as u64;
    }
    let table_at = begin(&mut bytes);
    bytes.extend([0; 64]);
    for ((_, kind, offset, len, link, entry), name) in sections.iter().zip(places) {
        bytes.extend(u32::try_from(name).unwrap().to_le_bytes());
        bytes.extend(kind.to_le_bytes());
        // Flags, address.
        bytes.extend([0; 16]);
        bytes.extend(offset.to_le_bytes());
        bytes.extend(len.to_le_bytes());
        bytes.extend(link.to_le_bytes());
        bytes.extend([1, 0, 0, 0]);
        bytes.extend(8_u64.to_le_bytes());
        bytes.extend(entry.to_le_bytes());
    }
    let len = bytes.len() as u64;
    put(&mut bytes, 0, b"\x7fELF\x02\x01\x01");
    for (at, value) in [(16, 3_u16), (18, 62), (52, 64), (54, 56), (56, 2), (58, 64)] {
        put(&mut bytes, at, &value.to_le_bytes());
    }
    put(&mut bytes, 20, &1_u32.to_le_bytes());
    let count = u16::try_from(sections.len()).unwrap();
    put(&mut bytes, 60, &(count + 1).to_le_bytes());
    put(&mut bytes, 62, &count.to_le_bytes());
    put(&mut bytes, 32, &64_u64.to_le_bytes());
    put(&mut bytes, 40, &table_at.to_le_bytes());
    for (n, (kind, offset, size)) in [(1_u32, 0, len), (2, dynamic_at, dynamic_len)].into_iter().enumerate() {
        put(&mut bytes, 64 + n * 56, &kind.to_le_bytes());
        for (field, value) in [(8, offset), (16, offset), (32, size), (40, size)] {
            put(&mut bytes, 64 + n * 56 + field, &value.to_le_bytes());
        }
    }
    bytes
}

/// The loader of programs looked for the functions in whatever file the library names, wherever that is: in a pipe, it waited there for ever, with all
/// programs attached, and no signal ended it.
#[test]
fn a_librarys_debug_file_is_not_opened() {
    let den = Den::new();
    let pipe = den.path("pipe");
    nix::unistd::mkfifo(&pipe, nix::sys::stat::Mode::from_bits_truncate(0o666)).unwrap();
    let library = den.file("libwrap.so.0", &with_debug_link(&den.text("pipe")));
    let opens = Opens::of(&pipe).unwrap();
    let server = den.serve_bare(&[&library]);
    let pid = server.pid().to_string();
    let output = wrapwatch(["live", "--json", "-d", "1s", "-p", &pid]);
    let told = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && told.contains("has no function hosts_access"), "{told}");
    let output = wrapwatch(["doctor", "--json", "-p", &pid]);
    assert!(serde_json::from_slice::<serde_json::Value>(&output.stdout).is_ok());
    assert_eq!(opens.count().unwrap(), 0);
}

/// 100 000 symbols that all name one string of 5 MB: the length of each name was measured.
#[test]
fn a_table_of_symbols_without_end_is_given_up() {
    let den = Den::new();
    let library = den.file("libwrap.so.0", &image(100_000, &vec![b'h'; 5_000_000], &[]));
    assert!(fs::metadata(&library).unwrap().len() > 7_000_000);
    let server = den.serve_bare(&[&library]);
    let pid = server.pid().to_string();
    for args in [&["live", "--json", "-d", "1s", "-p", &pid][..], &["doctor", "--json", "-p", &pid]] {
        // It is killed if it takes a minute.
        let output = wrapwatch(args);
        assert!(!output.stdout.is_empty(), "{}", String::from_utf8_lossy(&output.stderr));
    }
}

/// A user's lease on his library held up the loop for 45 s (`/proc/sys/fs/lease-break-time`): events of others were lost.
#[test]
fn a_lease_is_not_waited_for() {
    let lab = Lab::start(LabConfig::default()).unwrap();
    let den = Den::new();
    let library = den.file("libwrap.so.0", &image(2, b"x", &[]));
    let server = den.serve_bare(&[&library, "lease"]);
    let honest = lab.server_pid().unwrap();
    let args = ["-p".to_owned(), honest.to_string(), "-p".to_owned(), server.pid().to_string()];
    let held = fs::read_to_string("/proc/sys/fs/lease-break-time").unwrap().trim().parse().unwrap();
    let began = Instant::now();
    let watch = Watch::live(args).unwrap();
    // Whoever waits for a lease waits that long, once at least.
    assert!(began.elapsed() < Duration::from_secs(held), "{:?}", began.elapsed());
    let clients = lab.clients(ClientsSpec::at_once(20)).unwrap();
    let seen = watch.stop().unwrap();
    assert_eq!(seen.status, Some(0), "{}", seen.stderr);
    let of_lab = seen
        .connections()
        .iter()
        .filter(|connection| connection.pid == honest && connection.complete)
        .count();
    assert_eq!((of_lab, clients.len()), (20, 20));
    assert_eq!(seen.summary().unwrap().lost, 0);
}
