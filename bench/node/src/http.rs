//! shakedown's own API.

use std::net::SocketAddr;

use anyhow::{Context, ensure};
use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http1::{self, SendRequest};
use hyper::{Request, StatusCode};
use hyper_util::rt::TokioIo;
use serde::Deserialize;
use tokio::net::TcpStream;

/// A connection that is kept.
pub(crate) struct Connection {
    requests: SendRequest<Full<Bytes>>,
    host: String,
}

/// What a write is answered with.
#[derive(Deserialize)]
struct Written {
    index: u64,
    matched: bool,
}

impl Connection {
    pub(crate) async fn open(stream: TokioIo<TcpStream>, address: SocketAddr) -> anyhow::Result<Self> {
        let (requests, connection) = http1::handshake(stream).await?;
        // A connection that breaks is noticed by the request that it carries.
        tokio::spawn(async { drop(connection.await) });
        Ok(Self { requests, host: address.to_string() })
    }

    pub(crate) async fn put(&mut self, key: &str, value: Bytes) -> anyhow::Result<u64> {
        let answer = self.ask("PUT", key, value).await?;
        let written: Written =
            serde_json::from_slice(&answer).context("a write was answered with something else")?;
        ensure!(written.matched, "a write without an expectation did not match");
        Ok(written.index)
    }

    pub(crate) async fn get(&mut self, key: &str) -> anyhow::Result<Bytes> {
        self.ask("GET", key, Bytes::new()).await
    }

    async fn ask(&mut self, method: &str, key: &str, body: Bytes) -> anyhow::Result<Bytes> {
        let request = Request::builder().method(method).uri(format!("/kv/{key}")).header("host", &self.host);
        self.requests.ready().await?;
        let answer = self.requests.send_request(request.body(Full::new(body))?).await?;
        let status = answer.status();
        let body = answer.into_body().collect().await?.to_bytes();
        ensure!(status == StatusCode::OK, "{method} {key}: {status}: {}", String::from_utf8_lossy(&body));
        Ok(body)
    }
}
