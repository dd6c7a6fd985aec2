//! The page that a relayer serves, and the module it is built on.

use crdt_tests::cluster::Cluster;

use super::relayer;

#[tokio::test]
async fn the_page_and_its_module_come_with_types_tags_and_a_policy() {
    let cluster = Cluster::new();
    let (relayer, server) = relayer(&cluster);
    for (path, kind, starts) in [
        ("/", "text/html; charset=utf-8", "<!doctype html>"),
        ("/page/main.js", "text/javascript; charset=utf-8", "//"),
        ("/page/style/base.css", "text/css; charset=utf-8", "/*"),
        ("/page/icon.svg", "image/svg+xml", "<svg"),
        ("/crdt.js", "text/javascript; charset=utf-8", "//"),
        ("/crdt/log.js", "text/javascript; charset=utf-8", "//"),
    ] {
        let answer = server.get(path).await;
        assert_eq!(answer.status, 200, "{path}");
        assert!(answer.text().starts_with(starts), "{path}");
        assert_eq!(answer.headers["content-type"], kind, "{path}");
        assert_eq!(answer.headers["cache-control"], "no-cache", "{path}");
        assert_eq!(answer.headers["x-content-type-options"], "nosniff", "{path}");
        assert_eq!(answer.headers["referrer-policy"], "no-referrer", "{path}");
        let policy = &answer.headers["content-security-policy"];
        assert!(policy.starts_with("default-src 'none'; script-src 'self';"), "{policy}");
        assert!(policy.contains("frame-ancestors 'none'"), "{policy}");
        assert!(!policy.contains("unsafe"), "{policy}");

        let tag = answer.headers["etag"].as_str();
        let again = server.get_with(path, &[("if-none-match", tag)]).await;
        assert_eq!((again.status, again.body.len()), (304, 0), "{path}");
        assert_eq!(&again.headers["content-security-policy"], policy, "{path}");
        let other = server.get_with(path, &[("if-none-match", "\"0\"")]).await;
        assert_eq!(other.status, 200, "{path}");
    }
    for path in ["/page/", "/page/README.md", "/crdt/../crdt.js", "/page/harness/double.js"] {
        assert_eq!(server.get(path).await.status, 404, "{path}");
    }
    relayer.stop();
}
