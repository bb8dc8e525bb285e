//! What the checks want of a Markdown text: headings, links, prose without code, tables, commands.

use std::{mem, ops::Range};

use pulldown_cmark::{CodeBlockKind, Event, Options, Parser, Tag, TagEnd};

/// A text, taken apart. Lines count from 1.
#[derive(Default)]
pub(super) struct Markdown {
    /// Headings with their level, in order.
    pub(super) headings: Vec<(u8, String)>,
    pub(super) links: Vec<Link>,
    /// Paragraphs, headings, list items and table cells: one line each, a backquote in the place of inline code.
    pub(super) prose: Vec<Passage>,
    /// Each table's rows, the first one with its column names.
    pub(super) tables: Vec<Vec<Vec<Cell>>>,
    /// What a reader may type: lines of shell blocks, and inline code.
    pub(super) code: Vec<Passage>,
}

/// Some text and the line it begins in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Passage {
    pub(super) line: usize,
    pub(super) text: String,
}

/// A link or image.
pub(super) struct Link {
    pub(super) line: usize,
    pub(super) to: String,
    /// What a reader sees, without marks.
    pub(super) text: String,
    /// Where it stands in the source.
    pub(super) span: Range<usize>,
}

/// A cell of a table.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Cell {
    /// With inline code.
    pub(super) text: String,
    /// Pieces of inline code.
    pub(super) code: Vec<String>,
}

impl Markdown {
    pub(super) fn read(text: &str) -> Self {
        let mut reader = Reader { text, ..Reader::default() };
        for (event, span) in Parser::new_ext(text, Options::ENABLE_TABLES).into_offset_iter() {
            reader.take(event, span);
        }
        reader.flush();
        reader.markdown
    }

    /// Anchors as code hosts and mdBook make them of headings.
    pub(super) fn anchors(&self) -> Vec<String> {
        let mut anchors: Vec<String> = Vec::new();
        for (_, heading) in &self.headings {
            let anchor = anchor(heading);
            let same = anchors.iter().filter(|known| **known == anchor).count();
            anchors.push(if same == 0 { anchor } else { format!("{anchor}-{same}") });
        }
        anchors
    }
}

/// Letters and digits in lower case, blanks as hyphens, nothing else.
fn anchor(heading: &str) -> String {
    let kept = heading.trim().chars().filter(|c| c.is_alphanumeric() || [' ', '-', '_'].contains(c));
    kept.collect::<String>().to_lowercase().replace(' ', "-")
}

#[derive(Default)]
struct Reader<'a> {
    text: &'a str,
    markdown: Markdown,
    /// Where the passage being read begins, the passage, and the same with its inline code.
    begun: Option<usize>,
    passage: String,
    whole: String,
    link: Option<Link>,
    cell: Cell,
    row: Vec<Cell>,
    table: Vec<Vec<Cell>>,
    /// Within a block of code: the language.
    block: Option<String>,
}

impl Reader<'_> {
    fn line(&self, at: usize) -> usize {
        let before = self.text.get(..at).unwrap_or_default();
        before.matches('\n').count().saturating_add(1)
    }

    fn take(&mut self, event: Event<'_>, span: Range<usize>) {
        match event {
            Event::Start(Tag::Link { dest_url, .. } | Tag::Image { dest_url, .. }) => {
                let line = self.line(span.start);
                self.link = Some(Link { line, to: dest_url.into_string(), text: String::new(), span });
            }
            Event::End(TagEnd::Link | TagEnd::Image) => self.markdown.links.extend(self.link.take()),
            Event::Start(Tag::Emphasis | Tag::Strong) | Event::End(TagEnd::Emphasis | TagEnd::Strong) => {}
            Event::Start(Tag::CodeBlock(kind)) => {
                self.flush();
                self.block = Some(match kind {
                    CodeBlockKind::Fenced(language) => language.into_string(),
                    CodeBlockKind::Indented => String::new(),
                });
            }
            Event::End(TagEnd::CodeBlock) => self.block = None,
            Event::Text(text) if self.block.is_some() => self.block_text(&text, span.start),
            Event::Text(text) => self.add(&text, &text, span.start),
            Event::SoftBreak | Event::HardBreak => self.add(" ", " ", span.start),
            Event::Code(code) => {
                self.add("`", &code, span.start);
                self.cell.code.push(code.to_string());
                let line = self.line(span.start);
                self.markdown.code.push(Passage { line, text: code.replace('\n', " ") });
            }
            Event::End(TagEnd::Heading(level)) => {
                self.markdown.headings.push((level as u8, self.whole.clone()));
                self.flush();
            }
            Event::End(TagEnd::TableCell) => {
                self.cell.text.clone_from(&self.whole);
                self.row.push(mem::take(&mut self.cell));
                self.flush();
            }
            Event::End(TagEnd::TableRow | TagEnd::TableHead) => self.table.push(mem::take(&mut self.row)),
            Event::End(TagEnd::Table) => self.markdown.tables.push(mem::take(&mut self.table)),
            Event::Start(_) | Event::End(_) => self.flush(),
            _ => {}
        }
    }

    /// Text of a passage: as prose, and with code.
    fn add(&mut self, prose: &str, whole: &str, at: usize) {
        self.begun.get_or_insert(at);
        self.passage.push_str(prose);
        self.whole.push_str(whole);
        if let Some(link) = &mut self.link {
            link.text.push_str(whole);
        }
    }

    /// The passage is over.
    fn flush(&mut self) {
        let text = mem::take(&mut self.passage);
        self.whole.clear();
        self.cell.code.clear();
        if let Some(at) = self.begun.take() {
            let line = self.line(at);
            self.markdown.prose.push(Passage { line, text });
        }
    }

    /// Lines of a shell's block, and those behind a prompt of another one.
    fn block_text(&mut self, text: &str, at: usize) {
        let is_shell = self.block.as_deref() == Some("sh");
        let first = self.line(at);
        for (n, line) in text.lines().enumerate() {
            let typed = line.strip_prefix("$ ").or_else(|| is_shell.then_some(line));
            if let Some(typed) = typed {
                self.markdown.code.push(Passage { line: first.saturating_add(n), text: typed.to_owned() });
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_taken_apart() {
        let text = "# One `two`\n\nfirst [a `b`](c.md#d) and\n`code` end\n\n* item\n\n```sh\nwrapwatch live\n```\n\n```text\n$ ls\nout\n```\n";
        let read = Markdown::read(text);
        assert_eq!(read.headings, [(1, "One two".to_owned())]);
        assert_eq!(read.anchors(), ["one-two"]);
        assert_eq!(
            (read.links[0].to.as_str(), read.links[0].text.as_str(), read.links[0].line),
            ("c.md#d", "a b", 3)
        );
        assert_eq!(&text[read.links[0].span.clone()], "[a `b`](c.md#d)");
        let prose: Vec<(usize, &str)> = read.prose.iter().map(|p| (p.line, p.text.as_str())).collect();
        assert_eq!(prose, [(1, "One `"), (3, "first a ` and ` end"), (6, "item")]);
        let code: Vec<(usize, &str)> = read.code.iter().map(|p| (p.line, p.text.as_str())).collect();
        assert_eq!(code, [(1, "two"), (3, "b"), (4, "code"), (9, "wrapwatch live"), (13, "ls")]);
    }

    #[test]
    fn tables_have_rows_of_cells() {
        let read = Markdown::read("| a | b |\n|---|---|\n| x | `y`, `z` |\n");
        let rows = &read.tables[0];
        assert_eq!((rows.len(), rows[1][0].text.as_str(), rows[1][1].text.as_str()), (2, "x", "y, z"));
        assert_eq!(rows[1][1].code, ["y", "z"]);
    }

    #[test]
    fn equal_headings_have_anchors_of_their_own() {
        assert_eq!(Markdown::read("# A, b!\n# A b\n").anchors(), ["a-b", "a-b-1"]);
    }
}
