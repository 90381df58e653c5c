//! `/`: the live page, its script and its style, as files of the program.
//!
//! Knows nothing of what they do, but for one mark that tells the page whether this server wants a
//! token: asking a protected route would do, too, and every browser would log that as an error. They
//! come from `web-console/` at build time.

use axum::Router;
use axum::body::Bytes;

use crate::page::{CSS, HTML, IMAGE, Page, SCRIPT, file};

const INDEX: &str = include_str!("../../web-console/index.html");
const NEEDS_TOKEN: &str = "data-access=\"token\"";
const NEEDS_NOTHING: &str = "data-access=\"open\"";

pub(crate) fn router(is_open: bool) -> Router {
    let index = if is_open {
        INDEX.replacen(NEEDS_TOKEN, NEEDS_NOTHING, 1)
    } else {
        INDEX.to_owned()
    };
    let files = [
        ("/", HTML, Bytes::from(index)),
        (
            "/live.js",
            SCRIPT,
            Bytes::from_static(include_bytes!("../../web-console/live.js")),
        ),
        (
            "/live.css",
            CSS,
            Bytes::from_static(include_bytes!("../../web-console/live.css")),
        ),
        (
            "/icon.svg",
            IMAGE,
            Bytes::from_static(include_bytes!("../../web-console/icon.svg")),
        ),
    ];
    let mut router = Router::new();
    for (path, kind, body) in files {
        router = router.merge(file(path, Page::new(kind, body)));
    }
    router
}
