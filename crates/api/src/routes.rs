//! The list of operations that a slice of the API serves. It is a router that remembers its routes, so that the OpenAPI
//! document and the contract test cannot miss one.

use axum::{
    Router,
    handler::Handler,
    routing::{get, post},
};
use control::Control;

/// What every handler is given.
#[derive(Clone)]
pub struct AppState {
    pub control: Control,
}

/// One operation: method and path below `/api/v1`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Operation {
    pub method: &'static str,
    pub path: &'static str,
}

#[derive(Default)]
pub struct Routes {
    router: Router<AppState>,
    operations: Vec<Operation>,
}

impl Routes {
    pub fn new() -> Self {
        Self::default()
    }

    /// `path` lies below `/api/v1`, as in `/connections/create`.
    pub fn post<H: Handler<T, AppState>, T: 'static>(mut self, path: &'static str, handler: H) -> Self {
        self.router = self.router.route(path, post(handler));
        self.operations.push(Operation { method: "POST", path });
        self
    }

    pub fn get<H: Handler<T, AppState>, T: 'static>(mut self, path: &'static str, handler: H) -> Self {
        self.router = self.router.route(path, get(handler));
        self.operations.push(Operation { method: "GET", path });
        self
    }

    pub fn merge(mut self, other: Self) -> Self {
        self.router = self.router.merge(other.router);
        self.operations.extend(other.operations);
        self
    }

    pub fn operations(&self) -> &[Operation] {
        &self.operations
    }

    pub(crate) fn into_router(self) -> Router<AppState> {
        self.router
    }
}
