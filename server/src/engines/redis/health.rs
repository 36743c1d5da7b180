//! What is wrong with a node, if anything.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use super::request::{Answer, Refusal};
use super::url::Address;

/// The least time between two looks whether a node has its replicas again. Each holds up a connection for a moment.
const LOOK_AGAIN: Duration = Duration::from_millis(500);

/// What is known to be wrong with one node. The log has a line when that changes.
pub struct Health {
    address: Address,
    fault: Mutex<Option<Fault>>,
}

/// What is wrong with a node, and since when.
struct Fault {
    cause: Arc<str>,
    since: Instant,
    /// It answers, and has too few replicas: when it is asked next whether they are back.
    short: Option<Instant>,
}

/// Whether a node has too few replicas.
#[derive(Debug, PartialEq, Eq)]
pub enum Shortage {
    None,
    /// It had a moment ago.
    Known,
    /// It had, and whoever is told so looks again.
    LookAgain,
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

    pub fn shortage(&self) -> Shortage {
        let mut fault = self.fault();
        match fault.as_mut().and_then(|fault| fault.short.as_mut()) {
            None => Shortage::None,
            Some(next) if Instant::now() < *next => Shortage::Known,
            Some(next) => {
                *next = Instant::now() + LOOK_AGAIN;
                Shortage::LookAgain
            }
        }
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
        let short = short.then(|| Instant::now() + LOOK_AGAIN);
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

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn of_all_who_meet_a_node_without_its_replicas_one_looks_again_every_half_second() {
        let health = Health::new(Address { host: "one".into(), port: 1 });
        assert_eq!(health.shortage(), Shortage::None);
        health.report_fault(&"too few replicas".into(), true);
        let mut looks = 0;
        for _ in 0..300 {
            tokio::time::sleep(Duration::from_millis(10)).await;
            // It has as few as before, and two connections ask.
            for _ in 0..2 {
                if health.shortage() == Shortage::LookAgain {
                    health.report_fault(&"too few replicas".into(), true);
                    looks += 1;
                }
            }
        }
        assert_eq!(looks, 6);
        health.recovered();
        assert_eq!(health.shortage(), Shortage::None);
    }
}
