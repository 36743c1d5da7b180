use alloc::borrow::Cow;

use serde::ser::{Serialize, SerializeMap, Serializer};
use validator::{Validate, ValidationError, ValidationErrors};

use crate::de::serde_object;
use crate::end_user::{EndUserFields, Rules};
use crate::{CommType, EndUser, EndUserError, EndUserField, Endpoint, LinkError, Param, RequiredParam};

/// A request to link a session to its end user, as it was sent and before it is validated.
///
/// A server deserialises it from the request's body, with any self-describing serde format. It then adds the path's comm
/// type with [`with_endpoint`](Self::with_endpoint), and passes the request to [`apply_link`](crate::apply_link), which
/// validates it. A client fills the fields and serialises it.
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
/// - a known field given twice (*ours*: Rails takes the last one), because an ambiguous identity is never guessed;
/// - a number that is too great for a 64-bit float, such as `1e999`, as the value of a known field (*ours*). Inside an array
///   or an object, and in unknown fields, numbers are not looked at. `serde_json` has this rule, and the crate keeps it with
///   `serde_json/arbitrary_precision` too, which any crate of your build may switch on.
///
/// No error repeats a value.
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
    /// The same request with the comm type of the path, which overrides the body's.
    ///
    /// - The segments `calls` and `chats` are the comm types `call` and `chat`.
    /// - An empty segment is a blank comm type, so row 1.
    /// - Any other segment is none that the contract knows, so row 4. The singular `call` and `chat` are no exception,
    ///   because a session has one URL.
    ///
    /// ```
    /// use midsession::{Endpoint, LinkRequest, Param};
    ///
    /// let path = "/apps/api/v1/chats/42/end_user";
    /// let endpoint = Endpoint::parse(path).ok_or("not the endpoint")?;
    /// let request: LinkRequest = serde_json::from_str(r#"{"comm_type":"call"}"#)?;
    /// let request = request.with_endpoint(&endpoint);
    /// assert_eq!(request.comm_type, Param::from("chat"));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn with_endpoint(self, endpoint: &Endpoint<'_>) -> Self {
        self.with_comm_type(endpoint.comm_type_param())
    }

    /// The same request with this comm type, which overrides the body's even if it is blank.
    ///
    /// Use it where there is no [`Endpoint`]. Pass a [`CommType`] or text.
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
    pub(crate) fn to_end_user(&self, rules: Rules) -> Result<EndUser, EndUserError> {
        self.fields(rules).map(EndUserFields::to_end_user)
    }

    /// Rows 2 and 3 of the table: all fields, or why the first one is refused.
    pub(crate) fn fields(&self, rules: Rules) -> Result<EndUserFields<'_>, EndUserError> {
        Ok(EndUserFields {
            identifier: self.field(EndUserField::Identifier, rules)?,
            name: self.field(EndUserField::Name, rules)?,
            email: self.field(EndUserField::Email, rules)?,
            phone: self.field(EndUserField::Phone, rules)?,
        })
    }

    fn field(&self, field: EndUserField, rules: Rules) -> Result<&str, EndUserError> {
        let text = self.param(field).text_or_blank().ok_or(EndUserError::Invalid(field))?;
        field.check(text, rules)
    }

    /// Whether the request's comm type is this one.
    pub(crate) fn is_for(&self, comm_type: CommType) -> bool {
        self.comm_type.as_text() == Some(comm_type.as_str())
    }
}

serde_object!(LinkRequest: comm_type, identifier, name, email, phone);

/// The body that a client sends: an object of the params that are not blank. A param that is not text is written as `false`,
/// which is read back as [`Param::NotText`].
impl Serialize for LinkRequest<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let fields = EndUserField::ALL.iter().map(|field| (field.as_str(), self.param(*field)));
        let params = [(RequiredParam::CommType.as_str(), &self.comm_type)].into_iter().chain(fields);
        // A map and not a struct, which some formats write as an array.
        let mut map = serializer.serialize_map(None)?;
        for (key, param) in params.filter(|(_, param)| !param.is_blank()) {
            match param.as_text() {
                Some(text) => map.serialize_entry(key, text)?,
                None => map.serialize_entry(key, &false)?,
            }
        }
        map.end()
    }
}

/// For extractors that use this trait: rows 1 to 3 of the table, by the same rules as [`apply_link`](crate::apply_link).
///
/// `validate` succeeds exactly if `apply_link` gets past row 3, and it reports all errors at once. Errors are keyed by
/// field (`comm_type`, `identifier`, `name`, `email`, `phone`). Their code is `missing` (required, but blank) or `invalid`.
/// They hold no values.
impl Validate for LinkRequest<'_> {
    fn validate(&self) -> Result<(), ValidationErrors> {
        let comm_type = self.comm_type.is_blank().then_some(LinkError::MissingParam(RequiredParam::CommType));
        let fields = EndUserField::ALL.iter().filter_map(|field| self.field(*field, Rules::Current).err());
        let mut errors = ValidationErrors::new();
        for refusal in comm_type.into_iter().chain(fields.map(EndUserError::into_link_error)) {
            let code = if let LinkError::MissingParam(_) = refusal { "missing" } else { "invalid" };
            let error = ValidationError::new(code).with_message(Cow::Borrowed(refusal.text().message));
            errors.add(refusal.param().unwrap_or_default(), error);
        }
        if errors.is_empty() { Ok(()) } else { Err(errors) }
    }
}
