//! temp
use wrapwatch::{probe, host, decode};
#[tokio::main(flavor="current_thread")]
async fn main() -> anyhow::Result<()> {
    env_logger::init();
    let t = std::time::Instant::now();
    let mut p = probe::Probe::attach(&probe::Options{kernel_log: std::env::var("KLOG").is_ok(), ..Default::default()})?;
    eprintln!("attached in {:?}, {} hooks {:?}", t.elapsed(), p.hooks().len(), p.degradations());
    let mut ring = p.take_ring()?;
    for a in std::env::args().skip(1) {
        let pid: u32 = a.parse()?;
        let info = host::process::ProcessInfo::read(pid)?;
        let mut d = host::sockdiag::SockDiag::open(pid)?;
        let l = host::listeners::read(pid, &mut d)?;
        let lw = host::libwrap::find(pid)?;
        eprintln!("{info:?}\n{l:?}\n{lw:?}");
        let ports: Vec<u16> = l.iter().map(|l| l.local.port()).collect();
        if let Some(lw) = &lw { p.attach_uprobes(pid, lw)?; }
        p.add_target(&info, lw.as_ref(), &ports)?;
    }
    let end = tokio::time::Instant::now() + std::time::Duration::from_secs(std::env::var("SECS").ok().and_then(|s| s.parse().ok()).unwrap_or(5));
    let mut t0 = 0;
    loop {
        tokio::select! { r = ring.wait() => r?, _ = tokio::time::sleep_until(end) => break }
        while ring.drain(|b| match decode::decode(b) {
            Ok(e) => { let h = e.header(); if t0 == 0 { t0 = h.ts_ns; } println!("{:>10} c{} {}:{} #{} {}", (h.ts_ns as i64 - t0 as i64)/1000, h.conn, h.tgid, h.tid, h.seq, show(&e)); }
            Err(e) => println!("BAD {e} {b:?}"),
        }) {}
        p.flush_kernel_log();
    }
    println!("{:?}", p.counts()?);
    let t = std::time::Instant::now();
    drop(ring); drop(p);
    eprintln!("detached in {:?}", t.elapsed());
    Ok(())
}
fn show(e: &decode::Event<'_>) -> String {
    use decode::Event::*;
    match e {
        Open(r, p) => format!("Open {} ret {} {}us", String::from_utf8_lossy(p), r.ret, (r.hdr.ts_ns-r.enter_ns)/1000),
        Connect(r, p) => format!("Connect fd {} class {} type {} port {} ip {:?} ret {} {:?}", r.fd, r.class, r.sock_type, r.addr.port, &r.addr.ip[12..], r.ret, String::from_utf8_lossy(p)),
        Send(r, p) => format!("Send fd {} len {} id {:02x}{:02x}", r.fd, p.len(), p[0], p[1]),
        Recv(r, p) => format!("Recv fd {} len {} id {:02x}{:02x} from port {}", r.fd, p.len(), p[0], p[1], r.addr.port),
        Rule(r, p) => format!("Rule {}:{}", String::from_utf8_lossy(p), r.line),
        Accept(r) => format!("Accept fd {} listener {} peer {:?}:{}", r.fd, r.listener, &r.peer.ip[12..], r.peer.port),
        SockState(r) => format!("SockState {}->{} {}:{}", r.old, r.new, r.local.port, r.peer.port),
        other => { let s = format!("{other:?}"); let i = s.find("hdr:").unwrap_or(0); let j = s.find("}, ").unwrap_or(0); format!("{} {}", &s[..i], &s[j..]) }
    }
}
