//! Conditional writes: all in one statement, and none waits for a row that something else holds.

use std::collections::HashSet;
use std::iter::repeat;

use tokio_postgres::Row;
use tokio_postgres::types::Type;

use super::audit::{kept, to_json};
use super::connection::{Connection, Parameter, Sql};
use super::failure::Failure;
use crate::engines::audit;
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

/// The same three, which also write the rows of the audit.
const UPDATE_AUDITED: Sql = Sql {
    at: 7,
    text: concat!(
        patience!(),
        ", made AS ( \
             UPDATE sessions SET revision = change.revision, record = change.record \
             FROM patience, unnest($1::text[], $2::bigint[], $3::bigint[], $4::text[], $5::text[]) \
             AS change (id, expected, revision, record, audit) \
             WHERE sessions.id = change.id AND sessions.revision = change.expected RETURNING sessions.id, change.audit), ",
        kept!(),
        "SELECT id FROM made"
    ),
};
const UPDATE_FREE_AUDITED: Sql = Sql {
    at: 8,
    text: concat!(
        "WITH free AS MATERIALIZED ( \
             SELECT id FROM sessions WHERE id = ANY($1::text[]) ORDER BY id FOR NO KEY UPDATE SKIP LOCKED), \
         made AS ( \
             UPDATE sessions SET revision = change.revision, record = change.record \
             FROM unnest($1::text[], $2::bigint[], $3::bigint[], $4::text[], $5::text[]) \
             AS change (id, expected, revision, record, audit) JOIN free ON free.id = change.id \
             WHERE sessions.id = change.id AND sessions.revision = change.expected RETURNING sessions.id, change.audit), ",
        kept!(),
        "SELECT id, false FROM made UNION ALL \
         SELECT id, true FROM sessions WHERE id = ANY($1::text[]) AND NOT EXISTS (SELECT FROM free WHERE free.id = sessions.id)"
    ),
};
/// A session that is linked in the batch that starts it.
const INSERT_AUDITED: Sql = Sql {
    at: 9,
    text: concat!(
        patience!(),
        ", new AS ( \
             INSERT INTO sessions (id, revision, record) \
             SELECT change.id, change.revision, change.record \
             FROM patience, unnest($1::text[], $2::bigint[], $3::text[]) AS change (id, revision, record) \
             ON CONFLICT DO NOTHING RETURNING id), \
         made AS (SELECT new.id, change.audit FROM new JOIN unnest($1::text[], $4::text[]) AS change (id, audit) \
             ON change.id = new.id), ",
        kept!(),
        "SELECT id FROM new"
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
    /// The rows of the audit; empty if there are none.
    audits: Vec<String>,
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
    /// Those of `writes` that are of this kind. With `audit`, their changes are written to the audit, too.
    pub(super) fn of(
        writes: &[ConditionalWrite],
        kind: Kind,
        kind_of: impl Fn(&ConditionalWrite) -> Kind,
        audit: bool,
    ) -> Result<Self, serde_json::Error> {
        let mut sorted: Vec<_> = writes.iter().filter(|write| kind_of(write) == kind).collect();
        sorted.sort_by_key(|write| &write.id);
        let records = sorted.iter().map(|write| serde_json::to_string(&write.next)).collect::<Result<_, _>>()?;
        let has_rows = audit && sorted.iter().any(|write| audit::rows(write).next().is_some());
        Ok(Self {
            kind,
            ids: sorted.iter().map(|write| write.id.to_string()).collect(),
            expected: sorted.iter().filter_map(|write| Some(write.expected?.cast_signed())).collect(),
            revisions: sorted.iter().map(|write| write.next.revision().cast_signed()).collect(),
            records,
            audits: if has_rows { sorted.iter().map(|write| to_json(write)).collect() } else { Vec::new() },
        })
    }

    pub(super) async fn write(&self, connection: &Connection) -> Result<Written, Failure> {
        match self.kind {
            Kind::New => self.insert(connection).await,
            Kind::Old => match connection.query(self.either(UPDATE, UPDATE_AUDITED), &self.update_parameters()).await {
                Err(failure) if failure.is_held() => self.update_free(connection).await,
                rows => Ok(Written { made: ids(rows?)?, ..Written::default() }),
            },
            Kind::Held => self.update_free(connection).await,
        }
    }

    async fn update_free(&self, connection: &Connection) -> Result<Written, Failure> {
        let mut written = Written::default();
        let update = self.either(UPDATE_FREE, UPDATE_FREE_AUDITED);
        for row in connection.query(update, &self.update_parameters()).await? {
            let ids = if row.try_get(1)? { &mut written.held } else { &mut written.made };
            ids.insert(row.try_get(0)?);
        }
        Ok(written)
    }

    fn either(&self, plain: Sql, audited: Sql) -> Sql {
        if self.audits.is_empty() { plain } else { audited }
    }

    fn update_parameters(&self) -> Vec<Parameter<'_>> {
        let mut parameters: Vec<Parameter<'_>> = vec![
            (&self.ids, Type::TEXT_ARRAY),
            (&self.expected, Type::INT8_ARRAY),
            (&self.revisions, Type::INT8_ARRAY),
            (&self.records, Type::TEXT_ARRAY),
        ];
        if !self.audits.is_empty() {
            parameters.push((&self.audits, Type::TEXT_ARRAY));
        }
        parameters
    }

    /// An id that someone else is about to insert is held: each is tried by itself then, which is rare.
    async fn insert(&self, connection: &Connection) -> Result<Written, Failure> {
        match self.insert_all(connection).await {
            Err(failure) if failure.is_held() => {}
            made => return Ok(Written { made: made?, ..Written::default() }),
        }
        let mut written = Written::default();
        for one in self.each() {
            match one.insert_all(connection).await {
                Err(failure) if failure.is_held() => written.held.extend(one.ids),
                // Some were made before: of none of them is it certain that it was not.
                Err(failure) if !written.made.is_empty() => return Err(Failure::Partly(Box::new(failure))),
                made => written.made.extend(made?),
            }
        }
        Ok(written)
    }

    async fn insert_all(&self, connection: &Connection) -> Result<HashSet<String>, Failure> {
        let mut parameters: Vec<Parameter<'_>> =
            vec![(&self.ids, Type::TEXT_ARRAY), (&self.revisions, Type::INT8_ARRAY), (&self.records, Type::TEXT_ARRAY)];
        if !self.audits.is_empty() {
            parameters.push((&self.audits, Type::TEXT_ARRAY));
        }
        ids(connection.query(self.either(INSERT, INSERT_AUDITED), &parameters).await?)
    }

    /// New sessions, one by one.
    fn each(&self) -> impl Iterator<Item = Self> {
        let audits = self.audits.iter().map(Some).chain(repeat(None));
        let rows = self.ids.iter().zip(&self.revisions).zip(&self.records).zip(audits);
        rows.map(|(((id, revision), record), audit)| Self {
            kind: self.kind,
            ids: vec![id.clone()],
            expected: Vec::new(),
            revisions: vec![*revision],
            records: vec![record.clone()],
            audits: audit.cloned().into_iter().collect(),
        })
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

fn ids(rows: Vec<Row>) -> Result<HashSet<String>, Failure> {
    rows.into_iter().map(|row| Ok(row.try_get(0)?)).collect()
}
