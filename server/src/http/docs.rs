//! The API's page: Swagger UI, its files inside the binary. A browser fetches nothing from elsewhere for it.

use std::borrow::Cow;
use std::sync::Arc;

use axum::Router;
use axum::body::Bytes;
use axum::extract::{Path, State};
use axum::http::header::{
    CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, REFERRER_POLICY, X_CONTENT_TYPE_OPTIONS,
};
use axum::response::{IntoResponse, Redirect, Response};
use axum::routing::get;
use utoipa_swagger_ui::{Config, serve};

use super::paths::DOCS;
use super::reply::Reply;

/// Scripts, styles and requests are this server's own; the images are the page's, some of them written into its styles.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; \
                      base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// The page for the description at `description`.
pub(crate) fn router<S: Clone + Send + Sync + 'static>(description: &str) -> Router<S> {
    // Relative, so that a proxy may serve all this below another path. The validator would be another's server.
    let config = Config::from(format!("..{description}")).try_it_out_enabled(true).validator_url("none");
    let config = Arc::new(config.use_base_layout());
    Router::new()
        .route(DOCS, get(async || Redirect::permanent("docs/")))
        .route(&format!("{DOCS}/"), get(async |State(config): State<Arc<Config<'static>>>| file("", config)))
        .route(
            &format!("{DOCS}/{{file}}"),
            get(async |State(config): State<Arc<Config<'static>>>, Path(name): Path<String>| file(&name, config)),
        )
        .with_state(config)
}

fn file(name: &str, config: Arc<Config<'static>>) -> Response {
    match serve(name, config) {
        Ok(Some(file)) => {
            let headers = [
                (CONTENT_TYPE, file.content_type.as_str()),
                (CONTENT_SECURITY_POLICY, POLICY),
                (X_CONTENT_TYPE_OPTIONS, "nosniff"),
                (REFERRER_POLICY, "no-referrer"),
                // As long as one server's life at most: the next may have another version.
                (CACHE_CONTROL, "no-cache"),
            ];
            // Not copied: a client that asks for it need not read it.
            let bytes = match file.bytes {
                Cow::Borrowed(bytes) => Bytes::from_static(bytes),
                Cow::Owned(bytes) => bytes.into(),
            };
            (headers, bytes).into_response()
        }
        _ => Reply::NOT_FOUND.into_response(),
    }
}
