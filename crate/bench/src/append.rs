//! What it costs to append one message to a room, by the number of the room's state events.

use std::sync::Arc;

use hearth_homeserver::{Config, Homeserver, Identity, JsonObject, accounts::register::Registration};
use ruma_common::{OwnedRoomId, OwnedServerName, OwnedUserId, RoomOrAliasId};
use serde_json::json;

use crate::{Failure, Figures, Platform, Scale, Times, remote::Remote, synthetic_room::SyntheticRoom};

/// Messages that are sent before the clock counts.
const WARM_UP: usize = 20;

/// Joins a room of each size on the platform's store and appends messages to them in turns. A time is that of
/// [`Homeserver::send_message`] until the message is durable.
///
/// # Errors
/// [`Failure`] if a room cannot be joined or a message not be sent.
pub async fn measure(platform: &Platform, scale: Scale) -> Result<Figures, Failure> {
    match scale {
        Scale::Full => measure_sizes(platform, &[10, 1_000, 100_000], 200).await,
        Scale::Smoke => measure_sizes(platform, &[10, 20], 2).await,
    }
}

async fn measure_sizes(platform: &Platform, sizes: &[usize], messages: usize) -> Result<Figures, Failure> {
    let mut figures = Figures::default();
    let user = User::in_rooms(platform, sizes, &mut figures).await?;
    let mut times = vec![Times::default(); sizes.len()];
    for number in 0..WARM_UP + messages {
        for (room_id, times) in user.rooms.iter().zip(&mut times) {
            let before = (platform.stopwatch)();
            user.send(room_id, number).await?;
            if number >= WARM_UP {
                times.push((platform.stopwatch)() - before);
            }
        }
    }
    for (size, times) in sizes.iter().zip(&times) {
        figures.note_ms(&format!("append_to_{size}"), times);
    }
    if let (Some(smallest), Some(largest)) = (times.first(), times.last()) {
        figures.note(
            "append_largest_to_smallest_ratio",
            largest.median() / smallest.median(),
        );
    }
    Ok(figures)
}

/// Somebody who is in the rooms.
struct User {
    homeserver: Arc<Homeserver>,
    user_id: OwnedUserId,
    rooms: Vec<OwnedRoomId>,
}

impl User {
    /// Joins a room of each of `sizes`, each through a server of its own, and notes how long that took.
    async fn in_rooms(platform: &Platform, sizes: &[usize], figures: &mut Figures) -> Result<Self, Failure> {
        let rooms = sizes
            .iter()
            .zip(1..)
            .map(|(size, seed)| SyntheticRoom::new(*size, seed))
            .collect::<Result<Vec<_>, _>>()?;
        let places: Vec<_> = rooms
            .iter()
            .filter_map(|room| Some((room.room_id()?.to_owned(), room.server_name().to_owned())))
            .collect();
        let identity = Identity::from_seed([255; 32])?;
        let seams = platform.seams(Remote::of(rooms));
        let homeserver = Homeserver::open(seams, identity, Config::default()).await?;
        let wish = Registration {
            username: Some("user".to_owned()),
            password: None,
            device: None,
        };
        let (user_id, _) = homeserver.register(wish).await?;
        for (size, (room_id, server)) in sizes.iter().zip(&places) {
            let via = [OwnedServerName::try_from(server.as_str())?];
            let before = (platform.stopwatch)();
            let room = <&RoomOrAliasId>::try_from(room_id.as_str())?;
            homeserver.join_room(&user_id, room, &via, None).await?;
            figures.note(
                format!("join_{size}_from_memory_ms"),
                (platform.stopwatch)() - before,
            );
        }
        let rooms = places.into_iter().map(|(room_id, _)| room_id).collect();
        Ok(Self {
            homeserver,
            user_id,
            rooms,
        })
    }

    async fn send(&self, room_id: &OwnedRoomId, number: usize) -> Result<(), Failure> {
        let content: JsonObject =
            serde_json::from_value(json!({ "msgtype": "m.text", "body": format!("message {number}") }))?;
        let transaction = format!("bench{number}");
        let device = "BENCH".into();
        self.homeserver
            .send_message(
                &self.user_id,
                device,
                room_id,
                "m.room.message",
                &transaction,
                content,
            )
            .await?;
        Ok(())
    }
}
