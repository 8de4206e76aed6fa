//! The part of etcd's `KV` service that is needed, over HTTP/2.
//!
//! Messages are declared by hand (field numbers as in etcd's `rpc.proto` and `kv.proto`), so that no compiler of protocol buffers
//! is needed; fields that are not looked at are left out. A unary call of gRPC is one message each way: a byte
//! that says whether it is compressed, the length in four bytes, the message; then trailers with the status.

use std::net::SocketAddr;

use anyhow::{Context, ensure};
use bytes::{BufMut, Bytes, BytesMut};
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http2::{self, SendRequest};
use hyper::{HeaderMap, Request, StatusCode};
use hyper_util::rt::{TokioExecutor, TokioIo};
use prost::Message;
use tokio::net::TcpStream;

const PREFIX_BYTES: usize = 5;

#[derive(Clone, PartialEq, Message)]
struct PutRequest {
    #[prost(bytes = "bytes", tag = "1")]
    key: Bytes,
    #[prost(bytes = "bytes", tag = "2")]
    value: Bytes,
}

/// Linearizable, because `serializable` (7) is left out.
#[derive(Clone, PartialEq, Message)]
struct RangeRequest {
    #[prost(bytes = "bytes", tag = "1")]
    key: Bytes,
}

#[derive(Clone, PartialEq, Message)]
struct ResponseHeader {
    #[prost(int64, tag = "3")]
    revision: i64,
}

#[derive(Clone, PartialEq, Message)]
struct PutResponse {
    #[prost(message, optional, tag = "1")]
    header: Option<ResponseHeader>,
}

#[derive(Clone, PartialEq, Message)]
struct KeyValue {
    #[prost(bytes = "bytes", tag = "1")]
    key: Bytes,
    #[prost(bytes = "bytes", tag = "5")]
    value: Bytes,
}

#[derive(Clone, PartialEq, Message)]
struct RangeResponse {
    #[prost(message, repeated, tag = "2")]
    kvs: Vec<KeyValue>,
}

/// A connection that clients can share.
#[derive(Clone)]
pub(crate) struct Connection {
    requests: SendRequest<Full<Bytes>>,
    authority: String,
}

impl Connection {
    pub(crate) async fn open(stream: TokioIo<TcpStream>, address: SocketAddr) -> anyhow::Result<Self> {
        let (requests, connection) = http2::handshake(TokioExecutor::new(), stream).await?;
        // A connection that breaks is noticed by the requests that it carries.
        tokio::spawn(async { drop(connection.await) });
        Ok(Self { requests, authority: format!("http://{address}") })
    }

    pub(crate) async fn put(&mut self, key: &str, value: Bytes) -> anyhow::Result<u64> {
        let request = PutRequest { key: Bytes::copy_from_slice(key.as_bytes()), value };
        let response: PutResponse = self.call("Put", &request).await?;
        let revision = response.header.context("an answer without a header")?.revision;
        Ok(u64::try_from(revision)?)
    }

    pub(crate) async fn get(&mut self, key: &str) -> anyhow::Result<Bytes> {
        let request = RangeRequest { key: Bytes::copy_from_slice(key.as_bytes()) };
        let mut response: RangeResponse = self.call("Range", &request).await?;
        let found = response.kvs.pop().context("the key is absent")?;
        ensure!(found.key == key.as_bytes() && response.kvs.is_empty(), "an answer about other keys");
        Ok(found.value)
    }

    async fn call<Answer: Message + Default>(
        &mut self,
        method: &str,
        request: &impl Message,
    ) -> anyhow::Result<Answer> {
        let request = Request::post(format!("{}/etcdserverpb.KV/{method}", self.authority))
            .header("content-type", "application/grpc")
            .header("te", "trailers")
            .body(Full::new(framed(request)))?;
        self.requests.ready().await?;
        let answer = self.requests.send_request(request).await?;
        ensure!(answer.status() == StatusCode::OK, "{method}: {}", answer.status());
        // An error without a message comes with the status among the headers.
        let headers = answer.headers().clone();
        let body = answer.into_body().collect().await?;
        let status = body.trailers().unwrap_or(&headers);
        ensure!(field(status, "grpc-status") == Some("0"), "{method}: {status:?}");
        unframed(body.to_bytes())
    }
}

fn field<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name)?.to_str().ok()
}

fn framed(message: &impl Message) -> Bytes {
    let length = message.encoded_len();
    let mut frame = BytesMut::with_capacity(PREFIX_BYTES + length);
    frame.put_u8(0);
    frame.put_u32(u32::try_from(length).expect("invariant: requests are small"));
    message.encode(&mut frame).expect("invariant: there is room for the whole message");
    frame.freeze()
}

fn unframed<Answer: Message + Default>(mut body: Bytes) -> anyhow::Result<Answer> {
    ensure!(body.len() >= PREFIX_BYTES && body[0] == 0, "an answer that is no plain message");
    let prefix = body.split_to(PREFIX_BYTES);
    let length = u32::from_be_bytes([prefix[1], prefix[2], prefix[3], prefix[4]]) as usize;
    ensure!(body.len() == length, "an answer of another length than it says");
    Ok(Answer::decode(body)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn message_survives_its_frame() {
        let request = PutRequest { key: "k".into(), value: "v".into() };
        let frame = framed(&request);
        assert_eq!(&frame[..], b"\0\0\0\0\x06\x0a\x01k\x12\x01v");
        assert_eq!(unframed::<PutRequest>(frame.clone()).unwrap(), request);
        assert!(unframed::<PutRequest>(frame.slice(..frame.len() - 1)).is_err());
        assert!(unframed::<PutRequest>(frame.slice(..4)).is_err());
    }
}
