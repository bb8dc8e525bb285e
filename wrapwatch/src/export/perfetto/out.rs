//! Packets, written one after another: each stands in the file as one element of `perfetto.protos.Trace`.

use std::io::{self, Write};

use prost::Message as _;

use super::messages::{
    BOOTTIME, CHRONOLOGICAL, Clock, ClockSnapshot, CounterDescriptor, DebugAnnotation, MERGE_NONE, MONOTONIC,
    ProcessDescriptor, REALTIME, SEQ_INCREMENTAL_STATE_CLEARED, Trace, TracePacket, TracePacketDefaults,
    TrackDescriptor, TrackEvent, Type,
};
use crate::model::{ClockPair, KtimeNs};

/// There is one writer.
const SEQUENCE: u32 = 1;

/// A track.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Track(u64);

/// What an event says besides its time.
#[derive(Debug, Default)]
pub(super) struct Event {
    pub(super) name: String,
    pub(super) notes: Vec<(&'static str, String)>,
    /// Arrows that begin here.
    pub(super) to: Vec<u64>,
    /// Arrows that end here.
    pub(super) from: Vec<u64>,
}

impl From<String> for Event {
    fn from(name: String) -> Self {
        Self { name, ..Self::default() }
    }
}

/// Writes packets to `W`.
#[derive(Debug)]
pub(super) struct Out<W> {
    out: W,
    tracks: u64,
}

impl<W: Write> Out<W> {
    pub(super) const fn new(out: W) -> Self {
        Self { out, tracks: 0 }
    }

    /// What was written to.
    pub(super) fn into_inner(self) -> W {
        self.out
    }

    fn packet(&mut self, packet: TracePacket) -> io::Result<()> {
        let packet = TracePacket { trusted_packet_sequence_id: SEQUENCE, ..packet };
        self.out.write_all(&Trace { packet: vec![packet] }.encode_to_vec())
    }

    /// Times are the monotonic clock's; this says what they are on the wall. Without suspends, boot time is the same.
    pub(super) fn clock(&mut self, pair: ClockPair) -> io::Result<()> {
        let clock = |id, timestamp| Clock { clock_id: Some(id), timestamp: Some(timestamp) };
        let wall = u64::try_from(pair.wall_ns).unwrap_or(0);
        let clocks =
            vec![clock(MONOTONIC, pair.ktime.0), clock(BOOTTIME, pair.ktime.0), clock(REALTIME, wall)];
        self.packet(TracePacket {
            clock_snapshot: Some(ClockSnapshot { clocks }),
            sequence_flags: Some(SEQ_INCREMENTAL_STATE_CLEARED),
            trace_packet_defaults: Some(TracePacketDefaults { timestamp_clock_id: Some(MONOTONIC) }),
            ..TracePacket::default()
        })
    }

    fn track(&mut self, descriptor: TrackDescriptor) -> io::Result<Track> {
        self.tracks += 1;
        let descriptor = TrackDescriptor {
            uuid: Some(self.tracks),
            child_ordering: Some(CHRONOLOGICAL),
            sibling_merge_behavior: Some(MERGE_NONE),
            ..descriptor
        };
        self.packet(TracePacket { track_descriptor: Some(descriptor), ..TracePacket::default() })?;
        Ok(Track(self.tracks))
    }

    /// A process' track.
    pub(super) fn process(&mut self, pid: u32, name: &str) -> io::Result<Track> {
        let process = ProcessDescriptor { pid: i32::try_from(pid).ok(), process_name: Some(name.to_owned()) };
        self.track(TrackDescriptor { process: Some(process), ..TrackDescriptor::default() })
    }

    /// A track under another one.
    pub(super) fn child(&mut self, parent: Track, name: String) -> io::Result<Track> {
        self.track(TrackDescriptor {
            parent_uuid: Some(parent.0),
            name: Some(name),
            ..TrackDescriptor::default()
        })
    }

    /// A counter's track; under a process, where there is one.
    pub(super) fn counter(&mut self, parent: Option<Track>, name: String, unit: &str) -> io::Result<Track> {
        self.track(TrackDescriptor {
            parent_uuid: parent.map(|parent| parent.0),
            name: Some(name),
            counter: Some(CounterDescriptor { unit_name: Some(unit.to_owned()) }),
            ..TrackDescriptor::default()
        })
    }

    /// Packets as another one of these has written them, without new tracks.
    pub(super) fn written(&mut self, packets: &[u8]) -> io::Result<()> {
        self.out.write_all(packets)
    }

    fn event(&mut self, at: KtimeNs, track: Track, kind: Type, event: TrackEvent) -> io::Result<()> {
        let event = TrackEvent { r#type: Some(kind as i32), track_uuid: Some(track.0), ..event };
        self.packet(TracePacket { timestamp: Some(at.0), track_event: Some(event), ..TracePacket::default() })
    }

    pub(super) fn begin(&mut self, at: KtimeNs, track: Track, event: Event) -> io::Result<()> {
        self.event(at, track, Type::SliceBegin, said(event))
    }

    pub(super) fn end(&mut self, at: KtimeNs, track: Track) -> io::Result<()> {
        self.event(at, track, Type::SliceEnd, TrackEvent::default())
    }

    pub(super) fn instant(&mut self, at: KtimeNs, track: Track, event: Event) -> io::Result<()> {
        self.event(at, track, Type::Instant, said(event))
    }

    pub(super) fn count(&mut self, at: KtimeNs, track: Track, value: f64) -> io::Result<()> {
        let event = TrackEvent { double_counter_value: Some(value), ..TrackEvent::default() };
        self.event(at, track, Type::Counter, event)
    }

    pub(super) fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}

fn said(event: Event) -> TrackEvent {
    let note = |(name, value): (&'static str, String)| DebugAnnotation {
        name: Some(name.to_owned()),
        string_value: Some(value),
        ..DebugAnnotation::default()
    };
    TrackEvent {
        name: Some(event.name),
        debug_annotations: event.notes.into_iter().map(note).collect(),
        flow_ids: event.to,
        terminating_flow_ids: event.from,
        ..TrackEvent::default()
    }
}
