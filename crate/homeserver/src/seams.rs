//! The seams between the homeserver and the platform it runs on.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use hearth_storage::{BoxFuture, MaybeSend, MaybeSync, Store};

/// Wall-clock time and timers.
pub trait Clock: MaybeSend + MaybeSync + 'static {
    /// Milliseconds since the Unix epoch.
    fn now(&self) -> u64;

    /// Completes after `duration`.
    fn sleep(&self, duration: Duration) -> BoxFuture<'static, ()>;
}

/// A source of cryptographically secure random bytes.
pub trait Rng: MaybeSend + MaybeSync + 'static {
    /// Fills `bytes`.
    fn fill(&self, bytes: &mut [u8]);
}

/// Runs tasks in the background.
pub trait Spawner: MaybeSend + MaybeSync + 'static {
    /// Runs `task` to its end, beside whatever spawned it.
    fn spawn(&self, task: BoxFuture<'static, ()>);
}

/// Why a request to another homeserver got no HTTP answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FederationError {
    /// No way to the server is known, or it does not answer.
    #[error("the server cannot be reached")]
    Unreachable,
    /// The server did not answer in time.
    #[error("the server did not answer in time")]
    Timeout,
    /// What came back broke the protocol or a limit.
    #[error("the server broke the protocol: {0}")]
    Protocol(String),
}

/// The greatest answer that whoever makes a request expects, in bytes: an extension of the request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AnswerLimit(pub usize);

/// Outbound requests of the Matrix Server-Server API.
pub trait Federation: MaybeSend + MaybeSync + 'static {
    /// Sends `request` (already signed; its URI is a path and query) to the server named `destination`.
    ///
    /// Any HTTP status is `Ok`. The implementation bounds the time and the size of the answer, the latter by
    /// [`AnswerLimit`] too.
    fn send<'a>(
        &'a self,
        destination: &'a str,
        request: http::Request<Bytes>,
    ) -> BoxFuture<'a, Result<http::Response<Bytes>, FederationError>>;

    /// From now on a room is shared with `server`. Must return quickly.
    fn met(&self, _server: &str) {}

    /// The servers to which a connection is open, where there are connections: they can be asked first. Must return
    /// quickly.
    fn connected(&self) -> Vec<String> {
        Vec::new()
    }
}

/// A kind of picture.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Picture {
    /// PNG.
    Png,
    /// JPEG.
    Jpeg,
    /// GIF: its first frame counts.
    Gif,
    /// WebP: its first frame counts.
    Webp,
}

impl Picture {
    /// The content type.
    pub fn content_type(self) -> &'static str {
        match self {
            Self::Png => "image/png",
            Self::Jpeg => "image/jpeg",
            Self::Gif => "image/gif",
            Self::Webp => "image/webp",
        }
    }

    /// What a smaller copy is made as: PNG keeps what is transparent.
    pub fn made_smaller(self) -> Self {
        match self {
            Self::Jpeg => Self::Jpeg,
            Self::Png | Self::Gif | Self::Webp => Self::Png,
        }
    }
}

/// Which part of a picture becomes how large. All lengths are in pixels and at least 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Scaling {
    /// Where the part begins.
    pub left: u32,
    /// Where the part begins.
    pub top: u32,
    /// The width of the part.
    pub part_width: u32,
    /// The height of the part.
    pub part_height: u32,
    /// The width that it gets.
    pub width: u32,
    /// The height that it gets.
    pub height: u32,
}

/// A picture, or why there is none.
pub type Scaled = Result<(Picture, Vec<u8>), String>;

/// Makes pictures smaller, without keeping anybody waiting meanwhile.
pub trait Images: MaybeSend + MaybeSync + 'static {
    /// The part of the picture `bytes` that `scaling` says, encoded as [`Picture::made_smaller`] says; of a JPEG file, the
    /// part of the picture turned and mirrored as its Exif says. An `Err` says why that cannot be. The picture's own claim of
    /// its size was checked; what is in it was not.
    fn scale(&self, picture: Picture, bytes: Bytes, scaling: Scaling) -> BoxFuture<'_, Scaled>;
}

/// A platform that cannot read pictures: there are no thumbnails.
pub struct NoImages;

impl Images for NoImages {
    fn scale(&self, _: Picture, _: Bytes, _: Scaling) -> BoxFuture<'_, Scaled> {
        Box::pin(async { Err("pictures are not made smaller here".into()) })
    }
}

/// The platform that a homeserver runs on.
#[derive(Clone)]
pub struct Seams {
    /// Durable storage.
    pub store: Arc<dyn Store>,
    /// Requests to other homeservers.
    pub federation: Arc<dyn Federation>,
    /// Time.
    pub clock: Arc<dyn Clock>,
    /// Randomness.
    pub rng: Arc<dyn Rng>,
    /// Background tasks.
    pub spawner: Arc<dyn Spawner>,
    /// Pictures.
    pub images: Arc<dyn Images>,
}
