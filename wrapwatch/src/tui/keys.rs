//! The keys: one table, from which the footer, the help and the documentation are made.

/// A key, as the screen knows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Key {
    Char(char),
    Up,
    Down,
    Left,
    Right,
    PageUp,
    PageDown,
    Home,
    End,
    Enter,
    Esc,
    Backspace,
    CtrlC,
    CtrlZ,
}

/// What a key does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Action {
    Help,
    Quit,
    QuitAndKeep,
    Suspend,
    Pause,
    Live,
    Oldest,
    Stall(Way),
    Seconds(Way, i64),
    Move(Way),
    Page(Way),
    Detail,
    Back,
    Filter,
    Sort,
    Findings,
    WhatIf,
    Nameservers,
    Rules,
    Servers,
    Threads,
    Notes,
    /// To the first of those that it waited behind, the second, …
    Behind(usize),
    Copy,
    Zone,
}

/// To what came before, or after.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Way {
    Before,
    After,
}

/// A row of the table.
pub(super) struct Binding {
    pub(super) key: Key,
    /// As it is written.
    pub(super) label: &'static str,
    pub(super) action: Action,
    /// In the footer; nothing where it is in the help only.
    pub(super) short: &'static str,
    pub(super) help: &'static str,
}

const fn row(
    key: Key,
    label: &'static str,
    action: Action,
    short: &'static str,
    help: &'static str,
) -> Binding {
    Binding { key, label, action, short, help }
}

/// In the order of the footer: what stands first is there also on a narrow terminal.
pub(super) const KEYS: &[Binding] = &[
    row(Key::Char('h'), "h", Action::Help, "help", "show this help, and hide it again"),
    row(Key::Char('q'), "q", Action::Quit, "quit", "quit; a live trace ends in order"),
    row(Key::Char(' '), "Space", Action::Pause, "pause", "hold the screen as it is now, and continue"),
    row(Key::Enter, "Enter", Action::Detail, "detail", "show only the selected connection"),
    row(
        Key::Char('/'),
        "/",
        Action::Filter,
        "filter",
        "show only what fits: words, peer: outcome: rule: ns: pid:, /regular expression/",
    ),
    row(
        Key::Char('s'),
        "s",
        Action::Sort,
        "sort",
        "sort by time, wait, queue, check, client, outcome, nameserver",
    ),
    row(Key::Char('f'), "f", Action::Findings, "findings", "what was found so far, and what to change"),
    row(
        Key::Char('w'),
        "w",
        Action::WhatIf,
        "what-if",
        "what the waits would have been with one thing changed",
    ),
    row(Key::Char('n'), "n", Action::Nameservers, "nameservers", "the nameservers"),
    row(Key::Char('r'), "r", Action::Rules, "rules", "the rules that asked for names"),
    row(Key::Char('v'), "v", Action::Servers, "servers", "the servers that are traced"),
    row(Key::Char('t'), "t", Action::Threads, "threads", "the accept threads"),
    row(Key::Char('m'), "m", Action::Notes, "notes", "what could not be seen, and what was lost"),
    row(
        Key::Char('b'),
        "b",
        Action::Behind(0),
        "behind",
        "go to the connection that this one waited longest behind",
    ),
    row(Key::Char('2'), "2", Action::Behind(1), "", "to the second that it waited behind"),
    row(Key::Char('3'), "3", Action::Behind(2), "", "to the third"),
    row(Key::Char('4'), "4", Action::Behind(3), "", "to the fourth"),
    row(Key::Char('5'), "5", Action::Behind(4), "", "to the fifth"),
    row(Key::Char('c'), "c", Action::Copy, "copy", "copy the selected connection (OSC 52)"),
    row(Key::Char('z'), "z", Action::Zone, "", "change to local time, and back to UTC"),
    row(Key::Left, "←", Action::Stall(Way::Before), "stall", "back to the stall before"),
    row(Key::Right, "→", Action::Stall(Way::After), "", "on to the next stall"),
    row(Key::Char(','), ",", Action::Seconds(Way::Before, 1), "", "a second back"),
    row(Key::Char('.'), ".", Action::Seconds(Way::After, 1), "", "a second on"),
    row(Key::Char('['), "[", Action::Seconds(Way::Before, 60), "", "a minute back"),
    row(Key::Char(']'), "]", Action::Seconds(Way::After, 60), "", "a minute on"),
    row(Key::Home, "Home", Action::Oldest, "", "to the beginning"),
    row(Key::End, "End", Action::Live, "newest", "to the newest, and follow"),
    row(Key::Up, "↑", Action::Move(Way::Before), "", "select the connection above; in a panel, back"),
    row(Key::Down, "↓", Action::Move(Way::After), "", "select the connection below; in a panel, on"),
    row(Key::Char('k'), "k", Action::Move(Way::Before), "", "as ↑"),
    row(Key::Char('j'), "j", Action::Move(Way::After), "", "as ↓"),
    row(Key::PageUp, "PgUp", Action::Page(Way::Before), "", "a page up"),
    row(Key::PageDown, "PgDn", Action::Page(Way::After), "", "a page down"),
    row(Key::Esc, "Esc", Action::Back, "", "back; removes the filter"),
    row(Key::Char('Q'), "Q", Action::QuitAndKeep, "", "quit and leave the last screen"),
    row(Key::CtrlC, "Ctrl-C", Action::Quit, "", "as q"),
    row(Key::CtrlZ, "Ctrl-Z", Action::Suspend, "", "suspend; fg comes back"),
];

/// The keys and what they do, for a page of the manual in roff(7).
pub fn manual() -> String {
    let mut page = ".SH \"KEYS OF THE LIVE VIEW\"\n".to_owned();
    for Binding { label, help, .. } in KEYS {
        let label = label.replace('\\', "\\e");
        // A dot at the beginning of a line would be a request.
        page.push_str(&format!(".TP\n\\fB\\&{label}\\fR\n\\&{help}\n"));
    }
    page
}

/// What this key does.
pub(super) fn action(key: Key) -> Option<Action> {
    KEYS.iter().find(|binding| binding.key == key).map(|binding| binding.action)
}
