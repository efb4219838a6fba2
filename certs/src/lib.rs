//! The mesh's private CA: issues node, coordinator and server identities.
