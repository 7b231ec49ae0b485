//! The tests' server of the hub's protocol as a program, for other clients to speak to: prints its address and serves until
//! its input ends. `./x compat hub` lets Python's client use it.

// Tests look into the server more than this does.
#[allow(dead_code)]
#[path = "../it/hub/server.rs"]
mod server;
#[path = "../it/hub/wire.rs"]
mod wire;

use std::io::{Read as _, Write as _};

fn main() -> std::io::Result<()> {
    let server = server::Server::start();
    // With an argument, what is large goes in parts of so many bytes.
    let parts = std::env::args().nth(1).and_then(|bytes| bytes.parse().ok());
    server.fail(server::Faults { parts, ..server::Faults::default() });
    let mut out = std::io::stdout();
    writeln!(out, "{}", server.endpoint())?;
    out.flush()?;
    std::io::stdin().read_to_end(&mut Vec::new()).map(|_| ())
}
