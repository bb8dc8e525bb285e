//! `--redact`: a copy of a trace in which addresses and names are pseudonyms, everywhere, so that it can be attached to a public ticket.
//!
//! Stable within the copy: the same address or name is the same pseudonym in records, DNS messages, tables, hosts and the head, so a report of the copy
//! tells the same story. Addresses keep their prefixes ([`addr`]), names their labels ([`names`]). The secret behind them is random and stored
//! nowhere. Times, ids, ports, process ids and what the daemons are called stay.
//!
//! What is dropped: comments, the words of commands in tables, values of command-line arguments, DNS data that is not addresses or
//! names, records of unknown kinds. What is not kept of the meaning: a pattern with a wildcard inside a label or an octet, a
//! netmask with holes.
//!
//! The source is read twice: first for the names to look for in paths and messages, then for the copy.

mod addr;
mod dns;
mod key;
mod names;
mod records;
mod text;

#[cfg(test)]
mod tests;

use std::io::{self, Read};

pub use key::Key;

use self::names::Names;
use self::records::Records;
use self::text::Text;
use super::error::{ReadError, WriteError};
use super::head::{End, Head, Sample, Snapshot, SnapshotMeta, Target};
use super::input::Input;
use super::reader::Reader;
use super::scan::Damage;
use super::sink::BlockSink;
use super::writer::{Writer, WriterOptions};
use crate::model::{Degradation, Lost};

/// Why a copy could not be made.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RedactError {
    /// The source could not be opened.
    #[error("cannot open the trace: {0}")]
    Open(#[source] io::Error),
    /// The source could not be read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// The copy could not be written.
    #[error(transparent)]
    Write(#[from] WriteError),
}

/// What was done.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Redacted {
    /// Records copied.
    pub records: u64,
    /// Records of unknown kinds, left out.
    pub unknown_records: u64,
    /// DNS messages that could not be read, zeroed.
    pub zeroed_messages: u64,
    /// Places where the source was damaged; the copy says how many records are missing there, as a loss.
    pub damages: u64,
}

/// Copies a trace to `out`. `open` is called twice and gives the source from its beginning.
pub fn redact<R: Read, B: BlockSink>(
    mut open: impl FnMut() -> io::Result<R>,
    out: B,
    key: Key,
) -> Result<(B, Redacted), RedactError> {
    let mut text = Text::new(Names::new(key));
    learn(&mut text, open().map_err(RedactError::Open)?)?;
    let mut reader = Reader::new(open().map_err(RedactError::Open)?);
    let mut copy = Copy { text, records: Records::new(key), done: Redacted::default(), bytes: Vec::new() };
    let mut writer = match reader.next_input()? {
        Some(Input::Head(head)) => Writer::new(out, &copy.head(head.into_owned()), WriterOptions::offline())?,
        first => {
            // Its own head is lost.
            let mut writer = Writer::new(out, &copy.head(Head::default()), WriterOptions::offline())?;
            if let Some(input) = first {
                copy.input(&mut writer, input)?;
            }
            writer
        }
    };
    let mut end = End { reason: "the original was cut".to_owned(), ..End::default() };
    while let Some(input) = reader.next_input()? {
        if let Input::End(found) = input {
            end = End { reason: copy.text.scrub(&found.reason), ..found.into_owned() };
        } else {
            copy.input(&mut writer, input)?;
        }
    }
    copy.done.records = writer.records();
    copy.done.unknown_records = copy.records.unknown;
    copy.done.zeroed_messages = copy.records.zeroed_messages;
    let (out, ended) = writer.finish(end);
    ended?;
    Ok((out, copy.done))
}

/// Reads the names to look for in what is kept as text.
fn learn<R: Read>(text: &mut Text, source: R) -> Result<(), ReadError> {
    let mut reader = Reader::new(source);
    while let Some(input) = reader.next_input()? {
        match input {
            Input::Head(head) => text.learn(&head.hostname),
            Input::File(snapshot) => text.learn_from(snapshot.meta.role, &snapshot.bytes),
            _ => {}
        }
    }
    Ok(())
}

struct Copy {
    text: Text,
    records: Records,
    done: Redacted,
    bytes: Vec<u8>,
}

impl Copy {
    fn input<B: BlockSink>(&mut self, writer: &mut Writer<B>, input: Input<'_>) -> Result<(), WriteError> {
        match input {
            Input::Record(record) => {
                self.bytes.clear();
                self.records.map(&self.text, record, &mut self.bytes);
                if self.bytes.is_empty() { Ok(()) } else { writer.record(&self.bytes) }
            }
            Input::Damage(damage) => self.damage(writer, &damage),
            Input::Head(head) => writer.write(&self.head(head.into_owned()).into()),
            Input::Sample(sample) => writer.write(&self.sample(sample.into_owned()).into()),
            Input::File(file) => writer.write(&self.snapshot(file.into_owned()).into()),
            Input::Target(target) => writer.write(&self.target(target.into_owned()).into()),
            Input::Degradation(degradation) => writer.write(&self.degradation(&degradation).into()),
            plain @ (Input::Clock(_) | Input::Loss(_) | Input::Time(_) | Input::End(_)) => {
                writer.write(&plain)
            }
        }
    }

    fn damage<B: BlockSink>(&mut self, writer: &mut Writer<B>, damage: &Damage) -> Result<(), WriteError> {
        self.done.damages += 1;
        match damage.records {
            Some(events) if events > 0 => writer.write(
                &Lost { events, by: vec![("damaged_trace".to_owned(), events)], ..Lost::default() }.into(),
            ),
            _ => Ok(()),
        }
    }

    fn head(&self, head: Head) -> Head {
        let scrub = |text: String| self.text.scrub(&text);
        Head {
            redacted: true,
            hostname: self.text.names.text(&head.hostname),
            targets: head.targets.into_iter().map(|target| self.target(target)).collect(),
            probes: head.probes.into_iter().map(scrub).collect(),
            degradations: head.degradations.into_iter().map(|d| self.degradation(&d)).collect(),
            options: head.options.into_iter().map(|(name, value)| (name, scrub(value))).collect(),
            ..head
        }
    }

    fn target(&self, target: Target) -> Target {
        let scrub = |text: Option<String>| text.map(|text| self.text.scrub(&text));
        let mut listeners = target.listeners;
        for listener in &mut listeners {
            listener.address = self.text.scrub(&listener.address);
        }
        Target {
            cmdline: target.cmdline.iter().enumerate().map(|(i, arg)| self.argument(i, arg)).collect(),
            exe: scrub(target.exe),
            libwrap: scrub(target.libwrap),
            allow_table: scrub(target.allow_table),
            deny_table: scrub(target.deny_table),
            listeners,
            ..target
        }
    }

    /// An argument without its value, unless that is a number: it may be a path named after a host, an address, a password.
    fn argument(&self, index: usize, arg: &str) -> String {
        if index == 0 {
            return self.text.scrub(arg);
        }
        match arg.split_once('=') {
            Some((name, value)) if value.parse::<f64>().is_ok() => {
                format!("{}={value}", self.text.scrub(name))
            }
            Some((name, _)) => format!("{}=x", self.text.scrub(name)),
            None if arg.starts_with('-') => self.text.scrub(arg),
            None => "x".to_owned(),
        }
    }

    fn degradation(&self, degradation: &Degradation) -> Degradation {
        Degradation { message: self.text.scrub(&degradation.message), ..degradation.clone() }
    }

    fn sample(&self, sample: Sample) -> Sample {
        let mut listeners = sample.listeners;
        for listener in &mut listeners {
            listener.address = self.text.scrub(&listener.address);
        }
        Sample { listeners, ..sample }
    }

    fn snapshot(&self, snapshot: Snapshot) -> Snapshot {
        let Snapshot { meta, bytes } = snapshot;
        let bytes = self.text.file(meta.role, &bytes);
        let size = meta.size.map(|_| bytes.len() as u64);
        let meta = SnapshotMeta { path: self.text.scrub(&meta.path), size, ..meta };
        Snapshot { meta, bytes }
    }
}
