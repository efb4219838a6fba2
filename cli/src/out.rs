//! What the command line says: figures on stdout, everything else on stderr.

#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a command-line tool speaks on the terminal")]

/// Prints what was asked for.
pub(crate) fn print(text: &str) {
    println!("{text}");
}

/// Says what is going on.
pub(crate) fn say(text: &str) {
    eprintln!("{text}");
}

/// Says what went wrong.
pub(crate) fn complain(text: &str) {
    eprintln!("selvedge: {text}");
}
