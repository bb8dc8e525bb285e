//! Traces and tables that were made by hand to take more memory than whoever reads them has.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
};

use wrapwatch::{
    model::KtimeNs,
    trace::{
        Head, SnapshotMeta, SnapshotRole, Target,
        block::{BlockType, Packer, RAW_MAX, Span},
    },
};
use wrapwatch_tests::watch::binary;

/// More kilobytes than this no trace takes, whatever it is.
const MOST_KB: &str = "102400";

/// A trace of blocks that no recorder writes.
struct Bomb {
    packer: Packer,
    bytes: Vec<u8>,
    blocks: u64,
}

impl Bomb {
    fn new() -> Self {
        Self { packer: Packer::new(3).unwrap(), bytes: Vec::new(), blocks: 0 }
    }

    fn block(&mut self, kind: BlockType, raw: &[u8]) {
        let mut block = self.packer.pack(kind, raw, Span { items: 1, ..Span::default() }).unwrap();
        block.header.seq = self.blocks;
        self.blocks += 1;
        self.bytes.extend_from_slice(&block.header.to_bytes());
        self.bytes.extend_from_slice(&block.payload);
    }

    fn head(&mut self) {
        let targets = vec![Target { pid: 7, ..Target::default() }];
        let head = serde_json::to_vec(&Head { targets, ..Head::default() }).unwrap();
        self.block(BlockType::Head, &head);
    }

    /// A list of as many empty elements as a block holds, as the field of an object.
    fn list(&mut self, kind: BlockType, before: &str, element: &str, size: usize) {
        let mut raw = before.as_bytes().to_vec();
        let each = format!("{element},");
        raw.extend(each.bytes().cycle().take((size - raw.len() - 16) / each.len() * each.len()));
        raw.extend(format!("{element}]}}").bytes());
        self.block(kind, &raw);
    }

    fn table(&mut self, n: u64, path: &str, content: &[u8]) {
        let meta = SnapshotMeta {
            at: KtimeNs(n),
            role: SnapshotRole::HostsAllow,
            path: path.to_owned(),
            pid: Some(7),
            ..SnapshotMeta::default()
        };
        let mut raw = serde_json::to_vec(&meta).unwrap();
        raw.push(b'\n');
        raw.extend_from_slice(content);
        self.block(BlockType::Snapshot, &raw);
    }
}

/// Runs it to its end with so much memory as a reader may take, of which the kernel gives no more. (How much a child had at most says nothing here: what this process has when it
/// makes the child counts as the child's.)
fn assert_small(name: &str, bomb: &Bomb) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join(name);
    fs::write(&path, &bomb.bytes).unwrap();
    for args in commands(&path) {
        let output = within_limit(&args);
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{name} ({} bytes): {args:?}: {said}", bomb.bytes.len());
    }
}

/// Runs wrapwatch with no more memory than that.
fn within_limit(args: &[String]) -> Output {
    let mut command = Command::new("sh");
    command.args(["-c", r#"ulimit -d "$0" && exec "$@""#, MOST_KB]).arg(binary().unwrap()).args(args);
    command.stdin(Stdio::null()).output().unwrap()
}

/// One of 240 kB took 920 MB, a larger one all that there was.
#[test]
fn a_file_of_clients_that_names_itself() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).display().to_string();
    let itself = path("clients");
    fs::write(&itself, format!("{itself} ").repeat(30_000)).unwrap();
    fs::write(path("allow"), format!("ALL: {itself}\n")).unwrap();
    fs::write(path("deny"), "").unwrap();
    let files =
        ["--allow", &path("allow"), "--deny", &path("deny"), "--client", "10.0.0.1"].map(str::to_owned);
    let output = within_limit(&[&["lint".to_owned()], files.as_slice()].concat());
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(said.contains("names itself"), "{output:?}");
    // Its problems, not its end by a signal.
    assert!(output.status.code().is_some(), "{output:?}");
}

fn commands(trace: &Path) -> Vec<Vec<String>> {
    let trace = trace.to_str().unwrap();
    let copy = PathBuf::from(trace).with_extension("copy");
    let words = |line: &str| -> Vec<String> {
        line.split(' ')
            .map(|word| word.replace("TRACE", trace).replace("COPY", copy.to_str().unwrap()))
            .collect()
    };
    vec![words("report TRACE"), words("replay --json TRACE"), words("export --redact TRACE -o COPY")]
}

#[test]
fn one_head_of_a_million_targets() {
    for size in [RAW_MAX, 4 << 20] {
        let mut bomb = Bomb::new();
        bomb.list(BlockType::Head, r#"{"targets":["#, "{}", size);
        assert!(bomb.bytes.len() < 4_000, "{} bytes", bomb.bytes.len());
        assert_small("head.wwt", &bomb);
    }
}

#[test]
fn many_targets_of_a_million_things() {
    for (field, element) in [("listeners", "{}"), ("cmdline", r#""""#), ("accept_threads", "0")] {
        let mut bomb = Bomb::new();
        bomb.head();
        for pid in 1..=6 {
            bomb.list(BlockType::Target, &format!(r#"{{"pid":{pid},"{field}":["#), element, 4 << 20);
        }
        assert_small("targets.wwt", &bomb);
    }
}

#[test]
fn samples_and_degradations_of_a_million_things() {
    let mut bomb = Bomb::new();
    for before in [r#"{"degradations":["#, r#"{"probes":["#] {
        let element = if before.contains("probes") { r#""""# } else { r#"{"message":[]}"# };
        bomb.list(BlockType::Head, before, element, 4 << 20);
    }
    bomb.list(BlockType::Sample, r#"{"listeners":["#, "{}", 4 << 20);
    bomb.list(BlockType::Sample, r#"{"targets":["#, "{}", 4 << 20);
    bomb.list(BlockType::Sample, r#"{"netns":["#, "{}", 4 << 20);
    assert_small("samples.wwt", &bomb);
}

#[test]
fn tables_of_many_megabytes() {
    for (size, content, count) in
        [(15 << 20, "a:b\n", 3), (1 << 20, "a:b\n", 5), (1 << 20, "a\n", 2), (100_000, "a:b\n", 32)]
    {
        let mut bomb = Bomb::new();
        bomb.head();
        let table: Vec<u8> = content.bytes().cycle().take(size).collect();
        for n in 0..count {
            bomb.table(n, &format!("/etc/hosts.allow.{}", n % 16), &table);
        }
        assert_small("tables.wwt", &bomb);
    }
}
