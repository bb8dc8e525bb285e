//! In the place of [`publish_otlp`](super) without the feature `otlp`: there is no option for it, and nothing is ever sent.

use std::{cell::RefCell, rc::Rc};

use crate::publish::Publisher;

/// No options.
#[derive(Debug, clap::Args)]
pub struct OtlpArgs {}

impl OtlpArgs {
    #[expect(clippy::unused_self, clippy::unnecessary_wraps, reason = "as with the feature")]
    pub fn begin(&self, _: &Rc<RefCell<Publisher>>, _: bool) -> anyhow::Result<Option<Sending>> {
        Ok(None)
    }
}

/// There is none.
pub enum Sending {}

impl Sending {
    pub fn send_counted(&self) {
        match *self {}
    }

    pub fn count(&self) {
        match *self {}
    }

    pub fn send_rest(&self, _: bool) -> std::future::Ready<()> {
        match *self {}
    }
}
