//! The live view in a real terminal.

use std::path::Path;

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use wrapwatch_tests::{
    clients::{ClientsSpec, Outcome},
    lab::{Files, Lab},
    nameserver::Rule,
    tmux::Tmux,
    wait_for,
    watch::{Watch, binary},
};

use crate::support::{NS1, lab_with, peer, two_servers};

/// wrapwatch in a terminal, and afterwards its status and whether the terminal takes lines again.
fn terminal(args: &str) -> Tmux {
    let run =
        format!("LC_ALL=C.UTF-8 {} {args}; echo \"status $?\"; stty -a; cat", binary().unwrap().display());
    Tmux::start(&run, 100, 30).unwrap()
}

fn wait_shown(tmux: &Tmux, what: &str) -> String {
    let mut screen = String::new();
    let result = wait_for(what, || {
        screen = tmux.screen()?;
        Ok(screen.contains(what))
    });
    result.unwrap_or_else(|error| panic!("{error}; on the screen:\n{screen}"));
    screen
}

/// The terminal is as it was: in lines, with an echo, and what was there before is there again.
fn wait_restored(tmux: &Tmux) {
    wait_shown(tmux, "status 0");
    let screen = wait_shown(tmux, "icanon");
    assert!(!screen.contains("-icanon") && !screen.contains("-echo "), "{screen}");
    assert!(!screen.contains("conn/s"), "the view is gone:\n{screen}");
}

/// Two servers, of which the first is silent: each lookup waits a second.
fn slow_lab() -> Lab {
    let lab = lab_with(two_servers());
    lab.rules([Rule::silent().at(NS1)]).unwrap();
    lab
}

#[test]
fn a_stall_is_on_the_screen_while_it_lasts() {
    let lab = lab_with(two_servers());
    lab.rules([Rule::silent()]).unwrap();
    let tmux = terminal(&format!("live --tui -p {}", lab.server_pid().unwrap()));
    wait_shown(&tmux, "LIVE");
    let client = lab.begin_clients(ClientsSpec { timeout_ms: 20_000, ..ClientsSpec::default() }).unwrap();
    wait_shown(&tmux, "STALL accept thread blocked");
    tmux.press(&["Space"]).unwrap();
    wait_shown(&tmux, "HELD");
    let client = client.wait().unwrap().remove(0);
    let held = tmux.screen().unwrap();
    assert!(held.contains("STALL accept thread blocked"), "held as it was:\n{held}");
    tmux.press(&["End"]).unwrap();
    let peer = peer(&client);
    wait_shown(&tmux, &peer);
    tmux.press(&["Enter"]).unwrap();
    let detail = wait_shown(&tmux, "the wait to scale");
    assert!(detail.contains("timeout"), "{detail}");
    tmux.press(&["Escape"]).unwrap();
    wait_shown(&tmux, "bar:");
    tmux.press(&["/", "outcome:nobody", "Enter"]).unwrap();
    wait_shown(&tmux, "no connection matches");
    tmux.press(&["Escape"]).unwrap();
    wait_shown(&tmux, "bar:");
    tmux.resize(60, 16).unwrap();
    // Keys by priority: on a narrow screen these have no room.
    wait_for("the narrow screen", || Ok(!tmux.screen()?.contains("n nameservers"))).unwrap();
    tmux.press(&["q"]).unwrap();
    wait_restored(&tmux);
}

fn recorded(lab: &Lab, trace: &Path) -> String {
    let watch = Watch::record(lab.server_pid().unwrap(), trace, ["--force"]).unwrap();
    let clients = lab.clients(ClientsSpec::one_by_one(2)).unwrap();
    assert!(clients.iter().all(|client| client.outcome == Outcome::Greeting));
    watch.stop().unwrap();
    peer(&clients[1])
}

#[test]
fn a_recorded_trace_has_the_same_screen_and_any_end_gives_the_terminal_back() {
    let lab = slow_lab();
    let folder = tempfile::tempdir().unwrap();
    let trace = folder.path().join("a.wwt");
    let peer = recorded(&lab, &trace);
    let args = format!("replay --tui {}", trace.display());

    let tmux = terminal(&args);
    wait_shown(&tmux, &peer);
    tmux.press(&["Left"]).unwrap();
    wait_shown(&tmux, "STALL accept thread blocked");
    tmux.press(&["C-c"]).unwrap();
    wait_restored(&tmux);

    let tmux = terminal(&args);
    wait_shown(&tmux, &peer);
    let replay = Pid::from_raw(i32::try_from(tmux.child().unwrap().unwrap()).unwrap());
    kill(replay, Signal::SIGTERM).unwrap();
    wait_restored(&tmux);

    let tmux = terminal(&args);
    wait_shown(&tmux, &peer);
    let replay = tmux.child().unwrap().unwrap();
    tmux.hang_up();
    wait_for("the end of a view without a terminal", || Ok(!Path::new(&format!("/proc/{replay}")).exists()))
        .unwrap();
}

/// What a screen says of a moment: without the row that says where in the trace it is, which goes on.
fn of_the_moment(screen: &str) -> String {
    let rows = screen.lines().map(str::trim_end).filter(|row| !row.contains('●'));
    rows.collect::<Vec<_>>().join("\n")
}

/// The rows that tell of connections and stalls, without what two who look at the same time do not have in common: times of day, durations, and bars made of them.
fn told(screen: &str) -> Vec<String> {
    let tells = |row: &&str| row.contains(" #") || row.contains("STALL");
    let is_time = |word: &str| word.matches(':').count() == 2;
    let is_bar = |word: &str| word.chars().all(|c| ('▀'..='▟').contains(&c));
    let row = |row: &str| {
        let words: Vec<&str> =
            row.split_whitespace().filter(|word| !is_time(word) && !is_bar(word)).collect();
        let is_unit =
            |at: usize| words.get(at).is_some_and(|word| matches!(word.trim_matches(':'), "ms" | "s" | "µs"));
        let kept = (0..words.len()).filter(|&at| !is_unit(at) && !is_unit(at + 1));
        kept.map(|at| words[at]).collect::<Vec<_>>().join(" ")
    };
    screen.lines().filter(tells).map(row).collect()
}

/// Both say the same; a screen that is being drawn is looked at again.
fn wait_same<T: PartialEq>(of: impl Fn(&str) -> T, one: &Tmux, other: &Tmux) {
    let mut screens = [String::new(), String::new()];
    let result = wait_for("the same screen", || {
        screens = [one.screen()?, other.screen()?];
        Ok(of(&screens[0]) == of(&screens[1]))
    });
    result.unwrap_or_else(|error| panic!("{error}; on the screens:\n{}\n{}", screens[0], screens[1]));
}

#[test]
fn live_and_replayed_the_same_moment_has_the_same_screen() {
    // Whoever tells it, the stall's first line comes while the first query waits.
    let lab = lab_with(Files::resolv(format!("nameserver {NS1}\noptions timeout:3 attempts:1\n")));
    lab.rules([Rule::silent()]).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let trace = folder.path().join("a.wwt");
    let watch = Watch::record(lab.server_pid().unwrap(), &trace, ["--force"]).unwrap();
    let live = terminal(&format!("live --tui -p {}", lab.server_pid().unwrap()));
    let followed = terminal(&format!("replay --tui {}", trace.display()));
    wait_shown(&live, "LIVE");
    wait_shown(&followed, "FOLLOWS");
    let client = lab.begin_clients(ClientsSpec { timeout_ms: 20_000, ..ClientsSpec::default() }).unwrap();
    for tmux in [&live, &followed] {
        wait_shown(tmux, "STALL accept thread blocked");
    }
    let peer = peer(&client.wait().unwrap()[0]);
    let back = |tmux: &Tmux| {
        wait_shown(tmux, &format!("{peer} "));
        tmux.press(&["Left"]).unwrap();
        wait_shown(tmux, "HELD");
    };
    back(&live);
    back(&followed);
    watch.stop().unwrap();
    let replayed = terminal(&format!("replay --tui {}", trace.display()));
    wait_shown(&replayed, "TRACE");
    back(&replayed);
    wait_shown(&replayed, "STALL accept thread blocked");
    wait_shown(&replayed, "no connection yet");
    wait_same(of_the_moment, &replayed, &followed);
    wait_same(told, &replayed, &live);
    for tmux in [&live, &followed, &replayed] {
        tmux.press(&["End"]).unwrap();
        let end = wait_shown(tmux, &format!("{peer} "));
        assert!(!end.contains("HELD"), "{end}");
    }
    wait_same(of_the_moment, &replayed, &followed);
    wait_same(told, &replayed, &live);
    for tmux in [live, followed, replayed] {
        tmux.press(&["q"]).unwrap();
        wait_restored(&tmux);
    }
}

#[test]
fn a_file_that_is_still_written_is_followed_to_its_end() {
    let lab = lab_with(two_servers());
    let folder = tempfile::tempdir().unwrap();
    let trace = folder.path().join("a.wwt");
    let watch = Watch::record(lab.server_pid().unwrap(), &trace, ["--force"]).unwrap();
    let tmux = terminal(&format!("replay --tui {}", trace.display()));
    wait_shown(&tmux, "FOLLOWS");
    let mut before = String::new();
    for _ in 0..2 {
        let client = lab.clients(ClientsSpec::default()).unwrap().remove(0);
        let screen = wait_shown(&tmux, &peer(&client));
        assert!(screen.contains(&before), "the first one is still there:\n{screen}");
        before = peer(&client);
    }
    watch.stop().unwrap();
    let screen = wait_shown(&tmux, "ended: the end of the trace");
    assert!(screen.contains("TRACE"), "{screen}");
    tmux.press(&["q"]).unwrap();
    wait_restored(&tmux);
}

#[test]
fn a_view_that_was_suspended_comes_back_and_leaves_its_last_screen() {
    let lab = slow_lab();
    let folder = tempfile::tempdir().unwrap();
    let trace = folder.path().join("a.wwt");
    let peer = recorded(&lab, &trace);
    // With job control: what has no shell to go on by is not stopped (setpgid(2)).
    let run = format!(
        "set -m; LC_ALL=C.UTF-8 {} replay --tui {}; echo \"stopped $?\"; stty -a; read line; fg; echo \"status $?\"; stty -a; cat",
        binary().unwrap().display(),
        trace.display()
    );
    let tmux = Tmux::start(&run, 100, 50).unwrap();
    wait_shown(&tmux, &peer);
    tmux.press(&["C-z"]).unwrap();
    // 128 and SIGTSTP.
    wait_shown(&tmux, "stopped 148");
    let screen = wait_shown(&tmux, "icanon");
    assert!(!screen.contains("-icanon") && !screen.contains("-echo "), "{screen}");
    assert!(!screen.contains(&peer), "the view is gone:\n{screen}");
    tmux.press(&["Enter"]).unwrap();
    let screen = wait_shown(&tmux, &peer);
    assert!(!screen.contains("icanon"), "the whole screen is drawn again:\n{screen}");
    tmux.press(&["f"]).unwrap();
    wait_shown(&tmux, "findings by");
    tmux.press(&["Q"]).unwrap();
    let screen = wait_shown(&tmux, "status 0");
    // As high as the terminal, so that its top has gone up.
    assert!(
        screen.contains("dns-in-accept-path") && screen.contains("q quit"),
        "its last screen stays:\n{screen}"
    );
    let screen = wait_shown(&tmux, "icanon");
    assert!(!screen.contains("-icanon") && !screen.contains("-echo "), "{screen}");
}

#[test]
fn without_a_terminal_there_is_no_live_view() {
    let output = std::process::Command::new(binary().unwrap())
        .args(["live", "--tui", "-p", &std::process::id().to_string()])
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&output.stderr).contains("--tui needs a terminal"));
}
