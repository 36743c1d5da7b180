use std::io::{self, Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream};
use std::time::Duration;

/// Longer than a server gives the probe of its database.
const TIMEOUT: Duration = Duration::from_secs(3);
/// As the server begins each answer.
const GOOD: &[u8; 12] = b"HTTP/1.1 200";

/// Asks the server that listens on `listen`, on this machine, for `path`: for images, which have no other client.
///
/// # Errors
/// It does not answer in time, or not with 200.
pub fn health_check(listen: SocketAddr, path: &str) -> Result<(), String> {
    match ask(reachable(listen), path) {
        Ok(answer) if answer == *GOOD => Ok(()),
        Ok(answer) => Err(format!("{path} is not well: {}", String::from_utf8_lossy(&answer))),
        Err(error) => Err(format!("{path} does not answer: {error}")),
    }
}

/// A server on all addresses is on the machine's own, too.
fn reachable(listen: SocketAddr) -> SocketAddr {
    let ip = match listen.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    SocketAddr::new(ip, listen.port())
}

fn ask(server: SocketAddr, path: &str) -> io::Result<[u8; 12]> {
    let mut stream = TcpStream::connect_timeout(&server, TIMEOUT)?;
    stream.set_read_timeout(Some(TIMEOUT))?;
    stream.set_write_timeout(Some(TIMEOUT))?;
    write!(stream, "GET {path} HTTP/1.1\r\nhost: {server}\r\nconnection: close\r\n\r\n")?;
    let mut beginning = [0; 12];
    stream.read_exact(&mut beginning)?;
    Ok(beginning)
}
