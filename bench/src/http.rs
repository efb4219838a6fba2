//! One HTTP/1.1 question and its answer over a plain socket: enough for the coordinator's status page.
//!
//! Deliberately absent: TLS, redirects, chunked bodies, connections that are kept. Every answer is limited in time and
//! size.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

/// Bytes of one answer. A longer one is an error.
pub const RESPONSE_BYTES_MAX: usize = 64 * 1024 * 1024;
/// How long one question may take in all.
const PATIENCE: Duration = Duration::from_secs(8);
const CONNECT_PATIENCE: Duration = Duration::from_secs(2);

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum HttpError {
    /// No connection.
    #[error("cannot connect to {address}: {cause}; is a coordinator running there?")]
    Connect {
        /// Where to.
        address: SocketAddr,
        /// The system's reason.
        cause: io::Error,
    },
    /// The connection broke, or the answer took too long.
    #[error("{address} gave no whole answer to {path}: {cause}")]
    Broken {
        /// Whom was asked.
        address: SocketAddr,
        /// What was asked.
        path: String,
        /// The system's reason.
        cause: io::Error,
    },
    /// It isn't HTTP, or too long.
    #[error("{address} answered {path} with something else than expected: {cause}")]
    Malformed {
        /// Whom was asked.
        address: SocketAddr,
        /// What was asked.
        path: String,
        /// What is wrong.
        cause: String,
    },
    /// An error of the server.
    #[error("{address} answered {path} with status {status}: {body}")]
    Status {
        /// Whom was asked.
        address: SocketAddr,
        /// What was asked.
        path: String,
        /// The status.
        status: u16,
        /// What it said, cut.
        body: String,
    },
}

/// Asks with a method and without a body; gives the body of an answer with status 200.
pub(crate) fn ask(address: SocketAddr, method: &str, path: &str) -> Result<Vec<u8>, HttpError> {
    let mut stream = TcpStream::connect_timeout(&address, CONNECT_PATIENCE)
        .map_err(|cause| HttpError::Connect { address, cause })?;
    let broken = |cause| HttpError::Broken { address, path: path.to_owned(), cause };
    let malformed =
        |cause: &str| HttpError::Malformed { address, path: path.to_owned(), cause: cause.to_owned() };
    let deadline = Instant::now() + PATIENCE;
    stream.set_write_timeout(Some(PATIENCE)).map_err(broken)?;
    let question = format!(
        "{method} {path} HTTP/1.1\r\nHost: {address}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
    );
    stream.write_all(question.as_bytes()).map_err(broken)?;

    let mut answer = Vec::new();
    let mut part = [0; 16 * 1024];
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(broken(io::ErrorKind::TimedOut.into()));
        }
        stream.set_read_timeout(Some(left)).map_err(broken)?;
        match stream.read(&mut part) {
            Ok(0) => break,
            Ok(read) => answer.extend_from_slice(&part[..read]),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(broken(error)),
        }
        if answer.len() > RESPONSE_BYTES_MAX {
            return Err(malformed("it is too long"));
        }
    }
    let answer = parse(&answer).map_err(malformed)?;
    if answer.status != 200 {
        let body = String::from_utf8_lossy(&answer.body[..answer.body.len().min(300)]).into_owned();
        return Err(HttpError::Status { address, path: path.to_owned(), status: answer.status, body });
    }
    Ok(answer.body)
}

#[derive(Debug, PartialEq)]
struct Answer {
    status: u16,
    body: Vec<u8>,
}

fn parse(bytes: &[u8]) -> Result<Answer, &'static str> {
    let end = bytes.windows(4).position(|four| four == b"\r\n\r\n").ok_or("it has no end of its head")?;
    let head = std::str::from_utf8(&bytes[..end]).map_err(|_| "its head is not text")?;
    let mut lines = head.split("\r\n");
    let first = lines.next().filter(|line| line.starts_with("HTTP/1.")).ok_or("it is not HTTP/1")?;
    let status = first.split(' ').nth(1).and_then(|word| word.parse().ok()).ok_or("it has no status")?;
    let mut body = &bytes[end + 4..];
    for (name, value) in lines.filter_map(|line| line.split_once(':')) {
        if name.eq_ignore_ascii_case("transfer-encoding") {
            return Err("it is chunked, which isn't understood here");
        }
        if name.eq_ignore_ascii_case("content-length") {
            let length: usize = value.trim().parse().map_err(|_| "its length is no number")?;
            body = body.get(..length).ok_or("it ended too early")?;
        }
    }
    Ok(Answer { status, body: body.to_vec() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_its_status_and_as_much_body_as_its_length_says() {
        let answer = parse(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nX: y\r\n\r\n{}more").unwrap();
        assert_eq!(answer, Answer { status: 200, body: b"{}".to_vec() });
        assert_eq!(parse(b"HTTP/1.1 503 Busy\r\n\r\nno").unwrap().status, 503);
    }

    #[test]
    fn what_is_no_whole_answer_is_an_error() {
        let cut: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n{}";
        let chunked: &[u8] = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n";
        for bytes in
            [b"".as_slice(), b"hello\r\n\r\n", b"HTTP/1.1 200 OK\r\n", b"HTTP/1.1\r\n\r\n", cut, chunked]
        {
            assert!(parse(bytes).is_err(), "{:?}", String::from_utf8_lossy(bytes));
        }
    }
}
