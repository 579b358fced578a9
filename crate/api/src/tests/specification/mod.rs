//! Answers against the specification's own OpenAPI documents, where these are at hand: in `HEARTH_SPEC_DIR`, or
//! in `shared/spec` beside the project.

#![allow(clippy::print_stderr, reason = "a test that is skipped says so")]

mod accounts;
mod keys;
mod rooms;
mod settings;

use std::{collections::BTreeSet, env, fs, path::PathBuf};

use hearth_homeserver::turn::Turn;
use http::Method;
use serde_json::Value;

use super::{
    schema::problems,
    server::{Answer, Client, TestServer},
};

/// The document `name`; `None`, and a note, if it is not at hand.
fn document(name: &str) -> Option<Value> {
    Some(serde_json::from_str(&text(name)?).unwrap())
}

/// The text of the file `name`; `None`, and a note, if it is not at hand.
pub(super) fn text(name: &str) -> Option<String> {
    let beside = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../../shared/spec");
    let folder = env::var_os("HEARTH_SPEC_DIR").map_or(beside, PathBuf::from);
    match fs::read_to_string(folder.join(name)) {
        Ok(text) => Some(text),
        Err(error) => {
            eprintln!("skipped: {name} is not in {}: {error}", folder.display());
            None
        }
    }
}

/// Checks answers, and remembers of which routes.
struct Checker {
    document: Value,
    seen: BTreeSet<String>,
}

impl Checker {
    /// Checks a successful answer of `route`. Returns its body.
    fn check(&mut self, method: &Method, route: &str, answer: Answer) -> Value {
        let body = answer.ok();
        let operation = &self.document["paths"][route][method.as_str().to_lowercase()];
        assert!(operation.is_object(), "{method} {route} is not in the document");
        let schema = &operation["responses"]["200"]["content"]["application/json"]["schema"];
        let found = problems(schema, &body);
        assert!(found.is_empty(), "{method} {route}: {found:#?}\n{body:#}");
        self.seen.insert(format!("{method} {route}"));
        body
    }

    async fn visit(
        &mut self,
        client: &Client<'_>,
        method: Method,
        route: &str,
        ids: &Ids,
        body: Value,
    ) -> Value {
        let (path, query) = route.split_once('?').unwrap_or((route, ""));
        let filled = format!("{}?{query}", ids.fill(path));
        let answer = client.request(method.clone(), &filled, body).await;
        self.check(&method, path, answer)
    }
}

/// What the parameters of paths stand for.
struct Ids(Vec<(&'static str, String)>);

impl Ids {
    fn fill(&self, path: &str) -> String {
        self.0.iter().fold(path.to_owned(), |path, (name, value)| {
            path.replace(&format!("{{{name}}}"), value)
        })
    }
}

#[tokio::test]
async fn answers_of_the_client_server_api_fit_the_specification() {
    let Some(document) = document("openapi-client-server.json") else {
        return;
    };
    let mut checker = Checker {
        document,
        seen: BTreeSet::new(),
    };
    let config = crate::ApiConfig {
        base_url: Some(Box::new(|_| Some("https://here.example".into()))),
        rate_limit: None,
    };
    let turn = Turn {
        uris: vec!["turn:turn.example:3478?transport=udp".into()],
        secret: b"shared".to_vec(),
    };
    let settings = hearth_homeserver::Config {
        turn: Some(turn),
        ..hearth_homeserver::Config::default()
    };
    let server = TestServer::with(settings, config).await;
    accounts::visit_accounts(&mut checker, &server).await;
    accounts::visit_sessions(&mut checker, &server).await;
    settings::visit_directory(&mut checker, &server).await;
    settings::visit_settings(&mut checker, &server).await;
    rooms::visit_rooms(&mut checker, &server).await;
    rooms::visit_events(&mut checker, &server).await;
    keys::visit_keys(&mut checker, &server).await;
    keys::visit_backups(&mut checker, &server).await;
    if let Some(list) = text("endpoints.csv") {
        let left: Vec<_> = stable_routes(&list)
            .filter(|route| !checker.seen.contains(route))
            .collect();
        assert_eq!(left, ELSEWHERE);
    }
    for route in include_str!("../tier_one.txt")
        .lines()
        .chain(include_str!("../encryption.txt").lines())
    {
        assert!(checker.seen.contains(route), "{route} was not visited");
    }
}

/// What is left to other tests: files, whose requests or answers are no JSON.
const ELSEWHERE: &[&str] = &[
    "GET /_matrix/client/v1/media/download/{serverName}/{mediaId}",
    "GET /_matrix/client/v1/media/download/{serverName}/{mediaId}/{fileName}",
    "GET /_matrix/client/v1/media/thumbnail/{serverName}/{mediaId}",
    "POST /_matrix/media/v3/upload",
    "GET /_matrix/media/v3/download/{serverName}/{mediaId}",
    "GET /_matrix/media/v3/download/{serverName}/{mediaId}/{fileName}",
    "GET /_matrix/media/v3/thumbnail/{serverName}/{mediaId}",
];

/// The stable routes of the first two tiers of the Client-Server API.
fn stable_routes(list: &str) -> impl Iterator<Item = String> {
    let rows = list.lines().map(|line| line.split(',').collect::<Vec<_>>());
    let rows = rows.filter(|row| row[0] == "client" && matches!(row[3], "1" | "2") && row[4] == "stable");
    rows.map(|row| format!("{} {}", row[1], row[2]))
}
