//! The Server-Server API. Every route but two takes signed requests only.

mod discovery;
mod events;
mod media;
mod membership;
mod query;
mod transactions;

use crate::router::Route;

/// Every route of the Server-Server API.
pub(crate) fn routes() -> impl Iterator<Item = Route> {
    let areas = [
        discovery::routes(),
        transactions::routes(),
        membership::routes(),
        events::routes(),
        query::routes(),
        media::routes(),
    ];
    areas.into_iter().flatten()
}
