//! The sessions whose commands must wait: each for itself, and for a time of its own.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::{Instant, sleep_until};

use super::command::SubmitError;
use super::task::Task;

/// How long what must wait is put aside at first.
const PAUSE: Duration = Duration::from_millis(50);
/// How often the pause is doubled: 400 ms is the longest.
const DOUBLED_MOST: u32 = 3;

/// What a shard has put aside. Its other commands go on.
///
/// Whatever else is asked of such a session joins it, and waits with it. Otherwise what became of an open write could no
/// longer be told: others would have changed the session since.
pub(super) struct Aside {
    state: Mutex<State>,
    changed: Notify,
    /// How many tasks are put aside before the shard takes no new ones.
    limit: usize,
}

#[derive(Default)]
struct State {
    sessions: BTreeMap<Arc<str>, Waiting>,
    tasks: usize,
    /// No more will be put aside.
    closed: bool,
}

struct Waiting {
    /// None: it is being decided again.
    due: Option<Instant>,
    tasks: Vec<Task>,
}

impl Aside {
    pub(super) fn new(limit: usize) -> Self {
        Self { state: Mutex::default(), changed: Notify::new(), limit: limit.max(1) }
    }

    /// The task comes back if its session is not put aside. A new one is refused where half of the places are taken: one
    /// session that is held does not fill them.
    pub(super) fn join(&self, task: Task) -> Option<Task> {
        let mut state = self.state();
        let full = state.tasks >= self.limit.div_ceil(2);
        let Some(waiting) = state.sessions.get_mut(&task.id) else { return Some(task) };
        if full && task.attempts.is_empty() {
            drop(state);
            task.answer(Err(SubmitError::Full));
            return None;
        }
        waiting.tasks.push(task);
        state.tasks += 1;
        None
    }

    /// Puts tasks aside for a while, before those of the same session that joined meanwhile.
    ///
    /// Each time a task waits longer: a try costs the database a statement. If it ends in an unknown fate, it may have
    /// cost a connection, and every other write of its batch a look-up.
    pub(super) fn put(&self, mut tasks: Vec<Task>) {
        let now = Instant::now();
        for task in &mut tasks {
            task.waits = task.waits.saturating_add(1);
        }
        self.put_until(tasks, |task| now + PAUSE * 2_u32.pow(DOUBLED_MOST.min(task.waits.saturating_sub(1))));
    }

    /// The same without a pause.
    pub(super) fn put_at_once(&self, tasks: Vec<Task>) {
        let now = Instant::now();
        self.put_until(tasks, |_| now);
    }

    /// A session is due with the last of its tasks.
    fn put_until(&self, tasks: Vec<Task>, due: impl Fn(&Task) -> Instant) {
        if tasks.is_empty() {
            return;
        }
        let mut state = self.state();
        state.tasks += tasks.len();
        let mut sessions: BTreeMap<Arc<str>, Vec<Task>> = BTreeMap::new();
        for task in tasks {
            sessions.entry(task.id.clone()).or_default().push(task);
        }
        for (id, tasks) in sessions {
            let due = tasks.iter().map(&due).max();
            let joined = state.sessions.remove(&id).map(|waiting| waiting.tasks);
            let tasks = tasks.into_iter().chain(joined.into_iter().flatten()).collect();
            state.sessions.insert(id, Waiting { due, tasks });
        }
        drop(state);
        self.changed.notify_waiters();
    }

    /// Waits until some are due, and takes them: those of one session together, and no further session once there are so
    /// many. Their sessions stay aside until [`Aside::release`]. None: nothing is aside, and nothing more will be.
    pub(super) async fn due(&self, most: usize) -> Option<Vec<Task>> {
        loop {
            let changed = self.changed.notified();
            let next = {
                let mut state = self.state();
                if state.closed && state.sessions.is_empty() {
                    return None;
                }
                let due = state.take(Instant::now(), most);
                if !due.is_empty() {
                    return Some(due);
                }
                state.sessions.values().filter_map(|waiting| waiting.due).min()
            };
            match next {
                Some(next) => tokio::select! { biased; () = changed => (), () = sleep_until(next) => () },
                None => changed.await,
            }
        }
    }

    /// What was taken is decided, or was put aside again. Those that joined meanwhile are due.
    pub(super) fn release(&self) {
        let mut state = self.state();
        state.sessions.retain(|_, waiting| waiting.due.is_some() || !waiting.tasks.is_empty());
        for waiting in state.sessions.values_mut() {
            waiting.due.get_or_insert_with(Instant::now);
        }
        drop(state);
        self.changed.notify_waiters();
    }

    /// Waits until there is room: a shard takes nothing new while too much is aside.
    pub(super) async fn room(&self) {
        loop {
            let changed = self.changed.notified();
            if self.state().tasks < self.limit {
                return;
            }
            changed.await;
        }
    }

    pub(super) fn close(&self) {
        self.state().closed = true;
        self.changed.notify_waiters();
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn take(&mut self, now: Instant, most: usize) -> Vec<Task> {
        let mut taken = Vec::new();
        for waiting in self.sessions.values_mut().filter(|waiting| waiting.due.is_some_and(|due| due <= now)) {
            if taken.len() >= most.max(1) {
                break;
            }
            waiting.due = None;
            taken.append(&mut waiting.tasks);
        }
        self.tasks -= taken.len();
        taken
    }
}
