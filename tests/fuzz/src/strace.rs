//! Logs of strace: imported, the trace that comes out told and reported.
//!
//! Lines of `---` separate the logs of `strace -ff`, one a thread.

use wrapwatch::import::strace::{Dates, Importer, Log, import, survey};
use wrapwatch::render::text::Text;
use wrapwatch::replay::{TraceReport, Wanted};
use wrapwatch::trace::{End, Input, SingleFile, Writer, WriterOptions};

const SEPARATOR: &str = "\n---\n";

/// A log, or several.
///
/// # Panics
/// Where a promise is broken.
pub fn run(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    let parts: Vec<&str> = text.split(SEPARATOR).take(8).collect();
    let several = parts.len() > 1;
    let log = |(index, part): (usize, &'_ &'_ str)| Log {
        tid: several.then(|| u32::try_from(index).unwrap_or(0) + 100),
        source: std::io::Cursor::new((*part).to_owned()),
    };
    let logs = || parts.iter().enumerate().map(log).collect();
    let Ok(survey) = survey(logs()) else { unreachable!("memory can be read") };
    assert!(survey.understood() <= survey.lines, "{survey:?}");
    let dates = Dates { midnight_ns: 1_795_305_600_000_000_000, begin_ns: 1_795_326_189_000_000_000 };
    let mut importer = Importer::new(None, survey);
    let mut writer = None;
    let imported = import(&mut importer, logs(), dates, &mut |input| take(&mut writer, &input));
    assert!(imported.is_ok(), "memory can be read: {imported:?}");
    let Some(writer) = writer else { return };
    let end = End { at: importer.now(), ..End::default() };
    let (file, ended) = writer.finish(end);
    assert!(ended.is_ok(), "memory can be written: {ended:?}");
    let wanted = Wanted { slowest: 3, file_name: "a.wwt", ..Wanted::default() };
    match TraceReport::read(file.into_inner().as_slice(), &wanted, |_| ()) {
        Ok(whole) => {
            assert!(whole.context.damage_count == 0, "{:?}", whole.report.trace.damage);
            super::assert_harmless(&Text::PLAIN.report(&whole.report));
        }
        Err(error) => unreachable!("a trace of the importer's that cannot be read: {error}"),
    }
}

type Memory = Writer<SingleFile<Vec<u8>>>;

/// Writes as the command does.
fn take(writer: &mut Option<Memory>, input: &Input<'_>) {
    let written = match (writer.as_mut(), input) {
        (None, Input::Head(head)) => {
            let made = Writer::new(SingleFile::new(Vec::new()), head, WriterOptions::offline());
            made.map(|made| *writer = Some(made))
        }
        (None, other) => unreachable!("before the head: {other:?}"),
        (Some(_), Input::Head(second)) => unreachable!("a second head: {second:?}"),
        (Some(writer), input) => writer.write(input),
    };
    assert!(written.is_ok(), "{written:?}");
}
