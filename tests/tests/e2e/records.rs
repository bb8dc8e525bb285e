//! What leaves no record of its own.

use std::{
    fs::File,
    io::{Read as _, Write as _},
    net::{TcpListener, TcpStream},
};

use wrapwatch::{decode::Event, host::process::ProcessInfo, model::doctor::HookKind, probe::Options};

use crate::support::{own_process, with_probe};

/// The sets that there are on every machine.
const SETS: [HookKind; 2] = [HookKind::RawTracepoint, HookKind::Tracepoint];

/// Of a client that leaves before it is greeted there is a record; of one that leaves later, as each does some day, there is none.
#[test]
fn a_client_that_leaves_once_it_was_greeted_leaves_no_record() {
    let _alone = own_process();
    for hooks in SETS {
        let left = with_probe(&Options { hooks: Some(hooks), ..Options::default() }, |probe, records| {
            let listener = TcpListener::bind("127.0.0.1:0").unwrap();
            let at = listener.local_addr().unwrap();
            let info = ProcessInfo::read(std::process::id()).unwrap();
            probe.add_target(&info, None, &[at.port()]).unwrap();
            let come = || {
                let client = TcpStream::connect(at).unwrap();
                (client.local_addr().unwrap().port(), client)
            };
            let (greeted, client) = come();
            let mut served = listener.accept().unwrap().0;
            served.write_all(b"\x0a\0\0\0\x0ahello").unwrap();
            drop(client);
            // By now it has left.
            let _ = served.read(&mut [0; 16]);
            let (while_queued, client) = come();
            drop(client);
            let queued = listener.accept().unwrap().0;
            let (while_served, client) = come();
            let waits = listener.accept().unwrap().0;
            drop(client);
            let _ = (&waits).read(&mut [0]);
            drop((queued, waits));
            let mut changes = Vec::new();
            let mut closed = 0;
            records.until(|_, event| {
                if let Event::SockState(state) = event {
                    changes.push((state.peer.port, state.new));
                }
                closed += u32::from(matches!(event, Event::Close(_)));
                closed == 2
            });
            let of = |port| changes.iter().filter(move |(peer, _)| *peer == port).count();
            [greeted, while_queued, while_served].map(of)
        });
        // Each handshake, and who left before its time: twice where that was just when it was accepted.
        assert_eq!([left[0], left[2]], [1, 2], "{hooks:?}: {left:?}");
        assert!(left[1] >= 2, "{hooks:?}: {left:?}");
    }
}

/// Tables that are read: a machine that is busy holds up a last read now and then, of which there is a record then, but not of each.
const TABLES: usize = 20;

/// The last read of a table finds its end: the table's close tells that.
#[test]
fn a_read_that_finds_a_files_end_at_once_leaves_no_record() {
    let _alone = own_process();
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("hosts.allow");
    std::fs::write(&path, "ALL: ALL\n").unwrap();
    for hooks in SETS {
        let (reads, ends) =
            with_probe(&Options { hooks: Some(hooks), ..Options::default() }, |probe, records| {
                let listener = TcpListener::bind("127.0.0.1:0").unwrap();
                let at = listener.local_addr().unwrap();
                let info = ProcessInfo::read(std::process::id()).unwrap();
                probe.add_target(&info, None, &[at.port()]).unwrap();
                let _client = TcpStream::connect(at).unwrap();
                let _served = listener.accept().unwrap().0;
                let mut bytes = [0; 64];
                for _ in 0..TABLES {
                    let mut table = File::open(&path).unwrap();
                    assert_eq!([table.read(&mut bytes).unwrap(), table.read(&mut bytes).unwrap()], [9, 0]);
                }
                // One that is not read to its end.
                assert_eq!(File::open(&path).unwrap().read(&mut bytes).unwrap(), 9);
                let (mut reads, mut ends) = (Vec::new(), Vec::new());
                records.until(|_, event| {
                    match event {
                        Event::Io(read) => reads.push(read.ret),
                        Event::Close(close) => ends.push(close.read_to_end),
                        _ => {}
                    }
                    ends.len() == TABLES + 1
                });
                (reads, ends)
            });
        let told = |wanted: i64| reads.iter().filter(|ret| **ret == wanted).count();
        let closes = ends.iter().map(|at_end| usize::from(*at_end)).sum::<usize>();
        assert_eq!((told(9), told(0) + closes), (TABLES + 1, TABLES), "{hooks:?}: {reads:?} {ends:?}");
        assert!(closes > 0 && ends.last() == Some(&0), "{hooks:?}: {reads:?} {ends:?}");
    }
}
