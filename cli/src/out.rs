//! What the command line says: figures on stdout, everything else on stderr.

#![allow(clippy::print_stderr, reason = "a command-line tool speaks on the terminal")]

use std::io::{self, Write};

/// Prints what was asked for. Whoever stops reading (`| head`) has had enough: that is no error.
pub(crate) fn print(text: &str) {
    if writeln!(io::stdout(), "{text}").is_err() {
        std::process::exit(0);
    }
}

/// Says what is going on.
pub(crate) fn say(text: &str) {
    eprintln!("{text}");
}

/// Says what went wrong.
pub(crate) fn complain(text: &str) {
    eprintln!("selvedge: {text}");
}
