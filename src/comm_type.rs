use crate::string_enum::string_enum;

/// The kind of a support session: a call or a chat.
///
/// `Display`, `FromStr` and serde use the published words, `call` and `chat`. No other spelling is accepted.
///
/// The enum is exhaustive on purpose: the contract is closed, and your `match` should fail to compile if it ever changes.
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
    /// A voice call; its path is `…/calls/:call_id/…`.
    Call,
    /// A chat; its path is `…/chats/:chat_id/…`.
    Chat,
}

string_enum!(CommType as "comm_type": Call = "call", Chat = "chat");
