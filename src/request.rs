use alloc::borrow::Cow;

use validator::{Validate, ValidationError, ValidationErrors};

use crate::de::serde_object;
use crate::end_user::EndUserFields;
use crate::{EndUser, EndUserError, EndUserField, LinkError, Param, RequiredParam};

/// A request to link a session to its end user, as it was sent and before it is validated.
///
/// Deserialise it from the request's body, with any self-describing serde format. Then set the transport's comm type, and
/// pass the request to [`apply_link`](crate::apply_link), which validates it.
///
/// - Text is borrowed from the body if the format allows it, as `serde_json` does for a slice or a string. Where a type
///   must own its text (`axum::Json` and the like), use [`OwnedLinkRequest`](crate::OwnedLinkRequest).
/// - A body that is not an object (`[]`, `null`, `"x"`, `["chat", "abc"]`) has no params, so all are blank. An array is
///   never read by position.
/// - Unknown fields are ignored.
/// - `null`, `""` and the other blank values of [`Param`] count as absent.
///
/// ```
/// use midsession::{CommType, LinkRequest, Param};
///
/// let body = br#"{"identifier": "unique_external_id", "phone": 1234567890}"#;
/// let request: LinkRequest = serde_json::from_slice(body)?;
/// let request = request.with_comm_type(CommType::Chat);
/// assert_eq!(request.identifier, Param::from("unique_external_id"));
/// assert_eq!(request.email, Param::Blank);
/// assert_eq!(request.phone, Param::NotText);
/// # Ok::<(), serde_json::Error>(())
/// ```
///
/// # Errors
/// Deserialising fails on:
/// - bytes that the format cannot read, such as invalid JSON;
/// - a known field given twice (*ours*: Rails takes the last one), because an ambiguous identity is never guessed.
///
/// Neither error repeats a value.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct LinkRequest<'a> {
    /// `call` or `chat`; see [`with_comm_type`](Self::with_comm_type).
    pub comm_type: Param<'a>,
    /// The person's unique external id. Required.
    pub identifier: Param<'a>,
    /// The person's name.
    pub name: Param<'a>,
    /// The person's e-mail address.
    pub email: Param<'a>,
    /// The person's phone number.
    pub phone: Param<'a>,
}

impl<'a> LinkRequest<'a> {
    /// The same request with the transport's comm type, which overrides the body's even if it is blank.
    ///
    /// Pass [`Endpoint::comm_type`](crate::Endpoint::comm_type), a [`CommType`](crate::CommType), or text.
    ///
    /// ```
    /// use midsession::{CommType, LinkRequest, Param};
    ///
    /// let request: LinkRequest = serde_json::from_str(r#"{"comm_type":"call"}"#)?;
    /// let request = request.with_comm_type(CommType::Chat);
    /// assert_eq!(request.comm_type, Param::from("chat"));
    /// # Ok::<(), serde_json::Error>(())
    /// ```
    #[must_use]
    pub fn with_comm_type(self, comm_type: impl Into<Param<'a>>) -> Self {
        Self { comm_type: comm_type.into(), ..self }
    }

    /// The same request with text of its own, for a queue, or for a task that outlives the request's bytes.
    ///
    /// Where a type must be `DeserializeOwned`, use [`OwnedLinkRequest`](crate::OwnedLinkRequest) instead.
    ///
    /// ```
    /// use midsession::LinkRequest;
    ///
    /// let body = String::from(r#"{"identifier":"id-1"}"#);
    /// let request: LinkRequest<'static> =
    ///     serde_json::from_str::<LinkRequest>(&body)?.into_owned();
    /// drop(body);
    /// assert_eq!(request.identifier.as_text(), Some("id-1"));
    /// # Ok::<(), serde_json::Error>(())
    /// ```
    #[must_use]
    pub fn into_owned(self) -> LinkRequest<'static> {
        LinkRequest {
            comm_type: self.comm_type.into_owned(),
            identifier: self.identifier.into_owned(),
            name: self.name.into_owned(),
            email: self.email.into_owned(),
            phone: self.phone.into_owned(),
        }
    }

    /// The param for this field of the end user.
    ///
    /// ```
    /// use midsession::{EndUserField, LinkRequest, Param};
    ///
    /// let request = LinkRequest { phone: "123-456-7890".into(), ..LinkRequest::default() };
    /// assert_eq!(*request.param(EndUserField::Phone), Param::from("123-456-7890"));
    /// ```
    #[must_use]
    pub const fn param(&self, field: EndUserField) -> &Param<'a> {
        match field {
            EndUserField::Identifier => &self.identifier,
            EndUserField::Name => &self.name,
            EndUserField::Email => &self.email,
            EndUserField::Phone => &self.phone,
        }
    }

    /// The end user that the request names, whatever its comm type.
    pub(crate) fn to_end_user(&self, accepts: impl Fn(EndUserField, &str) -> bool) -> Result<EndUser, EndUserError> {
        self.fields(accepts).map(EndUserFields::to_end_user)
    }

    /// Rows 2 and 3 of the table: all fields, or why the first one is refused.
    pub(crate) fn fields(
        &self,
        accepts: impl Fn(EndUserField, &str) -> bool,
    ) -> Result<EndUserFields<'_>, EndUserError> {
        Ok(EndUserFields {
            identifier: self.field(EndUserField::Identifier, &accepts)?,
            name: self.field(EndUserField::Name, &accepts)?,
            email: self.field(EndUserField::Email, &accepts)?,
            phone: self.field(EndUserField::Phone, &accepts)?,
        })
    }

    fn field(&self, field: EndUserField, accepts: impl Fn(EndUserField, &str) -> bool) -> Result<&str, EndUserError> {
        let text = self.param(field).text_or_blank().ok_or(EndUserError::Invalid(field))?;
        field.check(text, accepts)
    }
}

serde_object!(LinkRequest: comm_type, identifier, name, email, phone);

/// For extractors that use this trait: rows 1 to 3 of the table, by the same rules as [`apply_link`](crate::apply_link).
///
/// `validate` succeeds exactly if `apply_link` gets past row 3, and it reports all errors at once. Errors are keyed by
/// field (`comm_type`, `identifier`, `name`, `email`, `phone`). Their code is `missing` (required, but blank) or `invalid`.
/// They hold no values.
impl Validate for LinkRequest<'_> {
    fn validate(&self) -> Result<(), ValidationErrors> {
        let mut errors = ValidationErrors::new();
        if self.comm_type.is_blank() {
            let missing = RequiredParam::CommType;
            errors.add(missing.as_str(), error("missing", LinkError::MissingParam(missing)));
        }
        for &field in EndUserField::ALL {
            if let Err(refusal) = self.field(field, EndUserField::accepts) {
                let code = if refusal == EndUserError::Missing { "missing" } else { "invalid" };
                errors.add(field.as_str(), error(code, refusal.into_link_error()));
            }
        }
        if errors.is_empty() { Ok(()) } else { Err(errors) }
    }
}

fn error(code: &'static str, refusal: LinkError) -> ValidationError {
    ValidationError::new(code).with_message(Cow::Borrowed(refusal.message()))
}
