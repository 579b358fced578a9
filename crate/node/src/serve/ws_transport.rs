//! A libp2p transport whose connections are WebSockets that the HTTP server has accepted.
//!
//! Bytes go in binary messages, whose bounds mean nothing. It does *not* dial, and does not open a port.

use std::{
    collections::VecDeque,
    future::{Pending, Ready, ready},
    io,
    pin::Pin,
    task::{Context, Poll, ready as poll_ready},
};

use axum::extract::ws::{Message, WebSocket};
use bytes::Bytes;
use futures::{AsyncRead, AsyncWrite, Sink as _, Stream as _, StreamExt as _, channel::mpsc};
use libp2p::{
    Multiaddr, Transport,
    core::transport::{DialOpts, ListenerId, TransportError, TransportEvent},
};

use super::networks::Place;

/// The longest message that is accepted, in bytes.
pub(super) const MAX_MESSAGE: usize = 1 << 20;
/// The longest message that is sent: one frame of the noise protocol and more fits.
const MAX_WRITE: usize = 128 << 10;

/// A WebSocket as a stream of bytes. Reading and writing wait for the other side as TCP does.
pub(super) struct Socket {
    socket: WebSocket,
    unread: Bytes,
    _place: Place,
}

/// An accepted socket, with the addresses of both ends.
pub(super) struct Incoming {
    pub(super) socket: Socket,
    pub(super) local: Multiaddr,
    pub(super) remote: Multiaddr,
}

/// The transport: what arrives on its channel.
pub(super) struct WsTransport {
    incoming: mpsc::Receiver<Incoming>,
    listener: Option<ListenerId>,
    events: VecDeque<TransportEvent<Ready<io::Result<Socket>>, io::Error>>,
}

impl WsTransport {
    pub(super) fn new(incoming: mpsc::Receiver<Incoming>) -> Self {
        Self {
            incoming,
            listener: None,
            events: VecDeque::new(),
        }
    }
}

impl Transport for WsTransport {
    type Output = Socket;
    type Error = io::Error;
    type ListenerUpgrade = Ready<io::Result<Socket>>;
    type Dial = Pending<io::Result<Socket>>;

    fn listen_on(&mut self, id: ListenerId, address: Multiaddr) -> Result<(), TransportError<io::Error>> {
        if self.listener.is_some() {
            return Err(TransportError::MultiaddrNotSupported(address));
        }
        self.listener = Some(id);
        self.events.push_back(TransportEvent::NewAddress {
            listener_id: id,
            listen_addr: address,
        });
        Ok(())
    }

    fn remove_listener(&mut self, id: ListenerId) -> bool {
        let removed = self.listener.take_if(|listener| *listener == id).is_some();
        if removed {
            self.incoming.close();
            self.events.push_back(TransportEvent::ListenerClosed {
                listener_id: id,
                reason: Ok(()),
            });
        }
        removed
    }

    fn dial(&mut self, address: Multiaddr, _: DialOpts) -> Result<Self::Dial, TransportError<io::Error>> {
        Err(TransportError::MultiaddrNotSupported(address))
    }

    fn poll(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<TransportEvent<Self::ListenerUpgrade, io::Error>> {
        if let Some(event) = self.events.pop_front() {
            return Poll::Ready(event);
        }
        let Some(listener_id) = self.listener else {
            return Poll::Pending;
        };
        match poll_ready!(self.incoming.poll_next_unpin(context)) {
            Some(Incoming {
                socket,
                local,
                remote,
            }) => Poll::Ready(TransportEvent::Incoming {
                listener_id,
                upgrade: ready(Ok(socket)),
                local_addr: local,
                send_back_addr: remote,
            }),
            None => Poll::Pending,
        }
    }
}

impl Socket {
    pub(super) fn new(socket: WebSocket, place: Place) -> Self {
        Self {
            socket,
            unread: Bytes::new(),
            _place: place,
        }
    }
}

impl AsyncRead for Socket {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        while self.unread.is_empty() {
            match poll_ready!(Pin::new(&mut self.socket).poll_next(context)) {
                Some(Ok(Message::Binary(bytes))) => self.unread = bytes,
                Some(Ok(Message::Ping(_) | Message::Pong(_))) => {}
                Some(Ok(Message::Text(_))) => return Poll::Ready(Err(io::ErrorKind::InvalidData.into())),
                Some(Ok(Message::Close(_))) | None => return Poll::Ready(Ok(0)),
                Some(Err(error)) => return Poll::Ready(Err(io::Error::other(error))),
            }
        }
        let length = buffer.len().min(self.unread.len());
        let (read, _) = buffer.split_at_mut(length);
        read.copy_from_slice(&self.unread.split_to(length));
        Poll::Ready(Ok(length))
    }
}

impl AsyncWrite for Socket {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &[u8],
    ) -> Poll<io::Result<usize>> {
        poll_ready!(Pin::new(&mut self.socket).poll_ready(context)).map_err(io::Error::other)?;
        let (written, _) = buffer.split_at(buffer.len().min(MAX_WRITE));
        let message = Message::Binary(Bytes::copy_from_slice(written));
        Pin::new(&mut self.socket)
            .start_send(message)
            .map_err(io::Error::other)?;
        Poll::Ready(Ok(written.len()))
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket)
            .poll_flush(context)
            .map_err(io::Error::other)
    }

    fn poll_close(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket)
            .poll_close(context)
            .map_err(io::Error::other)
    }
}
