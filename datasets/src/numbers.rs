//! Numbers out of the columns of a data file, of whatever type its writer chose.

use arrow::array::{Array, ArrayRef, AsArray, Float32Array};
use arrow::compute::cast;
use arrow::datatypes::DataType;

/// A row's numbers, flattened; `None` for a column that holds words, bytes or pictures.
///
/// # Errors
/// If there is no value, or the column's type is neither: what cannot be read is not left out unsaid.
pub(crate) fn numbers(array: &ArrayRef, row: usize) -> Result<Option<Vec<f32>>, String> {
    if !is_numeric(array.data_type())? {
        return Ok(None);
    }
    let mut out = Vec::new();
    append(&array.slice(row, 1), &mut out)?;
    Ok(Some(out))
}

/// True for numbers and lists of them, false for words, bytes, pictures, and lists of those.
fn is_numeric(kind: &DataType) -> Result<bool, String> {
    match kind {
        DataType::Boolean => Ok(true),
        kind if kind.is_numeric() => Ok(true),
        DataType::List(item) | DataType::LargeList(item) | DataType::FixedSizeList(item, _) => {
            is_numeric(item.data_type())
        }
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => Ok(false),
        DataType::Binary | DataType::LargeBinary | DataType::BinaryView | DataType::Struct(_) => Ok(false),
        other => Err(format!("is of type {other}, which is not read")),
    }
}

fn append(array: &ArrayRef, out: &mut Vec<f32>) -> Result<(), String> {
    if array.null_count() > 0 {
        return Err("holds no value".to_owned());
    }
    match array.data_type() {
        DataType::List(_) => array.as_list::<i32>().iter().flatten().try_for_each(|item| append(&item, out)),
        DataType::LargeList(_) => array.as_list::<i64>().iter().flatten().try_for_each(|item| append(&item, out)),
        DataType::FixedSizeList(..) => {
            array.as_fixed_size_list().iter().flatten().try_for_each(|item| append(&item, out))
        }
        _ => {
            let floats = cast(array, &DataType::Float32).map_err(|error| error.to_string())?;
            let floats = floats.as_any().downcast_ref::<Float32Array>().ok_or("is no number")?;
            // A number that has no float (none has) would come back null, and read as 0.
            if floats.null_count() > 0 {
                return Err("holds a number that is none as a float".to_owned());
            }
            out.extend_from_slice(floats.values());
            Ok(())
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{
        Date32Array, FixedSizeListArray, Int64Array, LargeListArray, LargeStringArray, ListArray, UInt8Array,
    };
    use arrow::datatypes::{Float64Type, Int32Type, UInt8Type};

    use super::*;

    #[test]
    fn every_list_and_number_type_reads_and_words_are_left_out() {
        let some = |values: Vec<i32>| Some(values.into_iter().map(Some).collect::<Vec<_>>());
        let lists: [ArrayRef; 3] = [
            Arc::new(ListArray::from_iter_primitive::<Int32Type, _, _>([some(vec![1]), some(vec![2, 3])])),
            Arc::new(LargeListArray::from_iter_primitive::<Int32Type, _, _>([some(vec![1]), some(vec![2, 3])])),
            Arc::new(FixedSizeListArray::from_iter_primitive::<Float64Type, _, _>(
                [Some(vec![Some(0.0), Some(1.0)]), Some(vec![Some(2.0), Some(3.0)])],
                2,
            )),
        ];
        for list in lists {
            assert_eq!(numbers(&list, 1), Ok(Some(vec![2.0, 3.0])), "{}", list.data_type());
        }
        let bytes: ArrayRef = Arc::new(UInt8Array::from(vec![7, 8]));
        assert_eq!(numbers(&bytes, 1), Ok(Some(vec![8.0])));
        let words: ArrayRef = Arc::new(LargeStringArray::from(vec!["a", "b"]));
        assert_eq!(numbers(&words, 0), Ok(None));
    }

    #[test]
    fn a_missing_value_or_an_unknown_type_is_an_error_and_not_left_out() {
        let holes: [ArrayRef; 2] = [
            Arc::new(Int64Array::from(vec![None, Some(1)])),
            Arc::new(LargeListArray::from_iter_primitive::<UInt8Type, _, _>([Some(vec![Some(1), None])])),
        ];
        for holed in holes {
            assert_eq!(numbers(&holed, 0), Err("holds no value".to_owned()), "{}", holed.data_type());
        }
        let dates: ArrayRef = Arc::new(Date32Array::from(vec![1]));
        assert!(numbers(&dates, 0).is_err_and(|what| what.contains("Date32")));
    }
}
