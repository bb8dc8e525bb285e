use super::*;

#[test]
fn blocks_are_as_long_as_they_say() {
    let mut bytes = Vec::new();
    blocks::begin("about", &mut bytes).unwrap();
    for len in 0..5 {
        blocks::packet(1 << 40, &vec![7; len], 9, &"c".repeat(len), &mut bytes).unwrap();
    }
    let (mut at, mut kinds) = (0, Vec::new());
    while at < bytes.len() {
        let word = |at: usize| u32::from_le_bytes(bytes[at..at + 4].try_into().unwrap());
        let len = word(at + 4) as usize;
        assert_eq!((len % 4, word(at + len - 4) as usize), (0, len));
        kinds.push(word(at));
        at += len;
    }
    assert_eq!(kinds, [0x0A0D_0D0A, 1, 6, 6, 6, 6, 6]);
}

#[test]
fn a_text_that_is_too_long_is_cut_between_two_characters() {
    let mut bytes = Vec::new();
    blocks::packet(0, &[], 0, &format!("x{}", "é".repeat(4_000)), &mut bytes).unwrap();
    // Type, length, interface, time, two lengths; then the option's code and length.
    let [_, _, option @ ..] = &bytes[28..] else { panic!("{} bytes", bytes.len()) };
    let len = usize::from(u16::from_le_bytes(option[..2].try_into().unwrap()));
    assert_eq!(std::str::from_utf8(&option[2..2 + len]).map(str::len), Ok(4_095));
}

#[test]
fn a_cut_message_keeps_its_length() {
    for server in ["10.0.0.53:53", "[2001:db8::53]:53"] {
        let server: SocketAddr = server.parse().unwrap();
        let (packet, len) = headers::packet(server, 40_000, Way::FromServer, &[0; 512], 900);
        let ip = if server.is_ipv4() { 20 } else { 40 };
        assert_eq!((packet.len(), len), (ip + 8 + 512, ip + 8 + 900));
        assert_eq!(packet[ip..ip + 6], [0, 53, 0x9c, 0x40, 3, 0x8c]);
    }
}
