//! WebSocket in a browser, from pages and workers alike: it needs no window.
//!
//! A failed dial and a remote close are noticed when the browser notices them. Writing is held back while the
//! browser has much left to send; a timer runs only then, because no event tells of it.
//!
//! What a browser's WebSocket *cannot* do is hold the other side back: what arrives is queued until it is
//! read. The windows of yamux bound it in practice. A connection with 32 MiB unread is broken, and fails.

use std::{
    cell::RefCell,
    collections::VecDeque,
    io,
    pin::Pin,
    rc::Rc,
    task::{Context, Poll, Waker},
    time::Duration,
};

use futures::{
    AsyncRead, AsyncWrite, FutureExt as _,
    future::{self, BoxFuture},
};
use futures_timer::Delay;
use js_sys::{ArrayBuffer, Uint8Array};
use libp2p::{
    Multiaddr, Transport,
    core::transport::{DialOpts, ListenerId, TransportError, TransportEvent},
};
use send_wrapper::SendWrapper;
use wasm_bindgen::{JsCast as _, JsValue, closure::Closure};
use web_sys::{BinaryType, CloseEvent, Event, MessageEvent, WebSocket};

use super::web_socket_url::web_socket_url;

/// Bytes that may be unread before the connection fails.
const MAX_UNREAD: usize = 32 << 20;
/// Bytes that the browser may have left to send before writing is held back.
const MAX_UNSENT: u32 = 1 << 20;
/// The longest message, in bytes: receivers bound what they take.
const MAX_MESSAGE: usize = 128 << 10;
/// The first and the longest pause before looking again whether writing may go on.
const PAUSES: (Duration, Duration) = (Duration::from_millis(1), Duration::from_millis(32));

thread_local! {
    /// Every socket that is open.
    static SOCKETS: RefCell<Vec<WebSocket>> = const { RefCell::new(Vec::new()) };
}

/// Closes every socket, for an instance that is about to be lost.
///
/// Nobody else could: the browser keeps open sockets, and a relay would go on sending to one that nobody reads.
pub fn close_sockets() {
    let sockets = SOCKETS.with(|sockets| {
        sockets
            .try_borrow()
            .map(|sockets| sockets.clone())
            .unwrap_or_default()
    });
    sockets.iter().for_each(end);
}

/// Dials `/…/tcp/…/ws|wss|tls/ws`.
pub fn transport() -> WebSocketTransport {
    WebSocketTransport
}

/// See the module.
pub struct WebSocketTransport;

impl Transport for WebSocketTransport {
    type Output = Connection;
    type Error = io::Error;
    type ListenerUpgrade = future::Pending<Result<Connection, io::Error>>;
    type Dial = BoxFuture<'static, Result<Connection, io::Error>>;

    fn listen_on(&mut self, _: ListenerId, address: Multiaddr) -> Result<(), TransportError<io::Error>> {
        Err(TransportError::MultiaddrNotSupported(address))
    }

    fn remove_listener(&mut self, _: ListenerId) -> bool {
        false
    }

    fn dial(
        &mut self,
        address: Multiaddr,
        options: DialOpts,
    ) -> Result<Self::Dial, TransportError<io::Error>> {
        let url = web_socket_url(&address).filter(|_| !options.role.is_listener());
        let url = url.ok_or(TransportError::MultiaddrNotSupported(address))?;
        let mut connection = Connection::dial(&url).map_err(TransportError::Other)?;
        Ok(async move {
            future::poll_fn(|context| connection.poll_open(context)).await?;
            Ok(connection)
        }
        .boxed())
    }

    fn poll(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<TransportEvent<Self::ListenerUpgrade, io::Error>> {
        Poll::Pending
    }
}

/// One WebSocket as a stream of bytes. Dropping it closes it.
///
/// It is `Send` because libp2p asks for it; a browser's worker has one thread, on which it stays.
pub struct Connection {
    socket: SendWrapper<Socket>,
    /// Runs while writing is held back.
    timer: Option<Delay>,
    pause: Duration,
}

/// The browser's object and what its events have said.
struct Socket {
    socket: WebSocket,
    state: Rc<RefCell<State>>,
    /// The browser calls these until they are taken off `socket`.
    _on_open: Closure<dyn FnMut()>,
    _on_message: Closure<dyn FnMut(MessageEvent)>,
    _on_error: Closure<dyn FnMut(Event)>,
    _on_close: Closure<dyn FnMut(CloseEvent)>,
}

#[derive(Default)]
struct State {
    phase: Phase,
    /// Messages that are not read yet.
    unread: VecDeque<Vec<u8>>,
    /// How much of the first of them is read.
    read: usize,
    /// The bytes of `unread`, with those that are read.
    queued: usize,
    /// Whoever waits to read or to be connected.
    reader: Option<Waker>,
    /// Whoever waits to write.
    writer: Option<Waker>,
}

#[derive(Default)]
enum Phase {
    #[default]
    Connecting,
    Open,
    /// The other side has closed it.
    Closed,
    /// It broke, or was never there.
    Failed(&'static str),
}

impl Connection {
    /// Starts to connect.
    fn dial(url: &str) -> io::Result<Self> {
        let socket = SendWrapper::new(Socket::new(url).map_err(|error| script_error(&error))?);
        Ok(Self {
            socket,
            timer: None,
            pause: PAUSES.0,
        })
    }

    fn poll_open(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut state = self.socket.state.borrow_mut();
        match state.phase {
            Phase::Connecting => {
                state.reader = Some(context.waker().clone());
                Poll::Pending
            }
            Phase::Open => Poll::Ready(Ok(())),
            Phase::Closed => Poll::Ready(Err(io::ErrorKind::ConnectionRefused.into())),
            Phase::Failed(why) => Poll::Ready(Err(io::Error::new(io::ErrorKind::ConnectionRefused, why))),
        }
    }

    /// Ready when the browser has sent enough of what was written before.
    fn poll_writable(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.socket.state.borrow_mut().writable(context)?;
        while self.socket.socket.buffered_amount() > MAX_UNSENT {
            let timer = self.timer.get_or_insert_with(|| Delay::new(self.pause));
            if timer.poll_unpin(context).is_pending() {
                return Poll::Pending;
            }
            self.timer = None;
            self.pause = (self.pause * 2).min(PAUSES.1);
        }
        self.timer = None;
        self.pause = PAUSES.0;
        Poll::Ready(Ok(()))
    }
}

impl AsyncRead for Connection {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        self.socket.state.borrow_mut().poll_read(context, buffer)
    }
}

impl AsyncWrite for Connection {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &[u8],
    ) -> Poll<io::Result<usize>> {
        futures::ready!(self.poll_writable(context))?;
        let message = buffer.get(..MAX_MESSAGE).unwrap_or(buffer);
        let sent = self.socket.socket.send_with_u8_array(message);
        sent.map_err(|error| script_error(&error))?;
        Poll::Ready(Ok(message.len()))
    }

    /// A browser sends what it was given without being asked.
    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(self.socket.state.borrow_mut().writable(context))
    }

    /// A browser sends what it was given before it closes.
    fn poll_close(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        close(&self.socket.socket);
        Poll::Ready(Ok(()))
    }
}

impl Socket {
    fn new(url: &str) -> Result<Self, JsValue> {
        let socket = WebSocket::new(url)?;
        socket.set_binary_type(BinaryType::Arraybuffer);
        let state = Rc::new(RefCell::new(State::default()));
        let on_open = Closure::new(on_open(&state));
        let on_message = Closure::new(on_message(&state, &socket));
        let on_error = Closure::new(on_error(&state));
        let on_close = Closure::new(on_close(&state));
        socket.set_onopen(Some(on_open.as_ref().unchecked_ref()));
        socket.set_onmessage(Some(on_message.as_ref().unchecked_ref()));
        socket.set_onerror(Some(on_error.as_ref().unchecked_ref()));
        socket.set_onclose(Some(on_close.as_ref().unchecked_ref()));
        SOCKETS.with(|sockets| sockets.borrow_mut().push(socket.clone()));
        Ok(Self {
            socket,
            state,
            _on_open: on_open,
            _on_message: on_message,
            _on_error: on_error,
            _on_close: on_close,
        })
    }
}

impl Drop for Socket {
    fn drop(&mut self) {
        end(&self.socket);
        SOCKETS.with(|sockets| sockets.borrow_mut().retain(|socket| *socket != self.socket));
    }
}

/// Closes `socket` and hears nothing more of it.
fn end(socket: &WebSocket) {
    socket.set_onopen(None);
    socket.set_onmessage(None);
    socket.set_onerror(None);
    socket.set_onclose(None);
    close(socket);
}

/// Closing what is closed does nothing; only a status code or reason could be wrong, and none is given.
fn close(socket: &WebSocket) {
    drop(socket.close());
}

fn on_open(state: &Rc<RefCell<State>>) -> impl FnMut() + 'static {
    let state = Rc::clone(state);
    move || state.borrow_mut().enter(Phase::Open)
}

fn on_message(state: &Rc<RefCell<State>>, socket: &WebSocket) -> impl FnMut(MessageEvent) + 'static {
    let (state, socket) = (Rc::clone(state), socket.clone());
    move |event| {
        let received = state.borrow_mut().receive(event.data());
        if let Err(why) = received {
            state.borrow_mut().enter(Phase::Failed(why));
            close(&socket);
        }
    }
}

fn on_error(state: &Rc<RefCell<State>>) -> impl FnMut(Event) + 'static {
    let state = Rc::clone(state);
    // The browser tells nobody why: it could betray what is in the local network.
    move |_| {
        state
            .borrow_mut()
            .enter(Phase::Failed("the WebSocket has failed"))
    }
}

fn on_close(state: &Rc<RefCell<State>>) -> impl FnMut(CloseEvent) + 'static {
    let state = Rc::clone(state);
    move |event: CloseEvent| {
        let clean = event.was_clean();
        let phase = if clean {
            Phase::Closed
        } else {
            Phase::Failed("the WebSocket was cut off")
        };
        state.borrow_mut().enter(phase);
    }
}

impl State {
    /// Changes the phase, unless the connection has ended before, and wakes whoever waits.
    fn enter(&mut self, phase: Phase) {
        if !matches!(self.phase, Phase::Closed | Phase::Failed(_)) {
            self.phase = phase;
        }
        self.reader
            .take()
            .into_iter()
            .chain(self.writer.take())
            .for_each(Waker::wake);
    }

    /// Queues a message.
    fn receive(&mut self, data: JsValue) -> Result<(), &'static str> {
        let data = data
            .dyn_into::<ArrayBuffer>()
            .map_err(|_| "a message is not binary")?;
        let bytes = Uint8Array::new(&data).to_vec();
        self.queued += bytes.len();
        if self.queued > MAX_UNREAD {
            return Err("too much is unread");
        }
        if !bytes.is_empty() {
            self.unread.push_back(bytes);
        }
        self.reader.take().into_iter().for_each(Waker::wake);
        Ok(())
    }

    /// What has arrived is read even after the connection has ended.
    fn poll_read(&mut self, context: &mut Context<'_>, buffer: &mut [u8]) -> Poll<io::Result<usize>> {
        if self.unread.is_empty() {
            return self.poll_end(context);
        }
        let mut filled = 0;
        while let Some(message) = self.unread.front() {
            let rest = message.get(self.read..).unwrap_or_default();
            let room = buffer.get_mut(filled..).unwrap_or_default();
            let count = rest.len().min(room.len());
            room.iter_mut().zip(rest).for_each(|(place, byte)| *place = *byte);
            filled += count;
            self.read += count;
            if self.read < message.len() {
                break;
            }
            self.queued -= message.len();
            self.read = 0;
            self.unread.pop_front();
        }
        Poll::Ready(Ok(filled))
    }

    fn poll_end(&mut self, context: &mut Context<'_>) -> Poll<io::Result<usize>> {
        match self.phase {
            Phase::Closed => Poll::Ready(Ok(0)),
            Phase::Failed(why) => Poll::Ready(Err(io::Error::new(io::ErrorKind::ConnectionReset, why))),
            Phase::Connecting | Phase::Open => {
                self.reader = Some(context.waker().clone());
                Poll::Pending
            }
        }
    }

    /// An error if nothing can be sent any more; else whoever writes is told when that changes.
    fn writable(&mut self, context: &mut Context<'_>) -> io::Result<()> {
        match self.phase {
            Phase::Open => {
                self.writer = Some(context.waker().clone());
                Ok(())
            }
            Phase::Connecting => Err(io::ErrorKind::NotConnected.into()),
            Phase::Closed => Err(io::ErrorKind::BrokenPipe.into()),
            Phase::Failed(why) => Err(io::Error::new(io::ErrorKind::ConnectionReset, why)),
        }
    }
}

/// What the browser has thrown.
fn script_error(error: &JsValue) -> io::Error {
    io::Error::other(format!("{error:?}"))
}
