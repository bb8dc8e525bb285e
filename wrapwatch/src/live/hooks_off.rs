//! Hooks that the kernel runs no more during a trace: others take their place, or it ends.

use super::{Ended, inputs::describe, session::Session};
use crate::{
    host::clock,
    model::{Degradation, DegradationKind, Lost},
    probe::OtherHooks,
};

impl Session<'_> {
    /// Has others take the place of hooks that the kernel runs no more. The end of the trace where that cannot be; what happened is told in any case.
    pub(super) fn hooks_off(&mut self) -> Option<Ended> {
        let why = self.not_run.take()?;
        for &pid in self.targets.keys() {
            if let Err(error) = self.probe.end_target(pid) {
                log::warn!("taking pid {pid} off the targets: {error}");
            }
        }
        match self.probe.replace_hooks() {
            Some(Ok(replaced)) => {
                self.go_on(why, replaced);
                return None;
            }
            Some(Err(error)) => log::warn!("no hooks in the place of those: {error}"),
            None => {}
        }
        let ended = Ended::HooksOff { why };
        self.no_hook(ended.reason());
        Some(ended)
    }

    fn no_hook(&mut self, message: String) {
        self.degraded(Degradation { kind: DegradationKind::NoHook, pid: None, message });
    }

    /// All targets are entered anew. What became of the clients whose connections were open by then nobody saw.
    fn go_on(&mut self, why: &str, OtherHooks { by, degradation, mut detaching }: OtherHooks) {
        // Nobody waits for the kernel to take the others off, but for the child that has them do so.
        tokio::spawn(async move { detaching.finished().await });
        let lost = Lost { since_ns: Some(self.run_at.0), until_ns: Some(clock::now().0), ..Lost::default() };
        self.feed.input(&lost.into());
        self.no_hook(format!(
            "the kernel ran no hooks on calls for up to a second, since {why}: connections of that time may be missing; wrapwatch goes on with {by}, for which every process on this machine pays"
        ));
        if let Some(degradation) = degradation {
            self.degraded(degradation);
        }
        for (_, tracee) in std::mem::take(&mut self.targets) {
            let (target, start) = (describe(&tracee), tracee.info.start_ticks);
            if let Err(error) = self.trace(tracee) {
                self.refuse(&target, start, &error);
            }
        }
    }
}
