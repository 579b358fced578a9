//! Limits on how long something may take.

use std::{pin::pin, time::Duration};

use futures::future::{Either, select};
use hearth_homeserver::Clock;

/// Something took longer than it may.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Late;

/// The output of `work`, unless it takes longer than `limit`.
pub(super) async fn within<T>(
    clock: &dyn Clock,
    limit: Duration,
    work: impl Future<Output = T>,
) -> Result<T, Late> {
    match select(pin!(work), clock.sleep(limit)).await {
        Either::Left((output, _)) => Ok(output),
        Either::Right(_) => Err(Late),
    }
}
