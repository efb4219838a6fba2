//! What can be set on a node: in code ([`MeshNodeConfig`]), or by file, environment and flags ([`NodeArgs`]).
//!
//! Of what is said more than once, a flag counts before the environment, that before the file, that before the default.

mod args;
mod core;
mod error;
mod file;
mod load;
mod runtime;
#[cfg(test)]
mod tests;

pub use args::NodeArgs;
pub use core::CoreSettings;
pub use error::{ConfigError, Origin};
pub use file::{CoordinatorSection, EndpointSection, IdentitySection, NodeFile, TransportSection};
pub use load::{LoadedNode, load};
pub use runtime::MeshNodeConfig;
