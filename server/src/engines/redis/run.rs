//! One call under way: each request to its node, on to where it is sent, and again where that is safe.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::time::{Instant, sleep, timeout_at};

use super::node::Node;
use super::request::{Answer, Ask, Item, Job, Refusal, Request};
use super::topology::Topology;

/// For how long what was refused is tried again: a new map of the slots is there by then, and a failover mostly is not.
const SETTLE: Duration = Duration::from_millis(300);
/// The pause before it is tried again.
const PAUSE: Duration = Duration::from_millis(25);
/// How often in a row another node is asked without a pause.
const REDIRECTIONS: u32 = 4;

/// Sends each request to its node, follows it where it is sent, and gives up in time.
pub async fn run(topology: &Topology, limit: Duration, requests: Vec<Request>) -> Vec<Answer> {
    let started = Instant::now();
    let pending = |(place, request)| Pending { place, request: Arc::new(request), ask: None };
    let mut run = Run {
        topology,
        started,
        deadline: started + limit,
        answers: vec![unanswered(); requests.len()],
        pending: requests.into_iter().enumerate().map(pending).collect(),
        redirections: 0,
    };
    while !run.pending.is_empty() {
        if run.round().await {
            topology.refresh_soon();
            sleep(PAUSE).await;
        }
    }
    run.answers
}

/// A request that has no answer yet.
struct Pending {
    place: usize,
    request: Arc<Request>,
    /// The node that it is asked of instead, while its slot moves there.
    ask: Option<Arc<Node>>,
}

/// Requests under way to one node.
struct Sent {
    requests: Vec<Pending>,
    answer: oneshot::Receiver<Vec<Answer>>,
}

/// One call under way.
struct Run<'a> {
    topology: &'a Topology,
    started: Instant,
    deadline: Instant,
    answers: Vec<Answer>,
    pending: Vec<Pending>,
    redirections: u32,
}

impl Run<'_> {
    /// One job for each node that has any of the pending requests. True: a pause is due before the next round.
    async fn round(&mut self) -> bool {
        let mut pause = false;
        for Sent { requests, answer } in self.submit() {
            let answered = timeout_at(self.deadline, answer).await;
            let answers = answered.ok().and_then(Result::ok).unwrap_or_default();
            // Without an answer it stays unknown.
            for (pending, answer) in requests.into_iter().zip(answers) {
                pause |= self.take(pending, answer);
            }
        }
        pause
    }

    fn submit(&mut self) -> Vec<Sent> {
        let mut jobs: Vec<(Arc<Node>, Vec<Pending>)> = Vec::new();
        for pending in std::mem::take(&mut self.pending) {
            let Some(node) = pending.ask.clone().or_else(|| self.topology.node_of(&pending.request.key)) else {
                self.topology.refresh_soon();
                self.set(pending.place, Answer::Refused(Refusal::now("no node has the slot")));
                continue;
            };
            // It may be done from here on, whatever an earlier try was told.
            self.set(pending.place, unanswered());
            match jobs.iter_mut().find(|(known, _)| Arc::ptr_eq(known, &node)) {
                Some((_, requests)) => requests.push(pending),
                None => jobs.push((node, vec![pending])),
            }
        }
        let submitted = jobs.into_iter().map(|(node, requests)| {
            let item = |pending: &Pending| Item { request: pending.request.clone(), asking: pending.ask.is_some() };
            let (job, answer) = Job::new(requests.iter().map(item).collect());
            node.submit(job);
            Sent { requests, answer }
        });
        submitted.collect()
    }

    /// True: the request is to be sent again, after a pause.
    fn take(&mut self, Pending { place, request, .. }: Pending, answer: Answer) -> bool {
        let since = match &answer {
            Answer::Moved(address) => {
                self.topology.moved(&request.key, address);
                return self.redirect(place, request, None);
            }
            Answer::Ask(address) => {
                let node = self.topology.node_at(address);
                return self.redirect(place, request, Some(node));
            }
            // A read may be sent again whatever came of it.
            Answer::Unknown(_) if matches!(request.ask, Ask::Read | Ask::ReadWeak) => None,
            Answer::Refused(refusal) => refusal.since,
            _ => {
                self.set(place, answer);
                return false;
            }
        };
        let again =
            since.unwrap_or(self.started).min(self.started).elapsed() < SETTLE && Instant::now() < self.deadline;
        self.set(place, answer);
        if again {
            self.pending.push(Pending { place, request, ask: None });
        } else {
            self.topology.refresh_soon();
        }
        again
    }

    fn redirect(&mut self, place: usize, request: Arc<Request>, ask: Option<Arc<Node>>) -> bool {
        self.set(place, Answer::Refused(Refusal::now("the nodes point at each other")));
        if Instant::now() >= self.deadline {
            return false;
        }
        self.pending.push(Pending { place, request, ask });
        self.redirections += 1;
        self.redirections.is_multiple_of(REDIRECTIONS)
    }

    fn set(&mut self, place: usize, answer: Answer) {
        if let Some(entry) = self.answers.get_mut(place) {
            *entry = answer;
        }
    }
}

fn unanswered() -> Answer {
    Answer::Unknown("it was not answered in time".into())
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::{TcpListener, TcpStream};

    use super::super::exchange::NodeOptions;
    use super::super::link::Dialer;
    use super::super::topology::View;
    use super::super::url::Address;
    use super::*;

    const LIMIT: Duration = Duration::from_millis(800);

    /// A node that greets as Redis does, and answers no command beyond that.
    async fn greet_and_hang(mut stream: TcpStream) {
        let mut bytes = [0; 1024];
        while let Ok(read @ 1..) = stream.read(&mut bytes).await {
            if bytes[..read].ends_with(b"PING\r\n") {
                stream.write_all(b"+PONG\r\n").await.unwrap();
            }
        }
    }

    /// A write to a node that cannot be reached at first, and then takes it and stands still.
    #[tokio::test]
    async fn what_a_second_try_may_have_written_is_not_known_though_the_first_was_refused() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = Address { host: "127.0.0.1".into(), port: listener.local_addr().unwrap().port() };
        drop(listener);
        let dialer = Arc::new(Dialer::new(::redis::RedisConnectionInfo::default(), None, LIMIT).unwrap());
        let options = NodeOptions { connections: 1, replicas: 0, wait: LIMIT, reply: LIMIT * 4 };
        let topology = Topology::start(dialer, options, vec![address.clone()], &View::of_one(&address));
        let ask = Ask::Write { expected: Vec::new(), record: b"0 {}".to_vec(), ttl: None };
        let request = Request { key: "midsession:42".into(), ask };
        let hanging = async {
            sleep(Duration::from_millis(50)).await;
            let listener = TcpListener::bind(("127.0.0.1", address.port)).await.unwrap();
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(greet_and_hang(stream));
            }
        };
        let answers = tokio::select! {
            answers = run(&topology, LIMIT, vec![request]) => answers,
            () = hanging => unreachable!(),
        };
        assert!(matches!(answers[..], [Answer::Unknown(_)]), "{answers:?}");
    }
}
