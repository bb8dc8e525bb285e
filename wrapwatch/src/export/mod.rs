//! What a trace becomes for other programs: observers that write another form, each in a file of its own, and [`tell`], which tells them a trace.

mod perfetto;

use std::io::{self, Read};

pub use perfetto::Perfetto;

use crate::context::Context;
use crate::engine::{Engine, Options};
use crate::observe::Observer;
use crate::trace::{ReadError, Reader};

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

/// An observer that has something to write when everything is told.
pub trait Exporter: Observer {
    /// The rest.
    fn finish(self) -> io::Result<()>;
}

/// Tells a trace, inputs and lines, and gives what it says besides.
pub fn tell(
    source: impl Read,
    options: Options,
    mut exporter: impl Exporter,
) -> Result<Context, ExportError> {
    let (mut reader, mut engine) = (Reader::new(source), Engine::new(options));
    while let Some(input) = reader.next_input()? {
        exporter.input(&input)?;
        engine.feed(&input);
        lines(&mut engine, &mut exporter)?;
    }
    engine.finish();
    lines(&mut engine, &mut exporter)?;
    exporter.finish()?;
    Ok(engine.into_context())
}

fn lines(engine: &mut Engine, exporter: &mut impl Observer) -> io::Result<()> {
    while let Some(line) = engine.next_line() {
        exporter.line(&line)?;
    }
    Ok(())
}
