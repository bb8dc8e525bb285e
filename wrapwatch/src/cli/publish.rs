//! `wrapwatch publish`: what a growing trace shows, for those who watch by machine.

use std::{
    cell::RefCell,
    io::IsTerminal as _,
    net::SocketAddr,
    path::PathBuf,
    process::ExitCode,
    rc::Rc,
    str::FromStr,
    time::{Duration, Instant},
};

use anyhow::Context as _;
use tokio::signal::unix::{Signal, SignalKind, signal};

use super::{
    common::duration,
    output,
    progress::Reading,
    publish_otlp::{OtlpArgs, Sending},
    wrong_use,
};
use crate::{
    model::error_line,
    publish::{Form, Listening, Polled, PublishError, Publisher, write_textfile},
};

/// How often it is looked whether a file has grown.
const LOOK_EVERY: Duration = Duration::from_millis(250);
/// Inputs taken between two looks at everything else.
const AT_ONCE: usize = 4096;

/// Arguments of `publish`.
#[derive(Debug, clap::Args)]
#[command(group = clap::ArgGroup::new("target").multiple(true))]
pub struct Args {
    /// A trace (its rotated files are read too), the ring of a flight recorder (FILE.wwt.ring), or a folder with such rings
    #[arg(value_name = "TRACE|DIR")]
    path: PathBuf,
    /// Keep following the trace, over rotation and restarts of the recorder
    #[arg(long, requires = "target")]
    follow: bool,
    /// Write the metrics to this file, for the node exporter's textfile collector; it is replaced in one step [default: print them once]
    #[arg(long, value_name = "FILE.prom", group = "target", conflicts_with = "listen")]
    textfile: Option<PathBuf>,
    /// Serve http://ADDRESS:PORT/metrics for Prometheus; `systemd` uses the socket that systemd passes
    #[arg(long, value_name = "ADDRESS:PORT", group = "target", requires = "follow")]
    listen: Option<ListenAt>,
    /// Allow an address that other machines can reach: they can then read the metrics
    #[arg(long, requires = "listen")]
    listen_anywhere: bool,
    #[command(flatten)]
    otlp: OtlpArgs,
    /// How often to write the text file and to send metrics
    #[arg(long, value_name = "TIME", value_parser = duration, default_value = "15s")]
    every: Duration,
    /// Save the reading position in this file: after a restart wrapwatch counts nothing twice, sends what it had not sent, and reports what it missed
    #[arg(long, value_name = "FILE", requires = "follow")]
    position: Option<PathBuf>,
    /// Print only errors on stderr
    #[arg(short, long)]
    quiet: bool,
}

/// Where to listen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum ListenAt {
    /// There.
    Address(SocketAddr),
    /// On the socket that systemd passes on.
    Systemd,
}

impl FromStr for ListenAt {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> anyhow::Result<Self> {
        if text == "systemd" {
            return Ok(Self::Systemd);
        }
        let address = text.parse().ok();
        address.map(Self::Address).with_context(|| {
            format!("{text:?} is no address and port; write 127.0.0.1:9817, [::1]:9817 or systemd")
        })
    }
}

/// Runs it.
pub fn run(args: &Args) -> anyhow::Result<ExitCode> {
    if args.textfile.as_deref().is_some_and(|path| path.extension().is_none_or(|is| is != "prom")) {
        return Err(wrong_use("the textfile collector reads files that end in .prom only"));
    }
    if let Some(ListenAt::Address(address)) = args.listen
        && !address.ip().is_loopback()
        && !args.listen_anywhere
    {
        return Err(wrong_use(format!(
            "other machines can reach {address}; add --listen-anywhere if you want that, else use 127.0.0.1:{}",
            address.port()
        )));
    }
    let publisher = Publisher::new(&args.path, args.follow, args.position.clone())?;
    if !args.follow {
        return once(args, publisher);
    }
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("cannot start the event loop")?;
    let following = Following::new(args, publisher);
    runtime.block_on(tokio::task::LocalSet::new().run_until(following.run()))
}

/// Opens the socket.
fn listen(at: ListenAt) -> anyhow::Result<Listening> {
    match at {
        ListenAt::Address(address) => {
            Listening::at(address).with_context(|| format!("cannot listen at {address}"))
        }
        ListenAt::Systemd => Listening::passed_on()
            .context("cannot use the socket that systemd passed on")?
            .context("systemd passed no socket on: wrapwatch-publish.socket starts this"),
    }
}

/// All there is, once.
fn once(args: &Args, mut publisher: Publisher) -> anyhow::Result<ExitCode> {
    let quiet = args.quiet || args.textfile.is_none() && std::io::stdout().is_terminal();
    let bar = reading(&publisher, quiet);
    loop {
        let polled = publisher.poll(AT_ONCE)?;
        if !shown(&bar, &publisher, polled) {
            break;
        }
    }
    tell(args, &mut publisher, None);
    let metrics = publisher.metrics();
    match &args.textfile {
        Some(path) => {
            write_textfile(path, metrics).with_context(|| format!("cannot write {}", path.display()))?;
        }
        None => output::print(&metrics.prometheus_text())?,
    }
    Ok(ExitCode::SUCCESS)
}

/// How far what is there is read; of what is not known how much there is, nothing.
fn reading(publisher: &Publisher, quiet: bool) -> Reading {
    let (_, there) = publisher.bytes();
    Reading::new(there, quiet || there == 0)
}

/// Shows it, and takes it away where there is nothing more for now. Whether it is still there.
fn shown(bar: &Reading, publisher: &Publisher, polled: Polled) -> bool {
    match polled {
        Polled::More => bar.at(publisher.bytes().0),
        Polled::Idle => bar.clear(),
    }
    polled == Polled::More
}

/// What was missed, above what is shown.
fn tell(args: &Args, publisher: &mut Publisher, bar: Option<&Reading>) {
    for note in publisher.take_notes() {
        match bar {
            _ if args.quiet => {}
            Some(bar) => bar.say(&note),
            None => output::note(&note),
        }
    }
}

/// A trace that is followed until a signal comes.
struct Following<'a> {
    args: &'a Args,
    publisher: Rc<RefCell<Publisher>>,
    /// Set where a scrape failed for good: the position cannot be kept.
    failed: Rc<RefCell<Option<PublishError>>>,
    /// When the text file and the metrics are due.
    due: Instant,
    /// Why it could not be written last.
    failing: Option<String>,
}

impl<'a> Following<'a> {
    fn new(args: &'a Args, publisher: Publisher) -> Self {
        let publisher = Rc::new(RefCell::new(publisher));
        Self { args, publisher, failed: Rc::default(), due: Instant::now(), failing: None }
    }

    async fn run(mut self) -> anyhow::Result<ExitCode> {
        let mut signals = [SignalKind::interrupt(), SignalKind::terminate()]
            .map(signal)
            .into_iter()
            .collect::<Result<Vec<_>, _>>()
            .context("cannot wait for signals")?;
        if let Some(at) = self.args.listen {
            let (publisher, failed) = (self.publisher.clone(), self.failed.clone());
            let text = move |form| scraped(form, &publisher, &failed);
            let listening = listen(at)?;
            if let Some(address) = listening.address().filter(|_| !self.args.quiet) {
                output::note(&format!("answering http://{address}/metrics"));
            }
            tokio::task::spawn_local(listening.serve(text));
        }
        let sending = self.args.otlp.begin(&self.publisher, self.args.quiet)?;
        let sending = sending.as_ref();
        // Until it has caught up with what is there.
        let mut bar = Some(reading(&self.publisher.borrow(), self.args.quiet));
        loop {
            let polled = self.publisher.borrow_mut().poll(AT_ONCE)?;
            bar = bar.filter(|bar| shown(bar, &self.publisher.borrow(), polled));
            tell(self.args, &mut self.publisher.borrow_mut(), bar.as_ref());
            if let Some(sending) = sending {
                sending.count();
            }
            if Instant::now() >= self.due {
                self.due = Instant::now() + self.args.every;
                self.write()?;
                if let Some(sending) = sending {
                    sending.send_counted();
                }
                self.sent_so_far(sending)?;
            }
            let pause = if polled == Polled::More { Duration::ZERO } else { LOOK_EVERY };
            let asked_to_end = tokio::time::timeout(pause, any(&mut signals)).await.is_ok();
            if let Some(error) = self.failed.take() {
                return Err(error.into());
            }
            if asked_to_end {
                // What was read since is shown too.
                self.write()?;
                if let Some(sending) = sending {
                    sending.send_counted();
                    sending.send_rest(self.args.position.is_some()).await;
                    sending.count();
                }
                self.sent_so_far(sending)?;
                self.write()?;
                return Ok(ExitCode::SUCCESS);
            }
        }
    }

    /// Keeps how far it is sent. Where nothing else is published, that is how far it is.
    fn sent_so_far(&self, sending: Option<&Sending>) -> anyhow::Result<()> {
        let alone = self.args.textfile.is_none() && self.args.listen.is_none();
        let mut publisher = self.publisher.borrow_mut();
        if alone && publisher.is_ready() {
            publisher.published()?;
        } else if sending.is_some() {
            publisher.sent()?;
        }
        Ok(())
    }

    /// Writes the text file. Where it cannot be written, the old one stays, and it is tried again: stderr says so once.
    fn write(&mut self) -> anyhow::Result<()> {
        let Some(path) = &self.args.textfile else { return Ok(()) };
        let mut publisher = self.publisher.borrow_mut();
        if !publisher.is_ready() {
            return Ok(());
        }
        match write_textfile(path, publisher.metrics()) {
            Ok(()) => {
                if self.failing.take().is_some() && !self.args.quiet {
                    output::note(&format!("{}: written again", path.display()));
                }
                Ok(publisher.published()?)
            }
            Err(error) => {
                let why = format!("cannot write {}: {}", path.display(), error_line(&error));
                if self.failing.as_ref() != Some(&why) {
                    output::note(&format!("{why}; the old one stays"));
                    self.failing = Some(why);
                }
                Ok(())
            }
        }
    }
}

/// What a scrape is answered; none while what was published before is read again.
fn scraped(
    form: Form,
    publisher: &RefCell<Publisher>,
    failed: &RefCell<Option<PublishError>>,
) -> Option<Vec<u8>> {
    let mut publisher = publisher.borrow_mut();
    let metrics = publisher.is_ready().then(|| publisher.metrics())?;
    let text = match form {
        Form::Prometheus => metrics.prometheus_text().into_bytes(),
        Form::OpenMetrics => metrics.openmetrics_text().into_bytes(),
        Form::Protobuf => metrics.prometheus_protobuf(),
    };
    if let Err(error) = publisher.published() {
        failed.replace(Some(error));
    }
    Some(text)
}

/// Waits for any of them.
async fn any(signals: &mut [Signal]) {
    let [one, other] = signals else { return std::future::pending().await };
    tokio::select! {
        _ = one.recv() => {}
        _ = other.recv() => {}
    }
}
