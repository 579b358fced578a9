//! Every row of the list of endpoints that is to be served, is; and every row that is not to be, is refused as the
//! specification asks. The list is at hand where the specification's documents are.

use http::Method;

use super::{server::TestServer, specification};
use crate::{aliases, route_of};

/// A row of the list.
struct Row<'a> {
    method: &'a str,
    path: &'a str,
    tier: &'a str,
}

fn rows(list: &str) -> impl Iterator<Item = Row<'_>> {
    list.lines().skip(1).map(|line| {
        let fields: Vec<_> = line.splitn(5, ',').collect();
        Row {
            method: fields[1],
            path: fields[2],
            tier: fields[3],
        }
    })
}

impl Row<'_> {
    fn is_served(&self) -> bool {
        match self.method {
            "ANY" => aliases().any(|prefix| self.path == format!("{prefix}{{rest}}")),
            // Every path takes it: see `cross_origin`.
            "OPTIONS" => true,
            method => route_of(&Method::from_bytes(method.as_bytes()).unwrap(), self.path).is_some(),
        }
    }
}

#[test]
fn tiers_one_and_two_are_served() {
    let Some(list) = specification::text("endpoints.csv") else {
        return;
    };
    let wanted = rows(&list).filter(|row| matches!(row.tier, "1" | "2"));
    let missing: Vec<_> = wanted
        .filter(|row| !row.is_served())
        .map(|row| format!("{} {}", row.method, row.path))
        .collect();
    assert!(missing.is_empty(), "{missing:#?}");
}

#[tokio::test]
async fn what_makes_no_sense_here_is_not_recognized() {
    let Some(list) = specification::text("endpoints.csv") else {
        return;
    };
    let server = TestServer::new().await;
    let ann = server.register("ann").await;
    // The third-party form of inviting shares its path with the other one, which refuses it.
    let rows = rows(&list).filter(|row| row.tier == "n/a" && !row.path.ends_with("/invite"));
    for row in rows {
        let method = Method::from_bytes(row.method.as_bytes()).unwrap();
        let answer = ann
            .request(method, &row.path.replace(['{', '}'], ""), serde_json::json!({}))
            .await;
        let at = format!("{} {}", row.method, row.path);
        assert_eq!(answer.body["errcode"], "M_UNRECOGNIZED", "{at}");
        // The path may be one of ours, with other methods.
        assert!(matches!(answer.status.as_u16(), 404 | 405), "{at}");
    }
}
