use core::ops::Deref;

use serde::de::{Deserialize, Deserializer};
use validator::{Validate, ValidationErrors};

use crate::{LinkRequest, Param};

/// A [`LinkRequest`] that owns its text.
///
/// Use it where a type must be `DeserializeOwned` or `'static`: in the typed extractors of axum, actix-web and the like, in
/// queues, and in tasks that outlive the request's bytes. It is deserialised exactly as a [`LinkRequest`] is, and then
/// copies each text: up to five allocations, where a borrowed request has none.
///
/// It dereferences to [`LinkRequest`], so [`apply_link`](crate::apply_link) takes a reference to it. `Debug` shows no text.
///
/// ```
/// use midsession::{CommType, LinkRequest, OwnedLinkRequest, Param};
///
/// let body = String::from(r#"{"identifier": "id-1", "phone": 1234567890}"#);
/// let owned: OwnedLinkRequest = serde_json::from_str(&body)?;
/// drop(body);
/// assert_eq!(owned.identifier, Param::from("id-1"));
///
/// let request: LinkRequest<'static> = owned.with_comm_type(CommType::Chat);
/// assert_eq!(request.phone, Param::NotText);
/// # Ok::<(), serde_json::Error>(())
/// ```
///
/// # Errors
/// Deserialising fails where it fails for a [`LinkRequest`].
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct OwnedLinkRequest(LinkRequest<'static>);

impl OwnedLinkRequest {
    /// The request with the transport's comm type, which overrides the body's even if it is blank.
    #[must_use]
    pub fn with_comm_type(self, comm_type: impl Into<Param<'static>>) -> LinkRequest<'static> {
        self.0.with_comm_type(comm_type)
    }
}

impl Deref for OwnedLinkRequest {
    type Target = LinkRequest<'static>;

    fn deref(&self) -> &Self::Target {
        &self.0
    }
}

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
impl Validate for OwnedLinkRequest {
    fn validate(&self) -> Result<(), ValidationErrors> {
        self.0.validate()
    }
}
