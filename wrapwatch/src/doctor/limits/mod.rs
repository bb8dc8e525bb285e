//! What a server's own configuration allows a login: sshd's and PostgreSQL's, read as the server sees its files.
//!
//! Only what decides how a long lookup ends. Whatever could not be read, or is written in a way that is not followed here, is a doubt and not a default.

mod postgres;
mod sshd;

use crate::{
    host::{files, process::ProcessInfo},
    model::doctor::LoginLimits,
};

/// Files and directories that are looked for, for one server: a configuration includes a handful.
const LOOKS_MAX: usize = 64;

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

/// Where configuration comes from.
trait Source {
    /// A file's text; None where it is not there or cannot be read.
    fn text(&mut self, path: &str) -> Option<String>;
    /// The names in a directory, in their order; None where they cannot be told.
    fn names(&mut self, directory: &str) -> Option<Vec<String>>;
    /// Something that was not followed.
    fn doubt(&mut self, why: String);
}

/// The files of one process.
struct Host {
    viewer: u32,
    files: Vec<String>,
    doubt: Option<String>,
    /// What was looked for, whether it was there or not.
    looks: usize,
}

impl Host {
    const fn new(viewer: u32) -> Self {
        Self { viewer, files: Vec::new(), doubt: None, looks: 0 }
    }

    /// Counts what is looked for; false where that is too much.
    fn may_look(&mut self) -> bool {
        self.looks += 1;
        if self.looks > LOOKS_MAX {
            self.doubt(format!("more than {LOOKS_MAX} files and directories"));
        }
        self.looks <= LOOKS_MAX
    }
}

impl Source for Host {
    fn text(&mut self, path: &str) -> Option<String> {
        if !self.may_look() {
            return None;
        }
        let error = match files::read(self.viewer, path) {
            Ok(copy) if copy.exists && copy.is_whole() => {
                self.files.push(path.to_owned());
                return Some(String::from_utf8_lossy(&copy.bytes).into_owned());
            }
            Ok(copy) if copy.exists => "larger than 1 MiB".to_owned(),
            Ok(_) => "not there".to_owned(),
            Err(error) => error.why(),
        };
        self.doubt(format!("{path}: {error}"));
        None
    }

    fn names(&mut self, directory: &str) -> Option<Vec<String>> {
        if !self.may_look() {
            return None;
        }
        match files::names(self.viewer, directory) {
            Ok(names) => Some(names),
            Err(error) => {
                self.doubt(format!("{directory}: {}", error.why()));
                None
            }
        }
    }

    fn doubt(&mut self, why: String) {
        self.doubt.get_or_insert(why);
    }
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

/// A path, below `folder` where it is relative.
fn below(folder: &str, path: &str) -> String {
    if path.starts_with('/') { path.to_owned() } else { format!("{}/{path}", folder.trim_end_matches('/')) }
}

/// What one star in the last part of a path stands for (glob(7)): `/etc/ssh/sshd_config.d/*.conf`. Nothing else is followed.
fn expand(source: &mut dyn Source, pattern: &str) -> Vec<String> {
    if !pattern.contains(['*', '?', '[', '{']) {
        return vec![pattern.to_owned()];
    }
    let parts = pattern.rsplit_once('/').and_then(|(folder, last)| {
        let (start, end) = last.split_once('*')?;
        (!(folder.to_owned() + start + end).contains(['*', '?', '[', '{'])).then_some((folder, start, end))
    });
    let Some((folder, start, end)) = parts else {
        source.doubt(format!("{pattern}: not followed"));
        return Vec::new();
    };
    let fits = |name: &String| {
        // A name that begins with a dot has to be named so.
        name.len() >= start.len() + end.len()
            && name.starts_with(start)
            && name.ends_with(end)
            && (!name.starts_with('.') || start.starts_with('.'))
    };
    let names = source.names(folder).unwrap_or_default();
    names.into_iter().filter(fits).map(|name| format!("{folder}/{name}")).collect()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    /// Files by path.
    #[derive(Default)]
    pub(super) struct Texts {
        pub(super) texts: BTreeMap<String, String>,
        pub(super) doubt: Option<String>,
    }

    impl Texts {
        pub(super) fn of(texts: &[(&str, &str)]) -> Self {
            let owned = |(path, text): &(&str, &str)| ((*path).to_owned(), (*text).to_owned());
            Self { texts: texts.iter().map(owned).collect(), doubt: None }
        }
    }

    impl Source for Texts {
        fn text(&mut self, path: &str) -> Option<String> {
            let found = self.texts.get(path).cloned();
            if found.is_none() {
                self.doubt(format!("{path}: not there"));
            }
            found
        }

        fn names(&mut self, directory: &str) -> Option<Vec<String>> {
            let inside =
                |path: &String| path.strip_prefix(directory)?.strip_prefix('/').map(ToOwned::to_owned);
            Some(self.texts.keys().filter_map(inside).collect())
        }

        fn doubt(&mut self, why: String) {
            self.doubt.get_or_insert(why);
        }
    }

    #[test]
    fn a_star_stands_for_names_of_one_folder() {
        let mut files = Texts::of(&[("/d/b.conf", ""), ("/d/a.conf", ""), ("/d/.c.conf", ""), ("/d/x", "")]);
        assert_eq!(expand(&mut files, "/d/*.conf"), ["/d/a.conf", "/d/b.conf"]);
        assert_eq!(expand(&mut files, "/e/one"), ["/e/one"]);
        assert_eq!((expand(&mut files, "/*/x").len(), files.doubt.is_some()), (0, true));
    }

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

    #[test]
    fn what_is_not_there_counts_as_looked_for() {
        let mut source = Host::new(std::process::id());
        for look in 0..LOOKS_MAX {
            let found = if look % 2 == 0 {
                source.text("/nowhere/x")
            } else {
                source.names("/nowhere").map(|_| String::new())
            };
            assert_eq!(found, None);
        }
        source.doubt = None;
        assert_eq!((source.text("/proc/none"), source.names("/")), (None, None));
        assert!(source.doubt.is_some_and(|doubt| doubt.contains("more than 64")));
    }
}
