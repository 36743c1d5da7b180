//! Conditional writes: all in one statement, and none waits for a row that something else holds.

use std::collections::HashSet;

use tokio_postgres::Row;
use tokio_postgres::types::Type;

use super::connection::{Connection, Parameter, Sql};
use super::failure::Failure;
use crate::store::ConditionalWrite;

/// How long it waits for a row: longer than another server's write takes, since who waits for it need not ask again.
macro_rules! patience {
    () => {
        "WITH patience AS MATERIALIZED (SELECT set_config('lock_timeout', '100ms', true)) "
    };
}
pub(super) use patience;

const UPDATE: Sql = Sql {
    at: 1,
    text: concat!(
        patience!(),
        "UPDATE sessions SET revision = change.revision, record = change.record \
         FROM patience, unnest($1::text[], $2::bigint[], $3::bigint[], $4::text[]) AS change (id, expected, revision, record) \
         WHERE sessions.id = change.id AND sessions.revision = change.expected RETURNING sessions.id"
    ),
};
/// The same without the rows that are held, which it tells. It takes the database twice as long.
const UPDATE_FREE: Sql = Sql {
    at: 2,
    text: "WITH free AS MATERIALIZED ( \
               SELECT id FROM sessions WHERE id = ANY($1::text[]) ORDER BY id FOR NO KEY UPDATE SKIP LOCKED), \
           made AS ( \
               UPDATE sessions SET revision = change.revision, record = change.record \
               FROM unnest($1::text[], $2::bigint[], $3::bigint[], $4::text[]) AS change (id, expected, revision, record) \
               JOIN free ON free.id = change.id \
               WHERE sessions.id = change.id AND sessions.revision = change.expected RETURNING sessions.id) \
           SELECT id, false FROM made UNION ALL \
           SELECT id, true FROM sessions WHERE id = ANY($1::text[]) AND NOT EXISTS (SELECT FROM free WHERE free.id = sessions.id)",
};
const INSERT: Sql = Sql {
    at: 3,
    text: concat!(
        patience!(),
        "INSERT INTO sessions (id, revision, record) \
         SELECT change.id, change.revision, change.record \
         FROM patience, unnest($1::text[], $2::bigint[], $3::text[]) AS change (id, revision, record) \
         ON CONFLICT DO NOTHING RETURNING id"
    ),
};

const CORRECT: Sql = Sql {
    at: 6,
    text: concat!(
        patience!(),
        "UPDATE sessions SET revision = change.revision \
         FROM patience, unnest($1::text[], $2::bigint[], $3::bigint[], $4::text[]) AS change (id, found, revision, record) \
         WHERE sessions.id = change.id AND sessions.revision = change.found AND sessions.record = change.record"
    ),
};

/// Writes of one kind, as the columns of a statement's parameters. By id, so that two servers lock rows in the same order.
pub(super) struct Rows {
    kind: Kind,
    pub(super) ids: Vec<String>,
    /// Empty: the sessions are new.
    expected: Vec<i64>,
    revisions: Vec<i64>,
    records: Vec<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// Of new sessions.
    New,
    /// Of sessions that there are.
    Old,
    /// Of sessions whose rows were held a moment ago.
    Held,
}

/// The ids of the rows that were written, and of those that something else holds. The others' conditions did not hold.
#[derive(Debug, Default)]
pub(super) struct Written {
    pub(super) made: HashSet<String>,
    pub(super) held: HashSet<String>,
}

impl Rows {
    /// Those of `writes` that are of this kind.
    pub(super) fn of(
        writes: &[ConditionalWrite],
        kind: Kind,
        kind_of: impl Fn(&ConditionalWrite) -> Kind,
    ) -> Result<Self, serde_json::Error> {
        let mut sorted: Vec<_> = writes.iter().filter(|write| kind_of(write) == kind).collect();
        sorted.sort_by_key(|write| &write.id);
        let records = sorted.iter().map(|write| serde_json::to_string(&write.next)).collect::<Result<_, _>>()?;
        Ok(Self {
            kind,
            ids: sorted.iter().map(|write| write.id.to_string()).collect(),
            expected: sorted.iter().filter_map(|write| Some(write.expected?.cast_signed())).collect(),
            revisions: sorted.iter().map(|write| write.next.revision().cast_signed()).collect(),
            records,
        })
    }

    pub(super) async fn write(&self, connection: &Connection) -> Result<Written, Failure> {
        match self.kind {
            Kind::New => self.insert(connection).await,
            Kind::Old => match connection.query(UPDATE, &self.update_parameters()).await {
                Err(failure) if failure.is_held() => self.update_free(connection).await,
                rows => Ok(Written { made: ids(rows?)?, ..Written::default() }),
            },
            Kind::Held => self.update_free(connection).await,
        }
    }

    async fn update_free(&self, connection: &Connection) -> Result<Written, Failure> {
        let mut written = Written::default();
        for row in connection.query(UPDATE_FREE, &self.update_parameters()).await? {
            let ids = if row.try_get(1)? { &mut written.held } else { &mut written.made };
            ids.insert(row.try_get(0)?);
        }
        Ok(written)
    }

    fn update_parameters(&self) -> [Parameter<'_>; 4] {
        [
            (&self.ids, Type::TEXT_ARRAY),
            (&self.expected, Type::INT8_ARRAY),
            (&self.revisions, Type::INT8_ARRAY),
            (&self.records, Type::TEXT_ARRAY),
        ]
    }

    /// An id that someone else is about to insert is held: each is tried by itself then, which is rare.
    async fn insert(&self, connection: &Connection) -> Result<Written, Failure> {
        match insert(connection, &self.ids, &self.revisions, &self.records).await {
            Err(failure) if failure.is_held() => {}
            made => return Ok(Written { made: made?, ..Written::default() }),
        }
        let mut written = Written::default();
        for ((id, revision), record) in self.ids.iter().zip(&self.revisions).zip(&self.records) {
            let (id, revision, record) = ([id.clone()], [*revision], [record.clone()]);
            match insert(connection, &id, &revision, &record).await {
                Err(failure) if failure.is_held() => written.held.extend(id),
                // Some were made before: of none of them is it certain that it was not.
                Err(failure) if !written.made.is_empty() => return Err(Failure::Partly(Box::new(failure))),
                made => written.made.extend(made?),
            }
        }
        Ok(written)
    }
}

/// Rows whose column is not the revision of their record, which is the right one.
#[derive(Default)]
pub(super) struct Revisions {
    ids: Vec<String>,
    found: Vec<i64>,
    right: Vec<i64>,
    records: Vec<String>,
}

impl Revisions {
    pub(super) fn push(&mut self, id: &str, found: i64, right: i64, record: String) {
        self.ids.push(id.to_owned());
        self.found.push(found);
        self.right.push(right);
        self.records.push(record);
    }

    pub(super) fn is_empty(&self) -> bool {
        self.ids.is_empty()
    }

    /// Those that are still as they were found.
    pub(super) async fn correct(&self, connection: &Connection) -> Result<(), Failure> {
        let parameters: [Parameter<'_>; 4] = [
            (&self.ids, Type::TEXT_ARRAY),
            (&self.found, Type::INT8_ARRAY),
            (&self.right, Type::INT8_ARRAY),
            (&self.records, Type::TEXT_ARRAY),
        ];
        connection.query(CORRECT, &parameters).await.map(drop)
    }
}

async fn insert(
    connection: &Connection,
    ids: &[String],
    revisions: &[i64],
    records: &[String],
) -> Result<HashSet<String>, Failure> {
    let parameters =
        [(&ids as _, Type::TEXT_ARRAY), (&revisions as _, Type::INT8_ARRAY), (&records as _, Type::TEXT_ARRAY)];
    self::ids(connection.query(INSERT, &parameters).await?)
}

fn ids(rows: Vec<Row>) -> Result<HashSet<String>, Failure> {
    rows.into_iter().map(|row| Ok(row.try_get(0)?)).collect()
}
