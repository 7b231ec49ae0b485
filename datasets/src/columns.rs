//! Columns under construction, their staged bytes, and the arrow arrays they become.

use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, BinaryArray, BooleanArray, FixedSizeListArray, Float32Array, Int32Array, Int64Array, StringArray,
    StructArray,
};
use arrow::buffer::{NullBuffer, OffsetBuffer};
use arrow::datatypes::{DataType, Field, FieldRef, Fields, SchemaRef};
use arrow::record_batch::RecordBatch;

use crate::error::Result;

/// Type of a column.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    F32,
    /// A float32 list of this length.
    Vector(usize),
    I64,
    I32,
    Bool,
    Text,
    /// Bytes, or null where there are none.
    Bytes,
    /// Hugging Face's image: bytes and an (absent) path.
    Picture,
}

fn item(data_type: DataType) -> FieldRef {
    Arc::new(Field::new("item", data_type, true))
}

fn picture_fields() -> Fields {
    Fields::from(vec![Field::new("bytes", DataType::Binary, true), Field::new("path", DataType::Utf8, true)])
}

impl Kind {
    pub(crate) fn data_type(self) -> DataType {
        match self {
            Self::F32 => DataType::Float32,
            Self::Vector(length) => DataType::FixedSizeList(item(DataType::Float32), length as i32),
            Self::I64 => DataType::Int64,
            Self::I32 => DataType::Int32,
            Self::Bool => DataType::Boolean,
            Self::Text => DataType::Utf8,
            Self::Bytes => DataType::Binary,
            Self::Picture => DataType::Struct(picture_fields()),
        }
    }

    pub(crate) fn empty(self) -> Column {
        match self {
            Self::F32 => Column::F32(Vec::new()),
            Self::Vector(length) => Column::Vector(length, Vec::new()),
            Self::I64 => Column::I64(Vec::new()),
            Self::I32 => Column::I32(Vec::new()),
            Self::Bool => Column::Bool(Vec::new()),
            Self::Text => Column::Text(Blobs::default()),
            Self::Bytes => Column::Bytes(Blobs::default()),
            Self::Picture => Column::Picture(Blobs::default()),
        }
    }
}

/// Byte strings one after the other; an absent one has length `u32::MAX`.
#[derive(Clone, Debug, Default)]
pub(crate) struct Blobs {
    lengths: Vec<u32>,
    bytes: Vec<u8>,
}

const ABSENT: u32 = u32::MAX;

impl Blobs {
    fn push(&mut self, blob: Option<&[u8]>) {
        self.lengths.push(blob.map_or(ABSENT, |blob| blob.len() as u32));
        self.bytes.extend_from_slice(blob.unwrap_or_default());
    }

    fn offsets(&self) -> OffsetBuffer<i32> {
        OffsetBuffer::from_lengths(
            self.lengths.iter().map(|length| if *length == ABSENT { 0 } else { *length as usize }),
        )
    }

    fn nulls(&self) -> Option<NullBuffer> {
        let any = self.lengths.contains(&ABSENT);
        any.then(|| self.lengths.iter().map(|length| *length != ABSENT).collect())
    }

    fn binary(self) -> Result<BinaryArray> {
        Ok({
            let (offsets, nulls) = (self.offsets(), self.nulls());
            BinaryArray::try_new(offsets, self.bytes.into(), nulls)
        }?)
    }
}

/// A column under construction.
#[derive(Clone, Debug)]
pub(crate) enum Column {
    F32(Vec<f32>),
    Vector(usize, Vec<f32>),
    I64(Vec<i64>),
    I32(Vec<i32>),
    Bool(Vec<bool>),
    Text(Blobs),
    Bytes(Blobs),
    Picture(Blobs),
}

/// A value for a column; it must match the column's kind.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Value<'a> {
    F32(f32),
    Vector(&'a [f32]),
    I64(i64),
    I32(i32),
    Bool(bool),
    Text(&'a str),
    Bytes(Option<&'a [u8]>),
}

impl Column {
    /// Appends a value; false if it is of another kind or length.
    #[must_use]
    fn push(&mut self, value: Value<'_>) -> bool {
        match (self, value) {
            (Self::F32(column), Value::F32(value)) => column.push(value),
            (Self::F32(column), Value::Vector([value])) => column.push(*value),
            (Self::Vector(length, column), Value::Vector(value)) if value.len() == *length => {
                column.extend_from_slice(value);
            }
            (Self::I64(column), Value::I64(value)) => column.push(value),
            (Self::I32(column), Value::I32(value)) => column.push(value),
            (Self::Bool(column), Value::Bool(value)) => column.push(value),
            (Self::Text(column), Value::Text(value)) => column.push(Some(value.as_bytes())),
            (Self::Bytes(column) | Self::Picture(column), Value::Bytes(value)) => column.push(value),
            _ => return false,
        }
        true
    }

    fn into_array(self) -> Result<ArrayRef> {
        Ok(match self {
            Self::F32(values) => Arc::new(Float32Array::from(values)),
            Self::Vector(length, values) => Arc::new(FixedSizeListArray::try_new(
                item(DataType::Float32),
                length as i32,
                Arc::new(Float32Array::from(values)),
                None,
            )?),
            Self::I64(values) => Arc::new(Int64Array::from(values)),
            Self::I32(values) => Arc::new(Int32Array::from(values)),
            Self::Bool(values) => Arc::new(BooleanArray::from(values)),
            Self::Text(blobs) => {
                let (offsets, nulls) = (blobs.offsets(), blobs.nulls());
                Arc::new(StringArray::try_new(offsets, blobs.bytes.into(), nulls)?)
            }
            Self::Bytes(blobs) => Arc::new(blobs.binary()?),
            Self::Picture(blobs) => {
                let rows = blobs.lengths.len();
                let paths = Arc::new(StringArray::new_null(rows));
                Arc::new(StructArray::try_new(picture_fields(), vec![Arc::new(blobs.binary()?), paths], None)?)
            }
        })
    }

    fn stage(&self, out: &mut Vec<u8>) {
        fn numbers<const N: usize>(out: &mut Vec<u8>, values: impl ExactSizeIterator<Item = [u8; N]>) {
            out.extend_from_slice(&((values.len() * N) as u64).to_le_bytes());
            values.for_each(|bytes| out.extend_from_slice(&bytes));
        }
        match self {
            Self::F32(values) | Self::Vector(_, values) => numbers(out, values.iter().map(|v| v.to_le_bytes())),
            Self::I64(values) => numbers(out, values.iter().map(|v| v.to_le_bytes())),
            Self::I32(values) => numbers(out, values.iter().map(|v| v.to_le_bytes())),
            Self::Bool(values) => numbers(out, values.iter().map(|v| [u8::from(*v)])),
            Self::Text(blobs) | Self::Bytes(blobs) | Self::Picture(blobs) => {
                numbers(out, blobs.lengths.iter().map(|v| v.to_le_bytes()));
                out.extend_from_slice(&(blobs.bytes.len() as u64).to_le_bytes());
                out.extend_from_slice(&blobs.bytes);
            }
        }
    }

    /// Reads what [`Column::stage`] wrote; `None` if it does not make sense.
    fn unstage(kind: Kind, bytes: &mut &[u8]) -> Option<Self> {
        fn take<'a>(bytes: &mut &'a [u8]) -> Option<&'a [u8]> {
            let (length, rest) = bytes.split_first_chunk::<8>()?;
            let length = usize::try_from(u64::from_le_bytes(*length)).ok()?;
            let (taken, rest) = rest.split_at_checked(length)?;
            *bytes = rest;
            Some(taken)
        }
        fn numbers<const N: usize, T>(bytes: &mut &[u8], from: impl Fn([u8; N]) -> T) -> Option<Vec<T>> {
            let (chunks, []) = take(bytes)?.as_chunks::<N>() else { return None };
            Some(chunks.iter().map(|chunk| from(*chunk)).collect())
        }
        let blobs = |bytes: &mut &[u8]| -> Option<Blobs> {
            let lengths = numbers(bytes, u32::from_le_bytes)?;
            let data = take(bytes)?.to_vec();
            let sum: u64 = lengths.iter().filter(|length| **length != ABSENT).map(|length| u64::from(*length)).sum();
            (sum == data.len() as u64 && sum <= i32::MAX as u64).then_some(Blobs { lengths, bytes: data })
        };
        Some(match kind {
            Kind::F32 => Self::F32(numbers(bytes, f32::from_le_bytes)?),
            Kind::Vector(length) => Self::Vector(length, numbers(bytes, f32::from_le_bytes)?),
            Kind::I64 => Self::I64(numbers(bytes, i64::from_le_bytes)?),
            Kind::I32 => Self::I32(numbers(bytes, i32::from_le_bytes)?),
            Kind::Bool => Self::Bool(numbers(bytes, |[b]: [u8; 1]| b != 0)?),
            Kind::Text => Self::Text(blobs(bytes)?),
            Kind::Bytes => Self::Bytes(blobs(bytes)?),
            Kind::Picture => Self::Picture(blobs(bytes)?),
        })
    }
}

/// Rows of a table under construction.
#[derive(Debug)]
pub(crate) struct Rows {
    kinds: Vec<Kind>,
    columns: Vec<Column>,
    rows: usize,
}

impl Rows {
    pub(crate) fn new(kinds: Vec<Kind>) -> Self {
        let columns = kinds.iter().map(|kind| kind.empty()).collect();
        Self { kinds, columns, rows: 0 }
    }

    pub(crate) fn len(&self) -> usize {
        self.rows
    }

    /// Appends a row and returns its size in bytes; `Err` names the column that does not fit.
    pub(crate) fn push(&mut self, row: &[Value<'_>]) -> Result<u64, usize> {
        let mut size = 0;
        if row.len() != self.columns.len() {
            return Err(row.len().min(self.columns.len()));
        }
        for (i, (column, value)) in self.columns.iter_mut().zip(row).enumerate() {
            if !column.push(*value) {
                return Err(i);
            }
            size += match value {
                Value::F32(_) | Value::I32(_) => 4,
                Value::I64(_) => 8,
                Value::Bool(_) => 1,
                Value::Vector(values) => 4 * values.len() as u64,
                Value::Text(text) => 4 + text.len() as u64,
                Value::Bytes(bytes) => 4 + bytes.map_or(0, |bytes| bytes.len() as u64),
            };
        }
        self.rows += 1;
        Ok(size)
    }

    /// Moves all rows to `out` as staged bytes.
    pub(crate) fn stage(&mut self, out: &mut Vec<u8>) {
        out.extend_from_slice(&(self.rows as u64).to_le_bytes());
        for (kind, column) in self.kinds.iter().zip(&mut self.columns) {
            column.stage(out);
            *column = kind.empty();
        }
        self.rows = 0;
    }

    /// Staged bytes as a batch; `Ok(None)` if they do not make sense.
    pub(crate) fn unstage(kinds: &[Kind], schema: &SchemaRef, mut bytes: &[u8]) -> Result<Option<RecordBatch>> {
        let Some((rows, rest)) = bytes.split_first_chunk::<8>() else { return Ok(None) };
        let rows = u64::from_le_bytes(*rows);
        bytes = rest;
        let mut arrays = Vec::with_capacity(kinds.len());
        for kind in kinds {
            let Some(column) = Column::unstage(*kind, &mut bytes) else { return Ok(None) };
            let array = column.into_array()?;
            if array.len() as u64 != rows {
                return Ok(None);
            }
            arrays.push(array);
        }
        if !bytes.is_empty() {
            return Ok(None);
        }
        Ok(Some(RecordBatch::try_new(schema.clone(), arrays)?))
    }
}
