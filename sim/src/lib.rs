//! The whole mesh on virtual time over a hostile network, from one seed.
