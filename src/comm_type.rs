use crate::wire::serde_words;
use crate::words::words;

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
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum CommType {
    /// A voice call, `…/calls/:call_id/…`.
    Call,
    /// A chat, `…/chats/:chat_id/…`.
    Chat,
}

words!(CommType as "comm_type": Call = "call", Chat = "chat");
serde_words!(CommType);
