use std::time::Duration;

/// The bounds of [`Sessions`](crate::Sessions).
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// How many batches may be under way at once in each [part](crate::Store::partition) of the store. Commands on one
    /// session are always in the same shard. One shard is best for a store that writes one batch at a time. There are 1,024
    /// at most.
    pub shards: usize,
    /// How many commands may wait in a shard, and beside them as many reads. Those beyond it are refused: see
    /// [`Caller`](crate::Caller). As many may be put aside, since something else holds their session, or since what became of
    /// their write is not known.
    pub queue: usize,
    /// How many commands are decided in one batch at most.
    pub batch: usize,
    /// How long a command may take, its wait in the queue included. One call of the store may take half of it.
    pub request_timeout: Duration,
}

impl Limits {
    /// How long one call of the store may take.
    pub(crate) fn call_timeout(&self) -> Duration {
        self.request_timeout / 2
    }
}

impl Default for Limits {
    /// One shard, 2,048 in the queue, 512 in a batch, 5 seconds.
    fn default() -> Self {
        Self { shards: 1, queue: 2048, batch: 512, request_timeout: Duration::from_secs(5) }
    }
}
