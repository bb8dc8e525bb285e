//! A table as Parquet: flat columns, a page index and statistics for each chunk, ZSTD. Rows are held until there are enough for a row group, in bounded memory.
//!
//! The file says which table and which [`SCHEMA_VERSION`] it has, as key and value.

use std::io::{self, Write};
use std::sync::Arc;

use parquet::basic::{Compression, ZstdLevel};
use parquet::data_type::{BoolType, ByteArray, ByteArrayType, Int64Type};
use parquet::errors::ParquetError;
use parquet::file::metadata::KeyValue;
use parquet::file::properties::WriterProperties;
use parquet::file::writer::{SerializedColumnWriter, SerializedFileWriter};
use parquet::schema::parser::parse_message_type;

use super::{Cell, Column, Kind, SCHEMA_VERSION, Table, WriteRows};

/// Rows of a row group: DuckDB reads one as a whole.
const ROWS_MAX: usize = 122_880;
/// Bytes held of a table before they are written, about.
const HELD_MAX_BYTES: usize = 24 << 20;

/// Values of a column that are not written yet; nulls are in `defined` only.
#[derive(Debug)]
struct Held {
    values: Values,
    defined: Vec<i16>,
}

#[derive(Debug)]
enum Values {
    Integers(Vec<i64>),
    Booleans(Vec<bool>),
    Texts(Vec<ByteArray>),
}

impl Held {
    const fn new(kind: Kind) -> Self {
        let values = match kind {
            Kind::Integer | Kind::Timestamp => Values::Integers(Vec::new()),
            Kind::Boolean => Values::Booleans(Vec::new()),
            Kind::Text => Values::Texts(Vec::new()),
        };
        Self { values, defined: Vec::new() }
    }

    /// Takes a cell, and says what it takes in memory, about.
    fn push(&mut self, cell: &Cell<'_>) -> io::Result<usize> {
        let bytes = match (&mut self.values, cell) {
            (_, Cell::Null) => {
                self.defined.push(0);
                return Ok(size_of::<i16>());
            }
            (Values::Integers(held), Cell::Integer(number)) => {
                held.push(*number);
                size_of::<i64>()
            }
            (Values::Integers(held), Cell::Timestamp(at)) => {
                held.push(i64::try_from(at.0.as_nanosecond()).map_err(|_| beyond())?);
                size_of::<i64>()
            }
            (Values::Booleans(held), Cell::Boolean(is)) => {
                held.push(*is);
                1
            }
            (Values::Texts(held), Cell::Text(text)) => {
                held.push(ByteArray::from(text.as_bytes().to_vec()));
                size_of::<ByteArray>() + text.len()
            }
            (_, cell) => {
                return Err(io::Error::other(format!("{cell:?} is of another kind than its column")));
            }
        };
        self.defined.push(1);
        Ok(bytes + size_of::<i16>())
    }

    fn write(&mut self, column: &mut SerializedColumnWriter<'_>) -> Result<(), ParquetError> {
        let defined = Some(self.defined.as_slice());
        match &mut self.values {
            Values::Integers(held) => {
                column.typed::<Int64Type>().write_batch(held, defined, None)?;
                held.clear();
            }
            Values::Booleans(held) => {
                column.typed::<BoolType>().write_batch(held, defined, None)?;
                held.clear();
            }
            Values::Texts(held) => {
                column.typed::<ByteArrayType>().write_batch(held, defined, None)?;
                held.clear();
            }
        }
        self.defined.clear();
        Ok(())
    }
}

fn beyond() -> io::Error {
    io::Error::other("a time is before 1677 or after 2262, which Parquet's nanoseconds do not reach")
}

/// Writes a table, see the [module](self).
pub struct Parquet<W: Write + Send> {
    file: SerializedFileWriter<W>,
    held: Vec<Held>,
    rows: usize,
    bytes: usize,
}

impl<W: Write + Send> Parquet<W> {
    /// To `out`, which had better be buffered.
    pub fn new(table: Table, out: W) -> io::Result<Self> {
        let columns = table.columns();
        let schema = parse_message_type(&message_type(table.name(), columns)).map_err(io::Error::other)?;
        let about =
            [("wrapwatch.table", table.name().to_owned()), ("wrapwatch.schema", SCHEMA_VERSION.to_string())];
        let about = about.map(|(key, value)| KeyValue::new(key.to_owned(), value));
        let properties = WriterProperties::builder()
            .set_compression(Compression::ZSTD(ZstdLevel::default()))
            .set_created_by(format!("wrapwatch {}", env!("CARGO_PKG_VERSION")))
            .set_key_value_metadata(Some(about.into()))
            .build();
        let file = SerializedFileWriter::new(out, Arc::new(schema), Arc::new(properties));
        let held = columns.iter().map(|column| Held::new(column.kind)).collect();
        Ok(Self { file: file.map_err(io::Error::other)?, held, rows: 0, bytes: 0 })
    }

    fn row_group(&mut self) -> Result<(), ParquetError> {
        let mut group = self.file.next_row_group()?;
        for held in &mut self.held {
            let Some(mut column) = group.next_column()? else { break };
            held.write(&mut column)?;
            column.close()?;
        }
        group.close()?;
        (self.rows, self.bytes) = (0, 0);
        Ok(())
    }
}

/// A table's columns in Parquet's own words.
fn message_type(name: &str, columns: &[Column]) -> String {
    let mut text = format!("message {name} {{\n");
    for column in columns {
        // Every column may be null as far as the file says: one that becomes so needs no new schema.
        let kind = match column.kind {
            Kind::Integer => ("INT64", ""),
            Kind::Timestamp => ("INT64", " (TIMESTAMP(NANOS,true))"),
            Kind::Boolean => ("BOOLEAN", ""),
            Kind::Text => ("BYTE_ARRAY", " (STRING)"),
        };
        text.push_str(&format!("  OPTIONAL {} {}{};\n", kind.0, column.name, kind.1));
    }
    text.push('}');
    text
}

impl<W: Write + Send> WriteRows for Parquet<W> {
    fn row(&mut self, cells: &[Cell<'_>]) -> io::Result<()> {
        for (held, cell) in self.held.iter_mut().zip(cells) {
            self.bytes += held.push(cell)?;
        }
        self.rows += 1;
        if self.rows >= ROWS_MAX || self.bytes >= HELD_MAX_BYTES {
            self.row_group().map_err(io::Error::other)?;
        }
        Ok(())
    }

    fn finish(mut self: Box<Self>) -> io::Result<()> {
        if self.rows > 0 {
            self.row_group().map_err(io::Error::other)?;
        }
        let mut out = self.file.into_inner().map_err(io::Error::other)?;
        out.flush()
    }
}
