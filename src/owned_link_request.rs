use serde::de::{Deserialize, Deserializer};
use serde::ser::{Serialize, Serializer};
use validator::{Validate, ValidationErrors};

use crate::LinkRequest;

/// A [`LinkRequest`] that owns its text.
///
/// Use it where a type must be `DeserializeOwned` or `'static`: in the typed extractors of axum, actix-web and the like, in
/// queues, and in tasks that outlive the request's bytes. It is deserialised exactly as a [`LinkRequest`] is, and then
/// copies each text: up to five allocations, where a borrowed request has none.
///
/// Its one field is the request. `Debug` shows no text.
///
/// ```
/// use midsession::{CommType, LinkRequest, OwnedLinkRequest, Param};
///
/// let body = String::from(r#"{"identifier": "id-1", "phone": 1234567890}"#);
/// let OwnedLinkRequest(request) = serde_json::from_str(&body)?;
/// drop(body);
/// assert_eq!(request.identifier, Param::from("id-1"));
///
/// let request: LinkRequest<'static> = request.with_comm_type(CommType::Chat);
/// assert_eq!(request.phone, Param::NotText);
/// # Ok::<(), serde_json::Error>(())
/// ```
///
/// # Errors
/// Deserialising fails where it fails for a [`LinkRequest`].
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct OwnedLinkRequest(
    /// The request.
    pub LinkRequest<'static>,
);

impl From<LinkRequest<'_>> for OwnedLinkRequest {
    fn from(request: LinkRequest<'_>) -> Self {
        Self(request.into_owned())
    }
}

impl From<OwnedLinkRequest> for LinkRequest<'static> {
    fn from(request: OwnedLinkRequest) -> Self {
        request.0
    }
}

impl<'de> Deserialize<'de> for OwnedLinkRequest {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        LinkRequest::deserialize(deserializer).map(Self::from)
    }
}

/// The same as for [`LinkRequest`].
impl Serialize for OwnedLinkRequest {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.0.serialize(serializer)
    }
}

/// The same as for [`LinkRequest`].
impl Validate for OwnedLinkRequest {
    fn validate(&self) -> Result<(), ValidationErrors> {
        self.0.validate()
    }
}
