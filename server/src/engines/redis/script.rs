//! The Lua scripts, and a request as commands.

use std::sync::LazyLock;

use ::redis::{Pipeline, Script};

use super::request::{Ask, Item};

/// A Lua script, known to a node by its hash once it was loaded there.
pub struct Code {
    pub text: &'static str,
    hash: LazyLock<String>,
}

/// Writes a record if the stored revision, or the whole stored record, is the expected one. Revisions are compared as
/// text, with the space after them: Lua's numbers lose what is above 2^53.
const WRITE_TEXT: &str = "local stored = redis.call('GET', KEYS[1])
local revision = stored and (string.match(stored, '^%d+ ') or '?') or ''
if revision ~= ARGV[1] and stored ~= ARGV[1] then return 0 end
if ARGV[3] then
  redis.call('SET', KEYS[1], ARGV[2], 'PX', ARGV[3])
else
  redis.call('SET', KEYS[1], ARGV[2])
end
return 1";
pub static WRITE: Code = Code { text: WRITE_TEXT, hash: LazyLock::new(|| hash(WRITE_TEXT)) };

/// Reads a record, and writes its first byte as it is, so that a `WAIT` after it covers what was read.
const READ_TEXT: &str = "local stored = redis.call('GET', KEYS[1])
if stored and #stored > 0 then redis.call('SETRANGE', KEYS[1], 0, string.sub(stored, 1, 1)) end
return stored";
pub static READ: Code = Code { text: READ_TEXT, hash: LazyLock::new(|| hash(READ_TEXT)) };

fn hash(text: &str) -> String {
    Script::new(text).get_hash().to_owned()
}

/// Adds a request to a pipeline. A read that is `covering` writes, so that a `WAIT` after it covers what was read.
pub fn add(commands: &mut Pipeline, item: &Item, covering: bool) {
    if item.asking {
        commands.cmd("ASKING");
    }
    let key = &*item.request.key;
    match &item.request.ask {
        Ask::Read if covering => {
            commands.cmd("EVALSHA").arg(&**READ.hash).arg(1).arg(key);
        }
        Ask::Read | Ask::ReadWeak => {
            commands.cmd("GET").arg(key);
        }
        Ask::Write { expected, record, ttl } => {
            commands.cmd("EVALSHA").arg(&**WRITE.hash).arg(1).arg(key).arg(&**expected).arg(&**record);
            if let Some(ttl) = ttl {
                commands.arg(u64::try_from(ttl.as_millis()).unwrap_or(u64::MAX));
            }
        }
    }
}
