//! `/`: the live page, its script and its style, as files of the program.
//!
//! Knows nothing of what they do. They come from `web-console/` at build time.

use axum::Router;
use axum::http::HeaderMap;
use axum::routing::get;

use crate::page::{CSS, HTML, Page, SCRIPT};

pub(crate) fn router() -> Router {
    let files = [
        (
            "/",
            HTML,
            &include_bytes!("../../web-console/index.html")[..],
        ),
        (
            "/live.js",
            SCRIPT,
            &include_bytes!("../../web-console/live.js")[..],
        ),
        (
            "/live.css",
            CSS,
            &include_bytes!("../../web-console/live.css")[..],
        ),
    ];
    let mut router = Router::new();
    for (path, kind, body) in files {
        let page = Page::new(kind, body);
        let answer = move |headers: HeaderMap| {
            let page = page.clone();
            async move { page.answer(&headers) }
        };
        router = router.route(path, get(answer));
    }
    router
}
