//! One node, and the tasks that ask it: each has a connection of its own, takes what has queued, sends it as one
//! pipeline, and waits for the replicas once for all of it.

use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::Duration;

use ::redis::Pipeline;
use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::{Mutex, mpsc};
use tokio::time::sleep;

use super::exchange::{Exchange, NodeOptions};
use super::health::{Health, Shortage};
use super::link::{Cause, Dialer, Link};
use super::request::{Answer, Item, Job, Refusal, answer_all};
use super::url::Address;

/// How many jobs may wait for a node.
const QUEUE: usize = 1024;
/// How many commands are sent as one pipeline at most.
const PIPELINE: usize = 1024;
/// A connection that was not used for this long is asked whether it still works.
const IDLE: Duration = Duration::from_secs(15);
/// The pause before a node that could not be reached is dialled again.
const PAUSE: Duration = Duration::from_millis(100);

/// The way to one node. Its tasks end when it is dropped.
pub struct Node {
    queue: mpsc::Sender<Job>,
}

impl Node {
    /// Starts its tasks, in the tokio runtime that it is called in.
    pub fn start(address: Address, dialer: &Arc<Dialer>, options: NodeOptions) -> Arc<Self> {
        let (sender, queue) = mpsc::channel(QUEUE);
        let worker = Arc::new(Worker {
            health: Health::new(address.clone()),
            address,
            dialer: dialer.clone(),
            options,
            queue: Mutex::new(queue),
        });
        for _ in 0..options.connections.max(1) {
            tokio::spawn(worker.clone().run());
        }
        Arc::new(Self { queue: sender })
    }

    /// The refusal comes back at once if too many jobs wait.
    pub fn submit(&self, job: Job) {
        if let Err(TrySendError::Full(job) | TrySendError::Closed(job)) = self.queue.try_send(job) {
            job.answer(&Answer::Refused(Refusal::now("too many requests wait for a node")));
        }
    }
}

struct Worker {
    address: Address,
    dialer: Arc<Dialer>,
    options: NodeOptions,
    queue: Mutex<mpsc::Receiver<Job>>,
    health: Health,
}

impl Worker {
    /// Until the node is no longer wanted.
    async fn run(self: Arc<Self>) {
        let mut suspect = false;
        loop {
            let dialled = if suspect {
                match self.refuse_until(self.dialer.dial(&self.address)).await {
                    ControlFlow::Continue(dialled) => dialled,
                    ControlFlow::Break(()) => return,
                }
            } else {
                self.dialer.dial(&self.address).await
            };
            match dialled {
                Ok(mut link) => {
                    self.health.recovered();
                    let ControlFlow::Continue(cause) = self.serve(&mut link).await else { return };
                    suspect = cause.silent;
                    if cause.silent {
                        self.health.report_fault(&cause.text, false);
                    }
                }
                Err(cause) => {
                    suspect = true;
                    self.health.report_fault(&cause.text, false);
                    if self.refuse_until(sleep(PAUSE)).await.is_break() {
                        return;
                    }
                }
            }
        }
    }

    /// Refuses what comes in until `done`: no one waits for a node that is known not to answer.
    async fn refuse_until<T>(&self, done: impl Future<Output = T>) -> ControlFlow<(), T> {
        tokio::pin!(done);
        loop {
            let job = tokio::select! {
                biased;
                done = &mut done => return ControlFlow::Continue(done),
                job = async { self.queue.lock().await.recv().await } => job,
            };
            match job {
                Some(job) => job.answer(&self.health.refusal()),
                None => return ControlFlow::Break(()),
            }
        }
    }

    /// Until the connection is of no more use, or the node is no longer wanted.
    async fn serve(&self, link: &mut Link) -> ControlFlow<(), Cause> {
        let mut scripts_loaded = false;
        loop {
            let jobs = tokio::select! {
                biased;
                () = link.closed() => return ControlFlow::Continue(Cause::passing("the connection was closed")),
                jobs = self.take() => jobs,
                () = sleep(IDLE) => Some(Vec::new()),
            };
            let Some(jobs) = jobs else { return ControlFlow::Break(()) };
            if let Err(cause) = self.carry_out(link, &mut scripts_loaded, jobs).await {
                return ControlFlow::Continue(cause);
            }
        }
    }

    /// Whatever has queued. None: the node is no longer wanted.
    async fn take(&self) -> Option<Vec<Job>> {
        let mut queue = self.queue.lock().await;
        let mut jobs = vec![queue.recv().await?];
        let mut items = jobs.iter().map(|job| job.items.len()).sum::<usize>();
        while items < PIPELINE {
            let Ok(job) = queue.try_recv() else { break };
            items += job.items.len();
            jobs.push(job);
        }
        Some(jobs)
    }

    async fn carry_out(&self, link: &mut Link, scripts_loaded: &mut bool, mut jobs: Vec<Job>) -> Result<(), Cause> {
        // Nothing is done for those who no longer wait.
        jobs.retain(|job| !job.reply.is_closed());
        let items: Vec<Item> = jobs.iter().flat_map(|job| job.items.iter().cloned()).collect();
        if items.is_empty() {
            let mut ping = Pipeline::new();
            ping.cmd("PING");
            return link.ask(&ping, self.options.reply).await.map(drop);
        }
        let Self { address, options, health, .. } = self;
        let mut exchange = Exchange { link, scripts_loaded, address, options: *options, health };
        let short = match health.shortage() {
            Shortage::None => false,
            Shortage::Known => true,
            Shortage::LookAgain => !exchange.replicas_are_back().await?,
        };
        if short {
            answer_all(jobs, &self.health.refusal());
            return Ok(());
        }
        match exchange.send(&items).await {
            Ok(answers) => {
                let mut answers = answers.into_iter();
                for job in jobs {
                    let answers = answers.by_ref().take(job.items.len()).collect();
                    // Whoever asked may have gone.
                    let _ = job.reply.send(answers);
                }
                Ok(())
            }
            Err(cause) => {
                answer_all(jobs, &Answer::Unknown(cause.text.clone()));
                Err(cause)
            }
        }
    }
}
