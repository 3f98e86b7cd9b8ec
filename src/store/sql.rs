//! The seam between the SQL, which is written once, and the engine that runs it.
//!
//! Statements use the dialect that SQLite and PostgreSQL share, with `?1` placeholders. A statement is `'static`, so that an
//! engine can cache what it prepared. Look-ups run on a [`Read`], which is a snapshot or a write transaction; changes need
//! a [`super::WriteTx`].

use super::StoreError;

/// A value handed to a statement.
#[derive(Clone, Copy, Debug)]
pub enum Param<'a> {
    /// SQL NULL.
    Null,
    /// 64 bits, signed.
    Int(i64),
    /// UTF-8 text.
    Text(&'a str),
    /// Bytes.
    Blob(&'a [u8]),
}

impl From<i64> for Param<'_> {
    fn from(value: i64) -> Self {
        Self::Int(value)
    }
}

impl From<bool> for Param<'_> {
    fn from(value: bool) -> Self {
        Self::Int(value.into())
    }
}

impl<'a> From<&'a str> for Param<'a> {
    fn from(value: &'a str) -> Self {
        Self::Text(value)
    }
}

impl<'a> From<&'a String> for Param<'a> {
    fn from(value: &'a String) -> Self {
        Self::Text(value)
    }
}

impl<'a> From<&'a [u8]> for Param<'a> {
    fn from(value: &'a [u8]) -> Self {
        Self::Blob(value)
    }
}

impl<'a> From<&'a Vec<u8>> for Param<'a> {
    fn from(value: &'a Vec<u8>) -> Self {
        Self::Blob(value)
    }
}

impl<'a, T: Into<Param<'a>>> From<Option<T>> for Param<'a> {
    fn from(value: Option<T>) -> Self {
        value.map_or(Self::Null, Into::into)
    }
}

/// Builds the parameter list of a statement: `params![room, "text", bytes]`.
#[macro_export]
macro_rules! params {
    ($($value:expr),* $(,)?) => { &[$($crate::store::Param::from($value)),*] };
}

/// One row of an answer, borrowed from the engine.
pub struct Row<'r> {
    pub(super) inner: &'r rusqlite::Row<'r>,
}

impl Row<'_> {
    /// The column as an owned value. `Damaged` if it has another type than the schema says.
    pub fn get<T: Column>(&self, index: usize) -> Result<T, StoreError> {
        T::read(self, index)
    }

    /// The column's text, borrowed.
    pub fn text(&self, index: usize) -> Result<&str, StoreError> {
        self.value(index)?.as_str().map_err(|e| StoreError::Damaged(format!("column {index}: {e}")))
    }

    /// The column's bytes, borrowed.
    pub fn blob(&self, index: usize) -> Result<&[u8], StoreError> {
        self.value(index)?.as_blob().map_err(|e| StoreError::Damaged(format!("column {index}: {e}")))
    }

    fn value(&self, index: usize) -> Result<rusqlite::types::ValueRef<'_>, StoreError> {
        self.inner.get_ref(index).map_err(StoreError::from)
    }
}

/// What a column can be read as.
pub trait Column: Sized {
    /// Reads column `index` of `row`.
    fn read(row: &Row<'_>, index: usize) -> Result<Self, StoreError>;
}

impl Column for i64 {
    fn read(row: &Row<'_>, index: usize) -> Result<Self, StoreError> {
        row.value(index)?.as_i64().map_err(|e| StoreError::Damaged(format!("column {index}: {e}")))
    }
}

impl Column for bool {
    fn read(row: &Row<'_>, index: usize) -> Result<Self, StoreError> {
        Ok(i64::read(row, index)? != 0)
    }
}

impl Column for String {
    fn read(row: &Row<'_>, index: usize) -> Result<Self, StoreError> {
        row.text(index).map(str::to_owned)
    }
}

impl Column for Vec<u8> {
    fn read(row: &Row<'_>, index: usize) -> Result<Self, StoreError> {
        row.blob(index).map(<[u8]>::to_vec)
    }
}

impl<T: Column> Column for Option<T> {
    fn read(row: &Row<'_>, index: usize) -> Result<Self, StoreError> {
        match row.value(index)? {
            rusqlite::types::ValueRef::Null => Ok(None),
            _ => T::read(row, index).map(Some),
        }
    }
}

/// Something that answers look-ups from one consistent state of the database.
pub trait Read {
    /// Newest place of the server-wide order that this view contains.
    fn position(&self) -> i64;

    /// The numbers of strings, shared by all views.
    fn ids(&self) -> &super::ids::Ids;

    /// Whether this view may show rows that a rollback still undoes: then nothing seen in it enters a cache.
    fn uncommitted(&self) -> bool;

    /// Calls `each` for every row. Prefer the typed helpers on `dyn Read`.
    fn each(
        &self,
        sql: &'static str,
        params: &[Param<'_>],
        each: &mut dyn FnMut(&Row<'_>) -> Result<(), StoreError>,
    ) -> Result<(), StoreError>;
}

impl dyn Read + '_ {
    /// All rows, each through `map`.
    pub fn all<T>(
        &self,
        sql: &'static str,
        params: &[Param<'_>],
        mut map: impl FnMut(&Row<'_>) -> Result<T, StoreError>,
    ) -> Result<Vec<T>, StoreError> {
        let mut out = Vec::new();
        self.each(sql, params, &mut |row| {
            out.push(map(row)?);
            Ok(())
        })?;
        Ok(out)
    }

    /// The last row of the answer, of which the statement should give at most one.
    pub fn one<T>(
        &self,
        sql: &'static str,
        params: &[Param<'_>],
        mut map: impl FnMut(&Row<'_>) -> Result<T, StoreError>,
    ) -> Result<Option<T>, StoreError> {
        let mut out = None;
        self.each(sql, params, &mut |row| {
            out = Some(map(row)?);
            Ok(())
        })?;
        Ok(out)
    }
}
