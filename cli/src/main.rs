//! One binary for a whole mesh.

fn main() {}
