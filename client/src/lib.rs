//! The player's side: connect, send inputs, follow handoffs.
