//! Which node has which slot.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, PoisonError, RwLock, Weak};
use std::time::Duration;

use ::redis::{Pipeline, Value};
use tokio::sync::Notify;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout_at};

use super::exchange::NodeOptions;
use super::link::{Cause, Dialer, Link};
use super::node::Node;
use super::url::Address;

/// How many slots a cluster has.
const SLOTS: u16 = 16384;
/// How many nodes are asked at once for the slots.
const ASKED: usize = 8;
/// The least time between two looks at the slots.
const PAUSE: Duration = Duration::from_millis(50);

/// The slots and nodes as one node sees them. A node that is no cluster has all slots.
pub struct View {
    pub cluster: bool,
    /// First slot, last slot, master.
    pub ranges: Vec<(u16, u16, Address)>,
    pub replicas: Vec<Address>,
    /// Whether it counts with its own view: a node that is cut off does not, after a time.
    settled: bool,
}

impl View {
    pub fn masters(&self) -> HashSet<&Address> {
        self.ranges.iter().map(|(_, _, master)| master).collect()
    }

    async fn ask(dialer: &Dialer, address: &Address, limit: Duration) -> Result<Self, Cause> {
        let mut link = dialer.dial(address).await?;
        let mut commands = Pipeline::new();
        commands.cmd("CLUSTER").arg("INFO");
        commands.cmd("CLUSTER").arg("SLOTS");
        let [info, slots] = answers(&mut link, &commands, limit).await?;
        match (info, slots) {
            (Value::ServerError(error), _) if error.details().is_some_and(|text| text.contains("support disabled")) => {
                Self::single(&mut link, address, limit).await
            }
            (Value::ServerError(error), _) | (_, Value::ServerError(error)) => Err(Cause::passing(error.code())),
            (info, Value::Array(ranges)) => {
                let settled = text(&info).is_some_and(|info| info.contains("cluster_state:ok"));
                Self::of_cluster(ranges, address, settled).ok_or_else(|| Cause::passing("its slots cannot be read"))
            }
            _ => Err(Cause::passing("its slots cannot be read")),
        }
    }

    /// One node has all slots.
    #[cfg(test)]
    pub fn of_one(address: &Address) -> Self {
        Self { cluster: false, ranges: vec![(0, SLOTS - 1, address.clone())], replicas: Vec::new(), settled: true }
    }

    async fn single(link: &mut Link, address: &Address, limit: Duration) -> Result<Self, Cause> {
        let mut commands = Pipeline::new();
        commands.cmd("INFO").arg("replication");
        let [info] = answers(link, &commands, limit).await?;
        if let Value::ServerError(error) = info {
            return Err(Cause::passing(error.code()));
        }
        let info = text(&info).unwrap_or_default();
        if !info.contains("role:master") {
            return Err(Cause::passing("it is a replica"));
        }
        let replicas = info.lines().filter_map(replica).collect();
        Ok(Self { cluster: false, ranges: vec![(0, SLOTS - 1, address.clone())], replicas, settled: true })
    }

    fn of_cluster(ranges: Vec<Value>, asked: &Address, settled: bool) -> Option<Self> {
        let mut view = Self { cluster: true, ranges: Vec::new(), replicas: Vec::new(), settled };
        for range in ranges {
            let Value::Array(parts) = range else { return None };
            let mut parts = parts.into_iter();
            let (Value::Int(first), Value::Int(last)) = (parts.next()?, parts.next()?) else { return None };
            let (first, last) = (u16::try_from(first).ok()?, u16::try_from(last).ok()?);
            let mut nodes = parts.map(|node| Address::of_slots(node, asked));
            view.ranges.push((first, last.min(SLOTS - 1), nodes.next()??));
            view.replicas.extend(nodes.flatten());
        }
        Some(view)
    }
}

/// As many replies as there are commands.
async fn answers<const N: usize>(link: &mut Link, commands: &Pipeline, limit: Duration) -> Result<[Value; N], Cause> {
    link.ask(commands, limit).await?.try_into().map_err(|_| Cause::passing("replies are missing"))
}

/// A reply's text.
pub fn text(value: &Value) -> Option<&str> {
    match value {
        Value::BulkString(bytes) => std::str::from_utf8(bytes).ok(),
        Value::SimpleString(text) | Value::VerbatimString { text, .. } => Some(text),
        _ => None,
    }
}

/// A line such as `slave0:ip=127.0.0.1,port=6380,state=online,…`.
fn replica(line: &str) -> Option<Address> {
    let (name, fields) = line.split_once(':')?;
    name.strip_prefix("slave")?.parse::<u32>().ok()?;
    let field = |name: &str| fields.split(',').find_map(|field| field.strip_prefix(name));
    Some(Address { host: field("ip=")?.to_owned(), port: field("port=")?.parse().ok()? })
}

impl Address {
    /// `3999 127.0.0.1:6381`, as `MOVED` and `ASK` say it.
    pub fn of_redirection(details: &str, asked: &str) -> Option<Self> {
        let (host, port) = details.split_ascii_whitespace().nth(1)?.rsplit_once(':')?;
        Some(Self { host: known(host, asked), port: port.parse().ok()? })
    }

    /// A node of `CLUSTER SLOTS`: its host, its port, and more.
    fn of_slots(node: Value, asked: &Self) -> Option<Self> {
        let Value::Array(parts) = node else { return None };
        let mut parts = parts.into_iter();
        let (host, Some(Value::Int(port))) = (parts.next()?, parts.next()) else { return None };
        Some(Self { host: known(text(&host).unwrap_or_default(), &asked.host), port: u16::try_from(port).ok()? })
    }
}

/// A node that does not know its own host leaves it out: then it is the one that was asked.
fn known(host: &str, asked: &str) -> String {
    let host = host.trim_matches(['[', ']']);
    if host.is_empty() || host == "?" { asked.to_owned() } else { host.to_owned() }
}

/// The nodes, and the way to each slot's.
pub struct Topology {
    dialer: Arc<Dialer>,
    options: NodeOptions,
    seeds: Vec<Address>,
    map: RwLock<Map>,
    stale: Notify,
}

#[derive(Default)]
struct Map {
    nodes: HashMap<Address, Arc<Node>>,
    slots: Vec<Option<Slot>>,
}

/// Who has a slot.
#[derive(Clone)]
struct Slot {
    node: Arc<Node>,
    /// The node's number among the masters, in the order of their slots: a replica that takes over has its master's.
    part: usize,
}

impl Topology {
    /// Starts the task that keeps it current, which ends when it is dropped.
    pub fn start(dialer: Arc<Dialer>, options: NodeOptions, seeds: Vec<Address>, view: &View) -> Arc<Self> {
        let slots = vec![None; usize::from(SLOTS)];
        let map = RwLock::new(Map { nodes: HashMap::new(), slots });
        let topology = Arc::new(Self { dialer, options, seeds, map, stale: Notify::new() });
        topology.adopt(view);
        tokio::spawn(keep_current(Arc::downgrade(&topology)));
        topology
    }

    pub fn node_of(&self, key: &str) -> Option<Arc<Node>> {
        let map = self.map.read().unwrap_or_else(PoisonError::into_inner);
        Some(map.slots.get(usize::from(slot(key)))?.clone()?.node)
    }

    /// The number of the node that has the key.
    pub fn part_of(&self, key: &str) -> usize {
        let map = self.map.read().unwrap_or_else(PoisonError::into_inner);
        map.slots.get(usize::from(slot(key))).and_then(Option::as_ref).map_or(0, |slot| slot.part)
    }

    /// The node at an address that another node named.
    pub fn node_at(&self, address: &Address) -> Arc<Node> {
        self.map.write().unwrap_or_else(PoisonError::into_inner).node(address, self)
    }

    /// Another node has the key's slot.
    pub fn moved(&self, key: &str, address: &Address) {
        let mut map = self.map.write().unwrap_or_else(PoisonError::into_inner);
        let node = map.node(address, self);
        let known = map.slots.iter().flatten().find(|slot| Arc::ptr_eq(&slot.node, &node)).map(|slot| slot.part);
        if let Some(entry) = map.slots.get_mut(usize::from(slot(key))) {
            let part = known.or(entry.as_ref().map(|slot| slot.part)).unwrap_or_default();
            *entry = Some(Slot { node, part });
        }
        self.stale.notify_one();
    }

    /// Has the slots looked at again, soon.
    pub fn refresh_soon(&self) {
        self.stale.notify_one();
    }

    fn adopt(&self, view: &View) {
        let mut map = self.map.write().unwrap_or_else(PoisonError::into_inner);
        let masters = view.masters();
        map.nodes.retain(|address, _| masters.contains(address));
        map.slots.fill(None);
        let mut parts = HashMap::new();
        let mut ranges: Vec<_> = view.ranges.iter().collect();
        ranges.sort_by_key(|(first, ..)| *first);
        for (first, last, master) in ranges {
            let next = parts.len();
            let part = *parts.entry(master).or_insert(next);
            let node = map.node(master, self);
            if let Some(slots) = map.slots.get_mut(usize::from(*first)..=usize::from(*last)) {
                slots.fill(Some(Slot { node, part }));
            }
        }
    }

    fn candidates(&self) -> Vec<Address> {
        let map = self.map.read().unwrap_or_else(PoisonError::into_inner);
        let known: HashSet<&Address> = map.nodes.keys().chain(&self.seeds).collect();
        known.into_iter().cloned().collect()
    }
}

impl Map {
    fn node(&mut self, address: &Address, topology: &Topology) -> Arc<Node> {
        let start = || Node::start(address.clone(), &topology.dialer, topology.options);
        self.nodes.entry(address.clone()).or_insert_with(start).clone()
    }
}

async fn keep_current(topology: Weak<Topology>) {
    let mut turn = 0;
    loop {
        let Some(current) = topology.upgrade() else { return };
        // It wakes up now and then to see whether the topology is still wanted.
        let stale = timeout_at(Instant::now() + Duration::from_secs(5), current.stale.notified()).await.is_ok();
        if stale {
            turn += ASKED;
            // What fails now is asked for again by the next request that fails.
            if let Ok(view) = discover(&current.dialer, &current.candidates(), turn, current.options.reply).await {
                current.adopt(&view);
            }
        }
        drop(current);
        sleep(PAUSE).await;
    }
}

/// The view of the first node that gives one, of some of `candidates`, from `turn` on.
pub async fn discover(
    dialer: &Arc<Dialer>,
    candidates: &[Address],
    turn: usize,
    limit: Duration,
) -> Result<View, Cause> {
    let mut asked = JoinSet::new();
    let start = turn.checked_rem(candidates.len()).unwrap_or_default();
    for address in candidates.iter().cycle().skip(start).take(ASKED.min(candidates.len())) {
        let (dialer, address) = (dialer.clone(), address.clone());
        asked.spawn(async move { View::ask(&dialer, &address, limit).await });
    }
    let (mut unsettled, mut failure) = (None, Cause::passing("there is no node to ask"));
    while let Some(answer) = asked.join_next().await {
        match answer {
            Ok(Ok(view)) if view.settled && !view.ranges.is_empty() => return Ok(view),
            Ok(Ok(view)) => unsettled = Some(view),
            // What lasts is told rather than what may pass.
            Ok(Err(cause)) if failure.may_pass => failure = cause,
            _ => {}
        }
    }
    match unsettled {
        Some(view) if !view.ranges.is_empty() => Ok(view),
        Some(_) => Err(Cause::passing("the cluster has no slots")),
        None => Err(failure),
    }
}

/// The slot of a key without braces.
fn slot(key: &str) -> u16 {
    crc16::State::<crc16::XMODEM>::calculate(key.as_bytes()) % SLOTS
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(text: &str) -> Address {
        let (host, port) = text.rsplit_once(':').unwrap();
        Address { host: host.into(), port: port.parse().unwrap() }
    }

    #[test]
    fn the_slot_is_the_one_that_redis_computes() {
        // As `CLUSTER KEYSLOT` says.
        assert_eq!((slot("foo"), slot("midsession:probe:ready"), slot("")), (12182, 14918, 0));
    }

    #[tokio::test]
    async fn each_master_is_a_part_and_a_replica_that_takes_over_has_its_number() {
        let dialer = Dialer::new(::redis::RedisConnectionInfo::default(), None, PAUSE).unwrap();
        let options = NodeOptions { connections: 1, replicas: 0, wait: PAUSE, reply: PAUSE };
        let view = |ranges: &[(u16, u16, &str)]| {
            let ranges = ranges.iter().map(|(first, last, node)| (*first, *last, address(node))).collect();
            View { cluster: true, ranges, replicas: Vec::new(), settled: true }
        };
        // In the order in which a node names them, which is none.
        let ranges = [(10_923, 16_383, "c:1"), (5_461, 10_922, "b:1"), (0, 5_460, "a:1")];
        let topology = Topology::start(Arc::new(dialer), options, vec![address("a:1")], &view(&ranges));
        let parts = || ["", "d", "foo"].map(|key| (slot(key) / 5_461, topology.part_of(key)));
        assert!(parts().iter().all(|(expected, part)| usize::from(*expected) == *part), "{:?}", parts());
        topology.adopt(&view(&[(0, 5_460, "a:1"), (10_923, 16_383, "d:1"), (5_461, 10_922, "b:1")]));
        assert!(parts().iter().all(|(expected, part)| usize::from(*expected) == *part), "{:?}", parts());
        topology.moved("foo", &address("a:1"));
        assert_eq!(topology.part_of("foo"), 0);
    }

    #[test]
    fn a_redirection_without_a_host_means_the_node_that_was_asked() {
        let redirected = |details| Address::of_redirection(details, "asked").map(|address| address.to_string());
        assert_eq!(redirected("3999 127.0.0.1:6381").unwrap(), "127.0.0.1:6381");
        assert_eq!(redirected("3999 :6381").unwrap(), "asked:6381");
        assert_eq!(redirected("3999 ?:6381").unwrap(), "asked:6381");
        assert_eq!(redirected("3999 fe80::1:6381").unwrap(), "[fe80::1]:6381");
        assert_eq!((redirected("3999"), redirected(""), redirected("3999 a:b")), (None, None, None));
    }

    #[test]
    fn the_slots_are_read_with_their_masters_and_replicas() {
        let text = |text: &str| Value::BulkString(text.into());
        let node = |host, port| Value::Array(vec![host, Value::Int(port), text("id"), Value::Array(Vec::new())]);
        let range = vec![Value::Int(0), Value::Int(5460), node(text("one"), 7000), node(Value::Nil, 7003)];
        let view = View::of_cluster(vec![Value::Array(range)], &address("asked:1"), true).unwrap();
        assert!(view.ranges == [(0, 5460, address("one:7000"))] && view.replicas == [address("asked:7003")]);
        assert!(View::of_cluster(vec![Value::Nil], &address("asked:1"), true).is_none());
    }

    #[test]
    fn the_replicas_of_a_single_node_are_read() {
        let info = "role:master\r\nconnected_slaves:1\r\nslave0:ip=10.0.0.2,port=6380,state=online,offset=1,lag=0\r\n";
        let replicas: Vec<Address> = info.lines().filter_map(replica).collect();
        assert!(replicas == [address("10.0.0.2:6380")]);
    }
}
