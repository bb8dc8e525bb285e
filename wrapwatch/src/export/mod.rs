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

/// Tells a trace to an observer, inputs and lines, and gives what it says besides.
pub fn tell(
    source: impl Read,
    options: Options,
    observer: &mut impl Observer,
) -> Result<Context, ExportError> {
    let (mut reader, mut engine) = (Reader::new(source), Engine::new(options));
    while let Some(input) = reader.next_input()? {
        observer.input(&input)?;
        engine.feed(&input);
        lines(&mut engine, observer)?;
    }
    engine.finish();
    lines(&mut engine, observer)?;
    Ok(engine.into_context())
}

fn lines(engine: &mut Engine, observer: &mut impl Observer) -> io::Result<()> {
    while let Some(line) = engine.next_line() {
        observer.line(&line)?;
    }
    Ok(())
}
