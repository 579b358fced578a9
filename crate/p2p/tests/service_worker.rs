//! What the WebSocket transport does where there is no window. Runs in a service worker.

#![cfg(target_family = "wasm")]
#![allow(clippy::unwrap_used, reason = "a test may panic")]

use std::{sync::Arc, time::Duration};

use futures::channel::oneshot;
use hearth_homeserver::{Clock, Federation as _, FederationError, Spawner};
use hearth_p2p::{Config, Network, transport};
use hearth_storage::BoxFuture;
use libp2p::{
    Multiaddr, Transport as _,
    core::{
        Endpoint,
        transport::{DialOpts, PortUse, TransportError},
    },
};
use wasm_bindgen::{JsCast as _, closure::Closure};
use wasm_bindgen_test::{wasm_bindgen_test, wasm_bindgen_test_configure};

wasm_bindgen_test_configure!(run_in_service_worker);

/// Nothing listens there.
const NOBODY: &str = "/ip4/127.0.0.1/tcp/9/ws";

fn options() -> DialOpts {
    DialOpts {
        role: Endpoint::Dialer,
        port_use: PortUse::New,
    }
}

fn dial(address: &str) -> Result<impl Future<Output = std::io::Result<()>>, TransportError<std::io::Error>> {
    let address: Multiaddr = address.parse().unwrap();
    let dial = transport::sockets().dial(address, options())?;
    Ok(async { dial.await.map(drop) })
}

/// The transport has no time-out of its own: this ends because the browser says that the dial has failed.
#[wasm_bindgen_test]
async fn a_dial_that_nobody_answers_fails() {
    assert!(dial(NOBODY).unwrap().await.is_err());
}

/// The server of the tests speaks HTTP and knows no WebSocket.
#[wasm_bindgen_test]
async fn a_server_without_web_sockets_is_an_error() {
    let location = js_sys::Reflect::get(&js_sys::global(), &"location".into()).unwrap();
    let port = js_sys::Reflect::get(&location, &"port".into())
        .unwrap()
        .as_string()
        .unwrap();
    assert!(
        dial(&format!("/ip4/127.0.0.1/tcp/{port}/ws"))
            .unwrap()
            .await
            .is_err()
    );
}

#[wasm_bindgen_test]
fn what_a_browser_cannot_dial_is_said_at_once() {
    for address in [
        "/ip4/127.0.0.1/tcp/9",
        "/ip4/127.0.0.1/udp/9/quic-v1",
        "/memory/1",
    ] {
        assert!(
            matches!(dial(address), Err(TransportError::MultiaddrNotSupported(_))),
            "{address}"
        );
    }
}

#[wasm_bindgen_test]
async fn a_network_without_relays_reaches_nobody_and_does_not_fail() {
    let config = Config {
        dial_timeout: Duration::from_millis(1),
        ..Config::default()
    };
    let network = Network::start([1; 32], config, Arc::new(Browser), Arc::new(Browser)).unwrap();
    let request = http::Request::get("/").body(bytes::Bytes::new()).unwrap();
    let name = hearth_homeserver::Identity::from_seed([2; 32])
        .unwrap()
        .server_name()
        .to_owned();
    assert_eq!(
        network.send(&name, request).await.unwrap_err(),
        FederationError::Unreachable
    );
}

/// The clock and the tasks of a browser.
struct Browser;

impl Clock for Browser {
    #[allow(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a time after 1970"
    )]
    fn now(&self) -> u64 {
        js_sys::Date::now() as u64
    }

    fn sleep(&self, duration: Duration) -> BoxFuture<'static, ()> {
        let (fire, fired) = oneshot::channel::<()>();
        let fire = Closure::once_into_js(move || drop(fire));
        let set_timeout = js_sys::Reflect::get(&js_sys::global(), &"setTimeout".into()).unwrap();
        let milliseconds = u32::try_from(duration.as_millis()).unwrap_or(u32::MAX >> 1);
        let set_timeout: js_sys::Function = set_timeout.unchecked_into();
        set_timeout
            .call2(&js_sys::global(), &fire, &milliseconds.into())
            .unwrap();
        Box::pin(async move {
            let _ = fired.await;
        })
    }
}

impl Spawner for Browser {
    fn spawn(&self, task: BoxFuture<'static, ()>) {
        wasm_bindgen_futures::spawn_local(task);
    }
}
