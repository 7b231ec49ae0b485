//! A web server for one page, on this machine alone.
//!
//! Every address begins with a random token; without it, or under a host name that is not this machine's (a page elsewhere
//! whose name was made to point here, "DNS rebinding"), the answer is 403. A connection serves one request. Any number of
//! viewers may watch; keys are those of who pressed last.
//!
//! | request | answer |
//! |---|---|
//! | `GET /TOKEN/` | the page |
//! | `GET /TOKEN/world` | what is played and its levers, JSON |
//! | `GET /TOKEN/events` | server-sent events: the newest instant, JSON; a slow reader misses some |
//! | `POST /TOKEN/order` | an order ([`Order`]), JSON; 204 |

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use super::controls::Order;
use super::desk::Desk;
use crate::failure::{Failure, Outcome};

/// Bytes of the token.
const TOKEN_BYTES: usize = 16;
/// Longest request line and headers, and longest body.
const HEAD_BYTES: u64 = 16 << 10;
const BODY_BYTES: usize = 64 << 10;
/// How long a connection may be silent.
const PATIENCE: Duration = Duration::from_secs(10);
/// Connections at a time.
const CONNECTIONS: usize = 64;
/// A viewer hears at least this often, so that one that is gone is noticed.
const SIGN_OF_LIFE: Duration = Duration::from_secs(1);

/// Sent with everything: the page takes nothing from elsewhere, and tells nobody its address.
const HEADERS: &str = concat!(
    "Cache-Control: no-store\r\n",
    "Connection: close\r\n",
    "X-Content-Type-Options: nosniff\r\n",
    "Referrer-Policy: no-referrer\r\n",
    "Cross-Origin-Resource-Policy: same-origin\r\n",
    "X-Frame-Options: DENY\r\n",
    "Content-Security-Policy: default-src 'none'; img-src data:; style-src 'unsafe-inline'; ",
    "script-src 'unsafe-inline'; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'\r\n",
);

/// Where the page is served.
pub struct Server {
    address: SocketAddr,
    token: String,
}

impl Server {
    /// Begins to serve `page` on 127.0.0.1; a free port if `port` is 0.
    pub fn start(port: u16, page: &'static str, desk: Arc<Desk>) -> Outcome<Self> {
        let failed = |error: io::Error| {
            let what = format!("cannot listen on 127.0.0.1:{port}: {error}");
            Failure::bad_input(what, "choose another --port, or leave it out for a free one")
        };
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).map_err(failed)?;
        let address = listener.local_addr().map_err(failed)?;
        let mut bytes = [0; TOKEN_BYTES];
        getrandom::fill(&mut bytes)
            .map_err(|error| Failure::failed(format!("the system gives no random numbers: {error}"), ""))?;
        let token = crate::hex(&bytes);
        let serving = Arc::new(Serving { token: token.clone(), page, desk, open: AtomicUsize::new(0) });
        let accept = move || {
            for stream in listener.incoming().flatten() {
                serving.clone().take(stream);
            }
        };
        // It ends with the program.
        std::thread::Builder::new().name("server".to_owned()).spawn(accept).map_err(failed)?;
        Ok(Self { address, token })
    }

    /// The page's address.
    pub fn url(&self) -> String {
        format!("http://{}/{}/", self.address, self.token)
    }
}

struct Serving {
    token: String,
    page: &'static str,
    desk: Arc<Desk>,
    open: AtomicUsize,
}

/// A request that may be answered.
struct Request {
    method: String,
    /// After the token.
    path: String,
    body: Vec<u8>,
}

impl Serving {
    fn take(self: Arc<Self>, stream: TcpStream) {
        if self.open.fetch_add(1, Ordering::SeqCst) >= CONNECTIONS {
            self.open.fetch_sub(1, Ordering::SeqCst);
            return;
        }
        let serving = self.clone();
        let work = move || {
            // Whoever went away needs no answer.
            let _ = serving.serve(stream);
            serving.open.fetch_sub(1, Ordering::SeqCst);
        };
        if std::thread::Builder::new().name("viewer".to_owned()).spawn(work).is_err() {
            self.open.fetch_sub(1, Ordering::SeqCst);
        }
    }

    fn serve(&self, mut stream: TcpStream) -> io::Result<()> {
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_write_timeout(Some(PATIENCE))?;
        stream.set_nodelay(true)?;
        let request = match self.read(&stream)? {
            Ok(request) => request,
            Err(refusal) => {
                answer(&mut stream, refusal, "text/plain", format!("{refusal}\n").as_bytes())?;
                return drain(&mut stream);
            }
        };
        match (request.method.as_str(), request.path.as_str()) {
            ("GET", "") => answer(&mut stream, "200 OK", "text/html; charset=utf-8", self.page.as_bytes()),
            ("GET", "world") => answer(&mut stream, "200 OK", "application/json", self.desk.world().as_bytes()),
            ("GET", "events") => self.stream(&mut stream),
            ("POST", "order") => match serde_json::from_slice::<Order>(&request.body) {
                Ok(order) => {
                    self.desk.order(order);
                    answer(&mut stream, "204 No Content", "text/plain", b"")
                }
                Err(error) => answer(&mut stream, "400 Bad Request", "text/plain", format!("{error}\n").as_bytes()),
            },
            (_, "" | "world" | "events" | "order") => answer(&mut stream, "405 Method Not Allowed", "text/plain", b""),
            _ => answer(&mut stream, "404 Not Found", "text/plain", b"there is no such page\n"),
        }
    }

    /// The request, or the status with which it is refused.
    fn read(&self, stream: &TcpStream) -> io::Result<Result<Request, &'static str>> {
        const BAD: &str = "400 Bad Request";
        let mut reader = BufReader::new(stream);
        let mut head = (&mut reader).take(HEAD_BYTES);
        let mut line = String::new();
        if head.read_line(&mut line)? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let mut words = line.split_whitespace();
        let (Some(method), Some(path), Some(_)) = (words.next(), words.next(), words.next()) else {
            return Ok(Err(BAD));
        };
        let (method, path) = (method.to_owned(), path.to_owned());
        let (mut host, mut origin, mut length) = (None, None, 0);
        loop {
            let mut header = String::new();
            if head.read_line(&mut header)? == 0 || !header.ends_with('\n') {
                return Ok(Err("431 Request Header Fields Too Large"));
            }
            let header = header.trim_end();
            if header.is_empty() {
                break;
            }
            let Some((name, value)) = header.split_once(':') else { return Ok(Err(BAD)) };
            let value = value.trim();
            match name.to_ascii_lowercase().as_str() {
                "host" => host = Some(value.to_owned()),
                "origin" => origin = Some(value.to_owned()),
                "content-length" => match value.parse() {
                    Ok(bytes) if bytes <= BODY_BYTES => length = bytes,
                    _ => return Ok(Err("413 Content Too Large")),
                },
                _ => {}
            }
        }
        const REFUSED: &str = "403 Forbidden";
        let from_here =
            origin.as_deref().is_none_or(|origin| origin.strip_prefix("http://").is_some_and(is_this_machine));
        if !host.as_deref().is_some_and(is_this_machine) || !from_here {
            return Ok(Err(REFUSED));
        }
        let path = path.split('?').next().unwrap_or_default();
        let (token, rest) = path.trim_start_matches('/').split_once('/').unwrap_or((path.trim_start_matches('/'), "-"));
        if !same(token.as_bytes(), self.token.as_bytes()) {
            return Ok(Err(REFUSED));
        }
        let rest = rest.to_owned();
        let mut body = vec![0; length];
        reader.read_exact(&mut body)?;
        Ok(Ok(Request { method, path: rest, body }))
    }

    /// Server-sent events until the viewer goes.
    fn stream(&self, stream: &mut TcpStream) -> io::Result<()> {
        stream.write_all(format!("HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n{HEADERS}\r\n").as_bytes())?;
        let viewer = self.desk.watch();
        let mut seen = 0;
        loop {
            match viewer.newer_than(seen, SIGN_OF_LIFE) {
                Some((number, instant)) => {
                    seen = number;
                    stream.write_all(format!("data: {instant}\n\n").as_bytes())?;
                }
                None => stream.write_all(b":\n\n")?,
            }
            stream.flush()?;
        }
    }
}

fn answer(stream: &mut TcpStream, status: &str, kind: &str, body: &[u8]) -> io::Result<()> {
    let length = body.len();
    let head = format!("HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nContent-Length: {length}\r\n{HEADERS}\r\n");
    stream.write_all(head.as_bytes())?;
    stream.write_all(body)?;
    stream.flush()
}

/// Reads what is left of a request that was refused: closed with something unread, the connection would break before the
/// answer is read.
fn drain(stream: &mut TcpStream) -> io::Result<()> {
    stream.shutdown(Shutdown::Write)?;
    stream.set_read_timeout(Some(SIGN_OF_LIFE))?;
    io::copy(&mut stream.take(4 * BODY_BYTES as u64), &mut io::sink()).map(|_| ())
}

/// True for a `Host` that only this machine has. Its port may be another's, as behind a tunnel.
fn is_this_machine(host: &str) -> bool {
    let name = match host.rsplit_once(':') {
        Some((name, port)) if !port.is_empty() && port.bytes().all(|byte| byte.is_ascii_digit()) => name,
        _ => host,
    };
    name == "127.0.0.1" || name.eq_ignore_ascii_case("localhost")
}

/// Compares in a time that does not tell where they differ.
fn same(one: &[u8], other: &[u8]) -> bool {
    one.len() == other.len() && one.iter().zip(other).fold(0, |sum, (a, b)| sum | (a ^ b)) == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_names_of_this_machine_are_hosts() {
        for host in ["127.0.0.1", "127.0.0.1:8080", "localhost:1", "LOCALHOST"] {
            assert!(is_this_machine(host), "{host}");
        }
        for host in
            ["", "evil.example", "127.0.0.1.evil.example", "localhost.evil.example:80", "127.0.0.1:x", "0.0.0.0"]
        {
            assert!(!is_this_machine(host), "{host}");
        }
    }

    #[test]
    fn tokens_are_compared_whole() {
        assert!(same(b"abc", b"abc"));
        assert!(!same(b"abc", b"abd") && !same(b"ab", b"abc") && !same(b"", b"abc"));
    }
}
