//! The peer's end of HTTP/1.1 over TLS: one request after the other on each connection.

use std::io;
use std::sync::Arc;

use tokio::io::{
    AsyncBufRead, AsyncBufReadExt as _, AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, BufReader,
};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_rustls::TlsAcceptor;

use super::answer::decode;
use super::{Answer, Asked, Body, Shared, lock, serving};
use crate::Authority;

/// The task that accepts connections. Dropping it ends it, and all connections.
pub(super) struct Listener(JoinHandle<()>);

impl Listener {
    pub(super) fn start(bound: TcpListener, authority: &Authority, shared: Arc<Shared>) -> Self {
        let acceptor = acceptor(authority);
        Self(tokio::spawn(async move {
            let mut connections = tokio::task::JoinSet::new();
            while let Ok((stream, _)) = bound.accept().await {
                while connections.try_join_next().is_some() {}
                let (acceptor, shared) = (acceptor.clone(), shared.clone());
                connections.spawn(async move {
                    let _ = stream.set_nodelay(true);
                    // Who breaks off a handshake or a request hears no more.
                    if let Ok(stream) = acceptor.accept(stream).await {
                        let _ = converse(stream, &shared).await;
                    }
                });
            }
        }))
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        self.0.abort();
    }
}

fn acceptor(authority: &Authority) -> TlsAcceptor {
    TlsAcceptor::from(authority.issue(&["localhost", "127.0.0.1"]).server_config())
}

async fn converse(stream: impl AsyncRead + AsyncWrite + Unpin, shared: &Arc<Shared>) -> io::Result<()> {
    let mut stream = BufReader::new(stream);
    while let Some(asked) = read(&mut stream).await? {
        lock(&shared.asked).push(asked.clone());
        let script = lock(&shared.script).clone();
        let answer = script(&asked).unwrap_or_else(|| serving::answer(shared, &asked));
        write(stream.get_mut(), answer).await?;
    }
    Ok(())
}

async fn read(stream: &mut (impl AsyncBufRead + Unpin)) -> io::Result<Option<Asked>> {
    let (mut first, mut length, mut authorization) = (String::new(), 0, String::new());
    if stream.read_line(&mut first).await? == 0 {
        return Ok(None);
    }
    loop {
        let mut line = String::new();
        stream.read_line(&mut line).await?;
        let Some((name, value)) = line.trim_end().split_once(':') else { break };
        match name.to_ascii_lowercase().as_str() {
            "content-length" => length = value.trim().parse().map_err(io::Error::other)?,
            "authorization" => value.trim().clone_into(&mut authorization),
            _ => {}
        }
    }
    let mut body = vec![0; length];
    stream.read_exact(&mut body).await?;
    let mut words = first.split_whitespace().map(str::to_owned);
    let (Some(method), Some(uri)) = (words.next(), words.next()) else { return Ok(None) };
    let path = decode(uri.split('?').next().unwrap_or_default());
    Ok(Some(Asked { method, path, uri, authorization, body }))
}

async fn write(stream: &mut (impl AsyncWrite + Unpin), answer: Answer) -> io::Result<()> {
    let Answer { status, headers, body } = answer;
    let mut head = format!("HTTP/1.1 {status} As the test says\r\ncontent-type: application/json\r\n");
    for (name, value) in headers {
        head += &format!("{name}: {value}\r\n");
    }
    match body {
        Body::Whole(bytes) => {
            head += &format!("content-length: {}\r\n\r\n", bytes.len());
            stream.write_all(head.as_bytes()).await?;
            stream.write_all(&bytes).await?;
        }
        Body::Repeated { start, piece, times, pause } => {
            head += "transfer-encoding: chunked\r\n\r\n";
            stream.write_all(head.as_bytes()).await?;
            write_chunk(stream, &start).await?;
            for _ in 0..times {
                write_chunk(stream, &piece).await?;
                stream.flush().await?;
                tokio::time::sleep(pause).await;
            }
            stream.write_all(b"0\r\n\r\n").await?;
        }
        Body::BrokenOff(bytes) => {
            head += &format!("content-length: {}\r\n\r\n", bytes.len() + 1000);
            stream.write_all(head.as_bytes()).await?;
            stream.write_all(&bytes).await?;
            stream.flush().await?;
            return Err(io::Error::other("broken off as the test says"));
        }
        Body::Never => std::future::pending().await,
    }
    stream.flush().await
}

async fn write_chunk(stream: &mut (impl AsyncWrite + Unpin), bytes: &[u8]) -> io::Result<()> {
    // An empty chunk would be the end.
    if bytes.is_empty() {
        return Ok(());
    }
    stream.write_all(format!("{:x}\r\n", bytes.len()).as_bytes()).await?;
    stream.write_all(bytes).await?;
    stream.write_all(b"\r\n").await
}
