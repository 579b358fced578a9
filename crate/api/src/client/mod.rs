//! The Client-Server API.

mod account;
mod account_data;
mod admin;
mod capabilities;
mod dehydrated_device;
mod delayed;
mod devices;
mod directory;
mod discovery;
mod event_stream;
mod filter;
pub(crate) mod interactive;
mod keys;
mod login;
pub(crate) mod media;
mod members;
mod membership;
pub(crate) mod messages;
mod openid;
mod presence;
mod profile;
mod push_rules;
mod pushers;
mod receipts;
mod register;
mod relations;
mod reports;
mod room_keys;
mod rooms;
mod search;
mod send;
mod sliding_sync;
mod state;
mod summary;
mod sync;
mod thread_subscriptions;
mod to_device;
mod typing;
mod user_directory;

use crate::router::Route;

/// Every route of the Client-Server API.
pub(crate) fn routes() -> impl Iterator<Item = Route> {
    let areas = [
        discovery::routes(),
        capabilities::routes(),
        register::routes(),
        login::routes(),
        account::routes(),
        admin::routes(),
        openid::routes(),
        devices::routes(),
        keys::routes(),
        to_device::routes(),
        room_keys::routes(),
        dehydrated_device::routes(),
        profile::routes(),
        user_directory::routes(),
        filter::routes(),
        account_data::routes(),
        push_rules::routes(),
        sync::routes(),
        event_stream::routes(),
        sliding_sync::routes(),
        thread_subscriptions::routes(),
        rooms::routes(),
        reports::routes(),
        directory::routes(),
        membership::routes(),
        members::routes(),
        state::routes(),
        summary::routes(),
        send::routes(),
        delayed::routes(),
        messages::routes(),
        relations::routes(),
        pushers::routes(),
        search::routes(),
        receipts::routes(),
        typing::routes(),
        presence::routes(),
        media::routes(),
    ];
    areas.into_iter().flatten()
}
