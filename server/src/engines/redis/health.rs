//! What is wrong with a node, if anything.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::time::Instant;

use super::request::{Answer, Refusal};
use super::url::Address;

/// What is known to be wrong with one node. The log has a line when that changes.
pub struct Health {
    address: Address,
    fault: Mutex<Option<Fault>>,
}

/// What is wrong with a node, and since when.
struct Fault {
    cause: Arc<str>,
    since: Instant,
    /// It answers, and has too few replicas.
    short: bool,
}

impl Health {
    pub fn new(address: Address) -> Self {
        Self { address, fault: Mutex::default() }
    }

    pub fn refusal(&self) -> Answer {
        let fault = self.fault();
        Answer::Refused(fault.as_ref().map_or(Refusal::now("the node is gone"), |fault| Refusal {
            cause: fault.cause.clone(),
            since: Some(fault.since),
        }))
    }

    pub fn is_short(&self) -> bool {
        self.fault().as_ref().is_some_and(|fault| fault.short)
    }

    pub fn since(&self) -> Option<Instant> {
        self.fault().as_ref().map(|fault| fault.since)
    }

    pub fn report_fault(&self, cause: &Arc<str>, short: bool) {
        let mut fault = self.fault();
        let since = fault.as_ref().map_or_else(Instant::now, |fault| fault.since);
        if fault.as_ref().is_none_or(|fault| fault.cause != *cause) {
            tracing::warn!(node = %self.address, cause = &**cause, "a Redis node cannot be used");
        }
        *fault = Some(Fault { cause: cause.clone(), since, short });
    }

    pub fn recovered(&self) {
        if self.fault().take().is_some() {
            tracing::info!(node = %self.address, "a Redis node can be used again");
        }
    }

    fn fault(&self) -> MutexGuard<'_, Option<Fault>> {
        self.fault.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
