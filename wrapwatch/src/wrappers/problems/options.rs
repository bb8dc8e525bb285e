//! Options that refuse service, hold the accept thread, or do nothing.

use super::{Finding, Problem, ProblemKind as Kind, Rule, Scene, Severity};
use crate::wrappers::daemons::{self, Blocking};
use crate::wrappers::inet;
use crate::wrappers::options::{self, Keyword, OptionError, Step, lossy};

pub(super) fn find(scene: &Scene<'_>, out: &mut Vec<Problem>) {
    for rule in scene.rules() {
        let Some(text) = rule.table.options(&rule.entry) else { continue };
        for step in options::steps(text) {
            let found = match step {
                Ok(step) => check(&step, daemons::blocking(scene.daemon)),
                Err(error) => Some(refusal(&error)),
            };
            out.extend(found.map(|finding| scene.at(rule, finding)));
        }
        lookups(scene, rule, text, out);
    }
}

fn refusal(error: &OptionError) -> Finding {
    let (kind, hint) = match error {
        OptionError::UnknownName(_) => {
            (Kind::UnknownOption, "Remove it, or see hosts_options(5) for what there is.")
        }
        OptionError::MissingName => (Kind::OptionError, "Remove the colon behind which nothing follows."),
        OptionError::NotLast(_) => {
            (Kind::OptionError, "Move it to the end of the rule; nothing may follow, not even a colon.")
        }
        OptionError::NeedsValue(_) => (Kind::OptionError, "Give it a value."),
        OptionError::TakesNoValue(_) => (Kind::OptionError, "Remove what follows it."),
        OptionError::BadVariable => {
            (Kind::OptionError, "Write setenv NAME value, with a blank between them.")
        }
        _ => (Kind::OptionError, "See hosts_options(5) for what it takes."),
    };
    let message = format!("Refuses every client the rule matches: {error}.");
    Finding::new(kind, Severity::Critical, message).change(hint)
}

fn check(step: &Step, blocking: Blocking) -> Option<Finding> {
    let value = step.value.as_deref().unwrap_or_default();
    if let Err(error) = options::check_value(step.keyword, step.value.as_deref()) {
        return Some(refusal(&error));
    }
    match step.keyword {
        Keyword::Setenv => options::variable(value).err().map(|error| refusal(&error)),
        Keyword::Spawn if options::is_waited_for(step.keyword, value) => {
            let message =
                format!("The command holds {} until it has ended{}.", blocking.held(), blocking.others());
            Some(
                Finding::new(Kind::BlockingSpawn, Severity::Warning, message)
                    .change(format!("Let it run by itself: spawn {} &", lossy(value))),
            )
        }
        Keyword::Aclexec => {
            let held = if options::is_waited_for(step.keyword, value) {
                format!("holds {} until it has ended{}", blocking.held(), blocking.others())
            } else {
                "runs in the background, where its failure is not seen".to_owned()
            };
            let message = format!(
                "The verdict depends on this command, which {held}. After a failure, libwrap takes every later match of a rule with options for \
                 none, until an aclexec succeeds again."
            );
            Some(Finding::new(Kind::Aclexec, Severity::Warning, message).change("Decide by address instead."))
        }
        Keyword::Twist => {
            let message = "In a server's first check twist replaces the whole server by the command; in later ones it refuses.";
            Some(
                Finding::new(Kind::Twist, Severity::Critical, message)
                    .change("Write deny, and a spawn if somebody should be notified."),
            )
        }
        Keyword::User | Keyword::Group => {
            let message = "Does nothing in Debian's libwrap but refuse when there is no such user or group.";
            Some(Finding::new(Kind::OptionWithoutEffect, Severity::Info, message).change("Remove it."))
        }
        _ => None,
    }
}

/// Lookups that options force for the sake of a %-expansion.
fn lookups(scene: &Scene<'_>, rule: Rule<'_>, text: &[u8], out: &mut Vec<Problem>) {
    let (mut names, mut users, mut seconds) = (false, false, None);
    for step in options::steps(text).map_while(Result::ok) {
        if step.keyword == Keyword::Rfc931 {
            users = true;
            seconds = step.value.as_deref().and_then(inet::scan_signed);
        }
        let value = step.value.filter(|_| step.expand).unwrap_or_default();
        let mut rest = value.as_slice();
        while let Some(at) = rest.iter().position(|&byte| byte == b'%') {
            let letter = rest.get(at + 1).copied().unwrap_or_default();
            names |= matches!(letter, b'n' | b'N');
            users |= letter == b'u';
            rest = rest.get(at + 2..).unwrap_or_default();
        }
    }
    if names {
        let message = "%n looks the name up for every client the rule matches.";
        let finding = Finding::new(Kind::DnsLookup, Severity::Warning, message)
            .change("Write %h, which uses the name only where it is known.");
        out.push(scene.at(rule, finding));
    }
    if users {
        out.push(scene.at(rule, ident(scene, "for every client the rule matches", seconds)));
    }
}

/// Ident, forced by an option or by a pattern; `seconds` is what the option says.
pub(super) fn ident(scene: &Scene<'_>, whom: &str, seconds: Option<i32>) -> Finding {
    let message = format!(
        "Asks the client's ident service (TCP port 113) {whom}: up to {} s where packets are dropped, longer where the server \
         blocks SIGALRM. It holds {}.",
        seconds.unwrap_or(10),
        daemons::blocking(scene.daemon).held()
    );
    Finding::new(Kind::Ident, Severity::Warning, message)
        .change("Match by address; this way nobody can know who uses a client.")
}
