//! The page by which a member checks in a browser what this relayer says, and the module it is
//! built on, `crdt.js`. Every file is part of the program: what is served was built with it.
//! Source: `docs/HTTP.md`, "The page".

use std::sync::Arc;

use axum::Router;
use axum::extract::Request;
use axum::http::header::{
    CONTENT_SECURITY_POLICY, REFERRER_POLICY, X_CONTENT_TYPE_OPTIONS, X_FRAME_OPTIONS,
};
use axum::http::{HeaderName, HeaderValue};
use axum::response::Response;
use axum::routing::get;

use super::Api;
use super::answer::Tag;
use super::asked::{Nothing, Parameters};
use super::problem::ProblemBody;

const HTML: &str = "text/html; charset=utf-8";
const CSS: &str = "text/css; charset=utf-8";
const JS: &str = "text/javascript; charset=utf-8";
const SVG: &str = "image/svg+xml";

/// A file of `crdt-relayer/page`, served under its path there.
#[derive(Debug)]
struct File {
    path: &'static str,
    kind: &'static str,
    text: &'static str,
}

macro_rules! files {
    ($($kind:ident $path:literal)*) => {
        &[$(File {
            path: concat!("/", $path),
            kind: $kind,
            text: include_str!(concat!("../../page/", $path)),
        }),*]
    };
}

/// The page itself.
const PAGE: &File = &File { path: "/", kind: HTML, text: include_str!("../../page/index.html") };

/// What it loads, and what other programs may load; a test compares it with the folder.
const FILES: &[File] = files! {
    JS "crdt.js"
    JS "crdt/ahead.js"
    JS "crdt/author.js"
    JS "crdt/bytes.js"
    JS "crdt/channel.js"
    JS "crdt/client.js"
    JS "crdt/connection.js"
    JS "crdt/curve.js"
    JS "crdt/ed25519.js"
    JS "crdt/evidence.js"
    JS "crdt/export.js"
    JS "crdt/fetch.js"
    JS "crdt/file-store.js"
    JS "crdt/hash.js"
    JS "crdt/head.js"
    JS "crdt/json.js"
    JS "crdt/key.js"
    JS "crdt/limits.js"
    JS "crdt/log.js"
    JS "crdt/message.js"
    JS "crdt/node-websocket.js"
    JS "crdt/op.js"
    JS "crdt/order.js"
    JS "crdt/parked.js"
    JS "crdt/probe.js"
    JS "crdt/rejection.js"
    JS "crdt/room.js"
    JS "crdt/roots.js"
    JS "crdt/sha256.js"
    JS "crdt/sha512.js"
    JS "crdt/store.js"
    JS "crdt/stream.js"
    JS "page/agreement.js"
    JS "page/answers.js"
    JS "page/checks.js"
    JS "page/compare.js"
    JS "page/dom.js"
    JS "page/download.js"
    JS "page/glyph.js"
    SVG "page/icon.svg"
    JS "page/lanes.js"
    JS "page/lines.js"
    JS "page/main.js"
    JS "page/plain.js"
    JS "page/record.js"
    JS "page/relay.js"
    JS "page/route.js"
    JS "page/session.js"
    JS "page/text.js"
    JS "page/trend.js"
    JS "page/verification.js"
    JS "page/verify-worker.js"
    JS "page/verify.js"
    JS "page/window.js"
    JS "page/view/board.js"
    JS "page/view/bytes.js"
    JS "page/view/checks.js"
    JS "page/view/digest.js"
    JS "page/view/digests.js"
    JS "page/view/evidence.js"
    JS "page/view/feed.js"
    JS "page/view/files.js"
    JS "page/view/footer.js"
    JS "page/view/frame.js"
    JS "page/view/graph.js"
    JS "page/view/health.js"
    JS "page/view/op.js"
    JS "page/view/overview.js"
    JS "page/view/room.js"
    JS "page/view/safe.js"
    JS "page/view/sparkline.js"
    JS "page/view/status.js"
    JS "page/view/table.js"
    JS "page/view/time.js"
    JS "page/view/verify.js"
    JS "page/view/write.js"
    CSS "page/style/base.css"
    CSS "page/style/parts.css"
};

/// Nothing from elsewhere, nothing inline, and in no frame. Text never becomes markup or program:
/// the page makes one object that may start a program, the worker that verifies.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; \
    img-src 'self'; worker-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; \
    require-trusted-types-for 'script'; trusted-types crdt-worker";

const HEADERS: [(HeaderName, &str); 4] = [
    (CONTENT_SECURITY_POLICY, POLICY),
    (X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (REFERRER_POLICY, "no-referrer"),
    (X_FRAME_OPTIONS, "DENY"),
];

/// The routes: the page at `/`, and each file under its path.
pub(crate) fn routes() -> Router<Arc<Api>> {
    FILES.iter().fold(Router::new().route("/", get(page)), |routes, file| {
        routes.route(file.path, get(async |asked, request| served(file, asked, request)))
    })
}

/// The page by which a member checks this relayer in a browser.
#[utoipa::path(get, path = "/", tag = "relayer", responses(
    (status = 200, body = String, content_type = "text/html", description = "The page."),
    (status = "4XX", body = ProblemBody, content_type = "application/problem+json"),
))]
pub(crate) async fn page(asked: Parameters<Nothing>, request: Request) -> Response {
    served(PAGE, asked, request)
}

fn served(file: &File, _: Parameters<Nothing>, request: Request) -> Response {
    let tag = Tag::of(&[file.kind.as_bytes(), file.text.as_bytes()]);
    let (request, _) = request.into_parts();
    let mut response = tag.not_modified(&request).unwrap_or_else(|| tag.file(file.kind, file.text));
    for (name, value) in HEADERS {
        response.headers_mut().insert(name, HeaderValue::from_static(value));
    }
    response
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::fs;
    use std::path::Path;

    use super::*;

    fn listed(root: &Path, folder: &str) -> Vec<String> {
        let entries = fs::read_dir(root.join(folder)).unwrap().map(|entry| entry.unwrap());
        let entries = entries.flat_map(|entry| {
            let path = format!("{folder}/{}", entry.file_name().to_str().unwrap());
            if entry.path().is_dir() { listed(root, &path) } else { vec![path] }
        });
        entries.collect()
    }

    #[test]
    fn every_file_of_the_page_is_served_and_none_else() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("page");
        let mut there: BTreeSet<String> =
            ["crdt", "page"].iter().flat_map(|folder| listed(&root, folder)).collect();
        there.insert("crdt.js".into());
        let served = FILES.iter().map(|file| file.path.trim_start_matches('/').to_owned());
        assert_eq!(served.collect::<BTreeSet<_>>(), there);
    }

    #[test]
    fn each_file_has_the_type_of_its_name() {
        for file in FILES {
            let kind = match file.path.rsplit('.').next().unwrap() {
                "js" => JS,
                "css" => CSS,
                "svg" => SVG,
                other => panic!("{other}"),
            };
            assert_eq!(file.kind, kind, "{}", file.path);
        }
    }
}
