//! Files that rules name, and files that those name: read once, for whoever looks at tables. Bounded in number and in bytes: rules are written by
//! anybody who may write a table.

use std::collections::BTreeMap;

use crate::wrappers::{FileText, Tables, lint::named_files};

/// libwrap reads as many as it has descriptors for, but nobody has so many.
const MAX_FILES: usize = 200;
/// All of them together.
const MAX_BYTES: usize = 16 << 20;

/// Reads them all with `read`, which gives what is at a path as the server sees it.
pub fn read_named(tables: &Tables, mut read: impl FnMut(&str) -> FileText) -> BTreeMap<String, FileText> {
    let mut named = BTreeMap::new();
    let mut room = MAX_BYTES;
    loop {
        let paths = named_files(tables, &named);
        if paths.is_empty() || named.len() >= MAX_FILES {
            return named;
        }
        for path in paths.into_iter().take(MAX_FILES.saturating_sub(named.len())) {
            let mut text = read(&path);
            if let FileText::Text(bytes) = &text {
                match room.checked_sub(bytes.len()) {
                    Some(left) => room = left,
                    None => {
                        text =
                            FileText::NotKnown("the files that rules name take more than 16 MiB".to_owned());
                    }
                }
            }
            named.insert(path, text);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wrappers::Table;

    fn tables(allow: &str) -> Tables {
        Tables { allow: Table::parse(allow.as_bytes()), deny: Table::default() }
    }

    #[test]
    fn each_file_is_read_once_however_often_it_is_named() {
        let mut asked = Vec::new();
        let named = read_named(&tables("ALL: /a /b\nALL: /a\n"), |path| {
            asked.push(path.to_owned());
            if path == "/a" { FileText::Text(b"/a ".repeat(10_000)) } else { FileText::Missing }
        });
        assert_eq!(asked, ["/a", "/b"]);
        assert_eq!(named.len(), 2);
    }

    #[test]
    fn they_are_bounded_in_number_and_in_bytes() {
        let named = read_named(&tables("ALL: /0\n"), |path| {
            let number: usize = path.trim_start_matches('/').parse().unwrap();
            FileText::Text(format!("/{}", number + 1).into_bytes())
        });
        assert_eq!(named.len(), MAX_FILES);
        let named = read_named(&tables("ALL: /a /b\n"), |_| FileText::Text(vec![b'x'; 10 << 20]));
        assert!(matches!(&named["/a"], FileText::Text(_)) && matches!(&named["/b"], FileText::NotKnown(_)));
    }
}
