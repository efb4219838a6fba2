//! The node runtime to embed in a game server.
