//! A server on a free port and a client that reads frames with a deadline.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use futures_util::{SinkExt as _, StreamExt as _};
use http::header::AUTHORIZATION;
use serde_json::{Value, json};
use tidegate_kit::auth::Auth;
use tidegate_kit::memory::Memory;
use tidegate_kit::tasks::{TaskKind, Tasks};
use tidegate_proto::api::binary::RecordsMessage;
use tidegate_proto::api::socket::{SUBPROTOCOL_BATCH, SUBPROTOCOL_JSON};
use tidegate_proto::batch::Batch;
use tokio::net::{TcpListener, TcpStream};
use tokio_tungstenite::tungstenite::client::IntoClientRequest as _;
use tokio_tungstenite::tungstenite::{Bytes, Error, Message};
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, connect_async};

use super::super::door::{
    DataPlane, DataPlaneConfig, Door, MemoryPartitions, SocketTimes, routes_for_tests,
};

pub(super) const TOKEN: &str = "secret-token";
const PATIENCE: Duration = Duration::from_secs(20);

pub(super) struct Server {
    pub(super) partitions: Arc<MemoryPartitions>,
    pub(super) tasks: Tasks,
    pub(super) address: String,
    pub(super) router: Router,
    pub(super) memory: Memory,
    _door: Door,
}

impl Server {
    /// With one topic `orders` of two partitions.
    pub(super) async fn start() -> Self {
        Self::start_with(SocketTimes::STANDARD).await
    }

    pub(super) async fn start_with(times: SocketTimes) -> Self {
        Self::start_in(times, Memory::default()).await
    }

    pub(super) async fn start_in(times: SocketTimes, memory: Memory) -> Self {
        Self::start_aging(times, memory, DataPlaneConfig::default().age_max).await
    }

    /// Its sockets get no older than `age_max`.
    pub(super) async fn start_aging(times: SocketTimes, memory: Memory, age_max: Duration) -> Self {
        let partitions = MemoryPartitions::new();
        partitions.create_topic("orders", 2);
        let (root, tasks) = (Tasks::new(), Tasks::new());
        let auth = Auth::with_token(TOKEN);
        let config = DataPlaneConfig {
            origins: vec!["https://app.example".to_owned()],
            memory: memory.clone(),
            age_max,
            ..DataPlaneConfig::default()
        };
        let (behind, door) = Door::open(&partitions);
        let data = DataPlane::new(behind, auth.clone(), tasks.clone(), config);
        let router = auth.layer(routes_for_tests(data, times));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let served = router.clone();
        root.spawn(TaskKind::Listener, tracing::Span::none(), async move {
            axum::serve(listener, served).await
        });
        Self {
            partitions,
            tasks,
            address,
            router,
            memory,
            _door: door,
        }
    }

    pub(super) async fn connect(&self, path: &str) -> Client {
        self.connect_as(
            path,
            &[(AUTHORIZATION.as_str(), &format!("Bearer {TOKEN}"))],
        )
        .await
        .unwrap()
    }

    /// A socket that speaks batches.
    pub(super) async fn connect_for_batches(&self, path: &str) -> Client {
        let bearer = format!("Bearer {TOKEN}");
        let headers = [
            (AUTHORIZATION.as_str(), bearer.as_str()),
            ("sec-websocket-protocol", SUBPROTOCOL_BATCH),
        ];
        let client = self.connect_as(path, &headers).await.unwrap();
        assert_eq!(client.protocol.as_deref(), Some(SUBPROTOCOL_BATCH));
        client
    }

    /// The status and code of the refusal when there is one.
    pub(super) async fn connect_as(
        &self,
        path: &str,
        headers: &[(&str, &str)],
    ) -> Result<Client, (u16, String)> {
        let mut request = format!("ws://{}{path}", self.address)
            .into_client_request()
            .unwrap();
        for (name, value) in headers {
            let name: http::HeaderName = name.parse().unwrap();
            request.headers_mut().append(name, value.parse().unwrap());
        }
        match connect_async(request).await {
            Ok((socket, answer)) => {
                let protocol = answer.headers().get("sec-websocket-protocol");
                let protocol = protocol.map(|value| value.to_str().unwrap().to_owned());
                assert!(
                    protocol
                        .as_deref()
                        .is_none_or(|name| [SUBPROTOCOL_JSON, SUBPROTOCOL_BATCH].contains(&name))
                );
                Ok(Client { socket, protocol })
            }
            Err(Error::Http(answer)) => {
                let body = answer.body().as_deref().unwrap_or_default();
                let problem: Value = serde_json::from_slice(body).unwrap_or_default();
                let code = problem["code"].as_str().unwrap_or("no problem").to_owned();
                Err((answer.status().as_u16(), code))
            }
            Err(other) => panic!("the handshake failed: {other}"),
        }
    }
}

pub(super) struct Client {
    pub(super) socket: WebSocketStream<MaybeTlsStream<TcpStream>>,
    pub(super) protocol: Option<String>,
}

impl Client {
    pub(super) async fn say(&mut self, op: Value) {
        self.say_text(op.to_string()).await;
    }

    pub(super) async fn say_text(&mut self, text: impl Into<String>) {
        self.socket.send(Message::text(text.into())).await.unwrap();
    }

    /// The next text frame as it came.
    pub(super) async fn text(&mut self) -> String {
        loop {
            let next = tokio::time::timeout(PATIENCE, self.socket.next()).await;
            match next
                .expect("a frame in time")
                .expect("an open socket")
                .unwrap()
            {
                Message::Text(text) => return text.as_str().to_owned(),
                Message::Ping(_) | Message::Pong(_) => {}
                other => panic!("no text: {other:?}"),
            }
        }
    }

    /// The next binary frame: as it came, and its batches.
    pub(super) async fn batches(&mut self, topic_number: u32) -> (Bytes, Vec<Batch>) {
        loop {
            let next = tokio::time::timeout(PATIENCE, self.socket.next()).await;
            match next
                .expect("a frame in time")
                .expect("an open socket")
                .unwrap()
            {
                Message::Binary(bytes) => {
                    let message = RecordsMessage::parse(&bytes).unwrap();
                    assert_eq!(message.topic_number, topic_number);
                    let (mut rest, mut batches) = (message.batches, Vec::new());
                    while !rest.is_empty() {
                        let batch = Batch::decode(&mut rest).unwrap();
                        batch.verify().unwrap();
                        batches.push(batch);
                    }
                    assert!(!batches.is_empty());
                    return (bytes, batches);
                }
                Message::Ping(_) | Message::Pong(_) => {}
                other => panic!("no batches: {other:?}"),
            }
        }
    }

    /// The next frame that is no ping.
    pub(super) async fn frame(&mut self) -> Value {
        loop {
            let frame: Value = serde_json::from_str(&self.text().await).unwrap();
            if frame["ev"] != "ping" {
                return frame;
            }
        }
    }

    pub(super) async fn frame_of(&mut self, ev: &str) -> Value {
        let frame = self.frame().await;
        assert_eq!(frame["ev"], ev, "{frame}");
        frame
    }

    /// Code and reason of the close frame; frames before it are passed over.
    pub(super) async fn closed(&mut self) -> (u16, String) {
        loop {
            let next = tokio::time::timeout(PATIENCE, self.socket.next()).await;
            match next.expect("a close in time") {
                Some(Ok(Message::Close(Some(close)))) => {
                    return (close.code.into(), close.reason.as_str().to_owned());
                }
                Some(Ok(_)) => {}
                other => panic!("no close frame: {other:?}"),
            }
        }
    }

    /// Appends over the socket and waits for the answer.
    pub(super) async fn produce(&mut self, partition: u32, values: &[String]) -> Value {
        let records: Vec<Value> = values
            .iter()
            .map(|value| json!({ "value": value }))
            .collect();
        let op = json!({"op": "produce", "id": 9, "topic": "orders", "partition": partition, "records": records});
        self.say(op).await;
        self.frame_of("ack").await
    }
}

/// Values of a records frame.
pub(super) fn values(frame: &Value) -> Vec<String> {
    let records = frame["records"].as_array().unwrap();
    records
        .iter()
        .map(|record| record["value"].as_str().unwrap().to_owned())
        .collect()
}

/// Checks that a frame of text goes on at `next`; gives where it ends.
pub(super) fn follow(text: &str, next: u64) -> u64 {
    let frame: Value = serde_json::from_str(text).unwrap();
    assert_ne!(frame["ev"], "error", "{frame}");
    let records = frame["records"].as_array();
    let offsets = records.into_iter().flatten();
    offsets.fold(next, |next, record| {
        assert_eq!(record["offset"], next, "a record is missing or came twice");
        next + 1
    })
}

/// The same for a message of batches, of which the first may begin earlier.
pub(super) fn follow_batches(message: &Bytes, next: u64) -> u64 {
    let mut rest = RecordsMessage::parse(message).unwrap().batches;
    let (mut next, mut is_first) = (next, true);
    while !rest.is_empty() {
        let batch = Batch::decode(&mut rest).unwrap();
        batch.verify().unwrap();
        let base = batch.placement.base_offset.get();
        assert!(base == next || is_first && base < next, "{base} at {next}");
        next = batch.next_offset().get();
        is_first = false;
    }
    next
}

/// What records hold that are told apart by their numbers.
pub(super) fn numbers(range: std::ops::Range<u32>) -> Vec<String> {
    range.map(|number| format!("v{number}")).collect()
}
