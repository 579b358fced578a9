//! The homeserver: what every request and task is given.
//!
//! Its functions are written beside the noun that they are about: `rooms/create.rs`, `federation/inbound.rs` …
//! This file only opens it and answers who it is.

use std::sync::{
    Arc, Weak,
    atomic::{AtomicU64, Ordering},
};

use hearth_storage::BoxFuture;
use ruma_common::{OwnedServerName, ServerName, UserId};

use crate::{
    Config, Error, Identity, Seams,
    accounts::{Accounts, directory::Directory},
    encryption::Encryption,
    federation::{heads::Comparisons, held::HeldEvents, joins::Joins, sender::Outbox},
    log::Log,
    media::MediaState,
    policy::Policies,
    presence::Presence,
    push::unread::UnreadCache,
    receipts::ReceiptCache,
    relations::{descendants::DescendantCache, summary::SummaryCache},
    rooms::{
        answers::Answers, delayed::Delayed, description::Remembered, event::EventCache, extremities::Merges,
        memberships::UserRooms, partial::PartialRooms, resolve::Resolved, room::RoomCache, tree::NodeCache,
    },
    search::Filling,
    sync::Sliding,
    typing::Typing,
};

/// One Matrix homeserver.
pub struct Homeserver {
    /// The platform it runs on.
    pub seams: Seams,
    /// Its signing key and name.
    pub identity: Identity,
    /// What its owner chose.
    pub config: Config,
    /// The stream that `/sync` follows.
    pub log: Log,
    pub(crate) accounts: Accounts,
    pub(crate) rooms: RoomCache,
    pub(crate) nodes: NodeCache,
    pub(crate) events: EventCache,
    pub(crate) resolved: Resolved,
    pub(crate) user_rooms: UserRooms,
    /// How those memberships ended that were forgotten. One whose user has one again is of no account.
    pub(crate) forgotten_rooms: UserRooms,
    pub(crate) answers: Answers,
    pub(crate) outbox: Outbox,
    pub(crate) merges: Merges,
    pub(crate) comparisons: Comparisons,
    pub(crate) held: HeldEvents,
    pub(crate) partial: PartialRooms,
    pub(crate) encryption: Encryption,
    pub(crate) joins: Joins,
    pub(crate) delayed: Delayed,
    /// What other servers have said of rooms.
    pub(crate) hierarchies: Remembered,
    /// Held while an alias is given or taken away.
    pub(crate) directory_lock: async_lock::Mutex<()>,
    pub(crate) receipts: Arc<ReceiptCache>,
    pub(crate) typing: Typing,
    pub(crate) presence: Presence,
    pub(crate) media: MediaState,
    pub(crate) unread: UnreadCache,
    pub(crate) policies: Policies,
    pub(crate) directory: Directory,
    pub(crate) sliding: Sliding,
    pub(crate) relations: SummaryCache,
    pub(crate) descendants: DescendantCache,
    pub(crate) search: Filling,
    server_name: OwnedServerName,
    /// The newest timestamp given to an event.
    newest_timestamp: AtomicU64,
    this: Weak<Self>,
}

impl Homeserver {
    /// Opens the homeserver whose data is in `seams.store`, and starts sending what is still queued.
    ///
    /// # Errors
    /// [`Error::Store`] if the store fails, [`Error::Damaged`] if stored data or the server name is unreadable.
    pub async fn open(seams: Seams, identity: Identity, config: Config) -> Result<Arc<Self>, Error> {
        let log = Log::open(seams.store.clone(), seams.spawner.clone()).await?;
        let server_name = ServerName::parse(identity.server_name())
            .map_err(|error| Error::Damaged(format!("server name: {error}")))?;
        let user_rooms = UserRooms::load(&*seams.store, b"u\0").await?;
        let forgotten_rooms = UserRooms::load(&*seams.store, b"f\0").await?;
        let accounts = Accounts::load(&*seams.store).await?;
        let outbox = Outbox::load(&*seams.store).await?;
        let partial = PartialRooms::load(&*seams.store).await?;
        let delayed = Delayed::load(&*seams.store).await?;
        let held = HeldEvents::load(&*seams.store).await?;
        let typing = Typing::new(seams.clock.now());
        let answers = Answers::new(seams.clock.clone());
        let presence = Presence::load(&*seams.store, config.presence, seams.clock.now()).await?;
        let homeserver = Arc::new_cyclic(|this| Self {
            seams,
            identity,
            config,
            log,
            accounts,
            rooms: RoomCache::default(),
            nodes: NodeCache::default(),
            events: EventCache::default(),
            resolved: Resolved::default(),
            user_rooms,
            forgotten_rooms,
            answers,
            outbox,
            merges: Merges::default(),
            comparisons: Comparisons::default(),
            held,
            partial,
            encryption: Encryption::default(),
            joins: Joins::default(),
            delayed,
            hierarchies: Remembered::default(),
            directory_lock: async_lock::Mutex::default(),
            receipts: Arc::default(),
            typing,
            presence,
            media: MediaState::default(),
            unread: UnreadCache::default(),
            policies: Policies::default(),
            directory: Directory::default(),
            sliding: Sliding::default(),
            relations: SummaryCache::default(),
            descendants: DescendantCache::default(),
            search: Filling::default(),
            server_name,
            newest_timestamp: AtomicU64::new(0),
            this: this.clone(),
        });
        homeserver.fill_relations().await?;
        homeserver.fill_search().await?;
        homeserver.start_senders();
        homeserver.complete_all();
        homeserver.send_all_when_due();
        homeserver.retry_all_held();
        homeserver.dismiss_all_guests();
        homeserver.leave_all_closed();
        homeserver.spawn(|homeserver| async move {
            if let Err(error) = homeserver.remove_all_unfinished().await {
                tracing::warn!(%error, "what unfinished uploads left behind remains");
            }
        });
        Ok(homeserver)
    }

    /// The name of this homeserver.
    pub fn server_name(&self) -> &ServerName {
        &self.server_name
    }

    /// Whether `user_id` is (or would be) an account of this homeserver.
    pub fn is_local(&self, user_id: &UserId) -> bool {
        user_id.server_name() == self.server_name
    }

    /// Milliseconds since the Unix epoch.
    pub fn now(&self) -> u64 {
        self.seams.clock.now()
    }

    /// A timestamp for a new event: now, but greater than any that was given before. No two events made here
    /// share one, so two rooms made in the same millisecond have different create events, and so different ids.
    pub(crate) fn event_timestamp(&self) -> u64 {
        let now = self.now();
        let step = |newest: u64| Some(now.max(newest + 1));
        let newest = self
            .newest_timestamp
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, step);
        newest.map_or(now, |newest| now.max(newest + 1))
    }

    /// `bytes` random bytes as hex digits: for ids and tokens.
    pub fn random_id(&self, bytes: usize) -> String {
        let mut random = vec![0; bytes];
        self.seams.rng.fill(&mut random);
        hex::encode(random)
    }

    /// Itself, for what outlives the caller.
    pub(crate) fn shared(&self) -> Option<Arc<Self>> {
        self.this.upgrade()
    }

    /// Runs `task` beside the caller, with the homeserver, unless that is gone by then.
    pub(crate) fn spawn<F>(&self, task: impl FnOnce(Arc<Self>) -> F)
    where
        F: Future<Output = ()> + hearth_storage::MaybeSend + 'static,
    {
        if let Some(homeserver) = self.this.upgrade() {
            let task: BoxFuture<'static, ()> = Box::pin(task(homeserver));
            self.seams.spawner.spawn(task);
        }
    }
}
