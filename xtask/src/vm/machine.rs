//! One virtual machine: started, watched, stopped when its time is over.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result};

use super::{kernel::Ready, pins::Architecture, records::Boot};
use crate::process::display;

/// How often a machine is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(100);
/// How long a guest that only has to come up may take, where the processor's virtualisation is tried.
const TRIAL: Duration = Duration::from_secs(20);

/// What runs the guest's instructions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Accelerator {
    /// The processor.
    Kvm,
    /// qemu's translator.
    Tcg,
    /// The same with one processor, whose clock goes on by a nanosecond with each instruction and jumps while nothing is to be done.
    Counting,
}

/// Whatever differs from boot to boot does not when instructions are counted: random numbers, the date. The kernel does what it does on this processor, as
/// it does where many databases run.
const COUNTING: [&str; 10] = [
    "-smp",
    "1",
    "-icount",
    "shift=0,sleep=off",
    "-seed",
    "1",
    "-rtc",
    "base=2026-01-01,clock=vm",
    "-cpu",
    "EPYC-Milan",
];
/// And it trusts its clock from the beginning.
const COUNTING_WORDS: &str = "tsc=reliable";

impl Accelerator {
    /// The processor's virtualisation, where it is there and a guest really comes up with it.
    pub(crate) fn find(kernel: &Ready, initramfs: &Path, dir: &Path) -> Result<Self> {
        // Another processor's instructions are always translated.
        if kernel.architecture != Architecture::default() || !Path::new("/dev/kvm").exists() {
            return Ok(Self::Tcg);
        }
        // Tried once for each start of this machine.
        let boot_id = fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
        let known = dir.join("accelerator");
        match fs::read_to_string(&known).unwrap_or_default().split_once('\n') {
            Some((name, tried)) if tried == boot_id => {
                return Ok(if name == "kvm" { Self::Kvm } else { Self::Tcg });
            }
            _ => {}
        }
        let plan =
            Plan { kernel, initramfs, words: "wrapwatch.only=nothing", memory_mib: 512, limit: TRIAL, dir };
        let boot = plan.boot(Self::Kvm)?;
        let up = boot.records.contains("\"record\":\"verdict\"");
        if !up {
            eprintln!("/dev/kvm is there, but a guest does not come up with it: emulating");
        }
        fs::write(&known, format!("{}\n{boot_id}", if up { "kvm" } else { "tcg" }))
            .context("cannot keep it")?;
        Ok(if up { Self::Kvm } else { Self::Tcg })
    }
}

/// How to boot.
pub(crate) struct Plan<'a> {
    /// What.
    pub(crate) kernel: &'a Ready,
    /// With what.
    pub(crate) initramfs: &'a Path,
    /// More words for the kernel's command line.
    pub(crate) words: &'a str,
    /// Memory.
    pub(crate) memory_mib: u32,
    /// A guest that has not ended by then is stopped.
    pub(crate) limit: Duration,
    /// Where console and records are left, in files named after the kernel.
    pub(crate) dir: &'a Path,
}

impl Plan<'_> {
    /// Boots, and waits for the end.
    pub(crate) fn boot(&self, accelerator: Accelerator) -> Result<Boot> {
        let (console, records) = (self.file("console"), self.file("records"));
        for file in [&console, &records] {
            fs::write(file, "").with_context(|| format!("cannot write {}", file.display()))?;
        }
        let mut command = self.qemu(accelerator);
        let (to_console, to_records) =
            (format!("file:{}", console.display()), format!("file,path={}", records.display()));
        self.serial_ports(&mut command, &to_console, &to_records);
        let said = self.file("qemu");
        let log = fs::File::create(&said).context("cannot write qemu's log")?;
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log);
        let child = command.spawn().with_context(|| format!("cannot run {}", display(&command)))?;
        let stopped = self.wait(Guard(child), &said)?;
        let text = |file: &Path| fs::read(file).map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
        Ok(Boot { console: text(&console)?, records: text(&records)?, stopped })
    }

    /// A shell on this terminal.
    pub(crate) fn shell(&self, accelerator: Accelerator) -> Result<()> {
        let mut command = self.qemu(accelerator);
        self.serial_ports(&mut command, "mon:stdio", "null");
        crate::process::run(&mut command)
    }

    /// Where the console and the records go, as qemu's `-serial` and `-chardev` want it.
    fn serial_ports(&self, command: &mut Command, console: &str, records: &str) {
        command.args(["-serial", console, "-chardev", &format!("{records},id=records")]);
        match self.kernel.architecture {
            Architecture::Amd64 => command.args(["-serial", "chardev:records"]),
            // qemu's ARM machine has one of its own, for the kernel; the other one is a card.
            Architecture::Arm64 => command.args(["-device", "pci-serial,chardev=records"]),
        };
    }

    fn file(&self, kind: &str) -> PathBuf {
        self.dir.join(format!("{}.{kind}", self.kernel.series))
    }

    fn qemu(&self, accelerator: Accelerator) -> Command {
        // It ends with us, however we end.
        let mut command = Command::new("setpriv");
        command.args(["--pdeathsig", "KILL"]);
        let console = match self.kernel.architecture {
            Architecture::Amd64 => {
                command.arg("qemu-system-x86_64");
                "ttyS0"
            }
            Architecture::Arm64 => {
                command.args(["qemu-system-aarch64", "-machine", "virt"]);
                "ttyAMA0"
            }
        };
        let (accel, processor) = match accelerator {
            Accelerator::Kvm => ("kvm", ["-smp", "2", "-cpu", "host"].as_slice()),
            Accelerator::Counting => ("tcg,thread=single", COUNTING.as_slice()),
            // "max" would have an emulated guest sign every return address.
            Accelerator::Tcg if self.kernel.architecture == Architecture::Arm64 => {
                ("tcg,thread=single", ["-smp", "2", "-cpu", "cortex-a72"].as_slice())
            }
            // One thread for both processors of a guest: with two, a kernel that patches itself (which attaching makes it do) now and then met a
            // breakpoint that was no longer there ("Oops: int3", 6.12, one boot of five). There is another guest for the other core.
            Accelerator::Tcg => ("tcg,thread=single", ["-smp", "2", "-cpu", "max"].as_slice()),
        };
        let more = if accelerator == Accelerator::Counting { COUNTING_WORDS } else { "" };
        // A panic ends the machine at once; RCU's grace periods, which detaching waits for, are short.
        let words = format!(
            "console={console} panic=-1 loglevel=5 random.trust_cpu=on rcupdate.rcu_expedited=1 {more} {}",
            self.words
        );
        command
            .args(["-accel", accel])
            .args(processor)
            .args(["-m", &self.memory_mib.to_string()])
            .args(["-nodefaults", "-no-user-config", "-display", "none", "-no-reboot"])
            .arg("-kernel")
            .arg(&self.kernel.image)
            .arg("-initrd")
            .arg(self.initramfs)
            .args(["-append", &words]);
        command
    }

    /// Waits for its end; says why where it was not an orderly one.
    fn wait(&self, mut guard: Guard, said: &Path) -> Result<Option<String>> {
        let deadline = Instant::now().checked_add(self.limit).context("a limit beyond all times")?;
        loop {
            if let Some(status) = guard.0.try_wait().context("cannot wait for qemu")? {
                let said = fs::read_to_string(said).unwrap_or_default();
                return Ok((!status.success()).then(|| format!("qemu ended with {status}: {}", said.trim())));
            }
            if Instant::now() >= deadline {
                return Ok(Some(format!("stopped: it had not ended after {} s", self.limit.as_secs())));
            }
            thread::sleep(LOOK_EVERY);
        }
    }
}

/// No machine is left behind.
struct Guard(Child);

impl Drop for Guard {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
