//! What `hearth-node serve` answers over HTTP.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod support;

use std::fs;

use support::{Node, refused};
use tempfile::TempDir;
use ureq::{Agent, Body, ResponseExt as _, http::Response};

const PAGE: &str = "<!doctype html><title>Hearth</title>";

fn serve() -> (Node, TempDir) {
    let folder = tempfile::tempdir().unwrap();
    let app = folder.path().join("app");
    fs::create_dir_all(app.join("assets")).unwrap();
    fs::write(app.join("index.html"), PAGE).unwrap();
    fs::write(app.join("sw.js"), "addEventListener('fetch', () => {})").unwrap();
    fs::write(app.join("app.webmanifest"), "{}").unwrap();
    fs::write(app.join("assets/index-DkXaBcDe.js"), "let a = 1;").unwrap();
    fs::write(app.join("hearth-0f3a9c21.wasm"), vec![0; 1 << 20]).unwrap();
    fs::write(folder.path().join("secret"), "secret").unwrap();
    let node = Node::serve(&folder.path().join("data"), &["--static", app.to_str().unwrap()]);
    (node, folder)
}

fn get(node: &Node, path: &str) -> Response<Body> {
    get_as(node, path, "identity")
}

fn get_as(node: &Node, path: &str, encoding: &str) -> Response<Body> {
    get_with(node, path, &[("accept-encoding", encoding)])
}

fn get_with(node: &Node, path: &str, headers: &[(&str, &str)]) -> Response<Body> {
    let agent: Agent = Agent::config_builder().http_status_as_error(false).build().into();
    let mut request = agent.get(format!("{}{path}", node.url));
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    request.call().unwrap()
}

fn header<'a>(response: &'a Response<Body>, name: &str) -> &'a str {
    response
        .headers()
        .get(name)
        .map_or("", |value| value.to_str().unwrap())
}

#[test]
fn files_have_their_type_and_are_kept_as_long_as_they_stay_the_same() {
    let (node, _folder) = serve();
    let forever = "public, max-age=31536000, immutable";
    for (path, content_type, caching) in [
        ("/", "text/html", "no-cache"),
        ("/sw.js", "text/javascript", "no-cache"),
        ("/app.webmanifest", "application/manifest+json", "no-cache"),
        ("/assets/index-DkXaBcDe.js", "text/javascript", forever),
        ("/hearth-0f3a9c21.wasm", "application/wasm", forever),
    ] {
        let response = get(&node, path);
        assert_eq!(response.status(), 200, "{path}");
        assert_eq!(header(&response, "content-type"), content_type, "{path}");
        assert_eq!(header(&response, "cache-control"), caching, "{path}");
        assert_eq!(header(&response, "x-content-type-options"), "nosniff", "{path}");
        assert_eq!(header(&response, "service-worker-allowed"), "/", "{path}");
        assert!(
            header(&response, "content-security-policy").contains("'wasm-unsafe-eval'"),
            "{path}"
        );
    }
    let compressed = get_as(&node, "/hearth-0f3a9c21.wasm", "gzip, br");
    assert_eq!(header(&compressed, "content-encoding"), "br");
}

#[test]
fn what_the_build_compressed_is_given_out_as_it_is() {
    let (node, folder) = serve();
    fs::write(
        folder.path().join("app/hearth-0f3a9c21.wasm.br"),
        "made by the build",
    )
    .unwrap();
    let compressed = get_as(&node, "/hearth-0f3a9c21.wasm", "gzip, br");
    assert_eq!(header(&compressed, "content-encoding"), "br");
    assert_eq!(header(&compressed, "content-type"), "application/wasm");
    assert_eq!(header(&compressed, "content-length"), "17");
    assert_eq!(
        header(&get(&node, "/hearth-0f3a9c21.wasm"), "content-encoding"),
        ""
    );
}

#[test]
fn views_of_the_app_are_its_page_and_nothing_else_is() {
    let (node, _folder) = serve();
    assert_eq!(
        get(&node, "/rooms/abc").body_mut().read_to_string().unwrap(),
        PAGE
    );
    for (path, status) in [
        ("/missing.js", 404),
        ("/assets/missing-DkXaBcDe.js", 404),
        // The homeserver is in the browser: a page that its worker does not answer may try again.
        ("/_matrix/client/versions", 503),
    ] {
        let response = get(&node, path);
        assert_eq!(response.status(), status, "{path}");
        assert_eq!(header(&response, "cache-control"), "no-cache", "{path}");
    }
}

#[test]
fn nothing_outside_the_folder_is_served() {
    let (node, _folder) = serve();
    for path in [
        "/../secret",
        "/%2e%2e/secret",
        "/..%2fsecret",
        "/assets/%2e%2e/%2e%2e/secret",
    ] {
        let body = get(&node, path).body_mut().read_to_string().unwrap();
        assert!(body.is_empty() || body == PAGE, "{path}: {body}");
    }
}

#[test]
fn operators_see_health_and_metrics() {
    let (node, _folder) = serve();
    assert_eq!(
        get(&node, "/healthz").body_mut().read_to_string().unwrap(),
        "ok\n"
    );
    let metrics = get(&node, "/metrics").body_mut().read_to_string().unwrap();
    for name in [
        "hearth_relay_connections 0",
        "hearth_relay_reservations 0",
        "hearth_relay_circuits 0",
    ] {
        assert!(metrics.lines().any(|line| line == name), "{name}");
    }
    assert!(metrics.ends_with("# EOF\n"));
}

#[test]
fn a_folder_that_is_not_there_is_not_served() {
    let folder = tempfile::tempdir().unwrap();
    let app = folder.path().join("app");
    let said = refused(&["serve", "--static", app.to_str().unwrap()]);
    assert!(said.contains("there is no folder"), "{said}");
}

#[test]
fn the_relay_keeps_its_address() {
    let folder = tempfile::tempdir().unwrap();
    let relay = Node::serve(folder.path(), &[]);
    let id = |address: String| address.rsplit('/').next().unwrap().to_owned();
    let first = id(relay.relay());
    assert!(relay.terminate());
    assert_eq!(id(Node::serve(folder.path(), &[]).relay()), first);
}

#[test]
fn another_client_is_served_beside_the_app_but_for_its_service_worker() {
    let folder = tempfile::tempdir().unwrap();
    let (app, client) = (folder.path().join("app"), folder.path().join("client"));
    for (folder, page) in [(&app, PAGE), (&client, "<title>Another</title>")] {
        fs::create_dir_all(folder).unwrap();
        fs::write(folder.join("index.html"), page).unwrap();
    }
    fs::write(client.join("sw.js"), "addEventListener('fetch', () => {})").unwrap();
    let options = [
        "--static",
        app.to_str().unwrap(),
        "--client",
        client.to_str().unwrap(),
    ];
    let node = Node::serve(&folder.path().join("data"), &options);
    // Without the slash it is led there.
    for path in ["/client", "/client/", "/client/index.html"] {
        let mut page = get(&node, path);
        assert_eq!(
            page.body_mut().read_to_string().unwrap(),
            "<title>Another</title>",
            "{path}"
        );
        assert!(
            !header(&page, "content-security-policy").contains("script-src"),
            "{path}"
        );
    }
    // A window of a browser without a homeserver is led to the app first, which knows by the cookie when there is one.
    let path = "/client/index.html?a=b%26c";
    let mut led = get_with(&node, path, &[("sec-fetch-dest", "document")]);
    assert_eq!(led.body_mut().read_to_string().unwrap(), PAGE);
    assert_eq!(
        led.get_uri().query(),
        Some("then=/client/index.html%3Fa%3Db%2526c")
    );
    let headers = [
        ("sec-fetch-dest", "document"),
        ("cookie", "a=b; hearth-started=1"),
    ];
    let mut shown = get_with(&node, path, &headers);
    assert_eq!(
        shown.body_mut().read_to_string().unwrap(),
        "<title>Another</title>"
    );
    assert_eq!(get(&node, "/client/room/a").status(), 404);
    assert_eq!(get(&node, "/client/../secret").status(), 404);
    assert_eq!(get(&node, "/client/sw.js").status(), 200);
    let script = get_with(&node, "/client/sw.js", &[("service-worker", "script")]);
    assert_eq!(script.status(), 404);
    assert_eq!(get(&node, "/").body_mut().read_to_string().unwrap(), PAGE);
    assert!(header(&get(&node, "/"), "content-security-policy").contains("connect-src 'self'"));
}
