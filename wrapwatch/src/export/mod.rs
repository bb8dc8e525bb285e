//! What a trace becomes for other programs: observers that write another form, each in a file of its own, and [`tell`], which tells them a trace.

mod commands;
#[cfg(feature = "otlp")]
pub mod otlp;
mod pcapng;
mod perfetto;
#[cfg(test)]
mod support;
pub mod tables;

use std::io::{self, Read};

pub use pcapng::Pcapng;
pub use perfetto::Perfetto;

use crate::context::Context;
use crate::diagnose::{Diagnosis, Report};
use crate::model::Line;
use crate::observe::Observer;
use crate::replay::{Options, Replay};
use crate::trace::ReadError;

/// Why a trace cannot be exported.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ExportError {
    /// It cannot be read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// The other form cannot be written.
    #[error("cannot write output: {0}")]
    Write(#[from] io::Error),
}

/// Tells a trace to an observer, inputs and lines, and gives what it says besides.
pub fn tell(
    source: impl Read,
    options: Options,
    observer: &mut impl Observer,
) -> Result<Context, ExportError> {
    Ok(told(source, options, observer, |_, _| ())?.into_context())
}

/// Tells a trace to an observer, and gives the report on it as well: `file_name` is what it calls the trace.
pub fn diagnose(
    source: impl Read,
    options: Options,
    observer: &mut impl Observer,
    file_name: &str,
) -> Result<(Report, Context), ExportError> {
    let (mut diagnosis, mut count) = (Diagnosis::new(0), 0);
    let replay = told(source, options, observer, |line, facts| match line {
        Line::Connection(connection) => {
            diagnosis.add(&connection, facts);
            count += 1;
        }
        Line::Request(request) => diagnosis.add_request(&request, facts),
        _ => {}
    })?;
    let report = diagnosis.finish(replay.context(), replay.summary(), file_name, count, true);
    Ok((report, replay.into_context()))
}

fn told<R: Read>(
    source: R,
    options: Options,
    observer: &mut impl Observer,
    mut take: impl FnMut(Line, &Context),
) -> Result<Replay<R>, ExportError> {
    let mut replay = Replay::new(source, options);
    while let Some(line) = replay.next_line_of(|input| Ok::<_, ExportError>(observer.input(input)?))? {
        observer.line(&line)?;
        take(line, replay.context());
    }
    Ok(replay)
}
