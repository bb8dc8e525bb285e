//! What a server's own configuration allows a login: sshd's and PostgreSQL's, read as the server sees its files.
//!
//! Only what decides how a long lookup ends. Whatever could not be read, or is written in a way that is not followed here, is a doubt and not a default.

mod postgres;
mod sshd;

use super::configuration::{Host, Source, below, expand};
use crate::{host::process::ProcessInfo, model::doctor::LoginLimits};

/// A server's limits; None for servers of which none are known here.
pub(super) fn examine(viewer: u32, daemon: &str, info: &ProcessInfo) -> Option<LoginLimits> {
    let mut source = Host::new(viewer);
    let limits = match daemon {
        "sshd" => sshd::read(&mut source, &info.cmdline),
        "postgres" => postgres::read(&mut source, &info.cmdline)?,
        _ => return None,
    };
    Some(LoginLimits { files: source.files, doubt: source.doubt, limits })
}

/// A setting's value; what is not understood is a doubt.
fn parsed<T>(
    source: &mut dyn Source,
    name: &str,
    value: Option<String>,
    parse: fn(&str) -> Option<T>,
) -> Option<T> {
    let value = value?;
    let parsed = parse(&value);
    if parsed.is_none() {
        source.doubt(format!("{name} '{value}': not understood"));
    }
    parsed
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_servers_files_are_read_and_what_is_missing_is_a_doubt() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("sshd_config").to_string_lossy().into_owned();
        std::fs::create_dir(folder.path().join("more")).unwrap();
        std::fs::write(folder.path().join("more/50.conf"), "UseDNS yes\n").unwrap();
        std::fs::write(&path, format!("Include {}/more/*.conf\n", folder.path().display())).unwrap();
        let read = |path: &str| {
            let mut source = Host::new(std::process::id());
            let limits = sshd::read(&mut source, &["sshd".to_owned(), "-f".to_owned(), path.to_owned()]);
            (source.files.len(), source.doubt, limits)
        };
        let (files, doubt, limits) = read(&path);
        assert_eq!((files, doubt), (2, None), "{limits:?}");
        assert!(matches!(limits, crate::model::doctor::Limits::Sshd { use_dns: true, .. }), "{limits:?}");
        let (files, doubt, _) = read("/nowhere/sshd_config");
        assert!(files == 0 && doubt.is_some_and(|doubt| doubt.contains("not there")));
    }
}
