//! H.264 as mp4 files have it: units after their lengths, parameter sets in a record.
//!
//! x264 gives units after start codes. Packets are kept in the form of the file, so that those of a
//! finished dataset and those fresh from the encoder are the same bytes.
//! (ISO/IEC 14496-15, 5.3.3 for the record; ISO/IEC 14496-10, annex B for start codes.)

/// Units of a stream with start codes.
fn units(stream: &[u8]) -> Vec<&[u8]> {
    let mut starts = Vec::new();
    let mut i = 0;
    while i + 3 <= stream.len() {
        if stream[i] == 0 && stream[i + 1] == 0 && stream[i + 2] == 1 {
            starts.push(i);
            i += 3;
        } else {
            i += 1;
        }
    }
    let ends = starts.iter().skip(1).copied().chain([stream.len()]);
    starts
        .iter()
        .zip(ends)
        .map(|(start, end)| {
            let unit = &stream[start + 3..end];
            // A unit never ends in zero: those belong to the next start code.
            let length = unit.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
            &unit[..length]
        })
        .collect()
}

/// The same units, each after its length in four bytes.
pub(crate) fn with_lengths(stream: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(stream.len() + 8);
    for unit in units(stream) {
        out.extend_from_slice(&(unit.len() as u32).to_be_bytes());
        out.extend_from_slice(unit);
    }
    out
}

/// The decoder configuration record of one sequence and one picture parameter set, 4:2:0, 8 bits.
pub(crate) fn configuration(headers: &[u8]) -> Option<Vec<u8>> {
    const SEQUENCE: u8 = 7;
    const PICTURE: u8 = 8;
    let units = units(headers);
    let find = |kind: u8| units.iter().find(|unit| unit.first().is_some_and(|first| first & 0x1f == kind));
    let (sequence, picture) = (find(SEQUENCE)?, find(PICTURE)?);
    let [_, profile, constraints, level, ..] = **sequence else { return None };
    // Version 1; lengths of four bytes; one sequence parameter set.
    let mut record = vec![1, profile, constraints, level, 0xff, 0xe1];
    record.extend_from_slice(&u16::try_from(sequence.len()).ok()?.to_be_bytes());
    record.extend_from_slice(sequence);
    record.push(1);
    record.extend_from_slice(&u16::try_from(picture.len()).ok()?.to_be_bytes());
    record.extend_from_slice(picture);
    const PLAIN_PROFILES: [u8; 3] = [66, 77, 88];
    if !PLAIN_PROFILES.contains(&profile) {
        // Chroma 4:2:0, 8 bits of luma and chroma, no extensions.
        record.extend_from_slice(&[0xfd, 0xf8, 0xf8, 0]);
    }
    Some(record)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn units_are_split_at_long_and_short_start_codes() {
        let stream = [0, 0, 0, 1, 0x67, 100, 0, 31, 9, 0, 0, 1, 0x68, 5, 0, 0, 0, 1, 0x65, 0, 0, 3, 1];
        assert_eq!(units(&stream), [&[0x67, 100, 0, 31, 9][..], &[0x68, 5], &[0x65, 0, 0, 3, 1]]);
        assert_eq!(with_lengths(&stream[14..]), [0, 0, 0, 5, 0x65, 0, 0, 3, 1]);
        let record = configuration(&stream).unwrap();
        assert_eq!(record[..8], [1, 100, 0, 31, 0xff, 0xe1, 0, 5]);
        assert_eq!(record[record.len() - 4..], [0xfd, 0xf8, 0xf8, 0]);
        assert!(configuration(&stream[14..]).is_none());
    }
}
