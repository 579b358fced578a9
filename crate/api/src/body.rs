//! Bodies of requests and answers: nothing, bytes in memory, or a stream of chunks.

use std::{
    fmt,
    pin::Pin,
    task::{Context, Poll},
};

use bytes::{Bytes, BytesMut};
use futures::{Stream, StreamExt};
use hearth_storage::MaybeSend;

/// The body of a request or an answer.
pub struct Body(Inner);

enum Inner {
    Full(Option<Bytes>),
    Stream(Pin<Box<dyn Chunks>>),
}

/// A stream of chunks that may cross threads wherever there are threads.
trait Chunks: Stream<Item = Result<Bytes, BodyError>> + MaybeSend {}
impl<T: Stream<Item = Result<Bytes, BodyError>> + MaybeSend> Chunks for T {}

/// Why a body could not be read to its end.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BodyError {
    /// The body is longer than the limit of whoever reads it.
    #[error("the body is longer than {limit} bytes")]
    TooLarge {
        /// The limit in bytes.
        limit: usize,
    },
    /// Whoever embeds the API holds as many bodies as it has room for.
    #[error("too many requests are being read: try again")]
    NoRoom,
    /// The sender went away or broke the transport's rules.
    #[error("the body was cut off: {0}")]
    Aborted(String),
}

impl Body {
    /// No body.
    pub fn empty() -> Self {
        Self(Inner::Full(None))
    }

    /// A body whose chunks arrive over time. A chunk is asked for only when the one before was taken.
    pub fn stream(chunks: impl Stream<Item = Result<Bytes, BodyError>> + MaybeSend + 'static) -> Self {
        Self(Inner::Stream(Box::pin(chunks)))
    }

    /// The whole body in memory.
    ///
    /// # Errors
    /// [`BodyError::TooLarge`] as soon as it is longer than `limit` bytes; what failed the stream otherwise.
    pub async fn collect(mut self, limit: usize) -> Result<Bytes, BodyError> {
        if let Inner::Full(bytes) = &mut self.0 {
            return within(bytes.take().unwrap_or_default(), limit);
        }
        let mut collected = BytesMut::new();
        while let Some(chunk) = self.next().await {
            let chunk = chunk?;
            if collected.len().saturating_add(chunk.len()) > limit {
                return Err(BodyError::TooLarge { limit });
            }
            collected.extend_from_slice(&chunk);
        }
        Ok(collected.freeze())
    }
}

fn within(bytes: Bytes, limit: usize) -> Result<Bytes, BodyError> {
    if bytes.len() > limit {
        Err(BodyError::TooLarge { limit })
    } else {
        Ok(bytes)
    }
}

impl Stream for Body {
    type Item = Result<Bytes, BodyError>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        match &mut self.0 {
            Inner::Full(bytes) => Poll::Ready(bytes.take().map(Ok)),
            Inner::Stream(chunks) => chunks.as_mut().poll_next(context),
        }
    }
}

impl Default for Body {
    fn default() -> Self {
        Self::empty()
    }
}

impl fmt::Debug for Body {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Inner::Full(bytes) => {
                write!(formatter, "Body({} bytes)", bytes.as_ref().map_or(0, Bytes::len))
            }
            Inner::Stream(_) => formatter.write_str("Body(stream)"),
        }
    }
}

impl From<Bytes> for Body {
    fn from(bytes: Bytes) -> Self {
        Self(Inner::Full(Some(bytes).filter(|bytes| !bytes.is_empty())))
    }
}

impl From<Vec<u8>> for Body {
    fn from(bytes: Vec<u8>) -> Self {
        Bytes::from(bytes).into()
    }
}

impl From<String> for Body {
    fn from(text: String) -> Self {
        Bytes::from(text).into()
    }
}

impl From<&'static str> for Body {
    fn from(text: &'static str) -> Self {
        Bytes::from_static(text.as_bytes()).into()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

    use futures::{executor::block_on, stream};

    use super::*;

    fn chunks(texts: &'static [&'static str]) -> Body {
        Body::stream(stream::iter(
            texts.iter().map(|text| Ok(Bytes::from_static(text.as_bytes()))),
        ))
    }

    #[test]
    fn collects_chunks_in_order() {
        assert_eq!(block_on(chunks(&["ab", "", "c"]).collect(3)).unwrap(), "abc");
        assert_eq!(block_on(Body::from("abc").collect(3)).unwrap(), "abc");
        assert_eq!(block_on(Body::empty().collect(0)).unwrap(), "");
    }

    #[test]
    fn stops_at_the_limit() {
        let too_large = Err(BodyError::TooLarge { limit: 2 });
        assert_eq!(block_on(chunks(&["ab", "c"]).collect(2)), too_large);
        assert_eq!(block_on(Body::from("abc").collect(2)), too_large);
    }

    #[test]
    fn stops_at_an_endless_stream() {
        let endless = Body::stream(stream::repeat(Ok(Bytes::from_static(b"x"))));
        assert_eq!(
            block_on(endless.collect(10)),
            Err(BodyError::TooLarge { limit: 10 })
        );
    }
}
