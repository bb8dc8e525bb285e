//! The three blocks that are written (draft-ietf-opsawg-pcapng): section header, interface, packet. Little-endian, padded to 32 bits.

use std::io::{self, Write};

const SECTION_HEADER: u32 = 0x0A0D_0D0A;
const BYTE_ORDER_MAGIC: u32 = 0x1A2B_3C4D;
const INTERFACE: u32 = 1;
const PACKET: u32 = 6;

const OPT_COMMENT: u16 = 1;
const SHB_USERAPPL: u16 = 4;
const IF_NAME: u16 = 2;
const IF_TSRESOL: u16 = 9;
/// Nanoseconds.
const TSRESOL_NS: u8 = 9;
/// Packets begin with an IPv4 or IPv6 header.
const LINKTYPE_RAW: u16 = 101;
/// Most bytes of a text: an option's length is 16 bits, and nobody reads more.
const TEXT_MAX: usize = 4096;

/// The body of a block while it is made.
#[derive(Debug, Default)]
struct Body(Vec<u8>);

impl Body {
    /// A text; one that is too long is cut between two characters.
    fn text(&mut self, code: u16, text: &str) {
        self.option(code, &text.as_bytes()[..text.floor_char_boundary(TEXT_MAX)]);
    }

    fn option(&mut self, code: u16, value: &[u8]) {
        self.0.extend(code.to_le_bytes());
        self.0.extend(u16::try_from(value.len()).unwrap_or(u16::MAX).to_le_bytes());
        self.padded(value);
    }

    fn padded(&mut self, bytes: &[u8]) {
        self.0.extend(bytes);
        self.0.resize(self.0.len().next_multiple_of(4), 0);
    }

    /// `opt_endofopt` and the block around it.
    fn write(mut self, kind: u32, out: &mut impl Write) -> io::Result<()> {
        self.0.extend([0; 4]);
        let len = u32::try_from(self.0.len() + 12).map_err(io::Error::other)?.to_le_bytes();
        out.write_all(&kind.to_le_bytes())?;
        out.write_all(&len)?;
        out.write_all(&self.0)?;
        out.write_all(&len)
    }
}

/// What a file begins with, and its one interface.
pub(super) fn begin(comment: &str, out: &mut impl Write) -> io::Result<()> {
    let mut section = Body::default();
    section.0.extend(BYTE_ORDER_MAGIC.to_le_bytes());
    // Version 1.0; the section's length is not known.
    section.0.extend([1, 0, 0, 0]);
    section.0.extend((-1_i64).to_le_bytes());
    section.text(OPT_COMMENT, comment);
    section.text(SHB_USERAPPL, concat!("wrapwatch ", env!("CARGO_PKG_VERSION")));
    section.write(SECTION_HEADER, out)?;
    let mut interface = Body::default();
    interface.0.extend(LINKTYPE_RAW.to_le_bytes());
    // Reserved; packets of any length.
    interface.0.extend([0; 6]);
    interface.text(IF_NAME, "wrapwatch");
    interface.option(IF_TSRESOL, &[TSRESOL_NS]);
    interface.write(INTERFACE, out)
}

/// A packet of which `data` was seen, and which had `original_len` bytes.
pub(super) fn packet(
    wall_ns: u64,
    data: &[u8],
    original_len: usize,
    comment: &str,
    out: &mut impl Write,
) -> io::Result<()> {
    let mut packet = Body::default();
    packet.0.extend(0_u32.to_le_bytes());
    let [low @ .., _, _, _, _] = wall_ns.to_le_bytes();
    let [_, _, _, _, high @ ..] = wall_ns.to_le_bytes();
    packet.0.extend(high);
    packet.0.extend(low);
    for len in [data.len(), original_len.max(data.len())] {
        packet.0.extend(u32::try_from(len).map_err(io::Error::other)?.to_le_bytes());
    }
    packet.padded(data);
    packet.text(OPT_COMMENT, comment);
    packet.write(PACKET, out)
}
