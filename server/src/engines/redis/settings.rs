//! What an operator is warned of at the start.

use std::sync::Arc;
use std::time::Duration;

use ::redis::{Pipeline, Value};
use tokio::task::JoinSet;

use super::link::{Cause, Dialer};
use super::topology::{View, text};
use super::url::Address;

const ASKED: [&str; 3] = ["appendonly", "appendfsync", "maxmemory-policy"];

/// One line for each thing that may lose sessions, with the nodes that it is true of.
pub async fn check(dialer: &Arc<Dialer>, view: &View, replicas: usize, limit: Duration) {
    let mut asked = JoinSet::new();
    let nodes: Vec<Address> = view.masters().into_iter().chain(&view.replicas).cloned().collect();
    for address in nodes {
        let dialer = dialer.clone();
        asked.spawn(async move { (settings(&dialer, &address, limit).await, address.to_string()) });
    }
    let (mut volatile, mut lazy, mut evicting, mut unchecked) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    while let Some(Ok((settings, node))) = asked.join_next().await {
        match settings.as_ref().map(|settings| settings.each_ref().map(String::as_str)) {
            Ok([appendonly, appendfsync, policy]) => {
                if appendonly == "no" {
                    volatile.push(node.clone());
                } else if appendfsync != "always" && replicas == 0 {
                    lazy.push(node.clone());
                }
                if policy != "noeviction" {
                    evicting.push(node);
                }
            }
            Err(_) => unchecked.push(node),
        }
    }
    warn(volatile, "appendonly is no: a node that restarts has lost its sessions");
    warn(lazy, "appendfsync is not always, and no replica is waited for: a power cut loses the last writes");
    warn(evicting, "maxmemory-policy is not noeviction: a node whose memory is full drops sessions");
    warn(unchecked, "appendonly and maxmemory-policy could not be checked: the node does not answer CONFIG GET");
}

fn warn(mut nodes: Vec<String>, what: &str) {
    if !nodes.is_empty() {
        nodes.sort();
        tracing::warn!(nodes = nodes.join(","), "{what}");
    }
}

async fn settings(dialer: &Dialer, address: &Address, limit: Duration) -> Result<[String; 3], Cause> {
    let mut link = dialer.dial(address).await?;
    let mut commands = Pipeline::new();
    for name in ASKED {
        commands.cmd("CONFIG").arg("GET").arg(name);
    }
    let settings: Option<Vec<String>> = link.ask(&commands, limit).await?.iter().map(setting).collect();
    settings.and_then(|settings| settings.try_into().ok()).ok_or_else(|| Cause::passing("CONFIG is refused"))
}

/// The value in a name and its value.
fn setting(reply: &Value) -> Option<String> {
    match reply {
        Value::Array(pair) => text(pair.get(1)?).map(str::to_owned),
        Value::Map(pairs) => text(&pairs.first()?.1).map(str::to_owned),
        _ => None,
    }
}
