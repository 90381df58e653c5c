//! Bounds of serving and of identity, with the arithmetic that led to them.
//!
//! What crosses a process border is bounded in `tidegate_proto::limits`; here is what a listener, a
//! connection or the ticket table may hold. Invariant: nothing a stranger sends is without a bound.

use std::time::Duration;

const KIB: usize = 1024;
const MIB: usize = 1024 * KIB;

/// Open connections of one listener. At 24 KiB for an idle TLS connection this is 480 MiB at worst;
/// one more is told so and closed.
pub const CONNECTIONS_MAX: usize = 20_000;
/// Connections beyond that which are being told so; when there are more, they are closed without a word.
pub const REFUSALS_MAX: usize = 64;
/// Such a connection must have done its handshake and sent its request within this.
pub const REFUSAL_TIMEOUT: Duration = Duration::from_secs(2);
/// Connections on which nobody has shown a credential yet: the accept loop waits when it is reached, and
/// the rest queue in the kernel's backlog. None of them stays one for longer than `STRANGER_AGE_MAX`.
pub const STRANGERS_MAX: usize = 2_000;
/// Of these, from one address: a browser opens six, a network behind a translator has room for ten.
pub const STRANGERS_PER_ADDRESS_MAX: usize = 64;
/// A connection on which nobody has shown a credential is closed after the request that it then serves:
/// pages, documents and health need no more.
pub const STRANGER_AGE_MAX: Duration = Duration::from_secs(60);
/// A connection, a socket or an event stream of this age is ended in the way that tells its client to
/// connect again, each up to a tenth of it earlier: no connection outlives the load balancing, the
/// certificate and the software that it was made under for longer.
pub const CONNECTION_AGE_MAX: Duration = Duration::from_secs(24 * 60 * 60);
/// After a failure to accept, of which a lack of files is the likeliest, the next try waits for so long.
pub const ACCEPT_RETRY_AFTER: Duration = Duration::from_millis(50);
/// Open connections from one address, unless the program decides otherwise: one client, or one network
/// behind a translator, cannot take all of them.
pub const CONNECTIONS_PER_ADDRESS_MAX: usize = CONNECTIONS_MAX / 4;
/// A TLS handshake must be done within this.
pub const TLS_HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(5);
/// A new connection must have sent the whole head of its first request within this.
pub const FIRST_REQUEST_TIMEOUT: Duration = Duration::from_secs(5);
/// A later HTTP/1.1 request head must be complete this long after the answer before it. One clock
/// covers both the idle gap and the head, so it is longer than the first: a keep-alive connection
/// closed under a client's next request costs that client an ambiguous failure.
pub const NEXT_REQUEST_TIMEOUT: Duration = Duration::from_secs(75);
/// A request body that brings nothing for this long is given up.
pub const BODY_IDLE_TIMEOUT: Duration = Duration::from_secs(30);
/// A body that has to be whole before it is used comes at least this fast: one of the largest size, 32
/// MiB, may then take nine hours, and one byte every 29 s is not enough to hold a connection.
pub const BODY_BYTES_PER_SECOND_MIN: f64 = 1024.0;
/// How long it may take to gather speed: slow start, a lost packet or two, a sleepy radio.
pub const BODY_PACE_GRACE: Duration = Duration::from_secs(10);
/// What a request decoder may hold without asking: most bodies are smaller, and the number of
/// connections bounds them.
pub const DECODER_FREE_BYTES: usize = 256 * KIB;
/// Bytes of a refused HTTP/1 body that are read and thrown away, so that a client that writes all of it
/// before it reads gets its answer: twice the largest body that is taken in, for those just above it.
pub const BODY_DISCARD_BYTES_MAX: usize = 64 * MIB;
/// How long a refused body may take to end; then the connection is closed.
pub const BODY_DISCARD_TIME: Duration = Duration::from_secs(10);
/// How long an answer waits for a refused body to end before it goes out all the same. 33 MiB take
/// this long at 140 Mbit/s.
pub const BODY_ANSWER_HOLD: Duration = Duration::from_secs(2);
/// A peer that takes nothing of what was written to it for this long is disconnected.
pub const WRITE_STALL_TIMEOUT: Duration = Duration::from_secs(30);
/// The same once the listener stops: who reads at all takes something within this, and who does not
/// must not hold up the stop of a process that is given ten seconds for it.
pub const STOPPING_WRITE_STALL_TIMEOUT: Duration = Duration::from_secs(2);
/// Interval of HTTP/2 keep-alive pings.
pub const HTTP2_PING_INTERVAL: Duration = Duration::from_secs(20);
/// An HTTP/2 peer that leaves a ping unanswered for this long is gone.
pub const HTTP2_PING_TIMEOUT: Duration = Duration::from_secs(20);
/// Requests open at once on one HTTP/2 connection.
pub const HTTP2_STREAMS_MAX: u32 = 256;
/// Bytes of one request that may be under way before its handler reads them.
pub const HTTP2_STREAM_WINDOW_BYTES: u32 = MIB as u32;
/// Bytes of one connection that may be under way; a peer holds at most this much of our memory.
pub const HTTP2_CONNECTION_WINDOW_BYTES: u32 = 2 * MIB as u32;
/// Largest HTTP/2 frame taken in.
pub const HTTP2_FRAME_BYTES_MAX: u32 = 64 * KIB as u32;
/// Bytes of answers that wait per HTTP/2 stream.
pub const HTTP2_SEND_BUFFER_BYTES: usize = 256 * KIB;
/// Between nodes: bytes of one stream under way. Windows bound the throughput to window by round trip; a
/// storage unit is trusted with 16 MiB per gateway and connection.
pub const NODE_STREAM_WINDOW_BYTES: u32 = 4 * MIB as u32;
/// Between nodes: bytes of one connection under way.
pub const NODE_CONNECTION_WINDOW_BYTES: u32 = 16 * MIB as u32;
/// Between nodes: largest HTTP/2 frame taken in; larger ones were no faster.
pub const NODE_FRAME_BYTES_MAX: u32 = 256 * KIB as u32;
/// Between nodes: bytes that wait per HTTP/2 stream.
pub const NODE_SEND_BUFFER_BYTES: usize = MIB;
/// Streams that a peer may reset before we have looked at them (rapid reset).
pub const HTTP2_PENDING_RESETS_MAX: usize = 20;
/// Streams that a peer may make us reset (the same attack by way of protocol errors).
pub const HTTP2_LOCAL_RESETS_MAX: usize = 100;
/// Names and values of all request headers together.
pub const HEADER_LIST_BYTES_MAX: usize = 16 * KIB;
/// Header fields of one request.
pub const HEADER_COUNT_MAX: usize = 100;
/// Read buffer of an HTTP/1.1 connection: one whole head must fit, the body streams through it.
pub const HTTP1_BUFFER_BYTES_MAX: usize = 64 * KIB;

/// A connection to another node must be there within this: address, handshake, and the server's first
/// word. Above three round trips around the world, below a second lost packet of the handshake.
pub const CHANNEL_CONNECT_TIMEOUT: Duration = Duration::from_secs(3);
/// After a round in which no endpoint answered, the next begins within this.
pub const CHANNEL_RETRY_BASE: Duration = Duration::from_millis(50);
/// The same after many rounds: a node that comes back is found within two seconds.
pub const CHANNEL_RETRY_MAX: Duration = Duration::from_secs(2);
/// A connection that lived for less counts as one that failed, so that a peer that closes at once is
/// not called in a loop.
pub const CHANNEL_LIFE_MIN: Duration = Duration::from_secs(1);
/// Interval of pings to another node, also while nothing is asked of it.
pub const CHANNEL_PING_INTERVAL: Duration = Duration::from_secs(5);
/// Another node that leaves a ping unanswered for this long is gone. A machine that stands still for
/// some seconds is not.
pub const CHANNEL_PING_TIMEOUT: Duration = Duration::from_secs(10);
/// Requests open at once on a channel: what a listener of ours takes.
pub const CHANNEL_STREAMS_MAX: usize = HTTP2_STREAMS_MAX as usize;
/// Bytes of one answer that may be under way before they are read.
pub const CHANNEL_STREAM_WINDOW_BYTES: u32 = MIB as u32;
/// Bytes of all answers of a channel: what one peer holds of our memory.
pub const CHANNEL_CONNECTION_WINDOW_BYTES: u32 = 4 * MIB as u32;
/// How often a request that was certainly not sent is tried on a newer connection.
pub const CHANNEL_ATTEMPTS_MAX: u32 = 3;

/// An attempt to join, or to renew a certificate, ends within this.
pub const ENROL_TIMEOUT: Duration = Duration::from_secs(10);
/// A node that cannot join tries again within this: it is started before the controllers as often as
/// after them.
pub const ENROL_RETRY_BASE: Duration = Duration::from_millis(200);
/// The same after many attempts.
pub const ENROL_RETRY_MAX: Duration = Duration::from_secs(5);
/// Largest answer to either: a chain and some authorities are 4 KiB.
pub const ENROL_ANSWER_BYTES_MAX: usize = 64 * KIB;
/// A certificate that could not be renewed is tried again within this; ten days are left then.
pub const RENEWAL_RETRY_BASE: Duration = Duration::from_secs(30);
/// The same after many attempts.
pub const RENEWAL_RETRY_MAX: Duration = Duration::from_secs(60 * 60);
/// How often certificate files are looked at for changes that somebody else made.
pub const CERTIFICATE_POLL_INTERVAL: Duration = Duration::from_secs(10);
/// How often a certificate of our own authority is looked at: nobody but us replaces it, a month before
/// its end.
pub const OWN_CERTIFICATE_POLL_INTERVAL: Duration = Duration::from_secs(60 * 60);

/// How long requests under way may take once a stop has begun.
pub const DRAIN_TIMEOUT: Duration = Duration::from_secs(30);

/// Largest JSON body of a control request; produce bodies have `BODY_BYTES_MAX`.
pub const JSON_BODY_BYTES_MAX: usize = MIB;
/// Longest `X-Request-Id` taken over from a client.
pub const REQUEST_ID_LEN_MAX: usize = 128;
/// Longest `Access-Control-Request-Headers` answered.
pub const CORS_HEADERS_LEN_MAX: usize = 4 * KIB;
/// How long a browser may remember a preflight answer.
pub const CORS_MAX_AGE: Duration = Duration::from_secs(600);
/// Smallest body that is worth compressing: below it the framing eats the gain.
pub const COMPRESS_BYTES_MIN: u16 = 1024;
/// Window that a zstd request body may ask for (2^23 = 8 MiB, the most that RFC 9659 lets HTTP use).
pub const ZSTD_WINDOW_LOG_MAX: u32 = 23;
/// Label sets that the request counters may have: routes x methods x statuses, all from closed lists.
pub const REQUEST_SERIES_MAX: usize = 4096;

/// Tickets outstanding at once: 64 Ki x about 200 bytes = 13 MiB at worst.
pub const TICKETS_MAX: usize = 64 * KIB;
/// Default and longest life of a ticket: the time between asking and connecting.
pub const TICKET_TTL: Duration = Duration::from_secs(30);
/// Topic patterns on one ticket.
pub const TICKET_TOPICS_MAX: usize = 64;
/// Longest bearer token looked at.
pub const TOKEN_LEN_MAX: usize = 16 * KIB;

/// Threads for blocking work (metadata store, file reads behind the log's own threads).
pub const BLOCKING_THREADS_MAX: usize = 64;
/// A blocking thread without work ends after so long. With it goes back what it took for work that is
/// over, such as opening ten thousand partitions, and the allocator looks for what all others freed:
/// at no other time, in a process that does nothing. So it is shorter than the pause between two jobs
/// of a timer that runs every second; starting another takes some tens of microseconds.
pub const BLOCKING_THREAD_REST: Duration = Duration::from_millis(500);
/// How often histograms are folded, so that they do not grow between scrapes.
pub const METRICS_UPKEEP_INTERVAL: Duration = Duration::from_secs(5);

/// Life of the certificate authority made on first start: ten years.
pub const CA_LIFE: Duration = Duration::from_secs(3650 * 24 * 60 * 60);
/// Life of a server certificate: browsers refuse more than 398 days.
pub const CERTIFICATE_LIFE: Duration = Duration::from_secs(397 * 24 * 60 * 60);
/// A server certificate with less than this left is made anew.
pub const CERTIFICATE_RENEW_BEFORE: Duration = Duration::from_secs(30 * 24 * 60 * 60);
/// Certificates are valid from this long ago, for peers whose clocks are behind.
pub const CERTIFICATE_BACKDATE: Duration = Duration::from_secs(60 * 60);

/// For a controller to answer a question: a registration of ten thousand replicas is a commit of a second
/// or two.
pub const CONTROLLER_CALL_TIMEOUT: Duration = Duration::from_secs(10);
/// Longest answer of a controller to a question of another node; the largest, a list of deleted topics,
/// is 40 bytes a topic.
pub const CONTROLLER_ANSWER_BYTES_MAX: usize = 4 * 1024 * KIB;
/// Longest line of a watch stream: 256 changes of at most some 4 KiB each.
pub const WATCH_LINE_BYTES_MAX: usize = 4 * 1024 * KIB;
/// First pause before a watch that broke off is opened again.
pub const WATCH_RETRY_BASE: Duration = Duration::from_millis(50);
/// And the longest: a cluster whose controllers were all down knows of the first that is back after it.
pub const WATCH_RETRY_MAX: Duration = Duration::from_secs(2);
