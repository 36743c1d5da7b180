//! One pipeline to a node and back: requests, and one `WAIT` for all of them.

use std::time::Duration;

use ::redis::{Pipeline, ServerError, ServerErrorKind, Value};

use super::health::Health;
use super::link::{Cause, Link};
use super::request::{Answer, Ask, Item, Refusal};
use super::script::{Code, READ, WRITE, add};
use super::url::Address;

/// How many milliseconds the replicas of a node that was short of them have to show that they are back.
const PROBE: u64 = 50;
const TOO_FEW: &str = "too few replicas acknowledged";

/// How nodes are asked.
#[derive(Clone, Copy)]
pub struct NodeOptions {
    /// How many connections a node gets.
    pub connections: usize,
    /// How many replicas must have a write before it counts.
    pub replicas: usize,
    /// How long they have for it.
    pub wait: Duration,
    /// How long a pipeline may take in all.
    pub reply: Duration,
}

/// A connection, and what is known of its node.
pub struct Exchange<'a> {
    pub link: &'a mut Link,
    /// Whether the node has the scripts, as far as this connection knows.
    pub scripts_loaded: &'a mut bool,
    pub address: &'a Address,
    pub options: NodeOptions,
    pub health: &'a Health,
}

impl Exchange<'_> {
    /// One pipeline, and a second one if the first did not cover all that was read.
    pub async fn send(&mut self, items: &[Item]) -> Result<Vec<Answer>, Cause> {
        let last_read = items.iter().rposition(|item| matches!(item.request.ask, Ask::Read));
        let covering = last_read.filter(|_| self.options.replicas > 0);
        let mut commands = Pipeline::with_capacity(items.len() + 3);
        // It is asked for its scripts at the first use of a connection, and when it has lost them.
        let skip = if std::mem::replace(self.scripts_loaded, true) { 0 } else { self.load_scripts(&mut commands) };
        for (index, item) in items.iter().enumerate() {
            add(&mut commands, item, Some(index) == covering);
        }
        let waits = self.options.replicas > 0 && items.iter().any(|item| !matches!(item.request.ask, Ask::ReadWeak));
        if waits {
            self.wait_for_replicas(&mut commands);
        }
        let mut replies = self.link.ask(&commands, self.options.reply).await?.into_iter().skip(skip);
        let mut answers = Vec::with_capacity(items.len());
        for item in items {
            if item.asking {
                replies.next();
            }
            let reply = replies.next().unwrap_or_default();
            *self.scripts_loaded &=
                !matches!(&reply, Value::ServerError(error) if error.kind() == Some(ServerErrorKind::NoScript));
            answers.push(self.answer(&item.request.ask, reply));
        }
        if waits {
            let acknowledged = self.acknowledged(replies.next().as_ref());
            self.take_back(items, &mut answers, covering, acknowledged).await?;
        }
        Ok(answers)
    }

    /// Takes back what too few replicas acknowledged.
    async fn take_back(
        &mut self,
        items: &[Item],
        answers: &mut [Answer],
        covering: Option<usize>,
        acknowledged: bool,
    ) -> Result<(), Cause> {
        let last_change = answers.iter().enumerate().rposition(|(index, answer)| match answer {
            Answer::Written => true,
            Answer::Found(Some(_)) => Some(index) == covering,
            _ => false,
        });
        let read = |(item, answer): (&Item, &Answer)| {
            matches!(item.request.ask, Ask::Read) && matches!(answer, Answer::Found(Some(_)))
        };
        // `WAIT` covers what came before the connection's last change, so what was read after it is not covered.
        let open =
            items.iter().zip(answers.iter()).rposition(read).filter(|open| acknowledged && Some(*open) > last_change);
        let mut covered = acknowledged;
        if let Some(item) = open.and_then(|open| items.get(open)) {
            let mut commands = Pipeline::with_capacity(3);
            add(&mut commands, item, true);
            self.wait_for_replicas(&mut commands);
            let mut replies =
                self.link.ask(&commands, self.options.reply).await?.into_iter().skip(usize::from(item.asking));
            let changed = matches!(replies.next(), Some(Value::BulkString(_)));
            covered = changed && self.acknowledged(replies.next().as_ref());
        }
        for (index, (item, answer)) in items.iter().zip(answers).enumerate() {
            match answer {
                _ if matches!(item.request.ask, Ask::ReadWeak) => {}
                Answer::Written if !acknowledged => *answer = Answer::Unknown(TOO_FEW.into()),
                Answer::Found(Some(_)) if !(covered || acknowledged && Some(index) <= last_change) => {
                    *answer = Answer::Refused(Refusal { cause: TOO_FEW.into(), since: self.health.since() });
                }
                _ => {}
            }
        }
        Ok(())
    }

    fn load_scripts(&self, commands: &mut Pipeline) -> usize {
        let scripts: &[&Code] = if self.options.replicas > 0 { &[&WRITE, &READ] } else { &[&WRITE] };
        for script in scripts {
            commands.cmd("SCRIPT").arg("LOAD").arg(script.text);
        }
        scripts.len()
    }

    fn wait_for_replicas(&self, commands: &mut Pipeline) {
        if self.options.replicas > 0 {
            let wait = u64::try_from(self.options.wait.as_millis()).unwrap_or(u64::MAX);
            commands.cmd("WAIT").arg(self.options.replicas).arg(wait);
        }
    }

    /// Whether enough replicas have it.
    fn acknowledged(&self, reply: Option<&Value>) -> bool {
        let enough = matches!(reply, Some(Value::Int(count)) if usize::try_from(*count).is_ok_and(|count| count >= self.options.replicas));
        if !enough {
            self.health.report_fault(&TOO_FEW.into(), true);
        }
        enough
    }

    /// A node that was short of replicas is not written to before it has them again: what it takes alone is lost with
    /// it, and its fate is unknown to whoever sent it.
    pub async fn replicas_are_back(&mut self) -> Result<bool, Cause> {
        let mut wait = Pipeline::new();
        wait.cmd("WAIT").arg(self.options.replicas).arg(PROBE);
        let replies = self.link.ask(&wait, self.options.reply).await?;
        let back = self.acknowledged(replies.first());
        if back {
            self.health.recovered();
        }
        Ok(back)
    }

    fn answer(&self, ask: &Ask, reply: Value) -> Answer {
        match (ask, reply) {
            (Ask::Read | Ask::ReadWeak, Value::Nil) => Answer::Found(None),
            (Ask::Read | Ask::ReadWeak, Value::BulkString(record)) => Answer::Found(Some(record)),
            (Ask::Write { .. }, Value::Int(1)) => Answer::Written,
            (Ask::Write { .. }, Value::Int(0)) => Answer::Differs,
            (_, Value::ServerError(error)) => self.refused(&error),
            _ => Answer::Unknown("a reply of another kind than expected".into()),
        }
    }

    /// An error in place of a reply means that the command changed nothing: the script writes last, and once.
    fn refused(&self, error: &ServerError) -> Answer {
        let target = || Address::of_redirection(error.details()?, &self.address.host);
        match (error.kind(), target()) {
            (Some(ServerErrorKind::Moved), Some(address)) => Answer::Moved(address),
            (Some(ServerErrorKind::Ask), Some(address)) => Answer::Ask(address),
            _ if error.code() == "WRONGTYPE" => Answer::Foreign,
            _ => Answer::Refused(Refusal::now(error.code())),
        }
    }
}
