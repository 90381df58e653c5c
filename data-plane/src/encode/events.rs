//! Server-sent events as text.
//!
//! Every event has one `data` line, so whoever writes data here keeps CR and LF out of it. The id is
//! a cursor: base64url, which needs no escaping.

/// A server-sent event, for the document.
#[derive(Debug, utoipa::ToSchema)]
#[expect(dead_code, reason = "describes the answer; never made")]
pub struct StreamEvent {
    /// `records`, `caught_up`, `away`, `back`, `ping`, `drain` or `error`.
    event: String,
    /// The cursor behind it.
    #[schema(required = false)]
    id: Option<String>,
    /// When to connect again, in milliseconds.
    #[schema(required = false)]
    retry: Option<u64>,
    /// What goes by the event's name, as JSON.
    #[schema(extensions(("x-content" = json!("EventData"))))]
    data: String,
}

/// Appends an event whose data is `data`, which holds no line break.
pub fn write_event(out: &mut Vec<u8>, id: Option<&str>, name: &str, data: &[u8]) {
    begin_event(out, id, name);
    out.extend_from_slice(data);
    end_event(out);
}

/// Appends everything of an event up to its data.
pub fn begin_event(out: &mut Vec<u8>, id: Option<&str>, name: &str) {
    if let Some(id) = id {
        out.extend_from_slice(b"id: ");
        out.extend_from_slice(id.as_bytes());
        out.push(b'\n');
    }
    out.extend_from_slice(b"event: ");
    out.extend_from_slice(name.as_bytes());
    out.extend_from_slice(b"\ndata: ");
}

/// Ends the data and the event.
pub fn end_event(out: &mut Vec<u8>) {
    out.extend_from_slice(b"\n\n");
}
