//! The asking side of the handshake by which another server helps a user to join, knock or leave: `make_*` gives a
//! template of the event, which is signed here. Spec: Server-Server API, sections 'Joining rooms', 'Knocking upon a
//! room' and 'Leaving Rooms'. What `send_*` answers is each one's own.

use hearth_rooms::{Pdu, RoomVersion, builder::sign_template, ordered};
use hearth_storage::MaybeSend;
use http::Method;
use ruma_common::{OwnedServerName, RoomId, ServerName, UserId};

use crate::{
    Error, Homeserver, JsonObject,
    federation::{member_event::Template, uri::path},
};

/// The most servers that are asked to help with one membership.
pub(crate) const MAX_HELPERS: usize = 10;

impl Homeserver {
    /// Makes `attempt` with one of `servers` after the other, until one helps. Returns the error that says most.
    pub(super) async fn through_first<F, A>(
        &self,
        room_id: &RoomId,
        servers: Vec<OwnedServerName>,
        attempt: F,
    ) -> Result<(), Error>
    where
        F: Fn(OwnedServerName) -> A,
        A: Future<Output = Result<(), Error>> + MaybeSend,
    {
        let mut last = Error::NotFound("no server is known that is in this room".into());
        let mut asked = ordered::set([self.server_name().to_owned()]);
        for server in servers
            .into_iter()
            .filter(|server| asked.insert(server.clone()))
            .take(MAX_HELPERS)
        {
            match attempt(server.clone()).await {
                Ok(()) => return Ok(()),
                Err(error @ (Error::Store(_) | Error::UnsupportedRoomVersion(_))) => return Err(error),
                Err(error) => {
                    tracing::info!(%server, %room_id, %error, "a server did not help");
                    last = worse(last, error);
                }
            }
        }
        Err(last)
    }

    /// Asks `server` by `make` (`v1/make_join` and the like) for a membership event of `user_id` with `content`.
    pub(crate) async fn template(
        &self,
        server: &ServerName,
        (make, query): (&str, &str),
        room_id: &RoomId,
        user_id: &UserId,
        content: JsonObject,
    ) -> Result<Template, Error> {
        let uri = path(make, &[room_id.as_str(), user_id.as_str()], query);
        let answer = self.request(server, Method::GET, &uri, None).await?;
        Template::read(answer, room_id, user_id, content)
    }

    /// The event of a template, signed, with this moment as its time.
    pub(super) fn sign_now(&self, template: Template) -> Result<Pdu, Error> {
        let Template { version, mut event } = template;
        event.insert("origin_server_ts".into(), self.event_timestamp().into());
        self.sign_as(version, event)
    }

    /// The event that another server has laid out, signed.
    pub(crate) fn sign_as(&self, version: RoomVersion, event: JsonObject) -> Result<Pdu, Error> {
        let (name, key) = (self.server_name().as_str(), self.identity.key_pair());
        sign_template(version, event, name, key).map_err(|error| Error::Unreachable(error.to_string()))
    }
}

/// The error that says more: a refusal says more than that somebody could not be reached.
fn worse(first: Error, second: Error) -> Error {
    match (&first, &second) {
        (Error::Forbidden(_), _) => first,
        _ => second,
    }
}
