//! The connection to the database: opening, migrating, losing and regaining it.

use std::{
    cell::{Cell, RefCell},
    rc::Rc,
};

use futures::lock::Mutex;
use js_sys::{Array, Object, Reflect};
use wasm_bindgen::{JsCast, JsValue, closure::Closure, prelude::wasm_bindgen};
use web_sys::{
    IdbDatabase, IdbFactory, IdbOpenDbRequest, IdbTransaction, IdbTransactionMode, IdbVersionChangeEvent,
};

use super::exchange::{answer, failure};
use crate::{
    Durability, StoreError, Table,
    schema::{Migration, SCHEMA_VERSION},
};

#[wasm_bindgen]
extern "C" {
    /// `IDBDatabase`, whose transaction options web-sys holds for unstable.
    type Database;

    #[wasm_bindgen(method, catch, js_name = transaction)]
    fn begin(
        this: &Database,
        names: &Array,
        mode: IdbTransactionMode,
        options: &JsValue,
    ) -> Result<IdbTransaction, JsValue>;

    /// That of a page, worker or service worker. Read by its name, so that whoever loads the module can give it another
    /// that knows which databases it opened.
    #[wasm_bindgen(thread_local_v2, js_name = indexedDB)]
    static INDEXED_DB: Option<IdbFactory>;
}

/// A connection that is opened anew when the browser drops it.
pub(super) struct Connection {
    name: String,
    open: RefCell<OpenDatabase>,
    loss: Rc<Loss>,
    /// Held while the database is opened anew: who else notices waits for the same attempt.
    reopening: Mutex<()>,
}

/// Hears why.
type Tell = Box<dyn FnOnce(&str)>;

/// Whether another release of the app, the user or the browser took the database away, and who is told when it happens.
#[derive(Default)]
struct Loss {
    happened: Cell<bool>,
    tell: Cell<Option<Tell>>,
}

impl Loss {
    fn happen(&self, why: &str) {
        self.happened.set(true);
        if let Some(tell) = self.tell.take() {
            tell(why);
        }
    }
}

/// Whether a database that is not there is made.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Missing {
    Create,
    Refuse,
}

impl Connection {
    pub(super) async fn open(name: &str) -> Result<Self, StoreError> {
        let database = open(name, Missing::Create).await?;
        let loss = Rc::default();
        let open = RefCell::new(OpenDatabase::new(database, &loss));
        Ok(Self {
            name: name.to_owned(),
            open,
            loss,
            reopening: Mutex::default(),
        })
    }

    /// Calls `tell` with the reason once the database is lost for good.
    pub(super) fn on_loss(&self, tell: impl FnOnce(&str) + 'static) {
        self.loss.tell.set(Some(Box::new(tell)));
    }

    /// Begins a transaction over `tables`; opens the database anew, once, if the connection is lost.
    pub(super) async fn begin(
        &self,
        tables: &[Table],
        mode: IdbTransactionMode,
        durability: Durability,
    ) -> Result<IdbTransaction, StoreError> {
        let begin = || self.open.borrow().begin(tables, mode, durability);
        let first = begin();
        if !matches!(first, Err(StoreError::Closed(_))) {
            return first;
        }
        let _turn = self.reopening.lock().await;
        if self.loss.happened.get() {
            return Err(StoreError::Closed("the database was taken away".into()));
        }
        match begin() {
            Err(StoreError::Closed(_)) => self.reopen().await?,
            result => return result,
        }
        begin()
    }

    /// A database that is gone is not made again: it would have lost its data without anybody knowing.
    async fn reopen(&self) -> Result<(), StoreError> {
        let database = open(&self.name, Missing::Refuse)
            .await
            .inspect_err(|error| self.loss.happen(&error.to_string()))?;
        self.open.replace(OpenDatabase::new(database, &self.loss));
        Ok(())
    }
}

/// The browser's connection, closed when dropped.
struct OpenDatabase {
    database: IdbDatabase,
    _on_version_change: Closure<dyn FnMut(IdbVersionChangeEvent)>,
}

impl OpenDatabase {
    fn new(database: IdbDatabase, loss: &Rc<Loss>) -> Self {
        let (closing, loss) = (database.clone(), Rc::clone(loss));
        let on_version_change = Closure::new(move |event: IdbVersionChangeEvent| {
            closing.close();
            loss.happen(match event.new_version() {
                Some(_) => "the database was given up for a newer release",
                None => "the database was deleted",
            });
        });
        database.set_onversionchange(Some(on_version_change.as_ref().unchecked_ref()));
        Self {
            database,
            _on_version_change: on_version_change,
        }
    }

    fn begin(
        &self,
        tables: &[Table],
        mode: IdbTransactionMode,
        durability: Durability,
    ) -> Result<IdbTransaction, StoreError> {
        let names: Array = tables
            .iter()
            .map(|table| JsValue::from_str(table.name()))
            .collect();
        let options = Object::new();
        let durability = match durability {
            Durability::Relaxed => "relaxed",
            Durability::Strict => "strict",
        };
        Reflect::set(&options, &"durability".into(), &durability.into()).map_err(failure)?;
        self.database
            .unchecked_ref::<Database>()
            .begin(&names, mode, &options)
            .map_err(failure)
    }
}

impl Drop for OpenDatabase {
    fn drop(&mut self) {
        self.database.set_onversionchange(None);
        self.database.close();
    }
}

async fn open(name: &str, missing: Missing) -> Result<IdbDatabase, StoreError> {
    let request = factory()?.open_with_u32(name, SCHEMA_VERSION).map_err(failure)?;
    let upgrade: Closure<dyn FnMut(IdbVersionChangeEvent)> = {
        let request = request.clone();
        Closure::new(move |event: IdbVersionChangeEvent| {
            let found = event.old_version() as u32;
            if (missing == Missing::Refuse && found == 0) || upgrade(&request, found).is_err() {
                roll_back(&request);
            }
        })
    };
    request.set_onupgradeneeded(Some(upgrade.as_ref().unchecked_ref()));
    match answer(&request).await {
        Ok(database) => Ok(database.unchecked_into()),
        Err(error) if is_version_error(&request) => Err(newer(name).await.unwrap_or(error)),
        Err(_) if missing == Missing::Refuse => Err(StoreError::Closed(
            "the browser deleted the database, or cannot open it".into(),
        )),
        Err(error) => Err(error),
    }
}

fn factory() -> Result<IdbFactory, StoreError> {
    let missing = || StoreError::Backend("this browser context has no IndexedDB".into());
    INDEXED_DB.with(Clone::clone).ok_or_else(missing)
}

/// Runs the migrations that the database has not seen. The browser's version change transaction, which
/// records the new version, holds them together.
fn upgrade(request: &IdbOpenDbRequest, found: u32) -> Result<(), StoreError> {
    let database: IdbDatabase = request.result().map_err(failure)?.unchecked_into();
    for migration in Migration::pending(found)? {
        for table in migration.new_tables() {
            database.create_object_store(table.name()).map_err(failure)?;
        }
    }
    Ok(())
}

/// Undoes the version change, so that opening fails.
fn roll_back(request: &IdbOpenDbRequest) {
    if let Some(transaction) = request.transaction() {
        // It can only fail if the transaction is over, and then there is nothing to undo.
        let _ = transaction.abort();
    }
}

fn is_version_error(request: &IdbOpenDbRequest) -> bool {
    request
        .error()
        .is_ok_and(|error| error.is_some_and(|error| error.name() == "VersionError"))
}

/// The error that tells the version found, which takes opening the database at whatever version it has.
async fn newer(name: &str) -> Result<StoreError, StoreError> {
    let request = factory()?.open(name).map_err(failure)?;
    let database: IdbDatabase = answer(&request).await?.unchecked_into();
    let found = database.version() as u32;
    database.close();
    Ok(StoreError::NewerSchema {
        found,
        known: SCHEMA_VERSION,
    })
}
