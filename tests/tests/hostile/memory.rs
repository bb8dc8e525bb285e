//! The packaged unit's command in a control group that has the unit's memory limit, beside a server whose tables are a mebibyte and others ten times a second.

use std::{
    fs,
    io::Write as _,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::Command,
    time::{Duration, Instant},
};

use wrapwatch_tests::watch::Watch;

use crate::{
    moving,
    support::{Den, peak_kb},
    unit,
};

/// For how long they do, while clients come: without a bound they fill the limit in three seconds.
const TABLES_MOVE: Duration = Duration::from_secs(10);

/// A control group of this test's own with a limit on memory. What is in it has to end first.
struct Group {
    path: PathBuf,
    /// Of the second version of control groups.
    unified: bool,
}

impl Group {
    /// `None` where this kernel's control groups limit no memory, or nobody may make any.
    fn new(limit: u64) -> Option<Self> {
        let name = format!("wrapwatch-{}", std::process::id());
        let controllers = fs::read_to_string("/sys/fs/cgroup/cgroup.controllers").unwrap_or_default();
        let unified = controllers.split_whitespace().any(|controller| controller == "memory");
        let (parent, file) = if unified {
            let _ = fs::write("/sys/fs/cgroup/cgroup.subtree_control", "+memory");
            (PathBuf::from("/sys/fs/cgroup"), "memory.max")
        } else {
            (Path::new("/sys/fs/cgroup/memory").to_owned(), "memory.limit_in_bytes")
        };
        let group = Self { path: parent.join(name), unified };
        fs::create_dir(&group.path).ok()?;
        fs::write(group.path.join(file), limit.to_string()).ok().map(|()| group)
    }

    /// A command that becomes another one within it, whose program and arguments follow.
    fn enter(&self) -> Command {
        let mut command = Command::new("sh");
        command.args(["-c", r#"echo $$ > "$1" || exit 99; shift; exec "$@""#, "sh"]);
        command.arg(self.path.join("cgroup.procs"));
        command
    }

    /// How many of its processes the kernel has killed for want of memory.
    fn killed(&self) -> u64 {
        let file = if self.unified { "memory.events" } else { "memory.oom_control" };
        let said = fs::read_to_string(self.path.join(file)).unwrap();
        let killed = said.lines().find_map(|line| line.strip_prefix("oom_kill "));
        killed.unwrap().parse().unwrap()
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        let _ = fs::remove_dir(&self.path);
    }
}

/// A number of bytes as units have it.
fn bytes(text: &str) -> u64 {
    text.strip_suffix('M').unwrap().parse::<u64>().unwrap() << 20
}

#[test]
fn the_packaged_unit_survives_its_memory_limit() {
    let limit = bytes(&unit::setting("MemoryMax")[0]);
    let Some(group) = Group::new(limit) else {
        return skip(
            "memory::the_packaged_unit_survives_its_memory_limit",
            "no control group limits memory here",
        );
    };
    let den = Den::new();
    fs::set_permissions(den.0.path(), fs::Permissions::from_mode(0o777)).unwrap();
    // Short lines take most when they are taken apart.
    let (server, tables) = moving::server(&den, "a:b\n");
    let (recorder, _copy) = unit::recorder(&den.path("flight.wwt"));
    let mut command = group.enter();
    command.arg(recorder.get_program()).args(recorder.get_args()).args(["-p", &server.pid().to_string()]);
    let watch = Watch::run(command).unwrap();
    let (began, mut clients) = (Instant::now(), 0);
    // No table is ever one that was there before.
    for path in tables.keys().cycle() {
        let text = fs::read_to_string(path).unwrap();
        fs::write(path, format!("# {clients}\n{text}")).unwrap();
        (0..20).for_each(|_| server.client());
        clients += 20;
        if began.elapsed() > TABLES_MOVE {
            break;
        }
    }
    let peak = peak_kb(watch.id()) << 10;
    let seen = watch.stop().unwrap();
    assert_eq!((seen.status, group.killed()), (Some(0), 0), "{}", seen.stderr);
    // Far from it, for the kernel counts more than a process has.
    assert!(peak < limit / 2, "{peak} of {limit} bytes");
    let lost = usize::try_from(seen.lost("lost_accept")).unwrap();
    assert!(clients > 0 && seen.connections().len() + lost >= clients, "{}", seen.stderr);
}

/// Says that a test cannot run here (tests/skips.txt).
pub fn skip(test: &str, why: &str) {
    if let Some(file) = std::env::var_os("WRAPWATCH_SKIPS") {
        let mut file = fs::OpenOptions::new().append(true).create(true).open(file).unwrap();
        writeln!(file, "SKIP: {test}: {why}").unwrap();
    }
}
