//! Calls of 32-bit programs: their numbers mean other calls than a 64-bit program's.

use std::{
    arch::asm,
    fs::OpenOptions,
    io::{Read as _, Write as _},
    net::{TcpListener, TcpStream},
    os::fd::{AsRawFd as _, OwnedFd},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};

use wrapwatch::model::Outcome;
use wrapwatch_tests::watch::{Watch, binary};

use crate::hook_sets::{each_set, on};

/// `read` of i386; the number is `close` of x86-64.
const READ: i32 = 3;

/// The 32-bit call `read(fd, NULL, 0)`, by a 64-bit program.
fn read_nothing(fd: i32) -> i32 {
    let result: i32;
    // SAFETY: a read of no bytes writes none. `rbx` is not to be named, so it is put back; what the kernel leaves in r8 to r11 is nobody's.
    unsafe {
        asm!(
            "xchg rbx, {fd}",
            "int 0x80",
            "xchg rbx, {fd}",
            fd = inout(reg) u64::from(fd.cast_unsigned()) => _,
            inout("rax") READ => result,
            in("rcx") 0_u64,
            in("rdx") 0_u64,
            out("r8") _, out("r9") _, out("r10") _, out("r11") _,
        );
    }
    result
}

#[test]
fn a_read_of_the_32_bit_abi_is_no_close() {
    // Without such calls this one would be killed.
    let Some(_) = Server::start("a_read_of_the_32_bit_abi_is_no_close") else { return };
    each_set(|hooks| {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let mut watch = on(hooks, std::process::id());
        let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let peer = client.local_addr().unwrap().to_string();
        let mut socket = listener.accept().unwrap().0;
        assert_eq!(read_nothing(socket.as_raw_fd()), 0);
        socket.write_all(b"\x0a\0\0\0\x0ahello").unwrap();
        drop(socket);
        watch.wait_connections(1).unwrap();
        let seen = watch.stop().unwrap();
        assert_eq!(seen.of(&peer).unwrap().outcome, Outcome::Greeted, "{hooks}: {:#?}", seen.connections());
    });
}

/// An ELF file for i386: its header, one program header, and at 0x54 a program that writes a byte and then calls `pause` for ever.
const PROGRAM: [u8; 0x54 + CODE.len()] = {
    const HEADERS: [u8; 0x54] = [
        // e_ident: 32-bit, little-endian; ET_EXEC, EM_386, version 1
        0x7f, b'E', b'L', b'F', 1, 1, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2, 0, 3, 0, 1, 0, 0, 0,
        // entry 0x08048054, program headers at 0x34, no sections, no flags
        0x54, 0x80, 0x04, 0x08, 0x34, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
        // sizes: this header, a program header; one of those; no sections
        0x34, 0, 0x20, 0, 1, 0, 0, 0, 0, 0, 0, 0,
        // PT_LOAD: the file from 0 at 0x08048000, 0x1000 bytes at most, readable and executable
        1, 0, 0, 0, 0, 0, 0, 0, 0, 0x80, 0x04, 0x08, 0, 0x80, 0x04, 0x08, SIZE, 0, 0, 0, SIZE, 0, 0, 0, 5, 0,
        0, 0, 0, 0x10, 0, 0,
    ];
    const SIZE: u8 = 0x73;
    let mut program = [0; 0x54 + CODE.len()];
    assert!(program.len() == SIZE as usize);
    let mut at = 0;
    while at < program.len() {
        program[at] = if at < 0x54 { HEADERS[at] } else { CODE[at - 0x54] };
        at += 1;
    }
    program
};
const CODE: [u8; 31] = [
    0xb8, 4, 0, 0, 0, // mov eax, 4 (write)
    0xbb, 1, 0, 0, 0, // mov ebx, 1
    0xb9, 0x01, 0x80, 0x04, 0x08, // mov ecx, 0x08048001 ("E")
    0xba, 1, 0, 0, 0, // mov edx, 1
    0xcd, 0x80, // int 0x80
    0xb8, 29, 0, 0, 0, // pause: mov eax, 29
    0xcd, 0x80, // int 0x80
    0xeb, // jmp …
    0xf7, // … pause
];

/// It, running, with a listener as its standard input; killed with this.
struct Server(Child);

/// The program as a file.
fn install(dir: &Path) -> PathBuf {
    let path = dir.join("server");
    // Written by another process: a descriptor of this one could be with a child of another test, and what is open for writing is not run.
    let mut install = Command::new("install");
    install.args(["-m", "755", "/dev/stdin"]).arg(&path).stdin(Stdio::piped());
    let mut install = install.spawn().unwrap();
    install.stdin.take().unwrap().write_all(&PROGRAM).unwrap();
    assert!(install.wait().unwrap().success());
    path
}

impl Server {
    /// None, and a skip, where the kernel runs no 32-bit programs.
    fn start(test: &str) -> Option<Self> {
        let dir = tempfile::tempdir().unwrap();
        let path = install(dir.path());
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        match Command::new(&path).stdin(OwnedFd::from(listener)).stdout(Stdio::piped()).spawn() {
            Err(why) if why.raw_os_error() == Some(libc::ENOEXEC) => {
                skip(test, "this kernel runs no 32-bit programs");
                None
            }
            started => {
                let mut server = Self(started.unwrap());
                server.wait();
                Some(server)
            }
        }
    }

    /// Until it runs: then it has written.
    fn wait(&mut self) {
        let mut byte = [0];
        self.0.stdout.as_mut().unwrap().read_exact(&mut byte).unwrap();
        assert_eq!(&byte, b"E");
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Says that a test cannot run here (tests/skips.txt).
fn skip(test: &str, why: &str) {
    let Some(file) = std::env::var_os("WRAPWATCH_SKIPS") else { return };
    let mut file = OpenOptions::new().append(true).create(true).open(file).unwrap();
    writeln!(file, "SKIP: word_size::{test}: {why}").unwrap();
}

#[test]
fn a_32_bit_server_is_refused_in_one_line() {
    let Some(server) = Server::start("a_32_bit_server_is_refused_in_one_line") else { return };
    let pid = server.0.id().to_string();
    let out = Command::new(binary().unwrap()).args(["live", "-d", "1s", "-p", &pid]).output().unwrap();
    let said = String::from_utf8_lossy(&out.stderr);
    assert_eq!(out.status.code(), Some(1), "{said}");
    assert!(said.contains("32-bit program") && said.contains("import strace"), "{said}");
    // And whoever asks before is told.
    let out = Command::new(binary().unwrap()).args(["doctor", "--json", "-p", &pid]).output().unwrap();
    let doctor: serde_json::Value = serde_json::from_slice(&out.stdout).unwrap();
    assert!(doctor["targets"][0]["refused"].as_str().unwrap().contains("32-bit program"), "{doctor:#}");
    let missing = doctor["degradations"].as_array().unwrap().iter();
    let said =
        missing.filter_map(|missing| missing["message"].as_str()).any(|m| m.contains("will not trace it"));
    assert!(said, "{doctor:#}");
}

#[test]
fn a_server_that_becomes_a_32_bit_program_is_let_go() {
    let test = "a_server_that_becomes_a_32_bit_program_is_let_go";
    let Some(_) = Server::start(test) else { return };
    let dir = tempfile::tempdir().unwrap();
    let (path, go) = (install(dir.path()), dir.path().join("go"));
    nix::unistd::mkfifo(&go, nix::sys::stat::Mode::S_IRWXU).unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let mut shell = Command::new("sh");
    shell.args(["-c", "read line < \"$1\"; exec \"$0\""]).args([&path, &go]);
    let mut server = Server(shell.stdin(OwnedFd::from(listener)).stdout(Stdio::piped()).spawn().unwrap());
    let watch = Watch::pid(server.0.id()).unwrap();
    std::fs::write(&go, "go\n").unwrap();
    server.wait();
    // It was the only target: the trace ends by itself.
    let seen = watch.wait().unwrap();
    assert_eq!(seen.status, Some(0), "{}", seen.stderr);
    let told: Vec<_> = seen.degradations().iter().map(|lost| lost.message.clone()).collect();
    let said = |message: &String| message.contains("is not traced") && message.contains("32-bit program");
    assert!(told.iter().any(said), "{told:#?}");
}
