//! Limits on how long something may take.

use std::{pin::pin, time::Duration};

use futures::future::{Either, select};

use crate::Clock;

/// Something took longer than it may.
#[derive(Debug, PartialEq, Eq)]
pub struct Late;

/// The output of `work`, unless it takes longer than `limit`: then it is dropped.
///
/// # Errors
/// [`Late`].
pub async fn within<T>(clock: &dyn Clock, limit: Duration, work: impl Future<Output = T>) -> Result<T, Late> {
    match select(pin!(work), clock.sleep(limit)).await {
        Either::Left((output, _)) => Ok(output),
        Either::Right(_) => Err(Late),
    }
}
