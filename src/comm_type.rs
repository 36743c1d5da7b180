use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::wire;

/// The kind of a support session: a call or a chat.
///
/// Its text is that of the published contract, `call` and `chat`, in `Display`, `FromStr` and serde alike; no other
/// spelling is read. Exhaustive on purpose: the contract is closed, and a `match` of yours should break at compile time
/// if it ever grows.
///
/// ```
/// use midsession::CommType;
///
/// assert_eq!("chat".parse(), Ok(CommType::Chat));
/// assert_eq!(CommType::Call.to_string(), "call");
/// assert!("Chat".parse::<CommType>().is_err());
/// ```
#[derive(
    Clone,
    Copy,
    Debug,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    strum::Display,
    strum::EnumString,
    strum::IntoStaticStr,
    strum::VariantArray,
)]
#[strum(serialize_all = "snake_case")]
pub enum CommType {
    /// A voice call, `…/calls/:call_id/…`.
    Call,
    /// A chat, `…/chats/:chat_id/…`.
    Chat,
}

impl Serialize for CommType {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.into())
    }
}

impl<'de> Deserialize<'de> for CommType {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        wire::word(deserializer, "comm_type", "`call` or `chat`")
    }
}
