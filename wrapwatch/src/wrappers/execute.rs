//! Running a matched rule's options: libwrap's `process_options` and the functions in its table.

use super::check::{Check, Stop};
use super::environment::FileText;
use super::evaluation::Command;
use super::options::{self, Keyword, OptionError, Step, chop, lossy};
use super::percent;
use super::table::split_at;

/// What fits into one line of a banner, and its room once expanded.
const BANNER_LINE: usize = 8190;
const BANNER_ROOM: usize = 16384;

/// Runs all options, or up to the one that ends the check.
pub(super) fn options(text: &[u8], check: &mut Check<'_>) -> Result<(), Stop> {
    for step in options::steps(text) {
        let step = match step {
            Ok(step) => step,
            Err(error) => return Err(refuse(error, check)),
        };
        let value = match (&step.value, step.expand) {
            (Some(value), true) => Some(chop(&percent::expand(value, check)?).to_vec()),
            (value, _) => value.clone(),
        };
        match run(&step, value.as_deref().unwrap_or_default(), check) {
            Err(Stop::Error(error)) => return Err(refuse(error, check)),
            other => other?,
        }
    }
    Ok(())
}

/// `tcpd_jump`: log, and refuse service.
fn refuse(error: OptionError, check: &mut Check<'_>) -> Stop {
    check.warn(error.to_string());
    Stop::Error(error)
}

fn run(step: &Step, value: &[u8], check: &mut Check<'_>) -> Result<(), Stop> {
    options::check_value(step.keyword, step.value.as_deref()).map_err(Stop::Error)?;
    let command = |check: &mut Check<'_>| {
        check.commands.push(Command { option: step.keyword, command: value.to_vec(), place: check.place });
    };
    match step.keyword {
        Keyword::Allow => Err(Stop::Allow),
        Keyword::Deny => Err(Stop::Deny),
        Keyword::Spawn => {
            command(check);
            Ok(())
        }
        Keyword::Twist if check.resident => Err(Stop::Error(OptionError::TwistInResident)),
        Keyword::Twist => {
            command(check);
            Err(Stop::Twist)
        }
        Keyword::Aclexec => {
            command(check);
            check.aclexec_failed = !check.env.aclexec(value);
            Ok(())
        }
        Keyword::Rfc931 => {
            check.rfc931_timeout_s = options::rfc931_seconds(value).or(check.rfc931_timeout_s);
            check.ask_user();
            Ok(())
        }
        Keyword::Setenv => options::variable(value).map(|_| ()).map_err(Stop::Error),
        Keyword::User => user(value, check),
        Keyword::Group => group(value, check),
        Keyword::Banners => banner(value, check),
        Keyword::Umask | Keyword::Linger | Keyword::Keepalive | Keyword::Nice | Keyword::Severity => Ok(()),
    }
}

/// `user[.group]`. Debian's build looks both up and, but for dry runs, changes nothing.
fn user(value: &[u8], check: &mut Check<'_>) -> Result<(), Stop> {
    let name = match split_at(value, b'.') {
        Some(at) => {
            group(value.get(at + 1..).unwrap_or_default(), check)?;
            value.get(..at).unwrap_or_default()
        }
        None => value,
    };
    let name = lossy(name);
    if check.env.user(&name) { Ok(()) } else { Err(Stop::Error(OptionError::UnknownUser(name))) }
}

fn group(value: &[u8], check: &mut Check<'_>) -> Result<(), Stop> {
    let name = lossy(value);
    if check.env.group(&name) { Ok(()) } else { Err(Stop::Error(OptionError::UnknownGroup(name))) }
}

/// Sends `directory/daemon` to the client, expanded: a banner with %n in it looks the client's name up.
fn banner(directory: &[u8], check: &mut Check<'_>) -> Result<(), Stop> {
    let path = format!("{}/{}", lossy(directory), lossy(&check.daemon));
    let FileText::Text(text) = check.env.file(&path) else {
        // No file for this daemon is fine, no directory is not.
        let directory = lossy(directory);
        if check.env.file(&directory) == FileText::Missing {
            check.warn(format!("{directory}: No such file or directory"));
        }
        return Ok(());
    };
    for line in text.split_inclusive(|&byte| byte == b'\n').flat_map(|line| line.chunks(BANNER_LINE)) {
        let line = line.split(|&byte| byte == 0).next().unwrap_or_default();
        let mut sent =
            line.strip_suffix(b"\n").map_or_else(|| line.to_vec(), |line| [line, b"\r\n"].concat());
        if sent.len() > BANNER_ROOM / 2 {
            sent.truncate(BANNER_ROOM / 2);
        }
        percent::expand_into(&sent, check, BANNER_ROOM)?;
    }
    Ok(())
}
