//! tonic: the contract over gRPC, with a `.proto` of its own and the standard error model.
//!
//! Fields are typed, so there is no JSON and no path to read: the request is built from the message's fields, and
//! [`midsession::apply_link`] decides it whole. `Session::link` would skip the rows 1 to 6.

use std::sync::Arc;

use midsession::{LinkError, LinkRequest};
use tonic::{Code, Request, Response, Status};
use tonic_types::{ErrorDetails, StatusExt};

use crate::app::{App, labels};

/// What the `.proto` generates.
#[allow(missing_docs, clippy::all, clippy::pedantic, reason = "generated")]
pub mod proto {
    tonic::include_proto!("midsession.v1");
}
use proto::mid_session_server::{MidSession, MidSessionServer};
use proto::{LinkEndUserRequest, LinkEndUserResponse};

/// The gRPC service, for tonic's `Server` or `Routes`.
pub fn service(app: Arc<App>) -> MidSessionServer<impl MidSession> {
    MidSessionServer::new(Service(app))
}

struct Service(Arc<App>);

#[tonic::async_trait]
impl MidSession for Service {
    async fn link_end_user(
        &self,
        message: Request<LinkEndUserRequest>,
    ) -> Result<Response<LinkEndUserResponse>, Status> {
        let message = message.into_inner();
        let request = LinkRequest {
            comm_type: message.comm_type.as_str().into(),
            identifier: message.identifier.as_str().into(),
            name: message.name.as_deref().into(),
            email: message.email.as_deref().into(),
            phone: message.phone.as_deref().into(),
        };
        let Ok(decision) = self.0.link(&message.session_id, &request) else {
            return Err(Status::aborted("try again"));
        };
        let (outcome, param) = labels(&decision);
        tracing::info!(outcome, param, "link");
        match decision {
            Ok(_) => Ok(Response::new(LinkEndUserResponse { message: "accepted".to_owned() })),
            Err(error) => Err(status(error)),
        }
    }
}

fn status(error: LinkError) -> Status {
    let mut details = ErrorDetails::with_error_info(error.kind().as_str(), "midsession", [] as [(String, String); 0]);
    let code = match error {
        LinkError::MissingParam(param) => {
            details.add_bad_request_violation(param.as_str(), "is missing");
            Code::InvalidArgument
        }
        LinkError::InvalidParam(field) => {
            details.add_bad_request_violation(field.as_str(), "is invalid");
            Code::InvalidArgument
        }
        LinkError::NotFound => Code::NotFound,
        LinkError::AlreadyEnded(_) | LinkError::UnsupportedCrm => Code::FailedPrecondition,
        LinkError::Duplicate { retry_after } => {
            details.set_retry_info(Some(retry_after));
            Code::ResourceExhausted
        }
    };
    Status::with_error_details(code, error.to_string(), details)
}
