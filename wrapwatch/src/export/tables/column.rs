//! What a column is, and the macro by which a row's structure is a table's definition.

use std::borrow::Cow;

use crate::model::WallTime;

/// What a column holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, strum::IntoStaticStr)]
#[strum(serialize_all = "snake_case")]
pub enum Kind {
    /// A whole number; of a column that ends in `_ns`, nanoseconds.
    Integer,
    /// True or false.
    Boolean,
    /// UTF-8.
    Text,
    /// A moment: nanoseconds since 1970, UTC.
    Timestamp,
}

/// A column of a table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Column {
    /// As it is called.
    pub name: &'static str,
    /// What it holds.
    pub kind: Kind,
    /// Whether it is null where something was not seen, or is not there.
    pub nullable: bool,
    /// What it says, for a person.
    pub about: &'static str,
}

/// What stands in a column of a row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Cell<'a> {
    /// Not seen, or not there.
    Null,
    /// Of [`Kind::Integer`].
    Integer(i64),
    /// Of [`Kind::Boolean`].
    Boolean(bool),
    /// Of [`Kind::Text`].
    Text(Cow<'a, str>),
    /// Of [`Kind::Timestamp`].
    Timestamp(WallTime),
}

/// What a field of a row may be.
pub(super) trait Value {
    const KIND: Kind;
    const NULLABLE: bool = false;
    fn cell(&self) -> Cell<'_>;
}

/// A row of a table, see [`table!`].
pub(super) trait Row {
    const ABOUT: &'static str;
    const COLUMNS: &'static [Column];
    fn cells(&self) -> Vec<Cell<'_>>;
}

impl Value for u64 {
    const KIND: Kind = Kind::Integer;
    fn cell(&self) -> Cell<'_> {
        Cell::Integer(i64::try_from(*self).unwrap_or(i64::MAX))
    }
}

impl Value for u32 {
    const KIND: Kind = Kind::Integer;
    fn cell(&self) -> Cell<'_> {
        Cell::Integer(i64::from(*self))
    }
}

impl Value for u16 {
    const KIND: Kind = Kind::Integer;
    fn cell(&self) -> Cell<'_> {
        Cell::Integer(i64::from(*self))
    }
}

impl Value for bool {
    const KIND: Kind = Kind::Boolean;
    fn cell(&self) -> Cell<'_> {
        Cell::Boolean(*self)
    }
}

impl Value for &str {
    const KIND: Kind = Kind::Text;
    fn cell(&self) -> Cell<'_> {
        Cell::Text(Cow::Borrowed(self))
    }
}

impl Value for String {
    const KIND: Kind = Kind::Text;
    fn cell(&self) -> Cell<'_> {
        Cell::Text(Cow::Borrowed(self))
    }
}

impl Value for WallTime {
    const KIND: Kind = Kind::Timestamp;
    fn cell(&self) -> Cell<'_> {
        Cell::Timestamp(*self)
    }
}

impl<T: Value> Value for Option<T> {
    const KIND: Kind = T::KIND;
    const NULLABLE: bool = true;
    fn cell(&self) -> Cell<'_> {
        self.as_ref().map_or(Cell::Null, Value::cell)
    }
}

/// Defines a row's structure, and by its fields and their comments the table's columns.
macro_rules! table {
    (#[doc = $about:literal] struct $row:ident<$life:lifetime> { $(#[doc = $doc:literal] $field:ident: $type:ty,)+ }) => {
        #[doc = $about]
        #[derive(Debug)]
        pub(super) struct $row<$life> { $(#[doc = $doc] $field: $type,)+ }

        impl<$life> $crate::export::tables::column::Row for $row<$life> {
            const ABOUT: &'static str = $about.trim_ascii();
            const COLUMNS: &'static [$crate::export::tables::column::Column] = &[$(
                $crate::export::tables::column::Column {
                    name: stringify!($field),
                    kind: <$type as $crate::export::tables::column::Value>::KIND,
                    nullable: <$type as $crate::export::tables::column::Value>::NULLABLE,
                    about: $doc.trim_ascii(),
                },
            )+];

            fn cells(&self) -> Vec<$crate::export::tables::column::Cell<'_>> {
                vec![$($crate::export::tables::column::Value::cell(&self.$field),)+]
            }
        }
    };
}
pub(super) use table;
