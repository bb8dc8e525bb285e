//! Other programs' configuration, read as the program sees its files.
//!
//! Whatever could not be read, or is written in a way that is not followed here, is a doubt and not a default.

use crate::host::files;

/// Files and directories that are looked for, for one server: a configuration includes a handful.
const LOOKS_MAX: usize = 64;

/// Where configuration comes from.
pub(super) trait Source {
    /// A file's text; None where it is not there or cannot be read.
    fn text(&mut self, path: &str) -> Option<String>;
    /// The names in a directory, in their order; None where they cannot be told.
    fn names(&mut self, directory: &str) -> Option<Vec<String>>;
    /// Whether there is something at a path. Where that cannot be told, reading it will say why.
    fn is_there(&mut self, path: &str) -> bool;
    /// Something that was not followed.
    fn doubt(&mut self, why: String);
}

/// The files of one process.
pub(super) struct Host {
    viewer: u32,
    /// What was read.
    pub(super) files: Vec<String>,
    /// The first thing that was not followed.
    pub(super) doubt: Option<String>,
    /// What was looked for, whether it was there or not.
    looks: usize,
}

impl Host {
    /// As that process sees them, with its rights.
    pub(super) const fn new(viewer: u32) -> Self {
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

    fn is_there(&mut self, path: &str) -> bool {
        self.may_look() && !matches!(files::metadata(self.viewer, path), Ok(None))
    }

    fn doubt(&mut self, why: String) {
        self.doubt.get_or_insert(why);
    }
}

/// A path, below `folder` where it is relative.
pub(super) fn below(folder: &str, path: &str) -> String {
    if path.starts_with('/') { path.to_owned() } else { format!("{}/{path}", folder.trim_end_matches('/')) }
}

/// What one star in the last part of a path stands for (glob(7)): `/etc/ssh/sshd_config.d/*.conf`. Nothing else is followed.
pub(super) fn expand(source: &mut dyn Source, pattern: &str) -> Vec<String> {
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
pub(super) mod tests {
    use std::collections::BTreeMap;

    use super::*;

    /// Files by path.
    #[derive(Default)]
    pub(in crate::doctor) struct Texts {
        pub(in crate::doctor) texts: BTreeMap<String, String>,
        pub(in crate::doctor) doubt: Option<String>,
    }

    impl Texts {
        pub(in crate::doctor) fn of(texts: &[(&str, &str)]) -> Self {
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

        fn is_there(&mut self, path: &str) -> bool {
            self.texts.contains_key(path)
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
