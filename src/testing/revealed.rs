use core::fmt::{Debug, Formatter, Result as Formatted};
use std::prelude::rust_2024::*;

use crate::{
    Accepted, Active, AnySession, EndUser, Ended, Endpoint, LinkRequest, OwnedLinkRequest, Param, Session, State,
};

/// The same value with a `Debug` that shows the text which its own `Debug` hides.
///
/// Use it in tests, where the people are made up: a failing comparison of two sessions whose text is hidden prints two
/// lines that are the same. It works on everything of this crate that hides text, and on references, options, results,
/// slices and vectors of it. Never log it.
///
/// ```
/// use midsession::EndUser;
/// use midsession::testing::revealed;
///
/// let end_user = EndUser::new("id-1")?;
/// assert!(format!("{end_user:?}").contains("<redacted>"));
/// assert!(format!("{:?}", revealed(&end_user)).contains("id-1"));
/// # Ok::<(), midsession::EndUserError>(())
/// ```
pub fn revealed<T: Reveal + ?Sized>(value: &T) -> Revealed<'_, T> {
    Revealed(value)
}

/// What [`revealed`] returns. Two of them are equal if what they show is equal, so `assert_eq!` can compare them.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Revealed<'a, T: ?Sized>(&'a T);

impl<T: Reveal + ?Sized> Debug for Revealed<'_, T> {
    fn fmt(&self, formatter: &mut Formatter<'_>) -> Formatted {
        self.0.reveal(formatter)
    }
}

/// What [`revealed`] can show. Sealed.
pub trait Reveal: sealed::Reveal {}

impl<T: sealed::Reveal + ?Sized> Reveal for T {}

mod sealed {
    use core::fmt::{Formatter, Result};

    pub trait Reveal {
        /// # Errors
        /// The formatter's.
        fn reveal(&self, formatter: &mut Formatter<'_>) -> Result;
    }
}

impl sealed::Reveal for EndUser {
    fn reveal(&self, formatter: &mut Formatter<'_>) -> Formatted {
        formatter
            .debug_struct("EndUser")
            .field("identifier", &self.identifier())
            .field("name", &self.name())
            .field("email", &self.email())
            .field("phone", &self.phone())
            .finish()
    }
}

impl sealed::Reveal for Param<'_> {
    fn reveal(&self, formatter: &mut Formatter<'_>) -> Formatted {
        match self {
            Self::Text(text) => formatter.debug_tuple("Text").field(text).finish(),
            Self::Blank | Self::NotText => Debug::fmt(self, formatter),
        }
    }
}

impl sealed::Reveal for LinkRequest<'_> {
    fn reveal(&self, formatter: &mut Formatter<'_>) -> Formatted {
        formatter
            .debug_struct("LinkRequest")
            .field("comm_type", &revealed(&self.comm_type))
            .field("identifier", &revealed(&self.identifier))
            .field("name", &revealed(&self.name))
            .field("email", &revealed(&self.email))
            .field("phone", &revealed(&self.phone))
            .finish()
    }
}

impl sealed::Reveal for OwnedLinkRequest {
    fn reveal(&self, formatter: &mut Formatter<'_>) -> Formatted {
        let request = LinkRequest::from(self.clone());
        formatter.debug_tuple("OwnedLinkRequest").field(&revealed(&request)).finish()
    }
}

impl<S: State> sealed::Reveal for Session<S> {
    fn reveal(&self, formatter: &mut Formatter<'_>) -> Formatted {
        formatter
            .debug_struct("Session")
            .field("comm_type", &self.comm_type)
            .field("crm_support", &self.crm_support)
            .field("end_user", &revealed(&self.end_user))
            .field("last_linked_at", &self.last_linked_at)
            .field("revision", &self.revision)
            .field("state", &self.state)
            .finish()
    }
}

impl sealed::Reveal for AnySession {
    fn reveal(&self, formatter: &mut Formatter<'_>) -> Formatted {
        match self {
            Self::Active(session) => {
                formatter.debug_tuple("Active").field(&revealed::<Session<Active>>(session)).finish()
            }
            Self::Ended(session) => formatter.debug_tuple("Ended").field(&revealed::<Session<Ended>>(session)).finish(),
        }
    }
}

impl sealed::Reveal for Accepted {
    fn reveal(&self, formatter: &mut Formatter<'_>) -> Formatted {
        formatter
            .debug_struct("Accepted")
            .field("session", &revealed(self.session()))
            .field("change", &self.change())
            .finish()
    }
}

impl sealed::Reveal for Endpoint<'_> {
    fn reveal(&self, formatter: &mut Formatter<'_>) -> Formatted {
        // The whole path: it shows the segment, which `Debug` hides, and the session id.
        formatter.debug_tuple("Endpoint").field(&self.to_string()).finish()
    }
}

impl<T: sealed::Reveal + ?Sized> sealed::Reveal for &T {
    fn reveal(&self, formatter: &mut Formatter<'_>) -> Formatted {
        (**self).reveal(formatter)
    }
}

impl<T: sealed::Reveal> sealed::Reveal for Option<T> {
    fn reveal(&self, formatter: &mut Formatter<'_>) -> Formatted {
        Debug::fmt(&self.as_ref().map(revealed), formatter)
    }
}

/// The error is shown as it is: no error of this crate holds a person's data.
impl<T: sealed::Reveal, E: Debug> sealed::Reveal for Result<T, E> {
    fn reveal(&self, formatter: &mut Formatter<'_>) -> Formatted {
        Debug::fmt(&self.as_ref().map(revealed), formatter)
    }
}

impl<T: sealed::Reveal> sealed::Reveal for [T] {
    fn reveal(&self, formatter: &mut Formatter<'_>) -> Formatted {
        formatter.debug_list().entries(self.iter().map(revealed)).finish()
    }
}

impl<T: sealed::Reveal, const N: usize> sealed::Reveal for [T; N] {
    fn reveal(&self, formatter: &mut Formatter<'_>) -> Formatted {
        self.as_slice().reveal(formatter)
    }
}

impl<T: sealed::Reveal> sealed::Reveal for Vec<T> {
    fn reveal(&self, formatter: &mut Formatter<'_>) -> Formatted {
        self.as_slice().reveal(formatter)
    }
}
