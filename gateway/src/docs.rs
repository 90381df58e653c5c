//! `/docs`: where to start, and one page for each error code.
//!
//! Written from the list of codes itself, once at start, so that a problem's `type` always leads to
//! a page. Invariant: every text that is put into a page is escaped.

use std::collections::HashMap;
use std::fmt::Write as _;
use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::Response;
use axum::routing::get;
use tidegate_kit::http::{ApiError, ApiPath, ApiResult};
use tidegate_proto::error::{ErrorCode, Problem};

use crate::page::{CSS, HTML, Page};

#[derive(Clone)]
struct Docs {
    index: Page,
    errors: Page,
    style: Page,
    codes: Arc<HashMap<&'static str, Page>>,
}

pub(crate) fn router() -> Router {
    let codes = ErrorCode::ALL
        .iter()
        .map(|code| (code.as_str(), Page::new(HTML, code_page(*code))));
    let docs = Docs {
        index: Page::new(HTML, index_page()),
        errors: Page::new(HTML, errors_page()),
        style: Page::new(CSS, &include_bytes!("../assets/docs.css")[..]),
        codes: Arc::new(codes.collect()),
    };
    Router::new()
        .route("/docs", get(index))
        .route("/docs/", get(index))
        .route("/docs/docs.css", get(style))
        .route("/docs/errors", get(errors))
        .route("/docs/errors/{code}", get(error))
        .with_state(docs)
}

async fn index(State(docs): State<Docs>, headers: HeaderMap) -> Response {
    docs.index.answer(&headers)
}

async fn style(State(docs): State<Docs>, headers: HeaderMap) -> Response {
    docs.style.answer(&headers)
}

async fn errors(State(docs): State<Docs>, headers: HeaderMap) -> Response {
    docs.errors.answer(&headers)
}

async fn error(
    State(docs): State<Docs>,
    ApiPath(code): ApiPath<String>,
    headers: HeaderMap,
) -> ApiResult<Response> {
    match docs.codes.get(code.as_str()) {
        Some(page) => Ok(page.answer(&headers)),
        None => Err(ApiError::new(
            ErrorCode::RouteNotFound,
            "there is no such error code",
        )),
    }
}

fn document(title: &str, body: &str) -> String {
    format!(
        "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\
         <title>{title} - Tidegate</title><link rel=\"icon\" href=\"/icon.svg\"><link rel=\"stylesheet\" href=\"/docs/docs.css\"></head>\n\
         <body>\n{body}\n</body></html>\n",
        title = escaped(title),
    )
}

fn index_page() -> String {
    document("Start", include_str!("../assets/start.html"))
}

fn errors_page() -> String {
    let mut body = String::from(
        "<nav><a href=\"/docs\">Docs</a></nav>\n<h1>Errors</h1>\n<p>Every failure is one \
         <code>application/problem+json</code> object; its <code>code</code> is one of these.</p>\n\
         <table>\n<tr><th>Status</th><th>Code</th><th>Meaning</th></tr>\n",
    );
    for code in ErrorCode::ALL {
        let _ = writeln!(
            body,
            "<tr><td>{}</td><td><a href=\"/docs/errors/{code}\"><code>{code}</code></a></td>\
             <td>{}</td></tr>",
            code.status(),
            prose(code.meaning()),
        );
    }
    body.push_str("</table>");
    document("Errors", &body)
}

fn code_page(code: ErrorCode) -> String {
    let example = Problem::new(code, code.title()).request_id("7f1c0a52e8b94d36-00000a4f");
    let example = serde_json::to_string_pretty(&example).unwrap_or_default();
    let retry = if code.is_retryable() {
        "Yes: the same request, unchanged, may succeed later. Wait for <code>Retry-After</code> when it is there."
    } else {
        "No: the same request will fail again."
    };
    let effects = if code.is_definite() {
        "None: the request certainly did nothing, unless the problem says <code>side_effects: possible</code>."
    } else {
        "Possible: the request may have been carried out. Only an idempotent one may be sent again blindly."
    };
    let body = format!(
        "<nav><a href=\"/docs\">Docs</a> / <a href=\"/docs/errors\">Errors</a></nav>\n\
         <h1>{title}</h1>\n<p><code>{code}</code></p>\n<dl>\n\
         <dt>Status</dt><dd>{status}</dd>\n<dt>Retry</dt><dd>{retry}</dd>\n\
         <dt>Side effects</dt><dd>{effects}</dd>\n</dl>\n\
         <h2>What it means</h2>\n<p>{meaning}</p>\n<h2>What to do</h2>\n<p>{remedy}</p>\n\
         <h2>How it looks</h2>\n<pre><code>{example}</code></pre>",
        title = escaped(code.title()),
        status = code.status(),
        meaning = prose(code.meaning()),
        remedy = prose(code.remedy()),
        example = escaped(&example),
    );
    document(code.as_str(), &body)
}

fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            other => out.push(other),
        }
    }
    out
}

// Text between backquotes is code, as in the docstrings it comes from.
fn prose(text: &str) -> String {
    let mut out = String::new();
    for (at, part) in escaped(text).split('`').enumerate() {
        if at % 2 == 1 {
            let _ = write!(out, "<code>{part}</code>");
        } else {
            out.push_str(part);
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use tower::ServiceExt as _;

    use super::*;

    #[test]
    fn every_code_has_a_page_with_both_texts() {
        for code in ErrorCode::ALL {
            let page = code_page(*code);
            assert!(page.contains(&format!("<code>{code}</code>")), "{code}");
            assert!(page.contains(&prose(code.meaning())) && page.contains(&prose(code.remedy())));
            assert!(page.contains(&format!("<dd>{}</dd>", code.status())));
            assert!(errors_page().contains(&format!("/docs/errors/{code}\"")));
        }
    }

    #[tokio::test]
    async fn a_path_that_is_no_text_is_a_problem_as_every_other() {
        let request = axum::http::Request::get("/docs/errors/%ff");
        let request = request.body(axum::body::Body::empty()).unwrap();
        let response = router().oneshot(request).await.unwrap();
        assert_eq!(response.status(), 400);
        assert_eq!(
            response.headers()["content-type"],
            "application/problem+json"
        );
    }

    #[test]
    fn texts_cannot_become_markup() {
        assert_eq!(
            prose("a <b> & `x<y>`"),
            "a &lt;b&gt; &amp; <code>x&lt;y&gt;</code>"
        );
    }

    #[test]
    fn pages_have_no_inline_script_or_style() {
        for page in [index_page(), errors_page(), code_page(ErrorCode::Internal)] {
            assert!(
                !page.contains("<script") && !page.contains("style=") && !page.contains("<style")
            );
        }
    }
}
