//! The only user of tokio-postgres: connections, the pool, statements, errors, the listener, the installer.
//!
//! Every statement is a file under `sql/` and runs unnamed (parse, bind, execute and sync in one round trip), so that no
//! session state is left behind and a pooler in transaction mode works as well as a direct connection. Only the
//! [`listener`] needs a connection of its own: LISTEN and the liveness lock are session state by nature.
//!
//! A statement that does not answer within [`STATEMENT_TIMEOUT`] is cancelled and its connection given up: a backend that
//! waits for a lock does not notice that its client has left, and would take one of the server's connections for as long.
//! Whether the statement took effect is then unknown, and each caller says in its own module what it does about that.

pub mod connect;
pub mod error;
#[cfg(any(test, fuzzing))]
#[doc(hidden)]
pub mod fuzzing;
pub mod install;
pub mod listener;
pub mod script;
pub mod statement;

use std::time::Duration;

use deadpool_postgres::{Manager, ManagerConfig, Object, Pool, RecyclingMethod, Runtime};
use tokio_postgres::types::{FromSql, ToSql};

use connect::Connector;
pub use connect::Target;
pub use error::DbError;
pub use statement::Statement;
pub use tokio_postgres::Row;
pub use tokio_postgres::types::Json;

/// How long one statement may take. Well above the slowest one (maintenance on a busy server), below the shortest lease.
pub const STATEMENT_TIMEOUT: Duration = Duration::from_secs(20);

/// How long asking the server to cancel may take.
const CANCEL_TIMEOUT: Duration = Duration::from_secs(2);

/// How long to wait for a free or new connection.
const CONNECTION_WAIT: Duration = Duration::from_secs(10);

/// A labelled argument of a statement.
pub type Argument<'a> = (&'static str, &'a (dyn ToSql + Sync));

/// A pool of connections to the garage's database. Cheap to clone.
#[derive(Clone)]
pub struct Database {
    pool: Pool,
    tls: Connector,
}

impl Database {
    /// A pool of at most `size` connections; none is opened yet.
    ///
    /// # Errors
    /// When the pool cannot be built.
    pub fn new(target: &Target, size: usize) -> Result<Self, DbError> {
        let manager = Manager::from_config(
            target.config().clone(),
            target.tls(),
            ManagerConfig { recycling_method: RecyclingMethod::Fast },
        );
        let pool = Pool::builder(manager)
            .max_size(size)
            .runtime(Runtime::Tokio1)
            .wait_timeout(Some(CONNECTION_WAIT))
            .create_timeout(Some(CONNECTION_WAIT))
            .build()
            .map_err(|error| DbError::Unavailable(error.to_string()))?;
        Ok(Self { pool, tls: target.tls() })
    }

    /// Runs a statement file. The labels must be those of its first line, in its order.
    ///
    /// # Errors
    /// [`DbError`]; after [`DbError::Unavailable`] the statement may or may not have taken effect.
    pub async fn query(&self, statement: &Statement, arguments: &[Argument<'_>]) -> Result<Vec<Row>, DbError> {
        let arguments = statement.bind(arguments)?;
        let client = self.pool.get().await.map_err(DbError::from_pool)?;
        match tokio::time::timeout(STATEMENT_TIMEOUT, client.query_typed(statement.sent(), &arguments)).await {
            Ok(Ok(rows)) => Ok(rows),
            Ok(Err(error)) => {
                let error = DbError::from(error);
                if error.is_unavailable() {
                    drop(Object::take(client));
                }
                Err(error)
            }
            Err(_) => {
                let client = Object::take(client);
                let cancel = client.cancel_token();
                // Its failure changes nothing: the server is out of reach, or the statement has just ended.
                let _ = tokio::time::timeout(CANCEL_TIMEOUT, cancel.cancel_query(self.tls.clone())).await;
                Err(DbError::Unavailable(format!("{} did not answer within {STATEMENT_TIMEOUT:?}", statement.name())))
            }
        }
    }

    /// Runs a statement that answers with exactly one row.
    ///
    /// # Errors
    /// [`DbError`], also when the number of rows is not one.
    pub async fn query_one(&self, statement: &Statement, arguments: &[Argument<'_>]) -> Result<Row, DbError> {
        let mut rows = self.query(statement, arguments).await?;
        match (rows.pop(), rows.is_empty()) {
            (Some(row), true) => Ok(row),
            (_, _) => Err(DbError::Unexpected(format!("{} did not answer with one row", statement.name()))),
        }
    }

    /// Runs a statement that answers with one row or none.
    ///
    /// # Errors
    /// [`DbError`].
    pub async fn query_opt(&self, statement: &Statement, arguments: &[Argument<'_>]) -> Result<Option<Row>, DbError> {
        Ok(self.query(statement, arguments).await?.pop())
    }

    /// Closes all connections.
    pub fn close(&self) {
        self.pool.close();
    }
}

/// Reads a column by its name.
///
/// # Errors
/// [`DbError::Unexpected`] when it is missing or of another type.
pub fn field<'a, T: FromSql<'a>>(row: &'a Row, name: &str) -> Result<T, DbError> {
    row.try_get(name).map_err(|error| DbError::Unexpected(format!("column {name}: {error}")))
}

/// The columns of a row by their names, of which many are read: read in their order each is found at the first look.
#[derive(Debug)]
pub struct Fields<'a> {
    row: &'a Row,
    next: usize,
}

impl<'a> Fields<'a> {
    /// All of a row.
    #[must_use]
    pub fn of(row: &'a Row) -> Self {
        Self { row, next: 0 }
    }

    /// Reads one.
    ///
    /// # Errors
    /// As those of [`field`].
    pub fn read<T: FromSql<'a>>(&mut self, name: &str) -> Result<T, DbError> {
        let columns = self.row.columns();
        let (before, ahead) = columns.split_at(self.next.min(columns.len()));
        let Some(distance) = ahead.iter().chain(before).position(|column| column.name() == name) else {
            return Err(DbError::Unexpected(format!("column {name} is missing")));
        };
        let at = (before.len() + distance) % columns.len();
        self.next = at + 1;
        self.row.try_get(at).map_err(|error| DbError::Unexpected(format!("column {name}: {error}")))
    }
}
